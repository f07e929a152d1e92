//! Who may speak to whom, compared with who has to.
//!
//! What is needed comes from the addresses that pods are told, and from the short list of needs that no address shows
//! ([`crate::needs`]). Every need must have the leave of both ends, and nothing else may have the leave of either: each pod is
//! tried against every other, against strangers, and against addresses outside, at each port and at one that nobody
//! listens on.

use std::collections::BTreeSet;

use crate::address::{Address, told};
use crate::needs::{KNOWN, TOLD_TO_OTHERS, WHERE_IT_IS, indices, named, outside};
use crate::object::{Object, Objects, Problem, has_labels, labels};
use crate::pod::{Kind, Port, everybody, pods, tcp};
use crate::policy::{Direction, Leave, Peer, Place, leave, policies};
use crate::wiring::target_port;

/// A port that nobody listens on: a policy without ports lets it through.
const NOBODY_S_PORT: u16 = 9;

/// A connection that somebody needs.
struct Need {
    from: usize,
    to: usize,
    port: Port,
    why: String,
    /// Whether it must be allowed, or only may.
    must: bool,
}

/// Every needed connection is allowed at both ends, and no other at either.
pub fn check(objects: &Objects) -> Vec<Problem> {
    let mut peers = inside(objects);
    let own = peers.len();
    peers.extend(outside(&peers));
    let (needs, mut problems) = needs(objects, &peers, own);
    let rules = Rules::new(objects, &peers);
    problems.extend(unmet(&rules, &peers, &needs));
    problems.extend(excess(&rules, &peers, own, &needs));
    problems.extend(open(&rules, &peers));
    problems
}

/// The pods that the manifests make: by themselves first, in the order of [`pods`], then by operators.
fn inside(objects: &Objects) -> Vec<Peer> {
    let peer = |Kind { owner, labels, ports }: Kind<'_>| {
        let namespace = owner.namespace().to_owned();
        let mut namespace_labels =
            objects.find("Namespace", &namespace).map(Object::labels).unwrap_or_default();
        namespace_labels.insert("kubernetes.io/metadata.name".to_owned(), namespace.clone());
        Peer { name: owner.to_string(), place: Place::Pod { labels, namespace, namespace_labels }, ports }
    };
    everybody(objects).into_iter().map(peer).collect()
}

fn needs(objects: &Objects, peers: &[Peer], own: usize) -> (Vec<Need>, Vec<Problem>) {
    let (mut needs, mut problems) = (Vec::new(), Vec::new());
    for (index, pod) in pods(objects).iter().enumerate() {
        for address in told(objects, pod) {
            let callers = match TOLD_TO_OTHERS.iter().find(|(name, _)| *name == address.origin) {
                Some((_, who)) => indices(peers, own, named(who)),
                None => vec![index],
            };
            match destinations(objects, &peers[..own], &address) {
                Ok(found) => {
                    for (to, port) in found {
                        let need = |from| Need {
                            from,
                            to,
                            port: port.clone(),
                            why: address.origin.clone(),
                            must: true,
                        };
                        needs.extend(callers.iter().copied().map(need));
                    }
                }
                Err(what) => problems.push(pod.owner.problem(address.origin, what)),
            }
        }
    }
    for (list, must) in [(KNOWN, true), (WHERE_IT_IS, false)] {
        for (from, to, port, why) in list {
            for from in indices(peers, own, *from) {
                for to in indices(peers, own, *to) {
                    let mut ports: Vec<_> =
                        peers[to].ports.iter().filter(|one| one.number == *port).cloned().collect();
                    if !must && ports.is_empty() {
                        ports.push(tcp("", *port));
                    }
                    needs.extend(ports.into_iter().map(|port| Need {
                        from,
                        to,
                        port,
                        why: (*why).to_owned(),
                        must,
                    }));
                }
            }
        }
    }
    needs.retain(|need| need.from != need.to);
    (needs, problems)
}

/// The pods and ports behind an address; none for an address outside of the cluster, or in a file that only looks like
/// one.
fn destinations(objects: &Objects, own: &[Peer], address: &Address) -> Result<Vec<(usize, Port)>, String> {
    let Address { host, port, scheme, origin } = address;
    if let Some(cluster) = cluster(objects, host) {
        let index = own.iter().position(|peer| peer.name == cluster.to_string());
        let reached = index.filter(|_| *port == 5432).map(|index| (index, tcp("postgresql", 5432)));
        return reached.map(|one| vec![one]).ok_or_else(|| format!("{cluster} does not listen on {port}"));
    }
    let Some(service) = service(objects, host) else {
        let is_file = origin.starts_with("ConfigMap/");
        let is_of_cluster = !host.contains('.') || host.ends_with(".svc.cluster.local");
        let is_meant = !is_file && scheme.is_some() && is_of_cluster && host != "localhost";
        return if is_meant { Err(format!("there is no Service {host}")) } else { Ok(Vec::new()) };
    };
    let Some(entry) =
        service.list("/spec/ports").iter().find(|one| one.get("port").is_some_and(|p| p == port))
    else {
        return Err(format!("Service {} has no port {port}", service.name()));
    };
    let selector = labels(service.at("/spec/selector"));
    let mut found = Vec::new();
    for (index, peer) in own.iter().enumerate() {
        let Place::Pod { labels, namespace, .. } = &peer.place else { continue };
        if !selector.is_empty() && namespace == service.namespace() && has_labels(labels, &selector) {
            found.extend(target_port(entry, &peer.ports).map(|port| (index, port)));
        }
    }
    if scheme.as_deref().is_some_and(|scheme| scheme.ends_with("-sentinel")) {
        // A sentinel answers with the master's address, at its own port.
        let ports =
            own.iter().enumerate().flat_map(|(index, peer)| peer.ports.iter().map(move |port| (index, port)));
        found
            .extend(ports.filter(|(_, port)| port.number == 6379).map(|(index, port)| (index, port.clone())));
    }
    Ok(found)
}

/// A host name as a pod of the namespace would write it at its shortest.
fn short<'a>(host: &'a str, namespace: &str) -> &'a str {
    let host = host.strip_suffix(".cluster.local").unwrap_or(host);
    let host = host.strip_suffix(".svc").unwrap_or(host);
    host.strip_suffix(namespace).and_then(|host| host.strip_suffix('.')).unwrap_or(host)
}

/// The Service that a host name means, perhaps with the name of one of its pods before.
fn service<'a>(objects: &'a Objects, host: &str) -> Option<&'a Object> {
    objects.of_kind("Service").find(|service| {
        let (name, short) = (service.name(), short(host, service.namespace()));
        let pod = short.strip_suffix(name).and_then(|rest| rest.strip_suffix('.'));
        let set =
            pod.and_then(|pod| pod.rsplit_once('-')).and_then(|(set, _)| objects.find("StatefulSet", set));
        short == name || set.is_some_and(|set| set.text("/spec/serviceName") == name)
    })
}

/// The cluster of PostgreSQL for which the operator makes the Service of this name.
fn cluster<'a>(objects: &'a Objects, host: &str) -> Option<&'a Object> {
    objects.of_kind("Cluster").find(|cluster| {
        let role = short(host, cluster.namespace()).strip_prefix(cluster.name());
        role.is_some_and(|role| ["-rw", "-ro", "-r"].contains(&role))
    })
}

/// The policies for each peer, in both directions.
struct Rules<'a>(Vec<[Vec<&'a Object>; 2]>);

impl<'a> Rules<'a> {
    fn new(objects: &'a Objects, peers: &[Peer]) -> Self {
        let of =
            |peer: &Peer| [Direction::Ingress, Direction::Egress].map(|way| policies(objects, way, peer));
        Self(peers.iter().map(of).collect())
    }

    fn of(&self, peer: usize, direction: Direction) -> &[&'a Object] {
        let [ingress, egress] = &self.0[peer];
        if direction == Direction::Ingress { ingress } else { egress }
    }
}

fn problem(
    peers: &[Peer],
    end: usize,
    direction: Direction,
    other: usize,
    port: &Port,
    what: String,
) -> Problem {
    let way = if direction == Direction::Ingress { "ingress from" } else { "egress to" };
    let field = format!("{way} {} at {}/{}", peers[other].name, port.number, port.protocol);
    Problem { object: peers[end].name.clone(), field, what }
}

fn unmet(rules: &Rules<'_>, peers: &[Peer], needs: &[Need]) -> Vec<Problem> {
    let mut problems = BTreeSet::new();
    for need in needs.iter().filter(|need| need.must) {
        for (end, other, direction) in
            [(need.from, need.to, Direction::Egress), (need.to, need.from, Direction::Ingress)]
        {
            if leave(rules.of(end, direction), direction, &peers[end], &peers[other], &need.port)
                == Leave::Refused
            {
                let what = format!("needed ({}) and no NetworkPolicy allows it", need.why);
                problems.insert(problem(peers, end, direction, other, &need.port, what));
            }
        }
    }
    problems.into_iter().collect()
}

fn excess(rules: &Rules<'_>, peers: &[Peer], own: usize, needs: &[Need]) -> Vec<Problem> {
    let needed: BTreeSet<_> =
        needs.iter().map(|need| (need.from, need.to, need.port.number, need.port.protocol.clone())).collect();
    let mut problems = Vec::new();
    let mut look = |from: usize, to: usize, direction: Direction| {
        let (end, other) = if direction == Direction::Egress { (from, to) } else { (to, from) };
        let nobody_s = Port { name: String::new(), number: NOBODY_S_PORT, protocol: "TCP".to_owned() };
        for port in peers[to].ports.iter().chain([&nobody_s]) {
            if needed.contains(&(from, to, port.number, port.protocol.clone())) {
                continue;
            }
            if let Leave::By(policy) =
                leave(rules.of(end, direction), direction, &peers[end], &peers[other], port)
            {
                let what = format!("allowed by {policy}, and nothing needs it");
                problems.push(problem(peers, end, direction, other, port, what));
            }
        }
    };
    for end in 0..own {
        for other in (0..peers.len()).filter(|other| *other != end) {
            look(end, other, Direction::Egress);
            look(other, end, Direction::Ingress);
        }
    }
    problems
}

/// Every pod of the namespace, also one that nobody has written yet, is closed until a policy opens it.
fn open(rules: &Rules<'_>, peers: &[Peer]) -> Vec<Problem> {
    let nobody =
        Peer { name: "nobody".to_owned(), place: Place::Address([192, 0, 2, 1].into()), ports: Vec::new() };
    let port = Port { name: String::new(), number: NOBODY_S_PORT, protocol: "TCP".to_owned() };
    let mut problems = Vec::new();
    for (index, peer) in peers.iter().enumerate() {
        let is_ours = matches!(&peer.place, Place::Pod { namespace, .. } if namespace == "tael");
        for direction in [Direction::Ingress, Direction::Egress].into_iter().filter(|_| is_ours) {
            if leave(rules.of(index, direction), direction, peer, &nobody, &port) == Leave::Open {
                problems.push(Problem {
                    object: peer.name.clone(),
                    field: format!("{direction:?}"),
                    what: "open, for no NetworkPolicy selects it".to_owned(),
                });
            }
        }
    }
    problems
}

/// The connections between services of ours that the manifests configure: the caller's name and the called one's.
pub fn calls(objects: &Objects) -> BTreeSet<(String, String)> {
    let own = pods(objects);
    let peers = inside(objects);
    let mut calls = BTreeSet::new();
    for pod in own.iter().filter(|pod| pod.is_long_running()) {
        let Some(caller) = pod.service() else { continue };
        let told = told(objects, pod).into_iter();
        for address in told.filter(|address| TOLD_TO_OTHERS.iter().all(|(name, _)| *name != address.origin)) {
            for (to, port) in destinations(objects, &peers, &address).unwrap_or_default() {
                if let (Some(called), 50051) = (own.get(to).and_then(crate::pod::Pod::service), port.number) {
                    calls.insert((caller.clone(), called));
                }
            }
        }
    }
    calls
}

/// The hosts under which peers are called over TLS, with the service that each belongs to.
pub fn tls_hosts(objects: &Objects) -> BTreeSet<(String, String)> {
    let mut hosts = BTreeSet::new();
    for pod in pods(objects) {
        for address in
            told(objects, &pod).into_iter().filter(|address| address.scheme.as_deref() == Some("https"))
        {
            let Some(service) = service(objects, &address.host) else { continue };
            hosts.insert((service.name().to_owned(), address.host));
        }
    }
    hosts
}

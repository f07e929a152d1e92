//! Who may speak to whom, compared with who has to.
//!
//! What is needed comes from the addresses that pods are told, and from the short list of needs that no address shows
//! ([`KNOWN`]). Every need must have the leave of both ends, and nothing else may have the leave of either: each pod is
//! tried against every other, against strangers, and against addresses outside, at each port and at one that nobody
//! listens on.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::address::{Address, told};
use crate::object::{Labels, Object, Objects, Problem, has_labels, labels};
use crate::pod::{Port, pods};
use crate::policy::{Direction, Leave, Peer, Place, leave};
use crate::wiring::target_port;

/// A port that nobody listens on: a policy without ports lets it through.
const NOBODY_S_PORT: u16 = 9;

/// Some of the peers.
#[derive(Clone, Copy, Debug)]
enum Who {
    /// Everybody there is, strangers and addresses outside too.
    Anybody,
    /// Every pod that the manifests make.
    Everybody,
    /// The pods that the manifests make with this label.
    Labelled(&'static str, &'static str),
    /// Somebody of [`outside`].
    Outside(&'static str),
}

const fn component(name: &'static str) -> Who {
    Who::Labelled("app.kubernetes.io/component", name)
}

const fn named(name: &'static str) -> Who {
    Who::Labelled("app.kubernetes.io/name", name)
}

/// The pods that the operator makes of the Cluster `postgres`.
const POSTGRES_CLUSTER: Who = Who::Labelled("cnpg.io/cluster", "postgres");

/// What is needed although no address shows it: from whom, to whom, at which port, and why.
const KNOWN: &[(Who, Who, u16, &str)] = &[
    (Who::Everybody, Who::Outside("dns"), 53, "names are resolved"),
    (Who::Outside("backend"), component("service"), 50051, "the merchant's own back-end calls services"),
    (Who::Outside("operator"), component("service"), 50051, "operators call services"),
    (Who::Outside("backend elsewhere"), component("service"), 50051, "as above, from another namespace"),
    (Who::Outside("operator elsewhere"), component("service"), 50051, "as above, from another namespace"),
    (Who::Outside("operator"), named("sandbox"), 8090, "operators pay and break things in the sandbox"),
    (named("payment"), Who::Outside("internet"), 443, "channels"),
    (named("payment"), Who::Outside("internet, IPv6"), 443, "channels"),
    (named("notification"), Who::Outside("internet"), 443, "merchants' webhook endpoints"),
    (named("notification"), Who::Outside("internet, IPv6"), 443, "merchants' webhook endpoints"),
    // Both find each other by what start.sh and sentinel.conf say, host and port apart.
    (named("redis"), named("redis-sentinel"), 26379, "a Redis asks who is master when it starts"),
    (named("redis-sentinel"), named("redis"), 6379, "a sentinel watches every Redis"),
    (
        Who::Outside("PostgreSQL's operator"),
        POSTGRES_CLUSTER,
        8000,
        "the operator asks instances how they are",
    ),
    (POSTGRES_CLUSTER, Who::Outside("internet"), 443, "backups go to the object store"),
];

/// What is needed where it is, and may be missing.
const WHERE_IT_IS: &[(Who, Who, u16, &str)] = &[
    (Who::Outside("ingress controller"), named("gateway"), 8080, "payers and channels"),
    (named("prometheus"), Who::Outside("cert-manager"), 9402, "Prometheus watches when certificates end"),
    (
        Who::Labelled("tael.io/caller", "operator"),
        component("service"),
        50051,
        "services say what operators may call",
    ),
    (Who::Labelled("tael.io/caller", "operator"), named("sandbox"), 8090, "as any operator"),
    // The address of the API server, and of an object store inside of a network, differs from cluster to cluster.
    (POSTGRES_CLUSTER, Who::Anybody, 443, "instances ask the API server who is primary, and write backups"),
    (POSTGRES_CLUSTER, Who::Anybody, 6443, "as above, at the API server's other usual port"),
];

/// Variables that hold the address of a process's own, told to others: who is told, in `app.kubernetes.io/name`.
const TOLD_TO_OTHERS: &[(&str, &str)] = &[
    // Channels send callbacks there.
    ("TAEL_PUBLIC_URL", "sandbox"),
    // Channel accounts are made with it.
    ("SANDBOX_PUBLIC_URL", "payment"),
];

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
    problems.extend(unmet(objects, &peers, &needs));
    problems.extend(excess(objects, &peers, own, &needs));
    problems.extend(open(objects, &peers));
    problems
}

/// The pods that the manifests make: by themselves first, in the order of [`pods`], then by PostgreSQL's operator.
fn inside(objects: &Objects) -> Vec<Peer> {
    let peer = |owner: &Object, labels: Labels, ports: Vec<Port>| {
        let namespace = owner.namespace().to_owned();
        let mut namespace_labels =
            objects.find("Namespace", &namespace).map(Object::labels).unwrap_or_default();
        namespace_labels.insert("kubernetes.io/metadata.name".to_owned(), namespace.clone());
        Peer { name: owner.to_string(), place: Place::Pod { labels, namespace, namespace_labels }, ports }
    };
    let rendered = pods(objects).into_iter().map(|pod| peer(pod.owner, pod.labels(), pod.ports()));
    let clusters = objects.of_kind("Cluster").map(|cluster| {
        let mut own = labels(cluster.at("/spec/inheritedMetadata/labels"));
        own.insert("cnpg.io/cluster".to_owned(), cluster.name().to_owned());
        peer(cluster, own, vec![tcp("postgresql", 5432), tcp("metrics", 9187), tcp("status", 8000)])
    });
    rendered.chain(clusters).collect()
}

fn tcp(name: &str, number: u16) -> Port {
    Port { name: name.to_owned(), number, protocol: "TCP".to_owned() }
}

/// Who else there is: callers that are not rendered, parts of the cluster, strangers, and addresses outside.
fn outside(own: &[Peer]) -> Vec<Peer> {
    let label = |pairs: &[(&str, &str)]| -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let somebody = |name: &str,
                    namespace: &str,
                    own_labels: &[(&str, &str)],
                    of_namespace: &[(&str, &str)],
                    ports: Vec<Port>| {
        let mut namespace_labels = label(of_namespace);
        namespace_labels.insert("kubernetes.io/metadata.name".to_owned(), namespace.to_owned());
        let place =
            Place::Pod { labels: label(own_labels), namespace: namespace.to_owned(), namespace_labels };
        Peer { name: name.to_owned(), place, ports }
    };
    let dns = vec![Port { protocol: "UDP".to_owned(), ..tcp("dns", 53) }, tcp("dns-tcp", 53)];
    let callers = [("tael.io/callers", "allowed")];
    let mut peers = vec![
        somebody("dns", "kube-system", &[("k8s-app", "kube-dns")], &[], dns.clone()),
        somebody("another pod of kube-system", "kube-system", &[("k8s-app", "other")], &[], dns),
        somebody("backend", "tael", &[("tael.io/caller", "backend")], &[], Vec::new()),
        somebody("operator", "tael", &[("tael.io/caller", "operator")], &[], Vec::new()),
        somebody("backend elsewhere", "shop", &[("tael.io/caller", "backend")], &callers, Vec::new()),
        somebody("operator elsewhere", "shop", &[("tael.io/caller", "operator")], &callers, Vec::new()),
        somebody("another pod of the callers' namespace", "shop", &[], &callers, Vec::new()),
        somebody(
            "a caller from a namespace that is not allowed",
            "other",
            &[("tael.io/caller", "backend")],
            &[],
            Vec::new(),
        ),
        somebody("a stranger in the namespace", "tael", &[("app", "stranger")], &[], vec![tcp("any", 50051)]),
        somebody(
            "ingress controller",
            "ingress-nginx",
            &[("app.kubernetes.io/name", "ingress-nginx")],
            &[],
            Vec::new(),
        ),
        somebody("another pod of ingress-nginx", "ingress-nginx", &[], &[], Vec::new()),
        somebody(
            "PostgreSQL's operator",
            "cnpg-system",
            &[("app.kubernetes.io/name", "cloudnative-pg")],
            &[],
            Vec::new(),
        ),
        somebody(
            "cert-manager",
            "cert-manager",
            &[("app.kubernetes.io/name", "cert-manager")],
            &[],
            vec![tcp("metrics", 9402)],
        ),
        somebody("another pod of cert-manager", "cert-manager", &[], &[], vec![tcp("metrics", 9402)]),
    ];
    // Whoever wears our labels in a namespace of their own is still a stranger.
    peers.extend(own.iter().map(|peer| {
        let Place::Pod { labels, .. } = &peer.place else { unreachable!("our own peers are pods") };
        let pairs: Vec<_> = labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let name = format!("an impostor of {} in another namespace", peer.name);
        somebody(&name, "elsewhere", &pairs, &[], peer.ports.clone())
    }));
    let https = || vec![tcp("https", 443), tcp("http", 80), tcp("api", 6443)];
    peers.extend(
        [
            ("internet", "93.184.215.14"),
            ("internet, IPv6", "2606:4700::6810:1"),
            ("a private address", "10.1.2.3"),
            ("the cloud's metadata", "169.254.169.254"),
            ("a private IPv6 address", "fd00::1"),
        ]
        .map(|(name, address)| {
            let address: IpAddr = address.parse().expect("these are addresses");
            Peer { name: name.to_owned(), place: Place::Address(address), ports: https() }
        }),
    );
    peers
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

fn indices(peers: &[Peer], own: usize, who: Who) -> Vec<usize> {
    let is_one = |(index, peer): &(usize, &Peer)| match who {
        Who::Anybody => true,
        Who::Everybody => *index < own,
        Who::Labelled(key, value) => {
            *index < own
                && matches!(&peer.place, Place::Pod { labels, .. } if labels.get(key).is_some_and(|found| found == value))
        }
        Who::Outside(name) => *index >= own && peer.name == name,
    };
    peers.iter().enumerate().filter(is_one).map(|(index, _)| index).collect()
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

fn unmet(objects: &Objects, peers: &[Peer], needs: &[Need]) -> Vec<Problem> {
    let mut problems = BTreeSet::new();
    for need in needs.iter().filter(|need| need.must) {
        for (end, other, direction) in
            [(need.from, need.to, Direction::Egress), (need.to, need.from, Direction::Ingress)]
        {
            if leave(objects, direction, &peers[end], &peers[other], &need.port) == Leave::Refused {
                let what = format!("needed ({}) and no NetworkPolicy allows it", need.why);
                problems.insert(problem(peers, end, direction, other, &need.port, what));
            }
        }
    }
    problems.into_iter().collect()
}

fn excess(objects: &Objects, peers: &[Peer], own: usize, needs: &[Need]) -> Vec<Problem> {
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
            if let Leave::By(policy) = leave(objects, direction, &peers[end], &peers[other], port) {
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
fn open(objects: &Objects, peers: &[Peer]) -> Vec<Problem> {
    let nobody =
        Peer { name: "nobody".to_owned(), place: Place::Address([192, 0, 2, 1].into()), ports: Vec::new() };
    let port = Port { name: String::new(), number: NOBODY_S_PORT, protocol: "TCP".to_owned() };
    let of_ours = peers
        .iter()
        .filter(|peer| matches!(&peer.place, Place::Pod { namespace, .. } if namespace == "tael"));
    let mut problems = Vec::new();
    for peer in of_ours {
        for direction in [Direction::Ingress, Direction::Egress] {
            if leave(objects, direction, peer, &nobody, &port) == Leave::Open {
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

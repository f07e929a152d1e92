//! NetworkPolicies, evaluated as a cluster would.
//!
//! <https://kubernetes.io/docs/concepts/services-networking/network-policies/>: a pod that some policy selects for a
//! direction is closed in it but for what the policies that select it allow together; a connection needs the leave of
//! both ends.

use std::net::IpAddr;

use serde_json::Value;

use crate::object::{Labels, Object, Objects, list, selects, text};
use crate::pod::Port;

/// One end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// How problems call it.
    pub name: String,
    /// Where it is.
    pub place: Place,
    /// The ports it listens on; what it may be reached at is asked for these.
    pub ports: Vec<Port>,
}

/// Where a peer is.
#[derive(Clone, Debug)]
pub enum Place {
    /// A pod of a cluster.
    Pod {
        /// Its labels.
        labels: Labels,
        /// Its namespace.
        namespace: String,
        /// That namespace's labels.
        namespace_labels: Labels,
    },
    /// Outside, at this address.
    Address(IpAddr),
}

/// From which end a policy looks at a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The called end's.
    Ingress,
    /// The calling end's.
    Egress,
}

/// Whether one end may be connected, and by which policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leave {
    /// No policy selects the pod for this direction, so everything is open.
    Open,
    /// This policy allows it.
    By(String),
    /// The policies that select the pod do not allow it.
    Refused,
}

/// The policies that select a peer for a direction. Only pods are selected.
pub fn policies<'a>(objects: &'a Objects, direction: Direction, own: &Peer) -> Vec<&'a Object> {
    let Place::Pod { labels, namespace, .. } = &own.place else { return Vec::new() };
    let selects_it = |policy: &&Object| {
        policy.namespace() == namespace
            && concerns(policy, direction)
            && policy.at("/spec/podSelector").is_some_and(|selector| selects(selector, labels))
    };
    objects.of_kind("NetworkPolicy").filter(selects_it).collect()
}

/// Whether `own` may be connected with `other` at `port`, as far as [`policies`] for `own` say.
///
/// `port` is one of the called end's in both directions.
pub fn leave(policies: &[&Object], direction: Direction, own: &Peer, other: &Peer, port: &Port) -> Leave {
    let Place::Pod { namespace, .. } = &own.place else { return Leave::Open };
    if policies.is_empty() {
        return Leave::Open;
    }
    let (called, rules, peers) = match direction {
        Direction::Ingress => (own, "/spec/ingress", "from"),
        Direction::Egress => (other, "/spec/egress", "to"),
    };
    let allows = |rule: &Value| {
        let (ports, others) = (list(rule.get("ports")), list(rule.get(peers)));
        (ports.is_empty() || ports.iter().any(|one| is_port(one, called, port)))
            && (others.is_empty() || others.iter().any(|one| is_peer(one, namespace, other)))
    };
    let allowing = policies.iter().find(|policy| policy.list(rules).iter().any(allows));
    allowing.map_or(Leave::Refused, |policy| Leave::By(policy.to_string()))
}

/// Without `policyTypes` a policy concerns ingress, and egress if it has rules for it.
fn concerns(policy: &Object, direction: Direction) -> bool {
    let name = match direction {
        Direction::Ingress => "Ingress",
        Direction::Egress => "Egress",
    };
    match policy.at("/spec/policyTypes") {
        Some(types) => list(Some(types)).iter().any(|one| one.as_str() == Some(name)),
        None => direction == Direction::Ingress || policy.at("/spec/egress").is_some(),
    }
}

fn is_port(rule: &Value, called: &Peer, port: &Port) -> bool {
    let protocol = rule.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
    if protocol != port.protocol {
        return false;
    }
    match rule.get("port") {
        None => true,
        Some(Value::String(name)) => called.ports.iter().any(|one| one == port && one.name == *name),
        Some(number) => {
            let first = number.as_u64().unwrap_or(0);
            let last = rule.get("endPort").and_then(Value::as_u64).unwrap_or(first);
            (first..=last).contains(&u64::from(port.number))
        }
    }
}

fn is_peer(rule: &Value, policy_namespace: &str, other: &Peer) -> bool {
    match (&other.place, rule.get("ipBlock")) {
        (Place::Address(address), Some(block)) => {
            contains(text(block, "cidr"), *address)
                && !list(block.get("except"))
                    .iter()
                    .filter_map(Value::as_str)
                    .any(|cidr| contains(cidr, *address))
        }
        (Place::Pod { labels, namespace, namespace_labels }, None) => {
            let is_namespace = match rule.get("namespaceSelector") {
                Some(selector) => selects(selector, namespace_labels),
                None => namespace == policy_namespace,
            };
            is_namespace && rule.get("podSelector").is_none_or(|selector| selects(selector, labels))
        }
        // Whether an address block covers pods differs between networks; ours must leave them out, and do.
        (Place::Pod { .. }, Some(_)) | (Place::Address(_), None) => false,
    }
}

/// Whether a block of addresses contains this one.
fn contains(cidr: &str, address: IpAddr) -> bool {
    let Some((network, length)) = cidr.split_once('/') else { return false };
    let (Ok(network), Ok(length)) = (network.parse::<IpAddr>(), length.parse::<u32>()) else { return false };
    let shifted = |bits: u128, width: u32| bits.checked_shr(width.saturating_sub(length)).unwrap_or(0);
    match (network, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            shifted(u128::from(u32::from(a)), 32) == shifted(u128::from(u32::from(b)), 32)
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => shifted(u128::from(a), 128) == shifted(u128::from(b), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_addresses_contain_what_they_say() {
        for (cidr, address, expected) in [
            ("0.0.0.0/0", "8.8.8.8", true),
            ("10.0.0.0/8", "10.200.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.1/32", "10.0.0.1", true),
            ("10.0.0.1/32", "10.0.0.2", false),
            ("2000::/3", "2606:4700::1", true),
            ("2000::/3", "fd00::1", false),
            ("::/0", "8.8.8.8", false),
            ("nonsense", "8.8.8.8", false),
        ] {
            assert_eq!(contains(cidr, address.parse().unwrap()), expected, "{cidr} {address}");
        }
    }

    fn pod(name: &str, namespace: &str, port: u16) -> Peer {
        let label = |key: &str, value: &str| Labels::from([(key.to_owned(), value.to_owned())]);
        Peer {
            name: name.to_owned(),
            place: Place::Pod {
                labels: label("app", name),
                namespace: namespace.to_owned(),
                namespace_labels: label("kubernetes.io/metadata.name", namespace),
            },
            ports: vec![Port { name: "grpc".to_owned(), number: port, protocol: "TCP".to_owned() }],
        }
    }

    #[test]
    fn a_policy_allows_exactly_what_it_says() {
        let policy = |spec: &str| {
            Objects::parse(&format!(
                "{{kind: NetworkPolicy, metadata: {{name: p, namespace: tael}}, spec: {{podSelector: {{matchLabels: {{app: a}}}}, {spec}}}}}"
            ))
            .unwrap()
        };
        let (a, b, elsewhere) = (pod("a", "tael", 1), pod("b", "tael", 1), pod("b", "shop", 1));
        let other_port = Port { number: 2, ..a.ports[0].clone() };
        let by = Leave::By("NetworkPolicy/p".to_owned());
        let look = |objects: &Objects, direction: Direction, own: &Peer, other: &Peer, port: &Port| {
            leave(&policies(objects, direction, own), direction, own, other, port)
        };
        let ingress =
            |objects: &Objects, from: &Peer, port: &Port| look(objects, Direction::Ingress, &a, from, port);

        // A policy without rules closes; another pod than the one it selects stays open.
        let closed = policy("policyTypes: [Ingress]");
        assert_eq!(ingress(&closed, &b, &a.ports[0]), Leave::Refused);
        assert_eq!(look(&closed, Direction::Ingress, &b, &a, &b.ports[0]), Leave::Open);
        assert_eq!(look(&closed, Direction::Egress, &a, &b, &b.ports[0]), Leave::Open);

        // A pod selector alone means the policy's own namespace.
        let from_b =
            policy("ingress: [{from: [{podSelector: {matchLabels: {app: b}}}], ports: [{port: 1}]}]");
        assert_eq!(ingress(&from_b, &b, &a.ports[0]), by);
        assert_eq!(ingress(&from_b, &elsewhere, &a.ports[0]), Leave::Refused);
        assert_eq!(ingress(&from_b, &a, &a.ports[0]), Leave::Refused);
        assert_eq!(ingress(&from_b, &b, &other_port), Leave::Refused);

        // With a namespace selector both must fit; in two items either may.
        let both = "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: shop}}, podSelector: {matchLabels: {app: b}}}";
        let from_m = policy(&format!("ingress: [{{from: [{both}]}}]"));
        assert_eq!(ingress(&from_m, &elsewhere, &a.ports[0]), by);
        assert_eq!(ingress(&from_m, &pod("c", "shop", 1), &a.ports[0]), Leave::Refused);
        assert_eq!(ingress(&from_m, &b, &a.ports[0]), Leave::Refused);

        // Ports may be named, and span a range; protocols differ.
        let named = policy("ingress: [{ports: [{port: grpc}]}]");
        assert_eq!(ingress(&named, &b, &a.ports[0]), by);
        assert_eq!(ingress(&named, &b, &other_port), Leave::Refused);
        let range = policy("ingress: [{ports: [{port: 1, endPort: 2}]}]");
        assert_eq!(ingress(&range, &b, &other_port), by);
        let udp = policy("ingress: [{ports: [{port: 1, protocol: UDP}]}]");
        assert_eq!(ingress(&udp, &b, &a.ports[0]), Leave::Refused);

        // Egress with address blocks.
        let out = policy(
            "policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}]}]",
        );
        let at = |address: &str| Peer { place: Place::Address(address.parse().unwrap()), ..b.clone() };
        assert_eq!(look(&out, Direction::Egress, &a, &at("8.8.8.8"), &a.ports[0]), by);
        assert_eq!(look(&out, Direction::Egress, &a, &at("10.1.1.1"), &a.ports[0]), Leave::Refused);
        assert_eq!(look(&out, Direction::Egress, &a, &b, &a.ports[0]), Leave::Refused);
    }
}

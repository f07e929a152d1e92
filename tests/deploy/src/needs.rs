//! Who there is beside the pods that are rendered, and what is needed although no address shows it.

use std::net::IpAddr;

use crate::object::Labels;
use crate::pod::{Port, tcp};
use crate::policy::{Peer, Place};

/// Some of the peers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Who {
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

pub(crate) const fn named(name: &'static str) -> Who {
    Who::Labelled("app.kubernetes.io/name", name)
}

/// The pods that the operator makes of the Cluster `postgres`.
const POSTGRES_CLUSTER: Who = Who::Labelled("cnpg.io/cluster", "postgres");

/// The pods by which cert-manager answers a public authority.
const SOLVER: Who = Who::Labelled("acme.cert-manager.io/http01-solver", "true");

/// What is needed although no address shows it: from whom, to whom, at which port, and why.
pub(crate) const KNOWN: &[(Who, Who, u16, &str)] = &[
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
    (Who::Outside("ingress controller"), SOLVER, 8089, "a public authority asks the solver"),
];

/// What is needed where it is, and may be missing.
pub(crate) const WHERE_IT_IS: &[(Who, Who, u16, &str)] = &[
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
pub(crate) const TOLD_TO_OTHERS: &[(&str, &str)] = &[
    // Channels send callbacks there.
    ("TAEL_PUBLIC_URL", "sandbox"),
    // Channel accounts are made with it.
    ("SANDBOX_PUBLIC_URL", "payment"),
];

pub(crate) fn indices(peers: &[Peer], own: usize, who: Who) -> Vec<usize> {
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

/// Who else there is: callers that are not rendered, parts of the cluster, strangers, and addresses outside.
pub(crate) fn outside(own: &[Peer]) -> Vec<Peer> {
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
        somebody("ingress controller", "traefik", &[("app.kubernetes.io/name", "traefik")], &[], Vec::new()),
        somebody("another pod of traefik", "traefik", &[], &[], Vec::new()),
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

//! Addresses of peers, wherever a pod is told one: in its environment, its arguments, its files.

use serde_json::Value;

use crate::environment::environment;
use crate::object::{Objects, list, text};
use crate::pod::Pod;
use crate::references::config_map;

/// A host and a port that a pod is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The host, as it is written.
    pub host: String,
    /// The port; that of the scheme when none is written.
    pub port: u16,
    /// The scheme, where one is written.
    pub scheme: Option<String>,
    /// Where it is written: the name of a variable, `args`, or `ConfigMap/name key`.
    pub origin: String,
}

/// All addresses that a pod's containers are told, each once.
pub fn told(objects: &Objects, pod: &Pod<'_>) -> Vec<Address> {
    let mut found = Vec::new();
    for container in pod.containers() {
        for (name, value) in environment(objects, container.value) {
            found.extend(value.known().into_iter().flat_map(|value| addresses(value, &name)));
        }
        for field in ["command", "args"] {
            let texts = list(container.value.get(field)).iter().filter_map(|one| one.as_str());
            found.extend(texts.flat_map(|text| addresses(text, field)));
        }
    }
    for volume in list(pod.spec().get("volumes")) {
        let maps = volume.get("configMap").into_iter().chain(
            list(volume.pointer("/projected/sources")).iter().filter_map(|source| source.get("configMap")),
        );
        for map in maps {
            let name = text(map, "name");
            for (key, value) in config_map(objects, name).map(|map| map.keys).unwrap_or_default() {
                let origin = format!("ConfigMap/{name} {key}");
                let value = value.unwrap_or_default();
                found.extend(addresses(&without_comments(&value), &origin));
                let parsed = serde_saphyr::from_str::<Value>(&value).unwrap_or_default();
                found.extend(apart(&parsed, &origin));
            }
        }
    }
    let mut each_once = Vec::new();
    for address in found {
        if !each_once.contains(&address) {
            each_once.push(address);
        }
    }
    each_once
}

/// Hosts and ports that a file has in fields of their own: `hostname` or `names` (a list), and `port` beside it.
fn apart(value: &Value, origin: &str) -> Vec<Address> {
    let mut found = Vec::new();
    match value {
        Value::Array(items) => found.extend(items.iter().flat_map(|item| apart(item, origin))),
        Value::Object(fields) => {
            found.extend(fields.values().flat_map(|value| apart(value, origin)));
            let port = fields.get("port").map(|port| port.to_string().trim_matches('"').to_owned());
            let hosts = fields.get("hostname").into_iter().chain(list(fields.get("names")));
            for (host, port) in
                hosts.filter_map(Value::as_str).filter_map(|host| Some((host, port.as_ref()?)))
            {
                found.extend(address(&format!("{host}:{port}"), origin));
            }
        }
        _ => {}
    }
    found
}

fn without_comments(text: &str) -> String {
    let lines = text.lines().map(|line| if line.trim_start().starts_with('#') { "" } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

/// The addresses in a text: URLs, and `host:port` by itself.
pub fn addresses(text: &str, origin: &str) -> Vec<Address> {
    let is_end = |c: char| c.is_whitespace() || ",\"'()[]{}<>|;=`".contains(c);
    text.split(is_end).filter_map(|token| address(token, origin)).collect()
}

fn address(token: &str, origin: &str) -> Option<Address> {
    let (scheme, rest) = match token.split_once("://") {
        Some((scheme, rest)) => (Some(scheme.trim_start_matches(|c: char| !c.is_ascii_alphanumeric())), rest),
        None => (None, token),
    };
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit('@').next()?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (authority, usual_port(scheme?)?),
    };
    let is_host = host.starts_with(|c: char| c.is_ascii_alphanumeric())
        && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
        && host.contains(|c: char| c.is_ascii_alphabetic());
    is_host.then(|| Address {
        host: host.trim_end_matches('.').to_owned(),
        port,
        scheme: scheme.map(str::to_owned),
        origin: origin.to_owned(),
    })
}

fn usual_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        "postgres" | "postgresql" => Some(5432),
        "redis" | "rediss" => Some(6379),
        "redis-sentinel" | "rediss-sentinel" => Some(26379),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_may_stand_apart() {
        let file =
            "{a: [{names: [x, w], port: 1}], b: {dns: {hostname: z, port: \"2\"}}, c: {hostname: alone}}";
        let mut found: Vec<_> = apart(&serde_saphyr::from_str(file).unwrap(), "X")
            .into_iter()
            .map(|address| (address.host, address.port))
            .collect();
        found.sort();
        assert_eq!(found, [("w".to_owned(), 1), ("x".to_owned(), 1), ("z".to_owned(), 2)]);
    }

    #[test]
    fn addresses_are_found_in_urls_and_beside_them() {
        let rows: [(&str, &[(&str, u16)]); 11] = [
            ("http://order:50051", &[("order", 50051)]),
            ("http://a:1,https://b.tael.svc", &[("a", 1), ("b.tael.svc", 443)]),
            ("postgres://tael_order:p%40ss@postgres/tael_order?sslmode=require", &[("postgres", 5432)]),
            ("redis-sentinel://u:p@s-0.s:26379,s-1.s:26380/tael/0", &[("s-0.s", 26379), ("s-1.s", 26380)]),
            (
                "  endpoint: jaeger:4317\n  targets: ['otel-collector:8889']",
                &[("jaeger", 4317), ("otel-collector", 8889)],
            ),
            ("--storage=http://jaeger:4317/x", &[("jaeger", 4317)]),
            ("host=postgres dbname=x", &[]),
            ("0.0.0.0:8080 127.0.0.1:1 :8080 10:30", &[]),
            ("order:grpc order:99999", &[]),
            ("http://cluster.local.:8080/", &[("cluster.local", 8080)]),
            ("spiffe://tael/order", &[]),
        ];
        for (text, expected) in rows {
            let found = addresses(text, "X");
            let found: Vec<_> = found.iter().map(|address| (address.host.as_str(), address.port)).collect();
            assert_eq!(found, expected, "{text}");
        }
    }
}

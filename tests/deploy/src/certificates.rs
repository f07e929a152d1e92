//! Mutual TLS: a certificate for each service, with its identity and every name under which it is called.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::environment::environment;
use crate::network::tls_hosts;
use crate::object::{Objects, Problem, list, text};
use crate::pod::{our_image, pods};

/// The files that a process of ours is told, and the key of the certificate's secret that each must be.
const FILES: [(&str, &str); 3] =
    [("TAEL_TLS_CERTIFICATE", "tls.crt"), ("TAEL_TLS_KEY", "tls.key"), ("TAEL_TLS_AUTHORITY", "ca.crt")];

/// Where services have certificates, each one is its own, names it, and is where the process looks for it.
pub fn check(objects: &Objects) -> Vec<Problem> {
    let mut problems = Vec::new();
    let hosts = tls_hosts(objects);
    for pod in pods(objects).into_iter().filter(crate::pod::Pod::is_long_running) {
        for container in pod.containers() {
            let Some(service) = our_image(container.image()) else { continue };
            let variables = environment(objects, container.value);
            let told: Vec<_> = FILES.iter().filter(|(name, _)| variables.contains_key(*name)).collect();
            if told.is_empty() {
                continue;
            }
            for (name, key) in FILES {
                let path = variables.get(name).and_then(|value| value.known()).unwrap_or_default();
                match file(&pod, container.value, path) {
                    Some((secret, found)) if found == key => {
                        problems.extend(certificate(objects, &service, &secret, &hosts));
                    }
                    _ => problems.push(pod.owner.problem(
                        container.field(&format!("env[{name}]")),
                        format!("{path:?} is not mounted from a certificate's {key}"),
                    )),
                }
            }
        }
    }
    problems.sort();
    problems.dedup();
    problems
}

/// The secret and the key that a path in a container shows.
fn file(pod: &crate::pod::Pod<'_>, container: &Value, path: &str) -> Option<(String, String)> {
    list(container.get("volumeMounts")).iter().find_map(|mount| {
        let key = path.strip_prefix(text(mount, "mountPath"))?.strip_prefix('/')?;
        let volume = list(pod.spec().get("volumes"))
            .iter()
            .find(|volume| text(volume, "name") == text(mount, "name"))?;
        let secret = volume.get("secret")?;
        // Kubernetes does not renew a file that is mounted by itself, so a renewed certificate would not come.
        (mount.get("subPath").is_none() && secret.get("items").is_none())
            .then(|| (text(secret, "secretName").to_owned(), key.to_owned()))
    })
}

fn certificate(
    objects: &Objects,
    service: &str,
    secret: &str,
    hosts: &BTreeSet<(String, String)>,
) -> Vec<Problem> {
    let Some(certificate) = objects.of_kind("Certificate").find(|one| one.text("/spec/secretName") == secret)
    else {
        return vec![Problem {
            object: format!("Certificate/{service}"),
            field: "spec.secretName".to_owned(),
            what: format!("no certificate fills the secret {secret}"),
        }];
    };
    let texts = |pointer: &str| -> BTreeSet<&str> {
        certificate.list(pointer).iter().filter_map(Value::as_str).collect()
    };
    let mut problems = Vec::new();
    let identity = format!("spiffe://tael/{service}");
    if texts("/spec/uris") != BTreeSet::from([identity.as_str()]) {
        problems.push(certificate.problem("spec.uris", format!("is not {identity} alone")));
    }
    for (_, host) in hosts.iter().filter(|(name, _)| name == service) {
        if !texts("/spec/dnsNames").contains(host.as_str()) {
            problems.push(
                certificate.problem("spec.dnsNames", format!("{host} is missing, under which it is called")),
            );
        }
    }
    for usage in ["client auth", "server auth"] {
        let is_called = hosts.iter().any(|(name, _)| name == service);
        if !texts("/spec/usages").contains(usage) && (usage == "client auth" || is_called) {
            problems.push(certificate.problem("spec.usages", format!("{usage} is missing")));
        }
    }
    problems
}

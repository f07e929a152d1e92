//! Ports, Services, selectors: does everything that is named by label or by port exist?

use std::collections::BTreeSet;

use serde_json::Value;

use crate::object::{Object, Objects, Problem, has_labels, labels, list, selects, text};
use crate::pod::{Port, everybody, pod, pods, ports};

/// IANA's form of a service name (RFC 6335, section 5.1), which names of ports must have: at most 15 of a-z, 0-9 and
/// hyphens, one letter at least, no hyphen at an end or beside another.
pub fn is_port_name(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && name.bytes().any(|byte| byte.is_ascii_lowercase())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}

/// Names and numbers of ports have the form that they must have, and none is there twice.
pub fn check_ports(objects: &Objects) -> Vec<Problem> {
    let mut problems = Vec::new();
    for pod in pods(objects) {
        let mut numbers = BTreeSet::new();
        let mut names = BTreeSet::new();
        for container in pod.containers() {
            for (value, port) in list(container.value.get("ports")).iter().zip(ports(container.value)) {
                let field = container.field(&format!("ports[{}]", port.name));
                let mut say = |what: String| problems.push(pod.owner.problem(&field, what));
                if !is_port_name(&port.name) {
                    say(format!("{:?} is no name of a port", port.name));
                }
                if port.number == 0 {
                    say(format!("{} is no port", value.get("containerPort").unwrap_or(&Value::Null)));
                }
                if !numbers.insert((port.number, port.protocol.clone())) {
                    say(format!("another container port has the number {}", port.number));
                }
                if !names.insert(port.name.clone()) {
                    say("another container port has the same name".to_owned());
                }
            }
        }
    }
    for service in objects.of_kind("Service") {
        for port in service.list("/spec/ports") {
            let name = text(port, "name");
            let number = port.get("port").and_then(Value::as_u64).unwrap_or(0);
            let field = format!("spec.ports[{name}]");
            if !is_port_name(name) {
                problems.push(service.problem(&field, format!("{name:?} is no name of a port")));
            }
            if !(1..=65535).contains(&number) {
                problems.push(service.problem(&field, format!("{number} is no port")));
            }
        }
    }
    problems
}

/// The container port that an entry of a Service leads to.
pub fn target_port(entry: &Value, ports: &[Port]) -> Option<Port> {
    let protocol = entry.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
    let target = entry.get("targetPort").or_else(|| entry.get("port"))?;
    let found = ports.iter().find(|port| {
        let is_it = match target {
            Value::String(name) => port.name == *name,
            number => number.as_u64() == Some(port.number.into()),
        };
        is_it && port.protocol == protocol
    });
    found.cloned()
}

/// Services lead to pods, at ports that these have. Behind a headless Service there is no translation of ports, so its
/// ports must be the pods' own.
pub fn check_services(objects: &Objects) -> Vec<Problem> {
    let mut problems = Vec::new();
    for service in objects.of_kind("Service") {
        if service.text("/spec/type") == "ExternalName" || service.at("/spec/selector").is_none() {
            continue;
        }
        let selector = labels(service.at("/spec/selector"));
        let behind: Vec<_> = everybody(objects)
            .into_iter()
            .filter(|pod| pod.owner.namespace() == service.namespace() && has_labels(&pod.labels, &selector))
            .collect();
        if behind.is_empty() {
            problems.push(service.problem("spec.selector", "selects no pods"));
        }
        for pod in &behind {
            for entry in service.list("/spec/ports") {
                let field = format!("spec.ports[{}].targetPort", text(entry, "name"));
                match target_port(entry, &pod.ports) {
                    None => problems.push(service.problem(field, format!("{} has no such port", pod.owner))),
                    Some(port)
                        if service.text("/spec/clusterIP") == "None"
                            && entry.get("port").and_then(Value::as_u64) != Some(port.number.into()) =>
                    {
                        let what =
                            format!("the Service is headless, and {} listens on {}", pod.owner, port.number);
                        problems.push(service.problem(field, what));
                    }
                    Some(_) => {}
                }
            }
        }
    }
    problems
}

/// Selectors select what they are written for: a workload its own pods and no other's, a PodDisruptionBudget, a spread
/// or an affinity some pods, a NetworkPolicy some pods or callers from outside.
pub fn check_selectors(objects: &Objects) -> Vec<Problem> {
    let all = pods(objects);
    let mut problems = Vec::new();
    for own in &all {
        if matches!(own.owner.kind(), "Job" | "CronJob") {
            continue;
        }
        let selector = own.owner.at("/spec/selector").unwrap_or(&Value::Null);
        if labels(selector.get("matchLabels")).is_empty() {
            problems.push(own.owner.problem("spec.selector", "selects everything"));
        } else if !selects(selector, &own.labels()) {
            problems.push(own.owner.problem("spec.selector", "does not select its own pods"));
        }
        for other in all.iter().filter(|other| other.owner.to_string() != own.owner.to_string()) {
            if selects(selector, &other.labels()) && !labels(selector.get("matchLabels")).is_empty() {
                problems.push(
                    own.owner.problem("spec.selector", format!("selects the pods of {} too", other.owner)),
                );
            }
        }
        for (index, spread) in list(own.spec().get("topologySpreadConstraints")).iter().enumerate() {
            let keys = list(spread.get("matchLabelKeys")).iter().filter_map(Value::as_str);
            // The Deployment's own controller adds this one to its pods.
            let missing =
                keys.filter(|key| *key != "pod-template-hash" && !own.labels().contains_key(*key)).count();
            if missing > 0 || !selects(spread.get("labelSelector").unwrap_or(&Value::Null), &own.labels()) {
                let field = format!("topologySpreadConstraints[{index}]");
                problems.push(own.problem(&field, "does not count the pods it is written for"));
            }
        }
    }
    for budget in objects.of_kind("PodDisruptionBudget") {
        let selector = budget.at("/spec/selector").unwrap_or(&Value::Null);
        let selected: Vec<_> = all.iter().filter(|pod| selects(selector, &pod.labels())).collect();
        if selected.is_empty() {
            problems.push(budget.problem("spec.selector", "selects no pods"));
        }
        if selected.len() > 1 {
            let names: Vec<_> = selected.iter().map(|pod| pod.owner.to_string()).collect();
            problems.push(
                budget.problem("spec.selector", format!("selects pods of several: {}", names.join(", "))),
            );
        }
    }
    problems
}

/// Every object is where it belongs, and says what it is part of.
pub fn check_labels(objects: &Objects) -> Vec<Problem> {
    let of_the_cluster = ["Namespace", "ClusterRole", "ClusterRoleBinding", "ClusterIssuer", "PriorityClass"];
    let mut problems = Vec::new();
    for object in objects.iter() {
        if object.namespace() != "tael" && !of_the_cluster.contains(&object.kind()) {
            problems
                .push(object.problem("metadata.namespace", format!("{:?} is not tael", object.namespace())));
        }
        if let Some(pod) = pod(object) {
            for key in ["app.kubernetes.io/name", "app.kubernetes.io/component", "app.kubernetes.io/part-of"]
            {
                if !pod.labels().contains_key(key) {
                    problems
                        .push(object.problem("spec.template.metadata.labels", format!("{key} is missing")));
                }
            }
            if pod.labels().get("app.kubernetes.io/part-of").is_some_and(|whole| whole != "tael") {
                problems.push(object.problem("spec.template.metadata.labels", "not part of tael"));
            }
        }
    }
    problems.extend(twice(objects));
    problems
}

fn twice(objects: &Objects) -> Vec<Problem> {
    let mut seen = BTreeSet::new();
    let key = |object: &Object| {
        (object.text("/apiVersion").to_owned(), object.namespace().to_owned(), object.to_string())
    };
    let twice = objects.iter().filter(|object| !seen.insert(key(object)));
    twice.map(|object| object.problem("metadata.name", "is there twice")).collect()
}

#[cfg(test)]
mod tests {
    use super::is_port_name;

    #[test]
    fn names_of_ports_have_iana_s_form() {
        for name in ["http", "otlp-grpc", "a", "8a", "abcdefghijklmno"] {
            assert!(is_port_name(name), "{name}");
        }
        for name in ["", "abcdefghijklmnop", "HTTP", "a_b", "-a", "a-", "a--b", "123"] {
            assert!(!is_port_name(name), "{name}");
        }
    }
}

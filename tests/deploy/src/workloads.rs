//! Resources, probes, disruptions, rollouts: does each workload run as it is meant to?

use std::time::Duration;

use serde_json::Value;
use tael_grpc::server::LIVE;

use crate::object::{Object, Objects, Problem, list, selects, text};
use crate::pod::{Container, Pod, pods};
use crate::quantity::nanos;

/// The names that services' health answers to: the whole service, and each of its parts (`tael_runtime::readiness`,
/// `tael_grpc::server::Readiness`).
const HEALTH_NAMES: [&str; 4] = ["", LIVE, "postgres", "redis"];

/// How long a service drains after SIGTERM (`tael_runtime::main`).
const DRAIN: Duration = Duration::from_secs(25);

/// How long a service waits for its database and schema before it gives up by itself (`TAEL_START_PATIENCE`).
const START_PATIENCE: Duration = Duration::from_mins(5);
/// How much later than that a startup probe gives up at the latest.
const START_GRACE: Duration = Duration::from_mins(1);

/// CPU and memory are asked for and bounded, in quantities that Kubernetes understands, and no request is above its
/// limit.
pub fn check_resources(objects: &Objects) -> Vec<Problem> {
    let mut problems = Vec::new();
    for pod in pods(objects) {
        for container in pod.containers() {
            let mut values = Vec::new();
            for kind in ["requests", "limits"] {
                let given = container.value.pointer(&format!("/resources/{kind}")).and_then(Value::as_object);
                for name in ["cpu", "memory"] {
                    if !given.is_some_and(|given| given.contains_key(name)) {
                        let field = container.field(&format!("resources.{kind}.{name}"));
                        problems.push(pod.owner.problem(field, "is missing"));
                    }
                }
                for (name, quantity) in given.into_iter().flatten() {
                    let field = container.field(&format!("resources.{kind}.{name}"));
                    match value(quantity) {
                        Some(value) => values.push((kind, name, value)),
                        None => problems.push(pod.owner.problem(field, format!("{quantity} is no quantity"))),
                    }
                }
            }
            for (_, name, request) in values.iter().filter(|(kind, ..)| *kind == "requests") {
                let limit = values.iter().find(|(kind, of, _)| *kind == "limits" && of == name);
                if limit.is_some_and(|(.., limit)| request > limit) {
                    let field = container.field(&format!("resources.requests.{name}"));
                    problems.push(pod.owner.problem(field, "is above the limit"));
                }
            }
        }
        let volumes = list(pod.spec().get("volumes"))
            .iter()
            .filter_map(|volume| Some((text(volume, "name"), volume.pointer("/emptyDir/sizeLimit")?)));
        for (name, limit) in volumes {
            if value(limit).is_none() {
                problems.push(pod.problem(&format!("volumes[{name}]"), format!("{limit} is no quantity")));
            }
        }
        for claim in pod.owner.list("/spec/volumeClaimTemplates") {
            let storage = claim.pointer("/spec/resources/requests/storage").unwrap_or(&Value::Null);
            if value(storage).is_none() {
                problems.push(
                    pod.owner.problem("spec.volumeClaimTemplates", format!("{storage} is no quantity")),
                );
            }
            let name = claim.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            if claim.pointer("/metadata/labels").is_some() {
                let field = format!("spec.volumeClaimTemplates[{name}].metadata.labels");
                problems.push(pod.owner.problem(field, "cannot change, as labels do"));
            }
        }
    }
    problems
}

fn value(quantity: &Value) -> Option<u128> {
    match quantity {
        Value::String(text) => nanos(text),
        Value::Number(number) => nanos(&number.to_string()),
        _ => None,
    }
}

/// How much processor time, in billionths of a core, is asked for at the worst moment: every replica, those that a rollout
/// adds to them, and all Jobs.
pub fn requested_cpu(objects: &Objects) -> u128 {
    let request = |container: &Container<'_>| {
        container.value.pointer("/resources/requests/cpu").and_then(value).unwrap_or_default()
    };
    let of = |pod: &Pod<'_>| {
        let copies = match pod.owner.kind() {
            "CronJob" => 0,
            "Deployment" => replicas(objects, pod.owner) + surge(pod.owner),
            _ => replicas(objects, pod.owner),
        };
        pod.containers().iter().map(request).sum::<u128>() * u128::from(copies)
    };
    pods(objects).iter().map(of).sum()
}

/// How many pods a rollout adds before it takes one away. Kubernetes's own choice is a quarter, rounded up.
fn surge(deployment: &Object) -> u64 {
    if deployment.text("/spec/strategy/type") == "Recreate" {
        return 0;
    }
    deployment.at("/spec/strategy/rollingUpdate/maxSurge").and_then(Value::as_u64).unwrap_or(1)
}

/// What runs until it is told to end is asked whether it has started, is ready and lives, at ports and under names that
/// exist; and has the time it takes to end.
pub fn check_probes(objects: &Objects) -> Vec<Problem> {
    let mut problems = Vec::new();
    for pod in pods(objects).into_iter().filter(Pod::is_long_running) {
        for container in pod.containers().into_iter().filter(|container| !container.is_init) {
            for kind in ["startupProbe", "readinessProbe", "livenessProbe"] {
                match container.value.get(kind) {
                    None => problems.push(pod.owner.problem(container.field(kind), "is missing")),
                    Some(probe) => problems.extend(probe_problems(&pod, &container, kind, probe)),
                }
            }
        }
        problems.extend(ending(&pod));
    }
    problems
}

fn probe_problems(pod: &Pod<'_>, container: &Container<'_>, kind: &str, probe: &Value) -> Vec<Problem> {
    let ports = crate::pod::ports(container.value);
    let field = container.field(kind);
    let mut problems = Vec::new();
    for how in ["grpc", "httpGet", "tcpSocket"] {
        let Some(port) = probe.get(how).and_then(|how| how.get("port")) else { continue };
        let exists = match port {
            // A gRPC probe takes a number only.
            Value::String(name) => how != "grpc" && ports.iter().any(|one| one.name == *name),
            number => ports.iter().any(|one| number.as_u64() == Some(one.number.into())),
        };
        if !exists {
            problems.push(pod.owner.problem(&field, format!("the container has no port {port}")));
        }
    }
    if let Some(grpc) = probe.get("grpc") {
        let service = text(grpc, "service");
        if !HEALTH_NAMES.contains(&service) {
            problems.push(pod.owner.problem(&field, format!("no health is served under {service:?}")));
        }
        // A restart repairs no database.
        if kind == "livenessProbe" && service != LIVE {
            problems.push(pod.owner.problem(&field, "asks for more than whether the process lives"));
        }
    }
    let number = |name: &str, usual: u64| probe.get(name).and_then(Value::as_u64).unwrap_or(usual);
    if number("timeoutSeconds", 1) > number("periodSeconds", 10).max(3) {
        problems.push(pod.owner.problem(&field, "waits longer than until the next probe"));
    }
    // A service that waits for its database ends by itself, with a reason; the kubelet comes only after it.
    if kind == "startupProbe" && probe.get("grpc").is_some() {
        // While the port is closed, a try takes its whole timeout, which may be longer than the period.
        let each = number("periodSeconds", 10).max(number("timeoutSeconds", 1));
        let patience = Duration::from_secs(number("failureThreshold", 3) * each);
        if patience <= START_PATIENCE || patience > START_PATIENCE + START_GRACE {
            let what = format!(
                "gives up after {} s, where a start waits {} s",
                patience.as_secs(),
                START_PATIENCE.as_secs()
            );
            problems.push(pod.owner.problem(&field, what));
        }
    }
    problems
}

/// The preStop pause and the drain fit into the grace period.
fn ending(pod: &Pod<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let number = |value: Option<&Value>| value.and_then(Value::as_u64);
    let grace = number(pod.spec().get("terminationGracePeriodSeconds")).unwrap_or(30);
    for container in
        pod.containers().into_iter().filter(|container| crate::pod::our_image(container.image()).is_some())
    {
        if container.is_init || crate::pod::our_image(container.image()).as_deref() == Some("sandbox") {
            continue;
        }
        let Some(pause) = number(container.value.pointer("/lifecycle/preStop/sleep/seconds")) else {
            let what = "is missing: calls arrive until clients know that the replica goes";
            problems.push(pod.owner.problem(container.field("lifecycle.preStop.sleep"), what));
            continue;
        };
        if pause + DRAIN.as_secs() >= grace {
            let what = format!(
                "{grace} s are too short for {pause} s of preStop and {} s of drain",
                DRAIN.as_secs()
            );
            problems.push(pod.problem("terminationGracePeriodSeconds", what));
        }
    }
    problems
}

/// How many replicas a workload has at least, with its autoscaler.
pub fn replicas(objects: &Objects, workload: &Object) -> u64 {
    let number = |object: &Object, pointer: &str| object.at(pointer).and_then(Value::as_u64);
    let scaled = scaler(objects, workload).map(|scaler| number(scaler, "/spec/minReplicas").unwrap_or(1));
    scaled.or_else(|| number(workload, "/spec/replicas")).unwrap_or(1)
}

/// How many replicas a workload has at most, with its autoscaler.
pub fn most_replicas(objects: &Objects, workload: &Object) -> u64 {
    let most = scaler(objects, workload).and_then(|scaler| scaler.at("/spec/maxReplicas")?.as_u64());
    most.unwrap_or_else(|| replicas(objects, workload))
}

fn scaler<'a>(objects: &'a Objects, workload: &Object) -> Option<&'a Object> {
    objects.of_kind("HorizontalPodAutoscaler").find(|scaler| {
        scaler.text("/spec/scaleTargetRef/kind") == workload.kind()
            && scaler.text("/spec/scaleTargetRef/name") == workload.name()
    })
}

/// Of several replicas one may be evicted and not all; autoscalers have room, and nobody else sets what they set.
pub fn check_disruption(objects: &Objects) -> Vec<Problem> {
    let mut problems = Vec::new();
    for workload in
        pods(objects).into_iter().filter(|pod| matches!(pod.owner.kind(), "Deployment" | "StatefulSet"))
    {
        let (owner, replicas) = (workload.owner, replicas(objects, workload.owner));
        let budget = objects.of_kind("PodDisruptionBudget").find(|budget| {
            budget.at("/spec/selector").is_some_and(|selector| selects(selector, &workload.labels()))
        });
        match budget {
            None if replicas > 1 => {
                problems.push(
                    owner.problem("spec.replicas", format!("{replicas} replicas and no PodDisruptionBudget")),
                );
            }
            None => {}
            Some(budget) => {
                let (field, down) = evictable(budget, replicas);
                if down == 0 {
                    problems.push(
                        budget
                            .problem(field, format!("of {replicas} replicas of {owner} none may be evicted")),
                    );
                } else if replicas > 1 && down >= replicas {
                    problems.push(
                        budget.problem(field, format!("all {replicas} replicas of {owner} may be evicted")),
                    );
                }
            }
        }
        if scaler(objects, owner).is_some() && owner.at("/spec/replicas").is_some() {
            problems.push(owner.problem("spec.replicas", "is the autoscaler's to set"));
        }
        if owner.kind() == "Deployment"
            && replicas > 1
            && list(workload.spec().get("topologySpreadConstraints")).is_empty()
        {
            problems.push(
                workload.problem("topologySpreadConstraints", "is missing: all replicas may be on one node"),
            );
        }
    }
    for scaler in objects.of_kind("HorizontalPodAutoscaler") {
        let number = |pointer: &str| scaler.at(pointer).and_then(Value::as_u64).unwrap_or(1);
        if number("/spec/minReplicas") >= number("/spec/maxReplicas") {
            problems.push(scaler.problem("spec.maxReplicas", "leaves no room above minReplicas"));
        }
    }
    problems
}

/// How many pods a budget lets go at once.
fn evictable(budget: &Object, replicas: u64) -> (&'static str, u64) {
    // Percentages are rounded up in both cases: https://kubernetes.io/docs/tasks/run-application/configure-pdb/
    let count = |value: &Value| match value {
        Value::String(percent) => {
            let percent: u64 = percent.trim_end_matches('%').parse().unwrap_or(0);
            (replicas * percent).div_ceil(100)
        }
        number => number.as_u64().unwrap_or(0),
    };
    match (budget.at("/spec/maxUnavailable"), budget.at("/spec/minAvailable")) {
        (Some(most), _) => ("spec.maxUnavailable", count(most)),
        (None, Some(least)) => ("spec.minAvailable", replicas.saturating_sub(count(least))),
        (None, None) => ("spec", 0),
    }
}

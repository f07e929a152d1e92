//! What services, their migrations and PostgreSQL have to agree on, and each is told by itself.

use serde_json::Value;

use crate::environment::environment;
use crate::object::{Object, Objects, Problem, list, text};
use crate::pod::{Pod, pods};
use crate::workloads::most_replicas;

/// Connections that are not the services': migrations, standbys, backups, metrics, and people who look.
const OTHERS: u64 = 40;

/// How long a migration may take, in seconds: a new replica waits for it (docs/operations.md, Upgrade).
const LONGEST_MIGRATION: u64 = 1800;

/// What a service's role must be a member of, for it has to see whose transactions run
/// (`libs/eventlog/src/horizon.rs`).
const SEES_TRANSACTIONS: &str = "pg_read_all_stats";

/// Connections suffice, running roles see transactions, and migrations are waited for and leave a trace.
pub fn check(objects: &Objects) -> Vec<Problem> {
    let mut problems = connections(objects);
    problems.extend(roles(objects));
    problems.extend(migrations(objects));
    problems
}

/// The connections of all replicas at the worst moment fit into what each server allows.
fn connections(objects: &Objects) -> Vec<Problem> {
    let (mut needed, mut problems) = (OTHERS, Vec::new());
    for pod in pods(objects).into_iter().filter(Pod::is_long_running) {
        for container in pod.containers() {
            let variables = environment(objects, container.value);
            if !variables.contains_key("TAEL_DATABASE_URL") {
                continue;
            }
            let pool = variables.get("TAEL_DATABASE_CONNECTIONS").and_then(|value| value.known());
            let Some(pool) = pool.and_then(|pool| pool.parse::<u64>().ok()) else {
                let what = "is not said, and all of them must fit max_connections";
                problems.push(pod.owner.problem(container.field("env[TAEL_DATABASE_CONNECTIONS]"), what));
                continue;
            };
            // While all are rolled: those that serve, as many that still end, and one that starts.
            needed += (2 * most_replicas(objects, pod.owner) + 1) * pool;
        }
    }
    for server in objects.iter() {
        if let Some((field, allowed)) = max_connections(server).filter(|(_, allowed)| *allowed < needed) {
            let what = format!("{allowed} are too few: at the worst moment of a rollout there are {needed}");
            problems.push(server.problem(field, what));
        }
    }
    problems
}

/// How many connections a server of PostgreSQL allows, and the field that says so.
fn max_connections(server: &Object) -> Option<(&'static str, u64)> {
    match server.kind() {
        "Cluster" => {
            let said = server.text("/spec/postgresql/parameters/max_connections");
            Some(("spec.postgresql.parameters.max_connections", said.parse().unwrap_or(100)))
        }
        "StatefulSet" => {
            let arguments = server.list("/spec/template/spec/containers/0/args").iter();
            let said =
                arguments.filter_map(Value::as_str).find_map(|one| one.strip_prefix("max_connections="));
            Some(("spec.template.spec.containers[0].args", said?.parse().unwrap_or(0)))
        }
        _ => None,
    }
}

/// Each role that a service runs as may see whose transactions run.
fn roles(objects: &Objects) -> Vec<Problem> {
    let mut problems = Vec::new();
    for pod in pods(objects) {
        for container in pod.containers() {
            let variables = environment(objects, container.value);
            let Some(role) = variables.get("TAEL_RUNTIME_ROLE").and_then(|value| value.known()) else {
                continue;
            };
            match objects.of_kind("Cluster").next() {
                Some(cluster) => {
                    let mut roles = cluster.list("/spec/managed/roles").iter();
                    let own = roles.find(|one| text(one, "name") == role);
                    let of = list(own.and_then(|own| own.get("inRoles")));
                    if !of.iter().any(|one| one.as_str() == Some(SEES_TRANSACTIONS)) {
                        let what = format!("{SEES_TRANSACTIONS} is missing");
                        problems.push(cluster.problem(format!("spec.managed.roles[{role}].inRoles"), what));
                    }
                }
                // The development server's script makes all roles alike.
                None if !is_granted_by_script(objects) => {
                    let what = format!("no script grants {role} {SEES_TRANSACTIONS}");
                    problems.push(pod.owner.problem(container.field("env[TAEL_RUNTIME_ROLE]"), what));
                }
                None => {}
            }
        }
    }
    problems
}

fn is_granted_by_script(objects: &Objects) -> bool {
    let grant = format!("grant {SEES_TRANSACTIONS} to :\"name\";");
    objects.of_kind("ConfigMap").any(|map| map.text("/data/databases.sh").contains(&grant))
}

/// A migration that failed leaves its log, and a new replica is waited for as long as it waits.
fn migrations(objects: &Objects) -> Vec<Problem> {
    let mut problems = Vec::new();
    for pod in pods(objects) {
        let variables: Vec<_> =
            pod.containers().iter().map(|container| environment(objects, container.value)).collect();
        let has = |name: &str| variables.iter().any(|variables| variables.contains_key(name));
        // https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-backoff-failure-policy
        if has("TAEL_RUNTIME_ROLE") && text(pod.spec(), "restartPolicy") != "Never" {
            problems.push(pod.problem("restartPolicy", "is not Never: the log goes when the Job gives up"));
        }
        let deadline = pod.owner.at("/spec/progressDeadlineSeconds").and_then(Value::as_u64).unwrap_or(600);
        if pod.owner.kind() == "Deployment" && has("TAEL_MIGRATE_AT_START") && deadline <= LONGEST_MIGRATION {
            let what = format!("{deadline} s are too short for a replica that waits for a migration");
            problems.push(pod.owner.problem("spec.progressDeadlineSeconds", what));
        }
    }
    problems
}

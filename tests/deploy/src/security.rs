//! Pod Security "restricted", a read-only root, no token: what a container that was broken into can't do.

use serde_json::Value;

use crate::object::{Object, Objects, Problem, list, text};
use crate::pod::{Pod, pods};

/// The volumes that "restricted" allows:
/// <https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted>.
const VOLUMES: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// Workloads that speak to the Kubernetes API, and so need a token, with the reason.
const WITH_TOKEN: [(&str, &str); 0] = [];

/// Every pod passes "restricted", cannot write to its root file system, and has no token.
pub fn check(objects: &Objects) -> Vec<Problem> {
    let mut problems = Vec::new();
    for pod in pods(objects) {
        problems.extend(pod_problems(&pod));
        problems.extend(container_problems(&pod));
        problems.extend(token(objects, &pod));
    }
    for namespace in objects.of_kind("Namespace") {
        let level = "pod-security.kubernetes.io/enforce";
        if namespace.labels().get(level).map(String::as_str) != Some("restricted") {
            problems.push(namespace.problem(format!("metadata.labels {level}"), "is not restricted"));
        }
    }
    if objects.of_kind("Namespace").count() == 0 {
        problems.push(Problem {
            object: "Namespace/tael".to_owned(),
            field: "metadata".to_owned(),
            what: "is missing, so that nothing enforces Pod Security".to_owned(),
        });
    }
    problems
}

fn is_true(value: Option<&Value>) -> bool {
    value.and_then(Value::as_bool) == Some(true)
}

fn pod_problems(pod: &Pod<'_>) -> Vec<Problem> {
    let spec = pod.spec();
    let mut problems = Vec::new();
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        if is_true(spec.get(field)) {
            problems.push(pod.problem(field, "is the host's"));
        }
    }
    for volume in list(spec.get("volumes")) {
        let kinds = volume
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| key.as_str())
            .filter(|key| *key != "name");
        for kind in kinds.filter(|kind| !VOLUMES.contains(kind)) {
            problems.push(
                pod.problem(&format!("volumes[{}]", text(volume, "name")), format!("{kind} is not allowed")),
            );
        }
    }
    problems
}

fn container_problems(pod: &Pod<'_>) -> Vec<Problem> {
    let of_pod = pod.spec().get("securityContext").unwrap_or(&Value::Null);
    let mut problems = Vec::new();
    for container in pod.containers() {
        let own = container.value.get("securityContext").unwrap_or(&Value::Null);
        // What a container does not say, its pod says.
        let either = |field: &str| own.get(field).or_else(|| of_pod.get(field));
        let mut say = |field: &str, what: &str| {
            problems.push(pod.owner.problem(container.field(&format!("securityContext.{field}")), what));
        };
        if !is_true(either("runAsNonRoot")) {
            say("runAsNonRoot", "is not true");
        }
        if either("runAsUser").and_then(Value::as_u64) == Some(0) {
            say("runAsUser", "is root");
        }
        if !matches!(
            either("seccompProfile").map(|profile| text(profile, "type")),
            Some("RuntimeDefault" | "Localhost")
        ) {
            say("seccompProfile", "is neither RuntimeDefault nor Localhost");
        }
        if own.get("allowPrivilegeEscalation").and_then(Value::as_bool) != Some(false) {
            say("allowPrivilegeEscalation", "is not false");
        }
        if is_true(own.get("privileged")) {
            say("privileged", "is true");
        }
        if !is_true(own.get("readOnlyRootFilesystem")) {
            say("readOnlyRootFilesystem", "is not true");
        }
        if !list(own.pointer("/capabilities/drop")).iter().any(|one| one.as_str() == Some("ALL")) {
            say("capabilities.drop", "is not ALL");
        }
        if !list(own.pointer("/capabilities/add")).iter().all(|one| one.as_str() == Some("NET_BIND_SERVICE"))
        {
            say("capabilities.add", "adds more than NET_BIND_SERVICE");
        }
        // A Redis with neither a password nor this answers its own pod alone; some images switch it off, others don't.
        let arguments = list(container.value.get("args"));
        if arguments.first().is_some_and(|program| program == "redis-server")
            && !arguments.iter().any(|argument| argument == "--protected-mode" || argument == "--requirepass")
        {
            let what = "says nothing of --protected-mode, and the image's default decides who is answered";
            problems.push(pod.owner.problem(container.field("args"), what));
        }
        if list(container.value.get("ports")).iter().any(|port| port.get("hostPort").is_some()) {
            problems.push(pod.owner.problem(container.field("ports"), "a port is the host's"));
        }
    }
    problems
}

/// A service account of its own, and no token unless it needs one.
fn token(objects: &Objects, pod: &Pod<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let account = text(pod.spec(), "serviceAccountName");
    if account.is_empty() || account == "default" {
        problems.push(pod.problem("serviceAccountName", "is the namespace's default"));
    }
    let needs_one = WITH_TOKEN.iter().any(|(owner, _)| *owner == pod.owner.to_string());
    let no = |value: Option<&Value>| value.and_then(Value::as_bool) == Some(false);
    let of_account =
        objects.find("ServiceAccount", account).and_then(|object| object.at("/automountServiceAccountToken"));
    let of_pod = pod.spec().get("automountServiceAccountToken");
    if !needs_one && !no(of_pod.or(of_account)) {
        problems.push(
            pod.problem("automountServiceAccountToken", "is not false, here or at the service account"),
        );
    }
    problems
}

/// Images are pinned: by a version, or by digest; and ours come from a registry that somebody has chosen.
pub fn check_images(objects: &Objects) -> Vec<Problem> {
    let mut problems = Vec::new();
    for pod in pods(objects) {
        for container in pod.containers() {
            problems.extend(
                unpinned(container.image()).map(|what| pod.owner.problem(container.field("image"), what)),
            );
        }
    }
    for cluster in objects.of_kind("Cluster") {
        let image = cluster.text("/spec/imageName");
        problems.extend(unpinned(image).map(|what| cluster.problem("spec.imageName", what)));
    }
    problems
}

fn unpinned(image: &str) -> Option<String> {
    // Images for development are built where they run.
    if image.starts_with("tael/") && !image.ends_with(":dev") {
        return Some(format!("{image:?} names no registry, so whoever owns the name at docker.io is asked"));
    }
    if image.contains("@sha256:") {
        return None;
    }
    let last = image.rsplit('/').next().unwrap_or_default();
    match last.split_once(':') {
        None => Some(format!("{image:?} has no tag")),
        Some((_, "latest" | "")) => Some(format!("{image:?} is not pinned")),
        Some(_) => None,
    }
}

/// No secret stands in the manifests but those that say that they are for development.
pub fn check_secrets(objects: &Objects) -> Vec<Problem> {
    let is_for_development =
        |object: &Object| object.text("/metadata/annotations/tael.io~1development-only") == "true";
    let literal = objects.of_kind("Secret").filter(|object| {
        (object.at("/data").is_some() || object.at("/stringData").is_some()) && !is_for_development(object)
    });
    literal.map(|object| object.problem("data", "a secret stands in the manifests")).collect()
}

#[cfg(test)]
mod tests {
    use super::unpinned;

    #[test]
    fn an_image_is_pinned_by_version_or_digest() {
        for image in ["postgres:17.5-bookworm", "host:5000/tael/order:1", "a/b@sha256:00", "tael/order:dev"] {
            assert_eq!(unpinned(image), None, "{image}");
        }
        for image in ["postgres", "postgres:latest", "host:5000/tael/order", "tael/order:1", ""] {
            assert!(unpinned(image).is_some(), "{image}");
        }
    }
}

//! What pods and other objects refer to by name, and what there is under those names.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::object::{Object, Objects, Problem, list, text};
use crate::pod::{Pod, pods};

/// What a ConfigMap or a Secret holds.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    /// The keys, with the value of each that stands in the manifests. (Secrets that come from elsewhere do not.)
    pub keys: BTreeMap<String, Option<String>>,
    /// Whether there may be keys that the manifests do not name.
    pub is_open: bool,
}

impl Entries {
    fn of_keys<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        Self { keys: keys.into_iter().map(|key| (key.to_owned(), None)).collect(), is_open: false }
    }

    fn has(&self, key: &str) -> bool {
        self.is_open || self.keys.contains_key(key)
    }
}

/// The ConfigMap of this name.
pub fn config_map(objects: &Objects, name: &str) -> Option<Entries> {
    let object = objects.find("ConfigMap", name)?;
    let mut keys = BTreeMap::new();
    for (key, value) in entries(object, "/data") {
        keys.insert(key.clone(), value.as_str().map(str::to_owned));
    }
    for (key, _) in entries(object, "/binaryData") {
        keys.insert(key.clone(), None);
    }
    Some(Entries { keys, is_open: false })
}

/// The Secret of this name, be it in the manifests or made in the cluster by what is in them.
pub fn secret(objects: &Objects, name: &str) -> Option<Entries> {
    objects.iter().find_map(|object| match object.kind() {
        "Secret" if object.name() == name => Some(secret_itself(object)),
        "ExternalSecret" => external_secret(object, name),
        "Certificate" if object.text("/spec/secretName") == name => {
            Some(Entries::of_keys(["tls.crt", "tls.key", "ca.crt"]))
        }
        "Cluster" => cloud_native_pg(object, name),
        // cert-manager issues the certificates of an Ingress that asks for it.
        "Ingress" if object.at("/metadata/annotations/cert-manager.io~1cluster-issuer").is_some() => object
            .list("/spec/tls")
            .iter()
            .any(|tls| text(tls, "secretName") == name)
            .then(|| Entries::of_keys(["tls.crt", "tls.key"])),
        _ => None,
    })
}

fn secret_itself(object: &Object) -> Entries {
    let mut keys = BTreeMap::new();
    for (key, value) in entries(object, "/data") {
        keys.insert(key.clone(), value.as_str().and_then(from_base64));
    }
    for (key, value) in entries(object, "/stringData") {
        keys.insert(key.clone(), value.as_str().map(str::to_owned));
    }
    Entries { keys, is_open: false }
}

/// External Secrets writes the keys of `template.data` when there is a template that does not merge, and else those of
/// `data` and whatever `dataFrom` finds.
fn external_secret(object: &Object, name: &str) -> Option<Entries> {
    let target = object.text("/spec/target/name");
    if name != if target.is_empty() { object.name() } else { target } {
        return None;
    }
    let mut found = Entries::default();
    for (key, value) in entries(object, "/spec/target/template/data") {
        found.keys.insert(key.clone(), value.as_str().and_then(with_stand_ins));
    }
    if found.keys.is_empty() || object.text("/spec/target/template/mergePolicy") == "Merge" {
        for item in object.list("/spec/data") {
            found.keys.entry(text(item, "secretKey").to_owned()).or_insert(None);
        }
        found.is_open = !object.list("/spec/dataFrom").is_empty();
    }
    Some(found)
}

/// The text with something in place of each `{{ … }}`, so that a URL's host can be read; nothing when there is no more.
fn with_stand_ins(template: &str) -> Option<String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, (_, after))) =
        rest.split_once("{{").and_then(|(a, b)| Some((a, b.split_once("}}")?)))
    {
        text.push_str(before);
        text.push_str("stand-in");
        rest = after;
    }
    text.push_str(rest);
    (text != "stand-in").then_some(text)
}

/// The operator makes these Secrets beside a cluster:
/// <https://cloudnative-pg.io/documentation/current/applications/#secrets>.
fn cloud_native_pg(object: &Object, name: &str) -> Option<Entries> {
    if !object.text("/apiVersion").starts_with("postgresql.cnpg.io/") {
        return None;
    }
    match name.strip_prefix(object.name())? {
        "-app" | "-superuser" => Some(Entries::of_keys([
            "username", "user", "password", "dbname", "host", "port", "uri", "jdbc-uri", "pgpass",
        ])),
        "-ca" => Some(Entries::of_keys(["ca.crt", "ca.key"])),
        "-server" | "-replication" => Some(Entries::of_keys(["tls.crt", "tls.key"])),
        _ => None,
    }
}

fn entries<'a>(object: &'a Object, pointer: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    object.at(pointer).and_then(Value::as_object).into_iter().flatten()
}

/// The text behind base64; `None` when it is no base64 or no text.
fn from_base64(encoded: &str) -> Option<String> {
    use base64::Engine as _;
    // kustomize breaks long values into lines.
    let encoded: String = encoded.split_whitespace().collect();
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
    String::from_utf8(bytes).ok()
}

/// One reference to a ConfigMap, Secret or the like.
struct Reference<'a> {
    kind: &'static str,
    name: &'a str,
    /// The keys that must be there.
    keys: Vec<&'a str>,
    field: String,
    optional: bool,
}

/// Everything that is referred to exists, down to the keys.
pub fn check(objects: &Objects) -> Vec<Problem> {
    let mut problems = Vec::new();
    for pod in pods(objects) {
        for reference in references(&pod) {
            problems.extend(unresolved(objects, &reference).map(|what| pod.problem(&reference.field, what)));
        }
    }
    for object in objects.iter() {
        problems.extend(other_references(objects, object));
    }
    problems
}

/// The names of ConfigMaps and Secrets that some pod uses, or another object refers to.
pub fn unused(objects: &Objects) -> Vec<Problem> {
    let mut used = BTreeSet::new();
    for pod in pods(objects) {
        for reference in references(&pod) {
            used.insert((reference.kind, reference.name.to_owned()));
        }
    }
    let is_named_elsewhere = |object: &Object| {
        objects
            .iter()
            .any(|other| other.to_string() != object.to_string() && names(other.value(), object.name()))
    };
    let unused = objects.iter().filter(|object| match object.kind() {
        kind @ ("ConfigMap" | "Secret") => {
            !used.contains(&(if kind == "Secret" { "Secret" } else { "ConfigMap" }, object.name().to_owned()))
                && !is_named_elsewhere(object)
        }
        _ => false,
    });
    unused.map(|object| object.problem("metadata.name", "nothing refers to it")).collect()
}

/// Whether a `name`, `secretName` or the like below this value is `name`, outside of metadata.
fn names(value: &Value, name: &str) -> bool {
    match value {
        Value::Object(fields) => fields.iter().any(|(key, value)| {
            key != "metadata"
                && (value.as_str() == Some(name) && key.to_lowercase().ends_with("name")
                    || names(value, name))
        }),
        Value::Array(items) => items.iter().any(|item| names(item, name)),
        _ => false,
    }
}

fn unresolved(objects: &Objects, reference: &Reference<'_>) -> Option<String> {
    if reference.optional {
        return None;
    }
    let Reference { kind, name, .. } = reference;
    let entries = match *kind {
        "ConfigMap" => config_map(objects, name),
        "Secret" => secret(objects, name),
        kind => objects.find(kind, name).map(|_| Entries { is_open: true, ..Entries::default() }),
    };
    let Some(entries) = entries else { return Some(format!("there is no {kind} {name}")) };
    let missing = reference.keys.iter().find(|key| !entries.has(key))?;
    Some(format!("{kind} {name} has no key {missing}"))
}

fn references<'a>(pod: &Pod<'a>) -> Vec<Reference<'a>> {
    let mut found = Vec::new();
    let account = text(pod.spec(), "serviceAccountName");
    if !account.is_empty() {
        found.push(Reference {
            kind: "ServiceAccount",
            name: account,
            keys: Vec::new(),
            field: "serviceAccountName".to_owned(),
            optional: false,
        });
    }
    for container in pod.containers() {
        let place = container.path.strip_prefix(&pod.field("")).unwrap_or(&container.path).to_owned();
        for from in list(container.value.get("envFrom")) {
            for (field, kind) in [("configMapRef", "ConfigMap"), ("secretRef", "Secret")] {
                let Some(reference) = from.get(field) else { continue };
                found.push(whole(kind, reference, format!("{place}.envFrom")));
            }
        }
        for variable in list(container.value.get("env")) {
            for (field, kind) in [("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")] {
                let Some(reference) = variable.get("valueFrom").and_then(|from| from.get(field)) else {
                    continue;
                };
                let field = format!("{place}.env[{}]", text(variable, "name"));
                found.push(Reference { keys: vec![text(reference, "key")], ..whole(kind, reference, field) });
            }
        }
        for mount in list(container.value.get("volumeMounts")) {
            let volume = text(mount, "name");
            let is_there = list(pod.spec().get("volumes")).iter().any(|one| text(one, "name") == volume)
                || pod
                    .owner
                    .list("/spec/volumeClaimTemplates")
                    .iter()
                    .any(|claim| claim.pointer("/metadata/name").and_then(Value::as_str) == Some(volume));
            if !is_there {
                let field = format!("{place}.volumeMounts");
                found.push(Reference {
                    kind: "volume",
                    name: volume,
                    keys: Vec::new(),
                    field,
                    optional: false,
                });
            }
        }
    }
    for volume in list(pod.spec().get("volumes")) {
        let field = format!("volumes[{}]", text(volume, "name"));
        found.extend(volume_sources(volume, &field));
        for source in
            volume.get("projected").map(|projected| list(projected.get("sources"))).unwrap_or_default()
        {
            found.extend(volume_sources(source, &field));
        }
    }
    for pull in list(pod.spec().get("imagePullSecrets")) {
        found.push(whole("Secret", pull, "imagePullSecrets".to_owned()));
    }
    found
}

fn whole<'a>(kind: &'static str, reference: &'a Value, field: String) -> Reference<'a> {
    let optional = reference.get("optional").and_then(Value::as_bool).unwrap_or(false);
    Reference { kind, name: text(reference, "name"), keys: Vec::new(), field, optional }
}

fn volume_sources<'a>(volume: &'a Value, field: &str) -> Vec<Reference<'a>> {
    let of = |source: &str, kind: &'static str, name: &str| {
        let source = volume.get(source)?;
        let keys = list(source.get("items")).iter().map(|item| text(item, "key")).collect();
        Some(Reference { name: text(source, name), keys, ..whole(kind, source, field.to_owned()) })
    };
    [
        of("configMap", "ConfigMap", "name"),
        of(
            "secret",
            "Secret",
            if volume.get("secret").is_some_and(|s| s.get("secretName").is_some()) {
                "secretName"
            } else {
                "name"
            },
        ),
        of("persistentVolumeClaim", "PersistentVolumeClaim", "claimName"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// References of objects that are no pods.
fn other_references(objects: &Objects, object: &Object) -> Vec<Problem> {
    let absent = |kind: &str, name: &str, field: &str| {
        (!name.is_empty() && objects.find(kind, name).is_none())
            .then(|| object.problem(field, format!("there is no {kind} {name}")))
    };
    let absent_secret = |name: &str, field: String| {
        (!name.is_empty() && secret(objects, name).is_none())
            .then(|| object.problem(field, format!("there is no Secret {name}")))
    };
    match object.kind() {
        "HorizontalPodAutoscaler" => {
            let target = "/spec/scaleTargetRef";
            let (kind, name) =
                (object.text(&format!("{target}/kind")), object.text(&format!("{target}/name")));
            absent(kind, name, "spec.scaleTargetRef").into_iter().collect()
        }
        "StatefulSet" => {
            absent("Service", object.text("/spec/serviceName"), "spec.serviceName").into_iter().collect()
        }
        "RoleBinding" | "ClusterRoleBinding" => {
            let role = absent(object.text("/roleRef/kind"), object.text("/roleRef/name"), "roleRef");
            let subjects =
                object.list("/subjects").iter().filter(|subject| text(subject, "kind") == "ServiceAccount");
            let accounts =
                subjects.filter_map(|subject| absent("ServiceAccount", text(subject, "name"), "subjects"));
            role.into_iter().chain(accounts).collect()
        }
        "Ingress" => {
            let tls = object.list("/spec/tls").iter();
            let secrets = tls.filter_map(|tls| absent_secret(text(tls, "secretName"), "spec.tls".to_owned()));
            secrets.chain(backends(objects, object)).collect()
        }
        "Certificate" => {
            let kind = object.text("/spec/issuerRef/kind");
            let kind = if kind.is_empty() { "Issuer" } else { kind };
            // An issuer of the whole cluster is the platform's, and not ours to bring.
            let missing = absent(kind, object.text("/spec/issuerRef/name"), "spec.issuerRef");
            missing.filter(|_| kind == "Issuer").into_iter().collect()
        }
        "Issuer" => absent_secret(object.text("/spec/ca/secretName"), "spec.ca.secretName".to_owned())
            .into_iter()
            .collect(),
        "Cluster" => {
            let roles = object.list("/spec/managed/roles").iter().filter_map(|role| {
                let name = role.pointer("/passwordSecret/name").and_then(Value::as_str).unwrap_or_default();
                absent_secret(name, format!("spec.managed.roles[{}].passwordSecret", text(role, "name")))
            });
            let bootstrap = absent_secret(
                object.text("/spec/bootstrap/initdb/secret/name"),
                "spec.bootstrap.initdb.secret".to_owned(),
            );
            roles.chain(bootstrap).collect()
        }
        "ObjectStore" => ["accessKeyId", "secretAccessKey"]
            .iter()
            .filter_map(|name| {
                let credential = object.at(&format!("/spec/configuration/s3Credentials/{name}"))?;
                let field = format!("spec.configuration.s3Credentials.{name}");
                let keys = vec![text(credential, "key")];
                let reference = Reference { keys, ..whole("Secret", credential, field.clone()) };
                Some(object.problem(field, unresolved(objects, &reference)?))
            })
            .collect(),
        "Database" | "ScheduledBackup" | "Pooler"
            if object.text("/apiVersion").starts_with("postgresql.cnpg.io/") =>
        {
            absent("Cluster", object.text("/spec/cluster/name"), "spec.cluster.name").into_iter().collect()
        }
        _ => Vec::new(),
    }
}

fn backends(objects: &Objects, ingress: &Object) -> Vec<Problem> {
    let paths = ingress.list("/spec/rules").iter().flat_map(|rule| list(rule.pointer("/http/paths")));
    let problem = |path: &Value| {
        let service = path.pointer("/backend/service")?;
        let name = text(service, "name");
        let field = format!("spec.rules {}", text(path, "path"));
        let Some(target) = objects.find("Service", name) else {
            return Some(ingress.problem(field, format!("there is no Service {name}")));
        };
        let port = service.get("port")?;
        let has = target.list("/spec/ports").iter().any(|one| {
            port.get("name").is_some_and(|name| one.get("name") == Some(name))
                || port.get("number").is_some_and(|number| one.get("port") == Some(number))
        });
        (!has).then(|| ingress.problem(field, format!("Service {name} has no port {port}")))
    };
    paths.filter_map(problem).collect()
}

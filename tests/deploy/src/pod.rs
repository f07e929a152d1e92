//! Pods, as the objects that make them describe them.

use serde_json::Value;

use crate::object::{Labels, Object, Objects, Problem, labels, list, text};

/// The template of the pods that an object makes.
#[derive(Clone, Copy, Debug)]
pub struct Pod<'a> {
    /// The object that makes them: a Deployment, StatefulSet, DaemonSet, Job or CronJob.
    pub owner: &'a Object,
    template: &'a Value,
    path: &'static str,
}

/// A container of a pod, and where it stands.
#[derive(Clone, Debug)]
pub struct Container<'a> {
    /// Its description.
    pub value: &'a Value,
    /// `spec.template.spec.containers[order]`, for problems.
    pub path: String,
    /// Whether it ends before the others start. (One that restarts always is a sidecar and does not end.)
    pub is_init: bool,
}

impl Container<'_> {
    /// The container's name.
    pub fn name(&self) -> &str {
        text(self.value, "name")
    }

    /// The container's image.
    pub fn image(&self) -> &str {
        text(self.value, "image")
    }

    /// The path of one of the container's fields.
    pub fn field(&self, field: &str) -> String {
        format!("{}.{field}", self.path)
    }
}

/// A port that a container says it listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name; empty when it has none.
    pub name: String,
    /// Its number; 0 when it does not fit.
    pub number: u16,
    /// TCP unless it says otherwise.
    pub protocol: String,
}

impl<'a> Pod<'a> {
    /// The labels that the pods carry.
    pub fn labels(&self) -> Labels {
        labels(self.template.pointer("/metadata/labels"))
    }

    /// The pods' specification.
    pub fn spec(&self) -> &'a Value {
        self.template.get("spec").unwrap_or(&Value::Null)
    }

    /// The path of a field of the specification.
    pub fn field(&self, field: &str) -> String {
        format!("{}.{field}", self.path)
    }

    /// A problem with a field of the pods' specification.
    pub fn problem(&self, field: &str, what: impl Into<String>) -> Problem {
        self.owner.problem(self.field(field), what)
    }

    /// All containers, those that only run first included.
    pub fn containers(&self) -> Vec<Container<'a>> {
        let of = |field: &'static str| {
            list(self.spec().get(field)).iter().map(move |value| Container {
                value,
                path: format!("{}.{field}[{}]", self.path, text(value, "name")),
                is_init: field == "initContainers" && text(value, "restartPolicy") != "Always",
            })
        };
        of("initContainers").chain(of("containers")).collect()
    }

    /// The ports of all containers.
    pub fn ports(&self) -> Vec<Port> {
        self.containers().iter().flat_map(|container| ports(container.value)).collect()
    }

    /// Whether the pods run until they are told to end.
    pub fn is_long_running(&self) -> bool {
        !matches!(self.owner.kind(), "Job" | "CronJob")
    }

    /// The service of ours whose image the pods run: `order` for `tael/order:1.2`.
    pub fn service(&self) -> Option<String> {
        self.containers().iter().find_map(|container| our_image(container.image()))
    }
}

/// The ports that a container says it listens on.
pub fn ports(container: &Value) -> Vec<Port> {
    let port = |port: &Value| Port {
        name: text(port, "name").to_owned(),
        number: port
            .get("containerPort")
            .and_then(Value::as_u64)
            .and_then(|n| n.try_into().ok())
            .unwrap_or(0),
        protocol: port.get("protocol").and_then(Value::as_str).unwrap_or("TCP").to_owned(),
    };
    list(container.get("ports")).iter().map(port).collect()
}

/// `order` for `tael/order:1.2` and `registry.example/tael/order@sha256:…`; nothing for images of others.
pub fn our_image(image: &str) -> Option<String> {
    let path = image.split(['@', ':']).next().unwrap_or_default();
    // A registry with a port has a colon of its own.
    let path = if path.contains('/') { path } else { image.rsplit_once('/').map_or(path, |_| image) };
    let (before, after) = path.rsplit_once("tael/")?;
    let name = after.split([':', '@']).next()?;
    ((before.is_empty() || before.ends_with('/')) && !name.contains('/')).then(|| name.to_owned())
}

/// The templates of all pods that the objects make.
pub fn pods(objects: &Objects) -> Vec<Pod<'_>> {
    objects.iter().filter_map(pod).collect()
}

/// The template of the pods that an object makes, if it makes any.
pub fn pod(owner: &Object) -> Option<Pod<'_>> {
    let (pointer, path) = match owner.kind() {
        "Deployment" | "StatefulSet" | "DaemonSet" | "Job" => ("/spec/template", "spec.template.spec"),
        "CronJob" => ("/spec/jobTemplate/spec/template", "spec.jobTemplate.spec.template.spec"),
        "Pod" => ("", "spec"),
        _ => return None,
    };
    Some(Pod { owner, template: owner.at(pointer)?, path })
}

/// Pods of one kind: of what object, with which labels and ports.
pub struct Kind<'a> {
    /// The object that they are made of.
    pub owner: &'a Object,
    /// The labels that they carry.
    pub labels: Labels,
    /// The ports that they listen on.
    pub ports: Vec<Port>,
}

/// All pods: those of [`pods`], in their order, and then those that operators make of their objects.
pub fn everybody(objects: &Objects) -> Vec<Kind<'_>> {
    let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let rendered = pods(objects).into_iter().map(|pod| Kind {
        owner: pod.owner,
        labels: pod.labels(),
        ports: pod.ports(),
    });
    // https://cloudnative-pg.io/docs/1.30/labels_annotations/
    let instances = objects.of_kind("Cluster").map(|owner| {
        let mut all = labels(owner.at("/spec/inheritedMetadata/labels"));
        all.extend([label("cnpg.io/cluster", owner.name()), label("cnpg.io/podRole", "instance")]);
        let ports = vec![tcp("postgresql", 5432), tcp("metrics", 9187), tcp("status", 8000)];
        Kind { owner, labels: all, ports }
    });
    // A public authority may want to see an answer by HTTP: https://cert-manager.io/docs/configuration/acme/http01/
    let certificates = objects.of_kind("Certificate");
    let public = certificates.filter(|owner| owner.text("/spec/issuerRef/kind") == "ClusterIssuer");
    let solvers = public.map(|owner| Kind {
        owner,
        labels: Labels::from([label("acme.cert-manager.io/http01-solver", "true")]),
        ports: vec![tcp("http", 8089)],
    });
    rendered.chain(instances).chain(solvers).collect()
}

/// A TCP port.
pub fn tcp(name: &str, number: u16) -> Port {
    Port { name: name.to_owned(), number, protocol: "TCP".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::our_image;

    #[test]
    fn our_images_are_told_from_others() {
        for image in ["tael/order", "tael/order:1.2", "tael/order@sha256:ab", "host:5000/tael/order:dev"] {
            assert_eq!(our_image(image).as_deref(), Some("order"), "{image}");
        }
        for image in ["postgres:17", "nottael/order:1", "docker.io/library/redis:7", "tael/a/b:1"] {
            assert_eq!(our_image(image), None, "{image}");
        }
    }
}

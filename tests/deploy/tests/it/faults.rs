//! Faults planted in good objects: by the whole set of rules, exactly they are named.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::{Value, json};
use tael_deploy_tests::RULES;
use tael_deploy_tests::object::{Object, Objects};

use crate::overlays::rendered;

/// What is done to good objects, and what must be said of them then.
pub(crate) struct Fault {
    overlay: &'static str,
    plant: fn(&mut Objects),
    /// Each the beginning of a problem, or all of it.
    expected: &'static [&'static str],
}

pub(crate) const fn fault(
    overlay: &'static str,
    plant: fn(&mut Objects),
    expected: &'static [&'static str],
) -> Fault {
    Fault { overlay, plant, expected }
}

fn all_problems(objects: &Objects) -> BTreeSet<String> {
    RULES.iter().flat_map(|(_, rule)| rule(objects)).map(|problem| problem.to_string()).collect()
}

/// What is said of an overlay as it is. (Nothing, or other tests fail.)
fn before(overlay: &str) -> &'static BTreeSet<String> {
    static DEV: LazyLock<BTreeSet<String>> = LazyLock::new(|| all_problems(rendered("dev")));
    static PRODUCTION: LazyLock<BTreeSet<String>> = LazyLock::new(|| all_problems(rendered("production")));
    match overlay {
        "dev" => &DEV,
        "production" => &PRODUCTION,
        other => panic!("no faults are planted in {other}"),
    }
}

/// Plants each fault by itself, and compares what is said then with what was said before.
pub(crate) fn assert_found(faults: &[Fault]) {
    for (number, fault) in faults.iter().enumerate() {
        let good = rendered(fault.overlay);
        let mut objects = good.clone();
        (fault.plant)(&mut objects);
        let found: Vec<_> = all_problems(&objects).difference(before(fault.overlay)).cloned().collect();
        let is_expected = |problem: &String| fault.expected.iter().any(|one| problem.starts_with(one));
        let is_found = |one: &&str| found.iter().any(|problem| problem.starts_with(one));
        assert!(
            found.iter().all(is_expected) && fault.expected.iter().all(is_found),
            "fault {number}, expected {:#?}, found {found:#?}",
            fault.expected
        );
    }
}

/// The object that `Kind/name` names; `Kind/name-*` the one whose name has a hash of its content.
pub(crate) fn object<'a>(objects: &'a mut Objects, label: &str) -> &'a mut Object {
    let is_it = |object: &Object| match label.strip_suffix('*') {
        Some(start) => object.to_string().strip_prefix(start).is_some_and(|hash| hash.len() == 10),
        None => object.to_string() == label,
    };
    let found = objects.0.iter_mut().find(|object| is_it(object));
    found.unwrap_or_else(|| panic!("there is no {label}"))
}

/// Sets the field at a JSON pointer, which may be new. The last step of a list is appended by `-`.
pub(crate) fn set(objects: &mut Objects, label: &str, pointer: &str, value: Value) {
    let (parent, last) = pointer.rsplit_once('/').expect("a pointer has a slash");
    let parent = object(objects, label).value_mut().pointer_mut(parent);
    let last = last.replace("~1", "/");
    match parent.unwrap_or_else(|| panic!("{label} has no parent of {pointer}")) {
        Value::Object(fields) => drop(fields.insert(last, value)),
        Value::Array(items) if last == "-" => items.push(value),
        Value::Array(items) => items[last.parse::<usize>().expect("a number")] = value,
        other => panic!("{other} has no fields"),
    }
}

/// Removes the field at a JSON pointer, which must be there.
pub(crate) fn remove(objects: &mut Objects, label: &str, pointer: &str) {
    let (parent, last) = pointer.rsplit_once('/').expect("a pointer has a slash");
    let parent = object(objects, label).value_mut().pointer_mut(parent).expect("the parent is there");
    let last = last.replace("~1", "/");
    match parent {
        Value::Object(fields) => drop(fields.remove(&last).expect("the field is there")),
        Value::Array(items) => drop(items.remove(last.parse().expect("a number"))),
        other => panic!("{other} has no fields"),
    }
}

/// Takes an object away.
pub(crate) fn without(objects: &mut Objects, label: &str) {
    let name = object(objects, label).to_string();
    objects.0.retain(|object| object.to_string() != name);
}

pub(crate) const ORDER: &str = "Deployment/order";
const CONTAINER: &str = "/spec/template/spec/containers/0";

pub(crate) fn order(objects: &mut Objects, field: &str, value: Value) {
    set(objects, ORDER, &format!("{CONTAINER}/{field}"), value);
}

#[test]
fn faults_of_resources() {
    assert_found(&[
        fault(
            "dev",
            |o| order(o, "resources/limits/memory", json!("1Ki")),
            &[
                "Deployment/order: spec.template.spec.containers[order].resources.requests.memory: is above the limit",
            ],
        ),
        fault(
            "dev",
            |o| order(o, "resources/requests/cpu", json!("half")),
            &[
                "Deployment/order: spec.template.spec.containers[order].resources.requests.cpu: \"half\" is no quantity",
            ],
        ),
        fault(
            "dev",
            |o| order(o, "resources", json!({"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"cpu": 1}})),
            &["Deployment/order: spec.template.spec.containers[order].resources.limits.memory: is missing"],
        ),
        fault(
            "dev",
            |o| {
                set(
                    o,
                    "StatefulSet/postgres",
                    "/spec/volumeClaimTemplates/0/spec/resources/requests/storage",
                    json!("5 GB"),
                );
            },
            &["StatefulSet/postgres: spec.volumeClaimTemplates: \"5 GB\" is no quantity"],
        ),
    ]);
}

#[test]
fn faults_of_ports_and_services() {
    assert_found(&[
        fault(
            "dev",
            |o| order(o, "ports/1/name", json!("health-of-the-service")),
            &[
                "Deployment/order: spec.template.spec.containers[order].ports[health-of-the-service]: \"health-of-the-service\" is no name of a port",
            ],
        ),
        fault(
            "dev",
            |o| order(o, "ports/1/name", json!("grpc")),
            &[
                "Deployment/order: spec.template.spec.containers[order].ports[grpc]: another container port has the same name",
            ],
        ),
        fault(
            "dev",
            |o| order(o, "ports/-", json!({"name": "far", "containerPort": 65536})),
            &["Deployment/order: spec.template.spec.containers[order].ports[far]: 65536 is no port"],
        ),
        fault(
            "dev",
            |o| set(o, "Service/order", "/spec/ports/0/targetPort", json!("http")),
            &[
                "Service/order: spec.ports[grpc].targetPort: Deployment/order has no such port",
                "Deployment/order: ingress from ",
                "Deployment/audit: egress to Deployment/order at 50051/TCP: allowed by NetworkPolicy/audit, and nothing",
                "Deployment/notification: egress to Deployment/order at 50051/TCP: allowed by",
                "Deployment/payment: egress to Deployment/order at 50051/TCP: allowed by",
                "Deployment/refund: egress to Deployment/order at 50051/TCP: allowed by",
                "Deployment/settlement: egress to Deployment/order at 50051/TCP: allowed by",
            ],
        ),
        fault(
            "dev",
            |o| set(o, "Service/merchant", "/spec/ports/0/port", json!(80)),
            &[
                "Service/merchant: spec.ports[grpc].targetPort: the Service is headless, and Deployment/merchant listens on 50051",
                "Deployment/payment: TAEL_MERCHANT_URL: Service merchant has no port 50051",
                "Deployment/settlement: TAEL_MERCHANT_URL: Service merchant has no port 50051",
                "Deployment/merchant: ingress from Deployment/payment at 50051/TCP: allowed by",
                "Deployment/merchant: ingress from Deployment/settlement at 50051/TCP: allowed by",
                "Deployment/payment: egress to Deployment/merchant at 50051/TCP: allowed by",
                "Deployment/settlement: egress to Deployment/merchant at 50051/TCP: allowed by",
            ],
        ),
        fault(
            "production",
            |o| {
                set(
                    o,
                    "Ingress/gateway",
                    "/spec/rules/0/http/paths/0/backend/service/port/name",
                    json!("https"),
                );
            },
            &["Ingress/gateway: spec.rules /checkout: Service gateway has no port"],
        ),
    ]);
}

#[test]
fn faults_of_selectors_and_labels() {
    assert_found(&[
        fault(
            "dev",
            |o| set(o, ORDER, "/spec/selector/matchLabels/app.kubernetes.io~1name", json!("ordre")),
            &["Deployment/order: spec.selector: does not select its own pods"],
        ),
        fault(
            "dev",
            |o| set(o, ORDER, "/spec/selector/matchLabels", json!({"app.kubernetes.io/part-of": "tael"})),
            &["Deployment/order: spec.selector: selects the pods of "],
        ),
        fault(
            "dev",
            |o| {
                set(
                    o,
                    "PodDisruptionBudget/order",
                    "/spec/selector/matchLabels/app.kubernetes.io~1name",
                    json!("ordre"),
                );
            },
            &["PodDisruptionBudget/order: spec.selector: selects no pods"],
        ),
        fault(
            "dev",
            |o| {
                set(
                    o,
                    ORDER,
                    "/spec/template/spec/topologySpreadConstraints/0/labelSelector/matchLabels",
                    json!({"a": "b"}),
                );
            },
            &[
                "Deployment/order: spec.template.spec.topologySpreadConstraints[0]: does not count the pods it is written for",
            ],
        ),
        fault(
            "dev",
            |o| set(o, "ServiceAccount/order", "/metadata/namespace", json!("default")),
            &["ServiceAccount/order: metadata.namespace: \"default\" is not tael"],
        ),
        fault(
            "dev",
            |o| remove(o, ORDER, "/spec/template/metadata/labels/app.kubernetes.io~1part-of"),
            &[
                "Deployment/order: spec.template.metadata.labels: app.kubernetes.io/part-of is missing",
                "Deployment/order: spec.template.spec.topologySpreadConstraints[0]: does not count",
                "Deployment/order: spec.template.spec.topologySpreadConstraints[1]: does not count",
                "Deployment/otel-collector: ingress from Deployment/order at 4317/TCP: needed (OTEL_EXPORTER_OTLP_ENDPOINT)",
            ],
        ),
        fault(
            "dev",
            |o| {
                let twin = object(o, "ServiceAccount/order").clone();
                o.0.push(twin);
            },
            &["ServiceAccount/order: metadata.name: is there twice"],
        ),
    ]);
}

#[test]
fn faults_of_references() {
    assert_found(&[
        fault(
            "dev",
            |o| set(o, ORDER, "/spec/template/spec/serviceAccountName", json!("ordre")),
            &["Deployment/order: spec.template.spec.serviceAccountName: there is no ServiceAccount ordre"],
        ),
        fault(
            "dev",
            |o| {
                order(
                    o,
                    "env/-",
                    json!({"name": "TAEL_MAX_IN_FLIGHT", "valueFrom": {"configMapKeyRef": {"name": "absent", "key": "a"}}}),
                );
            },
            &[
                "Deployment/order: spec.template.spec.containers[order].env[TAEL_MAX_IN_FLIGHT]: there is no ConfigMap absent",
            ],
        ),
        fault(
            "production",
            |o| {
                order(
                    o,
                    "env/-",
                    json!({"name": "TAEL_MAX_IN_FLIGHT", "valueFrom": {"secretKeyRef": {"name": "order", "key": "absent"}}}),
                );
            },
            &[
                "Deployment/order: spec.template.spec.containers[order].env[TAEL_MAX_IN_FLIGHT]: Secret order has no key absent",
            ],
        ),
        fault(
            "production",
            |o| without(o, "ExternalSecret/postgres-backup"),
            &[
                "ObjectStore/postgres: spec.configuration.s3Credentials.accessKeyId: there is no Secret postgres-backup",
                "ObjectStore/postgres: spec.configuration.s3Credentials.secretAccessKey: there is no Secret postgres-backup",
            ],
        ),
        fault(
            "production",
            |o| {
                set(
                    o,
                    "ObjectStore/postgres",
                    "/spec/configuration/s3Credentials/accessKeyId/key",
                    json!("ID"),
                );
            },
            &[
                "ObjectStore/postgres: spec.configuration.s3Credentials.accessKeyId: Secret postgres-backup has no key ID",
            ],
        ),
        fault(
            "production",
            |o| without(o, "ExternalSecret/postgres-order"),
            &[
                "Cluster/postgres: spec.managed.roles[tael_order].passwordSecret: there is no Secret postgres-order",
            ],
        ),
        fault(
            "production",
            |o| without(o, "Certificate/order"),
            &[
                "Deployment/order: spec.template.spec.volumes[tls]: there is no Secret order-tls",
                "Certificate/order: spec.secretName: no certificate fills the secret order-tls",
            ],
        ),
        fault(
            "dev",
            |o| order(o, "volumeMounts/-", json!({"name": "absent", "mountPath": "/a"})),
            &[
                "Deployment/order: spec.template.spec.containers[order].volumeMounts: there is no volume absent",
            ],
        ),
        fault(
            "production",
            |o| set(o, "HorizontalPodAutoscaler/order", "/spec/scaleTargetRef/name", json!("ordre")),
            &["HorizontalPodAutoscaler/order: spec.scaleTargetRef: there is no Deployment ordre"],
        ),
        fault(
            "production",
            |o| set(o, "Certificate/order", "/spec/issuerRef/name", json!("absent")),
            &["Certificate/order: spec.issuerRef: there is no Issuer absent"],
        ),
        fault(
            "production",
            |o| set(o, "Database/order", "/spec/cluster/name", json!("absent")),
            &["Database/order: spec.cluster.name: there is no Cluster absent"],
        ),
    ]);
}

//! Further faults: in how workloads run, what they may do, what they are told, and whom they reach.

use serde_json::{Value, json};
use tael_deploy_tests::object::Objects;

use crate::faults::{ORDER, assert_found, fault, object, order, remove, set, without};

#[test]
fn faults_of_probes_and_endings() {
    assert_found(&[
        fault(
            "dev",
            |o| order(o, "readinessProbe/grpc/port", json!(50053)),
            &[
                "Deployment/order: spec.template.spec.containers[order].readinessProbe: the container has no port 50053",
            ],
        ),
        fault(
            "dev",
            |o| order(o, "readinessProbe/grpc/service", json!("tael.order.v1.OrderService")),
            &[
                "Deployment/order: spec.template.spec.containers[order].readinessProbe: no health is served under \"tael.order.v1.OrderService\"",
            ],
        ),
        fault(
            "dev",
            |o| order(o, "livenessProbe/grpc/service", json!("postgres")),
            &[
                "Deployment/order: spec.template.spec.containers[order].livenessProbe: asks for more than whether the process lives",
            ],
        ),
        fault(
            "dev",
            |o| remove(o, ORDER, "/spec/template/spec/containers/0/startupProbe"),
            &["Deployment/order: spec.template.spec.containers[order].startupProbe: is missing"],
        ),
        // Three seconds for each try at a closed port.
        fault(
            "dev",
            |o| order(o, "startupProbe/timeoutSeconds", json!(3)),
            &[
                "Deployment/order: spec.template.spec.containers[order].startupProbe: gives up after 990 s, where a start waits 300 s",
            ],
        ),
        fault(
            "production",
            |o| order(o, "startupProbe/failureThreshold", json!(30)),
            &[
                "Deployment/order: spec.template.spec.containers[order].startupProbe: gives up after 30 s, where a start waits 300 s",
            ],
        ),
        fault(
            "dev",
            |o| set(o, ORDER, "/spec/template/spec/terminationGracePeriodSeconds", json!(30)),
            &[
                "Deployment/order: spec.template.spec.terminationGracePeriodSeconds: 30 s are too short for 5 s of preStop and 25 s of drain",
            ],
        ),
        fault(
            "dev",
            |o| remove(o, ORDER, "/spec/template/spec/containers/0/lifecycle"),
            &["Deployment/order: spec.template.spec.containers[order].lifecycle.preStop.sleep: is missing"],
        ),
    ]);
}

#[test]
fn faults_of_disruption() {
    assert_found(&[
        fault(
            "production",
            |o| set(o, "PodDisruptionBudget/order", "/spec/maxUnavailable", json!(0)),
            &[
                "PodDisruptionBudget/order: spec.maxUnavailable: of 3 replicas of Deployment/order none may be evicted",
            ],
        ),
        fault(
            "production",
            |o| set(o, "PodDisruptionBudget/order", "/spec/maxUnavailable", json!("100%")),
            &[
                "PodDisruptionBudget/order: spec.maxUnavailable: all 3 replicas of Deployment/order may be evicted",
            ],
        ),
        fault(
            "production",
            |o| without(o, "PodDisruptionBudget/order"),
            &["Deployment/order: spec.replicas: 3 replicas and no PodDisruptionBudget"],
        ),
        fault(
            "production",
            |o| set(o, ORDER, "/spec/replicas", json!(2)),
            &["Deployment/order: spec.replicas: is the autoscaler's to set"],
        ),
        fault(
            "production",
            |o| set(o, "HorizontalPodAutoscaler/order", "/spec/maxReplicas", json!(3)),
            &["HorizontalPodAutoscaler/order: spec.maxReplicas: leaves no room above minReplicas"],
        ),
        fault(
            "production",
            |o| remove(o, ORDER, "/spec/template/spec/topologySpreadConstraints"),
            &["Deployment/order: spec.template.spec.topologySpreadConstraints: is missing"],
        ),
    ]);
}

#[test]
fn faults_of_security() {
    assert_found(&[
        fault(
            "dev",
            |o| order(o, "securityContext/readOnlyRootFilesystem", json!(false)),
            &[
                "Deployment/order: spec.template.spec.containers[order].securityContext.readOnlyRootFilesystem: is not true",
            ],
        ),
        fault(
            "dev",
            |o| order(o, "securityContext/allowPrivilegeEscalation", json!(true)),
            &[
                "Deployment/order: spec.template.spec.containers[order].securityContext.allowPrivilegeEscalation: is not false",
            ],
        ),
        fault(
            "dev",
            |o| order(o, "securityContext/capabilities/drop", json!(["NET_RAW"])),
            &[
                "Deployment/order: spec.template.spec.containers[order].securityContext.capabilities.drop: is not ALL",
            ],
        ),
        fault(
            "dev",
            |o| order(o, "securityContext/runAsUser", json!(0)),
            &["Deployment/order: spec.template.spec.containers[order].securityContext.runAsUser: is root"],
        ),
        fault(
            "dev",
            |o| remove(o, ORDER, "/spec/template/spec/securityContext/runAsNonRoot"),
            &[
                "Deployment/order: spec.template.spec.containers[order].securityContext.runAsNonRoot: is not true",
            ],
        ),
        fault(
            "dev",
            |o| remove(o, ORDER, "/spec/template/spec/securityContext/seccompProfile"),
            &[
                "Deployment/order: spec.template.spec.containers[order].securityContext.seccompProfile: is neither",
            ],
        ),
        fault(
            "dev",
            |o| set(o, ORDER, "/spec/template/spec/hostNetwork", json!(true)),
            &["Deployment/order: spec.template.spec.hostNetwork: is the host's"],
        ),
        fault(
            "dev",
            |o| {
                set(
                    o,
                    ORDER,
                    "/spec/template/spec/volumes/-",
                    json!({"name": "root", "hostPath": {"path": "/"}}),
                );
            },
            &["Deployment/order: spec.template.spec.volumes[root]: hostPath is not allowed"],
        ),
        fault(
            "dev",
            |o| set(o, ORDER, "/spec/template/spec/automountServiceAccountToken", json!(true)),
            &["Deployment/order: spec.template.spec.automountServiceAccountToken: is not false"],
        ),
        fault(
            "dev",
            |o| remove(o, "Namespace/tael", "/metadata/labels/pod-security.kubernetes.io~1enforce"),
            &["Namespace/tael: metadata.labels pod-security.kubernetes.io/enforce: is not restricted"],
        ),
        fault(
            "dev",
            |o| order(o, "image", json!("registry.example/tael/order:latest")),
            &[
                "Deployment/order: spec.template.spec.containers[order].image: \"registry.example/tael/order:latest\" is not pinned",
            ],
        ),
        fault(
            "production",
            |o| set(o, "Cluster/postgres", "/spec/imageName", json!("ghcr.io/cloudnative-pg/postgresql")),
            &["Cluster/postgres: spec.imageName: \"ghcr.io/cloudnative-pg/postgresql\" has no tag"],
        ),
        fault("dev", |o| remove(o, "Secret/order-*", "/metadata/annotations"), &["Secret/order-"]),
    ]);
}

#[test]
fn faults_of_configuration() {
    assert_found(&[
        fault(
            "dev",
            |o| order(o, "env/-", json!({"name": "TAEL_ORDER_EXPIRY_INTERVALL", "value": "5s"})),
            &[
                "Deployment/order: spec.template.spec.containers[order].env: TAEL_ORDER_EXPIRY_INTERVALL is set and nobody reads it",
            ],
        ),
        fault(
            "dev",
            |o| order(o, "env/-", json!({"name": "TAEL_ORDER_EXPIRY_INTERVAL", "value": "5"})),
            &[
                "Deployment/order: spec.template.spec.containers[order].env: TAEL_ORDER_EXPIRY_INTERVAL is \"5\": expected a whole number and a unit",
            ],
        ),
        fault(
            "dev",
            |o| remove(o, "ConfigMap/payment-*", "/data/TAEL_PUBLIC_URL"),
            &[
                "Deployment/payment: spec.template.spec.containers[payment].env: TAEL_PUBLIC_URL is not set",
                "Deployment/gateway: ingress from Deployment/sandbox at 8080/TCP: allowed by NetworkPolicy/gateway-from-sandbox, and nothing",
                "Deployment/sandbox: egress to Deployment/gateway at 8080/TCP: allowed by NetworkPolicy/sandbox, and nothing needs it",
            ],
        ),
        fault(
            "dev",
            |o| remove(o, "Secret/order-*", "/data/TAEL_SEALING_KEYS"),
            &["Deployment/order: spec.template.spec.containers[order].env: TAEL_SEALING_KEYS is not set"],
        ),
        fault(
            "dev",
            |o| set(o, "ConfigMap/sandbox-*", "/data/SANDBOX_TIME_SCALE", json!("fast")),
            &[
                "Deployment/sandbox: spec.template.spec.containers[sandbox].env: SANDBOX_TIME_SCALE must be a whole number from 1",
            ],
        ),
        fault(
            "dev",
            |o| {
                set(
                    o,
                    "Job/migrate-order",
                    "/spec/template/spec/containers/0/env/-",
                    json!({"name": "TAEL_REDIS_URL", "value": "redis://h.example"}),
                );
            },
            &[
                "Job/migrate-order: spec.template.spec.containers[migrate].env: TAEL_REDIS_URL is set and nobody reads it",
            ],
        ),
        fault(
            "dev",
            |o| order(o, "image", json!("tael/ordre:dev")),
            &[
                "Deployment/order: spec.template.spec.containers[order].image: nobody knows what tael/ordre reads",
            ],
        ),
    ]);
}

#[test]
fn faults_of_network() {
    assert_found(&[
        fault(
            "dev",
            |o| order(o, "env/-", json!({"name": "TAEL_REFUND_URL", "value": "http://refnud:50051"})),
            &[
                "Deployment/order: TAEL_REFUND_URL: there is no Service refnud",
                "Deployment/order: egress to Deployment/refund at 50051/TCP: allowed by NetworkPolicy/order, and nothing needs it",
                "Deployment/refund: ingress from Deployment/order at 50051/TCP: allowed by NetworkPolicy/refund, and nothing needs it",
            ],
        ),
        // One side closed.
        fault(
            "dev",
            |o| remove(o, "NetworkPolicy/merchant", "/spec/ingress/0"),
            &[
                "Deployment/merchant: ingress from Deployment/payment at 50051/TCP: needed (TAEL_MERCHANT_URL) and no NetworkPolicy",
                "Deployment/merchant: ingress from Deployment/settlement at 50051/TCP: needed (TAEL_MERCHANT_URL) and no NetworkPolicy",
            ],
        ),
        fault(
            "dev",
            |o| without(o, "NetworkPolicy/telemetry"),
            &[
                "Deployment/audit: egress to Deployment/otel-collector at 4317/TCP: needed (OTEL_EXPORTER_OTLP_ENDPOINT)",
                "Deployment/gateway: egress to Deployment/otel-collector at 4317/TCP: needed",
                "Deployment/merchant: egress to Deployment/otel-collector at 4317/TCP: needed",
                "Deployment/notification: egress to Deployment/otel-collector at 4317/TCP: needed",
                "Deployment/order: egress to Deployment/otel-collector at 4317/TCP: needed",
                "Deployment/payment: egress to Deployment/otel-collector at 4317/TCP: needed",
                "Deployment/refund: egress to Deployment/otel-collector at 4317/TCP: needed",
                "Deployment/settlement: egress to Deployment/otel-collector at 4317/TCP: needed",
            ],
        ),
        // More than is needed: a caller, a port, a namespace, an address inside.
        fault(
            "dev",
            |o| {
                set(
                    o,
                    "NetworkPolicy/merchant",
                    "/spec/ingress/0/from/-",
                    json!({"podSelector": {"matchLabels": {"app.kubernetes.io/name": "gateway"}}}),
                );
            },
            &[
                "Deployment/merchant: ingress from Deployment/gateway at 50051/TCP: allowed by NetworkPolicy/merchant, and nothing",
            ],
        ),
        fault(
            "dev",
            |o| remove(o, "NetworkPolicy/gateway", "/spec/egress/0/ports"),
            &[
                "Deployment/gateway: egress to Deployment/payment at 9/TCP: allowed by NetworkPolicy/gateway, and nothing needs it",
                "Deployment/gateway: egress to Deployment/payment at 50052/TCP: allowed by NetworkPolicy/gateway, and nothing needs it",
            ],
        ),
        fault(
            "dev",
            |o| set(o, "NetworkPolicy/gateway", "/spec/egress/0/to/0/namespaceSelector", json!({})),
            &[
                "Deployment/gateway: egress to an impostor of Deployment/payment in another namespace at 50051/TCP: allowed by",
            ],
        ),
        fault(
            "dev",
            |o| remove(o, "NetworkPolicy/payment", "/spec/egress/1/to/0/ipBlock/except/1"),
            &[
                "Deployment/payment: egress to a private address at 443/TCP: allowed by NetworkPolicy/payment, and nothing needs it",
            ],
        ),
        fault(
            "dev",
            |o| {
                set(
                    o,
                    "NetworkPolicy/dns",
                    "/spec/egress/0/to/0",
                    json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}),
                );
            },
            &["Deployment/", "Job/", "StatefulSet/"],
        ),
        fault(
            "dev",
            |o| without(o, "NetworkPolicy/default-deny"),
            &[
                "a stranger in the namespace: Ingress: open, for no NetworkPolicy selects it",
                "backend: Ingress: open",
                "operator: Ingress: open",
                "Job/migrate-",
            ],
        ),
        fault(
            "production",
            |o| {
                set(
                    o,
                    "ExternalSecret/order",
                    "/spec/target/template/data/TAEL_REDIS_URL",
                    json!("redis://cache.example.com:6379"),
                );
            },
            &[
                "Deployment/order: egress to StatefulSet/redis at 6379/TCP: allowed by",
                "Deployment/order: egress to StatefulSet/redis-sentinel at 26379/TCP: allowed by",
                "StatefulSet/redis: ingress from Deployment/order at 6379/TCP: allowed by",
                "StatefulSet/redis-sentinel: ingress from Deployment/order at 26379/TCP: allowed by",
            ],
        ),
    ]);
}

/// Mounts everything of the order service elsewhere.
fn moved_mounts(objects: &mut Objects) {
    let mounts =
        object(objects, ORDER).value_mut().pointer_mut("/spec/template/spec/containers/0/volumeMounts");
    for mount in mounts.and_then(Value::as_array_mut).expect("it has mounts") {
        mount["mountPath"] = json!("/elsewhere");
    }
}

#[test]
fn faults_of_certificates() {
    assert_found(&[
        fault(
            "production",
            |o| set(o, "Certificate/order", "/spec/uris", json!(["spiffe://tael/payment"])),
            &["Certificate/order: spec.uris: is not spiffe://tael/order alone"],
        ),
        fault(
            "production",
            |o| set(o, "Certificate/order", "/spec/dnsNames", json!(["order.tael.svc"])),
            &["Certificate/order: spec.dnsNames: order is missing, under which it is called"],
        ),
        fault(
            "production",
            |o| set(o, "Certificate/order", "/spec/usages", json!(["digital signature", "server auth"])),
            &["Certificate/order: spec.usages: client auth is missing"],
        ),
        fault(
            "production",
            moved_mounts,
            &[
                "Deployment/order: spec.template.spec.containers[order].env[TAEL_TLS_AUTHORITY]: \"/etc/tael/tls/ca.crt\" is not mounted",
                "Deployment/order: spec.template.spec.containers[order].env[TAEL_TLS_CERTIFICATE]: ",
                "Deployment/order: spec.template.spec.containers[order].env[TAEL_TLS_KEY]: ",
            ],
        ),
    ]);
}

//! Faults in what services need of PostgreSQL, and in what operators make of our objects.

use serde_json::json;

use crate::faults::{ORDER, assert_found, fault, object, order, remove, set, without};

#[test]
fn faults_of_databases() {
    assert_found(&[
        // 6 services, 2 * 6 + 1 replicas, 8 connections each; audit, 2 * 4 + 1 replicas, 4 each; and 40 others.
        fault(
            "production",
            |o| set(o, "Cluster/postgres", "/spec/postgresql/parameters/max_connections", json!("699")),
            &[
                "Cluster/postgres: spec.postgresql.parameters.max_connections: 699 are too few: at the worst moment of a rollout there are 700",
            ],
        ),
        fault(
            "production",
            |o| set(o, "HorizontalPodAutoscaler/order", "/spec/maxReplicas", json!(12)),
            &["Cluster/postgres: spec.postgresql.parameters.max_connections: 720 are too few"],
        ),
        fault(
            "dev",
            |o| order(o, "env/-", json!({"name": "TAEL_DATABASE_CONNECTIONS", "value": "64"})),
            &["StatefulSet/postgres: spec.template.spec.containers[0].args: 220 are too few"],
        ),
        fault(
            "dev",
            |o| {
                let name = json!({"fieldRef": {"fieldPath": "metadata.name"}});
                order(o, "env/-", json!({"name": "TAEL_DATABASE_CONNECTIONS", "valueFrom": name}));
            },
            &[
                "Deployment/order: spec.template.spec.containers[order].env[TAEL_DATABASE_CONNECTIONS]: is not said",
                "Deployment/order: spec.template.spec.containers[order].env: TAEL_DATABASE_CONNECTIONS is \"stand-in\"",
            ],
        ),
        fault(
            "dev",
            |o| remove(o, "Deployment/redis", "/spec/template/spec/containers/0/args/1"),
            &[
                "Deployment/redis: spec.template.spec.containers[redis].args: says nothing of --protected-mode",
            ],
        ),
        fault(
            "production",
            |o| remove(o, "Cluster/postgres", "/spec/managed/roles/3/inRoles"),
            &["Cluster/postgres: spec.managed.roles[tael_order].inRoles: pg_read_all_stats is missing"],
        ),
        fault(
            "dev",
            |o| set(o, "ConfigMap/postgres-init-*", "/data/databases.sh", json!("")),
            &["Job/migrate-"],
        ),
        fault(
            "dev",
            |o| set(o, "Job/migrate-order", "/spec/template/spec/restartPolicy", json!("OnFailure")),
            &["Job/migrate-order: spec.template.spec.restartPolicy: is not Never"],
        ),
        fault(
            "dev",
            |o| remove(o, ORDER, "/spec/progressDeadlineSeconds"),
            &["Deployment/order: spec.progressDeadlineSeconds: 600 s are too short"],
        ),
        fault(
            "production",
            |o| {
                set(
                    o,
                    "StatefulSet/redis",
                    "/spec/volumeClaimTemplates/0/metadata/labels",
                    json!({"a": "b"}),
                );
            },
            &["StatefulSet/redis: spec.volumeClaimTemplates[data].metadata.labels: cannot change"],
        ),
    ]);
}

#[test]
fn faults_of_what_operators_make() {
    assert_found(&[
        fault(
            "production",
            |o| set(o, "Service/postgres-metrics", "/spec/selector/cnpg.io~1cluster", json!("postgre")),
            &[
                "Service/postgres-metrics: spec.selector: selects no pods",
                "StatefulSet/prometheus: egress to Cluster/postgres at 9187/TCP: allowed by NetworkPolicy/prometheus-to-postgres, and nothing",
                "Cluster/postgres: ingress from StatefulSet/prometheus at 9187/TCP: allowed by NetworkPolicy/postgres-from-prometheus, and nothing",
            ],
        ),
        fault(
            "production",
            |o| without(o, "NetworkPolicy/postgres-from-prometheus"),
            &[
                "Cluster/postgres: ingress from StatefulSet/prometheus at 9187/TCP: needed (ConfigMap/prometheus-targets-",
            ],
        ),
        fault(
            "production",
            |o| without(o, "NetworkPolicy/acme-solver-from-ingress"),
            &[
                "Certificate/gateway-public: ingress from ingress controller at 8089/TCP: needed (a public authority asks the solver) and no NetworkPolicy",
            ],
        ),
        fault(
            "production",
            |o| {
                let policy = object(o, "NetworkPolicy/acme-solver-from-ingress").value_mut();
                policy["spec"]["ingress"][0]["from"] = json!([]);
            },
            &["Certificate/gateway-public: ingress from "],
        ),
        fault(
            "production",
            |o| order(o, "image", json!("tael/order:0.1.0")),
            &[
                "Deployment/order: spec.template.spec.containers[order].image: \"tael/order:0.1.0\" names no registry",
            ],
        ),
    ]);
}

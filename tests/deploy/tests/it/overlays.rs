//! Every overlay, by every rule.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use tael_deploy_tests::configuration::allowed_calls;
use tael_deploy_tests::network::calls;
use tael_deploy_tests::object::{Objects, Problem};
use tael_deploy_tests::render::{overlays, render};
use tael_deploy_tests::workloads::requested_cpu;
use tael_deploy_tests::{RULES, layout};

/// The overlays that must be there.
const OVERLAYS: [&str; 3] = ["dev", "production", "staging"];

static RENDERED: LazyLock<BTreeMap<String, Objects>> = LazyLock::new(|| {
    let render = |name: String| {
        let objects = render(&name).unwrap_or_else(|error| panic!("{error}"));
        (name, objects)
    };
    overlays().unwrap_or_else(|error| panic!("{error}")).into_iter().map(render).collect()
});

/// What an overlay renders.
pub(crate) fn rendered(overlay: &str) -> &'static Objects {
    &RENDERED[overlay]
}

fn assert_none(problems: &[String]) {
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

fn shown(overlay: &str, problems: Vec<Problem>) -> impl Iterator<Item = String> {
    problems.into_iter().map(move |problem| format!("{overlay}: {problem}"))
}

/// Runs the rule of this name over every overlay.
fn check(name: &str) {
    let (_, rule) = RULES.iter().find(|(one, _)| *one == name).expect("the rule exists");
    assert_none(
        &RENDERED.iter().flat_map(|(overlay, objects)| shown(overlay, rule(objects))).collect::<Vec<_>>(),
    );
}

#[test]
fn labels() {
    check("labels");
}

#[test]
fn ports() {
    check("ports");
}

#[test]
fn services() {
    check("services");
}

#[test]
fn selectors() {
    check("selectors");
}

#[test]
fn references() {
    check("references");
}

#[test]
fn unused() {
    check("unused");
}

#[test]
fn resources() {
    check("resources");
}

#[test]
fn probes() {
    check("probes");
}

#[test]
fn disruption() {
    check("disruption");
}

#[test]
fn security() {
    check("security");
}

#[test]
fn images() {
    check("images");
}

#[test]
fn secrets() {
    check("secrets");
}

#[test]
fn configuration() {
    check("configuration");
}

#[test]
fn database() {
    check("database");
}

#[test]
fn network() {
    check("network");
}

#[test]
fn certificates() {
    check("certificates");
}

#[test]
fn every_rule_is_tested_over_every_overlay() {
    let this_file = include_str!("overlays.rs");
    for (name, _) in RULES {
        assert!(this_file.contains(&format!("fn {name}() {{")), "no test runs the rule {name}");
    }
    assert_eq!(RENDERED.keys().collect::<Vec<_>>(), OVERLAYS);
    for (overlay, objects) in &*RENDERED {
        // Nothing that looks at nothing finds anything.
        assert!(objects.of_kind("Deployment").count() >= 7, "{overlay}");
        assert!(objects.of_kind("NetworkPolicy").count() >= 7, "{overlay}");
    }
}

/// Otherwise "forget everything" and rollouts wait for ever on a small node: pods for Jobs, Jobs for processor time.
#[test]
fn a_node_of_two_cores_takes_the_development_overlay_at_its_worst_moment() {
    let asked = requested_cpu(rendered("dev"));
    // The cluster's own pods (DNS, network, metrics) ask for up to half a core; half is for what a person adds.
    assert!((100_000_000..=1_000_000_000).contains(&asked), "{asked} billionths of a core");

    let mut with_surge = rendered("dev").clone();
    for object in with_surge.0.iter_mut().filter(|object| object.kind() == "Deployment") {
        if let Some(surge) = object.value_mut().pointer_mut("/spec/strategy/rollingUpdate/maxSurge") {
            *surge = 1.into();
        }
    }
    // Nine of ours and two collectors.
    assert_eq!(requested_cpu(&with_surge) - asked, 11 * 20_000_000);
}

#[test]
fn one_folder_per_service() {
    assert_none(&shown("", layout::check_folders().unwrap()).collect::<Vec<_>>());
}

#[test]
fn one_workload_per_service() {
    let check = |(overlay, objects): (&String, &Objects)| {
        let problems = layout::check_overlay(objects, overlay == "production").unwrap();
        shown(overlay, problems).collect::<Vec<_>>()
    };
    assert_none(&RENDERED.iter().flat_map(check).collect::<Vec<_>>());
}

/// Who calls whom is said three times: by the peers' addresses, by the policies, and by the services' own tables of
/// callers. That addresses and policies agree is the rule `network`.
#[test]
fn addresses_and_tables_of_callers_agree() {
    for (overlay, objects) in &*RENDERED {
        let (configured, allowed) = (calls(objects), allowed_calls());
        let without_call = allowed.difference(&configured).collect::<Vec<_>>();
        let refused = configured.difference(&allowed).collect::<Vec<_>>();
        assert!(without_call.is_empty(), "{overlay}: may call and is told no address: {without_call:?}");

        assert!(refused.is_empty(), "{overlay}: has an address and may call nothing there: {refused:?}");
    }
}

//! One folder per service, one workload per folder, one image per workload.

use std::collections::BTreeSet;

use crate::configuration::SERVICES;
use crate::object::{Objects, Problem};
use crate::pod::{Pod, pods};
use crate::render::{folders, root};

/// The simulated channel: not a service of the platform, and never in production.
pub const SANDBOX: &str = "sandbox";

/// The services, as the folder `services` has them, the sandbox left out.
pub fn services() -> Result<BTreeSet<String>, String> {
    Ok(folders(&root().join("services"))?.into_iter().filter(|name| name != SANDBOX).collect())
}

/// `services/*`, the folders of `k8s/base` that hold a Deployment, and the configurations that are checked name the same.
pub fn check_folders() -> Result<Vec<Problem>, String> {
    let services = services()?;
    let base = root().join("k8s/base");
    let deployed: BTreeSet<_> =
        folders(&base)?.into_iter().filter(|name| base.join(name).join("deployment.yaml").exists()).collect();
    let checked: BTreeSet<_> = SERVICES.iter().map(|(name, _)| (*name).to_owned()).collect();
    Ok([("k8s/base", deployed), ("tests/deploy/src/configuration.rs", checked)]
        .into_iter()
        .flat_map(|(place, names)| differences(place, &services, &names))
        .collect())
}

fn differences(place: &str, expected: &BTreeSet<String>, found: &BTreeSet<String>) -> Vec<Problem> {
    let problem = |name: &String, what: &str| Problem {
        object: place.to_owned(),
        field: name.clone(),
        what: what.to_owned(),
    };
    let missing = expected.difference(found).map(|name| problem(name, "is a service and not here"));
    let surplus = found.difference(expected).map(|name| problem(name, "is here and no service"));
    missing.chain(surplus).collect()
}

/// Each service has one Deployment, one Service, one ServiceAccount of its name; each that has a database a migration.
pub fn check_overlay(objects: &Objects, is_production: bool) -> Result<Vec<Problem>, String> {
    let mut expected = services()?;
    let of = |kind: &str| -> BTreeSet<String> {
        let own = |pod: &Pod<'_>| pod.owner.kind() == kind && pod.service().is_some();
        pods(objects).iter().filter(|pod| own(pod)).filter_map(Pod::service).collect()
    };
    let stateful: BTreeSet<_> = expected.iter().filter(|name| *name != "gateway").cloned().collect();
    let mut problems = differences("migration Jobs", &stateful, &of("Job"));
    if !is_production {
        expected.insert(SANDBOX.to_owned());
    }
    problems.extend(differences("Deployments", &expected, &of("Deployment")));
    for name in &expected {
        for kind in ["Deployment", "Service", "ServiceAccount"] {
            if objects.find(kind, name).is_none() {
                problems.push(Problem {
                    object: format!("{kind}/{name}"),
                    field: "metadata.name".to_owned(),
                    what: "there is none".to_owned(),
                });
            }
        }
    }
    Ok(problems)
}

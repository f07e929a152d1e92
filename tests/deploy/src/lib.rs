//! What schemas miss in what is deployed: each rule looks at everything that an overlay renders and names what is wrong,
//! by object and field.
//!
//! The tests run every rule over every overlay, and plant faults in good objects to see that exactly they are named.

pub mod address;
pub mod certificates;
pub mod configuration;
pub mod database;
pub mod dockerfile;
pub mod environment;
pub mod layout;
mod needs;
pub mod network;
pub mod object;
pub mod pod;
pub mod policy;
pub mod quantity;
pub mod references;
pub mod render;
pub mod security;
pub mod wiring;
pub mod workloads;

use object::{Objects, Problem};

/// A rule over everything that one overlay renders.
pub type Rule = fn(&Objects) -> Vec<Problem>;

/// All rules, by the name under which problems are shown.
pub const RULES: [(&str, Rule); 16] = [
    ("labels", wiring::check_labels),
    ("ports", wiring::check_ports),
    ("services", wiring::check_services),
    ("selectors", wiring::check_selectors),
    ("references", references::check),
    ("unused", references::unused),
    ("resources", workloads::check_resources),
    ("probes", workloads::check_probes),
    ("disruption", workloads::check_disruption),
    ("security", security::check),
    ("images", security::check_images),
    ("secrets", security::check_secrets),
    ("configuration", configuration::check),
    ("database", database::check),
    ("network", network::check),
    ("certificates", certificates::check),
];

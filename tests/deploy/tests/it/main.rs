//! What is deployed, rendered as it would be applied.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod authorization;
mod faults;
mod faults_at_work;
mod faults_of_stores;
mod local;
mod overlays;
mod scripts;

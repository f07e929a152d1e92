//! What is deployed, rendered as it would be applied.

mod authorization;
mod faults;
mod faults_at_work;
mod faults_of_stores;
mod overlays;

//! What is deployed, rendered as it would be applied.

mod faults;
mod overlays;

//! gRPC plumbing: what every service does with a call before and after its own rule is applied.
//!
//! - [`server`]: binding, the layers around every call (trace, limit, deadline, callers), health, reflection, draining.
//! - [`client`]: a channel to the replicas of another service that carries the trace and the deadline on.
//! - [`tls`] and [`caller`]: who a service is to others, and who calls it.
//! - [`contract`]: what the contracts say of each rpc beside its messages.
//! - [`retry`]: repeating what a peer could not take, within a budget.
//! - [`deadline`]: the time and the place that a running call has.
//! - [`fields`]: requests become domain values, and every bad field is named.
//! - [`page`]: list pages whose tokens fit only the list that gave them.
//! - [`status`]: errors with documented reasons.
//! - [`convert`]: money and times on the wire.

pub mod caller;
pub mod client;
pub mod contract;
pub mod convert;
pub mod deadline;
pub mod fields;
mod observe;
pub mod page;
pub mod retry;
pub mod server;
pub mod status;
pub mod tls;

//! SQL: rows become domain values here and nowhere else.
//!
//! Lock order: endpoints, then deliveries.

pub(crate) mod delivery;
pub(crate) mod facts;
pub(crate) mod outbox;
pub(crate) mod webhook_endpoint;

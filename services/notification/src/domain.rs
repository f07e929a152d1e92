//! What an endpoint and a delivery are, and what is allowed. Pure: no clock, no database, no wire.

pub(crate) mod breaker;
pub(crate) mod delivery;
pub(crate) mod secret;
pub(crate) mod webhook_endpoint;

//! gRPC: a request becomes domain values, a use case runs, its result goes on the wire. One file per service.

mod convert;
mod delivery;
mod error;
mod parse;
mod webhook_endpoint;

pub(crate) use delivery::DeliveryRpc;
pub(crate) use webhook_endpoint::WebhookEndpointRpc;

//! Who may call what. Where webhooks go is the merchant's to say.

use tael_grpc::caller::Caller::{Audit, Backend, Operator};
use tael_grpc::server::RpcAccess;

/// Who may call each method that this service serves.
#[rustfmt::skip] // a table: one line for each call
pub const RPC_ACCESS: RpcAccess = &[
    ("tael.notification.v1.WebhookEndpointService", &[
        ("CreateWebhookEndpoint", &[Backend]),
        ("ListWebhookEndpoints", &[Backend, Operator]),
        ("DisableWebhookEndpoint", &[Backend, Operator]),
        ("EnableWebhookEndpoint", &[Backend, Operator]),
    ]),
    ("tael.notification.v1.DeliveryService", &[
        ("GetDelivery", &[Backend, Operator]),
        ("ListDeliveries", &[Backend, Operator]),
        ("ReplayDelivery", &[Backend, Operator]),
    ]),
    ("tael.event.v1.DeadLetterService", &[
        ("ListDeadLetters", &[Operator]),
        ("ReplayDeadLetters", &[Operator]),
    ]),
    ("tael.audit.v1.FactService", &[("ReadFacts", &[Audit])]),
];

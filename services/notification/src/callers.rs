//! Who may call what. Where webhooks go is the merchant's to say.

use tael_grpc::caller::Caller::{Backend, Operator, Settlement};
use tael_grpc::server::Callers;

/// Who may call each method that this service serves.
#[rustfmt::skip] // a table: one line for each call
pub const CALLERS: Callers = &[
    ("tael.notification.v1.NotificationService", &[
        ("CreateWebhookEndpoint", &[Backend]),
        ("ListWebhookEndpoints", &[Backend, Operator]),
        ("DisableWebhookEndpoint", &[Backend, Operator]),
        ("GetDelivery", &[Backend, Operator]),
        ("ListDeliveries", &[Backend, Operator]),
        ("ReplayDelivery", &[Backend, Operator]),
    ]),
    ("tael.event.v1.SetAsideService", &[
        ("ListSetAsideEvents", &[Operator]),
        ("ReplaySetAsideEvents", &[Operator]),
    ]),
    ("tael.audit.v1.AuditService", &[("ReadFacts", &[Settlement])]),
];

#[cfg(test)]
mod tests {
    use tael_grpc::server::unlike_contracts;
    use tael_proto::audit::v1::audit_service_server as audit;
    use tael_proto::event::v1::set_aside_service_server as set_aside;
    use tael_proto::notification::v1::notification_service_server as notification;

    use super::*;

    #[test]
    fn every_call_that_is_served_has_its_callers() {
        let served = [notification::SERVICE_NAME, set_aside::SERVICE_NAME, audit::SERVICE_NAME];
        assert_eq!(unlike_contracts(CALLERS, &served), [""; 0]);
    }
}

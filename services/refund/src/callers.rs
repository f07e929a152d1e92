//! Who may call what. The merchant's back-end asks for refunds; it or the operator approves them.

use tael_grpc::caller::Caller::{Backend, Notification, Operator, Order, Settlement};
use tael_grpc::server::Callers;

/// Who may call each method that this service serves.
#[rustfmt::skip] // a table: one line for each call
pub const CALLERS: Callers = &[
    ("tael.refund.v1.RefundService", &[
        ("SetRefundPolicy", &[Backend, Operator]),
        ("GetRefundPolicy", &[Backend, Operator]),
        ("CreateRefund", &[Backend]),
        ("ApproveRefund", &[Backend, Operator]),
        ("RejectRefund", &[Backend, Operator]),
        ("GetRefund", &[Backend, Operator]),
        ("ListRefunds", &[Backend, Operator]),
    ]),
    ("tael.event.v1.EventLogService", &[
        ("ReadEvents", &[Order, Notification]),
        ("ListConsumers", &[Operator]),
        ("RemoveConsumer", &[Operator]),
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
    use tael_proto::event::v1::event_log_service_server as event_log;
    use tael_proto::event::v1::set_aside_service_server as set_aside;
    use tael_proto::refund::v1::refund_service_server as refund;

    use super::*;

    #[test]
    fn every_call_that_is_served_has_its_callers() {
        let served =
            [refund::SERVICE_NAME, event_log::SERVICE_NAME, set_aside::SERVICE_NAME, audit::SERVICE_NAME];
        assert_eq!(unlike_contracts(CALLERS, &served), [""; 0]);
    }
}

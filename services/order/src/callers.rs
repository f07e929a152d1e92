//! Who may call what. The merchant's back-end sells and redeems; the operator looks, and decides about held money; the
//! services of payment and refund look up what was ordered.

use tael_grpc::caller::Caller::{Backend, Notification, Operator, Payment, Refund, Settlement};
use tael_grpc::server::Callers;

/// Who may call each method that this service serves.
#[rustfmt::skip] // a table: one line for each call
pub const CALLERS: Callers = &[
    ("tael.order.v1.OrderService", &[
        ("CreateOrder", &[Backend]),
        ("GetOrder", &[Payment, Refund, Backend, Operator]),
        ("ListOrders", &[Backend, Operator]),
        ("CancelOrder", &[Backend]),
        ("SetLateMoneyPolicy", &[Backend, Operator]),
        ("GetLateMoneyPolicy", &[Backend, Operator]),
        ("ListHeldPayments", &[Backend, Operator]),
        ("ResolveHeldPayment", &[Backend, Operator]),
        ("CreatePromotion", &[Backend]),
        ("ListPromotions", &[Backend, Operator]),
        ("EndPromotion", &[Backend]),
        ("GetVoucher", &[Backend, Operator]),
        ("RedeemVoucher", &[Backend]),
    ]),
    ("tael.event.v1.EventLogService", &[
        ("ReadEvents", &[Settlement, Notification]),
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
    use tael_proto::order::v1::order_service_server as order;

    use super::*;

    #[test]
    fn every_call_that_is_served_has_its_callers() {
        let served =
            [order::SERVICE_NAME, event_log::SERVICE_NAME, set_aside::SERVICE_NAME, audit::SERVICE_NAME];
        assert_eq!(unlike_contracts(CALLERS, &served), [""; 0]);
    }
}

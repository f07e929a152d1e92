//! Who may call what. The merchant's back-end sees its own books; what it pays, and whether the books of all are in order,
//! is the operator's.

use tael_grpc::caller::Caller::{Backend, Notification, Operator};
use tael_grpc::server::Callers;

/// Who may call each method that this service serves.
#[rustfmt::skip] // a table: one line for each call
pub const CALLERS: Callers = &[
    ("tael.settlement.v1.SettlementService", &[
        ("SetFeeSchedule", &[Operator]),
        ("GetFeeSchedules", &[Backend, Operator]),
        ("ListAccounts", &[Backend, Operator]),
        ("ListTransfers", &[Backend, Operator]),
        ("CloseBatch", &[Backend, Operator]),
        ("GetBatch", &[Backend, Operator]),
        ("ListBatches", &[Backend, Operator]),
        ("GetStatement", &[Backend, Operator]),
        ("Reconcile", &[Backend, Operator]),
        ("GetReconciliation", &[Backend, Operator]),
        ("CheckLedger", &[Operator]),
    ]),
    ("tael.settlement.v1.MoneyAuditService", &[("AuditMoney", &[Operator])]),
    ("tael.event.v1.EventLogService", &[
        ("ReadEvents", &[Notification]),
        ("ListConsumers", &[Operator]),
        ("RemoveConsumer", &[Operator]),
    ]),
    ("tael.event.v1.SetAsideService", &[
        ("ListSetAsideEvents", &[Operator]),
        ("ReplaySetAsideEvents", &[Operator]),
    ]),
    ("tael.audit.v1.AuditService", &[("ReadFacts", &[Operator])]),
];

#[cfg(test)]
mod tests {
    use tael_grpc::server::unlike_contracts;
    use tael_proto::audit::v1::audit_service_server as audit;
    use tael_proto::event::v1::event_log_service_server as event_log;
    use tael_proto::event::v1::set_aside_service_server as set_aside;
    use tael_proto::settlement::v1::money_audit_service_server as money_audit;
    use tael_proto::settlement::v1::settlement_service_server as settlement;

    use super::*;

    #[test]
    fn every_call_that_is_served_has_its_callers() {
        let served = [
            settlement::SERVICE_NAME,
            money_audit::SERVICE_NAME,
            event_log::SERVICE_NAME,
            set_aside::SERVICE_NAME,
            audit::SERVICE_NAME,
        ];
        assert_eq!(unlike_contracts(CALLERS, &served), [""; 0]);
    }
}

//! Who may call what. The merchant's back-end sees its own books; what it pays is the
//! operator's.

use tael_grpc::caller::Caller::{Audit, Backend, Notification, Operator};
use tael_grpc::server::RpcAccess;

/// Who may call each method that this service serves.
#[rustfmt::skip] // a table: one line for each call
pub const RPC_ACCESS: RpcAccess = &[
    ("tael.settlement.v1.LedgerService", &[
        ("ListAccounts", &[Backend, Operator]),
        ("ListTransfers", &[Backend, Operator]),
        ("CheckLedger", &[Operator]),
    ]),
    ("tael.settlement.v1.FeeScheduleService", &[
        ("SetFeeSchedule", &[Operator]),
        ("GetFeeSchedules", &[Backend, Operator]),
    ]),
    ("tael.settlement.v1.SettlementBatchService", &[
        ("CloseBatch", &[Backend, Operator]),
        ("GetBatch", &[Backend, Operator]),
        ("ListBatches", &[Backend, Operator]),
        ("GetStatement", &[Backend, Operator]),
    ]),
    ("tael.settlement.v1.ReconciliationService", &[
        ("Reconcile", &[Backend, Operator]),
        ("GetReconciliation", &[Backend, Operator]),
    ]),
    ("tael.event.v1.EventLogService", &[
        ("ReadEvents", &[Notification]),
        ("ListConsumers", &[Operator]),
        ("RemoveConsumer", &[Operator]),
    ]),
    ("tael.event.v1.DeadLetterService", &[
        ("ListDeadLetters", &[Operator]),
        ("ReplayDeadLetters", &[Operator]),
    ]),
    ("tael.audit.v1.FactService", &[("ReadFacts", &[Audit])]),
];

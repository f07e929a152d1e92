//! Who may call what. The merchant's back-end asks for refunds; it or the operator approves them.

use tael_grpc::caller::Caller::{Audit, Backend, Notification, Operator, Order};
use tael_grpc::server::RpcAccess;

/// Who may call each method that this service serves.
#[rustfmt::skip] // a table: one line for each call
pub const RPC_ACCESS: RpcAccess = &[
    ("tael.refund.v1.RefundService", &[
        ("CreateRefund", &[Backend]),
        ("ApproveRefund", &[Backend, Operator]),
        ("RejectRefund", &[Backend, Operator]),
        ("GetRefund", &[Backend, Operator]),
        ("ListRefunds", &[Backend, Operator]),
    ]),
    ("tael.refund.v1.RefundPolicyService", &[
        ("SetRefundPolicy", &[Backend, Operator]),
        ("GetRefundPolicy", &[Backend, Operator]),
    ]),
    ("tael.event.v1.EventLogService", &[
        ("ReadEvents", &[Order, Notification]),
        ("ListConsumers", &[Operator]),
        ("RemoveConsumer", &[Operator]),
    ]),
    ("tael.event.v1.DeadLetterService", &[
        ("ListDeadLetters", &[Operator]),
        ("ReplayDeadLetters", &[Operator]),
    ]),
    ("tael.audit.v1.FactService", &[("ReadFacts", &[Audit])]),
];

//! Who may call what. Money goes back only through the refund service, which knows the policy and the order, and through
//! the order service, which gives back what came too late; never by the back-end itself. Callbacks come from the gateway.

use tael_grpc::caller::Caller::{Audit, Backend, Gateway, Notification, Operator, Order, Refund, Settlement};
use tael_grpc::server::RpcAccess;

/// Who may call each method that this service serves.
#[rustfmt::skip] // a table: one line for each call
pub const RPC_ACCESS: RpcAccess = &[
    ("tael.payment.v1.PaymentService", &[
        ("CreatePayment", &[Backend]),
        ("GetPayment", &[Backend, Operator]),
        ("ListPayments", &[Order, Backend, Operator]),
        ("SyncPayment", &[Backend, Operator]),
        ("ClosePayment", &[Order, Backend]),
        ("GetCheckout", &[Gateway]),
    ]),
    ("tael.payment.v1.RefundExecutionService", &[
        ("RefundPayment", &[Order, Refund]),
        ("GetPaymentRefund", &[Backend, Operator]),
    ]),
    ("tael.payment.v1.ChannelAccountService", &[
        ("CreateChannelAccount", &[Backend, Operator]),
        ("GetChannelAccount", &[Backend, Operator]),
        ("ListChannelAccounts", &[Settlement, Backend, Operator]),
        ("TestChannelAccount", &[Backend, Operator]),
        ("ActivateChannelAccount", &[Backend, Operator]),
        ("DisableChannelAccount", &[Backend, Operator]),
        ("AddChannelCredential", &[Backend, Operator]),
        ("RetireChannelCredential", &[Backend, Operator]),
    ]),
    ("tael.payment.v1.AttemptDecisionService", &[
        ("RequestAttemptDecision", &[Operator]),
        ("ApproveAttemptDecision", &[Operator]),
        ("RejectAttemptDecision", &[Operator]),
        ("ListAttemptDecisions", &[Backend, Operator]),
    ]),
    ("tael.payment.v1.StatementService", &[("ReadStatement", &[Audit, Settlement])]),
    ("tael.payment.v1.CallbackService", &[("HandleCallback", &[Gateway])]),
    ("tael.payment.v1.IntegrityAlertService", &[("ListIntegrityAlerts", &[Backend, Operator])]),
    ("tael.event.v1.EventLogService", &[
        ("ReadEvents", &[Order, Refund, Settlement, Notification]),
        ("ListConsumers", &[Operator]),
        ("RemoveConsumer", &[Operator]),
    ]),
    ("tael.audit.v1.FactService", &[("ReadFacts", &[Audit])]),
];

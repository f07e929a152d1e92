//! Who may call what. Money goes back only through the refund service, which knows the policy and the order, and through
//! the order service, which gives back what came too late; never by the back-end itself. Callbacks come from the gateway.

use tael_grpc::caller::Caller::{Backend, Gateway, Notification, Operator, Order, Refund, Settlement};
use tael_grpc::server::RpcAccess;

/// Who may call each method that this service serves.
#[rustfmt::skip] // a table: one line for each call
pub const RPC_ACCESS: RpcAccess = &[
    ("tael.payment.v1.PaymentService", &[
        ("CreateChannelAccount", &[Backend, Operator]),
        ("GetChannelAccount", &[Settlement, Backend, Operator]),
        ("ListChannelAccounts", &[Backend, Operator]),
        ("CreatePayment", &[Backend]),
        ("GetPayment", &[Backend, Operator]),
        ("ListPayments", &[Order, Backend, Operator]),
        ("SyncPayment", &[Backend, Operator]),
        ("ClosePayment", &[Order, Backend]),
        ("RefundPayment", &[Order, Refund]),
        ("GetPaymentRefund", &[Backend, Operator]),
        ("HandleNotification", &[Gateway]),
        ("GetCheckout", &[Gateway]),
        ("ListAlarms", &[Backend, Operator]),
        ("ReadBill", &[Settlement]),
    ]),
    ("tael.event.v1.EventLogService", &[
        ("ReadEvents", &[Order, Refund, Settlement, Notification]),
        ("ListConsumers", &[Operator]),
        ("RemoveConsumer", &[Operator]),
    ]),
    ("tael.audit.v1.AuditService", &[("ReadFacts", &[Settlement])]),
];

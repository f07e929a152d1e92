//! Who may call what. The merchant's back-end sells and redeems; the operator looks, and decides about unapplied payments; the
//! services of payment and refund look up what was ordered.

use tael_grpc::caller::Caller::{Audit, Backend, Notification, Operator, Payment, Refund, Settlement};
use tael_grpc::server::RpcAccess;

/// Who may call each method that this service serves.
#[rustfmt::skip] // a table: one line for each call
pub const RPC_ACCESS: RpcAccess = &[
    ("tael.order.v1.OrderService", &[
        ("CreateOrder", &[Backend]),
        ("GetOrder", &[Backend, Operator]),
        ("GetPayableOrder", &[Payment, Refund]),
        ("ListOrders", &[Backend, Operator]),
        ("CancelOrder", &[Backend]),
    ]),
    ("tael.order.v1.UnappliedPaymentService", &[
        ("SetLatePaymentPolicy", &[Backend, Operator]),
        ("GetLatePaymentPolicy", &[Backend, Operator]),
        ("ListUnappliedPayments", &[Backend, Operator]),
        ("ResolveUnappliedPayment", &[Backend, Operator]),
    ]),
    ("tael.order.v1.PromotionService", &[
        ("CreatePromotion", &[Backend]),
        ("ListPromotions", &[Backend, Operator]),
        ("EndPromotion", &[Backend]),
    ]),
    ("tael.order.v1.VoucherService", &[
        ("GetVoucher", &[Backend, Operator]),
        ("RedeemVoucher", &[Backend]),
        ("VoidVoucher", &[Backend]),
        ("ReserveVoucherUses", &[Refund]),
        ("ReleaseVoucherUses", &[Refund]),
    ]),
    ("tael.event.v1.EventLogService", &[
        ("ReadEvents", &[Settlement, Notification]),
        ("ListConsumers", &[Operator]),
        ("RemoveConsumer", &[Operator]),
    ]),
    ("tael.event.v1.DeadLetterService", &[
        ("ListDeadLetters", &[Operator]),
        ("ReplayDeadLetters", &[Operator]),
    ]),
    ("tael.audit.v1.FactService", &[("ReadFacts", &[Audit])]),
];

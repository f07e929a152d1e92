//! gRPC: a request becomes domain values, a use case runs, its result goes on the wire.

mod convert;
mod error;
mod order;
mod parse;
mod promotion;
mod unapplied_payment;
mod voucher;

use tael_idempotency::Idempotency;

use crate::usecase::Orders;

/// Serves every gRPC service of the order service. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Rpc {
    orders: Orders,
    idempotency: Idempotency,
}

impl Rpc {
    pub(crate) fn new(orders: Orders, idempotency: Idempotency) -> Self {
        Self { orders, idempotency }
    }
}

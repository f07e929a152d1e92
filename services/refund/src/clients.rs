//! Other services, as this one needs them.

mod order;
mod payment;

pub(crate) use order::{OrderClient, OrderError};
pub(crate) use payment::PaymentClient;

//! The order service: what was paid.

use jiff::Timestamp;
use tael_grpc::client::Channel;
use tael_grpc::retry::{Budget, repeat};
use tael_ids::{MerchantId, OrderId};
use tael_money::{Currency, Money};
use tael_proto::order::v1::order_service_client::OrderServiceClient;
use tael_proto::order::v1::{GetPayableOrderRequest, OrderState, PayableOrder};
use tael_proto::r#type::v1 as wire;
use tonic::{Code, Status};

use crate::domain::{PaidLine, PaidOrder};

/// Calls to the order service, repeated when it could not take them. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct OrderClient {
    orders: OrderServiceClient<Channel>,
    budget: Budget,
}

/// Why a paid order could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OrderError {
    /// The merchant has no such order.
    #[error("the merchant has no such order")]
    NotFound,
    /// It was not paid.
    #[error("the order was not paid")]
    NotPaid {
        /// Its state: "pending_payment".
        state: String,
    },
    /// The order service did not answer.
    #[error("the order service did not answer")]
    Unavailable(#[source] Status),
    /// The answer can't be.
    #[error("the order service's answer has no valid {0}")]
    Malformed(&'static str),
}

impl OrderClient {
    pub(crate) fn new(channel: Channel) -> Self {
        Self { orders: OrderServiceClient::new(channel), budget: Budget::default() }
    }

    /// Gets an order that was paid.
    pub(crate) async fn paid_order(
        &self,
        merchant_id: MerchantId,
        order_id: OrderId,
    ) -> Result<PaidOrder, OrderError> {
        let request =
            GetPayableOrderRequest { merchant_id: merchant_id.to_string(), order_id: order_id.to_string() };
        let answer = repeat(&self.budget, || {
            let (mut orders, request) = (self.orders.clone(), request.clone());
            async move { orders.get_payable_order(request).await }
        });
        let answer = answer.await.map_err(|status| match status.code() {
            Code::NotFound => OrderError::NotFound,
            _ => OrderError::Unavailable(status),
        })?;
        let order = answer.into_inner().order.ok_or(OrderError::Malformed("order"))?;
        read_order(merchant_id, order_id, &order)
    }
}

fn read_order(
    merchant_id: MerchantId,
    order_id: OrderId,
    order: &PayableOrder,
) -> Result<PaidOrder, OrderError> {
    match order.state() {
        OrderState::Paid => {}
        state @ (OrderState::Unspecified
        | OrderState::PendingPayment
        | OrderState::Cancelled
        | OrderState::Expired) => {
            let name = state.as_str_name();
            let name = name.strip_prefix("ORDER_STATE_").unwrap_or(name);
            return Err(OrderError::NotPaid { state: name.to_ascii_lowercase() });
        }
    }
    let pay_time = order
        .pay_time
        .and_then(|t| Timestamp::new(t.seconds, t.nanos).ok())
        .ok_or(OrderError::Malformed("pay_time"))?;
    let total = order.price.as_ref().and_then(|price| money(price.total.as_ref()));
    let lines = order.lines.iter().map(|line| {
        Ok(PaidLine {
            line_id: line.line_id.parse().map_err(|_| OrderError::Malformed("lines.line_id"))?,
            quantity: line.quantity,
            total: money(line.total.as_ref()).ok_or(OrderError::Malformed("lines.total"))?,
        })
    });
    Ok(PaidOrder {
        merchant_id,
        order_id,
        payment_id: order.payment_id.parse().map_err(|_| OrderError::Malformed("payment_id"))?,
        total: total.ok_or(OrderError::Malformed("price.total"))?,
        pay_time,
        lines: lines.collect::<Result<_, OrderError>>()?,
    })
}

fn money(money: Option<&wire::Money>) -> Option<Money> {
    let money = money?;
    Some(Money::new(money.minor, Currency::parse(&money.currency).ok()?))
}

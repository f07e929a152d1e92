//! The order service: what was paid, and the vouchers that a refund takes uses of.

use jiff::Timestamp;
use tael_grpc::client::Channel;
use tael_grpc::retry::{Budget, repeat};
use tael_grpc::status;
use tael_ids::{MerchantId, OrderId};
use tael_money::{Currency, Money};
use tael_proto::order::v1::order_service_client::OrderServiceClient;
use tael_proto::order::v1::voucher_service_client::VoucherServiceClient;
use tael_proto::order::v1::{
    ErrorReason, Fulfilment, GetPayableOrderRequest, OrderState, PayableOrder, RefundedUnits,
    ReserveVoucherUsesRequest,
};
use tael_proto::r#type::v1 as wire;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::domain::{PaidLine, PaidOrder, Refund, Reservation};

/// Calls to the order service, repeated when it could not take them. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct OrderClient {
    orders: OrderServiceClient<Channel>,
    vouchers: VoucherServiceClient<Channel>,
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
        Self {
            orders: OrderServiceClient::new(channel.clone()),
            vouchers: VoucherServiceClient::new(channel),
            budget: Budget::default(),
        }
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

    /// Has the order service set aside what a refund takes of vouchers. The refund's id is the key: repeating it changes
    /// nothing. An error is no answer; the uses may be set aside or not.
    pub(crate) async fn reserve_voucher_uses(&self, refund: &Refund) -> Result<Reservation, OrderError> {
        let lines = refund
            .lines
            .iter()
            .map(|line| RefundedUnits { line_id: line.line_id.to_string(), quantity: line.quantity });
        let request = ReserveVoucherUsesRequest {
            merchant_id: refund.merchant_id.to_string(),
            order_id: refund.order_id.to_string(),
            refund_id: refund.id.to_string(),
            lines: lines.collect(),
            everything: refund.vouchers.takes_everything,
            force_reason: refund.vouchers.force_reason.clone(),
        };
        let answer = repeat(&self.budget, || {
            let (mut vouchers, request) = (self.vouchers.clone(), request.clone());
            async move { vouchers.reserve_voucher_uses(request).await }
        });
        match answer.await {
            Ok(_) => Ok(Reservation::Reserved),
            Err(status) => read_refusal(&status).ok_or(OrderError::Unavailable(status)),
        }
    }
}

/// Only an answer by which the order service itself says that it set nothing aside is a refusal.
fn read_refusal(error: &Status) -> Option<Reservation> {
    if error.code() == Code::InvalidArgument {
        return Some(Reservation::Refused("INVALID_REQUEST".to_owned()));
    }
    let reason = status::reason(error)?;
    let is = |known: ErrorReason| known.as_str_name().strip_prefix("ERROR_REASON_") == Some(&reason);
    if is(ErrorReason::VoucherUsed) {
        let metadata = error.get_details_error_info()?.metadata;
        let line_id = metadata.get("line_id")?.parse().ok()?;
        return Some(Reservation::Used { line_id, used: metadata.get("used")?.parse().ok()? });
    }
    let is_final = is(ErrorReason::OrderNotFound) || is(ErrorReason::OrderState);
    is_final.then_some(Reservation::Refused(reason))
}

fn read_order(
    merchant_id: MerchantId,
    order_id: OrderId,
    order: &PayableOrder,
) -> Result<PaidOrder, OrderError> {
    match order.state() {
        // An order with nothing to pay is paid by no payment: no money of it can go back.
        OrderState::Paid if order.payment_id.is_empty() => {
            return Err(OrderError::NotPaid { state: "free_of_charge".to_owned() });
        }
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
            has_voucher: line.fulfilment() == Fulfilment::Voucher,
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

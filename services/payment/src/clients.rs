//! What other services are asked.

use std::time::Duration;

use jiff::Timestamp;
use moka::future::Cache;
use tael_grpc::client::Channel;
use tael_grpc::fields::Fields;
use tael_grpc::retry::{Budget, repeat};
use tael_ids::{MerchantId, OrderId};
use tael_money::Money;
use tael_proto::merchant::v1::merchant_service_client::MerchantServiceClient;
use tael_proto::merchant::v1::{GetMerchantRequest, MerchantState};
use tael_proto::order::v1::order_service_client::OrderServiceClient;
use tael_proto::order::v1::{GetPayableOrderRequest, OrderState, PayableOrder};
use tonic::{Code, Status};

/// For so long an approval is believed without asking again. Only approvals are remembered: a merchant who was just
/// approved need not wait.
const APPROVAL_LIFE: Duration = Duration::from_secs(10);
const MAX_APPROVALS: u64 = 100_000;

/// The order and merchant services. They are only asked, so calls that they could not take are repeated. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    orders: OrderServiceClient<Channel>,
    order_budget: Budget,
    merchants: MerchantServiceClient<Channel>,
    merchant_budget: Budget,
    approved: Cache<MerchantId, ()>,
}

/// What a payment needs to know of its order.
#[derive(Clone, Debug)]
pub(crate) struct OrderToPay {
    pub(crate) state: OrderState,
    pub(crate) total: Money,
    pub(crate) expire_time: Timestamp,
    pub(crate) line_names: Vec<String>,
}

/// Why a peer gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// It did not answer, or not with success.
    #[error("{0} did not answer")]
    Unavailable(&'static str, #[source] Status),
    /// Its answer breaks its contract.
    #[error("{0} gave an answer that breaks its contract")]
    Malformed(&'static str, #[source] Status),
}

impl Clients {
    pub(crate) fn new(order: Channel, merchant: Channel) -> Self {
        Self {
            orders: OrderServiceClient::new(order),
            order_budget: Budget::default(),
            merchants: MerchantServiceClient::new(merchant),
            merchant_budget: Budget::default(),
            approved: Cache::builder().max_capacity(MAX_APPROVALS).time_to_live(APPROVAL_LIFE).build(),
        }
    }

    /// Returns an order; none if the merchant has no such order.
    pub(crate) async fn order(
        &self,
        merchant_id: MerchantId,
        order_id: OrderId,
    ) -> Result<Option<OrderToPay>, ClientError> {
        let request =
            GetPayableOrderRequest { merchant_id: merchant_id.to_string(), order_id: order_id.to_string() };
        let answer = repeat(&self.order_budget, || {
            let (mut orders, request) = (self.orders.clone(), request.clone());
            async move { orders.get_payable_order(request).await }
        })
        .await;
        match answer {
            Ok(response) => {
                let order = response.into_inner().order.unwrap_or_default();
                read_order(order).map(Some).map_err(|status| ClientError::Malformed("order", status))
            }
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(ClientError::Unavailable("order", status)),
        }
    }

    /// Says whether a merchant may take live money.
    pub(crate) async fn is_approved(&self, merchant_id: MerchantId) -> Result<bool, ClientError> {
        if self.approved.contains_key(&merchant_id) {
            return Ok(true);
        }
        let request = GetMerchantRequest { merchant_id: merchant_id.to_string() };
        let answer = repeat(&self.merchant_budget, || {
            let (mut merchants, request) = (self.merchants.clone(), request.clone());
            async move { merchants.get_merchant(request).await }
        })
        .await;
        let merchant = match answer {
            Ok(response) => response.into_inner().merchant.unwrap_or_default(),
            Err(status) if status.code() == Code::NotFound => return Ok(false),
            Err(status) => return Err(ClientError::Unavailable("merchant", status)),
        };
        let approved = merchant.state() == MerchantState::Approved;
        if approved {
            self.approved.insert(merchant_id, ()).await;
        }
        Ok(approved)
    }
}

fn read_order(order: PayableOrder) -> Result<OrderToPay, Status> {
    let mut fields = Fields::default();
    let total =
        fields.money("order.price.total", order.price.as_ref().and_then(|price| price.total.as_ref()));
    let expire_time = fields.timestamp("order.expire_time", order.expire_time.as_ref());
    let state = fields.choice::<OrderState>("order.state", order.state);
    let line_names = order.lines.into_iter().map(|line| line.name).collect();
    fields.finish(|| Some(OrderToPay { state: state?, total: total?, expire_time: expire_time?, line_names }))
}

//! The payment service, as this service needs it.

use tael_grpc::client::Channel;
use tael_ids::{EventId, MerchantId, OrderId};
use tael_proto::payment::v1::payment_service_client::PaymentServiceClient;
use tael_proto::payment::v1::{ClosePaymentRequest, ListPaymentsRequest, Payment, PaymentState};
use tonic::{Request, Status};

/// Whether an order can still be paid, after everything was done to prevent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// No payment of the order can bring money any more, and none has brought any that stayed.
    Closed,
    /// The payer was faster.
    Paid,
    /// The channel gave no evidence yet.
    InDoubt,
}

/// Calls to the payment service.
#[derive(Clone, Debug)]
pub(crate) struct Payments {
    client: PaymentServiceClient<Channel>,
}

impl Payments {
    pub(crate) fn new(channel: Channel) -> Self {
        Self { client: PaymentServiceClient::new(channel) }
    }

    /// Closes whatever could still pay the order.
    pub(crate) async fn close(&self, merchant_id: MerchantId, order_id: OrderId) -> Result<Closing, Status> {
        let mut client = self.client.clone();
        // One page, the newest: the payment service starts no payment while an older one may still bring money.
        let request = ListPaymentsRequest {
            merchant_id: merchant_id.to_string(),
            order_id: order_id.to_string(),
            page_size: 100,
            page_token: String::new(),
        };
        let payments = client.list_payments(request).await?.into_inner().payments;
        let mut closing = Closing::Closed;
        for payment in payments {
            let one = match payment.state() {
                PaymentState::Created | PaymentState::Pending => {
                    let mut request = Request::new(ClosePaymentRequest {
                        merchant_id: merchant_id.to_string(),
                        payment_id: payment.payment_id,
                    });
                    // A key of its own for each try: the answer "in doubt" must not be replayed to the next one.
                    let key = EventId::new().channel_number().parse().expect("letters and digits");
                    request.metadata_mut().insert("idempotency-key", key);
                    let closed = client.close_payment(request).await?.into_inner().payment;
                    closed.as_ref().map_or(Closing::InDoubt, outcome)
                }
                PaymentState::Succeeded
                | PaymentState::Closed
                | PaymentState::Failed
                | PaymentState::Unspecified => outcome(&payment),
            };
            match one {
                Closing::Paid => return Ok(Closing::Paid),
                Closing::InDoubt => closing = Closing::InDoubt,
                Closing::Closed => {}
            }
        }
        Ok(closing)
    }
}

fn outcome(payment: &Payment) -> Closing {
    match payment.state() {
        PaymentState::Closed | PaymentState::Failed => Closing::Closed,
        // The money came and went, as when the channel gives back in closing what was paid meanwhile.
        PaymentState::Succeeded if payment.amount.is_some() && payment.refunded == payment.amount => {
            Closing::Closed
        }
        PaymentState::Succeeded => Closing::Paid,
        PaymentState::Created | PaymentState::Pending | PaymentState::Unspecified => Closing::InDoubt,
    }
}

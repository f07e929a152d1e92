//! The payment service, as the gateway needs it.

use tael_grpc::client::Channel;
use tael_grpc::retry::{Budget, repeat};
use tael_ids::PaymentId;
use tael_proto::payment::v1::callback_service_client::CallbackServiceClient;
use tael_proto::payment::v1::payment_service_client::PaymentServiceClient;
use tael_proto::payment::v1::{
    GetCheckoutRequest, GetCheckoutResponse, HandleCallbackRequest, HandleCallbackResponse,
};
use tonic::Status;

/// Calls to the payment service, repeated when it could not take them. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct PaymentClient {
    client: PaymentServiceClient<Channel>,
    callbacks: CallbackServiceClient<Channel>,
    budget: Budget,
}

impl PaymentClient {
    pub(crate) fn new(channel: Channel) -> Self {
        Self {
            client: PaymentServiceClient::new(channel.clone()),
            callbacks: CallbackServiceClient::new(channel),
            budget: Budget::default(),
        }
    }

    /// Hands a channel's message over. It may arrive twice, as it may come from the channel twice: what it says takes
    /// effect once.
    pub(crate) async fn handle_callback(
        &self,
        request: HandleCallbackRequest,
    ) -> Result<HandleCallbackResponse, Status> {
        let answer = repeat(&self.budget, || {
            let (mut client, request) = (self.callbacks.clone(), request.clone());
            async move { client.handle_callback(request).await }
        });
        Ok(answer.await?.into_inner())
    }

    /// Reads what the payer's page shows.
    pub(crate) async fn checkout(&self, id: PaymentId) -> Result<GetCheckoutResponse, Status> {
        let answer = repeat(&self.budget, || {
            let mut client = self.client.clone();
            let request = GetCheckoutRequest { payment_id: id.to_string() };
            async move { client.get_checkout(request).await }
        });
        Ok(answer.await?.into_inner())
    }
}

//! What Kubernetes asks.

use std::time::Duration;

use axum::extract::State;
use http::StatusCode;
use tael_grpc::client::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// How long the payment service may take to say that it is well.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Says that the process answers.
pub(crate) async fn alive() -> &'static str {
    "alive\n"
}

/// Says whether the payment service can be reached and is ready: without it no request can succeed.
pub(crate) async fn ready(State(mut payment): State<HealthClient<Channel>>) -> (StatusCode, &'static str) {
    let check = payment.check(HealthCheckRequest::default());
    match tokio::time::timeout(TIMEOUT, check).await {
        Ok(Ok(reply)) if reply.get_ref().status() == ServingStatus::Serving => (StatusCode::OK, "ready\n"),
        Ok(Ok(_)) => (StatusCode::SERVICE_UNAVAILABLE, "payment is not ready\n"),
        Ok(Err(_)) | Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "payment can't be reached\n"),
    }
}

//! Which path leads where.

use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, post};
use axum::{Router, http::StatusCode};
use tael_grpc::client::Channel;
use tonic_health::pb::health_client::HealthClient;

use crate::clients::Payments;
use crate::config::Limits;
use crate::edge::{self, Edge};
use crate::{callback, checkout, health};

/// Where a channel account's callbacks come in from Alipay.
pub(crate) const ALIPAY_CALLBACK: &str = "/callbacks/alipay/{channel_account_id}";
/// The payer's page.
pub(crate) const CHECKOUT: &str = "/checkout/{payment_id}";
/// What the payer's page asks for while it is open.
pub(crate) const CHECKOUT_STATE: &str = "/checkout/{payment_id}/state";

/// Finds a route's name in spans and metrics.
pub(crate) fn known(route: &str) -> Option<&'static str> {
    [ALIPAY_CALLBACK, CHECKOUT, CHECKOUT_STATE].into_iter().find(|known| *known == route)
}

pub(crate) fn router(payment: Channel, limits: Limits) -> Router {
    // Health is outside of the edge: never refused for load, and kept out of traces.
    let health = Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .with_state(HealthClient::new(payment.clone()));
    Router::new()
        .route(ALIPAY_CALLBACK, post(callback::alipay).layer(DefaultBodyLimit::max(callback::MAX_BODY)))
        .route(CHECKOUT, get(checkout::page))
        .route(CHECKOUT_STATE, get(checkout::state))
        .fallback(async || (StatusCode::NOT_FOUND, "not found\n"))
        .layer(middleware::from_fn_with_state(Edge::new(limits), edge::around))
        .with_state(Payments::new(payment))
        .merge(health)
}

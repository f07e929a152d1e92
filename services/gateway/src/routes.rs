//! Which path leads where.

use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{any, get};
use axum::{Router, http::StatusCode};
use tael_grpc::client::Channel;
use tonic_health::pb::health_client::HealthClient;

use crate::clients::PaymentClient;
use crate::config::Limits;
use crate::edge::{self, Edge};
use crate::paths::{CALLBACK, CHECKOUT, CHECKOUT_STATE};
use crate::{callback, checkout, health};

/// Leads each path to its handler, within the edge.
pub(crate) fn router(payment: Channel, limits: Limits) -> Router {
    // Health is outside of the edge: never refused for load, and kept out of traces.
    let health = Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .with_state(HealthClient::new(payment.clone()));
    Router::new()
        .route(CALLBACK, any(callback::take).layer(DefaultBodyLimit::max(callback::MAX_BODY)))
        .route(CHECKOUT, get(checkout::page))
        .route(CHECKOUT_STATE, get(checkout::state))
        .fallback(async || (StatusCode::NOT_FOUND, "not found\n"))
        .layer(middleware::from_fn_with_state(Edge::new(limits), edge::around))
        .with_state(PaymentClient::new(payment))
        .merge(health)
}

//! The payer's page: what is to be paid, the code to scan, and where the payment stands.

mod i18n;
mod language;
mod page;
mod price;
mod qr;
mod view;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use http::header::ACCEPT_LANGUAGE;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use tael_grpc::status::Chain;
use tael_ids::PaymentId;
use tonic::Code;

use crate::checkout::i18n::notice;
use crate::checkout::language::Language;
use crate::checkout::page::Problem;
use crate::checkout::view::Checkout;
use crate::clients::PaymentClient;

/// What may be asked for in the query.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct CheckoutQuery {
    lang: Option<String>,
}

/// Nonsense in the query does no harm: the page is shown as without one.
type LenientQuery = Result<Query<CheckoutQuery>, QueryRejection>;
type PaymentPath = Result<Path<String>, PathRejection>;

/// Shows the page of a payment.
pub(crate) async fn page(
    State(payments): State<PaymentClient>,
    path: PaymentPath,
    query: LenientQuery,
    headers: HeaderMap,
) -> Response {
    let language = language(query, &headers);
    match load(&payments, path).await {
        Ok((id, checkout)) => page::checkout(language, id, &checkout),
        Err(problem) => page::problem(language, problem),
    }
}

/// Tells a page that is open where its payment stands.
pub(crate) async fn state(
    State(payments): State<PaymentClient>,
    path: PaymentPath,
    query: LenientQuery,
    headers: HeaderMap,
) -> Response {
    #[derive(Serialize)]
    struct Failed {
        error: &'static str,
    }
    let language = language(query, &headers);
    match load(&payments, path).await {
        Ok((_, checkout)) => Json(notice(language, &checkout)).into_response(),
        Err(Problem::Unknown) => (StatusCode::NOT_FOUND, Json(Failed { error: "not_found" })).into_response(),
        Err(Problem::Unavailable) => {
            (StatusCode::SERVICE_UNAVAILABLE, Json(Failed { error: "unavailable" })).into_response()
        }
    }
}

fn language(query: LenientQuery, headers: &HeaderMap) -> Language {
    let query = query.map(|Query(query)| query).unwrap_or_default();
    let accepted = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    Language::choose(query.lang.as_deref(), accepted)
}

async fn load(payments: &PaymentClient, path: PaymentPath) -> Result<(PaymentId, Checkout), Problem> {
    let id: PaymentId = path.ok().and_then(|Path(id)| id.parse().ok()).ok_or(Problem::Unknown)?;
    tael_telemetry::record("tael.payment_id", id);
    let reply = payments.checkout(id).await.map_err(|status| match status.code() {
        Code::NotFound | Code::InvalidArgument => Problem::Unknown,
        code => {
            tracing::warn!(?code, "a checkout could not be loaded");
            Problem::Unavailable
        }
    })?;
    let checkout = Checkout::try_from(reply).map_err(|error| {
        tracing::error!(tael.payment_id = %id, error = %Chain(&error), "a checkout can't be shown");
        Problem::Unavailable
    })?;
    Ok((id, checkout))
}

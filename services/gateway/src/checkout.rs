//! The payer's page: what is to be paid, the code to scan, and where the payment stands.

mod language;
mod page;
mod price;
mod qr;
mod view;
mod words;

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

use crate::checkout::language::Language;
use crate::checkout::page::Problem;
use crate::checkout::view::Checkout;
use crate::checkout::words::notice;
use crate::clients::Payments;

/// What may be asked for in the query.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wishes {
    lang: Option<String>,
}

type Wished = Result<Query<Wishes>, QueryRejection>;
type Named = Result<Path<String>, PathRejection>;

/// Shows the page of a payment.
pub(crate) async fn page(
    State(payments): State<Payments>,
    path: Named,
    query: Wished,
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
    State(payments): State<Payments>,
    path: Named,
    query: Wished,
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
        Err(Problem::NotNow) => {
            (StatusCode::SERVICE_UNAVAILABLE, Json(Failed { error: "unavailable" })).into_response()
        }
    }
}

fn language(query: Wished, headers: &HeaderMap) -> Language {
    let wishes = query.map(|Query(wishes)| wishes).unwrap_or_default();
    let accepted = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    Language::choose(wishes.lang.as_deref(), accepted)
}

async fn load(payments: &Payments, path: Named) -> Result<(PaymentId, Checkout), Problem> {
    let id: PaymentId = path.ok().and_then(|Path(id)| id.parse().ok()).ok_or(Problem::Unknown)?;
    tael_telemetry::record("tael.payment_id", id);
    let reply = payments.checkout(id).await.map_err(|status| match status.code() {
        Code::NotFound | Code::InvalidArgument => Problem::Unknown,
        code => {
            tracing::warn!(?code, "a checkout could not be loaded");
            Problem::NotNow
        }
    })?;
    let checkout = Checkout::try_from(reply).map_err(|error| {
        tracing::error!(tael.payment_id = %id, error = %Chain(&error), "a checkout can't be shown");
        Problem::NotNow
    })?;
    Ok((id, checkout))
}

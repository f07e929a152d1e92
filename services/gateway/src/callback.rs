//! Channels' callbacks, handed to the payment service as they came.
//!
//! What the channel is told comes from the payment service alone. Whatever else happens, the answer is one that makes
//! the channel send its message again: a message that nobody recorded must not be acknowledged.

use std::collections::BTreeMap;

use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use tael_ids::ChannelAccountId;
use tael_proto::payment::v1::{HandleCallbackRequest, HandleCallbackResponse};
use tonic::{Code, Status};

use crate::channels::{self, Channel};
use crate::clients::PaymentClient;

/// The largest body taken, in bytes. Real ones have a few kilobytes.
pub(crate) const MAX_BODY: usize = 64 << 10;

/// Takes a callback.
pub(crate) async fn take(
    State(payments): State<PaymentClient>,
    path: Result<Path<(String, String)>, PathRejection>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let named = path.ok().and_then(|Path((channel, account))| {
        Some((channels::find(&channel)?, account.parse::<ChannelAccountId>().ok()?))
    });
    let Some((channel, account)) = named else { return unknown_account() };
    tael_telemetry::record("tael.channel", channel.name);
    tael_telemetry::record("tael.channel_account_id", account);
    let response = match body {
        Err(rejection) => unreadable(&rejection),
        Ok(body) => {
            let request = HandleCallbackRequest {
                channel: channel.name.to_owned(),
                channel_account_id: account.to_string(),
                method: method.to_string(),
                path: uri.path().to_owned(),
                query: uri.query().unwrap_or_default().to_owned(),
                headers: handed_on(channel, &headers),
                body,
            };
            hand_over(&payments, request).await
        }
    };
    tracing::info!(
        tael.channel = channel.name,
        status = response.status().as_u16(),
        "a callback was answered"
    );
    response
}

async fn hand_over(payments: &PaymentClient, request: HandleCallbackRequest) -> Response {
    match payments.handle_callback(request).await {
        Ok(reply) => as_answered(reply).unwrap_or_else(|| {
            tracing::error!("the payment service's answer to a callback is no HTTP answer");
            unavailable()
        }),
        Err(status) => refused(&status),
    }
}

fn handed_on(channel: Channel, headers: &HeaderMap) -> BTreeMap<String, String> {
    // A value that is not ASCII text is none that any channel sends.
    let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
    channel.headers.iter().filter_map(|name| Some(((*name).to_owned(), text(name)?))).collect()
}

fn as_answered(reply: HandleCallbackResponse) -> Option<Response> {
    let status = StatusCode::from_u16(reply.status.try_into().ok()?).ok()?;
    if status.is_informational() {
        return None;
    }
    let content_type = HeaderValue::try_from(reply.content_type).ok()?;
    Some((status, [(CONTENT_TYPE, content_type)], reply.body).into_response())
}

fn refused(status: &Status) -> Response {
    match status.code() {
        Code::InvalidArgument => (StatusCode::BAD_REQUEST, "not a message of this channel\n").into_response(),
        Code::NotFound => unknown_account(),
        code => {
            tracing::warn!(?code, "a callback could not be handed over; the channel will send it again");
            unavailable()
        }
    }
}

fn unknown_account() -> Response {
    (StatusCode::NOT_FOUND, "no such channel account\n").into_response()
}

fn unreadable(rejection: &BytesRejection) -> Response {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            (StatusCode::PAYLOAD_TOO_LARGE, "the body is too large\n").into_response()
        }
        _ => (StatusCode::BAD_REQUEST, "the body could not be read\n").into_response(),
    }
}

fn unavailable() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "not now, send it again\n").into_response()
}

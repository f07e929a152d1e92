//! Channels' callbacks, handed to the payment service as they came.
//!
//! What the channel is told comes from the payment service alone. Whatever else happens, the answer is one that makes
//! the channel send its message again: a message that nobody recorded must not be acknowledged.

use std::collections::BTreeMap;

use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, USER_AGENT};
use http::{HeaderMap, HeaderValue, StatusCode};
use tael_ids::ChannelAccountId;
use tael_proto::payment::v1::{HandleCallbackRequest, HandleCallbackResponse};
use tael_proto::r#type::v1::Channel as PaymentChannel;
use tonic::{Code, Status};

use crate::clients::PaymentClient;

/// The largest body taken, in bytes. Real ones have a few kilobytes.
pub(crate) const MAX_BODY: usize = 64 << 10;

/// The header fields that a channel's message consists of, or that help to tell whose it was. Nothing else is
/// handed on: what proxies add, cookies and credentials are nobody's business.
const HANDED_ON: [HeaderName; 2] = [CONTENT_TYPE, USER_AGENT];

/// Takes a callback of Alipay.
pub(crate) async fn alipay(
    State(payments): State<PaymentClient>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let account = path.ok().and_then(|Path(id)| id.parse::<ChannelAccountId>().ok());
    let response = match (account, body) {
        (None, _) => unknown_account(),
        (Some(_), Err(rejection)) => unreadable(&rejection),
        (Some(account), Ok(body)) => {
            tael_telemetry::record("tael.channel", "alipay");
            tael_telemetry::record("tael.channel_account_id", account);
            hand_over(&payments, PaymentChannel::Alipay, account, &headers, body).await
        }
    };
    tracing::info!(tael.channel = "alipay", status = response.status().as_u16(), "a callback was answered");
    response
}

async fn hand_over(
    payments: &PaymentClient,
    channel: PaymentChannel,
    account: ChannelAccountId,
    headers: &HeaderMap,
    body: Bytes,
) -> Response {
    let request = HandleCallbackRequest {
        channel: channel.into(),
        channel_account_id: account.to_string(),
        headers: handed_on(headers),
        body,
    };
    match payments.handle_callback(request).await {
        Ok(reply) => as_answered(reply).unwrap_or_else(|| {
            tracing::error!("the payment service's answer to a callback is no HTTP answer");
            unavailable()
        }),
        Err(status) => refused(&status),
    }
}

fn handed_on(headers: &HeaderMap) -> BTreeMap<String, String> {
    // A value that is not ASCII text is none that any channel sends.
    let text = |name: &HeaderName| Some(headers.get(name)?.to_str().ok()?.to_owned());
    HANDED_ON.iter().filter_map(|name| Some((name.as_str().to_owned(), text(name)?))).collect()
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

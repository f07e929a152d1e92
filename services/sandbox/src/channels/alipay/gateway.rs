//! `POST|GET /gateway.do`: the front door of the open platform. Merges query and form, verifies the app's signature,
//! applies faults, calls the method, signs the answer. Every answer is HTTP 200, errors included.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Query, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{StatusCode, Uri, header};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use tracing::debug;

use super::{
    charset::Charset, ids, methods, node, parameters::Parameters, refusal::Refusal, shared::Alipay,
    state::App, time,
};
use crate::{
    control::StatementVariant,
    core::{CallFault, clock::real_now, drop_connection},
};

/// How far a call's timestamp may be off: SDKs take the machine's local clock, whatever its zone.
const TIMESTAMP_TOLERANCE: SignedDuration = SignedDuration::from_hours(24);

/// How an answer is signed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Signed {
    Well,
    /// By a fault: over something else.
    Badly,
    /// Not at all, as the real gateway answers what never came to a method: it does not know whom it would sign for.
    Not,
}

/// Answers one call.
pub(crate) async fn handle(State(alipay): State<Arc<Alipay>>, uri: Uri, body: Bytes) -> Response {
    let parameters = match Parameters::merge(uri.query().unwrap_or_default(), &body) {
        Ok(parameters) => parameters,
        Err(refusal) => return answer(&alipay, "", &Err(refusal), Charset::default(), Signed::Not),
    };
    let method = parameters.get("method").unwrap_or_default();
    let answer = |result: &_, signed| answer(&alipay, method, result, parameters.charset(), signed);
    let app = match authenticate(&alipay, &parameters) {
        Ok(app) => app,
        Err(refusal) => return answer(&Err(refusal), Signed::Not),
    };
    let fault = alipay.context.books().faults.take_call(&app.app_id, method);
    match &fault {
        Some(CallFault::DropRequest) => return drop_connection(),
        Some(CallFault::FailBefore { code, sub_code }) => {
            let refusal = if code.is_empty() {
                Refusal::Unavailable
            } else {
                Refusal::Fault { code: code.clone(), sub_code: sub_code.clone() }
            };
            return answer(&Err(refusal), Signed::Well);
        }
        Some(CallFault::PretendClosed) => {
            let result = methods::pretend_closed(&parameters);
            return answer(&result, Signed::Well);
        }
        None
        | Some(
            CallFault::TimeOutAfter { .. } | CallFault::DelayAnswer { .. } | CallFault::BadAnswerSignature,
        ) => {}
    }
    alipay.advance(alipay.context.now());
    let result = methods::call(&alipay, &app, method, &parameters, alipay.context.now());
    alipay.context.notify_dispatcher();
    match fault {
        Some(CallFault::TimeOutAfter { hang_ms }) => {
            alipay.context.wait_ms(hang_ms).await;
            drop_connection()
        }
        Some(CallFault::DelayAnswer { delay_ms }) => {
            alipay.context.wait_ms(delay_ms).await;
            answer(&result, Signed::Well)
        }
        Some(CallFault::BadAnswerSignature) => answer(&result, Signed::Badly),
        None | Some(CallFault::DropRequest | CallFault::FailBefore { .. } | CallFault::PretendClosed) => {
            answer(&result, Signed::Well)
        }
    }
}

/// Checks the common parameters and the signature, and returns the app that calls (Alipay open platform: common
/// parameters; common error codes). What is refused here is answered unsigned.
fn authenticate(alipay: &Alipay, parameters: &Parameters) -> Result<App, Refusal> {
    let app_id = parameters.require("app_id", "isv.missing-app-id")?;
    parameters.require("method", "isv.missing-method")?;
    let sign_type = parameters.require("sign_type", "isv.missing-signature-type")?;
    let sign = parameters.require("sign", "isv.missing-signature")?;
    let charset = parameters.get("charset").unwrap_or(Charset::default().as_wire());
    let timestamp = parameters.require("timestamp", "isv.missing-timestamp")?;
    let version = parameters.require("version", "isv.missing-version")?;

    let app = alipay.state().app(app_id).cloned().ok_or(Refusal::Invalid("isv.invalid-app-id"))?;
    if sign_type != "RSA2" {
        return Err(Refusal::Invalid("isv.invalid-signature-type"));
    }
    if Charset::from_wire(charset).is_none() {
        return Err(Refusal::Invalid("isv.invalid-charset"));
    }
    if !app.public_key.verifies(&parameters.signed_text(), sign) {
        return Err(Refusal::Invalid("isv.invalid-signature"));
    }
    if version != "1.0" {
        return Err(Refusal::Invalid("isv.invalid-parameter"));
    }
    if !parameters.get("format").unwrap_or("JSON").eq_ignore_ascii_case("json") {
        return Err(Refusal::Invalid("isv.invalid-format"));
    }
    let sent_at = time::from_wire(timestamp).ok_or(Refusal::Invalid("isv.invalid-timestamp"))?;
    // A client knows nothing of time skipped here, so real time is as good as the sandbox's.
    let near = |now: Timestamp| now.duration_since(sent_at).abs() <= TIMESTAMP_TOLERANCE;
    if !near(alipay.context.now()) && !near(real_now()) {
        return Err(Refusal::Invalid("isv.invalid-timestamp"));
    }
    Ok(app)
}

fn answer(
    alipay: &Alipay,
    method: &str,
    result: &Result<node::Fields, Refusal>,
    charset: Charset,
    signed: Signed,
) -> Response {
    let mut fields: node::Fields = Vec::new();
    match result {
        Ok(done) => {
            fields.extend([("code", "10000".into()), ("msg", "Success".into())]);
            fields.extend(done.iter().cloned());
            debug!(method, "call answered");
        }
        Err(refusal) => {
            let error = refusal.fields();
            debug!(method, code = error.code, sub_code = error.sub_code, "call refused");
            fields.extend([
                ("code", error.code.into()),
                ("msg", error.msg.into()),
                ("sub_code", error.sub_code.into()),
                ("sub_msg", error.sub_msg.as_ref().into()),
            ]);
        }
    }
    let node = node::text(&fields);
    let node = charset.encode(&node);
    let sign = match signed {
        Signed::Well => Some(alipay.key.sign(&node)),
        Signed::Badly => Some(alipay.key.sign(b"something else")),
        Signed::Not => None,
    };
    let body = node::answer(&node::name(method), &node, sign.as_deref());
    // The content type and the trace_id header are those of the real gateway.
    let headers = [
        (header::CONTENT_TYPE.as_str(), format!("text/html;charset={}", charset.as_wire())),
        ("trace_id", ids::trace_id()),
    ];
    (headers, body).into_response()
}

/// The query of a statement's download link.
#[derive(Deserialize)]
pub(crate) struct Download {
    token: String,
}

/// `GET /bill/download?token=`: the file behind a `bill_download_url`; no signature, 30 seconds long.
pub(crate) async fn download_statement(
    State(alipay): State<Arc<Alipay>>,
    Query(download): Query<Download>,
) -> Response {
    let now = alipay.context.now();
    // Out of the state before anything waits.
    let statement = alipay.state().statement(&download.token, now).cloned();
    let Some(statement) = statement else {
        return (StatusCode::FORBIDDEN, "the link has expired").into_response();
    };
    for variant in &statement.variants {
        if let StatementVariant::Slow { delay_ms } = variant {
            alipay.context.wait_ms(*delay_ms).await;
        }
    }
    if statement.variants.contains(&StatementVariant::NotAnArchive) {
        let headers = [(header::CONTENT_TYPE, "text/html;charset=utf-8")];
        return (headers, "<html><body>系统繁忙，请稍后再试</body></html>").into_response();
    }
    let headers = [
        (header::CONTENT_TYPE, "application/zip".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename={}", statement.file_name)),
    ];
    let body = if statement.variants.contains(&StatementVariant::Endless) {
        let more = stream::repeat(Bytes::from(vec![0; 64 * 1024]));
        Body::from_stream(stream::iter([statement.zip]).chain(more).map(Ok::<_, Infallible>))
    } else if statement.variants.contains(&StatementVariant::Broken) {
        let half = statement.zip.slice(..statement.zip.len() / 2);
        let broken = stream::once(async {
            // A moment for the half to be sent.
            tokio::time::sleep(Duration::from_millis(50)).await;
            Err(io::Error::other("broken on purpose"))
        });
        Body::from_stream(stream::iter([Ok(half)]).chain(broken))
    } else {
        Body::from(statement.zip)
    };
    (headers, body).into_response()
}

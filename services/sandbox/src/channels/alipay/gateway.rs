//! `POST|GET /gateway.do`: the front door of the open platform. Merges query and form, verifies the app's signature,
//! applies faults, calls the method, signs the answer. Every answer is HTTP 200, errors included.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    extract::{Query, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{StatusCode, Uri, header};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use tracing::debug;

use super::{ids, methods, node, refusal::Refusal, shared::Alipay, sign::request_text, state::App, time};
use crate::core::{CallFault, clock::real_now, drop_connection};

/// How far a call's timestamp may be off: SDKs take the machine's local clock, whatever its zone.
const TIMESTAMP_TOLERANCE: SignedDuration = SignedDuration::from_hours(24);

/// The parameters of a call, from query and form together.
pub(crate) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Merges query and form body (SDKs differ in what they put where). The same name with two values is refused.
    fn merge(query: &str, body: &[u8]) -> Result<Self, Refusal> {
        let mut parameters = BTreeMap::new();
        let pairs = url::form_urlencoded::parse(query.as_bytes()).chain(url::form_urlencoded::parse(body));
        for (name, value) in pairs {
            let value = value.into_owned();
            if let Some(earlier) = parameters.insert(name.into_owned(), value.clone())
                && earlier != value
            {
                return Err(Refusal::Invalid("isv.invalid-parameter"));
            }
        }
        Ok(Self(parameters))
    }

    /// The value, if it is there and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn require(&self, name: &str, sub_code: &'static str) -> Result<&str, Refusal> {
        self.get(name).ok_or(Refusal::Missing(sub_code))
    }

    /// The text the app has signed.
    fn signed_text(&self) -> String {
        request_text(self.0.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }
}

/// Answers one call.
pub(crate) async fn handle(State(alipay): State<Arc<Alipay>>, uri: Uri, body: Bytes) -> Response {
    let parameters = match Parameters::merge(uri.query().unwrap_or_default(), &body) {
        Ok(parameters) => parameters,
        Err(refusal) => return answer(&alipay, "", &Err(refusal), true),
    };
    let method = parameters.get("method").unwrap_or_default();
    let app = match authenticate(&alipay, &parameters) {
        Ok(app) => app,
        Err(refusal) => return answer(&alipay, method, &Err(refusal), true),
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
            return answer(&alipay, method, &Err(refusal), true);
        }
        Some(CallFault::PretendClosed) => {
            let result = methods::pretend_closed(&parameters);
            return answer(&alipay, method, &result, true);
        }
        None
        | Some(
            CallFault::TimeOutAfter { .. } | CallFault::DelayAnswer { .. } | CallFault::BadAnswerSignature,
        ) => {}
    }
    let result = methods::call(&alipay, &app, method, &parameters, alipay.context.now());
    alipay.context.notify_dispatcher();
    match fault {
        Some(CallFault::TimeOutAfter { hang_ms }) => {
            alipay.context.wait_ms(hang_ms).await;
            drop_connection()
        }
        Some(CallFault::DelayAnswer { delay_ms }) => {
            alipay.context.wait_ms(delay_ms).await;
            answer(&alipay, method, &result, true)
        }
        Some(CallFault::BadAnswerSignature) => answer(&alipay, method, &result, false),
        None | Some(CallFault::DropRequest | CallFault::FailBefore { .. } | CallFault::PretendClosed) => {
            answer(&alipay, method, &result, true)
        }
    }
}

/// Checks the common parameters and the signature, and returns the app that calls (Alipay open platform: common
/// parameters; common error codes).
fn authenticate(alipay: &Alipay, parameters: &Parameters) -> Result<App, Refusal> {
    let app_id = parameters.require("app_id", "isv.missing-app-id")?;
    parameters.require("method", "isv.missing-method")?;
    let sign_type = parameters.require("sign_type", "isv.missing-signature-type")?;
    let sign = parameters.require("sign", "isv.missing-signature")?;
    let charset = parameters.get("charset").unwrap_or("utf-8");
    let timestamp = parameters.require("timestamp", "isv.missing-timestamp")?;
    let version = parameters.require("version", "isv.missing-version")?;

    let app = alipay.state().app(app_id).cloned().ok_or(Refusal::Invalid("isv.invalid-app-id"))?;
    if sign_type != "RSA2" {
        return Err(Refusal::Invalid("isv.invalid-signature-type"));
    }
    if !charset.eq_ignore_ascii_case("utf-8") {
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
    sign_well: bool,
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
    let sign = if sign_well { alipay.key.sign(&node) } else { alipay.key.sign("something else") };
    let body = node::answer(&node::name(method), &node, &sign);
    // The content type and the trace_id header are those of the real gateway.
    let headers = [
        (header::CONTENT_TYPE.as_str(), "text/html;charset=utf-8".to_owned()),
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
    let state = alipay.state();
    match state.statement(&download.token, now) {
        Some(statement) => {
            let disposition = format!("attachment; filename={}", statement.file_name);
            let headers = [
                (header::CONTENT_TYPE, "application/zip".to_owned()),
                (header::CONTENT_DISPOSITION, disposition),
            ];
            (headers, statement.zip.clone()).into_response()
        }
        None => (StatusCode::FORBIDDEN, "the link has expired").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_and_form_are_merged_and_contradictions_refused() {
        let merged = Parameters::merge("a=1&b=%E8%8C%B6+x&same=1", b"c=3&same=1&empty=").unwrap();
        assert_eq!(merged.get("b"), Some("茶 x"));
        assert_eq!(merged.get("empty"), None);
        assert_eq!(merged.signed_text(), "a=1&b=茶 x&c=3&same=1");
        assert!(Parameters::merge("a=1", b"a=2").is_err());
    }
}

//! Sending one webhook: the HTTP request.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use tael_egress::{Failure, Policy};
use url::Url;

use crate::domain::delivery::AttemptResult;

/// So much of an answer is read, so that its connection can be used again; more is cut off.
const MAX_ANSWER: usize = 4096;

/// Sends webhooks. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    client: tael_egress::Client,
}

/// A request to be made.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) url: String,
    /// The event's id, as `webhook-id`.
    pub(crate) id: String,
    /// Seconds since 1970, as `webhook-timestamp`.
    pub(crate) timestamp: i64,
    /// As `webhook-signature`.
    pub(crate) signature: String,
    pub(crate) body: String,
    /// The event's trace, sent unless the current span is traced itself.
    pub(crate) traceparent: String,
}

impl Sender {
    /// Prepares to send to addresses that `egress` allows, giving an endpoint so much time for its answer.
    pub(crate) fn new(egress: Policy, timeout: Duration) -> Result<Self, reqwest::Error> {
        let settings = reqwest::Client::builder()
            .user_agent("Tael-Webhooks/1")
            .timeout(timeout)
            .pool_max_idle_per_host(4)
            .pool_idle_timeout(Duration::from_secs(30));
        Ok(Self { client: tael_egress::Client::new(egress, settings)? })
    }

    /// Makes the request. Whatever goes wrong is a result.
    pub(crate) async fn send(&self, message: Message) -> AttemptResult {
        let unanswered = |reason: &str| AttemptResult::Unanswered(reason.to_owned());
        let Ok(url) = Url::parse(&message.url) else { return unanswered("not a URL") };
        // What is allowed may have changed since the URL was accepted.
        let Ok(request) = self.client.request(Method::POST, url) else {
            return unanswered(Failure::NotPublic.as_str());
        };
        let Some(headers) = headers(&message) else { return unanswered("not sendable") };
        match request.headers(headers).body(message.body).send().await {
            Ok(mut answer) => {
                let status = answer.status().as_u16();
                let mut read = 0;
                while read < MAX_ANSWER {
                    match answer.chunk().await {
                        Ok(Some(chunk)) => read += chunk.len(),
                        // The status is what counts.
                        Ok(None) | Err(_) => break,
                    }
                }
                AttemptResult::Answered(status)
            }
            Err(error) => unanswered(Failure::of(&error).as_str()),
        }
    }
}

fn headers(message: &Message) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(HeaderName::from_static("webhook-id"), message.id.parse().ok()?);
    headers.insert(HeaderName::from_static("webhook-timestamp"), HeaderValue::from(message.timestamp));
    headers.insert(HeaderName::from_static("webhook-signature"), message.signature.parse().ok()?);
    tael_telemetry::inject(&mut headers);
    if !headers.contains_key("traceparent") && !message.traceparent.is_empty() {
        headers.insert(HeaderName::from_static("traceparent"), message.traceparent.parse().ok()?);
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(url: &str) -> Message {
        Message {
            url: url.to_owned(),
            id: "evt_1".to_owned(),
            timestamp: 0,
            signature: "v1,".to_owned(),
            body: "{}".to_owned(),
            traceparent: String::new(),
        }
    }

    #[tokio::test]
    async fn addresses_inside_are_refused_when_sending() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let strict = Policy::strict().with_ports(&[443, port]);
        let sender = Sender::new(strict, Duration::from_secs(5)).unwrap();
        for url in [
            format!("https://127.0.0.1:{port}/"),
            format!("http://127.0.0.1:{port}/"),
            format!("https://2130706433:{port}/"),
            format!("https://[::1]:{port}/"),
            format!("https://[::ffff:127.0.0.1]:{port}/"),
            format!("https://localhost:{port}/"),
            "https://payment:50052/".to_owned(),
            "https://169.254.169.254/".to_owned(),
            "https://8.8.8.8:22/".to_owned(),
        ] {
            let result = sender.send(message(&url)).await;
            assert_eq!(result, AttemptResult::Unanswered("no public address".to_owned()), "{url}");
        }
        assert!(tokio::time::timeout(Duration::ZERO, listener.accept()).await.is_err());
    }
}

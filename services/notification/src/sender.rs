//! Sending one webhook: the HTTP request.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use tael_clock::Clock;
use tael_egress::{Failure, Policy};
use url::Url;

use crate::domain::breaker::MAX_RETRY_AFTER;
use crate::domain::delivery::AttemptResult;

/// So much of an answer is read, so that its connection can be used again; more is cut off.
const MAX_ANSWER: usize = 4096;

/// Sends webhooks. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    client: tael_egress::Client,
    clock: Clock,
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
    /// The event's trace, sent unless the current span is traced itself. None when merchants are not to be told of our traces.
    pub(crate) traceparent: Option<String>,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) result: AttemptResult,
    /// For how long the endpoint asks to be left alone, bounded.
    pub(crate) retry_after: Option<Duration>,
}

impl Sender {
    /// Prepares to send to addresses that `egress` allows, giving an endpoint so much time for its answer.
    pub(crate) fn new(egress: Policy, timeout: Duration, clock: Clock) -> Result<Self, reqwest::Error> {
        let settings = reqwest::Client::builder()
            .user_agent("Tael-Webhooks/1")
            .timeout(timeout)
            .pool_max_idle_per_host(4)
            .pool_idle_timeout(Duration::from_secs(30));
        Ok(Self { client: tael_egress::Client::new(egress, settings)?, clock })
    }

    /// Makes the request. Whatever goes wrong is a result.
    pub(crate) async fn send(&self, message: Message) -> Answer {
        let unanswered =
            |reason: &str| Answer { result: AttemptResult::Unanswered(reason.to_owned()), retry_after: None };
        let Ok(url) = Url::parse(&message.url) else { return unanswered("not a URL") };
        // What is allowed may have changed since the URL was accepted.
        let Ok(request) = self.client.request(Method::POST, url) else {
            return unanswered(Failure::NotPublic.as_str());
        };
        let Some(headers) = headers(&message) else { return unanswered("not sendable") };
        match request.headers(headers).body(message.body).send().await {
            Ok(mut answer) => {
                let status = answer.status().as_u16();
                let retry_after = retry_after(answer.headers(), self.clock.now());
                let mut read = 0;
                while read < MAX_ANSWER {
                    match answer.chunk().await {
                        Ok(Some(chunk)) => read += chunk.len(),
                        // The status is what counts.
                        Ok(None) | Err(_) => break,
                    }
                }
                Answer { result: AttemptResult::Answered(status), retry_after }
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
    if let Some(traceparent) = &message.traceparent {
        tael_telemetry::inject(&mut headers);
        if !headers.contains_key("traceparent") && !traceparent.is_empty() {
            headers.insert(HeaderName::from_static("traceparent"), traceparent.parse().ok()?);
        }
    }
    Some(headers)
}

/// Reads `Retry-After` (RFC 9110, section 10.2.3): seconds such as "120", or a date such as "Sun, 06 Nov 1994 08:49:37 GMT". At
/// most what an endpoint may ask for; none when it is absent or neither.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let asked = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => MAX_RETRY_AFTER,
        Err(_) => {
            let time = rfc2822::parse(text).ok()?.timestamp();
            Duration::try_from(time.duration_since(now)).unwrap_or_default()
        }
    };
    Some(asked.min(MAX_RETRY_AFTER))
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
            traceparent: None,
        }
    }

    #[tokio::test]
    async fn addresses_inside_are_refused_when_sending() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let strict = Policy::strict().with_ports(&[443, port]);
        let sender = Sender::new(strict, Duration::from_secs(5), Clock::system()).unwrap();
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
            let result = sender.send(message(&url)).await.result;
            assert_eq!(result, AttemptResult::Unanswered("no public address".to_owned()), "{url}");
        }
        assert!(tokio::time::timeout(Duration::ZERO, listener.accept()).await.is_err());
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_within_bounds() {
        let now: Timestamp = "1994-11-06T08:49:00Z".parse().unwrap();
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers, now)
        };
        for (text, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("86400", Some(3600)),
            ("99999999999999999999999", Some(3600)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(37)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("Mon, 07 Nov 1994 08:49:37 GMT", Some(3600)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(read(text), seconds.map(Duration::from_secs), "{text:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}

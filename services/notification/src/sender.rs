//! Sending one webhook: the HTTP request, and to which addresses it may go.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect;
use url::Url;

use crate::domain::address::Rules;
use crate::domain::delivery::AttemptResult;

/// So much of an answer is read, so that its connection can be used again; more is cut off.
const MAX_ANSWER: usize = 4096;

/// Sends webhooks. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    client: reqwest::Client,
    rules: Rules,
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

/// A name leads to no address that may be connected to.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a private address")]
struct PrivateAddress;

/// Resolves names to public addresses only. The connection is made to what this returns and the name is not resolved
/// a second time, so that no other answer can come in between.
struct PublicResolver {
    rules: Rules,
}

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let rules = self.rules;
        Box::pin(async move {
            let all = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = all.filter(|address| rules.allows(address.ip())).collect();
            if allowed.is_empty() {
                return Err(PrivateAddress.into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

impl Sender {
    /// Prepares to send, giving an endpoint so much time for its answer.
    pub(crate) fn new(rules: Rules, timeout: Duration) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .user_agent("Tael-Webhooks/1")
            .timeout(timeout)
            .redirect(redirect::Policy::none())
            // A proxy of the environment would resolve names by itself.
            .no_proxy()
            .dns_resolver(Arc::new(PublicResolver { rules }))
            .pool_max_idle_per_host(4)
            .pool_idle_timeout(Duration::from_secs(30))
            .build()?;
        Ok(Self { client, rules })
    }

    /// Makes the request. Whatever goes wrong is a result.
    pub(crate) async fn send(&self, message: Message) -> AttemptResult {
        let unanswered = |reason: &str| AttemptResult::Unanswered(reason.to_owned());
        let Ok(url) = Url::parse(&message.url) else { return unanswered("not a URL") };
        // A literal address is not resolved, so it is judged here; the rules may have changed since it was accepted.
        if !self.rules.allows_host(&url) {
            return unanswered("private address");
        }
        let Some(headers) = headers(&message) else { return unanswered("not sendable") };
        match self.client.post(url).headers(headers).body(message.body).send().await {
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
            Err(error) => unanswered(reason(&error)),
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

/// Says in a few words why there was no answer. The errors' own texts may hold the URL, which may hold a token.
fn reason(error: &reqwest::Error) -> &'static str {
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(cause) = source {
        if cause.is::<PrivateAddress>() {
            return "private address";
        }
        source = cause.source();
    }
    if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "connection failed"
    } else {
        "no valid answer"
    }
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
    async fn private_addresses_are_refused_when_sending() {
        let strict = Rules { allow_http: true, allow_private: false };
        let sender = Sender::new(strict, Duration::from_secs(5)).unwrap();
        for url in ["http://127.0.0.1:9/", "http://[::1]:9/", "http://localhost:9/"] {
            let result = sender.send(message(url)).await;
            assert_eq!(result, AttemptResult::Unanswered("private address".to_owned()), "{url}");
        }
    }

    #[tokio::test]
    async fn a_name_is_judged_by_what_it_resolves_to() {
        let resolver = PublicResolver { rules: Rules { allow_http: true, allow_private: false } };
        // Every machine resolves this name to itself.
        let refused = resolver.resolve("localhost".parse().unwrap()).await.err().unwrap();
        assert!(refused.is::<PrivateAddress>());
        let open = PublicResolver { rules: Rules { allow_http: true, allow_private: true } };
        assert!(open.resolve("localhost".parse().unwrap()).await.unwrap().next().is_some());
    }
}

//! Calls of channels over HTTP: span, metric, circuit breaker and limits, once for all of them.

use reqwest::{Method, RequestBuilder, StatusCode};
use tracing::{Instrument as _, Span, field};
use url::Url;

use super::Health;
use super::call::{Call, Outcome};
use super::download::{DownloadError, Downloaded, download};

/// Answers are a few kilobytes; what is larger is none.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// A channel's HTTP interface, as one account uses it.
#[derive(Debug)]
pub(crate) struct ChannelHttp {
    /// The channel's name in spans and metrics.
    channel: &'static str,
    client: tael_egress::Client,
    health: Health,
}

/// What is told of a call. Nothing else of it reaches spans, metrics or logs: neither address nor content.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation<'a> {
    /// Its short name in spans and metrics.
    pub(crate) name: &'static str,
    /// The number of the attempt that it is about.
    pub(crate) number: Option<&'a str>,
    /// The number of the refund that it is about.
    pub(crate) refund_number: Option<&'a str>,
}

/// An answer that was read and believed.
#[derive(Debug)]
pub(crate) struct Believed<T> {
    pub(crate) value: T,
    pub(crate) outcome: Outcome,
    /// The channel's codes; empty where it has none.
    pub(crate) code: String,
    pub(crate) sub_code: String,
}

/// Why there is no answer that can be believed. The words are fit for the merchant: they name nothing of ours.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("the channel can't be reached")]
    Http(#[from] reqwest::Error),
    /// Never sent.
    #[error("the address {0}")]
    NotAllowed(#[from] tael_egress::Refusal),
    #[error("status {0}")]
    Status(StatusCode),
    #[error("the answer is too large")]
    TooLarge,
    #[error("the answer is not the protocol's")]
    Malformed(#[source] serde_json::Error),
    #[error("the answer lacks {0}")]
    Lacks(&'static str),
    /// Perhaps the channel's, which signs no answer to whom it does not know; perhaps anybody's.
    #[error("an unsigned answer says {0}")]
    Unsigned(String),
    #[error("the answer's signature does not verify")]
    Forged,
}

impl CallError {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Http(_) | Self::NotAllowed(_) | Self::Status(_) => Outcome::Unavailable,
            Self::TooLarge | Self::Malformed(_) | Self::Lacks(_) | Self::Unsigned(_) | Self::Forged => {
                Outcome::Unclear
            }
        }
    }
}

impl ChannelHttp {
    pub(crate) fn new(channel: &'static str, client: tael_egress::Client, health: Health) -> Self {
        Self { channel, client, health }
    }

    /// Posts a request and reads the answer, which must come with status 200. `read` verifies it before it believes it.
    pub(crate) async fn post<T>(
        &self,
        operation: Operation<'_>,
        url: &str,
        build: impl FnOnce(RequestBuilder) -> RequestBuilder,
        read: impl FnOnce(&[u8]) -> Result<Believed<T>, CallError>,
    ) -> Result<T, CallError> {
        let span = self.span(operation, "POST");
        let told = Call::begin(self.channel, operation.name, &span);
        async {
            let guard = self.health.begin();
            let answer = async {
                let url = Url::parse(url).map_err(|_| tael_egress::Refusal::Malformed)?;
                // The trace as W3C headers. A channel takes no notice of them; who looks at what was sent can.
                let mut headers = http::HeaderMap::new();
                tael_telemetry::inject(&mut headers);
                let request = build(self.client.request(Method::POST, url)?.headers(headers));
                read(&body(request).await?)
            };
            match answer.await {
                Ok(believed) => {
                    let span = Span::current();
                    span.record("tael.channel_code", &believed.code);
                    if !believed.sub_code.is_empty() {
                        span.record("tael.channel_sub_code", &believed.sub_code);
                    }
                    guard.record(believed.outcome != Outcome::Unavailable);
                    told.end(believed.outcome);
                    Ok(believed.value)
                }
                Err(error) => {
                    guard.record(false);
                    told.end(error.outcome());
                    let operation = operation.name;
                    let chain = tael_grpc::status::Chain(&error);
                    tracing::warn!(operation, error = %chain, "the channel gave no sure answer");
                    Err(error)
                }
            }
        }
        .instrument(span)
        .await
    }

    /// Gets the file behind a link that the channel gave: a plain GET without signature, and without the trace, for the
    /// file may lie with somebody else. The link is a capability and reaches no log. Says nothing of the channel's health.
    pub(crate) async fn download(&self, name: &'static str, link: &str) -> Result<Downloaded, DownloadError> {
        let operation = Operation { name, number: None, refund_number: None };
        let span = self.span(operation, "GET");
        let told = Call::begin(self.channel, name, &span);
        async {
            let file = async {
                let url = Url::parse(link).map_err(|_| tael_egress::Refusal::Malformed)?;
                let url = self.client.policy().upgrade(url);
                download(self.client.request(Method::GET, url)?).await
            };
            let file = file.await;
            told.end(file.as_ref().map_or_else(DownloadError::outcome, |_| Outcome::Ok));
            file
        }
        .instrument(span)
        .await
    }

    fn span(&self, operation: Operation<'_>, method: &'static str) -> Span {
        tracing::info_span!(
            "channel",
            otel.name = format!("channel.{}.{}", self.channel, operation.name),
            otel.kind = "client",
            otel.status_code = field::Empty,
            http.request.method = method,
            http.response.status_code = field::Empty,
            tael.channel = self.channel,
            tael.outcome = field::Empty,
            tael.channel_number = operation.number,
            tael.channel_refund_number = operation.refund_number,
            tael.channel_code = field::Empty,
            tael.channel_sub_code = field::Empty,
        )
    }
}

/// Sends a request; returns the body of its answer if that is a 200 of at most [`MAX_ANSWER_BYTES`]. The address in an error would
/// show the whole query.
async fn body(request: RequestBuilder) -> Result<Vec<u8>, CallError> {
    let mut response = request.send().await.map_err(reqwest::Error::without_url)?;
    Span::current().record("http.response.status_code", response.status().as_u16());
    if response.status() != StatusCode::OK {
        return Err(CallError::Status(response.status()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(reqwest::Error::without_url)? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(CallError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

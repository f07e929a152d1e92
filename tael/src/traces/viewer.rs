//! The page and its API, over HTTP on this machine.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{Path, Query, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::TcpListener;

use crate::Error;
use crate::traces::page::{self, Problem};
use crate::traces::view::{Summary, TraceView};
use crate::traces::{Found, TraceId, Traces};

/// How many traces a list has, unless another number is asked for.
const USUAL_LIST: usize = 100;
/// How many it has at most: while they are collected, no span can come in.
const LONGEST_LIST: usize = 1_000;

/// Only what comes from here, and no script at all: what spans contain is anybody's.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// Serves the page for as long as the process lives.
#[derive(Clone, Debug)]
pub struct Viewer {
    addr: SocketAddr,
}

/// What the handlers need.
#[derive(Clone, Debug)]
struct Shown {
    traces: Traces,
    otlp_endpoint: String,
}

/// What is looked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Search {
    query: String,
    limit: Option<usize>,
    /// Whether the list of the newest has batches of events too, of which there are many.
    batches: bool,
}

/// The API's answer to a search: the newest traces when nothing is looked for.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct List {
    /// Those that carry the id.
    pub(super) traces: Vec<Summary>,
    /// How many there are, also beyond the limit.
    pub(super) total: usize,
    /// Those that these are linked with.
    pub(super) linked: Vec<Summary>,
}

impl Viewer {
    /// Listens on an address. The page tells that spans are to be sent to `otlp_endpoint`.
    pub async fn start(addr: SocketAddr, traces: Traces, otlp_endpoint: String) -> Result<Self, Error> {
        let listener = TcpListener::bind(addr).await.map_err(|error| format!("{addr}: {error}"))?;
        let viewer = Self { addr: listener.local_addr()? };
        let router = router(Shown { traces, otlp_endpoint });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(viewer)
    }

    /// Where the page is.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }
}

fn router(shown: Shown) -> Router {
    Router::new()
        .route("/", get(list))
        .route("/traces/{id}", get(trace))
        .route("/style.css", get(style))
        .route("/api/traces", get(api_list))
        .route("/api/traces/{id}", get(api_trace))
        .fallback(async || page::problem(Problem::NoSuchPage))
        .layer(middleware::from_fn(around))
        .with_state(shown)
}

/// Answers only who asks for this machine by name or number: otherwise a web page from elsewhere could have its own
/// name point here and read along (DNS rebinding).
async fn around(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let mut response = if is_this_machine(host) {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "ask for localhost or an address\n").into_response()
    };
    let headers: [(HeaderName, &str); 4] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn is_this_machine(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let number = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || number.parse::<IpAddr>().is_ok()
}

async fn list(State(shown): State<Shown>, Query(search): Query<Search>) -> Response {
    let query = search.query.trim();
    if query.is_empty() {
        let newest = shown.traces.newest(USUAL_LIST, search.batches);
        let newest: Vec<Summary> = newest.iter().map(Summary::new).collect();
        return page::newest(&newest, search.batches, &shown.traces.usage(), &shown.otlp_endpoint);
    }
    let found = shown.traces.find(query, USUAL_LIST);
    match &found.matches[..] {
        [] => page::nothing(query, &shown.traces.usage(), &shown.otlp_endpoint),
        // The page of the one trace also lists those it is linked with.
        [only] => Redirect::to(&format!("/traces/{}", only.id)).into_response(),
        _ => page::found(query, &summarized(&found), &shown.traces.usage(), &shown.otlp_endpoint),
    }
}

async fn trace(State(shown): State<Shown>, Path(id): Path<String>) -> Response {
    match load(&shown.traces, &id) {
        Ok(trace) => page::trace(&trace),
        Err(problem) => page::problem(problem),
    }
}

async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], page::STYLE).into_response()
}

async fn api_list(State(shown): State<Shown>, Query(search): Query<Search>) -> Json<List> {
    let limit = search.limit.unwrap_or(USUAL_LIST).min(LONGEST_LIST);
    Json(match search.query.trim() {
        "" => List {
            traces: shown.traces.newest(limit, true).iter().map(Summary::new).collect(),
            total: shown.traces.usage().traces,
            linked: Vec::new(),
        },
        query => summarized(&shown.traces.find(query, limit)),
    })
}

async fn api_trace(State(shown): State<Shown>, Path(id): Path<String>) -> Response {
    match load(&shown.traces, &id) {
        Ok(trace) => Json(trace).into_response(),
        Err(problem) => (problem.status(), Json(json!({ "error": problem.message() }))).into_response(),
    }
}

fn load(traces: &Traces, id: &str) -> Result<TraceView, Problem> {
    let id: TraceId = id.parse().map_err(|_| Problem::Malformed)?;
    let trace = traces.trace(id).ok_or(Problem::Unknown)?;
    Ok(TraceView::new(&trace, &traces.related(id, USUAL_LIST)))
}

fn summarized(found: &Found) -> List {
    List {
        traces: found.matches.iter().map(Summary::new).collect(),
        total: found.total,
        linked: found.linked.iter().map(Summary::new).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::is_this_machine;

    #[test]
    fn only_this_machine_is_answered_for() {
        for host in ["localhost", "LOCALHOST:8099", "127.0.0.1:8099", "[::1]:8099", "10.1.2.3:80"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in ["", "evil.example", "localhost.evil.example:8099", "127.0.0.1.evil.example", "a b"] {
            assert!(!is_this_machine(host), "{host}");
        }
    }
}

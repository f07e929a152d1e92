//! A small OTLP collector, so that the demo can show the trace it made.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::Error;

/// Receives spans over OTLP/gRPC and keeps them in memory.
#[derive(Clone, Debug)]
pub struct Collector {
    addr: SocketAddr,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    /// Listens on a free port for as long as the process lives.
    pub async fn start() -> Result<Self, Error> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let collector = Self { addr: listener.local_addr()?, spans: Arc::default() };
        let server = TraceServiceServer::new(Receiver { spans: collector.spans.clone() });
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(server)
                .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true))),
        );
        Ok(collector)
    }

    /// Where spans are to be sent.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Returns a trace as a tree, and the names of its spans.
    pub fn trace(&self, trace_id: &str) -> (String, HashSet<String>) {
        let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        let spans: Vec<&Span> = spans.iter().filter(|span| hex(&span.trace_id) == trace_id).collect();
        let known: HashSet<&[u8]> = spans.iter().map(|span| span.span_id.as_slice()).collect();
        let mut children: HashMap<&[u8], Vec<&Span>> = HashMap::new();
        for span in &spans {
            // A parent that was not exported is stood in for by the root.
            let parent =
                if known.contains(span.parent_span_id.as_slice()) { &span.parent_span_id[..] } else { &[] };
            children.entry(parent).or_default().push(span);
        }
        let start = spans.iter().map(|span| span.start_time_unix_nano).min().unwrap_or(0);
        let mut tree = String::new();
        write_children(&mut tree, &mut children, &[], "", start);
        (tree, spans.iter().map(|span| span.name.clone()).collect())
    }
}

fn write_children<'a>(
    tree: &mut String,
    children: &mut HashMap<&'a [u8], Vec<&'a Span>>,
    parent: &[u8],
    indent: &str,
    start: u64,
) {
    let mut spans = children.remove(parent).unwrap_or_default();
    spans.sort_by_key(|span| span.start_time_unix_nano);
    let count = spans.len();
    for (index, span) in spans.into_iter().enumerate() {
        let last = index + 1 == count;
        let (branch, deeper) = match (parent.is_empty(), last) {
            (true, _) => ("", ""),
            (false, true) => ("└─ ", "   "),
            (false, false) => ("├─ ", "│  "),
        };
        let name = format!("{indent}{branch}{}", span.name);
        let took = span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano);
        let after = span.start_time_unix_nano.saturating_sub(start);
        let _ = writeln!(tree, "  {name:<64} {:>9} {:>9}  {}", millis(after), millis(took), service(span));
        write_children(tree, children, &span.span_id, &format!("{indent}{deeper}"), start);
    }
}

/// Which service a span belongs to: the crate that made it, or what a call names.
fn service(span: &Span) -> String {
    let text = |key: &str| {
        span.attributes.iter().find(|a| a.key == key).and_then(|a| {
            match a.value.as_ref()?.value.as_ref()? {
                Value::StringValue(text) => Some(text.clone()),
                _ => None,
            }
        })
    };
    if let Some(named) = text("service") {
        return named;
    }
    if let Some(called) = text("rpc.service") {
        return called.split('.').nth(1).unwrap_or_default().to_owned();
    }
    let target = text("target").or_else(|| text("code.namespace")).unwrap_or_default();
    target.split("::").next().unwrap_or_default().trim_start_matches("tael_").to_owned()
}

fn millis(nanos: u64) -> String {
    format!("{}.{} ms", nanos / 1_000_000, nanos / 100_000 % 10)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

struct Receiver {
    spans: Arc<Mutex<Vec<Span>>>,
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let spans =
            request.into_inner().resource_spans.into_iter().flat_map(|r| r.scope_spans).flat_map(|s| s.spans);
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).extend(spans);
        Ok(Response::new(ExportTraceServiceResponse { partial_success: None }))
    }
}

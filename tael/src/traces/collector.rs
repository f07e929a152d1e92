//! Receives spans by OTLP/gRPC. Metrics are taken, for they come from the same exporters, and not kept.

use std::net::SocketAddr;

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tokio::net::TcpListener;
use tonic::codec::CompressionEncoding;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::Error;
use crate::traces::{Limits, Traces, otlp};

/// The largest request that is taken, in bytes: some thousand spans.
const LARGEST_REQUEST: usize = 16 << 20;

/// Receives spans of this process and others, for as long as this process lives. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Collector {
    addr: SocketAddr,
    traces: Traces,
}

impl Collector {
    /// Listens on a free port and keeps as much as [`Limits`] says by default.
    pub async fn start() -> Result<Self, Error> {
        Self::listen(SocketAddr::from(([127, 0, 0, 1], 0)), Traces::new(Limits::default())).await
    }

    /// Listens on an address and puts spans into `traces`.
    pub async fn listen(addr: SocketAddr, traces: Traces) -> Result<Self, Error> {
        let listener = TcpListener::bind(addr).await.map_err(|error| format!("{addr}: {error}"))?;
        let collector = Self { addr: listener.local_addr()?, traces };
        let spans = TraceServiceServer::new(collector.clone())
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(LARGEST_REQUEST);
        let metrics = MetricsServiceServer::new(collector.clone())
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(LARGEST_REQUEST);
        // Plain tonic, without our own layers, which would open a span for every call.
        tokio::spawn(
            Server::builder()
                .add_service(spans)
                .add_service(metrics)
                .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true))),
        );
        Ok(collector)
    }

    /// Where spans and metrics are to be sent.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What came.
    pub fn traces(&self) -> &Traces {
        &self.traces
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let (spans, refused) = otlp::spans(request.into_inner());
        self.traces.add(spans);
        let partial_success = (refused > 0).then(|| ExportTracePartialSuccess {
            rejected_spans: i64::try_from(refused).unwrap_or(i64::MAX),
            error_message: "a trace id has 16 bytes, a span id 8, and neither is all zeros".to_owned(),
        });
        Ok(Response::new(ExportTraceServiceResponse { partial_success }))
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        _request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        Ok(Response::new(ExportMetricsServiceResponse { partial_success: None }))
    }
}

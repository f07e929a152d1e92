//! Which metrics come, and with which labels. The spans that the same exporters send to the same address go on to the
//! collector of traces.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use tael::traces::Collector;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};

/// The largest request that is taken, in bytes, as for the collector.
const LARGEST_REQUEST: usize = 16 << 20;

/// The keys of the labels of all points of a metric, by its name, for example `rpc.server.call.duration`.
pub(crate) type Labels = BTreeMap<String, BTreeSet<String>>;

/// Stands before the collector.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    endpoint: String,
    spans: TraceServiceClient<Channel>,
    came: watch::Sender<Labels>,
}

impl Metrics {
    pub(crate) async fn before(collector: &Collector) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("it listens"));
        let spans = TraceServiceClient::connect(collector.endpoint()).await.expect("it listens");
        let this = Self { endpoint, spans, came: watch::Sender::default() };
        let spans = TraceServiceServer::new(this.clone()).max_decoding_message_size(LARGEST_REQUEST);
        let metrics = MetricsServiceServer::new(this.clone()).max_decoding_message_size(LARGEST_REQUEST);
        let server = Server::builder().add_service(spans).add_service(metrics);
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        this
    }

    /// Where spans and metrics are to be sent.
    pub(crate) fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    /// Waits until all of these have come, or for long enough, and returns what came.
    pub(crate) async fn await_all(&self, wanted: &BTreeSet<&str>, patience: Duration) -> Labels {
        let mut changes = self.came.subscribe();
        let all = changes.wait_for(|came| wanted.iter().all(|name| came.contains_key(*name)));
        let _ = tokio::time::timeout(patience, all).await;
        self.came.borrow().clone()
    }
}

#[tonic::async_trait]
impl TraceService for Metrics {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.spans.clone().export(request.into_inner()).await
    }
}

#[tonic::async_trait]
impl MetricsService for Metrics {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let scopes =
            request.into_inner().resource_metrics.into_iter().flat_map(|of_one| of_one.scope_metrics);
        self.came.send_modify(|came| {
            for metric in scopes.flat_map(|scope| scope.metrics) {
                let labels = labels(&metric);
                came.entry(metric.name).or_default().extend(labels);
            }
        });
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

fn labels(metric: &Metric) -> BTreeSet<String> {
    let points: Vec<&[KeyValue]> = match &metric.data {
        Some(Data::Gauge(gauge)) => gauge.data_points.iter().map(|p| &p.attributes[..]).collect(),
        Some(Data::Sum(sum)) => sum.data_points.iter().map(|p| &p.attributes[..]).collect(),
        Some(Data::Histogram(all)) => all.data_points.iter().map(|p| &p.attributes[..]).collect(),
        Some(Data::ExponentialHistogram(all)) => all.data_points.iter().map(|p| &p.attributes[..]).collect(),
        Some(Data::Summary(all)) => all.data_points.iter().map(|p| &p.attributes[..]).collect(),
        None => Vec::new(),
    };
    points.into_iter().flatten().map(|attribute| attribute.key.clone()).collect()
}

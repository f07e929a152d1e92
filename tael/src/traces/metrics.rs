//! Which metrics came. Their values are not kept: they are for a console of metrics.

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{self as otlp, ResourceMetrics};

/// More names than this are not kept. Ours are some dozens.
const MOST: usize = 1_000;

/// A metric that came at least once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metric {
    /// As it was sent, for example `rpc.server.call.duration`.
    pub name: String,
    /// As it was sent, for example `s`.
    pub unit: String,
    /// The keys of the attributes of all its points.
    pub keys: BTreeSet<String>,
    /// The `service.name` of those who sent it.
    pub services: BTreeSet<String>,
}

#[derive(Debug, Default)]
pub(super) struct Metrics(BTreeMap<String, Metric>);

impl Metrics {
    pub(super) fn add(&mut self, request: ExportMetricsServiceRequest) {
        for ResourceMetrics { resource, scope_metrics, .. } in request.resource_metrics {
            let service = resource.and_then(|resource| service(resource.attributes));
            for metric in scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
                if self.0.len() >= MOST && !self.0.contains_key(&metric.name) {
                    continue;
                }
                let seen = self.0.entry(metric.name.clone()).or_default();
                seen.keys.extend(keys(&metric));
                seen.services.extend(service.clone());
                (seen.name, seen.unit) = (metric.name, metric.unit);
            }
        }
    }

    pub(super) fn all(&self) -> Vec<Metric> {
        self.0.values().cloned().collect()
    }
}

fn service(attributes: Vec<KeyValue>) -> Option<String> {
    let name = attributes.into_iter().find(|attribute| attribute.key == "service.name")?;
    match name.value?.value? {
        Value::StringValue(name) => Some(name),
        _ => None,
    }
}

fn keys(metric: &otlp::Metric) -> BTreeSet<String> {
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

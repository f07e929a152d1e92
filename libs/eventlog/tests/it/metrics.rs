use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics, ScopeMetrics};
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};
use tael_eventlog::Consumer;

use crate::consume::{Noting, noted, target};
use crate::source::Source;

/// Keeps what was measured for one service: the instrument's name and the value in whole units.
#[derive(Clone, Default)]
struct Measured(Arc<Mutex<Vec<(String, u64)>>>);

const SERVICE: &str = "measured";

impl Measured {
    fn keep<'a, T: Into<f64>>(&self, name: &str, points: impl Iterator<Item = (Vec<&'a KeyValue>, T)>) {
        for (attributes, value) in points {
            let has = |key: &str, value: &str| {
                attributes.iter().any(|kv| kv.key.as_str() == key && kv.value.as_str() == value)
            };
            if has("service", SERVICE) && has("source", "source") {
                let whole = Duration::from_secs_f64(value.into()).as_secs();
                self.0.lock().unwrap().push((name.to_owned(), whole));
            }
        }
    }
}

impl PushMetricExporter for Measured {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.0.lock().unwrap().clear();
        for metric in metrics.scope_metrics().flat_map(ScopeMetrics::metrics) {
            match metric.data() {
                AggregatedMetrics::U64(MetricData::Gauge(gauge)) => {
                    let small = |value: u64| u32::try_from(value).unwrap();
                    self.keep(
                        metric.name(),
                        gauge.data_points().map(|p| (p.attributes().collect(), small(p.value()))),
                    );
                }
                AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                    let small = |value: u64| u32::try_from(value).unwrap();
                    self.keep(
                        metric.name(),
                        sum.data_points().map(|p| (p.attributes().collect(), small(p.value()))),
                    );
                }
                AggregatedMetrics::F64(MetricData::Gauge(gauge)) => {
                    self.keep(
                        metric.name(),
                        gauge.data_points().map(|p| (p.attributes().collect(), p.value())),
                    );
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lag_and_what_became_of_events_are_measured() {
    let measured = Measured::default();
    let provider =
        SdkMeterProvider::builder().with_reader(PeriodicReader::builder(measured.clone()).build()).build();
    opentelemetry::global::set_meter_provider(provider.clone());
    let now = async |name: &str| {
        let provider = provider.clone();
        tokio::task::spawn_blocking(move || provider.force_flush()).await.unwrap().unwrap();
        let measured = measured.0.lock().unwrap();
        measured.iter().find(|(measured, _)| measured == name).map(|(_, value)| *value)
    };

    let (source, target) = (Source::start().await, target().await);
    let channel = source.channel.clone();
    let mut consumer = Consumer::new(SERVICE, "source", channel, target.pool.clone(), Noting::default());
    assert_eq!(now("tael.event.lag").await, None, "nothing is known yet");
    // A batch and a half, of which one can't be applied.
    let names: Vec<_> = (0..1500).map(|n| if n == 7 { "bad".to_owned() } else { n.to_string() }).collect();
    source.commit(&names).await;
    assert_eq!(consumer.run_once().await.unwrap(), 1000);
    assert_eq!(now("tael.event.lag").await, Some(500));
    // The events say that they are from September 2026.
    assert!(now("tael.event.lag_seconds").await.unwrap() > 3600);
    assert_eq!(now("tael.event.applied").await, Some(999));
    assert_eq!(now("tael.event.dead_letters").await, Some(1));
    assert_eq!(consumer.run_once().await.unwrap(), 500);
    assert_eq!(now("tael.event.lag").await, Some(0));
    assert_eq!(now("tael.event.lag_seconds").await, Some(0));
    assert_eq!(now("tael.event.applied").await, Some(1499));
    assert_eq!(noted(&target.pool).await.len(), 1499);
}

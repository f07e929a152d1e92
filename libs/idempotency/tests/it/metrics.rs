use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics, ScopeMetrics};
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};
use tael_grpc::deadline;
use tael_idempotency::{Call, Idempotency};
use tael_testkit::{no_redis_url, redis_url};
use tokio::time::Instant;
use tonic::Status;

use crate::run::begin;
use crate::{Effect, message, new_key};

/// A method that no other test calls: the meter is the whole process's.
const METHOD: &str = "Count";

/// Keeps how many calls of [`METHOD`] were counted, by outcome.
#[derive(Clone, Debug, Default)]
struct Recorder(Arc<Mutex<BTreeMap<String, u64>>>);

impl PushMetricExporter for Recorder {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let metrics = metrics.scope_metrics().flat_map(ScopeMetrics::metrics);
        for metric in metrics.filter(|metric| metric.name() == "tael.idempotency.calls") {
            let AggregatedMetrics::U64(MetricData::Sum(sum)) = metric.data() else {
                panic!("a counter: {metric:?}");
            };
            for point in sum.data_points() {
                let attribute = |key: &str| {
                    point.attributes().find(|a| a.key.as_str() == key).unwrap().value.as_str().into_owned()
                };
                if attribute("method") == METHOD {
                    self.0.lock().unwrap().insert(attribute("outcome"), point.value());
                }
            }
        }
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

#[tokio::test]
async fn calls_are_counted_by_what_was_found_under_their_key() {
    let recorder = Recorder::default();
    let provider =
        SdkMeterProvider::builder().with_reader(PeriodicReader::builder(recorder.clone()).build()).build();
    opentelemetry::global::set_meter_provider(provider.clone());
    let (idempotency, degraded) =
        (Idempotency::connect(&redis_url()).unwrap(), Idempotency::connect(&no_redis_url()).unwrap());
    let (effect, key) = (Effect::default(), new_key());
    let call = |key: &str, request| Call::with_key(&"tester", METHOD, key, &message(request));

    let (first, go_on) = begin(&idempotency, call(&key, 7), &effect).await;
    let soon = Instant::now() + Duration::from_millis(20);
    deadline::scope(soon, effect.run(&idempotency, call(&key, 7))).await.unwrap_err();
    go_on.add_permits(1);
    first.await.unwrap().unwrap();
    effect.run(&idempotency, call(&key, 7)).await.unwrap();
    effect.run(&idempotency, call(&key, 8)).await.unwrap_err();
    let refused = new_key();
    for _ in 0..3 {
        let refusing = |_| async { Err::<crate::Money, _>(Status::not_found("no")) };
        idempotency.run(call(&refused, 7), refusing).await.unwrap_err();
    }
    for _ in 0..4 {
        effect.run(&degraded, call(&new_key(), 7)).await.unwrap();
    }

    provider.force_flush().unwrap();
    let expected = [("conflict", 1), ("degraded", 4), ("first", 2), ("in_progress", 1), ("replayed", 3)];
    let expected = expected.map(|(outcome, count)| (outcome.to_owned(), count));
    assert_eq!(*recorder.0.lock().unwrap(), BTreeMap::from(expected));
}

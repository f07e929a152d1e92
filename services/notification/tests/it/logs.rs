//! Logs of other services, written by the test.

use tael_ids::MerchantId;
use tael_proto::event::v1::payload::Kind;
use tael_proto::event::v1::{Event, Payload};
use tael_testkit::ScriptedServer;

/// When the events of the tests occurred: 2026-03-01T08:00:00Z.
pub(crate) const OCCURRED: i64 = 1_772_352_000;

/// One service's log.
#[derive(Clone)]
pub(crate) struct FakeLog(ScriptedServer);

impl FakeLog {
    pub(crate) async fn start() -> Self {
        Self(ScriptedServer::start().await)
    }

    pub(crate) fn url(&self) -> String {
        self.0.url()
    }

    /// Appends an event and returns its id.
    pub(crate) fn append(&self, merchant_id: MerchantId, kind: Kind) -> String {
        self.append_traced(merchant_id, kind, "")
    }

    pub(crate) fn append_traced(&self, merchant_id: MerchantId, kind: Kind, traceparent: &str) -> String {
        let event = Event {
            merchant_id: merchant_id.to_string(),
            aggregate_id: "agg_1".to_owned(),
            occur_time: Some(prost_types::Timestamp { seconds: OCCURRED, nanos: 0 }),
            traceparent: traceparent.to_owned(),
            payload: Some(Payload { kind: Some(kind) }),
            ..Event::default()
        };
        self.0.log().append(event).event_id
    }

    /// Waits until the service has applied everything that was appended.
    pub(crate) async fn consumed(&self) {
        self.0.log().consumed().await;
    }
}

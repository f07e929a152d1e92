//! What a trace tells of events.

use tael_eventlog::NewEvent;
use tael_testkit::{SpanData, SpanKind, Spans, attribute};

use crate::consume::{Noting, consumer, target};
use crate::source::{Source, event};

const EVENT: &str = "event.merchant_approved.target";
const BATCH: &str = "event.batch.target";

/// Spans of the log and its consumer; not those of the calls between them.
fn ended(spans: &Spans) -> Vec<SpanData> {
    spans.ended().into_iter().filter(|span| !span.name.contains('/')).collect()
}

#[tokio::test]
async fn an_event_is_a_child_of_what_produced_it_and_linked_to_its_batch() {
    let (source, target) = (Source::start().await, target().await);
    let mut consumer = consumer(&source, &target, Noting::default());
    let traces = ["4bf92f3577b34da6a3ce929d0e0e4736", "0af7651916cd43dd8448eb211c80319c"];
    let produced = traces.map(|trace| NewEvent {
        traceparent: Some(format!("00-{trace}-b7ad6b7169203331-01")),
        ..event("approved")
    });
    let mut tx = source.database.pool.begin().await.unwrap();
    source.log.append(&mut tx, &produced).await.unwrap();
    tx.commit().await.unwrap();

    let spans = Spans::record();
    assert_eq!(consumer.run_once().await.unwrap(), 2);
    let ended = ended(&spans);
    let batch = ended.iter().find(|span| span.name == BATCH).unwrap();
    assert_eq!(batch.span_kind, SpanKind::Consumer);
    assert_eq!(batch.parent_span_id.to_string(), "0000000000000000", "it begins a trace");
    assert_eq!(attribute(batch, "tael.events").as_deref(), Some("2"));

    let events: Vec<&SpanData> = ended.iter().filter(|span| span.name == EVENT).collect();
    for ((event, trace), produced) in events.iter().zip(traces).zip(&produced) {
        assert_eq!(event.span_kind, SpanKind::Consumer);
        assert_eq!(event.span_context.trace_id().to_string(), trace);
        assert_eq!(event.parent_span_id.to_string(), "b7ad6b7169203331");
        let links: Vec<_> = event.links.iter().map(|link| &link.span_context).collect();
        assert_eq!(links, [&batch.span_context]);
        assert_eq!(attribute(event, "tael.merchant_id"), Some(produced.merchant_id.to_string()));
        assert_eq!(attribute(event, "tael.source").as_deref(), Some("source"));
    }
    assert_eq!(events.len(), 2);
    let cursor = ended.iter().find(|span| span.name == "db.event_cursor.move").unwrap();
    assert_eq!(cursor.parent_span_id, batch.span_context.span_id());
}

#[tokio::test]
async fn nothing_to_do_is_nothing_to_tell() {
    let (source, target) = (Source::start().await, target().await);
    let mut consumer = consumer(&source, &target, Noting::default());
    source.commit_of_no_concern().await;
    let spans = Spans::record();
    for events in [1, 0] {
        assert_eq!(consumer.run_once().await.unwrap(), events);
    }
    assert_eq!(ended(&spans).len(), 0, "{:?}", spans.names());
}

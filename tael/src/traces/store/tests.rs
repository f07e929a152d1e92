use super::*;
use crate::traces::span::{Link, Value};
use crate::traces::tree::tests::{span, trace_id};

fn store(spans: usize, bytes: usize) -> Store {
    Store::new(Limits { spans, bytes })
}

/// A span of a trace that carries one order's id.
fn of_order(trace: u128, id: u64, order: &str) -> Span {
    let mut span = span(id, None, id, id + 1);
    span.trace_id = trace_id(trace);
    span.attributes = [("tael.order_id".into(), Value::Text(order.into()))].into();
    span
}

fn linked(trace: u128, id: u64, to: u128) -> Span {
    let mut span = of_order(trace, id, &format!("order of {trace}"));
    span.links = [Link { trace_id: trace_id(to), span_id: span.span_id }].into();
    span
}

#[test]
fn the_trace_that_was_silent_for_longest_is_dropped_whole() {
    let mut store = store(4, usize::MAX);
    store.add(of_order(1, 1, "a"));
    store.add(of_order(1, 2, "a"));
    store.add(of_order(2, 3, "b"));
    store.add(of_order(1, 4, "a")); // late, so that 2 is now the oldest
    store.add(of_order(3, 5, "c"));
    assert!(store.trace(trace_id(2)).is_none());
    assert_eq!(store.trace(trace_id(1)).unwrap().spans.len(), 3);
    store.add(of_order(3, 6, "c"));
    assert!(store.trace(trace_id(1)).is_none(), "whole, though room for one was needed");
    assert_eq!(store.newest(true).collect::<Vec<_>>(), [trace_id(3)]);
    assert_eq!(store.usage().spans, 2);
    assert_eq!(store.usage().evicted, 2);
}

#[test]
fn batches_of_events_are_told_apart_by_their_root_whenever_it_comes() {
    let batch = |trace: u128, id: u64, parent: Option<u64>, name: &str| {
        let mut span = span(id, parent, id, id + 1);
        (span.trace_id, span.name) = (trace_id(trace), name.into());
        span
    };
    let mut store = store(9, usize::MAX);
    store.add(batch(1, 1, Some(2), "db.order.insert"));
    store.add(batch(1, 2, None, "event.batch.order"));
    store.add(batch(2, 3, None, "event.batch.order"));
    store.add(batch(2, 4, Some(3), "db.order.insert"));
    store.add(batch(3, 5, Some(9), "event.batch.order"));
    assert_eq!(store.newest(true).collect::<Vec<_>>(), [trace_id(3), trace_id(2), trace_id(1)]);
    assert_eq!(store.newest(false).collect::<Vec<_>>(), [trace_id(3)]);
}

#[test]
fn nothing_of_a_dropped_trace_stays_in_any_index() {
    let mut store = store(1, usize::MAX);
    for trace in 1..=100 {
        store.add(linked(trace, 1, trace + 1000));
    }
    assert_eq!(store.traces.len(), 1);
    assert_eq!(store.by_age.len(), 1);
    assert_eq!(store.by_key.len(), 1);
    assert_eq!(store.linked_from.len(), 1);
    assert_eq!(store.carrying("order of 100"), [trace_id(100)]);
    assert_eq!(store.carrying("order of 99"), []);
    store.evict(trace_id(100));
    assert_eq!((store.spans, store.bytes), (0, 0), "what was added is what is taken away");
    assert!(store.by_key.is_empty() && store.linked_from.is_empty());
}

#[test]
fn the_bound_on_bytes_holds_whatever_comes() {
    let limits = Limits { spans: usize::MAX, bytes: 100_000 };
    let mut store = Store::new(limits);
    for id in 1..=2_000_u64 {
        let mut span = of_order(u128::from(id % 70 + 1), id, &format!("order {id}"));
        let size = usize::try_from(id * 37 % 3_000).unwrap();
        span.attributes = span
            .attributes
            .into_iter()
            .chain([("note".into(), Value::Text("x".repeat(size).into()))])
            .collect();
        store.add(span);
        assert!(store.bytes <= limits.bytes);
        let counted: usize = store.traces.values().map(|trace| trace.bytes).sum();
        assert_eq!(store.bytes, counted);
    }
    assert!(store.bytes > limits.bytes / 2, "room is used");
}

#[test]
fn a_trace_larger_than_the_bounds_keeps_what_fits_and_says_what_is_missing() {
    let mut store = store(3, usize::MAX);
    store.add(of_order(9, 1, "other"));
    for id in 1..=10 {
        store.add(of_order(1, id, "a"));
    }
    let trace = store.trace(trace_id(1)).unwrap();
    assert_eq!((trace.spans.len(), trace.dropped), (3, 7));
    // A span that is larger than everything leaves nothing behind.
    let mut store = self::store(usize::MAX, 10);
    store.add(of_order(1, 1, "a"));
    assert_eq!(store.usage().traces, 0);
    assert_eq!(store.usage().bytes, 0);
}

#[test]
fn a_span_that_comes_twice_is_kept_once() {
    let mut store = store(10, usize::MAX);
    store.add(of_order(1, 1, "a"));
    let before = store.usage();
    store.add(of_order(1, 1, "a"));
    assert_eq!(store.usage(), before);
}

#[test]
fn an_id_finds_every_trace_that_carries_it_in_any_span_the_newest_first() {
    let mut store = store(10, usize::MAX);
    store.add(of_order(1, 1, "first"));
    store.add(of_order(1, 2, "shared"));
    store.add(of_order(2, 3, "shared"));
    store.add(of_order(3, 4, "third"));
    assert_eq!(store.carrying("shared"), [trace_id(2), trace_id(1)]);
    store.add(of_order(1, 5, "first"));
    assert_eq!(store.carrying("shared"), [trace_id(1), trace_id(2)]);
}

#[test]
fn links_are_followed_in_both_directions_and_for_one_step() {
    let mut store = store(10, usize::MAX);
    store.add(linked(1, 1, 5)); // a payment whose event was handled in batch 5
    store.add(linked(2, 1, 5)); // another payment, in the same batch
    store.add(linked(3, 1, 1)); // a callback for the first payment
    assert_eq!(store.related(trace_id(1)), [trace_id(3)], "the batch has not come yet");
    store.add(of_order(5, 1, "batch"));
    assert_eq!(store.related(trace_id(1)), [trace_id(5), trace_id(3)]);
    assert_eq!(store.related(trace_id(5)), [trace_id(2), trace_id(1)]);
    let found = crate::traces::Found::look(&store, "order of 1", 10);
    let ids = |traces: &[Trace]| traces.iter().map(|trace| trace.id).collect::<Vec<_>>();
    assert_eq!((ids(&found.matches), found.total), (vec![trace_id(1)], 1));
    assert_eq!(ids(&found.linked), [trace_id(5), trace_id(3)], "not the other payment");
    let found = crate::traces::Found::look(&store, &trace_id(5).to_string(), 1);
    assert_eq!((ids(&found.matches), found.total, found.linked.len()), (vec![trace_id(5)], 1, 1));
}

//! What is kept, and what makes room for what.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::traces::Trace;
use crate::traces::span::{Span, SpanId, TraceId};

/// What a trace, a span, an id or a link takes in the maps here besides its own bytes, about.
const PER_TRACE: usize = 256;
const PER_SPAN: usize = 32;
const PER_KEY: usize = 128;
const PER_LINK: usize = 96;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// At most this many spans.
    pub spans: usize,
    /// At most this many bytes, as counted span by span. The process takes up to half as much again when spans come and
    /// go fast, for what an allocator keeps between them.
    pub bytes: usize,
}

impl Default for Limits {
    /// 50,000 spans and 64 MiB: some thousand payments, and little enough for a laptop.
    fn default() -> Self {
        Self { spans: 50_000, bytes: 64 << 20 }
    }
}

/// How much is kept now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Traces.
    pub traces: usize,
    /// Spans of all of them.
    pub spans: usize,
    /// What they take, as counted for the limit.
    pub bytes: usize,
    /// How many traces were dropped to make room.
    pub evicted: usize,
    /// The bounds.
    pub limits: Limits,
}

/// Spans by trace, and traces by what they carry.
#[derive(Debug)]
pub(super) struct Store {
    limits: Limits,
    traces: HashMap<TraceId, Entry>,
    /// By the moment of the last change, counted.
    by_age: BTreeMap<u64, TraceId>,
    by_key: HashMap<Arc<str>, BTreeSet<TraceId>>,
    /// Which traces have a link to this one, whether it came or not.
    linked_from: HashMap<TraceId, BTreeSet<TraceId>>,
    changes: u64,
    spans: usize,
    bytes: usize,
    evicted: usize,
}

#[derive(Debug, Default)]
struct Entry {
    changed: u64,
    spans: BTreeMap<SpanId, Arc<Span>>,
    keys: BTreeSet<Arc<str>>,
    links: BTreeSet<TraceId>,
    bytes: usize,
    dropped: usize,
    /// Whether it is the handling of a batch of events, which every journey that has an event in it is linked with.
    is_batch: bool,
}

impl Store {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            traces: HashMap::new(),
            by_age: BTreeMap::new(),
            by_key: HashMap::new(),
            linked_from: HashMap::new(),
            changes: 0,
            spans: 0,
            bytes: 0,
            evicted: 0,
        }
    }

    /// Adds a span to its trace, at the cost of the traces that were silent for longest. When there is no other left
    /// to drop, the span itself is.
    pub(super) fn add(&mut self, span: Span) {
        let id = span.trace_id;
        let known = self.traces.get(&id);
        if known.is_some_and(|trace| trace.spans.contains_key(&span.span_id)) {
            return; // exporters repeat what was not acknowledged
        }
        let keys: BTreeSet<Arc<str>> = span
            .keys()
            .filter(|key| known.is_none_or(|trace| !trace.keys.contains(*key)))
            .map(|key| self.by_key.get_key_value(key).map_or_else(|| Arc::from(key), |(key, _)| key.clone()))
            .collect();
        let links: BTreeSet<TraceId> = span
            .links
            .iter()
            .map(|link| link.trace_id)
            .filter(|other| *other != id && known.is_none_or(|trace| !trace.links.contains(other)))
            .collect();
        let weight = span.weight()
            + PER_SPAN
            + keys.iter().map(|key| PER_KEY + key.len()).sum::<usize>()
            + links.len() * PER_LINK
            + if known.is_none() { PER_TRACE } else { 0 };
        self.touch(id);
        if !self.make_room(id, weight) {
            self.drop_span(id);
            return;
        }
        for key in &keys {
            self.by_key.entry(key.clone()).or_default().insert(id);
        }
        for other in &links {
            self.linked_from.entry(*other).or_default().insert(id);
        }
        let trace = self.traces.get_mut(&id).expect("it was touched just now and is dropped last");
        trace.keys.extend(keys);
        trace.links.extend(links);
        trace.is_batch |= span.parent.is_none() && span.name.starts_with("event.batch.");
        trace.spans.insert(span.span_id, Arc::new(span));
        trace.bytes += weight;
        self.spans += 1;
        self.bytes += weight;
    }

    /// Makes a trace the newest.
    fn touch(&mut self, id: TraceId) {
        self.changes += 1;
        let trace = self.traces.entry(id).or_default();
        self.by_age.remove(&trace.changed);
        trace.changed = self.changes;
        self.by_age.insert(self.changes, id);
    }

    /// Drops traces until one more span of this weight fits; false when it can't, for only its own trace is left.
    fn make_room(&mut self, id: TraceId, weight: usize) -> bool {
        while self.spans >= self.limits.spans || self.bytes + weight > self.limits.bytes {
            match self.by_age.first_key_value() {
                Some((_, oldest)) if *oldest != id => self.evict(*oldest),
                _ => return false,
            }
        }
        true
    }

    fn drop_span(&mut self, id: TraceId) {
        let trace = self.traces.get_mut(&id).expect("it was touched just now");
        trace.dropped += 1;
        if trace.spans.is_empty() {
            self.evict(id);
        }
    }

    fn evict(&mut self, id: TraceId) {
        let Some(trace) = self.traces.remove(&id) else { return };
        self.by_age.remove(&trace.changed);
        for key in trace.keys {
            forget(&mut self.by_key, &key, id);
        }
        for other in trace.links {
            forget(&mut self.linked_from, &other, id);
        }
        self.spans -= trace.spans.len();
        self.bytes -= trace.bytes;
        self.evicted += 1;
    }

    pub(super) fn has(&self, id: TraceId) -> bool {
        self.traces.contains_key(&id)
    }

    pub(super) fn trace(&self, id: TraceId) -> Option<Trace> {
        let entry = self.traces.get(&id)?;
        let mut spans: Vec<Arc<Span>> = entry.spans.values().cloned().collect();
        spans.sort_by_key(|span| (span.start_ns, std::cmp::Reverse(span.end_ns)));
        Some(Trace { id, spans, dropped: entry.dropped })
    }

    /// All traces, with batches of events or without, those first that changed last.
    pub(super) fn newest(&self, batches: bool) -> impl Iterator<Item = TraceId> {
        self.by_age.values().rev().copied().filter(move |id| batches || !self.traces[id].is_batch)
    }

    /// The traces that carry a key, those first that changed last.
    pub(super) fn carrying(&self, key: &str) -> Vec<TraceId> {
        let ids = self.by_key.get(key).into_iter().flatten().copied();
        self.by_newest(ids)
    }

    /// The traces that a trace is linked with, in either direction, those first that changed last.
    pub(super) fn related(&self, id: TraceId) -> Vec<TraceId> {
        let to = self.traces.get(&id).into_iter().flat_map(|trace| &trace.links);
        let from = self.linked_from.get(&id).into_iter().flatten();
        let all: BTreeSet<TraceId> = to.chain(from).copied().collect();
        self.by_newest(all.into_iter())
    }

    fn by_newest(&self, ids: impl Iterator<Item = TraceId>) -> Vec<TraceId> {
        let mut aged: Vec<(u64, TraceId)> =
            ids.filter_map(|id| Some((self.traces.get(&id)?.changed, id))).collect();
        aged.sort_unstable_by(|a, b| b.cmp(a));
        aged.into_iter().map(|(_, id)| id).collect()
    }

    pub(super) fn usage(&self) -> Usage {
        Usage {
            traces: self.traces.len(),
            spans: self.spans,
            bytes: self.bytes,
            evicted: self.evicted,
            limits: self.limits,
        }
    }
}

fn forget<K, Q>(index: &mut HashMap<K, BTreeSet<TraceId>>, key: &Q, id: TraceId)
where
    K: std::borrow::Borrow<Q> + std::hash::Hash + Eq,
    Q: std::hash::Hash + Eq + ?Sized,
{
    if let Some(ids) = index.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            index.remove(key);
        }
    }
}

#[cfg(test)]
mod tests;

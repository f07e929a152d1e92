//! Traces without a tracing console: spans are received by OTLP, kept in memory within bounds, and shown as waterfalls
//! on a page and as trees in a terminal.
//!
//! It is for one machine: a developer's laptop, a demonstration, a test that asks what several processes did. Nothing
//! here opens a span, so looking at traces makes none.

mod axis;
mod collector;
mod found;
mod human;
mod local;
mod otlp;
mod page;
pub mod print;
mod span;
mod store;
mod text;
mod tree;
mod view;
mod viewer;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

pub use collector::Collector;
pub use found::Found;
pub use local::Local;
pub use span::{Attributes, Event, Kind, Link, Resource, Span, SpanId, Status, TraceId, Value};
pub use store::{Limits, Usage};
pub use text::tree;
pub use view::{EventView, Ids, LinkView, RowView, Summary, TraceView};
pub use viewer::Viewer;

use store::Store;

/// The spans that came, within bounds: the traces that were silent for longest are dropped whole to make room. Cheap to
/// clone; all clones are the same.
#[derive(Clone, Debug)]
pub struct Traces {
    store: Arc<Mutex<Store>>,
    /// Notified after every change.
    changed: watch::Sender<()>,
}

/// One trace as far as it has come.
#[derive(Clone, Debug)]
pub struct Trace {
    /// Its id.
    pub id: TraceId,
    /// Its spans, by their start.
    pub spans: Vec<Arc<Span>>,
    /// How many further spans came and were dropped because the trace alone is larger than the bounds.
    pub dropped: usize,
}

impl Trace {
    /// Returns the first span of this name.
    pub fn span(&self, name: &str) -> Option<&Span> {
        self.spans.iter().find(|span| &*span.name == name).map(|span| &**span)
    }

    /// Returns the span's parent, if it has one and that has come.
    pub fn parent(&self, of: &Span) -> Option<&Span> {
        self.spans.iter().find(|span| Some(span.span_id) == of.parent).map(|span| &**span)
    }
}

/// What was waited for did not come.
#[derive(Debug, thiserror::Error)]
#[error("waited {waited:?} in vain for a trace of {id}; what came:\n{came}")]
pub struct NotComplete {
    /// Whose trace it would have been.
    pub id: String,
    /// For how long.
    pub waited: Duration,
    /// Every trace that carries the id, as a tree.
    pub came: String,
}

impl Traces {
    /// Keeps spans within these bounds.
    pub fn new(limits: Limits) -> Self {
        Self { store: Arc::new(Mutex::new(Store::new(limits))), changed: watch::Sender::new(()) }
    }

    /// Adds spans, in any order; one that is there already is left as it is.
    pub fn add(&self, spans: impl IntoIterator<Item = Span>) {
        let mut store = self.lock();
        for span in spans {
            store.add(span);
        }
        drop(store);
        self.changed.send_replace(());
    }

    /// Returns a trace as far as it has come.
    pub fn trace(&self, id: TraceId) -> Option<Trace> {
        self.lock().trace(id)
    }

    /// Returns those traces that changed last, the newest first, with batches of events or without.
    pub fn newest(&self, limit: usize, batches: bool) -> Vec<Trace> {
        let store = self.lock();
        store.newest(batches).take(limit).filter_map(|id| store.trace(id)).collect()
    }

    /// Returns the traces that carry an id in any of their spans, the newest first, and those that these are linked
    /// with in either direction; at most `limit` of each. The id is an order's, a payment's, a refund's, a merchant's
    /// or any other of Tael's, a trace id, or a `traceparent`.
    pub fn find(&self, id: &str, limit: usize) -> Found {
        Found::look(&self.lock(), id.trim(), limit)
    }

    /// Returns the traces that a trace is linked with in either direction, the newest first.
    pub fn related(&self, id: TraceId, limit: usize) -> Vec<Trace> {
        let store = self.lock();
        store.related(id).into_iter().take(limit).filter_map(|id| store.trace(id)).collect()
    }

    /// Returns every span that is kept.
    pub fn spans(&self) -> Vec<Arc<Span>> {
        self.newest(usize::MAX, true).into_iter().flat_map(|trace| trace.spans).collect()
    }

    /// Returns how full it is.
    pub fn usage(&self) -> Usage {
        self.lock().usage()
    }

    /// Waits until a trace that carries `id` (as for [`Traces::find`]) is as wanted, and returns it.
    pub async fn await_trace(
        &self,
        id: &str,
        mut wanted: impl FnMut(&Trace) -> bool,
        patience: Duration,
    ) -> Result<Trace, NotComplete> {
        let mut changes = self.changed.subscribe();
        let look = async {
            loop {
                // Marked before looking, so that what comes meanwhile is looked at next.
                changes.borrow_and_update();
                if let Some(trace) = self.find(id, usize::MAX).matches.into_iter().find(&mut wanted) {
                    return trace;
                }
                changes.changed().await.expect("the sender lives as long as `self`");
            }
        };
        tokio::time::timeout(patience, look).await.map_err(|_elapsed| {
            let matches = self.find(id, usize::MAX).matches;
            let came = matches.iter().map(|trace| text::tree(&TraceView::new(trace, &[]), None)).collect();
            NotComplete { id: id.to_owned(), waited: patience, came }
        })
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

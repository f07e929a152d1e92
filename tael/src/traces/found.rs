//! The traces that carry an id.

use std::collections::BTreeSet;

use crate::traces::Trace;
use crate::traces::span::TraceId;
use crate::traces::store::Store;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Traces that carry the id, those first that changed last.
    pub matches: Vec<Trace>,
    /// How many carry it, also beyond the limit.
    pub total: usize,
    /// Further traces that these are linked with: the batch that an event was handled in, a callback.
    pub linked: Vec<Trace>,
}

impl Found {
    pub(super) fn look(store: &Store, id: &str, limit: usize) -> Self {
        let mut ids = store.carrying(id);
        if let Ok(trace) = id.parse::<TraceId>()
            && store.has(trace)
            && !ids.contains(&trace)
        {
            ids.push(trace);
        }
        let total = ids.len();
        ids.truncate(limit);
        // One step and no further: a batch is linked with everything else that was handled in it.
        let direct: BTreeSet<TraceId> = ids.iter().copied().collect();
        let mut seen = direct.clone();
        let mut linked: Vec<TraceId> = ids.iter().flat_map(|id| store.related(*id)).collect();
        linked.retain(|id| seen.insert(*id));
        linked.truncate(limit);
        let load = |ids: Vec<TraceId>| ids.into_iter().filter_map(|id| store.trace(id)).collect();
        Self { matches: load(ids), total, linked: load(linked) }
    }
}

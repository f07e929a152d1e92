//! The order in which a trace's spans are read: every span after the one that caused it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::traces::Trace;
use crate::traces::span::{ALL_IN_ONE, Span, SpanId};

/// A line of the tree.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// How many rows stand above it in its branch.
    pub(super) depth: usize,
    pub(super) node: Node,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    /// A span, and the service that made it.
    Span(Arc<Span>, Arc<str>),
    /// Stands in for a span that others name as their parent and that has not come: perhaps not yet, perhaps it is
    /// exported elsewhere.
    Missing(Missing),
}

/// What is known of a span that has not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) id: SpanId,
    /// When the first of its children began and the last one ended, in nanoseconds since 1970.
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
}

/// Puts a trace's spans in order: children under their parent, siblings by their start. Every span occurs exactly once,
/// whatever the spans say about one another.
pub(super) fn rows(trace: &Trace) -> Vec<Row> {
    let known: HashSet<SpanId> = trace.spans.iter().map(|span| span.span_id).collect();
    let mut children: BTreeMap<SpanId, Vec<&Arc<Span>>> = BTreeMap::new();
    let mut tops: Vec<(u64, Top)> = Vec::new();
    for span in &trace.spans {
        match span.parent {
            Some(parent) => children.entry(parent).or_default().push(span),
            None => tops.push((span.start_ns, Top::Span(span))),
        }
    }
    for (parent, spans) in children.iter().filter(|(parent, _)| !known.contains(parent)) {
        let start_ns = spans.iter().map(|span| span.start_ns).min().unwrap_or(0);
        let end_ns = spans.iter().map(|span| span.end_ns).max().unwrap_or(0);
        tops.push((start_ns, Top::Missing(Missing { id: *parent, start_ns, end_ns })));
    }
    tops.sort_by_key(|(start, _)| *start);

    let mut walk = Walk { children, seen: HashSet::new(), rows: Vec::new() };
    for (_, top) in tops {
        match top {
            Top::Span(span) => walk.below(span, 0, ALL_IN_ONE.into()),
            Top::Missing(missing) => {
                walk.rows.push(Row { depth: 0, node: Node::Missing(missing) });
                for span in walk.children.get(&missing.id).cloned().unwrap_or_default() {
                    walk.below(span, 1, ALL_IN_ONE.into());
                }
            }
        }
    }
    // Spans that are each other's ancestors hang on nothing: the first of each such circle is put at the top.
    for span in &trace.spans {
        walk.below(span, 0, ALL_IN_ONE.into());
    }
    walk.rows
}

enum Top<'a> {
    Span(&'a Arc<Span>),
    Missing(Missing),
}

struct Walk<'a> {
    children: BTreeMap<SpanId, Vec<&'a Arc<Span>>>,
    seen: HashSet<SpanId>,
    rows: Vec<Row>,
}

impl<'a> Walk<'a> {
    /// Adds a span and all below it. Without recursion: a trace may be as deep as it has spans.
    fn below(&mut self, span: &'a Arc<Span>, depth: usize, caller: Arc<str>) {
        let mut waiting = vec![(span, depth, caller)];
        while let Some((span, depth, caller)) = waiting.pop() {
            if !self.seen.insert(span.span_id) {
                continue;
            }
            let service = span.service().map_or(caller, Arc::from);
            for child in self.children.get(&span.span_id).into_iter().flatten().rev() {
                waiting.push((child, depth + 1, service.clone()));
            }
            self.rows.push(Row { depth, node: Node::Span(span.clone(), service) });
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::traces::span::{Kind, Resource, Status, TraceId, Value};

    pub(in crate::traces) fn trace_id(id: u128) -> TraceId {
        TraceId::from_bytes(&id.to_be_bytes()).unwrap()
    }

    pub(in crate::traces) fn span_id(id: u64) -> SpanId {
        SpanId::from_bytes(&id.to_be_bytes()).unwrap()
    }

    pub(in crate::traces) fn resource(service: &str) -> Arc<Resource> {
        let attributes = [("service.name".into(), Value::Text(service.into()))].into();
        Arc::new(Resource { attributes })
    }

    /// A span of trace 1 named by its id.
    pub(in crate::traces) fn span(id: u64, parent: Option<u64>, start_ns: u64, end_ns: u64) -> Span {
        Span {
            trace_id: trace_id(1),
            span_id: span_id(id),
            parent: parent.map(span_id),
            name: id.to_string().into(),
            kind: Kind::Internal,
            start_ns,
            end_ns,
            attributes: [].into(),
            events: [].into(),
            links: [].into(),
            status: Status::Unset,
            resource: resource("tael"),
        }
    }

    pub(in crate::traces) fn trace(spans: Vec<Span>) -> Trace {
        let mut spans: Vec<Arc<Span>> = spans.into_iter().map(Arc::new).collect();
        spans.sort_by_key(|span| (span.start_ns, std::cmp::Reverse(span.end_ns)));
        Trace { id: trace_id(1), spans, dropped: 0 }
    }

    /// The tree as depth and name, a stand-in with a question mark.
    fn outline(spans: Vec<Span>) -> Vec<(usize, String)> {
        let name = |node: &Node| match node {
            Node::Span(span, _) => span.name.to_string(),
            Node::Missing(missing) => format!("?{}", missing.id.to_string().trim_start_matches('0')),
        };
        rows(&trace(spans)).iter().map(|row| (row.depth, name(&row.node))).collect()
    }

    fn expected(rows: &[(usize, &str)]) -> Vec<(usize, String)> {
        rows.iter().map(|(depth, name)| (*depth, (*name).to_owned())).collect()
    }

    #[test]
    fn children_stand_under_their_parent_by_their_start_in_whatever_order_they_came() {
        let mut spans = vec![
            span(1, None, 0, 100),
            span(2, Some(1), 10, 50),
            span(3, Some(2), 20, 30),
            span(4, Some(1), 5, 8),
            span(5, Some(2), 15, 18),
        ];
        let tree = expected(&[(0, "1"), (1, "4"), (1, "2"), (2, "5"), (2, "3")]);
        assert_eq!(outline(spans.clone()), tree);
        spans.reverse();
        assert_eq!(outline(spans), tree);
    }

    #[test]
    fn a_parent_that_has_not_come_is_stood_in_for() {
        let spans = vec![
            span(1, None, 10, 20),
            span(2, Some(9), 5, 8),
            span(3, Some(9), 6, 30),
            span(4, Some(3), 7, 9),
        ];
        assert_eq!(outline(spans.clone()), expected(&[(0, "?9"), (1, "2"), (1, "3"), (2, "4"), (0, "1")]));
        let Node::Missing(missing) = rows(&trace(spans)).remove(0).node else { panic!("a stand-in") };
        assert_eq!((missing.start_ns, missing.end_ns), (5, 30));
    }

    #[test]
    fn spans_that_are_each_others_ancestors_occur_once_each() {
        let spans =
            vec![span(1, None, 0, 9), span(2, Some(3), 1, 2), span(3, Some(2), 2, 3), span(4, Some(4), 5, 6)];
        assert_eq!(outline(spans), expected(&[(0, "1"), (0, "2"), (1, "3"), (0, "4")]));
    }

    #[test]
    fn a_trace_as_deep_as_it_has_spans_is_no_trouble() {
        let spans = (1..=50_000).map(|id| span(id, (id > 1).then(|| id - 1), id, id + 1)).collect();
        assert_eq!(outline(spans).last().unwrap().0, 49_999);
    }

    #[test]
    fn a_span_that_does_not_say_whose_it_is_belongs_to_its_caller() {
        let mut call = span(1, None, 0, 9);
        call.kind = Kind::Server;
        call.name = "tael.order.v1.OrderService/CreateOrder".into();
        let spans = vec![call, span(2, Some(1), 1, 2), span(3, Some(2), 1, 2), span(4, None, 3, 4)];
        let services: Vec<_> = rows(&trace(spans))
            .into_iter()
            .map(|row| match row.node {
                Node::Span(_, service) => service.to_string(),
                Node::Missing(_) => panic!("all are there"),
            })
            .collect();
        assert_eq!(services, ["order", "order", "order", "tael"]);
    }
}

//! HTML, from the templates embedded in the binary. It needs no script: a span's details are a `details` element.

use std::sync::LazyLock;

use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};
use jiff::tz::TimeZone;
use minijinja::{Environment, UndefinedBehavior, Value, context};
use serde::Serialize;

use crate::traces::axis::{Axis, Stretch, WIDTH};
use crate::traces::human;
use crate::traces::store::Usage;
use crate::traces::view::{Ids, RowView, Summary, TraceView};
use crate::traces::viewer::List;

/// How many rows a page shows; a browser gets slow with more. The API has them all.
const MOST_ROWS: usize = 5_000;
/// How many ids of a kind are shown: a batch may have to do with hundreds of orders.
const MOST_IDS: usize = 4;
/// Rows are indented to this depth.
const DEEPEST: usize = 16;

/// Outcomes that are the rule and need no word.
const AS_EXPECTED: [&str; 6] = ["OK", "ok", "delivered", "200", "201", "204"];

/// The services in the order of their colours. Others get what is left.
const COLOURED: [&str; 9] =
    ["gateway", "order", "payment", "refund", "settlement", "notification", "merchant", "sandbox", "tael"];
/// How many colours there are for others, after those.
const OTHER_COLOURS: usize = 4;

/// The stylesheet of all pages.
pub(super) const STYLE: &str = include_str!("../../templates/traces/style.css");

/// Values are escaped for HTML in every template whose name ends in ".html".
static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut templates = Environment::new();
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    for (name, source) in [
        ("layout.html", include_str!("../../templates/traces/layout.html")),
        ("list.html", include_str!("../../templates/traces/list.html")),
        ("parts.html", include_str!("../../templates/traces/parts.html")),
        ("trace.html", include_str!("../../templates/traces/trace.html")),
        ("problem.html", include_str!("../../templates/traces/problem.html")),
    ] {
        templates.add_template(name, source).expect("the templates are part of the program");
    }
    templates
});

/// Why there is nothing to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// The address names no page.
    NoSuchPage,
    /// The trace is not there.
    Unknown,
    /// The address has no valid trace id.
    Malformed,
}

impl Problem {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::NoSuchPage | Self::Unknown => StatusCode::NOT_FOUND,
            Self::Malformed => StatusCode::BAD_REQUEST,
        }
    }

    pub(super) fn message(self) -> &'static str {
        match self {
            Self::NoSuchPage => "there is no such page",
            Self::Unknown => "this trace has not come, or it was dropped to make room for newer ones",
            Self::Malformed => "a trace id has 32 hexadecimal digits and is not zero",
        }
    }
}

/// The newest traces, with batches of events or without.
pub(super) fn newest(newest: &[Summary], batches: bool, usage: &Usage, otlp_endpoint: &str) -> Response {
    let values = context! {
        query => "", traces => lines(newest), total => usage.traces, linked => lines(&[]), batches,
    };
    list(StatusCode::OK, values, usage, otlp_endpoint)
}

/// The traces that were found.
pub(super) fn found(query: &str, found: &List, usage: &Usage, otlp_endpoint: &str) -> Response {
    let List { traces, total, linked } = found;
    let values = context! { query, traces => lines(traces), total, linked => lines(linked), batches => true };
    list(StatusCode::OK, values, usage, otlp_endpoint)
}

/// Nothing was found.
pub(super) fn nothing(query: &str, usage: &Usage, otlp_endpoint: &str) -> Response {
    let values = context! { query, traces => lines(&[]), total => 0, linked => lines(&[]), batches => true };
    list(StatusCode::NOT_FOUND, values, usage, otlp_endpoint)
}

/// The page that says that there is none.
pub(super) fn problem(problem: Problem) -> Response {
    respond(problem.status(), "problem.html", context! { query => "", message => problem.message() })
}

fn list(status: StatusCode, values: Value, usage: &Usage, otlp_endpoint: &str) -> Response {
    let kept = context! {
        spans => human::count(usage.spans),
        most_spans => human::count(usage.limits.spans),
        mebibytes => human::mebibytes(usage.bytes),
        most_mebibytes => human::mebibytes(usage.limits.bytes),
        evicted => human::count(usage.evicted),
    };
    respond(status, "list.html", context! { kept, otlp_endpoint, ..values })
}

/// A trace as a waterfall.
pub(super) fn trace(trace: &TraceView) -> Response {
    let axis = axis(trace);
    let rows: Vec<Value> = trace.rows.iter().take(MOST_ROWS).map(|row| waterfall_row(row, &axis)).collect();
    let values = context! {
        query => "",
        trace => line(&trace.summary),
        legend => legend(&trace.rows),
        ticks => ticks(&axis),
        folds => folds(&axis),
        rows,
        rows_left_out => trace.rows.len().saturating_sub(MOST_ROWS),
        dropped => trace.dropped_spans,
        related => lines(&trace.related),
    };
    respond(StatusCode::OK, "trace.html", values)
}

fn lines(traces: &[Summary]) -> Vec<Value> {
    traces.iter().map(line).collect()
}

/// A trace in short.
fn line(summary: &Summary) -> Value {
    let zoned = summary.start_time.to_zoned(TimeZone::system());
    let services: Vec<Value> =
        summary.services.iter().map(|name| context! { name, colour => colour(name) }).collect();
    let (package, name) = parts(&summary.name);
    context! {
        id => summary.trace_id,
        full_name => summary.name,
        package,
        name,
        start => summary.start_time.to_string(),
        day => zoned.strftime("%-d %b %Y").to_string(),
        time => zoned.strftime("%H:%M:%S").to_string(),
        duration => human::duration(summary.duration_ns),
        spans => human::count(summary.spans),
        errors => summary.errors,
        services,
        ids => shown_ids(&summary.ids),
    }
}

fn shown_ids(ids: &Ids) -> Vec<Value> {
    let shown = ids.by_kind().into_iter().filter(|(_, ids)| !ids.is_empty());
    shown
        .map(|(kind, ids)| {
            let first: Vec<&String> = ids.iter().take(MOST_IDS).collect();
            context! { kind, ids => first, more => ids.len().saturating_sub(MOST_IDS) }
        })
        .collect()
}

fn axis(trace: &TraceView) -> Axis {
    let below = trace.rows.iter().skip(1).map(|row| row.depth).chain([0]);
    let stretches: Vec<Stretch> = trace
        .rows
        .iter()
        .zip(below)
        .map(|(row, below)| Stretch {
            from_ns: row.offset_ns,
            to_ns: row.offset_ns + row.duration_ns,
            is_work: below <= row.depth,
        })
        .collect();
    Axis::new(&stretches, trace.summary.duration_ns)
}

/// The times at quarters of the width.
fn ticks(axis: &Axis) -> Vec<Value> {
    [(0, "start"), (1, "middle"), (2, "middle"), (3, "middle"), (4, "end")]
        .into_iter()
        .map(|(quarter, anchor)| {
            let at = quarter * WIDTH / 4;
            // The first to give way on a narrow screen.
            let is_inner = quarter % 2 == 1;
            context! { x => percent(at), anchor, is_inner, label => human::duration(axis.moment(at)) }
        })
        .collect()
}

fn folds(axis: &Axis) -> Vec<Value> {
    axis.folds()
        .map(|fold| {
            let waited = human::duration(fold.to_ns - fold.from_ns);
            context! { x => percent(fold.from), width => percent(fold.to - fold.from), waited }
        })
        .collect()
}

fn waterfall_row(row: &RowView, axis: &Axis) -> Value {
    let from = axis.at(row.offset_ns);
    let to = axis.at(row.offset_ns + row.duration_ns);
    let (package, name) = parts(&row.name);
    let events: Vec<Value> = row
        .events
        .iter()
        .map(|event| {
            let after = human::duration(event.offset_ns);
            context! { after, name => event.name, attributes => pairs(&event.attributes) }
        })
        .collect();
    context! {
        row,
        package,
        name,
        level => row.depth + 1,
        indent => row.depth.min(DEEPEST),
        colour => colour(&row.service),
        x => percent(from),
        width => percent(to - from),
        after => human::duration(row.offset_ns),
        took => human::duration(row.duration_ns),
        outcome => row.outcome.as_deref().filter(|outcome| !AS_EXPECTED.contains(outcome)),
        attributes => pairs(&row.attributes),
        resource => pairs(&row.resource),
        events,
    }
}

/// Splits the package off a call's name, for it is the same in many and takes the room of what differs:
/// "tael.order.v1." and "OrderService/CreateOrder".
fn parts(name: &str) -> (&str, &str) {
    let service = name.split_once('/').map_or("", |(service, _)| service);
    if service.contains(' ') {
        return ("", name);
    }
    name.split_at(service.rfind('.').map_or(0, |dot| dot + 1))
}

fn pairs(attributes: &std::collections::BTreeMap<String, serde_json::Value>) -> Vec<(&String, String)> {
    let shown = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    attributes.iter().map(|(key, value)| (key, shown(value))).collect()
}

/// The services that took part, each with its colour and how many spans are its.
fn legend(rows: &[RowView]) -> Vec<Value> {
    let mut services: Vec<(&str, usize)> = Vec::new();
    for row in rows.iter().filter(|row| !row.is_missing) {
        match services.iter_mut().find(|(name, _)| *name == row.service) {
            Some((_, spans)) => *spans += 1,
            None => services.push((&row.service, 1)),
        }
    }
    services.into_iter().map(|(name, spans)| context! { name, spans, colour => colour(name) }).collect()
}

/// A service's colour in the stylesheet: the same on every page.
fn colour(service: &str) -> usize {
    COLOURED.iter().position(|name| *name == service).unwrap_or_else(|| {
        let sum: usize = service.bytes().map(usize::from).sum();
        COLOURED.len() + sum % OTHER_COLOURS
    })
}

fn percent(position: u64) -> String {
    format!("{}.{:03}%", position / 1_000, position % 1_000)
}

fn respond(status: StatusCode, template: &str, values: impl Serialize) -> Response {
    let page = TEMPLATES
        .get_template(template)
        .and_then(|template| template.render(values))
        .expect("every value that the template names is given");
    (status, Html(page)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calls_name_is_told_apart_from_its_package() {
        for (name, expected) in [
            ("tael.order.v1.OrderService/CreateOrder", ("tael.order.v1.", "OrderService/CreateOrder")),
            ("db.order.insert", ("", "db.order.insert")),
            ("GET /pay/{payment}", ("", "GET /pay/{payment}")),
            ("GET v1.2/x", ("", "GET v1.2/x")),
            ("Plain/Call", ("", "Plain/Call")),
            ("", ("", "")),
        ] {
            assert_eq!(parts(name), expected, "{name}");
        }
    }

    #[test]
    fn our_services_have_colours_of_their_own_and_others_keep_theirs() {
        assert_eq!(COLOURED.map(colour), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(colour("shop"), colour("shop"));
        assert!((9..13).contains(&colour("shop")));
    }

    #[test]
    fn positions_are_exact_to_a_thousandth_of_a_percent() {
        assert_eq!([0, 1, 12_345, WIDTH].map(percent), ["0.000%", "0.001%", "12.345%", "100.000%"]);
    }
}

//! A trace as a tree for the terminal.

use std::fmt::Write as _;

use crate::traces::human;
use crate::traces::view::{RowView, TraceView};

/// The narrowest column for names, in characters: below that a narrow terminal breaks the lines instead.
const NARROWEST_NAME: usize = 24;

/// What stands between a name and the service: two lengths of time with their gaps.
const FIGURES: usize = 24;

/// Below this depth rows are not indented further.
const DEEPEST: usize = 32;

/// Writes a trace as a tree: every span with when it began, how long it took, whose it is and what came out. In a
/// terminal of `width` characters long names lose their beginning; without a width nothing is cut.
pub fn tree(trace: &TraceView, width: Option<usize>) -> String {
    let guides = guides(&trace.rows);
    // A long message must not take all the room from the names.
    let longest_end = width.map_or(usize::MAX, |width| width / 3);
    let ends: Vec<String> = trace.rows.iter().map(|row| cut(&end(row), longest_end)).collect();
    let longest_end = ends.iter().map(|end| end.chars().count()).max().unwrap_or(0);
    let longest_name = (trace.rows.iter().zip(&guides))
        .map(|(row, guide)| guide.chars().count() + row.name.chars().count())
        .max()
        .unwrap_or(0);
    let room =
        width.map_or(usize::MAX, |width| width.saturating_sub(longest_end + FIGURES).max(NARROWEST_NAME));
    let column = longest_name.clamp(4, room.max(4));

    let mut text = String::new();
    let mut line = |name: &str, after: &str, took: &str, end: &str| {
        let _ = writeln!(text, "{name:<column$} {after:>10} {took:>10}  {end}");
    };
    line("span", "after", "took", "service");
    for ((row, guide), end) in trace.rows.iter().zip(guides).zip(ends) {
        let name = format!("{guide}{}", shortened(&plain(&row.name), column, guide.chars().count()));
        line(&name, &human::duration(row.offset_ns), &human::duration(row.duration_ns), &end);
    }
    if trace.dropped_spans > 0 {
        let _ = writeln!(text, "and {} spans that were dropped for want of room", trace.dropped_spans);
    }
    text
}

/// Whose it is and what came out.
fn end(row: &RowView) -> String {
    let mut parts = vec![plain(&row.service)];
    parts.extend(row.outcome.as_deref().map(plain));
    if row.is_error {
        parts.push("ERROR".to_owned());
        parts.extend((!row.error.is_empty()).then(|| plain(&row.error)));
    }
    parts.join(" ").trim_end().to_owned()
}

/// The lines that lead from each row to its parent.
fn guides(rows: &[RowView]) -> Vec<String> {
    // From below: whether a branch of a depth goes on after the row.
    let mut goes_on: Vec<bool> = Vec::new();
    let mut guides: Vec<String> = Vec::with_capacity(rows.len());
    for row in rows.iter().rev() {
        goes_on.resize(row.depth + 1, false);
        let above =
            goes_on.iter().take(row.depth.min(DEEPEST)).skip(1).map(|on| if *on { "│  " } else { "   " });
        let own = match (row.depth, goes_on[row.depth]) {
            (0, _) => "",
            (_, true) => "├─ ",
            (_, false) => "└─ ",
        };
        guides.push(above.chain([own]).collect());
        goes_on[row.depth] = true;
    }
    guides.reverse();
    guides
}

/// Takes a name's beginning away until it fits: the end says what was called.
fn shortened(name: &str, column: usize, taken: usize) -> String {
    let room = column.saturating_sub(taken).max(8);
    let length = name.chars().count();
    if length <= room {
        return name.to_owned();
    }
    let rest: String = name.chars().skip(length + 1 - room).collect();
    format!("…{rest}")
}

fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    text.chars().take(room.saturating_sub(1)).chain(['…']).collect()
}

/// Spans come from anywhere: nothing in them may steer the terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::span::{Status, Value};
    use crate::traces::tree::tests::{resource, span, trace};

    fn view() -> TraceView {
        let mut spans = vec![
            span(1, None, 0, 9_000_000),
            span(2, Some(1), 1_000_000, 4_000_000),
            span(3, Some(2), 2_000_000, 3_000_000),
            span(4, Some(2), 3_000_000, 3_500_000),
            span(5, Some(1), 5_000_000, 2_000_000_000),
        ];
        spans[1].name = "tael.order.v1.OrderService/CreateOrder".into();
        spans[1].resource = resource("order");
        spans[1].attributes = [("rpc.response.status_code".into(), Value::Text("OK".into()))].into();
        spans[4].name = "evil\u{1b}[2J".into();
        spans[4].status = Status::Error("gone\nwrong".into());
        TraceView::new(&trace(spans), &[])
    }

    #[test]
    fn a_tree_shows_what_caused_what() {
        let expected = "\
span                                           after       took  service
1                                             0.0 ms     9.0 ms  tael
├─ tael.order.v1.OrderService/CreateOrder     1.0 ms     3.0 ms  order OK
│  ├─ 3                                       2.0 ms     1.0 ms  order
│  └─ 4                                       3.0 ms     0.5 ms  order
└─ evil\u{fffd}[2J                                   5.0 ms     1.99 s  tael ERROR gone\u{fffd}wrong
";
        assert_eq!(tree(&view(), None), expected);
    }

    #[test]
    fn in_a_narrow_terminal_names_lose_their_beginning() {
        let tree = tree(&view(), Some(80));
        assert!(tree.lines().all(|line| line.chars().count() <= 80), "{tree}");
        assert!(tree.contains("├─ …") && tree.contains("/CreateOrder "), "{tree}");
    }
}

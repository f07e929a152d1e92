//! `tael trace`: what became of this order, payment or refund, as trees in the terminal.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use jiff::tz::TimeZone;
use reqwest::{Client, StatusCode};
use serde::de::DeserializeOwned;
use url::Url;

use crate::traces::text::plain;
use crate::traces::view::{Summary, TraceView};
use crate::traces::viewer::List;
use crate::traces::{human, text};
use crate::{Error, output};

/// Where `tael up` has its viewer.
pub const USUAL_VIEWER: &str = "http://127.0.0.1:8099";

/// The viewer is on this machine and answers from memory.
const PATIENCE: Duration = Duration::from_secs(10);

/// What to print.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// The id of an order, a payment, a refund, a merchant or anything else of Tael's, or a trace id or traceparent.
    id: String,
    /// The viewer to ask.
    #[arg(long, env = "TAEL_TRACES_URL", default_value = USUAL_VIEWER)]
    viewer: Url,
    /// Print the traces as the viewer's API tells them: a JSON array.
    #[arg(long)]
    json: bool,
    /// Print at most this many traces, the newest; the viewer gives no more than 1000.
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// Print in full, too, what these are linked with: batches of events, callbacks.
    #[arg(long)]
    linked: bool,
}

/// Why nothing can be printed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(
        "no viewer answers at {0}; `tael up` runs one, and --viewer or TAEL_TRACES_URL says where another one is"
    )]
    NoViewer(Url, #[source] reqwest::Error),
    #[error("what answers at {0} is no viewer of traces: {1}")]
    NotAViewer(Url, String),
}

/// Prints every trace that carries the id; exits with 1 when there is none.
pub async fn run(options: &Options) -> Result<ExitCode, Error> {
    let viewer =
        Asked { client: Client::builder().timeout(PATIENCE).no_proxy().build()?, url: &options.viewer };
    let limit = options.limit.to_string();
    let query = [("query", options.id.as_str()), ("limit", &limit)];
    let list: List = viewer.get("/api/traces", &query).await?.unwrap_or_else(List::empty);
    if list.traces.is_empty() {
        let id = plain(&options.id);
        crate::complain!(
            "tael: no trace at {} carries {id}: it has not come, or newer ones took its place",
            options.viewer
        );
        return Ok(ExitCode::FAILURE);
    }
    let traces = viewer.all(&list.traces).await?;
    let linked = if options.linked { viewer.all(&list.linked).await? } else { Vec::new() };
    let text = if options.json {
        let all: Vec<&TraceView> = traces.iter().chain(&linked).collect();
        serde_json::to_string_pretty(&all)? + "\n"
    } else {
        in_words(&list, &traces, &linked, width())
    };
    output::print(format_args!("{text}"));
    Ok(ExitCode::SUCCESS)
}

struct Asked<'a> {
    client: Client,
    url: &'a Url,
}

impl Asked<'_> {
    /// Traces in full; what was dropped since it was listed is left out.
    async fn all(&self, listed: &[Summary]) -> Result<Vec<TraceView>, Failure> {
        let mut all = Vec::with_capacity(listed.len());
        for summary in listed {
            all.extend(self.get(&format!("/api/traces/{}", summary.trace_id), &[]).await?);
        }
        Ok(all)
    }

    /// The answer; none when what is asked for is not there.
    async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Option<T>, Failure> {
        let mut url = self.url.clone();
        url.set_path(path);
        let request = self.client.get(url).query(query);
        let response = request.send().await.map_err(|error| Failure::NoViewer(self.url.clone(), error))?;
        let strange = |what: String| Failure::NotAViewer(self.url.clone(), what);
        match response.status() {
            StatusCode::OK => response.json().await.map(Some).map_err(|error| strange(error.to_string())),
            StatusCode::NOT_FOUND if path != "/api/traces" => Ok(None),
            status => Err(strange(status.to_string())),
        }
    }
}

impl List {
    fn empty() -> Self {
        Self { traces: Vec::new(), total: 0, linked: Vec::new() }
    }
}

fn in_words(list: &List, traces: &[TraceView], linked: &[TraceView], width: Option<usize>) -> String {
    let mut words = String::new();
    for trace in traces.iter().chain(linked) {
        let _ = writeln!(words, "{}", heading_of(&trace.summary));
        let _ = writeln!(words, "{}", text::tree(trace, width));
    }
    if linked.is_empty() && !list.linked.is_empty() {
        let _ = writeln!(words, "linked with (--linked prints them in full):");
        for other in &list.linked {
            let took = human::duration(other.duration_ns);
            let _ = writeln!(words, "  {}  {took:>9}  {}", other.trace_id, plain(&other.name));
        }
    }
    if list.total > list.traces.len() {
        let _ = writeln!(
            words,
            "further traces that carry it: {}; --limit shows more",
            list.total - list.traces.len()
        );
    }
    words
}

fn heading_of(summary: &Summary) -> String {
    let start = summary.start_time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %Z");
    let mut heading =
        format!("trace {}  {start}, {}", summary.trace_id, human::duration(summary.duration_ns));
    let _ = write!(heading, ", spans: {}", human::count(summary.spans));
    if summary.errors > 0 {
        let _ = write!(heading, ", errors: {}", summary.errors);
    }
    for (kind, ids) in summary.ids.by_kind() {
        for id in ids {
            let _ = write!(heading, "\n  {kind:<9} {}", plain(id));
        }
    }
    heading
}

/// How wide the terminal is; none when the output goes elsewhere.
fn width() -> Option<usize> {
    rustix::termios::tcgetwinsize(std::io::stdout())
        .ok()
        .map(|size| size.ws_col.into())
        .filter(|width| *width > 0)
}

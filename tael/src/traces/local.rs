//! Receiver and viewer of a platform on this machine, at the addresses that are usual for both.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use crate::Error;
use crate::platform::Ports;
use crate::traces::{Collector, Limits, Traces, Viewer};

/// Where OpenTelemetry's exporters send to if nothing else is said: <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>.
const USUAL_OTLP_PORT: u16 = 4317;
/// Where the page is.
pub(super) const USUAL_PAGE_PORT: u16 = 8099;

/// A receiver with its page.
#[derive(Clone, Debug)]
pub struct Local {
    /// Where spans come in.
    pub collector: Collector,
    /// Where they are looked at.
    pub viewer: Viewer,
}

impl Local {
    /// Starts both. Another program may well be a receiver at the usual port; then ours takes a free one.
    pub async fn start(ports: Ports, limits: Limits) -> Result<Self, Error> {
        let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let traces = Traces::new(limits);
        let (otlp, page) = match ports {
            Ports::Usual => (at(USUAL_OTLP_PORT), at(USUAL_PAGE_PORT)),
            Ports::Free => (at(0), at(0)),
        };
        let collector = match Collector::listen(otlp, traces.clone()).await {
            Ok(collector) => collector,
            Err(_taken) => Collector::listen(at(0), traces.clone()).await?,
        };
        let viewer = Viewer::start(page, traces, collector.endpoint()).await?;
        Ok(Self { collector, viewer })
    }
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  {:<13} {}  (search for an order or payment; or `tael trace <id>`)",
            "traces",
            self.viewer.url()
        )?;
        writeln!(
            f,
            "  {:<13} {}  (OTLP/gRPC: your own programs may send spans here too)",
            "spans",
            self.collector.endpoint()
        )
    }
}

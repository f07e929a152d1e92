//! What observing costs: two platforms beside each other under the same load, of which one observes nothing, not even for
//! logs, and the other is observed as services are, without or with every trace exported.
//!
//! One after the other, two runs of the very same program differ by a tenth on a machine that others share. Beside each
//! other, whatever the machine does hits both, so what they differ by is what observing costs.

use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use super::Options;
use super::sink::Sink;
use crate::Error;

/// How a platform is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// No log, no trace: every span and event is switched off where it would be made.
    Bare,
    /// As a service runs without a collector.
    Off,
    /// Every trace is recorded and exported, and so are metrics.
    On,
}

/// What a run measured.
#[derive(Clone, Copy, Debug)]
struct Run {
    journeys: u64,
    /// Processor time of all services and clients, in milliseconds.
    cpu_ms: u64,
}

/// What an observed platform did compared with one that observes nothing, in hundredths of a percent.
#[derive(Debug, Default)]
struct Ratios {
    journeys: Vec<u64>,
    /// Of the processor time for one journey.
    cpu: Vec<u64>,
}

/// Runs `rounds` rounds of each comparison and prints the ratios. Says whether every run passed its own checks.
pub(super) async fn compare(options: &Options, rounds: usize) -> Result<bool, Error> {
    let sink = Sink::start().await?;
    let mut results = [(Mode::Off, Ratios::default()), (Mode::On, Ratios::default())];
    for round in 0..rounds {
        for (mode, ratios) in &mut results {
            // Whoever starts first has the machine to itself for a moment, and one of the databases may be the faster.
            let (bare_first, bare_beside) = (round % 2 == 0, round / 2 % 2 == 0);
            let bare = once(options, Mode::Bare, bare_beside, &sink);
            let observed = once(options, *mode, !bare_beside, &sink);
            let (bare, observed) = if bare_first {
                tokio::try_join!(bare, observed)?
            } else {
                let (observed, bare) = tokio::try_join!(observed, bare)?;
                (bare, observed)
            };
            let (Some(bare), Some(observed)) = (bare, observed) else { return Ok(false) };
            ratios.add(bare, observed);
            crate::say!(
                "round {:>2}, {}: {} journeys beside {} of a platform that observes nothing",
                round + 1,
                name(*mode),
                observed.journeys,
                bare.journeys,
            );
        }
    }
    crate::say!("\n{:<18} {:>24} {:>28}", "against nothing", "journeys", "processor time each");
    for (mode, ratios) in &results {
        crate::say!("{:<18} {:>24} {:>28}", name(*mode), mean(&ratios.journeys), mean(&ratios.cpu));
    }
    crate::say!("mean ± standard error of {rounds} rounds; {} MiB were exported", sink.mebibytes());
    Ok(sink.mebibytes() > 0)
}

impl Ratios {
    fn add(&mut self, bare: Run, observed: Run) {
        self.journeys.push(observed.journeys * 10_000 / bare.journeys);
        self.cpu.push(observed.cpu_ms * bare.journeys * 10_000 / (bare.cpu_ms.max(1) * observed.journeys));
    }
}

/// One run in a process of its own, since a process is observed in one way for its whole life.
async fn once(options: &Options, mode: Mode, beside: bool, sink: &Sink) -> Result<Option<Run>, Error> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("bench").arg("--json").args(beside.then_some("--beside"));
    // Half of them on either side.
    command.args(["--clients", &options.clients.div_ceil(2).to_string()]);
    command.args(["--seconds", &options.seconds.to_string(), "--merchants", &options.merchants.to_string()]);
    command.args(["--refund-every", &options.refund_every.to_string()]);
    command.env_remove("OTEL_EXPORTER_OTLP_ENDPOINT").stderr(Stdio::null());
    command.env("TAEL_LOG", "info").env("TAEL_LOG_FORMAT", "json");
    match mode {
        Mode::Bare => command.env("TAEL_LOG", "off"),
        Mode::Off => &mut command,
        Mode::On => command.env("OTEL_EXPORTER_OTLP_ENDPOINT", sink.endpoint()),
    };
    let output = command.kill_on_drop(true).output().await?;
    let result: Value = serde_json::from_slice(&output.stdout)?;
    if !output.status.success() {
        crate::say!("a run failed: {result:#}");
        return Ok(None);
    }
    let number =
        |name: &str| result[name].as_u64().ok_or_else(|| Error::from(format!("no {name} in {result}")));
    Ok(Some(Run { journeys: number("journeys")?.max(1), cpu_ms: number("cpu_ms")? }))
}

fn name(mode: Mode) -> &'static str {
    match mode {
        Mode::Bare => "nothing observed",
        Mode::Off => "tracing off",
        Mode::On => "tracing on, 100 %",
    }
}

/// The mean of ratios and its standard error, as in `98.76 % ± 0.43 %`.
fn mean(ratios: &[u64]) -> String {
    let count = ratios.len().max(1) as u64;
    let mean = ratios.iter().sum::<u64>() / count;
    let squares: u64 = ratios.iter().map(|ratio| ratio.abs_diff(mean).pow(2)).sum();
    let error = (squares / (count.saturating_sub(1).max(1) * count)).isqrt();
    format!("{} % ± {} %", hundredths(mean), hundredths(error))
}

fn hundredths(value: u64) -> String {
    format!("{}.{:02}", value / 100, value % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_comes_with_its_standard_error() {
        // Deviations of 1, 0 and 1 percent: a variance of 1, of which the mean of three has a third.
        assert_eq!(mean(&[9_800, 9_900, 10_000]), "99.00 % ± 0.57 %");
        assert_eq!(mean(&[10_123]), "101.23 % ± 0.00 %");
    }

    #[test]
    fn ratios_are_those_of_a_journey() {
        let mut ratios = Ratios::default();
        ratios.add(Run { journeys: 200, cpu_ms: 1000 }, Run { journeys: 180, cpu_ms: 990 });
        assert_eq!((ratios.journeys[0], ratios.cpu[0]), (9_000, 11_000));
    }
}

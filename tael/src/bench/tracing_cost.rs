//! What observing costs: the same load with nothing written down, with logs alone, and with every trace exported.
//!
//! Runs of one round follow each other closely and their order changes from round to round, so that what else the
//! machine does hits all of them alike; what counts is the ratio within a round.

use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use super::Options;
use super::sink::Sink;
use crate::Error;

/// How a run is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// No log, no trace: every span and event is switched off where it would be made.
    Bare,
    /// As a service runs without a collector.
    Off,
    /// Every trace is recorded and exported, and so are metrics.
    On,
}

impl Mode {
    const ALL: [Self; 3] = [Self::Bare, Self::Off, Self::On];

    fn name(self) -> &'static str {
        match self {
            Self::Bare => "nothing observed",
            Self::Off => "tracing off",
            Self::On => "tracing on, 100 %",
        }
    }
}

/// What a run measured.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// Tenths of a journey per second.
    rate: u64,
    /// Processor time of all services and clients for one journey, in microseconds.
    cpu_us: u64,
}

/// Runs `rounds` rounds and prints medians and ratios. Says whether every run passed its own checks.
pub(super) async fn compare(options: &Options, rounds: usize) -> Result<bool, Error> {
    let sink = Sink::start().await?;
    let mut runs: [Vec<Run>; 3] = Default::default();
    for round in 0..rounds {
        for turn in 0..Mode::ALL.len() {
            let mode = Mode::ALL[(round + turn) % Mode::ALL.len()];
            let Some(run) = once(options, mode, &sink).await? else { return Ok(false) };
            println!(
                "round {:>2}  {:<18} {:>8} journeys/s  {:>8} ms of processor time each",
                round + 1,
                mode.name(),
                tenths(run.rate),
                tenths(run.cpu_us / 100)
            );
            runs[mode as usize].push(run);
        }
    }
    println!("\n{:<18} {:>11} {:>17} {:>16}", "median", "journeys/s", "time, of bare", "processor time");
    for mode in Mode::ALL {
        let (own, bare) = (&runs[mode as usize], &runs[Mode::Bare as usize]);
        let pairs = || own.iter().zip(bare);
        // Time for a journey is the reciprocal of the rate.
        let time = pairs().map(|(own, bare)| bare.rate * 1000 / own.rate.max(1)).collect();
        let cpu = pairs().map(|(own, bare)| own.cpu_us * 1000 / bare.cpu_us.max(1)).collect();
        println!(
            "{:<18} {:>11} {:>15} % {:>14} %",
            mode.name(),
            tenths(median(own.iter().map(|run| run.rate).collect())),
            tenths(median(time)),
            tenths(median(cpu))
        );
    }
    println!("{} MiB were exported", sink.mebibytes());
    Ok(sink.mebibytes() > 0)
}

/// One run in a process of its own, since a process is observed in one way for its whole life.
async fn once(options: &Options, mode: Mode, sink: &Sink) -> Result<Option<Run>, Error> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("bench").arg("--json");
    command.args(["--clients", &options.clients.to_string(), "--seconds", &options.seconds.to_string()]);
    command.args(["--merchants", &options.merchants.to_string()]);
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
        println!("a run failed: {result:#}");
        return Ok(None);
    }
    let number =
        |name: &str| result[name].as_u64().ok_or_else(|| Error::from(format!("no {name} in {result}")));
    let journeys = number("journeys")?.max(1);
    Ok(Some(Run {
        rate: journeys * 10_000 / number("took_ms")?.max(1),
        cpu_us: number("cpu_ms")? * 1000 / journeys,
    }))
}

/// Between the two in the middle when there is an even number of values, so that it leans to neither side.
fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    match values.len() {
        0 => 0,
        count => u64::midpoint(values[(count - 1) / 2], values[count / 2]),
    }
}

fn tenths(value: u64) -> String {
    format!("{}.{}", value / 10, value % 10)
}

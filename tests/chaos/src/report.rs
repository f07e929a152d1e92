//! What is told of a run.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::audit::Audit;
use crate::caller::Counts;
use crate::faults::Tally;
use crate::load::Kind;
use crate::load::book::Entry;
use crate::run::Options;
use crate::verdict::Verdict;

/// From PostgreSQL's accepting connections until the first success, at most.
const FIRST_SUCCESS_MS: u64 = 2000;
/// From the end of an outage until its backlog is gone, at most.
const BACK_AFTER_OUTAGE: Duration = Duration::from_secs(10);
/// So many of the violations are printed; the rest is in the file.
const PRINTED: usize = 40;

/// What is told of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The seed, which makes the same schedule again.
    pub seed: u64,
    /// For how long things went wrong.
    pub seconds: u64,
    /// How many journeys ended, by kind.
    pub journeys: BTreeMap<Kind, u64>,
    /// Journeys that were begun.
    pub begun: u64,
    /// What the clients counted.
    pub calls: Counts,
    /// What went wrong on purpose.
    pub faults: Tally,
    /// Answers that were cut off after their requests were forwarded.
    pub answers_cut: u64,
    /// From the end of the last fault until everything had settled, in milliseconds.
    pub settle_ms: u64,
    /// From the end of the last fault until every consumer had read all of every log, in milliseconds.
    pub consumers_caught_up_ms: Option<u64>,
    /// From the end of the outage, if that was asked for, until its backlog was gone under load, in milliseconds.
    pub back_after_outage_ms: Option<u64>,
    /// What the platform's own audit said; absent when the build does not serve it.
    pub audit: Option<Audit>,
    /// What the verdict counted.
    pub counts: BTreeMap<&'static str, i64>,
    /// Everything that must not be.
    pub violations: Vec<String>,
    /// Where the logs of all processes are.
    pub folder: PathBuf,
}

impl Report {
    /// Puts together what is known.
    pub fn new(
        options: &Options,
        entries: &[Entry],
        calls: &Counts,
        faults: Tally,
        verdict: Verdict,
        settled: Duration,
    ) -> Self {
        let mut journeys = BTreeMap::new();
        for entry in entries.iter().filter(|entry| entry.ended) {
            *journeys.entry(entry.plan.kind).or_default() += 1;
        }
        let mut violations = verdict.violations;
        violations.extend(verdict.unsettled.into_iter().map(|what| format!("stuck: {what}")));
        let kills: u64 = faults.kills.values().sum();
        if kills < options.minimum_kills {
            violations.push(format!("only {kills} of {} replicas were killed", options.minimum_kills));
        }
        for restart in faults.postgres_restarts.iter().filter(|restart| !restart.power_loss) {
            if restart.first_success_ms > FIRST_SUCCESS_MS {
                violations.push(format!(
                    "the first call succeeded {} ms after PostgreSQL accepted connections",
                    restart.first_success_ms
                ));
            }
        }
        Self {
            seed: options.seed,
            seconds: options.seconds,
            journeys,
            begun: u64::try_from(entries.len()).unwrap_or(u64::MAX),
            calls: calls.clone(),
            faults,
            answers_cut: 0,
            settle_ms: millis(settled),
            consumers_caught_up_ms: None,
            back_after_outage_ms: None,
            audit: None,
            counts: verdict.counts,
            violations,
            folder: options.folder.clone(),
        }
    }

    /// Adds how long it took after an outage until the backlog was gone; none when it was not.
    pub fn back_after_outage(&mut self, took: Option<Duration>) {
        self.back_after_outage_ms = took.map(millis);
        if took.is_none_or(|took| took > BACK_AFTER_OUTAGE) {
            self.violations.push(format!("the backlog of the outage was gone after {took:?}"));
        }
    }

    /// Adds what the platform's own audit said.
    pub fn audited(&mut self, audit: Audit) {
        self.violations.extend(audit.disagreements.iter().map(|found| format!("audit: {found}")));
        self.audit = Some(audit);
    }

    /// Whether nothing was lost, nothing happened twice, and nothing is stuck.
    pub fn passed(&self) -> bool {
        self.violations.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nchaos with seed {}, {} s", self.seed, self.seconds)?;
        let ended: u64 = self.journeys.values().sum();
        writeln!(f, "  journeys      {ended} of {} ended: {:?}", self.begun, self.journeys)?;
        let answered: u64 = self.calls.answered.values().sum();
        let repeated: u64 = self.calls.repeated.values().sum();
        writeln!(
            f,
            "  calls         {answered} answered, {repeated} tries repeated: {:?}",
            self.calls.repeated
        )?;
        writeln!(
            f,
            "                one call took {} tries at most, one {} ms: {}",
            self.calls.most_tries, self.calls.longest_ms, self.calls.longest
        )?;
        let kills: u64 = self.faults.kills.values().sum();
        writeln!(f, "  kills         {kills}: {:?}", self.faults.kills)?;
        for (name, count) in &self.faults.others {
            writeln!(f, "  fault         {count:>4} × {name}")?;
        }
        writeln!(f, "                {} answers cut off in all", self.answers_cut)?;
        for failed in &self.faults.failed {
            writeln!(f, "  not made      {failed}")?;
        }
        for restart in &self.faults.postgres_restarts {
            let with = if restart.power_loss { " with every service killed" } else { "" };
            writeln!(
                f,
                "  PostgreSQL    back after {} ms{with}; first success {} ms later",
                restart.down_ms, restart.first_success_ms
            )?;
        }
        writeln!(f, "  settled       {} ms after the last fault", self.settle_ms)?;
        match self.consumers_caught_up_ms {
            Some(ms) => writeln!(f, "  consumers     had caught up {ms} ms after it")?,
            None => writeln!(f, "  consumers     were not seen to catch up")?,
        }
        if let Some(ms) = self.back_after_outage_ms {
            writeln!(f, "  outage        its backlog was gone {ms} ms after it, under load")?;
        }
        match &self.audit {
            Some(audit) => writeln!(
                f,
                "  audit         {} disagreements in {} passes over {:?}",
                audit.disagreements.len(),
                audit.passes,
                audit.facts
            )?,
            None => writeln!(f, "  audit         not served by this build")?,
        }
        for (name, count) in &self.counts {
            writeln!(f, "  verdict       {count:>8} {name}")?;
        }
        for violation in self.violations.iter().take(PRINTED) {
            writeln!(f, "  VIOLATION     {violation}")?;
        }
        if self.violations.len() > PRINTED {
            writeln!(f, "  …             {} in all", self.violations.len())?;
        }
        writeln!(f, "  logs          {}", self.folder.display())?;
        if self.passed() {
            write!(f, "PASSED: nothing lost, nothing twice, nothing stuck")
        } else {
            write!(f, "FAILED: make chaos CHAOS_SEED={} CHAOS_SECONDS={}", self.seed, self.seconds)
        }
    }
}

/// Whole milliseconds.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

//! What a bench run found: rates, latencies, and whether the money adds up.

use std::time::Duration;

use serde_json::{Value, json};
use tael_proto::audit::v1::AuditMoneyRequest;
use tael_proto::settlement::v1::{AccountKind, CheckLedgerRequest, ListAccountsRequest};
use tael_proto::r#type::v1::Money;

use super::journey::{Step, Timings};
use crate::Error;
use crate::audit;
use crate::clients::Clients;
use crate::shop::Shop;

/// One check of the money.
struct Check {
    what: &'static str,
    holds: bool,
    detail: String,
}

/// What a run found.
pub(crate) struct Outcome {
    timings: Timings,
    took: Duration,
    /// The processor time of this process meanwhile, in milliseconds.
    processor_time_ms: u64,
    /// How long after the last journey the ledger had everything; none if it never did.
    posted_in: Option<Duration>,
    checks: Vec<Check>,
}

impl Outcome {
    /// Checks the money of the shops: what the buyers paid and got back against the ledger and the channel.
    pub(crate) async fn collect(
        clients: &mut Clients,
        shops: &[Shop],
        timings: Timings,
        took: Duration,
        processor_time_ms: u64,
        posted_in: Option<Duration>,
    ) -> Result<Self, Error> {
        let (mut receivable, mut cost, mut channel) = (0, 0, 0);
        for shop in shops {
            let accounts =
                clients.ledger.list_accounts(ListAccountsRequest { merchant_id: shop.id() }).await?;
            for account in accounts.into_inner().accounts {
                let minor = |sum: &Option<Money>| sum.as_ref().map_or(0, |m| m.minor);
                let balance = minor(&account.debits) - minor(&account.credits);
                match account.kind() {
                    AccountKind::ChannelReceivable => receivable += balance,
                    AccountKind::ChannelCost => cost += balance,
                    _ => {}
                }
            }
            let movements = clients.payer.movements(Some(&shop.app.seller_id)).await?;
            channel += movements.iter().map(|movement| movement.amount_minor).sum::<i64>();
        }
        let net = timings.paid_minor - timings.refunded_minor;
        let whole = clients.ledger.check_ledger(CheckLedgerRequest {}).await?.into_inner();
        let request = AuditMoneyRequest { statements_so_far: true, ..AuditMoneyRequest::default() };
        let mut first = None;
        let audited = audit::ask(clients.audit.clone(), request, |found| {
            first.get_or_insert_with(|| audit::in_words(&found));
        })
        .await?;
        let checks = vec![
            Check {
                what: "all services, the ledger and the channel agree to the cent",
                holds: audited.disagreements == 0,
                detail: first.unwrap_or_else(|| format!("audited in {} passes", audited.passes)),
            },
            Check {
                what: "paid − refunded = what the channel owes and what it kept, by the ledger",
                holds: net == receivable + cost,
                detail: format!("{net} fen, {receivable} + {cost} fen"),
            },
            Check {
                what: "what the channel owes by the ledger = what it owes by its own record",
                holds: receivable == channel,
                detail: format!("{receivable} fen, {channel} fen"),
            },
            Check {
                what: "Σ debits = Σ credits, every account equals its entries",
                holds: !whole.sums.is_empty()
                    && whole.sums.iter().all(|sum| sum.debits == sum.credits)
                    && whole.unbalanced_transfer_ids.is_empty()
                    && whole.wrong_account_ids.is_empty(),
                detail: format!("{} transfers", whole.transfer_count),
            },
            Check {
                what: "the ledger has every journey's movements",
                holds: posted_in.is_some(),
                detail: posted_in.map_or_else(
                    || "not within 60 s".to_owned(),
                    |t| format!("{} ms after the load", t.as_millis()),
                ),
            },
        ];
        Ok(Self { timings, took, processor_time_ms, posted_in, checks })
    }

    /// Whether no journey failed and all money adds up.
    pub(crate) fn passed(&self) -> bool {
        self.timings.errors == 0
            && self.timings.count(Step::Journey) > 0
            && self.checks.iter().all(|check| check.holds)
    }

    /// Prints it for a person.
    pub(crate) fn print(&self, clients: usize, merchants: usize) {
        let journeys = self.timings.count(Step::Journey);
        crate::say!(
            "{journeys} journeys by {clients} clients over {merchants} merchants in {:.1?}",
            self.took
        );
        crate::say!("{:>10} journeys/s", per_second(journeys, self.took));
        crate::say!("{:>10} errors\n", self.timings.errors);
        crate::say!("{:<16} {:>9} {:>11} {:>11} {:>11}", "step", "count", "p50 ms", "p99 ms", "max ms");
        for step in Step::ALL {
            let at = |percent| millis(self.timings.percentile_us(step, percent));
            crate::say!(
                "{:<16} {:>9} {:>11} {:>11} {:>11}",
                step.name(),
                self.timings.count(step),
                at(50),
                at(99),
                at(100)
            );
        }
        crate::say!();
        for check in &self.checks {
            crate::say!("{} {} ({})", if check.holds { "✓" } else { "✗ FAILED:" }, check.what, check.detail);
        }
        if let Some(error) = &self.timings.first_error {
            crate::say!("✗ the first error: {error}");
        }
    }

    /// The same for a program. Times are in microseconds.
    pub(crate) fn to_json(&self, clients: usize, merchants: usize) -> Value {
        let steps: serde_json::Map<String, Value> = Step::ALL
            .into_iter()
            .map(|step| {
                let at = |percent| self.timings.percentile_us(step, percent);
                let figures = json!({
                    "count": self.timings.count(step),
                    "p50_us": at(50),
                    "p99_us": at(99),
                    "max_us": at(100),
                });
                (step.name().to_owned(), figures)
            })
            .collect();
        let checks: Vec<Value> = self
            .checks
            .iter()
            .map(|check| json!({ "what": check.what, "holds": check.holds, "detail": check.detail }))
            .collect();
        json!({
            "clients": clients,
            "merchants": merchants,
            "took_ms": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            "cpu_ms": self.processor_time_ms,
            "journeys": self.timings.count(Step::Journey),
            "journeys_per_second": per_second(self.timings.count(Step::Journey), self.took),
            "errors": self.timings.errors,
            "first_error": self.timings.first_error,
            "posted_ms_after_load": self.posted_in.map(|t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX)),
            "steps": steps,
            "checks": checks,
            "passed": self.passed(),
        })
    }
}

/// A rate with one decimal, as text.
fn per_second(count: u64, took: Duration) -> String {
    let tenths = u128::from(count) * 10_000 / took.as_millis().max(1);
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn millis(micros: u64) -> String {
    format!("{}.{:02}", micros / 1000, micros % 1000 / 10)
}

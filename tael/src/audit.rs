//! `tael audit`: whether every cent is accounted for, across all services and by the channels' own record.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};
use tael_config::Env;
use tael_grpc::client::{Channel, Connector};
use tael_grpc::status::Chain;
use tael_proto::audit::v1::audit_money_response::Part;
use tael_proto::audit::v1::money_audit_service_client::MoneyAuditServiceClient;
use tael_proto::audit::v1::{AuditMoneyRequest, AuditSummary, Disagreement};
use tael_proto::r#type::v1::Money;
use tonic::Request;

use crate::Error;

/// How long an audit may take beyond its patience.
const LONGEST: Duration = Duration::from_hours(6);
/// The exit code when it could not be told whether the money agrees.
const COULD_NOT_AUDIT: u8 = 2;

/// What to audit.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// The audit service, such as http://127.0.0.1:50057.
    #[arg(long, env = "TAEL_AUDIT_URL", value_name = "URL")]
    audit: String,
    /// Only this merchant (mer_…).
    #[arg(long, default_value = "", hide_default_value = true)]
    merchant: String,
    /// The first day whose channel statements are compared, as 2026-11-21; four days before today unless given.
    #[arg(long, default_value = "", hide_default_value = true, requires = "to")]
    from: String,
    /// The last such day; today unless given.
    #[arg(long, default_value = "", hide_default_value = true, requires = "from")]
    to: String,
    /// For how many seconds what disagrees may be work in flight.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=600))]
    patience: u32,
    /// How many seconds old work under way may be before it counts as stuck.
    #[arg(long, default_value_t = 3600, value_parser = clap::value_parser!(u32).range(1..))]
    stuck_after: u32,
    /// The channel's statement of today has all of today so far, as the sandbox's has.
    #[arg(long)]
    statements_so_far: bool,
    /// Print a JSON object per line instead of text.
    #[arg(long)]
    json: bool,
}

/// Audits and prints every disagreement and a summary. The code is 0 when all agrees, 1 when something does not, and 2
/// when it could not be told.
pub async fn run(options: &Options) -> ExitCode {
    let request = AuditMoneyRequest {
        merchant_id: options.merchant.clone(),
        first_statement_date: options.from.clone(),
        last_statement_date: options.to.clone(),
        patience_ms: options.patience * 1000,
        stuck_after_seconds: options.stuck_after,
        statements_so_far: options.statements_so_far,
    };
    let each = |found: Disagreement| {
        if options.json {
            crate::say!("{}", to_json(&found));
        } else {
            crate::say!("✗ {}", in_words(&found));
        }
    };
    let summary = match connect(&options.audit).await {
        Ok(channel) => ask(MoneyAuditServiceClient::new(channel), request, each).await,
        Err(error) => Err(error),
    };
    match summary {
        Ok(summary) => {
            if options.json {
                crate::say!("{}", summary_to_json(&summary));
            } else {
                print(&summary);
            }
            if summary.disagreements == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            crate::complain!("tael: could not audit: {}", Chain(&*error));
            ExitCode::from(COULD_NOT_AUDIT)
        }
    }
}

/// With the certificates of `TAEL_TLS_CERTIFICATE`, `TAEL_TLS_KEY` and `TAEL_TLS_AUTHORITY`, if they are set: they must
/// name the operator.
async fn connect(url: &str) -> Result<Channel, Error> {
    let mut env = Env::from_process();
    let files = tael_runtime::tls_files(&mut env);
    let files = env.finish(|| Some(files))?;
    let identity = tael_runtime::identity(files.as_ref()).await?;
    Ok(Connector::new(identity).connect(url)?)
}

/// Has the audit service audit, hands on each disagreement as it comes, and returns the summary. An error when the
/// audit could not be made, or was not made to its end.
pub async fn ask(
    mut audit: MoneyAuditServiceClient<Channel>,
    request: AuditMoneyRequest,
    mut each: impl FnMut(Disagreement),
) -> Result<AuditSummary, Error> {
    let mut request = Request::new(request);
    request.set_timeout(LONGEST);
    let mut answers = audit.audit_money(request).await?.into_inner();
    let mut told = None;
    // To the very end, where the call's status is: a call that is left before it counts as cancelled.
    while let Some(answer) = answers.message().await? {
        match answer.part {
            Some(Part::Disagreement(disagreement)) => each(disagreement),
            Some(Part::Summary(summary)) => told = Some(summary),
            None => {}
        }
    }
    told.ok_or_else(|| "the audit ended without a summary".into())
}

/// A kind's name as it is printed, such as "event_missing".
pub fn kind_name(found: &Disagreement) -> String {
    let name = found.kind().as_str_name();
    name.strip_prefix("DISAGREEMENT_KIND_").unwrap_or(name).to_lowercase()
}

/// One line that names what does not agree.
pub fn in_words(found: &Disagreement) -> String {
    let amount = |money: &Money| format!("{} {}", money.currency, money.minor);
    let amounts = match (&found.expected, &found.actual) {
        (None, None) => String::new(),
        (Some(expected), None) => format!(" ({})", amount(expected)),
        (None, Some(actual)) => format!(" ({})", amount(actual)),
        (Some(expected), Some(actual)) => {
            format!(" ({} instead of {})", amount(actual), amount(expected))
        }
    };
    let ids = found.ids.join(" ");
    format!("{}: {}{amounts} [{} {ids}]", kind_name(found), found.detail, found.merchant_id)
}

fn to_json(found: &Disagreement) -> Value {
    let money = |money: &Option<Money>| {
        money.as_ref().map(|money| json!({ "currency": money.currency, "minor": money.minor }))
    };
    json!({
        "kind": kind_name(found),
        "merchant_id": found.merchant_id,
        "ids": found.ids,
        "detail": found.detail,
        "expected": money(&found.expected),
        "actual": money(&found.actual),
    })
}

fn summary_to_json(summary: &AuditSummary) -> Value {
    let facts: serde_json::Map<String, Value> =
        summary.facts.iter().map(|fact| (fact.kind.clone(), fact.count.into())).collect();
    json!({ "summary": {
        "disagreements": summary.disagreements,
        "facts": facts,
        "passes": summary.passes,
        "settled_meanwhile": summary.settled_meanwhile,
        "in_flight": summary.in_flight,
        "statement_days": summary.statement_days,
        "statement_days_not_available": summary.statement_days_not_available,
    }})
}

fn print(summary: &AuditSummary) {
    let mark = if summary.disagreements == 0 { "✓" } else { "✗" };
    crate::say!("{mark} {} disagreements", summary.disagreements);
    for fact in &summary.facts {
        crate::say!("  {:>12} {}", fact.count, fact.kind.replace('_', " "));
    }
    crate::say!(
        "  {} passes; {} settled meanwhile, {} still in flight; {} channel days compared, {} without a bill",
        summary.passes,
        summary.settled_meanwhile,
        summary.in_flight,
        summary.statement_days,
        summary.statement_days_not_available
    );
}

#[cfg(test)]
mod tests {
    use tael_proto::audit::v1::DisagreementKind;

    use super::*;

    #[test]
    fn a_disagreement_is_one_line_with_its_ids_and_amounts() {
        let cny = |minor| Some(Money { currency: "CNY".to_owned(), minor });
        let found = Disagreement {
            kind: DisagreementKind::PostedTwice.into(),
            merchant_id: "mer_1".to_owned(),
            ids: vec!["pay_1".to_owned(), "trf_2".to_owned()],
            detail: "the payment is posted 2 times".to_owned(),
            expected: cny(100),
            actual: cny(200),
        };
        assert_eq!(
            in_words(&found),
            "posted_twice: the payment is posted 2 times (CNY 200 instead of CNY 100) [mer_1 pay_1 trf_2]"
        );
        assert_eq!(to_json(&found)["actual"]["minor"], 200);
    }
}

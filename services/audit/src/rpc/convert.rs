//! What an audit found, on the wire.

use tael_proto::audit::v1::audit_money_response::Part;
use tael_proto::audit::v1::{AuditMoneyResponse, AuditSummary, Disagreement, FactCount};
use tael_proto::r#type::v1::Money;

use crate::store::session::Found;
use crate::usecase::money_audit::Summary;

fn part(part: Part) -> AuditMoneyResponse {
    AuditMoneyResponse { part: Some(part) }
}

pub(super) fn disagreement(found: Found) -> AuditMoneyResponse {
    let money = |minor: Option<i64>| {
        Some(Money { currency: found.currency.clone().unwrap_or_default(), minor: minor? })
    };
    let (expected, actual) = (money(found.expected), money(found.actual));
    part(Part::Disagreement(Disagreement {
        kind: found.kind,
        merchant_id: found.merchant_id,
        ids: found.ids,
        detail: found.detail,
        expected,
        actual,
    }))
}

pub(super) fn summary(summary: &Summary) -> AuditMoneyResponse {
    let kind = |name: &str| name.strip_prefix("FACT_KIND_").unwrap_or(name).to_lowercase();
    let facts = summary.facts.iter().map(|(of, count)| (kind(of.as_str_name()), *count));
    part(Part::Summary(AuditSummary {
        facts: facts
            .chain([("statement_line".to_owned(), summary.statement_lines)])
            .map(|(kind, count)| FactCount { kind, count })
            .collect(),
        disagreements: summary.disagreements,
        passes: summary.passes,
        settled_meanwhile: summary.settled_meanwhile,
        in_flight: summary.in_flight,
        statement_days: summary.statement_days,
        statement_days_not_available: summary.statement_days_not_available,
        statement_days_unread: summary.statement_days_unread,
    }))
}

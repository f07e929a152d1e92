//! The money audit over gRPC: disagreements as they are found, then the summary.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use jiff::SignedDuration;
use jiff::civil::Date;
use tael_grpc::fields::Fields;
use tael_ids::MerchantId;
use tael_proto::settlement::v1::audit_money_response::Part;
use tael_proto::settlement::v1::money_audit_service_server::MoneyAuditService;
use tael_proto::settlement::v1::{
    AuditMoneyRequest, AuditMoneyResponse, AuditSummary, Disagreement, FactCount,
};
use tael_proto::r#type::v1::Money;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tracing::{Instrument as _, Span};

use super::parse;
use crate::store::audit::Found;
use crate::usecase::audit::{MoneyAudit, Scope, Summary};

const DEFAULT_PATIENCE_MS: u32 = 30_000;
const MAX_PATIENCE_MS: u32 = 600_000;
const DEFAULT_STUCK_AFTER_SECONDS: u32 = 3600;
/// Past this a date would leave the calendar.
const MAX_STUCK_AFTER_SECONDS: u32 = 366 * 24 * 3600;
/// The most days between the first and the last bill.
const MAX_DAYS: i32 = 92;
/// So many answers wait for a slow caller; then the audit waits.
const AHEAD: usize = 64;

pub(crate) struct AuditRpc {
    pub(crate) audit: MoneyAudit,
    /// Ends running audits when the service ends.
    pub(crate) draining: CancellationToken,
}

#[tonic::async_trait]
impl MoneyAuditService for AuditRpc {
    type AuditMoneyStream = BoxStream<'static, Result<AuditMoneyResponse, Status>>;

    async fn audit_money(
        &self,
        request: Request<AuditMoneyRequest>,
    ) -> Result<Response<Self::AuditMoneyStream>, Status> {
        let scope = self.scope(&request.into_inner())?;
        let (answers, receiver) = mpsc::channel(AHEAD);
        let (audit, draining) = (self.audit.clone(), self.draining.clone());
        let work = async move {
            tokio::select! {
                () = run(&audit, &scope, &answers) => {}
                () = draining.cancelled() => {
                    let _ = answers.send(Err(Status::unavailable("the service is ending"))).await;
                }
                // Nobody listens any more.
                () = answers.closed() => {}
            }
        };
        tokio::spawn(work.instrument(Span::current()));
        Ok(Response::new(ReceiverStream::new(receiver).boxed()))
    }
}

impl AuditRpc {
    fn scope(&self, request: &AuditMoneyRequest) -> Result<Scope, Status> {
        let mut fields = Fields::default();
        let merchant_id = fields.optional_id::<MerchantId>("merchant_id", &request.merchant_id);
        let first = date(&mut fields, "first_bill_date", &request.first_bill_date);
        let last = date(&mut fields, "last_bill_date", &request.last_bill_date);
        if let (Some(Some(first)), Some(Some(last))) = (first, last)
            && !(0..=MAX_DAYS).contains(&(last - first).get_days())
        {
            let problem = format!("must be at most {MAX_DAYS} days from first_bill_date, and not before it");
            fields.bad::<()>("last_bill_date", problem);
        }
        if let (Some(Some(_)), Some(None)) | (Some(None), Some(Some(_))) = (first, last) {
            fields.bad::<()>("last_bill_date", "must be given with first_bill_date, or neither");
        }
        let patience = match request.patience_ms {
            0 => Some(DEFAULT_PATIENCE_MS),
            ms => fields.number("patience_ms", ms, 1..=MAX_PATIENCE_MS),
        };
        let stuck_after = match request.stuck_after_seconds {
            0 => Some(DEFAULT_STUCK_AFTER_SECONDS),
            seconds => fields.number("stuck_after_seconds", seconds, 1..=MAX_STUCK_AFTER_SECONDS),
        };
        let now = self.audit.clock.now();
        fields.finish(|| {
            let (merchant_id, first_bill_date, last_bill_date) = (merchant_id?, first?, last?);
            let stuck_after = stuck_after?;
            Some(Scope {
                merchant_id,
                first_bill_date,
                last_bill_date,
                patience: Duration::from_millis(u64::from(patience?)),
                stuck_before: now.checked_sub(SignedDuration::from_secs(i64::from(stuck_after))).ok()?,
                bills_so_far: request.bills_so_far,
                is_whole: merchant_id.is_none()
                    && first_bill_date.is_none()
                    && stuck_after <= DEFAULT_STUCK_AFTER_SECONDS,
            })
        })
    }
}

/// Reads a day that may be absent: the outer option is none when it is bad.
#[expect(clippy::option_option, reason = "bad, absent and given are three cases")]
fn date(fields: &mut Fields, field: &str, text: &str) -> Option<Option<Date>> {
    if text.is_empty() { Some(None) } else { parse::date(fields, field, text).map(Some) }
}

async fn run(audit: &MoneyAudit, scope: &Scope, answers: &mpsc::Sender<Result<AuditMoneyResponse, Status>>) {
    let (report, mut found) = mpsc::channel(AHEAD);
    let passing_on = async {
        while let Some(found) = found.recv().await {
            if answers.send(Ok(part(Part::Disagreement(to_disagreement(found))))).await.is_err() {
                return;
            }
        }
    };
    let auditing = async move { audit.run(scope, &report).await };
    let (result, ()) = tokio::join!(auditing, passing_on);
    let last = match result {
        Ok(Some(summary)) => Ok(part(Part::Summary(to_summary(&summary)))),
        Ok(None) => return,
        Err(error) => Err(error.into()),
    };
    let _ = answers.send(last).await;
}

fn part(part: Part) -> AuditMoneyResponse {
    AuditMoneyResponse { part: Some(part) }
}

fn to_disagreement(found: Found) -> Disagreement {
    let money = |minor: Option<i64>| {
        Some(Money { currency: found.currency.clone().unwrap_or_default(), minor: minor? })
    };
    let (expected, actual) = (money(found.expected), money(found.actual));
    Disagreement {
        kind: found.kind,
        merchant_id: found.merchant_id,
        ids: found.ids,
        detail: found.detail,
        expected,
        actual,
    }
}

fn to_summary(summary: &Summary) -> AuditSummary {
    let kind = |name: &str| name.strip_prefix("FACT_KIND_").unwrap_or(name).to_lowercase();
    let facts = summary.facts.iter().map(|(of, count)| (kind(of.as_str_name()), *count));
    AuditSummary {
        facts: facts
            .chain([("bill_line".to_owned(), summary.bill_lines)])
            .map(|(kind, count)| FactCount { kind, count })
            .collect(),
        disagreements: summary.disagreements,
        passes: summary.passes,
        settled_meanwhile: summary.settled_meanwhile,
        in_flight: summary.in_flight,
        bill_days: summary.bill_days,
        bill_days_not_available: summary.bill_days_not_available,
    }
}

//! The money audit over gRPC: disagreements as they are found, then the summary.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use jiff::SignedDuration;
use tael_clock::Clock;
use tael_grpc::fields::Fields;
use tael_ids::MerchantId;
use tael_proto::audit::v1::money_audit_service_server::MoneyAuditService;
use tael_proto::audit::v1::{AuditMoneyRequest, AuditMoneyResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tracing::{Instrument as _, Span};

use super::{convert, parse};
use crate::domain::money_audit::Scope;
use crate::usecase::money_audit::MoneyAudit;

const DEFAULT_PATIENCE_MS: u32 = 30_000;
const MAX_PATIENCE_MS: u32 = 600_000;
const DEFAULT_STUCK_AFTER_SECONDS: u32 = 3600;
/// Past this a date would leave the calendar.
const MAX_STUCK_AFTER_SECONDS: u32 = 366 * 24 * 3600;
/// The most days between the first and the last statement.
const MAX_DAYS: i32 = 92;
/// So many answers wait for a slow caller; then the audit waits.
const AHEAD: usize = 64;

pub(crate) struct MoneyAuditRpc {
    pub(crate) audit: MoneyAudit,
    pub(crate) clock: Clock,
    /// Ends running audits when the service ends.
    pub(crate) draining: CancellationToken,
}

#[tonic::async_trait]
impl MoneyAuditService for MoneyAuditRpc {
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

impl MoneyAuditRpc {
    fn scope(&self, request: &AuditMoneyRequest) -> Result<Scope, Status> {
        let mut fields = Fields::default();
        let merchant_id = fields.optional_id::<MerchantId>("merchant_id", &request.merchant_id);
        let first = parse::optional_date(&mut fields, "first_statement_date", &request.first_statement_date);
        let last = parse::optional_date(&mut fields, "last_statement_date", &request.last_statement_date);
        if let (Some(Some(first)), Some(Some(last))) = (first, last)
            && !(0..=MAX_DAYS).contains(&(last - first).get_days())
        {
            let problem =
                format!("must be at most {MAX_DAYS} days from first_statement_date, and not before it");
            fields.bad::<()>("last_statement_date", problem);
        }
        if let (Some(Some(_)), Some(None)) | (Some(None), Some(Some(_))) = (first, last) {
            fields.bad::<()>("last_statement_date", "must be given with first_statement_date, or neither");
        }
        let patience = match request.patience_ms {
            0 => Some(DEFAULT_PATIENCE_MS),
            ms => fields.number("patience_ms", ms, 1..=MAX_PATIENCE_MS),
        };
        let stuck_after = match request.stuck_after_seconds {
            0 => Some(DEFAULT_STUCK_AFTER_SECONDS),
            seconds => fields.number("stuck_after_seconds", seconds, 1..=MAX_STUCK_AFTER_SECONDS),
        };
        let now = self.clock.now();
        fields.finish(|| {
            let (merchant_id, first_statement_date, last_statement_date) = (merchant_id?, first?, last?);
            let stuck_after = stuck_after?;
            Some(Scope {
                merchant_id,
                first_statement_date,
                last_statement_date,
                patience: Duration::from_millis(u64::from(patience?)),
                stuck_before: now.checked_sub(SignedDuration::from_secs(i64::from(stuck_after))).ok()?,
                statements_so_far: request.statements_so_far,
                is_whole: merchant_id.is_none()
                    && first_statement_date.is_none()
                    && stuck_after <= DEFAULT_STUCK_AFTER_SECONDS,
            })
        })
    }
}

async fn run(audit: &MoneyAudit, scope: &Scope, answers: &mpsc::Sender<Result<AuditMoneyResponse, Status>>) {
    let (report, mut found) = mpsc::channel(AHEAD);
    let passing_on = async {
        while let Some(found) = found.recv().await {
            if answers.send(Ok(convert::disagreement(found))).await.is_err() {
                return;
            }
        }
    };
    let auditing = async move { audit.run(scope, &report).await };
    let (result, ()) = tokio::join!(auditing, passing_on);
    let last = match result {
        Ok(Some(summary)) => Ok(convert::summary(&summary)),
        Ok(None) => return,
        Err(error) => Err(error.into()),
    };
    let _ = answers.send(last).await;
}

//! The money audit: what all services hold to be true, compared.
//!
//! Nothing is locked and nobody waits, so facts that are read one after another may disagree because work is in flight:
//! a payment that has just succeeded is not posted yet. What disagrees is therefore looked at again, all of it anew,
//! and only what every look found, with the same ids and amounts, is a disagreement. A look costs no more than the
//! first. It ends when nothing is left, or when the patience is over. How far the consumers of the logs have come is not
//! asked: that would tell that an event was read, while the audit is to tell whether its effect is there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use sqlx::PgPool;
use tael_clock::Clock;
use tael_grpc::status::Chain;
use tael_ids::EventId;
use tael_proto::audit::v1::{DisagreementKind, FactKind, ReadFactsRequest};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep};

use super::{AuditError, kind_name, statement};
use crate::clients::{FactClient, Owner, StatementClient};
use crate::domain::money_audit::Scope;
use crate::store;
use crate::store::audit_run::AuditRun;
use crate::store::session::{Found, Session};

/// How many facts are held at a time.
const PAGE: u32 = 2000;
/// Accounts are added up from all entries of the page's merchants.
const ACCOUNT_PAGE: u32 = 64;
/// The rest before everything is looked at again: short at first, for most work in flight is done at once.
const FIRST_REST: Duration = Duration::from_millis(50);
const LAST_REST: Duration = Duration::from_secs(2);

/// What an audit looked at and found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    /// How many facts of each kind were compared, of the last pass.
    pub(crate) facts: Vec<(FactKind, u64)>,
    pub(crate) statement_lines: u64,
    pub(crate) statement_days: u64,
    pub(crate) statement_days_not_available: u64,
    pub(crate) statement_days_unread: u64,
    pub(crate) disagreements: u64,
    pub(crate) passes: u32,
    pub(crate) settled_meanwhile: u64,
    pub(crate) in_flight: u64,
}

/// The audit and whom it asks. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct MoneyAudit {
    pub(crate) pool: PgPool,
    pub(crate) clock: Clock,
    pub(crate) facts: FactClient,
    pub(crate) statements: StatementClient,
    /// Is told when how an audit of everything ended was kept.
    pub(crate) ended: Arc<Notify>,
}

impl MoneyAudit {
    /// Compares everything and reports what does not agree as far as `report` takes it; none when nobody listens any
    /// more.
    #[tracing::instrument(name = "audit.run", skip_all)]
    pub(crate) async fn run(
        &self,
        scope: &Scope,
        report: &mpsc::Sender<Found>,
    ) -> Result<Option<Summary>, AuditError> {
        let mut session = Session::open(&self.pool, scope.stuck_before).await?;
        let summary = self.compare(&mut session, scope).await?;
        let mut disagreements: BTreeMap<i32, u64> = BTreeMap::new();
        {
            let mut candidates = session.candidates();
            while let Some(found) = candidates.try_next().await? {
                *disagreements.entry(found.kind).or_default() += 1;
                if report.send(found).await.is_err() {
                    return Ok(None);
                }
            }
        }
        session.close().await;
        if scope.is_whole {
            self.keep(disagreements).await;
        }
        Ok(Some(summary))
    }

    /// Keeps how an audit ended, for those who watch. Who asked for it is told in any case; if all watchers miss it, they
    /// are alerted that there was none.
    async fn keep(&self, disagreements: BTreeMap<i32, u64>) {
        let disagreements = disagreements
            .into_iter()
            .map(|(kind, count)| (kind_name(DisagreementKind::try_from(kind).unwrap_or_default()), count))
            .collect();
        let run = AuditRun { end_time: self.clock.now(), disagreements };
        match store::audit_run::insert(&self.pool, EventId::new().uuid(), &run).await {
            Ok(()) => self.ended.notify_one(),
            Err(error) => tracing::warn!(error = %Chain(&error), "how an audit ended could not be kept"),
        }
    }

    /// Looks until nothing disagrees or the patience is over; the candidates of the session are what is left.
    async fn compare(&self, session: &mut Session, scope: &Scope) -> Result<Summary, AuditError> {
        let begin = Instant::now();
        let mut rest = FIRST_REST;
        let mut summary = Summary::default();
        let found = self.pass(session, scope, &mut summary).await?;
        session.begin_candidates().await?;
        let mut left = found;
        while left > 0 && (summary.passes == 1 || begin.elapsed() < scope.patience) {
            sleep(rest.min(scope.patience.saturating_sub(begin.elapsed()))).await;
            rest = (rest * 2).min(LAST_REST);
            self.pass(session, scope, &mut summary).await?;
            left -= session.narrow_candidates().await?;
        }
        summary.settled_meanwhile = found - left;
        summary.disagreements = left;
        summary.in_flight = session.in_flight().await?;
        Ok(summary)
    }

    /// Reads all facts and statements, compares them, and returns how many disagreements there are.
    async fn pass(
        &self,
        session: &mut Session,
        scope: &Scope,
        summary: &mut Summary,
    ) -> Result<u64, AuditError> {
        *summary = Summary { passes: summary.passes + 1, ..Summary::default() };
        session.clear().await?;
        for owner in Owner::ALL {
            for &kind in owner.kinds() {
                let count = self.stage(session, scope, owner, kind).await?;
                match summary.facts.iter_mut().find(|(known, _)| *known == kind) {
                    Some((_, sum)) => *sum += count,
                    None => summary.facts.push((kind, count)),
                }
            }
        }
        // After the facts: what succeeded by our record is in a statement that is read later.
        statement::stage(&self.statements, session, scope, self.clock.now(), summary).await?;
        Ok(session.compare().await?)
    }

    /// Reads the facts of one kind that one service has, page by page, and returns how many there are.
    async fn stage(
        &self,
        session: &mut Session,
        scope: &Scope,
        owner: Owner,
        kind: FactKind,
    ) -> Result<u64, AuditError> {
        let merchant_id = scope.merchant_id.map(|id| id.to_string()).unwrap_or_default();
        let mut request = ReadFactsRequest {
            kind: kind.into(),
            page_size: if kind == FactKind::LedgerAccount { ACCOUNT_PAGE } else { PAGE },
            merchant_id: merchant_id.clone(),
            page_token: String::new(),
        };
        let mut count = 0;
        loop {
            let mut page = self.facts.read(owner, request.clone()).await?;
            // Some facts have no merchant, and dead letters are told for all.
            page.facts.retain(|fact| {
                merchant_id.is_empty() || fact.merchant_id.is_empty() || fact.merchant_id == merchant_id
            });
            if !page.facts.is_empty() {
                session.stage(kind, owner.name(), &page.facts).await?;
                count += page.facts.len() as u64;
            }
            if page.next_page_token.is_empty() {
                return Ok(count);
            }
            request.page_token = page.next_page_token;
        }
    }
}

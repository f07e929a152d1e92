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
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};
use sqlx::PgPool;
use tael_audit::Auditable;
use tael_clock::Clock;
use tael_grpc::client::Channel as Transport;
use tael_grpc::status::Chain;
use tael_ids::{ChannelAccountId, EventId, MerchantId};
use tael_proto::audit::v1::audit_service_client::AuditServiceClient;
use tael_proto::audit::v1::audit_service_server::AuditService as _;
use tael_proto::audit::v1::{FactKind, ReadFactsRequest, ReadFactsResponse};
use tael_proto::settlement::v1::DisagreementKind;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep};
use tonic::{Request, Status};

use crate::clients::{ClientError, Clients};
use crate::domain::channel::Channel;
use crate::domain::reconciliation::StatementDay;
use crate::facts::LedgerFacts;
use crate::store;
use crate::store::audit::{BilledAccount, Found, Session};
use crate::store::audit_runs::AuditRun;

/// How many facts are held at a time.
const PAGE: u32 = 2000;
/// Accounts are added up from all entries of the page's merchants.
const ACCOUNT_PAGE: u32 = 64;
/// How many channel accounts are held at a time.
const ACCOUNTS: i64 = 500;
/// The rest before everything is looked at again: short at first, for most work in flight is done at once.
const FIRST_REST: Duration = Duration::from_millis(50);
const LAST_REST: Duration = Duration::from_secs(2);
/// So many days before today have their bills compared unless it is said which: what is found in a bill is found again
/// until that day is past, and an alert about it must outlast a weekend.
const BILL_DAYS: i32 = 4;

/// What to audit.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    /// Only this merchant.
    pub(crate) merchant_id: Option<MerchantId>,
    /// The first day whose bills are compared; four days before today, by the channel's calendar, when none is given.
    pub(crate) first_bill_date: Option<Date>,
    /// The last such day; today likewise.
    pub(crate) last_bill_date: Option<Date>,
    /// For how long what disagrees may be work in flight.
    pub(crate) patience: Duration,
    /// Work begun before that is stuck.
    pub(crate) stuck_before: Timestamp,
    /// Whether the bill of a day that is not over has all of it so far.
    pub(crate) bills_so_far: bool,
    /// Whether this is an audit of everything. Only how such a one ended is told to those who watch: a narrower one that
    /// finds nothing would end an alert about what it did not look at.
    pub(crate) is_whole: bool,
}

/// Why an audit came to no end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuditError {
    #[error("a day could not be cut")]
    Calendar(#[from] jiff::Error),
    #[error("another service gave no usable answer")]
    Peer(#[source] ClientError),
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

/// What an audit looked at and found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    /// How many facts of each kind were compared, of the last pass.
    pub(crate) facts: Vec<(FactKind, u64)>,
    pub(crate) bill_lines: u64,
    pub(crate) bill_days: u64,
    pub(crate) bill_days_not_available: u64,
    pub(crate) disagreements: u64,
    pub(crate) passes: u32,
    pub(crate) settled_meanwhile: u64,
    pub(crate) in_flight: u64,
}

/// The audit and whom it asks. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct MoneyAudit {
    pool: PgPool,
    pub(crate) clock: Clock,
    clients: Clients,
    ledger: Auditable<LedgerFacts>,
    peers: Peers,
    /// Is told when how an audit ended was kept.
    news: Arc<Notify>,
}

/// The services that show their facts.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    pub(crate) order: AuditServiceClient<Transport>,
    pub(crate) payment: AuditServiceClient<Transport>,
    pub(crate) refund: AuditServiceClient<Transport>,
    pub(crate) notification: AuditServiceClient<Transport>,
}

/// Who tells which facts.
#[derive(Clone, Copy, Debug)]
enum Owner {
    Order,
    Payment,
    Refund,
    Notification,
    Settlement,
}

impl Owner {
    const ALL: [Self; 5] = [Self::Order, Self::Payment, Self::Refund, Self::Notification, Self::Settlement];

    fn name(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Payment => "payment",
            Self::Refund => "refund",
            Self::Notification => "notification",
            Self::Settlement => "settlement",
        }
    }

    fn kinds(self) -> &'static [FactKind] {
        use FactKind as K;
        match self {
            Self::Order => {
                &[K::Order, K::HeldPayment, K::CountedRefund, K::Event, K::DeadLetter, K::LogStart]
            }
            Self::Payment => {
                &[K::ChannelAccount, K::Payment, K::Attempt, K::PaymentRefund, K::Event, K::LogStart]
            }
            Self::Refund => &[K::Refund, K::RefundCeiling, K::Event, K::DeadLetter, K::LogStart],
            Self::Notification => &[K::WebhookEndpoint, K::Delivery, K::DeadLetter],
            Self::Settlement => &[K::Transfer, K::LedgerAccount, K::Event, K::DeadLetter, K::LogStart],
        }
    }
}

impl MoneyAudit {
    pub(crate) fn new(
        pool: PgPool,
        clock: Clock,
        clients: Clients,
        ledger: Auditable<LedgerFacts>,
        peers: Peers,
        news: Arc<Notify>,
    ) -> Self {
        Self { pool, clock, clients, ledger, peers, news }
    }

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
        match store::audit_runs::insert(&self.pool, EventId::new().uuid(), &run).await {
            Ok(()) => self.news.notify_one(),
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

    /// Reads all facts and bills, compares them, and returns how many disagreements there are.
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
        // After the facts: what succeeded by our record is in a bill that is read later.
        self.stage_bills(session, scope, summary).await?;
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
            let mut page = self.read(owner, request.clone()).await.map_err(|status| {
                AuditError::Peer(ClientError::Failed { peer: owner.name(), source: Box::new(status) })
            })?;
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

    async fn read(&self, owner: Owner, request: ReadFactsRequest) -> Result<ReadFactsResponse, Status> {
        let peer = match owner {
            Owner::Order => &self.peers.order,
            Owner::Payment => &self.peers.payment,
            Owner::Refund => &self.peers.refund,
            Owner::Notification => &self.peers.notification,
            Owner::Settlement => {
                return Ok(self.ledger.read_facts(Request::new(request)).await?.into_inner());
            }
        };
        Ok(peer.clone().read_facts(request).await?.into_inner())
    }

    /// Reads the bills of all channel accounts and days.
    async fn stage_bills(
        &self,
        session: &mut Session,
        scope: &Scope,
        summary: &mut Summary,
    ) -> Result<(), AuditError> {
        let mut after = String::new();
        loop {
            let accounts = session.channel_accounts(&after, ACCOUNTS).await?;
            let Some(last) = accounts.last() else { return Ok(()) };
            after.clone_from(&last.channel_account_id);
            for account in &accounts {
                self.stage_bills_of(session, scope, account, summary).await?;
            }
        }
    }

    async fn stage_bills_of(
        &self,
        session: &mut Session,
        scope: &Scope,
        account: &BilledAccount,
        summary: &mut Summary,
    ) -> Result<(), AuditError> {
        let malformed = |what| AuditError::Peer(ClientError::Malformed { peer: "payment", what });
        let channel = Channel::from_name(&account.channel).ok_or_else(|| malformed("channel"))?;
        let merchant_id: MerchantId = account.merchant_id.parse().map_err(|_| malformed("merchant_id"))?;
        let id: ChannelAccountId =
            account.channel_account_id.parse().map_err(|_| malformed("channel_account_id"))?;
        let now = self.clock.now();
        let today = now.to_zoned(channel.calendar()).date();
        let last = scope.last_bill_date.unwrap_or(today);
        let mut date = match scope.first_bill_date {
            Some(date) => date,
            None => today.checked_sub(BILL_DAYS.days())?,
        };
        while date <= last {
            let day = StatementDay::new(date, &channel.calendar())?;
            match self.stage_bill(session, merchant_id, id, account, date).await {
                Ok(lines) => {
                    summary.bill_lines += lines;
                    summary.bill_days += 1;
                    session.bill_read(account, &day, scope.bills_so_far || day.end <= now).await?;
                }
                Err(AuditError::Peer(ClientError::StatementNotAvailable)) => {
                    summary.bill_days_not_available += 1;
                }
                Err(error) => return Err(error),
            }
            date = date.checked_add(1.days())?;
        }
        Ok(())
    }

    async fn stage_bill(
        &self,
        session: &mut Session,
        merchant_id: MerchantId,
        id: ChannelAccountId,
        account: &BilledAccount,
        date: Date,
    ) -> Result<u64, AuditError> {
        let mut bill = self.clients.read_statement(merchant_id, id, date).await.map_err(AuditError::Peer)?;
        let mut count = 0;
        while let Some(lines) = bill.next().await.map_err(AuditError::Peer)? {
            session.stage_bill(account, &lines).await?;
            count += lines.len() as u64;
        }
        Ok(count)
    }
}

/// The name of a kind in metrics, for example `order_without_money`.
pub(super) fn kind_name(kind: DisagreementKind) -> String {
    let name = kind.as_str_name();
    name.strip_prefix("DISAGREEMENT_KIND_").unwrap_or(name).to_lowercase()
}

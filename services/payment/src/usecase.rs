//! The use cases, one plain function each, grouped by what they are about; the only place that opens transactions.

mod account;
mod bill;
mod close;
mod create;
mod evidence;
mod notify;
mod poll;
mod refund;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use account::NewAccount;
pub(crate) use create::NewPayment;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
pub(crate) use refund::NewRefund;
use sqlx::PgPool;
use tael_clock::Clock;
use tael_egress::Policy;
use tael_eventlog::EventLog;
use tael_grpc::deadline;
use tael_ids::{ChannelAccountId, MerchantId, OrderId, PaymentId, RefundId};
use tael_postgres::InconsistentRow;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tonic::Status;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::accounts::{Accounts, OpenAccount, OpenError};
use crate::channel::{BillError, Presentation};
use crate::clients::{ClientError, Clients};
use crate::domain::alarm::Alarm;
use crate::domain::backoff::Backoff;
use crate::domain::payment::{Attempt, Payment};
use crate::store;

/// A call that waits for somebody else's answer gives up so long before its own deadline, to answer itself.
const ANSWER_MARGIN: Duration = Duration::from_millis(250);
/// How long to wait at most when the caller set no deadline.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// The use cases and what they need. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Payments {
    pool: PgPool,
    log: EventLog,
    clock: Clock,
    accounts: Accounts,
    clients: Clients,
    settings: Arc<Settings>,
    /// Work that goes on when its caller has gone.
    detached: TaskTracker,
}

/// What is configured.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Where channels and payers reach the gateway, without a slash at the end.
    pub(crate) public_url: String,
    pub(crate) channel_timeout: Duration,
    /// Which addresses channel accounts may name.
    pub(crate) egress: Policy,
    pub(crate) poll: Backoff,
}

/// Why a use case did not do its work. What a channel refuses is none of these: it is a result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the merchant has no payment {0}")]
    PaymentNotFound(PaymentId),
    #[error("payment {payment_id} is {state}")]
    PaymentState { payment_id: PaymentId, state: &'static str },
    #[error("the merchant has no order {0}")]
    OrderNotFound(OrderId),
    #[error("order {order_id} is {state}")]
    OrderState { order_id: OrderId, state: &'static str },
    #[error("the order has a payment that may still bring money")]
    OrderHasActivePayment { payment_id: Option<PaymentId> },
    #[error("merchant {0} is not approved for live money")]
    MerchantNotApproved(MerchantId),
    #[error("no channel account can take this method, currency and amount")]
    NoChannelAccount,
    #[error("the merchant has no channel account {0}")]
    ChannelAccountNotFound(ChannelAccountId),
    #[error("the refund is larger than what is left of payment {payment_id}")]
    RefundExceedsPayment { payment_id: PaymentId, refundable_minor: i64 },
    #[error("the refund is in another currency than its payment")]
    RefundCurrency,
    #[error("the merchant has no refund {0}")]
    RefundNotFound(RefundId),
    #[error("there is no bill of {0}, or not yet")]
    BillNotAvailable(Date),
    #[error(transparent)]
    Bill(BillError),
    #[error("the idempotency key belongs to another request")]
    KeyReused(Status),
    #[error(transparent)]
    Peer(#[from] ClientError),
    #[error("the channel does not answer and is left alone for a time")]
    ChannelUnavailable { retry_after: Duration },
    #[error("a channel account can't be opened")]
    Account(#[from] Arc<OpenError>),
    #[error("a row that was just seen is gone")]
    RowVanished,
    #[error("work ended before its time")]
    Interrupted(#[from] tokio::task::JoinError),
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl From<InconsistentRow> for Error {
    fn from(error: InconsistentRow) -> Self {
        Self::Database(error.into())
    }
}

impl Payments {
    pub(crate) fn new(
        pool: PgPool,
        log: EventLog,
        clock: Clock,
        accounts: Accounts,
        clients: Clients,
        settings: Settings,
    ) -> Self {
        let settings = Arc::new(settings);
        Self { pool, log, clock, accounts, clients, settings, detached: TaskTracker::new() }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) async fn payment(&self, merchant_id: MerchantId, id: PaymentId) -> Result<Payment, Error> {
        store::payment::get(&self.pool, merchant_id, id).await?.ok_or(Error::PaymentNotFound(id))
    }

    /// Returns a payment for its payer, whose capability is the id.
    pub(crate) async fn checkout(&self, id: PaymentId) -> Result<Payment, Error> {
        let merchant_id =
            store::payment::merchant_of(&self.pool, id).await?.ok_or(Error::PaymentNotFound(id))?;
        self.payment(merchant_id, id).await
    }

    pub(crate) async fn list(
        &self,
        merchant_id: MerchantId,
        order_id: Option<OrderId>,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<Payment>, Error> {
        Ok(store::payment::list(&self.pool, merchant_id, order_id, after, limit).await?)
    }

    pub(crate) async fn alarms(
        &self,
        merchant_id: MerchantId,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<Alarm>, Error> {
        Ok(store::alarm::list(&self.pool, merchant_id, after, limit).await?)
    }

    /// Waits until detached work has ended, for draining.
    pub(crate) async fn drain(&self) {
        self.detached.close();
        self.detached.wait().await;
    }

    /// Runs work to its end even when the caller goes away: half a refund is worse than an unheard answer.
    pub(crate) async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let at = deadline::current().unwrap_or_else(|| Instant::now() + MAX_WAIT);
        self.detached.spawn(deadline::detach_with_permit(deadline::scope(at, work)).in_current_span()).await?
    }

    async fn open_account_of(&self, attempt: &Attempt) -> Result<Arc<OpenAccount>, Error> {
        Ok(self.accounts.open(attempt.channel_account_id).await?)
    }

    /// Says whether the channel is worth calling about an attempt now, to the holder of its lease. If not, the lease ends,
    /// and the attempt is due when it may be.
    async fn may_call(
        &self,
        payment: &Payment,
        attempt: &Attempt,
        open: &OpenAccount,
    ) -> Result<bool, Error> {
        let Err(retry_time) = open.health.admit() else { return Ok(true) };
        let next_query = self.next_query(payment, attempt).max(retry_time);
        let Payment { merchant_id, .. } = *payment;
        store::payment::stay(&self.pool, merchant_id, attempt.id, attempt.in_doubt, next_query).await?;
        Ok(false)
    }

    /// Until when somebody who takes a lease now may be calling. Closing makes up to four calls.
    fn lease_until(&self, now: Timestamp) -> Timestamp {
        let lease =
            SignedDuration::try_from(self.settings.channel_timeout * 5).unwrap_or(SignedDuration::MAX);
        now.saturating_add(lease).unwrap_or(now)
    }

    fn next_query(&self, payment: &Payment, attempt: &Attempt) -> Timestamp {
        self.settings.poll.next(self.clock.now(), attempt.schedule.tries, Some(payment.expire_time))
    }

    fn presentation(&self, payment: &Payment, attempt: &Attempt) -> Presentation {
        Presentation {
            number: attempt.id.channel_number(),
            amount: payment.amount,
            subject: payment.subject.clone(),
            create_time: payment.create_time,
            expire_time: payment.expire_time,
            notify_url: format!(
                "{}/callbacks/alipay/{}",
                self.settings.public_url, attempt.channel_account_id
            ),
        }
    }
}

/// Looks again and again, with growing pauses, until `look` finds something or the caller's deadline nears.
async fn wait_for<T, F: Future<Output = Result<Option<T>, Error>>>(
    mut look: impl FnMut() -> F,
) -> Result<Option<T>, Error> {
    let give_up = Instant::now() + deadline::remaining(MAX_WAIT).saturating_sub(ANSWER_MARGIN);
    let mut pause = Duration::from_millis(10);
    loop {
        let found = look().await?;
        if found.is_some() || Instant::now() + pause >= give_up {
            return Ok(found);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}

//! The use cases, one plain function each, grouped by aggregate; the only place that opens transactions.

mod attempt_decision;
mod callback;
mod channel_account;
mod integrity_alert;
mod payment;
mod refund_execution;
mod statement;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use attempt_decision::{AttemptDecisionError, NewDecision};
pub(crate) use channel_account::{AccountWithCredentials, ChannelAccountError, NewAccount, NewCredential};
use jiff::{SignedDuration, Timestamp};
pub(crate) use payment::{NewPayment, PaymentError};
pub(crate) use refund_execution::{NewRefund, RefundExecutionError};
use sqlx::PgPool;
pub(crate) use statement::StatementError;
use tael_clock::Clock;
use tael_egress::Policy;
use tael_eventlog::EventLog;
use tael_grpc::deadline;
use tael_money::MoneyError;
use tokio::task::JoinError;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::accounts::{Accounts, OpenError};
use crate::clients::Clients;
use crate::domain::backoff::Backoff;

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

/// What can go wrong beneath any use case and is not its caller's doing. What a channel refuses is no error at all: it
/// is a result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Internal {
    #[error("a channel account can't be opened")]
    Account(#[from] Arc<OpenError>),
    #[error("a row that was just seen is gone")]
    RowVanished,
    #[error("an amount leaves the range of amounts")]
    Amount(#[from] MoneyError),
    #[error("work ended before its time")]
    Interrupted(#[from] JoinError),
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

/// Lets `?` lift the causes of [`Internal`] into an aggregate's own error.
macro_rules! lift_internal {
    ($error:ty: $($cause:ty),+) => {
        $(impl From<$cause> for $error {
            fn from(cause: $cause) -> Self {
                Self::Internal(cause.into())
            }
        })+
    };
}

lift_internal!(PaymentError: Arc<OpenError>, JoinError, sqlx::Error);
lift_internal!(RefundExecutionError: Arc<OpenError>, JoinError, sqlx::Error);
lift_internal!(AttemptDecisionError: JoinError, sqlx::Error);
lift_internal!(ChannelAccountError: JoinError, sqlx::Error);
lift_internal!(StatementError: Arc<OpenError>);

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

    /// Waits until detached work has ended, for draining.
    pub(crate) async fn drain(&self) {
        self.detached.close();
        self.detached.wait().await;
    }

    /// Runs work to its end even when the caller goes away: half a refund is worse than an unheard answer.
    pub(crate) async fn to_the_end<T: Send + 'static, E: From<JoinError> + Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E> {
        let at = deadline::current().unwrap_or_else(|| Instant::now() + MAX_WAIT);
        let work = deadline::detach_with_permit(deadline::scope(at, work));
        self.detached.spawn(work.in_current_span()).await?
    }

    /// Until when somebody who takes a lease now may be calling. Closing makes up to four calls.
    fn lease_until(&self, now: Timestamp) -> Timestamp {
        let lease =
            SignedDuration::try_from(self.settings.channel_timeout * 5).unwrap_or(SignedDuration::MAX);
        now.saturating_add(lease).unwrap_or(now)
    }
}

/// Looks again and again, with growing pauses, until `look` finds something or the caller's deadline nears.
async fn wait_for<T, E, F: Future<Output = Result<Option<T>, E>>>(
    mut look: impl FnMut() -> F,
) -> Result<Option<T>, E> {
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

//! Held money on its way to its end: taken by its order after all, or given back to its payer.
//!
//! Whatever is decided about held money is decided under the lock of its order.

use std::collections::HashMap;

use futures::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use sqlx::PgConnection;
use tael_eventlog::EventLog;
use tael_fault::crash_point;
use tael_grpc::status::Chain;
use tael_idempotency::IdempotencyKey;
use tael_ids::{MerchantId, OrderId, PaymentId, RefundId};
use tael_postgres::within;
use tracing::Instrument as _;
use uuid::Uuid;

use super::received::{IssueError, Receipt, pay, pay_orders};
use super::{CLAIM_LIMIT, Error, Orders, WRITE_LIMIT};
use crate::domain::backoff;
use crate::domain::held::{Decision, HeldPayment, Outcome, Policy, Resolution, State};
use crate::store::held::{DueRefund, Held, Key};
use crate::{events, store};

/// How many refunds are taken at once.
pub(crate) const BATCH: usize = 32;
const BATCH_LIMIT: i64 = 32;
/// How many are asked for side by side.
const CALLS: usize = 16;
/// For how long other workers leave a refund alone. Longer than a batch of calls.
const LEASE: SignedDuration = SignedDuration::from_secs(30);

/// A person's decision about held money.
#[derive(Clone, Debug)]
pub(crate) struct Resolve {
    pub(crate) merchant_id: MerchantId,
    pub(crate) order_id: OrderId,
    pub(crate) payment_id: PaymentId,
    pub(crate) how: Resolution,
    /// Who decides.
    pub(crate) operator: String,
}

/// How a refund ended, of held money or of something else.
#[derive(Clone, Debug)]
pub(crate) struct RefundEnd {
    pub(crate) merchant_id: MerchantId,
    pub(crate) refund_id: RefundId,
    pub(crate) outcome: Outcome,
    pub(crate) traceparent: Option<String>,
}

/// What was heard of held money going back.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) key: Key,
    pub(super) refund_id: RefundId,
    pub(super) outcome: Outcome,
    pub(super) traceparent: Option<String>,
}

impl End {
    /// The key of the order.
    pub(super) fn order(&self) -> (MerchantId, OrderId) {
        (self.key.0, self.key.1)
    }
}

impl Orders {
    /// Sets a merchant's policy from now on. A repeated call returns what it set, and does not set it again: another
    /// policy may be in force by now.
    pub(crate) async fn set_policy(
        &self,
        merchant_id: MerchantId,
        policy: Policy,
        guard: IdempotencyKey,
    ) -> Result<Policy, Error> {
        if store::policy::insert(&self.pool, merchant_id, policy, &guard, self.clock.now()).await? {
            return Ok(policy);
        }
        let (policy, fingerprint) =
            store::policy::by_key(&self.pool, merchant_id, &guard.key).await?.ok_or(Error::RowVanished)?;
        guard.check(&fingerprint).map_err(Error::KeyReused)?;
        Ok(policy)
    }

    /// Returns the policy in force, or the default one.
    pub(crate) async fn policy(&self, merchant_id: MerchantId) -> Result<Policy, Error> {
        let mut conn = self.pool.acquire().await?;
        let policies = store::policy::current(&mut conn, &[merchant_id]).await?;
        Ok(policies.get(&merchant_id).copied().unwrap_or_default())
    }

    /// Returns at most `limit` payments that are held or on their way back, newest first, after the one given.
    pub(crate) async fn list_held(
        &self,
        merchant_id: MerchantId,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<HeldPayment>, Error> {
        Ok(store::held::list(&self.pool, merchant_id, after, limit).await?)
    }

    /// Carries out a person's decision about held money; one that was taken before changes nothing.
    pub(crate) async fn resolve(&self, resolve: Resolve) -> Result<(), Error> {
        let Resolve { merchant_id, order_id, payment_id, how, operator } = resolve;
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        let mut order = store::received::lock(&mut tx, &[(merchant_id, order_id)])
            .await?
            .pop()
            .ok_or(Error::OrderNotFound(order_id))?;
        let mut payment = store::held::load(&mut tx, &[(merchant_id, order_id, payment_id)])
            .await?
            .into_values()
            .next()
            .ok_or(Error::HeldPaymentNotFound { order_id, payment_id })?;
        match payment.resolve(order.state, how) {
            Decision::Do => {}
            Decision::AlreadyDone => return Ok(()),
            Decision::Refuse { state } => {
                return Err(Error::HeldPaymentState { order_id, payment_id, state });
            }
        }
        let from = payment.state.name();
        let events = match how {
            Resolution::Refund => {
                // Always a new one: the last one, if any, was refused for good.
                payment.state = State::Refunding { refund_id: RefundId::new() };
                Vec::new()
            }
            Resolution::Accept => {
                payment.state = State::Accepted { at: now };
                let receipt = Receipt {
                    merchant_id,
                    order_id,
                    payment_id,
                    amount: payment.amount,
                    pay_time: payment.pay_time,
                    traceparent: tael_telemetry::current_traceparent(),
                };
                let payer = pay(&mut order, &receipt);
                let issued = pay_orders(&mut tx, &[payer], now).await?;
                events::accepted(&receipt, now).into_iter().chain(issued).collect()
            }
        };
        let traceparent = tael_telemetry::current_traceparent();
        let held = Held { merchant_id, payment, operator: Some(operator), traceparent };
        store::held::update(&mut tx, &[from], &[held], now).await?;
        self.log.append(&mut tx, &events).await?;
        tx.commit().await?;
        crash_point("order.resolve_held.committed");
        self.log.wake();
        Ok(())
    }

    /// Asks for a batch of refunds of held money whose time has come. Returns how many there were.
    pub(crate) async fn refund_due(&self) -> Result<usize, Error> {
        let now = self.clock.now();
        let claim = store::held::claim_due(&self.pool, now, now + LEASE, BATCH_LIMIT);
        let due = within(CLAIM_LIMIT, claim).await?;
        let taken = due.len();
        if taken > 0 {
            crash_point("order.refund_held.claimed");
        }
        let asked = stream::iter(due).map(|refund| {
            let span = tracing::info_span!(
                "order.refund_held",
                tael.merchant_id = %refund.key.0,
                tael.order_id = %refund.key.1,
                tael.payment_id = %refund.key.2,
                tael.refund_id = %refund.refund_id,
            );
            tael_telemetry::follow(&span, &refund.traceparent);
            async move {
                if let Err(error) = self.ask_refund(&refund).await {
                    // The next try finds the same refund, whatever became of this one.
                    tracing::warn!(error = %Chain(&error), "a refund of held money was not recorded");
                }
            }
            .instrument(span)
        });
        asked.buffer_unordered(CALLS).collect::<()>().await;
        Ok(taken)
    }

    async fn ask_refund(&self, refund: &DueRefund) -> Result<(), Error> {
        let outcome = self.payments.refund(refund).await;
        crash_point("order.refund_held.called");
        within(WRITE_LIMIT, self.record_refund(refund, outcome)).await
    }

    async fn record_refund(&self, refund: &DueRefund, outcome: Option<Outcome>) -> Result<(), Error> {
        let Some(outcome) = outcome else {
            let pause = backoff::pause(refund.tries.saturating_add(1), refund.refund_id);
            let next = self.clock.now().saturating_add(pause).unwrap_or(Timestamp::MAX);
            return Ok(store::held::note_unclear(&self.pool, refund, next).await?);
        };
        let traceparent = tael_telemetry::current_traceparent();
        let heard = End { key: refund.key, refund_id: refund.refund_id, outcome, traceparent };
        let mut tx = self.pool.begin().await?;
        store::received::lock(&mut tx, &[heard.order()]).await?;
        end(&mut tx, &self.log, self.clock.now(), &[heard]).await?;
        tx.commit().await?;
        crash_point("order.refund_held.recorded");
        self.log.wake();
        Ok(())
    }
}

impl From<IssueError> for Error {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::Database(error) => Self::Database(error),
            IssueError::NoRandomness(error) => Self::NoRandomness(error),
        }
    }
}

/// Finds the held money that refunds are of, and drops the others.
pub(super) async fn ends(conn: &mut PgConnection, refunds: &[RefundEnd]) -> Result<Vec<End>, sqlx::Error> {
    if refunds.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<_> = refunds.iter().map(|refund| (refund.merchant_id, refund.refund_id)).collect();
    // Seen without a lock. That is enough: the refund's row was there before the refund was asked for.
    let keys = store::held::by_refund(conn, &ids).await?;
    let end = |refund: &RefundEnd| {
        Some(End {
            key: *keys.get(&(refund.merchant_id, refund.refund_id))?,
            refund_id: refund.refund_id,
            outcome: refund.outcome.clone(),
            traceparent: refund.traceparent.clone(),
        })
    };
    Ok(refunds.iter().filter_map(end).collect())
}

/// Writes what was heard of held money going back, each once, however often and by whatever way it is heard, and tells
/// of what its payer got. The orders are locked.
pub(super) async fn end(
    conn: &mut PgConnection,
    log: &EventLog,
    now: Timestamp,
    ends: &[End],
) -> Result<(), sqlx::Error> {
    if ends.is_empty() {
        return Ok(());
    }
    let keys: Vec<Key> = ends.iter().map(|end| end.key).collect();
    let mut payments: HashMap<Key, HeldPayment> = store::held::load(conn, &keys).await?;
    let mut changed: HashMap<Key, (&'static str, Held)> = HashMap::new();
    let mut events = Vec::new();
    for end in ends {
        // A reversal may be of money that was never held.
        let Some(payment) = payments.get_mut(&end.key) else { continue };
        let Some(state) = payment.state.after(end.refund_id, &end.outcome, now) else { continue };
        let from = payment.state.name();
        payment.state = state;
        match payment.state {
            State::Refunded { .. } => {
                events.push(events::given_back(end.key.0, payment, end.traceparent.clone(), now));
            }
            State::Held { .. } | State::Refunding { .. } | State::Accepted { .. } => {
                tracing::warn!(
                    tael.order_id = %end.key.1,
                    tael.payment_id = %end.key.2,
                    tael.refund_id = %end.refund_id,
                    "the channel refuses to give held money back"
                );
            }
        }
        let held = Held {
            merchant_id: end.key.0,
            payment: payment.clone(),
            operator: None,
            traceparent: end.traceparent.clone(),
        };
        // The state that the row is in is the one before the first of several changes.
        let first = changed.remove(&end.key).map_or(from, |(first, _)| first);
        changed.insert(end.key, (first, held));
    }
    if changed.is_empty() {
        return Ok(());
    }
    let (from, held): (Vec<_>, Vec<_>) = changed.into_values().unzip();
    store::held::update(conn, &from, &held, now).await?;
    log.append(conn, &events).await?;
    Ok(())
}

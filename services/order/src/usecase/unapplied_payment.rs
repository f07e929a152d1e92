//! Unapplied payments on their way to their end: taken by their order after all, or given back to their payer.
//!
//! Whatever is decided about one is decided under the lock of its order.

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

use super::locked_order::{pay, pay_orders};
use super::voucher::IssueError;
use super::{CLAIM_LIMIT, Failure, Orders, WRITE_LIMIT, check_key, from_failures};
use crate::domain::backoff;
use crate::domain::order_balance::PaymentReceived;
use crate::domain::unapplied_payment::{
    Decision, DueRefund, Key, LatePaymentPolicy, RefundOutcome, Resolution, State, UnappliedPayment,
};
use crate::store::unapplied_payment::Change;
use crate::{events, store};

/// How many refunds are taken at once.
pub(crate) const BATCH: usize = 32;
const BATCH_LIMIT: i64 = 32;
/// How many are asked for side by side.
const CALLS: usize = 16;
/// For how long other workers leave a refund alone. Longer than a batch of calls.
const LEASE: SignedDuration = SignedDuration::from_secs(30);

/// Why something was not done with an unapplied payment.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnappliedPaymentError {
    #[error("the merchant has no order {0}")]
    OrderNotFound(OrderId),
    #[error("order {order_id} has no unapplied payment {payment_id}")]
    NotFound { order_id: OrderId, payment_id: PaymentId },
    #[error("this can't be decided about payment {payment_id}: it or its order is {state}")]
    State { order_id: OrderId, payment_id: PaymentId, state: &'static str },
    #[error(transparent)]
    Failure(#[from] Failure),
}

from_failures!(UnappliedPaymentError: sqlx::Error, IssueError);

/// A person's decision about an unapplied payment.
#[derive(Clone, Debug)]
pub(crate) struct Resolve {
    pub(crate) merchant_id: MerchantId,
    pub(crate) order_id: OrderId,
    pub(crate) payment_id: PaymentId,
    pub(crate) how: Resolution,
    /// Who decides.
    pub(crate) operator: String,
}

/// How a refund ended, of an unapplied payment or of something else.
#[derive(Clone, Debug)]
pub(crate) struct CompletedRefund {
    pub(crate) merchant_id: MerchantId,
    pub(crate) refund_id: RefundId,
    pub(crate) outcome: RefundOutcome,
    pub(crate) traceparent: Option<String>,
}

/// How a refund of an unapplied payment ended.
#[derive(Clone, Debug)]
pub(super) struct UnappliedRefund {
    pub(super) key: Key,
    pub(super) refund_id: RefundId,
    pub(super) outcome: RefundOutcome,
    pub(super) traceparent: Option<String>,
}

impl UnappliedRefund {
    /// The key of the order.
    pub(super) fn order(&self) -> (MerchantId, OrderId) {
        (self.key.0, self.key.1)
    }
}

impl Orders {
    /// Sets a merchant's policy from now on. A repeated call returns what it set, and does not set it again: another
    /// policy may be in force by now.
    pub(crate) async fn set_late_payment_policy(
        &self,
        merchant_id: MerchantId,
        policy: LatePaymentPolicy,
        key: IdempotencyKey,
    ) -> Result<LatePaymentPolicy, UnappliedPaymentError> {
        let now = self.clock.now();
        if store::late_payment_policy::insert(&self.pool, merchant_id, policy, &key, now).await? {
            return Ok(policy);
        }
        let (policy, fingerprint) = store::late_payment_policy::by_key(&self.pool, merchant_id, &key.key)
            .await?
            .ok_or(Failure::RowVanished)?;
        check_key(key, &fingerprint)?;
        Ok(policy)
    }

    /// Returns the policy in force, or the default one.
    pub(crate) async fn late_payment_policy(
        &self,
        merchant_id: MerchantId,
    ) -> Result<LatePaymentPolicy, UnappliedPaymentError> {
        let mut conn = self.pool.acquire().await?;
        let policies = store::late_payment_policy::current(&mut conn, &[merchant_id]).await?;
        Ok(policies.get(&merchant_id).copied().unwrap_or_default())
    }

    /// Returns at most `limit` payments that are held or on their way back, newest first, after the one given.
    pub(crate) async fn list_unapplied_payments(
        &self,
        merchant_id: MerchantId,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<UnappliedPayment>, UnappliedPaymentError> {
        Ok(store::unapplied_payment::list(&self.pool, merchant_id, after, limit).await?)
    }

    /// Returns an unapplied payment as it stands.
    pub(crate) async fn unapplied_payment(
        &self,
        merchant_id: MerchantId,
        order_id: OrderId,
        payment_id: PaymentId,
    ) -> Result<UnappliedPayment, UnappliedPaymentError> {
        let mut conn = self.pool.acquire().await?;
        load(&mut conn, merchant_id, order_id, payment_id).await
    }

    /// Carries out a person's decision about an unapplied payment; one that was taken before changes nothing.
    pub(crate) async fn resolve(&self, resolve: Resolve) -> Result<(), UnappliedPaymentError> {
        let Resolve { merchant_id, order_id, payment_id, how, operator } = resolve;
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        let mut order = store::locked_order::lock(&mut tx, &[(merchant_id, order_id)])
            .await?
            .pop()
            .ok_or(UnappliedPaymentError::OrderNotFound(order_id))?;
        let mut payment = load(&mut tx, merchant_id, order_id, payment_id).await?;
        match payment.resolve(order.state, how) {
            Decision::Do => {}
            Decision::AlreadyDone => return Ok(()),
            Decision::Refuse { state } => {
                return Err(UnappliedPaymentError::State { order_id, payment_id, state });
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
                let received = PaymentReceived {
                    merchant_id,
                    order_id,
                    payment_id,
                    amount: payment.amount,
                    pay_time: payment.pay_time,
                    traceparent: tael_telemetry::current_traceparent(),
                };
                let order_payment = pay(&mut order, &received);
                let issued = pay_orders(&mut tx, &[order_payment], now).await?;
                events::accepted(&received, now).into_iter().chain(issued).collect()
            }
        };
        let traceparent = tael_telemetry::current_traceparent();
        let change = Change { merchant_id, payment, operator: Some(operator), traceparent };
        store::unapplied_payment::update(&mut tx, &[from], &[change], now).await?;
        self.log.append(&mut tx, &events).await?;
        tx.commit().await?;
        crash_point("order.resolve_unapplied.committed");
        self.log.wake();
        Ok(())
    }

    /// Asks for a batch of refunds of unapplied payments whose time has come. Returns how many there were.
    pub(crate) async fn refund_due(&self) -> Result<usize, UnappliedPaymentError> {
        let now = self.clock.now();
        let claim = store::unapplied_payment::claim_due(&self.pool, now, now + LEASE, BATCH_LIMIT);
        let due = within(CLAIM_LIMIT, claim).await?;
        let taken = due.len();
        if taken > 0 {
            crash_point("order.refund_unapplied.claimed");
        }
        let asked = stream::iter(due).map(|refund| {
            let span = tracing::info_span!(
                "order.refund_unapplied",
                tael.merchant_id = %refund.key.0,
                tael.order_id = %refund.key.1,
                tael.payment_id = %refund.key.2,
                tael.refund_id = %refund.refund_id,
            );
            tael_telemetry::follow(&span, &refund.traceparent);
            async move {
                if let Err(error) = self.ask_refund(&refund).await {
                    // The next try finds the same refund, whatever became of this one.
                    tracing::warn!(error = %Chain(&error), "a refund of an unapplied payment was not recorded");
                }
            }
            .instrument(span)
        });
        asked.buffer_unordered(CALLS).collect::<()>().await;
        Ok(taken)
    }

    async fn ask_refund(&self, refund: &DueRefund) -> Result<(), UnappliedPaymentError> {
        let outcome = self.payments.refund(refund).await;
        crash_point("order.refund_unapplied.called");
        within(WRITE_LIMIT, self.record_refund(refund, outcome)).await
    }

    async fn record_refund(
        &self,
        refund: &DueRefund,
        outcome: Option<RefundOutcome>,
    ) -> Result<(), UnappliedPaymentError> {
        let Some(outcome) = outcome else {
            let pause = backoff::pause(refund.tries.saturating_add(1), refund.refund_id);
            let next = self.clock.now().saturating_add(pause).unwrap_or(Timestamp::MAX);
            return Ok(store::unapplied_payment::note_unclear(&self.pool, refund, next).await?);
        };
        let traceparent = tael_telemetry::current_traceparent();
        let end = UnappliedRefund { key: refund.key, refund_id: refund.refund_id, outcome, traceparent };
        let mut tx = self.pool.begin().await?;
        store::locked_order::lock(&mut tx, &[end.order()]).await?;
        apply_outcomes(&mut tx, &self.log, self.clock.now(), &[end]).await?;
        tx.commit().await?;
        crash_point("order.refund_unapplied.recorded");
        self.log.wake();
        Ok(())
    }
}

async fn load(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    order_id: OrderId,
    payment_id: PaymentId,
) -> Result<UnappliedPayment, UnappliedPaymentError> {
    store::unapplied_payment::load(conn, &[(merchant_id, order_id, payment_id)])
        .await?
        .into_values()
        .next()
        .ok_or(UnappliedPaymentError::NotFound { order_id, payment_id })
}

/// Finds the unapplied payments that refunds are of, and drops the other refunds.
pub(super) async fn outcomes(
    conn: &mut PgConnection,
    refunds: &[CompletedRefund],
) -> Result<Vec<UnappliedRefund>, sqlx::Error> {
    if refunds.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<_> = refunds.iter().map(|refund| (refund.merchant_id, refund.refund_id)).collect();
    // Seen without a lock. That is enough: the refund's row was there before the refund was asked for.
    let keys = store::unapplied_payment::by_refund(conn, &ids).await?;
    let end = |refund: &CompletedRefund| {
        Some(UnappliedRefund {
            key: *keys.get(&(refund.merchant_id, refund.refund_id))?,
            refund_id: refund.refund_id,
            outcome: refund.outcome.clone(),
            traceparent: refund.traceparent.clone(),
        })
    };
    Ok(refunds.iter().filter_map(end).collect())
}

/// Writes how refunds of unapplied payments ended, each once, however often and by whatever way it is heard, and tells
/// of what their payers got. The orders are locked.
pub(super) async fn apply_outcomes(
    conn: &mut PgConnection,
    log: &EventLog,
    now: Timestamp,
    ends: &[UnappliedRefund],
) -> Result<(), sqlx::Error> {
    if ends.is_empty() {
        return Ok(());
    }
    let keys: Vec<Key> = ends.iter().map(|end| end.key).collect();
    let mut payments: HashMap<Key, UnappliedPayment> = store::unapplied_payment::load(conn, &keys).await?;
    let mut changed: HashMap<Key, (&'static str, Change)> = HashMap::new();
    let mut events = Vec::new();
    for end in ends {
        // A reversal may be of a payment that was never unapplied.
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
                    "the channel refuses to give an unapplied payment back"
                );
            }
        }
        let change = Change {
            merchant_id: end.key.0,
            payment: payment.clone(),
            operator: None,
            traceparent: end.traceparent.clone(),
        };
        // The state that the row is in is the one before the first of several changes.
        let first = changed.remove(&end.key).map_or(from, |(first, _)| first);
        changed.insert(end.key, (first, change));
    }
    if changed.is_empty() {
        return Ok(());
    }
    let (from, rows): (Vec<_>, Vec<_>) = changed.into_values().unzip();
    store::unapplied_payment::update(conn, &from, &rows, now).await?;
    log.append(conn, &events).await?;
    Ok(())
}

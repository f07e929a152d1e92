//! Creating a payment.

use std::sync::Arc;
use std::time::Duration;

use tael_fault::crash_point;
use tael_grpc::deadline;
use tael_grpc::status::Chain;
use tael_idempotency::IdempotencyKey;
use tael_ids::{AttemptId, MerchantId, OrderId, PaymentId};
use tael_money::Money;
use tael_postgres::violated_constraint;
use tael_proto::order::v1::OrderState;

use super::super::{ANSWER_MARGIN, Internal, Payments, wait_for};
use super::PaymentError;
use crate::accounts::OpenAccount;
use crate::channel;
use crate::clients::OrderToPay;
use crate::domain::channel_account::{ChannelName, Method};
use crate::domain::evidence::Evidence;
use crate::domain::payment::{Attempt, AttemptState, MethodInput, Payment, PaymentState, Schedule};
use crate::domain::routing::{self, Route};
use crate::domain::subject::subject;
use crate::{events, store};

/// More accounts than this are not looked at when one is chosen.
const MAX_ACCOUNTS: i64 = 100;

/// A payment to be created.
#[derive(Clone, Debug)]
pub(crate) struct NewPayment {
    pub(crate) merchant_id: MerchantId,
    pub(crate) order_id: OrderId,
    pub(crate) method: Method,
    pub(crate) channel: Option<ChannelName>,
    pub(crate) input: MethodInput,
}

impl Payments {
    /// Creates a payment and initiates it at the channel. Called again with the same key it answers with the same
    /// payment.
    #[tracing::instrument(name = "payment.create", skip_all)]
    pub(crate) async fn create(
        &self,
        new: NewPayment,
        guard: IdempotencyKey,
    ) -> Result<Payment, PaymentError> {
        let (existing, order, approved, accounts) = tokio::join!(
            store::payment::by_key(&self.pool, new.merchant_id, &guard.key),
            self.clients.order(new.merchant_id, new.order_id),
            self.clients.is_approved(new.merchant_id),
            store::channel_account::list(&self.pool, new.merchant_id, None, MAX_ACCOUNTS),
        );
        // First of all, for the order may be paid by now, with this very payment.
        if let Some((id, fingerprint)) = existing? {
            if !guard.matches(&fingerprint) {
                return Err(PaymentError::KeyReused(guard));
            }
            return self.await_answer(new.merchant_id, id).await;
        }
        let order = order?.ok_or(PaymentError::OrderNotFound(new.order_id))?;
        if !approved? {
            return Err(PaymentError::MerchantNotApproved(new.merchant_id));
        }
        self.check_payable(new.order_id, &order)?;
        let routes = routing::rank(accounts?, new.channel.as_ref(), new.method, order.total, channel::takes);
        let (route, open) = self.first_callable(routes).await?;
        let payment = self.new_payment(&new, &order, &route);

        if !self.insert(&payment, &guard).await? {
            let (id, fingerprint) = store::payment::by_key(&self.pool, new.merchant_id, &guard.key)
                .await?
                .ok_or(Internal::RowVanished)?;
            if !guard.matches(&fingerprint) {
                return Err(PaymentError::KeyReused(guard));
            }
            return self.await_answer(new.merchant_id, id).await;
        }
        self.initiate(payment, &open).await
    }

    /// Takes the first account that can be called now. Before anything is stored: an account that can't be opened takes no
    /// payment, nor does one whose channel does not answer. The same call succeeds when it does again.
    async fn first_callable(&self, routes: Vec<Route>) -> Result<(Route, Arc<OpenAccount>), PaymentError> {
        let mut problem = PaymentError::NoChannelAccount;
        for route in routes {
            let open = match self.accounts.open(route.account.id).await {
                Ok(open) => open,
                Err(error) => {
                    tracing::warn!(tael.channel_account_id = %route.account.id, error = %Chain(&*error), "a channel account can't be opened");
                    problem = error.into();
                    continue;
                }
            };
            match open.health.admit() {
                Ok(()) => return Ok((route, open)),
                Err(retry_time) => {
                    let wait = retry_time.duration_since(self.clock.now());
                    problem =
                        PaymentError::ChannelUnavailable { retry_after: wait.try_into().unwrap_or_default() };
                }
            }
        }
        Err(problem)
    }

    fn check_payable(&self, order_id: OrderId, order: &OrderToPay) -> Result<(), PaymentError> {
        let state = match order.state {
            OrderState::PendingPayment if order.expire_time > self.clock.now() => return Ok(()),
            // Its own service has not noticed yet.
            OrderState::PendingPayment | OrderState::Expired => "expired",
            OrderState::Paid => "paid",
            OrderState::Cancelled => "cancelled",
            OrderState::Unspecified => "unspecified",
        };
        Err(PaymentError::OrderState { order_id, state })
    }

    fn new_payment(&self, new: &NewPayment, order: &OrderToPay, route: &Route) -> Payment {
        let now = self.clock.now();
        let names: Vec<&str> = order.line_names.iter().map(String::as_str).collect();
        let zero = Money::zero(order.total.currency());
        let attempt = Attempt {
            id: AttemptId::new(),
            channel: route.account.channel.clone(),
            channel_account_id: route.account.id,
            method: new.method,
            state: AttemptState::Initiated,
            in_doubt: true,
            routing_reason: route.reason.clone(),
            problem: None,
            input: new.input.clone(),
            refs: serde_json::json!({}),
            channel_transaction_id: None,
            create_time: now,
            schedule: Schedule { tries: 0, lease_until: Some(self.lease_until(now)) },
            traceparent: tael_telemetry::current_traceparent().unwrap_or_default(),
        };
        Payment {
            merchant_id: new.merchant_id,
            id: PaymentId::new(),
            order_id: new.order_id,
            amount: order.total,
            state: PaymentState::Created,
            subject: subject(&names, &new.order_id.to_string()),
            captured: zero,
            refunded: zero,
            refund_reserved: zero,
            create_time: now,
            expire_time: order.expire_time,
            attempts: vec![attempt],
        }
    }

    /// Commits the intent; says whether this call did, and not an earlier one with its key.
    async fn insert(&self, payment: &Payment, guard: &IdempotencyKey) -> Result<bool, PaymentError> {
        let next_query = self.next_query(payment, payment.latest_attempt());
        let mut tx = self.pool.begin().await?;
        match store::payment::insert(&mut tx, payment, next_query, guard).await {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) if violated_constraint(&error) == Some(store::payment::ONE_ACTIVE) => {
                drop(tx);
                // Of two calls with one key at the same moment, the second may meet this constraint first.
                if store::payment::by_key(&self.pool, payment.merchant_id, &guard.key).await?.is_some() {
                    return Ok(false);
                }
                let payment_id =
                    store::payment::active_of_order(&self.pool, payment.merchant_id, payment.order_id)
                        .await?;
                return Err(PaymentError::OrderHasActivePayment { payment_id });
            }
            Err(error) => return Err(error.into()),
        }
        self.log.append(&mut tx, &[events::created(payment)]).await?;
        tx.commit().await?;
        crash_point("payment.create.committed");
        self.log.wake();
        Ok(true)
    }

    /// Initiates a payment at the channel that was just committed, and records what came of it.
    async fn initiate(&self, mut payment: Payment, open: &OpenAccount) -> Result<Payment, PaymentError> {
        let attempt = payment.latest_attempt().clone();
        let request = self.initiate_request(&payment, &attempt);
        // A caller that is answered "in doubt" knows more than one whose deadline passed.
        let patience = deadline::remaining(Duration::MAX).saturating_sub(ANSWER_MARGIN);
        let evidence = tokio::time::timeout(patience, open.channel.initiate(&request))
            .await
            .unwrap_or(Evidence::UNCLEAR);
        crash_point("payment.create.called");
        if let Evidence::ActionRequired { action, refs } = &evidence {
            let next_query = self.next_query(&payment, &attempt);
            if store::payment::await_payer(&self.pool, &payment, attempt.id, action, refs, next_query).await?
            {
                crash_point("payment.create.initiated");
                payment.state = PaymentState::Pending;
                if let Some(attempt) = payment.attempts.last_mut() {
                    attempt.state = AttemptState::Pending { action: action.clone() };
                    attempt.refs.clone_from(refs);
                    attempt.in_doubt = false;
                }
                return Ok(payment);
            }
        }
        self.record(&payment, &attempt, open, evidence).await?;
        self.payment(payment.merchant_id, payment.id).await
    }

    /// Returns a payment that another call has made, once that call has heard from the channel; as it is when the
    /// deadline nears before.
    async fn await_answer(&self, merchant_id: MerchantId, id: PaymentId) -> Result<Payment, PaymentError> {
        let answered = wait_for::<_, PaymentError, _>(|| async {
            let payment = self.payment(merchant_id, id).await?;
            let attempt = payment.latest_attempt();
            let under_way =
                attempt.state == AttemptState::Initiated && attempt.schedule.is_leased(self.clock.now());
            Ok(if under_way { None } else { Some(payment) })
        })
        .await?;
        match answered {
            Some(payment) => Ok(payment),
            None => self.payment(merchant_id, id).await,
        }
    }
}

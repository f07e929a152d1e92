//! Posting: many movements, few statements.
//!
//! However many payments and refunds a batch of events has, it is posted with one insert of transfers, one of entries,
//! and one update per account. Accounts are locked last, so that the hottest rows are held for the shortest time.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use sqlx::PgConnection;
use tael_ids::{AccountId, MerchantId, PaymentId, TransferId};
use tael_money::{Money, MoneyError};

use crate::domain::channel::Channel;
use crate::domain::fee_schedule::{FeeTerms, Terms, TermsInForce};
use crate::domain::ledger::account::{AccountKey, Direction};
use crate::domain::ledger::posting::{
    self, PaymentCaptured, PostedFee, PostedPayment, PostingError, RefundCompleted, Suspension,
};
use crate::domain::ledger::rules::PostingRules;
use crate::domain::ledger::transfer::{Component, NewTransfer, TransferKind};
use crate::store;
use crate::store::ledger::accounts::Sums;

/// Why movements were not posted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostError {
    #[error("the movement can't be posted")]
    Refused(#[from] PostingError),
    #[error("transfer {0}: its payment, refund or event was posted before with other facts")]
    PostedDifferently(TransferId),
    /// Another consumer posted a payment of this batch at the same moment. Tried again, its refunds find it.
    #[error("a payment was posted by another transaction meanwhile")]
    Outrun,
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

/// Posts payments and refunds, each once: what was posted before with the same facts is passed over.
#[tracing::instrument(name = "ledger.post", skip_all, fields(tael.payments = payments.len(), tael.refunds = refunds.len()))]
pub(crate) async fn post_movements(
    conn: &mut PgConnection,
    rules: &PostingRules,
    payments: &[PaymentCaptured],
    refunds: &[RefundCompleted],
    now: Timestamp,
) -> Result<(), PostError> {
    if payments.is_empty() && refunds.is_empty() {
        return Ok(());
    }
    let mut transfers = payment_transfers(conn, rules, payments).await?;
    let mut leaned_on = HashSet::new();
    if !refunds.is_empty() {
        let in_batch: HashMap<(MerchantId, PaymentId), PostedPayment> = payments
            .iter()
            .zip(&transfers)
            .map(|(payment, transfer)| {
                ((payment.merchant_id, payment.payment_id), posted_payment(payment, transfer))
            })
            .collect();
        let before =
            store::ledger::transfers::posted_payments(conn, &distinct(refunds.iter().map(payment_of)))
                .await?;
        for refund in refunds {
            let key = payment_of(refund);
            // What the ledger has counts before what this batch says: the rates may have changed in between.
            let payment = before.get(&key).or_else(|| {
                leaned_on.insert(key);
                in_batch.get(&key)
            });
            let payment = payment.ok_or(PostingError::UnknownPayment {
                refund_id: refund.refund_id,
                payment_id: refund.payment_id,
            })?;
            transfers.push(posting::refund(refund, payment, rules)?);
        }
    }
    let new = post(conn, &transfers, now).await?;
    let mut posted_now = transfers
        .iter()
        .filter(|t| t.reason.kind() == TransferKind::Payment && new.contains(&t.id))
        .filter_map(|t| Some((t.merchant_id, t.reason.payment_id()?)));
    let posted_now: HashSet<_> = posted_now.by_ref().collect();
    if leaned_on.is_subset(&posted_now) { Ok(()) } else { Err(PostError::Outrun) }
}

/// Posts what was held and released, each once, like [`post_movements`]. A release whose hold was never posted is
/// refused by the database.
#[tracing::instrument(name = "ledger.suspend", skip_all, fields(tael.holds = holds.len(), tael.releases = releases.len()))]
pub(crate) async fn post_suspensions(
    conn: &mut PgConnection,
    rules: &PostingRules,
    holds: &[Suspension],
    releases: &[Suspension],
    now: Timestamp,
) -> Result<(), PostError> {
    let transfers: Vec<NewTransfer> = holds
        .iter()
        .map(|held| posting::hold(held, rules))
        .chain(releases.iter().map(|released| posting::release(released, rules)))
        .collect::<Result<_, _>>()?;
    post(conn, &transfers, now).await?;
    Ok(())
}

/// What a refund in the same batch of events needs to know of a payment that is about to be posted.
fn posted_payment(payment: &PaymentCaptured, transfer: &NewTransfer) -> PostedPayment {
    let terms = transfer.reason.terms().map_or(Terms::NONE, |in_force| in_force.terms);
    let fee = |part, terms: FeeTerms| PostedFee {
        amount: Money::new(transfer.components.minor(part), payment.amount.currency()),
        is_returned: terms.returned_on_refund,
    };
    PostedPayment {
        amount: payment.amount,
        received: payment.received,
        fee: fee(Component::Fee, terms.fee),
        channel_fee: fee(Component::ChannelFee, terms.channel_fee),
    }
}

async fn payment_transfers(
    conn: &mut PgConnection,
    rules: &PostingRules,
    payments: &[PaymentCaptured],
) -> Result<Vec<NewTransfer>, PostError> {
    if payments.is_empty() {
        return Ok(Vec::new());
    }
    let at = |payment: &PaymentCaptured| -> (MerchantId, Channel) {
        (payment.merchant_id, payment.channel_ref.channel)
    };
    let terms = store::fee_schedule::terms_in_force(conn, &distinct(payments.iter().map(at))).await?;
    let transfers = payments.iter().map(|payment| {
        let in_force = terms.get(&at(payment)).copied().unwrap_or(TermsInForce::NONE);
        posting::payment(payment, in_force, rules)
    });
    Ok(transfers.collect::<Result<_, _>>()?)
}

fn payment_of(refund: &RefundCompleted) -> (MerchantId, PaymentId) {
    (refund.merchant_id, refund.payment_id)
}

/// Posts transfers and returns the ids of those that were not posted before.
pub(crate) async fn post(
    conn: &mut PgConnection,
    transfers: &[NewTransfer],
    now: Timestamp,
) -> Result<HashSet<TransferId>, PostError> {
    let keys = distinct(transfers.iter().flat_map(|t| &t.entries).map(|entry| entry.account));
    let accounts = ensure_accounts(conn, &keys).await?;
    let new = store::ledger::transfers::insert(conn, transfers, now).await?;
    let (inserted, repeated): (Vec<&NewTransfer>, Vec<_>) =
        transfers.iter().partition(|t| new.contains(&t.id));
    if !repeated.is_empty()
        && let Some(different) = store::ledger::transfers::first_different(conn, &repeated).await?
    {
        return Err(PostError::PostedDifferently(different));
    }
    if inserted.is_empty() {
        return Ok(new);
    }
    store::ledger::transfers::insert_entries(conn, &inserted, &accounts).await?;
    let sums = sums(&inserted, &accounts)?;
    let ids: Vec<_> = sums.iter().map(|s| (s.merchant_id, s.account_id)).collect();
    store::ledger::accounts::lock(conn, &ids).await?;
    store::ledger::accounts::add(conn, &sums).await?;
    Ok(new)
}

/// Returns the ids of accounts, creating those that do not exist.
pub(crate) async fn ensure_accounts(
    conn: &mut PgConnection,
    keys: &[AccountKey],
) -> Result<HashMap<AccountKey, AccountId>, sqlx::Error> {
    let found = store::ledger::accounts::find(conn, keys).await?;
    if found.len() == keys.len() {
        return Ok(found);
    }
    let missing: Vec<_> = keys.iter().copied().filter(|key| !found.contains_key(key)).collect();
    store::ledger::accounts::create(conn, &missing).await?;
    store::ledger::accounts::find(conn, keys).await
}

/// Adds up what the entries bring to each account.
fn sums(
    transfers: &[&NewTransfer],
    accounts: &HashMap<AccountKey, AccountId>,
) -> Result<Vec<Sums>, PostError> {
    let mut sums: HashMap<AccountKey, Sums> = HashMap::with_capacity(accounts.len());
    for entry in transfers.iter().flat_map(|t| &t.entries) {
        let sum = sums.entry(entry.account).or_insert(Sums {
            merchant_id: entry.account.merchant_id,
            account_id: *accounts.get(&entry.account).ok_or(sqlx::Error::RowNotFound)?,
            debits_minor: 0,
            credits_minor: 0,
        });
        let side = match entry.direction {
            Direction::Debit => &mut sum.debits_minor,
            Direction::Credit => &mut sum.credits_minor,
        };
        *side = side
            .checked_add(entry.amount.minor())
            .ok_or(PostError::Refused(PostingError::Money(MoneyError::Overflow)))?;
    }
    Ok(sums.into_values().collect())
}

/// Each value once, in the order of their first appearance.
fn distinct<T: Copy + Eq + std::hash::Hash>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = HashSet::new();
    values.filter(|value| seen.insert(*value)).collect()
}

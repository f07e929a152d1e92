//! How transfers are posted: by rules that are rows of the database.

use std::collections::{BTreeMap, HashMap};

use tael_ids::MerchantId;
use tael_money::{Currency, Money, MoneyError};

use super::account::{AccountKey, AccountKind, Direction};
use super::transfer::{Component, Components, NewEntry, TransferKind};
use crate::domain::channel::Channel;

/// One rule: which kind of account a component moves, and to which side; a component below zero to the other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PostingRule {
    pub(crate) component: Component,
    pub(crate) account: AccountKind,
    pub(crate) direction: Direction,
}

/// The rules of every kind of transfer that this build knows. They never change: other rules are another kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct PostingRules(HashMap<TransferKind, Vec<PostingRule>>);

impl PostingRules {
    pub(crate) fn new(rules: impl IntoIterator<Item = (TransferKind, PostingRule)>) -> Self {
        let mut by_kind: HashMap<_, Vec<_>> = HashMap::new();
        for (kind, rule) in rules {
            by_kind.entry(kind).or_default().push(rule);
        }
        Self(by_kind)
    }

    /// The entries of a transfer: for each kind of account what the rules bring there, on one side, debits first.
    pub(crate) fn entries(
        &self,
        kind: TransferKind,
        components: &Components,
        merchant_id: MerchantId,
        channel: Option<Channel>,
        currency: Currency,
    ) -> Result<Vec<NewEntry>, MoneyError> {
        let mut debits: BTreeMap<AccountKind, Money> = BTreeMap::new();
        for rule in self.0.get(&kind).into_iter().flatten() {
            let Some(amount) = components.get(rule.component) else { continue };
            let debit = match rule.direction {
                Direction::Debit => amount,
                Direction::Credit => amount.checked_neg()?,
            };
            let sum = debits.entry(rule.account).or_insert_with(|| Money::zero(currency));
            *sum = sum.checked_add(debit)?;
        }
        let mut entries = Vec::with_capacity(debits.len());
        for (account, debit) in debits {
            let account = AccountKey::of(account, merchant_id, channel, currency);
            if debit.is_positive() {
                entries.push(NewEntry { account, direction: Direction::Debit, amount: debit });
            } else if debit.is_negative() {
                entries.push(NewEntry {
                    account,
                    direction: Direction::Credit,
                    amount: debit.checked_neg()?,
                });
            }
        }
        entries.sort_by_key(|entry| (entry.direction, entry.account.kind));
        Ok(entries)
    }
}

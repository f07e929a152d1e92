//! Domain values on the wire.

use tael_grpc::convert::{money, timestamp};
use tael_grpc::status::broken_invariant;
use tael_proto::settlement::v1 as wire;
use tael_proto::r#type::v1::Channel as WireChannel;
use tonic::Status;

use crate::domain::channel::Channel;
use crate::domain::fee_schedule::{FeeSchedule, FeeTerms};
use crate::domain::ledger::account::{Account, AccountKind, Direction};
use crate::domain::ledger::transfer::{Entry, Transfer, TransferKind};
use crate::domain::reconciliation::{Break, Difference, Reconciliation};
use crate::domain::settlement_batch::{Batch, BatchLine, StatementLine};
use crate::store::ledger::check::{CurrencySum, LedgerCheck};

fn to_channel(channel: Channel) -> WireChannel {
    match channel {
        Channel::Alipay => WireChannel::Alipay,
    }
}

fn to_account_kind(kind: AccountKind) -> wire::AccountKind {
    match kind {
        AccountKind::ChannelReceivable => wire::AccountKind::ChannelReceivable,
        AccountKind::MerchantPayable => wire::AccountKind::MerchantPayable,
        AccountKind::PayoutPayable => wire::AccountKind::PayoutPayable,
        AccountKind::FeeIncome => wire::AccountKind::FeeIncome,
        AccountKind::ChannelCost => wire::AccountKind::ChannelCost,
        AccountKind::Suspense => wire::AccountKind::Suspense,
    }
}

fn to_direction(direction: Direction) -> wire::Direction {
    match direction {
        Direction::Debit => wire::Direction::Debit,
        Direction::Credit => wire::Direction::Credit,
    }
}

fn to_transfer_kind(kind: TransferKind) -> wire::TransferKind {
    match kind {
        TransferKind::Payment => wire::TransferKind::Payment,
        TransferKind::Refund => wire::TransferKind::Refund,
        TransferKind::Batch => wire::TransferKind::Batch,
        TransferKind::Hold => wire::TransferKind::Hold,
        TransferKind::Release => wire::TransferKind::Release,
    }
}

/// An id that may be absent, as the contract writes it: empty.
fn text<T: ToString>(id: Option<T>) -> String {
    id.map(|id| id.to_string()).unwrap_or_default()
}

pub(super) fn to_fee_schedule(schedule: &FeeSchedule) -> wire::FeeSchedule {
    wire::FeeSchedule {
        channel: to_channel(schedule.channel).into(),
        fee: Some(to_fee_terms(&schedule.terms.fee)),
        channel_fee: Some(to_fee_terms(&schedule.terms.channel_fee)),
    }
}

fn to_fee_terms(terms: &FeeTerms) -> wire::FeeTerms {
    wire::FeeTerms {
        rate: terms.rate.to_string(),
        fixed: terms.fixed.map(money),
        minimum: terms.minimum.map(money),
        maximum: terms.maximum.map(money),
        kept_on_refund: !terms.returned_on_refund,
    }
}

pub(super) fn to_account(account: &Account) -> wire::Account {
    wire::Account {
        account_id: account.id.to_string(),
        merchant_id: account.key.merchant_id.to_string(),
        kind: to_account_kind(account.key.kind).into(),
        channel: account.key.channel.map_or(WireChannel::Unspecified, to_channel).into(),
        debits: Some(money(account.debits)),
        credits: Some(money(account.credits)),
    }
}

pub(super) fn to_transfer(transfer: &Transfer) -> wire::Transfer {
    wire::Transfer {
        transfer_id: transfer.id.to_string(),
        kind: to_transfer_kind(transfer.kind).into(),
        payment_id: text(transfer.payment_id),
        refund_id: text(transfer.refund_id),
        batch_id: text(transfer.batch_id),
        entries: transfer.entries.iter().map(to_entry).collect(),
        occur_time: Some(timestamp(transfer.occur_time)),
        post_time: Some(timestamp(transfer.post_time)),
        components: transfer
            .components
            .iter()
            .map(|(component, amount)| wire::TransferComponent {
                component: component.clone(),
                amount: Some(money(*amount)),
            })
            .collect(),
        channel_transaction_id: transfer.channel_transaction_id.clone().unwrap_or_default(),
        made_at_channel: transfer.made_at_channel,
    }
}

fn to_entry(entry: &Entry) -> wire::Entry {
    wire::Entry {
        account_id: entry.account_id.to_string(),
        kind: to_account_kind(entry.kind).into(),
        direction: to_direction(entry.direction).into(),
        amount: Some(money(entry.amount)),
    }
}

pub(super) fn to_batch(batch: &Batch) -> wire::Batch {
    wire::Batch {
        batch_id: batch.id.to_string(),
        merchant_id: batch.merchant_id.to_string(),
        cut_off_time: Some(timestamp(batch.cut_off_time)),
        payment_count: batch.payment_count,
        refund_count: batch.refund_count,
        gross: Some(money(batch.gross)),
        refunds: Some(money(batch.refunds)),
        fees: Some(money(batch.fees)),
        fees_returned: Some(money(batch.fees_returned)),
        held: Some(money(batch.held)),
        released: Some(money(batch.released)),
        net: Some(money(batch.net)),
        close_time: Some(timestamp(batch.close_time)),
        lines: batch.lines.iter().map(to_batch_line).collect(),
    }
}

fn to_batch_line(line: &BatchLine) -> wire::BatchLine {
    wire::BatchLine {
        kind: to_transfer_kind(line.kind).into(),
        component: line.component.clone(),
        transfer_count: line.transfer_count,
        amount: Some(money(line.amount)),
    }
}

pub(super) fn to_line(line: &StatementLine) -> Result<wire::StatementLine, Status> {
    let net = line.net().map_err(|error| broken_invariant(&error))?;
    Ok(wire::StatementLine {
        kind: to_transfer_kind(line.kind).into(),
        transfer_id: line.transfer_id.to_string(),
        payment_id: line.payment_id.to_string(),
        refund_id: text(line.refund_id),
        amount: Some(money(line.amount)),
        fee: Some(money(line.fee)),
        net: Some(money(net)),
        occur_time: Some(timestamp(line.occur_time)),
        coupon: line.coupon.map(money),
    })
}

pub(super) fn to_reconciliation(reconciliation: Reconciliation) -> wire::Reconciliation {
    wire::Reconciliation {
        reconciliation_id: reconciliation.id.to_string(),
        merchant_id: reconciliation.merchant_id.to_string(),
        channel_account_id: reconciliation.channel_account_id.to_string(),
        statement_date: reconciliation.statement_date.to_string(),
        statement_lines: reconciliation.counts.statement_lines,
        matched: reconciliation.counts.matched,
        breaks: reconciliation.breaks.into_iter().map(to_break).collect(),
        break_count: reconciliation.counts.breaks,
        create_time: Some(timestamp(reconciliation.create_time)),
    }
}

fn to_break(found: Break) -> wire::Break {
    let (kind, ledger, statement, problem) = match found.difference {
        Difference::MissingInLedger { statement } => {
            (wire::BreakKind::MissingInLedger, None, Some(statement), String::new())
        }
        Difference::MissingInStatement { ledger } => {
            (wire::BreakKind::MissingInStatement, Some(ledger), None, String::new())
        }
        Difference::Amount { ledger, statement } => {
            (wire::BreakKind::Amount, Some(ledger), Some(statement), String::new())
        }
        Difference::Received { ledger, statement } => {
            (wire::BreakKind::Received, Some(ledger), Some(statement), String::new())
        }
        Difference::Fee { ledger, statement } => {
            (wire::BreakKind::Fee, Some(ledger), Some(statement), String::new())
        }
        Difference::Unreadable { problem } => (wire::BreakKind::Unreadable, None, None, problem),
    };
    wire::Break {
        kind: kind.into(),
        number: found.number,
        ledger_amount: ledger.map(|side| money(side.amount)),
        statement_amount: statement.map(|side| money(side.amount)),
        ledger_fee: ledger.map(|side| money(side.fee)),
        statement_fee: statement.map(|side| money(side.fee)),
        ledger_received: ledger.map(|side| money(side.received)),
        statement_received: statement.map(|side| money(side.received)),
        problem,
    }
}

pub(super) fn to_check(check: LedgerCheck) -> wire::CheckLedgerResponse {
    let to_sum = |sum: CurrencySum| wire::CurrencySum {
        debits: Some(money(sum.debits)),
        credits: Some(money(sum.credits)),
    };
    wire::CheckLedgerResponse {
        sums: check.sums.into_iter().map(to_sum).collect(),
        transfer_count: check.transfer_count,
        unbalanced_transfer_ids: check.unbalanced.iter().map(ToString::to_string).collect(),
        wrong_account_ids: check.wrong_accounts.iter().map(ToString::to_string).collect(),
    }
}

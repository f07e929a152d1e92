use proptest::prelude::*;
use tael_ids::{ChannelAccountId, EventId};
use tael_money::{Currency, Rate};

use super::*;
use crate::domain::channel::Channel;
use crate::domain::ledger::account::AccountKind;
use crate::domain::ledger::transfer::TransferKind;

fn channel_ref() -> ChannelRef {
    ChannelRef {
        channel: Channel::Alipay,
        channel_account_id: ChannelAccountId::new(),
        event_id: EventId::new(),
    }
}

fn taken(amount: Money) -> PaymentCaptured {
    PaymentCaptured {
        merchant_id: MerchantId::new(),
        payment_id: PaymentId::new(),
        attempt_id: AttemptId::new(),
        amount,
        channel_ref: channel_ref(),
        occur_time: Timestamp::UNIX_EPOCH,
    }
}

fn made(of: &PaymentCaptured, amount: Money, refunded_total: Money) -> RefundCompleted {
    RefundCompleted {
        merchant_id: of.merchant_id,
        payment_id: of.payment_id,
        refund_id: RefundId::new(),
        reversed_attempt: None,
        amount,
        refunded_total,
        channel_ref: channel_ref(),
        occur_time: Timestamp::UNIX_EPOCH,
    }
}

fn posted(transfer: &NewTransfer) -> PostedPayment {
    PostedPayment { amount: transfer.gross, fees: transfer.fees }
}

fn rates(fee: &str, channel: &str) -> Rates {
    Rates { fee: Rate::parse(fee).unwrap(), channel: Rate::parse(channel).unwrap() }
}

fn cny(minor: i64) -> Money {
    Money::new(minor, Currency::CNY)
}

/// The entries as a banker writes them.
fn sides(transfer: &NewTransfer) -> Vec<(Direction, AccountKind, i64)> {
    transfer.entries.iter().map(|e| (e.direction, e.account.kind, e.amount.minor())).collect()
}

use AccountKind::{ChannelCost, ChannelReceivable, FeeIncome, MerchantPayable, PayoutPayable, Suspense};
use Direction::{Credit, Debit};

#[test]
fn a_payment_is_split_into_receivable_cost_payable_and_fee() {
    let transfer = payment(&taken(cny(10_000)), rates("0.006", "0.0038")).unwrap();
    assert_eq!(
        sides(&transfer),
        [
            (Debit, ChannelReceivable, 9_962),
            (Debit, ChannelCost, 38),
            (Credit, MerchantPayable, 9_940),
            (Credit, FeeIncome, 60),
        ]
    );
}

#[test]
fn entries_of_nothing_are_left_out() {
    let table = [
        ("0", "0", vec![(Debit, ChannelReceivable, 10), (Credit, MerchantPayable, 10)]),
        ("1", "0", vec![(Debit, ChannelReceivable, 10), (Credit, FeeIncome, 10)]),
        ("0", "1", vec![(Debit, ChannelCost, 10), (Credit, MerchantPayable, 10)]),
    ];
    for (fee, channel, expected) in table {
        let transfer = payment(&taken(cny(10)), rates(fee, channel)).unwrap();
        assert_eq!(sides(&transfer), expected, "fee {fee}, channel {channel}");
    }
}

#[test]
fn a_refund_turns_its_share_of_the_payment_round() {
    let taken = taken(cny(10_000));
    let paid = posted(&payment(&taken, rates("0.006", "0.0038")).unwrap());
    let transfer = refund(&made(&taken, cny(2_500), cny(2_500)), &paid).unwrap();
    // A quarter of 38 is 9.5: the first refund gets 10, those after it 28 together.
    assert_eq!(
        sides(&transfer),
        [
            (Debit, MerchantPayable, 2_485),
            (Debit, FeeIncome, 15),
            (Credit, ChannelReceivable, 2_490),
            (Credit, ChannelCost, 10),
        ]
    );
    let rest = refund(&made(&taken, cny(7_500), cny(10_000)), &paid).unwrap();
    assert_eq!((rest.fees.fee, rest.fees.channel_fee), (cny(45), cny(28)));
}

#[test]
fn a_batch_moves_its_net_amount_either_way_or_not_at_all() {
    let close = |net| {
        let transfer = batch(MerchantId::new(), BatchId::new(), cny(net), Timestamp::UNIX_EPOCH).unwrap();
        transfer.map(|t| sides(&t))
    };
    assert_eq!(close(7), Some(vec![(Debit, MerchantPayable, 7), (Credit, PayoutPayable, 7)]));
    assert_eq!(close(-7), Some(vec![(Debit, PayoutPayable, 7), (Credit, MerchantPayable, 7)]));
    assert_eq!(close(0), None);
}

fn suspension_of(taken: &PaymentCaptured) -> Suspension {
    Suspension {
        merchant_id: taken.merchant_id,
        payment_id: taken.payment_id,
        amount: taken.amount,
        event_id: EventId::new(),
        occur_time: Timestamp::UNIX_EPOCH,
    }
}

#[test]
fn a_hold_takes_all_into_suspense_and_a_release_gives_it_back() {
    let suspension = suspension_of(&taken(cny(10_000)));
    let held = hold(&suspension).unwrap();
    assert_eq!(sides(&held), [(Debit, MerchantPayable, 10_000), (Credit, Suspense, 10_000)]);
    let released = release(&suspension).unwrap();
    assert_eq!(sides(&released), [(Debit, Suspense, 10_000), (Credit, MerchantPayable, 10_000)]);
    for transfer in [held, released] {
        assert_eq!(transfer.gross, cny(10_000));
        assert_eq!((transfer.fees.fee, transfer.fees.channel_fee), (cny(0), cny(0)));
        assert_eq!((transfer.reason.channel_ref(), transfer.reason.number()), (None, None));
        assert_eq!(transfer.reason.event_id(), Some(suspension.event_id));
        assert_eq!(transfer.reason.payment_id(), Some(suspension.payment_id));
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for minor in [0, -1, i64::MIN] {
        let refused = payment(&taken(cny(minor)), Rates::NONE);
        assert!(matches!(refused, Err(PostingError::NoAmount(_))), "{minor}");
        for suspend in [hold, release] {
            let refused = suspend(&suspension_of(&taken(cny(minor))));
            assert!(matches!(refused, Err(PostingError::NoAmount(_))), "{minor}");
        }
    }
    let taken = taken(cny(100));
    let paid = posted(&payment(&taken, Rates::NONE).unwrap());
    for (amount, total) in [(0, 50), (-1, 50)] {
        let refused = refund(&made(&taken, cny(amount), cny(total)), &paid);
        assert!(matches!(refused, Err(PostingError::NoRefundAmount(_))), "{amount} of {total}");
    }
    for (amount, total) in [(101, 101), (50, 101), (50, 49), (i64::MAX, i64::MAX)] {
        let refused = refund(&made(&taken, cny(amount), cny(total)), &paid);
        assert!(matches!(refused, Err(PostingError::ExceedsPayment { .. })), "{amount} of {total}");
    }
    for (amount, total) in
        [(Money::new(5, Currency::JPY), cny(5)), (Money::new(5, Currency::JPY), Money::new(5, Currency::JPY))]
    {
        let refused = refund(&made(&taken, amount, total), &paid);
        assert!(matches!(refused, Err(PostingError::Money(_))), "{amount} of {total}");
    }
}

fn any_currency() -> impl Strategy<Value = Currency> {
    prop::sample::select(vec![Currency::JPY, Currency::CNY, Currency::KWD])
}

fn any_rate() -> impl Strategy<Value = Rate> {
    // Up to eight decimals: 0 to 1.
    (0_u32..=100_000_000)
        .prop_map(|n| Rate::parse(&format!("{}.{:08}", n / 100_000_000, n % 100_000_000)).unwrap())
}

/// A payment's amount and the sums refunded after each of its refunds, the last of which is the amount.
fn any_refunds() -> impl Strategy<Value = (i64, Vec<i64>)> {
    prop_oneof![1_i64..200, 1_i64..=i64::MAX].prop_flat_map(|amount| {
        prop::collection::btree_set(1..=amount, 0..8).prop_map(move |mut totals| {
            totals.insert(amount);
            (amount, totals.into_iter().collect())
        })
    })
}

proptest! {
    #[test]
    fn debits_equal_credits_and_a_full_refund_leaves_nothing(
        currency in any_currency(),
        fee in any_rate(),
        channel in any_rate(),
        (amount, totals) in any_refunds(),
        shuffled in any::<bool>(),
    ) {
        let taken = taken(Money::new(amount, currency));
        let paid = payment(&taken, Rates { fee, channel }).unwrap();
        let mut transfers = vec![paid.clone()];
        let mut before = 0;
        for total in totals {
            let made = made(&taken, Money::new(total - before, currency), Money::new(total, currency));
            transfers.push(refund(&made, &posted(&paid)).unwrap());
            before = total;
        }
        if shuffled {
            transfers.reverse(); // the order of posting does not matter
        }

        let mut balances = std::collections::HashMap::<AccountKey, i128>::new();
        for transfer in &transfers {
            let mut difference = 0;
            for entry in &transfer.entries {
                prop_assert!(entry.amount.is_positive());
                prop_assert_eq!(entry.amount.currency(), currency);
                let signed = match entry.direction {
                    Direction::Debit => i128::from(entry.amount.minor()),
                    Direction::Credit => -i128::from(entry.amount.minor()),
                };
                difference += signed;
                *balances.entry(entry.account).or_default() += signed;
            }
            prop_assert_eq!(difference, 0);
            prop_assert!(!transfer.fees.fee.is_negative() && !transfer.fees.channel_fee.is_negative());
        }
        for (account, balance) in balances {
            prop_assert_eq!(balance, 0, "{:?} keeps something", account.kind);
        }
    }

    #[test]
    fn suspense_is_what_is_held_and_not_released_in_any_order(
        currency in any_currency(),
        fee in any_rate(),
        histories in prop::collection::vec((1_i64..1_000_000_000_000, any::<bool>(), any::<bool>(), any::<bool>()), 1..12),
        order in prop::collection::vec(any::<prop::sample::Index>(), 48),
    ) {
        let merchant_id = MerchantId::new();
        // Of each payment, two logs: what the channel did with its money, and what the order did.
        let mut logs = Vec::new();
        for (amount, refunded, held, released) in histories {
            let taken = PaymentCaptured { merchant_id, ..taken(Money::new(amount, currency)) };
            let paid = payment(&taken, Rates { fee, channel: Rate::ZERO }).unwrap();
            let refund = refund(&made(&taken, taken.amount, taken.amount), &posted(&paid)).unwrap();
            logs.push(if refunded { vec![paid, refund] } else { vec![paid] });
            let suspension = suspension_of(&taken);
            let mut suspended = Vec::new();
            if held {
                suspended.push(hold(&suspension).unwrap());
            }
            if held && released {
                suspended.push(release(&suspension).unwrap());
            }
            logs.push(suspended);
        }

        let (mut suspense, mut held_and_not_released) = (0_i128, 0_i128);
        let mut balances = std::collections::HashMap::<AccountKind, i128>::new();
        for pick in order {
            logs.retain(|log| !log.is_empty());
            if logs.is_empty() {
                break;
            }
            let log = pick.index(logs.len());
            let transfer = logs[log].remove(0);
            let gross = i128::from(transfer.gross.minor());
            match transfer.reason.kind() {
                TransferKind::Hold => held_and_not_released += gross,
                TransferKind::Release => held_and_not_released -= gross,
                TransferKind::Payment | TransferKind::Refund | TransferKind::Batch => {}
            }
            for entry in &transfer.entries {
                let signed = match entry.direction {
                    Direction::Debit => i128::from(entry.amount.minor()),
                    Direction::Credit => -i128::from(entry.amount.minor()),
                };
                *balances.entry(entry.account.kind).or_default() += signed;
                if entry.account.kind == Suspense {
                    suspense -= signed;
                }
            }
            prop_assert_eq!(balances.values().sum::<i128>(), 0);
            prop_assert_eq!(suspense, held_and_not_released);
            prop_assert!(suspense >= 0);
        }
        prop_assert!(logs.iter().all(Vec::is_empty));
    }
}

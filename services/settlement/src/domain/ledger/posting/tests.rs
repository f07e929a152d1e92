use proptest::prelude::*;
use tael_ids::{ChannelAccountId, EventId};
use tael_money::{Currency, Rate};

use super::*;
use crate::domain::channel::Channel;
use crate::domain::fee_schedule::{FeeTerms, Terms};
use crate::domain::ledger::account::{AccountKind, Direction};
use crate::domain::ledger::rules::PostingRule;
use crate::domain::ledger::transfer::TransferKind;

fn channel_ref() -> ChannelRef {
    ChannelRef {
        channel: Channel::Alipay,
        channel_account_id: ChannelAccountId::new(),
        transaction_id: Some("2026112022001".to_owned()),
        event_id: EventId::new(),
    }
}

/// The rules as a banker writes them; that the database has the same is for the tests on a database to show.
fn rules() -> PostingRules {
    use Component::{ChannelFee, Fee, Held, Net, Received};
    use TransferKind as K;
    let rules = [
        (K::Payment, Received, ChannelReceivable, MerchantPayable),
        (K::Payment, Fee, MerchantPayable, FeeIncome),
        (K::Payment, ChannelFee, ChannelCost, ChannelReceivable),
        (K::Refund, Received, MerchantPayable, ChannelReceivable),
        (K::Refund, Fee, FeeIncome, MerchantPayable),
        (K::Refund, ChannelFee, ChannelReceivable, ChannelCost),
        (K::Hold, Held, MerchantPayable, Suspense),
        (K::Release, Held, Suspense, MerchantPayable),
        (K::Batch, Net, MerchantPayable, PayoutPayable),
    ];
    PostingRules::new(rules.into_iter().flat_map(|(kind, component, debit, credit)| {
        [(debit, Debit), (credit, Credit)]
            .map(|(account, direction)| (kind, PostingRule { component, account, direction }))
    }))
}

fn captured(amount: Money) -> PaymentCaptured {
    PaymentCaptured {
        merchant_id: MerchantId::new(),
        payment_id: PaymentId::new(),
        attempt_id: AttemptId::new(),
        amount,
        received: amount,
        channel_ref: channel_ref(),
        occur_time: Timestamp::UNIX_EPOCH,
    }
}

fn completed(of: &PaymentCaptured, amount: Money, refunded_total: Money) -> RefundCompleted {
    RefundCompleted {
        merchant_id: of.merchant_id,
        payment_id: of.payment_id,
        refund_id: RefundId::new(),
        origin: RefundOrigin::Requested,
        amount,
        received: None,
        refunded_total,
        channel_ref: channel_ref(),
        occur_time: Timestamp::UNIX_EPOCH,
    }
}

fn posted(transfer: &NewTransfer) -> PostedPayment {
    let amount = |component| Money::new(transfer.components.minor(component), transfer.gross.currency());
    let terms = transfer.reason.terms().unwrap().terms;
    PostedPayment {
        amount: transfer.gross,
        received: amount(Component::Received),
        fee: PostedFee { amount: amount(Component::Fee), is_returned: terms.fee.returned_on_refund },
        channel_fee: PostedFee {
            amount: amount(Component::ChannelFee),
            is_returned: terms.channel_fee.returned_on_refund,
        },
    }
}

fn terms(fee: FeeTerms, channel_fee: FeeTerms) -> TermsInForce {
    TermsInForce { version: Some(1), terms: Terms { fee, channel_fee } }
}

fn rates(fee: &str, channel: &str) -> TermsInForce {
    let rate = |text| FeeTerms::rate(Rate::parse(text).unwrap());
    terms(rate(fee), rate(channel))
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
    let transfer = payment(&captured(cny(10_000)), rates("0.006", "0.0038"), &rules()).unwrap();
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
        let transfer = payment(&captured(cny(10)), rates(fee, channel), &rules()).unwrap();
        assert_eq!(sides(&transfer), expected, "fee {fee}, channel {channel}");
    }
}

#[test]
fn a_refund_turns_its_share_of_the_payment_round() {
    let captured = captured(cny(10_000));
    let paid = posted(&payment(&captured, rates("0.006", "0.0038"), &rules()).unwrap());
    let transfer = refund(&completed(&captured, cny(2_500), cny(2_500)), &paid, &rules()).unwrap();
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
    let rest = refund(&completed(&captured, cny(7_500), cny(10_000)), &paid, &rules()).unwrap();
    assert_eq!(
        (rest.components.minor(Component::Fee), rest.components.minor(Component::ChannelFee)),
        (45, 28)
    );
}

#[test]
fn a_batch_moves_its_net_amount_either_way_or_not_at_all() {
    let close = |net| {
        let transfer =
            batch(MerchantId::new(), BatchId::new(), cny(net), Timestamp::UNIX_EPOCH, &rules()).unwrap();
        transfer.map(|t| sides(&t))
    };
    assert_eq!(close(7), Some(vec![(Debit, MerchantPayable, 7), (Credit, PayoutPayable, 7)]));
    assert_eq!(close(-7), Some(vec![(Debit, PayoutPayable, 7), (Credit, MerchantPayable, 7)]));
    assert_eq!(close(0), None);
}

#[test]
fn a_merchants_coupon_is_owed_by_nobody() {
    let captured = PaymentCaptured { received: cny(9_500), ..captured(cny(10_000)) };
    let paid = payment(&captured, rates("0.006", "0.0038"), &rules()).unwrap();
    // 0.6 % and 0.38 % of what is received.
    assert_eq!(
        sides(&paid),
        [
            (Debit, ChannelReceivable, 9_464),
            (Debit, ChannelCost, 36),
            (Credit, MerchantPayable, 9_443),
            (Credit, FeeIncome, 57),
        ]
    );
    assert_eq!((paid.gross, paid.components.minor(Component::Coupon)), (cny(10_000), 500));

    // The channel does not say what it takes back: a half.
    let half = refund(&completed(&captured, cny(5_000), cny(5_000)), &posted(&paid), &rules()).unwrap();
    let parts = |transfer: &NewTransfer| {
        [Component::Received, Component::Coupon].map(|part| transfer.components.minor(part))
    };
    assert_eq!(parts(&half), [4_750, 250]);
    // It does.
    let said = RefundCompleted { received: Some(cny(4_900)), ..completed(&captured, cny(5_000), cny(5_000)) };
    assert_eq!(parts(&refund(&said, &posted(&paid), &rules()).unwrap()), [4_900, 100]);
}

#[test]
fn what_a_coupon_paid_whole_moves_nothing() {
    let captured = PaymentCaptured { received: cny(0), ..captured(cny(10_000)) };
    let paid = payment(&captured, rates("0.006", "0.0038"), &rules()).unwrap();
    assert_eq!((sides(&paid), paid.gross), (vec![], cny(10_000)));
    assert_eq!(paid.components, Components::new([(Component::Coupon, cny(10_000))]));
}

#[test]
fn a_fee_that_is_kept_is_not_given_back() {
    let kept = FeeTerms { returned_on_refund: false, ..FeeTerms::rate(Rate::parse("0.006").unwrap()) };
    let captured = captured(cny(10_000));
    let paid = payment(&captured, terms(kept, kept), &rules()).unwrap();
    let all = refund(&completed(&captured, cny(10_000), cny(10_000)), &posted(&paid), &rules()).unwrap();
    assert_eq!(sides(&all), [(Debit, MerchantPayable, 10_000), (Credit, ChannelReceivable, 10_000)]);
}

fn suspension_of(captured: &PaymentCaptured) -> Suspension {
    Suspension {
        merchant_id: captured.merchant_id,
        payment_id: captured.payment_id,
        amount: captured.amount,
        event_id: EventId::new(),
        occur_time: Timestamp::UNIX_EPOCH,
    }
}

#[test]
fn a_hold_takes_all_into_suspense_and_a_release_gives_it_back() {
    let suspension = suspension_of(&captured(cny(10_000)));
    let held = hold(&suspension, &rules()).unwrap();
    assert_eq!(sides(&held), [(Debit, MerchantPayable, 10_000), (Credit, Suspense, 10_000)]);
    let released = release(&suspension, &rules()).unwrap();
    assert_eq!(sides(&released), [(Debit, Suspense, 10_000), (Credit, MerchantPayable, 10_000)]);
    for transfer in [held, released] {
        assert_eq!(transfer.gross, cny(10_000));
        assert_eq!(transfer.components, Components::new([(Component::Held, cny(10_000))]));
        assert_eq!((transfer.reason.channel_ref(), transfer.reason.number()), (None, None));
        assert_eq!(transfer.reason.event_id(), Some(suspension.event_id));
        assert_eq!(transfer.reason.payment_id(), Some(suspension.payment_id));
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for minor in [0, -1, i64::MIN] {
        let refused = payment(&captured(cny(minor)), TermsInForce::NONE, &rules());
        assert!(matches!(refused, Err(PostingError::NoAmount(_))), "{minor}");
        for suspend in [hold, release] {
            let refused = suspend(&suspension_of(&captured(cny(minor))), &rules());
            assert!(matches!(refused, Err(PostingError::NoAmount(_))), "{minor}");
        }
    }
    let captured = captured(cny(100));
    for received in [101, -1, i64::MIN + 200] {
        let odd = PaymentCaptured { received: cny(received), ..captured.clone() };
        let refused = payment(&odd, TermsInForce::NONE, &rules());
        assert!(matches!(refused, Err(PostingError::ReceivedBeyondAmount(_))), "{received}: {refused:?}");
    }
    let paid = posted(&payment(&captured, TermsInForce::NONE, &rules()).unwrap());
    for received in [51, -1] {
        let odd = RefundCompleted { received: Some(cny(received)), ..completed(&captured, cny(50), cny(50)) };
        let refused = refund(&odd, &paid, &rules());
        assert!(matches!(refused, Err(PostingError::TakenBackBeyondAmount(_))), "{received}");
    }
    for (amount, total) in [(0, 50), (-1, 50)] {
        let refused = refund(&completed(&captured, cny(amount), cny(total)), &paid, &rules());
        assert!(matches!(refused, Err(PostingError::NoRefundAmount(_))), "{amount} of {total}");
    }
    for (amount, total) in [(101, 101), (50, 101), (50, 49), (i64::MAX, i64::MAX)] {
        let refused = refund(&completed(&captured, cny(amount), cny(total)), &paid, &rules());
        assert!(matches!(refused, Err(PostingError::ExceedsPayment { .. })), "{amount} of {total}");
    }
    for (amount, total) in
        [(Money::new(5, Currency::JPY), cny(5)), (Money::new(5, Currency::JPY), Money::new(5, Currency::JPY))]
    {
        let refused = refund(&completed(&captured, amount, total), &paid, &rules());
        assert!(matches!(refused, Err(PostingError::Money(_))), "{amount} of {total}");
    }
}

fn any_currency() -> impl Strategy<Value = Currency> {
    prop::sample::select(vec![Currency::JPY, Currency::CNY, Currency::KWD])
}

/// Terms whose amounts are in yuan, so that they hold for some of the payments only.
fn any_terms() -> impl Strategy<Value = FeeTerms> {
    crate::domain::fee_schedule::tests::any_terms(Currency::CNY)
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
    fn debits_equal_credits_and_a_full_refund_leaves_nothing_but_fees_that_are_kept(
        currency in any_currency(),
        (fee, channel_fee) in (any_terms(), any_terms()),
        (amount, totals) in any_refunds(),
        coupon in any::<prop::sample::Index>(),
        shuffled in any::<bool>(),
    ) {
        let coupon = i64::try_from(coupon.index(usize::try_from(amount).unwrap())).unwrap();
        let captured = PaymentCaptured {
            received: Money::new(amount - coupon, currency),
            ..captured(Money::new(amount, currency))
        };
        let paid = payment(&captured, terms(fee, channel_fee), &rules()).unwrap();
        let mut transfers = vec![paid.clone()];
        let mut before = 0;
        for total in totals {
            let completed =
                completed(&captured, Money::new(total - before, currency), Money::new(total, currency));
            transfers.push(refund(&completed, &posted(&paid), &rules()).unwrap());
            before = total;
        }
        if shuffled {
            transfers.reverse(); // the order of posting does not matter
        }

        let mut balances = std::collections::HashMap::<AccountKind, i128>::new();
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
                *balances.entry(entry.account.kind).or_default() += signed;
            }
            prop_assert_eq!(difference, 0);
            prop_assert!(transfer.components.iter().all(|(_, amount)| amount.is_positive()));
            let parts = [Component::Received, Component::Coupon].map(|part| transfer.components.minor(part));
            prop_assert_eq!(parts[0] + parts[1], transfer.gross.minor());
        }
        let kept = |terms: FeeTerms, part| {
            if terms.returned_on_refund { 0 } else { i128::from(paid.components.minor(part)) }
        };
        let (fee, channel_fee) = (kept(fee, Component::Fee), kept(channel_fee, Component::ChannelFee));
        let left = |kind| balances.get(&kind).copied().unwrap_or_default();
        prop_assert_eq!(
            [left(ChannelReceivable), left(ChannelCost), left(MerchantPayable), left(FeeIncome)],
            [-channel_fee, channel_fee, fee, -fee]
        );
    }

    #[test]
    fn suspense_is_what_is_held_and_not_released_in_any_order(
        currency in any_currency(),
        fee in any_terms(),
        histories in prop::collection::vec((1_i64..1_000_000_000_000, any::<bool>(), any::<bool>(), any::<bool>()), 1..12),
        order in prop::collection::vec(any::<prop::sample::Index>(), 48),
    ) {
        let merchant_id = MerchantId::new();
        // Of each payment, two logs: what the channel did with its money, and what the order did.
        let mut logs = Vec::new();
        for (amount, refunded, held, released) in histories {
            let captured = PaymentCaptured { merchant_id, ..captured(Money::new(amount, currency)) };
            let paid = payment(&captured, terms(fee, FeeTerms::NONE), &rules()).unwrap();
            let refund = completed(&captured, captured.amount, captured.amount);
            let refund = self::refund(&refund, &posted(&paid), &rules()).unwrap();
            logs.push(if refunded { vec![paid, refund] } else { vec![paid] });
            let suspension = suspension_of(&captured);
            let mut suspended = Vec::new();
            if held {
                suspended.push(hold(&suspension, &rules()).unwrap());
            }
            if held && released {
                suspended.push(release(&suspension, &rules()).unwrap());
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

use jiff::ToSpan;
use proptest::prelude::*;

use super::*;
use crate::channels::alipay::money::FeeRate;

/// What Alipay keeps where the test does not look at it.
const FEE: Fen = Fen(1);

fn noon() -> Timestamp {
    "2026-03-01T04:00:00Z".parse().unwrap()
}

fn spec(total: i64) -> OrderSpec {
    OrderSpec {
        out_trade_no: "order1".to_owned(),
        total: Fen(total),
        subject: "tea".to_owned(),
        body: String::new(),
        store_id: String::new(),
        operator_id: String::new(),
        terminal_id: String::new(),
        notify_url: None,
        charset: Charset::Utf8,
        deadline: Deadline::Default,
        qr_timeout: None,
    }
}

fn unscanned(spec: OrderSpec) -> Order {
    Order::precreate("app", "2088000000000001", spec, "qr1".to_owned(), noon())
}

fn spec_of(out_request_no: &str, fen: i64) -> RefundSpec<'_> {
    RefundSpec { out_request_no, amount: Fen(fen), reason: "", in_console: false }
}

fn buyer() -> Buyer {
    Buyer { user_id: "2088102146225135".to_owned() }
}

fn scanned(spec: OrderSpec) -> Order {
    let mut order = unscanned(spec);
    assert_eq!(order.scan(&buyer(), || "t1".to_owned(), noon()), Ok(true));
    order
}

fn paid(total: i64) -> Order {
    let mut order = scanned(spec(total));
    order.pay(FeeRate::DEFAULT.of(Fen(total)), None, noon()).unwrap();
    order
}

fn status(order: &Order, now: Timestamp) -> Option<TradeStatus> {
    order.trade().map(|trade| trade.status(order.spec.total, now))
}

#[test]
fn timeouts() {
    let minutes = |minutes| Some(Timeout::After(SignedDuration::from_mins(minutes)));
    for (text, wanted) in [
        ("1m", minutes(1)),
        ("90m", minutes(90)),
        ("2h", minutes(120)),
        ("15d", minutes(21_600)),
        ("1c", Some(Timeout::EndOfDay)),
        ("16d", None),
        ("0m", None),
        ("1.5h", None),
        ("-1m", None),
        ("m", None),
        ("", None),
        ("99999999999999999999m", None),
        ("5分", None),
    ] {
        assert_eq!(Timeout::from_wire(text), wanted, "{text:?}");
    }
}

#[test]
fn every_command_in_every_state() {
    type Row = (&'static str, fn() -> Order, [Result<(), Business>; 3]);
    let expired = || scanned(OrderSpec { deadline: Deadline::At(noon() + 30.seconds()), ..spec(100) });
    let closed = || {
        let mut order = scanned(spec(100));
        order.close(noon()).unwrap();
        order
    };
    let refunded = || {
        let mut order = paid(100);
        order.refund(&spec_of("r0", 100), noon()).unwrap();
        order
    };
    let not_exist = Err(Business::TradeNotExist);
    let bad_state = Err(Business::TradeStatusError);
    let rows: [Row; 6] = [
        // state, constructor, [close, refund 40, precreate again]
        ("unscanned", || unscanned(spec(100)), [not_exist, not_exist, Ok(())]),
        ("waiting", || scanned(spec(100)), [Ok(()), bad_state, Ok(())]),
        ("expired", expired, [bad_state, bad_state, Err(Business::TradeHasClose)]),
        ("closed", closed, [bad_state, bad_state, Err(Business::TradeHasClose)]),
        ("paid", || paid(100), [bad_state, Ok(()), Err(Business::TradeHasSuccess)]),
        (
            "refunded",
            refunded,
            [bad_state, Err(Business::RefundAmountNotEqualTotal), Err(Business::TradeHasClose)],
        ),
    ];
    let now = noon() + 1.minute();
    for (name, make, [close, refund, again]) in rows {
        assert_eq!(make().close(now), close, "close when {name}");
        assert_eq!(make().refund(&spec_of("r1", 40), now).map(|_| ()), refund, "refund when {name}");
        assert_eq!(
            make().precreate_again(spec(100), || "qr2".to_owned(), now).map(|_| ()),
            again,
            "again when {name}"
        );
    }
}

#[test]
fn precreate_again_keeps_the_qr_code_while_it_lives() {
    let mut order = unscanned(spec(100));
    let soon = noon() + 1.hour();
    assert_eq!(order.precreate_again(spec(100), || "qr2".to_owned(), soon), Ok(None));
    assert_eq!(
        order.precreate_again(spec(101), || "qr2".to_owned(), soon),
        Err(Business::ContextInconsistent)
    );
    let late = noon() + 2.hours();
    assert_eq!(order.scan(&buyer(), || "t1".to_owned(), late), Err(PayerError::QrExpired));
    assert_eq!(order.precreate_again(spec(100), || "qr2".to_owned(), late), Ok(Some("qr2".to_owned())));
    assert_eq!(order.scan(&buyer(), || "t1".to_owned(), late), Ok(true));
}

#[test]
fn timeout_express_counts_from_the_scan() {
    let deadline = Deadline::Express(Timeout::from_wire("5m").unwrap());
    let mut order = unscanned(OrderSpec { deadline, ..spec(100) });
    let scan_at = noon() + 30.minutes();
    order.scan(&buyer(), || "t1".to_owned(), scan_at).unwrap();
    assert_eq!(status(&order, scan_at + 299.seconds()), Some(TradeStatus::WaitBuyerPay));
    assert_eq!(status(&order, scan_at + 300.seconds()), Some(TradeStatus::TradeClosed));
    assert_eq!(order.pay(FEE, None, scan_at + 300.seconds()), Err(PayerError::Closed));
}

#[test]
fn only_one_buyer_and_only_once() {
    let mut order = scanned(spec(100));
    let other = Buyer { user_id: "2088102146225136".to_owned() };
    assert_eq!(order.scan(&buyer(), || unreachable!(), noon()), Ok(false));
    assert_eq!(order.scan(&other, || unreachable!(), noon()), Err(PayerError::OtherBuyer));
    assert_eq!(order.pay(FEE, None, noon()), Ok(()));
    assert_eq!(order.pay(FEE, None, noon()), Err(PayerError::AlreadyPaid));
    assert_eq!(order.decline(noon()), Err(PayerError::AlreadyPaid));
}

#[test]
fn cancel_withdraws_closes_or_refunds() {
    let mut order = unscanned(spec(100));
    assert_eq!(order.cancel(noon()), Ok(Cancelled::NoTrade));
    assert_eq!(order.scan(&buyer(), || unreachable!(), noon()), Err(PayerError::Closed));

    let mut order = scanned(spec(100));
    assert_eq!(order.cancel(noon()), Ok(Cancelled::Closed));
    assert_eq!(order.cancel(noon()), Ok(Cancelled::Closed));

    let mut order = paid(100);
    assert_eq!(order.cancel(noon()), Ok(Cancelled::Refunded { new: Some(0) }));
    assert_eq!(order.cancel(noon()), Ok(Cancelled::Refunded { new: None }));
    assert_eq!(status(&order, noon()), Some(TradeStatus::TradeClosed));

    let mut order = paid(100);
    order.refund(&spec_of("r1", 1), noon()).unwrap();
    assert_eq!(order.cancel(noon()), Err(Business::ReasonTradeRefundFeeErr));
    assert_eq!(paid(100).cancel(noon() + 24.hours()), Err(Business::TradeCancelTimeOut));
}

#[test]
fn refunds_repeat_by_number_and_stop_at_the_total() {
    let mut order = paid(1000);
    assert_eq!(order.refund(&spec_of("r1", 400), noon()), Ok(Refunded::Executed(0)));
    assert_eq!(order.refund(&spec_of("r1", 400), noon()), Ok(Refunded::Replayed(0)));
    assert_eq!(order.refund(&spec_of("r1", 401), noon()), Err(Business::DiscordantRepeatRequest));
    assert_eq!(order.refund(&spec_of("r2", 601), noon()), Err(Business::RefundAmountNotEqualTotal));
    assert_eq!(status(&order, noon()), Some(TradeStatus::TradeSuccess));
    assert_eq!(order.refund(&spec_of("r2", 600), noon()), Ok(Refunded::Executed(1)));
    assert_eq!(status(&order, noon()), Some(TradeStatus::TradeClosed));
    assert_eq!(order.refund(&spec_of("r1", 400), noon()), Ok(Refunded::Replayed(0)));
}

#[test]
fn after_the_refund_window_the_trade_is_finished() {
    let mut order = paid(100);
    let later = noon() + SignedDuration::from_hours(365 * 24);
    assert_eq!(status(&order, later - 1.second()), Some(TradeStatus::TradeSuccess));
    assert_eq!(status(&order, later), Some(TradeStatus::TradeFinished));
    assert_eq!(order.refund(&spec_of("r1", 1), later), Err(Business::TradeHasFinished));
}

proptest! {
    /// However a payment is refunded piece by piece, no fee return is negative and a full refund returns the fee.
    #[test]
    fn fee_returns_add_up(total in 1..=10_000_000i64, cuts in prop::collection::vec(1..=10_000_000i64, 0..12)) {
        let mut order = paid(total);
        let mut left = total;
        for (number, cut) in cuts.iter().enumerate() {
            let piece = cut % left.max(1);
            if piece > 0 {
                order.refund(&spec_of(&format!("r{number}"), piece), noon()).unwrap();
                left -= piece;
            }
        }
        if left > 0 {
            order.refund(&spec_of("rest", left), noon()).unwrap();
        }
        let TradeState::Paid(paid) = &order.trade().unwrap().state else { panic!("paid") };
        prop_assert!(paid.refunds.iter().all(|refund| refund.fee_returned >= Fen::ZERO));
        prop_assert_eq!(paid.fee_returned(), paid.fee);
        prop_assert_eq!(paid.refunded(), Fen(total));
    }
}

//! A verdict that can't condemn is worth nothing: each test plants one fault into books that agree, and sees it named.

use tael_proto::notification::v1::{Delivery, DeliveryState};
use tael_proto::order::v1::{PriceBreakdown, Voucher};
use tael_proto::payment::v1::{Attempt, PaymentState};
use tael_proto::refund::v1::{Refund, RefundState};
use tael_proto::settlement::v1::{Account, AccountKind, Transfer, TransferKind};
use tael_sandbox::control::MovementView;

use super::*;
use crate::load::book::{Acknowledged, Redemption};
use crate::load::{Kind, Plan};
use crate::receiver::Event;

#[expect(clippy::unnecessary_wraps, reason = "every field that holds money is optional")]
fn cny(minor: i64) -> Option<Money> {
    Some(Money { currency: "CNY".to_owned(), minor })
}

fn movement(kind: &str, amount_minor: i64, refund: Option<&str>) -> MovementView {
    serde_json::from_value(serde_json::json!({
        "sequence": 1, "at": "2026-11-22T00:00:00Z", "merchant": "2088", "kind": kind, "currency": "CNY",
        "amount_minor": amount_minor,
        "trade_no": "t", "out_trade_no": "att1", "refund_no": refund,
    }))
    .expect("a movement")
}

fn delivery(event_id: &str, kind: &str, about: &str, id: &str) -> Delivery {
    Delivery {
        delivery_id: format!("dlv_{event_id}"),
        event_id: event_id.to_owned(),
        event_type: kind.to_owned(),
        body: format!(r#"{{"data":{{"{about}":"{id}"}}}}"#),
        state: DeliveryState::Succeeded.into(),
        ..Delivery::default()
    }
}

/// An order of 100.00, paid, with 30.00 refunded and a voucher redeemed, as everybody has it.
fn books() -> Books {
    let order = Order {
        order_id: "ord_1".to_owned(),
        merchant_reference: "journey-1".to_owned(),
        state: OrderState::Paid.into(),
        price: Some(PriceBreakdown { total: cny(100_00), ..PriceBreakdown::default() }),
        payment_id: "pay_1".to_owned(),
        refunded: cny(30_00),
        vouchers: vec![Voucher {
            voucher_id: "vou_1".to_owned(),
            uses: 1,
            redeemed: 1,
            ..Voucher::default()
        }],
        ..Order::default()
    };
    let payment = Payment {
        payment_id: "pay_1".to_owned(),
        order_id: "ord_1".to_owned(),
        amount: cny(100_00),
        state: PaymentState::Succeeded.into(),
        attempts: vec![Attempt { attempt_id: "att_1".to_owned(), ..Attempt::default() }],
        refunded: cny(30_00),
        ..Payment::default()
    };
    let refund = Refund {
        refund_id: "ref_1".to_owned(),
        order_id: "ord_1".to_owned(),
        payment_id: "pay_1".to_owned(),
        amount: cny(30_00),
        state: RefundState::Succeeded.into(),
        ..Refund::default()
    };
    let transfer = |kind: TransferKind| Transfer {
        kind: kind.into(),
        payment_id: "pay_1".to_owned(),
        ..Transfer::default()
    };
    let receivable = Account {
        kind: AccountKind::ChannelReceivable.into(),
        debits: cny(100_00),
        credits: cny(30_00),
        ..Account::default()
    };
    let told = [
        ("evt_1", "order.created", "order_id", "ord_1"),
        ("evt_2", "order.paid", "order_id", "ord_1"),
        ("evt_3", "payment.created", "payment_id", "pay_1"),
        ("evt_4", "payment.succeeded", "payment_id", "pay_1"),
        ("evt_5", "refund.succeeded", "refund_id", "ref_1"),
    ];
    Books {
        orders: vec![order],
        payments: vec![payment],
        refunds: vec![refund],
        transfers: vec![transfer(TransferKind::Payment), transfer(TransferKind::Refund)],
        accounts: vec![receivable],
        deliveries: told.iter().map(|(id, kind, about, of)| delivery(id, kind, about, of)).collect(),
        integrity_alerts: Vec::new(),
        movements: BTreeMap::from([(
            "att1".to_owned(),
            vec![movement("payment", 100_00, None), movement("refund", -30_00, Some("ref1"))],
        )]),
    }
}

fn entry() -> Entry {
    let of = |id: &str, minor| Acknowledged { id: id.to_owned(), minor };
    Entry {
        plan: Plan { kind: Kind::Sell, ..Plan::new(1, 1, 1) },
        step: "end",
        ended: true,
        order: Some(of("ord_1", 100_00)),
        order_end: Some("paid"),
        payments: vec![of("pay_1", 100_00)],
        paid_numbers: vec!["att1".to_owned()],
        redemptions: vec![Redemption { id: "red_1".to_owned(), voucher_id: "vou_1".to_owned(), count: 1 }],
        refunds: vec![of("ref_1", 30_00)],
    }
}

fn received(books: &Books) -> BTreeMap<String, Event> {
    let event = |delivery: &Delivery| Event { body: delivery.body.clone(), count: 1, differed: false };
    books.deliveries.iter().map(|delivery| (delivery.event_id.clone(), event(delivery))).collect()
}

fn judge(books: &Books, entry: &Entry, received: &BTreeMap<String, Event>) -> Verdict {
    let mut verdict = Verdict::default();
    verdict.shop(books, &[entry], received);
    verdict
}

/// What is said of books with a fault.
fn planted(plant: impl FnOnce(&mut Books, &mut Entry)) -> String {
    let (mut books, mut entry) = (books(), entry());
    plant(&mut books, &mut entry);
    let verdict = judge(&books, &entry, &received(&books));
    verdict.violations.join("\n")
}

#[test]
fn books_that_agree_are_clean() {
    let verdict = judge(&books(), &entry(), &received(&books()));
    assert!(verdict.is_clean(), "{verdict:#?}");
}

#[test]
fn what_was_promised_and_is_not_there_is_named() {
    assert!(planted(|books, _| books.orders.clear()).contains("order ord_1 is lost"));
    assert!(planted(|books, _| books.payments.clear()).contains("payment pay_1 of 10000 is lost"));
    assert!(planted(|books, _| books.refunds.clear()).contains("refund ref_1 of 3000 is lost"));
    assert!(planted(|_, entry| entry.redemptions.clear()).contains("voucher vou_1"));
    assert!(planted(|books, _| books.orders[0].vouchers[0].redeemed = 0).contains("voucher vou_1"));
    let cheaper = planted(|_, entry| entry.order = Some(Acknowledged { id: "ord_1".to_owned(), minor: 1 }));
    assert!(cheaper.contains("promised at 1 and costs 10000"));
    assert!(planted(|books, _| books.orders[0].state = OrderState::Expired.into()).contains("is expired"));
}

#[test]
fn what_is_there_twice_is_named() {
    let twice = planted(|books, _| {
        let second = Order { order_id: "ord_2".to_owned(), ..books.orders[0].clone() };
        books.orders.push(second);
    });
    assert!(twice.contains("ord_2 (journey-1) was promised to nobody"), "{twice}");
    assert!(twice.contains("a second one for journey-1"), "{twice}");
    let twice = planted(|books, _| {
        let second = Refund { refund_id: "ref_2".to_owned(), ..books.refunds[0].clone() };
        books.refunds.push(second);
    });
    assert!(twice.contains("refund ref_2 of ord_1 was promised to nobody"), "{twice}");
    let twice = planted(|books, _| books.transfers.push(books.transfers[0].clone()));
    assert!(twice.contains("the ledger has 2 payments"), "{twice}");
    let twice = planted(|books, _| {
        books.deliveries.push(delivery("evt_9", "payment.succeeded", "payment_id", "pay_1"));
    });
    assert!(twice.contains("payment.succeeded of pay_1 was told in 2 events"), "{twice}");
}

#[test]
fn money_that_moved_otherwise_at_the_channel_is_named() {
    let charged = planted(|books, _| {
        books.movements.entry("att1".to_owned()).or_default().push(movement("payment", 100_00, None));
    });
    assert!(charged.contains("the payer was charged 2 times"), "{charged}");
    assert!(charged.contains("the channel charged att1 2 times"), "{charged}");
    let refunded = planted(|books, _| {
        books.movements.entry("att1".to_owned()).or_default().push(movement("refund", -30_00, Some("ref1")));
    });
    assert!(refunded.contains("the channel did it 2 times"), "{refunded}");
    let unknown = planted(|books, _| {
        books.movements.insert("att9".to_owned(), vec![movement("payment", 1, None)]);
    });
    assert!(unknown.contains("moved money for att9, unknown here"), "{unknown}");
    let fee = planted(|books, _| {
        books.movements.entry("att1".to_owned()).or_default().push(movement("fee", -60, None));
    });
    assert!(fee.contains("the channel's account has 6940 fen, the ledger's receivable 7000"), "{fee}");
}

#[test]
fn money_of_which_an_order_knows_nothing_is_named() {
    let ignored = planted(|books, entry| {
        books.orders[0].state = OrderState::Cancelled.into();
        entry.order_end = Some("cancelled");
    });
    assert!(ignored.contains("payment pay_1 came for order ord_1, which knows nothing of it"), "{ignored}");
}

#[test]
fn a_webhook_that_never_came_or_came_otherwise_is_named() {
    let (books, entry) = (books(), entry());
    let mut without = received(&books);
    without.remove("evt_4");
    let said = judge(&books, &entry, &without).violations.join("\n");
    assert!(
        said.contains("event evt_4 (payment.succeeded) is said to be delivered and never came"),
        "{said}"
    );
    let mut other = received(&books);
    other.get_mut("evt_4").expect("it came").body = "{}".to_owned();
    let said = judge(&books, &entry, &other).violations.join("\n");
    assert!(said.contains("evt_4 (payment.succeeded) came with another body"), "{said}");
}

#[test]
fn what_still_moves_is_unsettled_and_not_wrong() {
    let (mut books, entry) = (books(), entry());
    books.payments[0].attempts[0].in_doubt = true;
    books.deliveries[0].state = DeliveryState::Pending.into();
    let verdict = judge(&books, &entry, &received(&books));
    assert_eq!(verdict.unsettled.len(), 2, "{verdict:#?}");
}

//! A channel's callbacks come late, twice, forged, and in any order.

use std::collections::BTreeMap;

use futures::future::join_all;
use tael_proto::event::v1::Event;
use tael_proto::payment::v1::{AttemptState, Payment, PaymentState};

use crate::fixture::{ALIPAY_KEY, APP_KEY, Fixture, PAID_AT, cny, kind, signed_form};

/// What a callback says differently from "paid".
type Callback = &'static [(&'static str, &'static str)];

const WAITING: Callback = &[("trade_status", "WAIT_BUYER_PAY"), ("notify_id", "1")];
const PAID: Callback = &[("trade_status", "TRADE_SUCCESS"), ("notify_id", "2")];
const PAID_AGAIN: Callback = &[("trade_status", "TRADE_SUCCESS"), ("notify_id", "3")];
const CLOSED: Callback = &[("trade_status", "TRADE_CLOSED"), ("notify_id", "4")];
const GIVEN_BACK: Callback = &[
    ("trade_status", "TRADE_CLOSED"),
    ("notify_id", "5"),
    ("refund_fee", "68.00"),
    ("gmt_refund", "2026-03-01 17:00:00.123"),
];

/// All orders of four callbacks.
fn permutations(callbacks: [Callback; 4]) -> Vec<Vec<Callback>> {
    let mut orders: Vec<Vec<Callback>> = vec![Vec::new()];
    for callback in callbacks {
        orders = orders
            .iter()
            .flat_map(|order| {
                (0..=order.len()).map(move |place| {
                    let mut longer = order.clone();
                    longer.insert(place, callback);
                    longer
                })
            })
            .collect();
    }
    orders
}

fn fields(fixture: &Fixture, payment: &Payment, callback: Callback) -> BTreeMap<&'static str, String> {
    let mut fields = fixture.paid_fields(payment);
    fields.extend(callback.iter().map(|(name, value)| (*name, (*value).to_owned())));
    fields
}

/// One callback in each way in which it must not be believed.
fn forgeries(fixture: &Fixture, payment: &Payment, callback: Callback) -> Vec<String> {
    let fields = fields(fixture, payment, callback);
    let with = |name: &'static str, value: &str| {
        let mut fields = fields.clone();
        fields.insert(name, value.to_owned());
        signed_form(&fields, &ALIPAY_KEY)
    };
    vec![
        signed_form(&fields, &APP_KEY),
        // With the channel's signature, and not what we know: the currency is not on this channel's wire.
        with("total_amount", "0.68"),
        with("app_id", "2021000000000999"),
        with("seller_id", "2088999999999999"),
    ]
}

/// Delivers callbacks in this order: each one first forged in every way, then as it is, then replayed.
async fn deliver(fixture: &Fixture, payment: &Payment, order: &[Callback]) {
    let account = &fixture.account.channel_account_id;
    for callback in order {
        for forged in forgeries(fixture, payment, callback) {
            assert_eq!(fixture.notify(account, forged).await, "failure", "{order:?}");
        }
        let genuine = signed_form(&fields(fixture, payment, callback), &ALIPAY_KEY);
        assert_eq!(fixture.notify(account, genuine.clone()).await, "success", "{order:?}");
        assert_eq!(fixture.notify(account, genuine).await, "success", "{order:?}");
    }
}

/// What must be the same, whatever the order.
fn end(payment: Payment) -> Payment {
    let mut attempt = payment.attempts[0].clone();
    attempt.attempt_id.clear();
    Payment {
        payment_id: String::new(),
        order_id: String::new(),
        checkout_url: String::new(),
        attempts: vec![attempt],
        ..payment
    }
}

/// How often each thing happened to a payment.
fn counts(events: &[Event], payment: &Payment) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for event in events.iter().filter(|event| event.aggregate_id == payment.payment_id) {
        *counts.entry(tael_eventlog::kind_name(&kind(event))).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn in_every_order_money_that_came_and_went_is_recorded_once() {
    let fixture = Fixture::start().await;
    let ordered = [WAITING, PAID, PAID_AGAIN, GIVEN_BACK];
    let first = fixture.create().await;
    deliver(&fixture, &first, &ordered).await;
    let expected = end(fixture.get(&first).await);
    assert_eq!((expected.state(), expected.refunded.clone()), (PaymentState::Succeeded, cny(6_800)));

    let mut payments = vec![first];
    for order in permutations(ordered) {
        let payment = fixture.create().await;
        deliver(&fixture, &payment, &order).await;
        assert_eq!(end(fixture.get(&payment).await), expected, "{order:?}");
        payments.push(payment);
    }
    // And in no order at all.
    let payment = fixture.create().await;
    let all = ordered.iter().flat_map(|callback| {
        let mut all = forgeries(&fixture, &payment, callback);
        all.extend(vec![signed_form(&fields(&fixture, &payment, callback), &ALIPAY_KEY); 4]);
        all
    });
    join_all(all.map(|body| fixture.notify(&fixture.account.channel_account_id, body))).await;
    assert_eq!(end(fixture.get(&payment).await), expected);
    payments.push(payment);

    let each = BTreeMap::from([
        ("payment.created", 1),
        ("payment.succeeded", 1),
        ("payment.refunded", 1),
        // One for each field; told again, a mismatch is no other alert.
        ("payment.alarm_raised", 3),
    ]);
    let events = fixture.events(6 * payments.len()).await;
    assert_eq!(events.len(), 6 * payments.len());
    for payment in &payments {
        assert_eq!(counts(&events, payment), each);
    }
}

/// A payment that was closed, and paid all the same: whatever is heard first, the money is recorded once.
#[tokio::test]
async fn in_every_order_money_that_came_after_the_end_is_recorded_once() {
    let fixture = Fixture::start().await;
    let mut said = 0;
    for order in permutations([WAITING, CLOSED, PAID, PAID_AGAIN]) {
        let payment = fixture.create().await;
        deliver(&fixture, &payment, &order).await;
        let now = fixture.get(&payment).await;
        assert_eq!(
            (now.state(), now.attempts[0].state()),
            (PaymentState::Succeeded, AttemptState::Succeeded)
        );
        assert_eq!(now.pay_time.unwrap().seconds, PAID_AT.as_second(), "{order:?}");
        let closed_first = order.iter().find(|callback| **callback != WAITING) == Some(&CLOSED);
        said += if closed_first { 6 } else { 5 };
        let events = fixture.events(said).await;
        assert_eq!(events.len(), said, "{order:?}");
        let counts = counts(&events, &payment);
        assert_eq!((counts["payment.created"], counts["payment.succeeded"]), (1, 1), "{order:?}");
        assert_eq!(counts.get("payment.closed"), closed_first.then_some(&1), "{order:?}");
        assert_eq!(counts["payment.alarm_raised"], 3, "{order:?}");
    }
}

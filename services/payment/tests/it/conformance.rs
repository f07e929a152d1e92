//! What every channel must do, written once: each scenario is played on each channel's own sandbox, whose row says how
//! its protocol names things. A new channel is one row more.

use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use tael_clock::Clock;
use tael_grpc::status::reason;
use tael_proto::payment::v1::{
    AttemptState, Payment, PaymentRefundState, PaymentState, ReadStatementRequest, StatementLineKind,
};
use tael_sandbox::control::Fault;
use tael_testkit::eventually;

use crate::fixture::{ALIPAY_KEY, APP_KEY, Fixture, cny, number, refund_request, signed_form};

/// What the suite must know of a channel.
struct Row {
    name: &'static str,
    /// Its name of the call that begins a payment, and of the one that refunds: where the sandbox lets things go wrong.
    initiate: &'static str,
    refund: &'static str,
    /// Where its statements' days are cut.
    time_zone: fn() -> TimeZone,
    /// A callback that says the payment was paid, as the channel would sign it.
    paid_callback: fn(&Fixture, &Payment) -> String,
    /// The same, each in another way not the channel's.
    forged_callbacks: fn(&Fixture, &Payment) -> Vec<String>,
}

const CHANNELS: &[Row] = &[Row {
    name: "alipay",
    initiate: "alipay.trade.precreate",
    refund: "alipay.trade.refund",
    time_zone: || TimeZone::fixed(jiff::tz::offset(8)),
    paid_callback: |fixture, payment| signed_form(&fixture.paid_fields(payment), &ALIPAY_KEY),
    forged_callbacks: |fixture, payment| {
        let fields = fixture.paid_fields(payment);
        let good = signed_form(&fields, &ALIPAY_KEY);
        vec![
            signed_form(&fields, &APP_KEY),
            good.replace("total_amount=68.00", "total_amount=0.01"),
            good.replace("&sign=", "&sign=AAAA"),
            format!("{good}&total_amount=68.00"),
            good.split("&sign=").next().unwrap_or_default().to_owned(),
        ]
    },
}];

type Scenario = for<'a> fn(&'a Fixture, &'a Row) -> BoxFuture<'a, ()>;

const SCENARIOS: &[(&str, Scenario)] = &[
    ("the payer pays", |f, row| Box::pin(the_payer_pays(f, row))),
    ("the payer declines and may still be closed", |f, row| Box::pin(the_payer_declines(f, row))),
    ("an initiation in doubt ends under its number", |f, row| Box::pin(an_initiation_in_doubt(f, row))),
    ("a lost callback is found out", |f, row| Box::pin(a_lost_callback(f, row))),
    ("a repeated callback counts once", |f, row| Box::pin(a_repeated_callback(f, row))),
    ("a forged callback changes nothing", |f, row| Box::pin(a_forged_callback(f, row))),
    ("what is closed can't be paid", |f, row| Box::pin(what_is_closed_cannot_be_paid(f, row))),
    ("a payer who is faster has paid", |f, row| Box::pin(a_payer_who_is_faster(f, row))),
    ("refunds add up to what was paid", |f, row| Box::pin(refunds_add_up(f, row))),
    ("a refund in doubt moves money once", |f, row| Box::pin(a_refund_in_doubt(f, row))),
    ("the statement says what happened", |f, row| Box::pin(the_statement(f, row))),
];

#[tokio::test]
async fn every_channel_passes_every_scenario() {
    for row in CHANNELS {
        for (what, scenario) in SCENARIOS {
            let fixture = Fixture::start().await;
            let played = AssertUnwindSafe(scenario(&fixture, row)).catch_unwind().await;
            assert!(played.is_ok(), "{}: {what}", row.name);
        }
    }
}

async fn the_payer_pays(fixture: &Fixture, _: &Row) {
    let payment = fixture.create().await;
    assert_eq!(payment.state(), PaymentState::Pending);
    assert!(payment.next_action.is_some() && payment.captured == cny(0));
    fixture.pay(&payment).await;
    let paid = fixture.eventually(&payment, PaymentState::Succeeded).await;
    assert_eq!((paid.captured, paid.next_action), (cny(6_800), None));
    assert!(!paid.attempts[0].channel_transaction_id.is_empty());
}

async fn the_payer_declines(fixture: &Fixture, _: &Row) {
    let payment = fixture.create().await;
    fixture.sandbox.decline(fixture.reference(&payment)).await.unwrap();
    let asked = fixture.sync(&payment).await;
    assert!(
        matches!(asked.state(), PaymentState::Pending | PaymentState::Closed | PaymentState::Failed),
        "{asked:?}"
    );
    let ended = fixture.close(&payment).await;
    assert!(matches!(ended.state(), PaymentState::Closed | PaymentState::Failed), "{ended:?}");
    assert_eq!(ended.captured, cny(0));
}

async fn an_initiation_in_doubt(fixture: &Fixture, row: &Row) {
    for fault in [Fault::DropRequest, Fault::TimeOutAfter { hang_ms: 0 }, Fault::unavailable()] {
        fixture.fault(row.initiate, 1, fault.clone()).await;
        let payment = fixture.create().await;
        let attempt = &payment.attempts[0];
        assert_eq!((attempt.state(), attempt.in_doubt), (AttemptState::Initiated, true), "{fault:?}");
        fixture.advance(SignedDuration::from_secs(1));
        let clear = fixture.eventually(&payment, PaymentState::Pending).await;
        assert_eq!(clear.attempts[0].attempt_id, attempt.attempt_id);
        assert_eq!(fixture.trade(&payment).await.out_trade_no, number(&payment));
    }
}

async fn a_lost_callback(fixture: &Fixture, _: &Row) {
    fixture.lose_notifications().await;
    let payment = fixture.create().await;
    fixture.pay(&payment).await;
    assert_eq!(fixture.get(&payment).await.state(), PaymentState::Pending);
    fixture.advance(SignedDuration::from_secs(1));
    fixture.eventually(&payment, PaymentState::Succeeded).await;
}

async fn a_repeated_callback(fixture: &Fixture, row: &Row) {
    fixture.lose_notifications().await;
    let payment = fixture.create().await;
    let account = &fixture.account.channel_account_id;
    let callback = (row.paid_callback)(fixture, &payment);
    let first = fixture.notify(account, callback.clone()).await;
    for _ in 0..3 {
        assert_eq!(fixture.notify(account, callback.clone()).await, first);
    }
    assert_eq!(fixture.get(&payment).await.state(), PaymentState::Succeeded);
    assert_eq!(fixture.said(2).await, ["payment.created", "payment.succeeded"]);
}

async fn a_forged_callback(fixture: &Fixture, row: &Row) {
    fixture.lose_notifications().await;
    let payment = fixture.create().await;
    let account = &fixture.account.channel_account_id;
    let taken = (row.paid_callback)(fixture, &payment);
    for forged in (row.forged_callbacks)(fixture, &payment) {
        let told = fixture.notify(account, forged.clone()).await;
        assert_eq!(fixture.get(&payment).await, payment, "{forged}");
        assert_ne!(told, "success", "{forged}");
    }
    fixture.notify(account, taken).await;
    assert_eq!(fixture.get(&payment).await.state(), PaymentState::Succeeded, "the true one is taken");
}

async fn what_is_closed_cannot_be_paid(fixture: &Fixture, _: &Row) {
    let untouched = fixture.create().await;
    let begun = fixture.create().await;
    fixture.sandbox.scan(fixture.reference(&begun)).await.unwrap();
    for payment in [&untouched, &begun] {
        let closed = fixture.close(payment).await;
        assert_eq!((closed.state(), closed.attempts[0].in_doubt), (PaymentState::Closed, false));
        assert!(fixture.sandbox.pay(fixture.reference(payment)).await.is_err());
    }
}

async fn a_payer_who_is_faster(fixture: &Fixture, _: &Row) {
    fixture.lose_notifications().await;
    let payment = fixture.create().await;
    fixture.pay(&payment).await;
    let paid = fixture.close(&payment).await;
    assert_eq!((paid.state(), paid.captured, paid.refunded), (PaymentState::Succeeded, cny(6_800), cny(0)));
}

async fn refunds_add_up(fixture: &Fixture, _: &Row) {
    let payment = fixture.paid().await;
    for minor in [1_800, 5_000] {
        let refund = fixture.refund(&refund_request(&payment, minor)).await.unwrap();
        assert_eq!(refund.state(), PaymentRefundState::Succeeded);
    }
    let nothing_left = fixture.refund(&refund_request(&payment, 1)).await.unwrap_err();
    assert_eq!(reason(&nothing_left).as_deref(), Some("REFUND_EXCEEDS_PAYMENT"));
    assert_eq!(fixture.trade(&payment).await.refunded_minor, 6_800);
}

async fn a_refund_in_doubt(fixture: &Fixture, row: &Row) {
    let payment = fixture.paid().await;
    fixture.lose_notifications().await;
    for (times, fault) in (1..).zip([Fault::TimeOutAfter { hang_ms: 0 }, Fault::DropRequest]) {
        fixture.fault(row.refund, 1, fault.clone()).await;
        let refund = fixture.refund(&refund_request(&payment, 1_000)).await.unwrap();
        assert_eq!(refund.state(), PaymentRefundState::Pending, "{fault:?}");
        eventually("the refund's end", async || {
            fixture.advance(SignedDuration::from_secs(1));
            (fixture.get(&payment).await.refunded == cny(1_000 * times)).then_some(())
        })
        .await;
        let moved = fixture.trade(&payment).await;
        assert_eq!(moved.refunded_minor, 1_000 * times, "{fault:?}");
    }
}

async fn the_statement(fixture: &Fixture, row: &Row) {
    let day = || Clock::system().now().to_zoned((row.time_zone)()).date().to_string();
    let today = day();
    let payment = fixture.paid().await;
    fixture.refund(&refund_request(&payment, 1_700)).await.unwrap();
    let request = ReadStatementRequest {
        merchant_id: fixture.merchant_id.to_string(),
        channel_account_id: fixture.account.channel_account_id.clone(),
        statement_date: today.clone(),
    };
    let mut stream = fixture.statements.clone().read_statement(request).await.unwrap().into_inner();
    let mut lines = Vec::new();
    while let Some(part) = stream.message().await.unwrap() {
        lines.extend(part.lines);
    }
    if day() != today {
        return; // its midnight came in between
    }
    let told: Vec<_> = lines.iter().map(|line| (line.kind(), line.amount.clone())).collect();
    assert_eq!(told, [(StatementLineKind::Payment, cny(6_800)), (StatementLineKind::Refund, cny(1_700))]);
    assert!(lines.iter().all(|line| line.merchant_number == number(&payment)));
}

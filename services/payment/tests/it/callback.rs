//! HandleCallback.

use futures::future::join_all;
use tael_grpc::status::bad_fields;
use tael_ids::{AttemptId, ChannelAccountId};
use tael_proto::event::v1::payload::Kind;
use tael_proto::payment::v1::{
    AttemptState, HandleCallbackRequest, IntegrityAlert, ListIntegrityAlertsRequest, Payment, PaymentState,
};
use tael_sandbox::control::{Coupon, CouponFunding, DeliveryState, PayerAction, PayerMove};
use tael_testkit::eventually;
use tonic::Code;

use crate::fixture::{
    ALIPAY_KEY, APP_KEY, Fixture, account_request, cny, create_account, kind, number, signed_form,
};

async fn alerts(fixture: &Fixture) -> Vec<IntegrityAlert> {
    let request = ListIntegrityAlertsRequest {
        merchant_id: fixture.merchant_id.to_string(),
        page_size: 0,
        page_token: String::new(),
    };
    fixture
        .integrity_alerts
        .clone()
        .list_integrity_alerts(request)
        .await
        .unwrap()
        .into_inner()
        .integrity_alerts
}

#[tokio::test]
async fn a_payers_payment_arrives_by_notification() {
    let fixture = Fixture::start().await;
    let payment = fixture.create().await;
    let trade = fixture.pay(&payment).await;
    let paid = fixture.eventually(&payment, PaymentState::Succeeded).await;
    let attempt = &paid.attempts[0];
    assert_eq!((attempt.state(), attempt.in_doubt), (AttemptState::Succeeded, false));
    assert_eq!(Some(&attempt.channel_transaction_id), trade.trade_no.as_ref());
    assert_eq!(paid.pay_time.unwrap().seconds, trade.paid_at.unwrap().as_second());
    assert!(paid.next_action.is_none());

    let events = fixture.events(2).await;
    let Kind::PaymentSucceeded(event) = kind(&events[1]) else { panic!("{events:?}") };
    assert_eq!((&event.payment_id, &event.order_id), (&paid.payment_id, &paid.order_id));
    assert_eq!((&event.attempt_id, event.amount), (&attempt.attempt_id, cny(6_800)));
    assert_eq!(event.channel_transaction_id, attempt.channel_transaction_id);
    assert_eq!((&event.channel_account_id, event.pay_time), (&attempt.channel_account_id, paid.pay_time));

    // Alipay is told that it was taken, and stops.
    eventually("the notification to be acknowledged", || async {
        let trade = fixture.trade(&payment).await;
        (trade.notifications[0].state == DeliveryState::Acknowledged).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_second_payment_of_one_attempt_is_an_integrity_alert() {
    let fixture = Fixture::start().await;
    let payment = fixture.create().await;
    let account = &fixture.account.channel_account_id;
    let mut fields = fixture.paid_fields(&payment);
    assert_eq!(fixture.notify(account, signed_form(&fields, &ALIPAY_KEY)).await, "success");
    let paid = fixture.get(&payment).await;
    let first = fields.insert("trade_no", "2026030122001468450599999999".to_owned()).unwrap();
    for _ in 0..2 {
        assert_eq!(fixture.notify(account, signed_form(&fields, &ALIPAY_KEY)).await, "failure");
    }
    assert_eq!(fixture.get(&payment).await, paid);
    let alerts = alerts(&fixture).await;
    let [alert] = alerts.as_slice() else { panic!("{alerts:?}") };
    assert_eq!(
        (alert.field.as_str(), &alert.expected, alert.actual.as_str()),
        ("channel_transaction_id", &first, "2026030122001468450599999999")
    );
}

#[tokio::test]
async fn a_pay_time_that_cannot_be_is_not_believed_and_the_money_is() {
    let fixture = Fixture::start().await;
    let account = &fixture.account.channel_account_id;
    for (n, impossible) in ["1970-01-01 08:00:00", "2099-01-01 00:00:00"].into_iter().enumerate() {
        let payment = fixture.create().await;
        let mut fields = fixture.paid_fields(&payment);
        fields.insert("gmt_payment", impossible.to_owned());
        assert_eq!(fixture.notify(account, signed_form(&fields, &ALIPAY_KEY)).await, "success");
        let paid = fixture.get(&payment).await;
        assert_eq!(paid.state(), PaymentState::Succeeded);
        let heard = paid.pay_time.unwrap().seconds - payment.create_time.unwrap().seconds;
        assert!((0..600).contains(&heard), "{impossible}: {heard}");
        let alerts = alerts(&fixture).await;
        assert_eq!(alerts.len(), n + 1);
        assert!(alerts.iter().all(|alert| alert.field == "pay_time"), "{alerts:?}");
    }
}

#[tokio::test]
async fn what_the_merchant_receives_of_a_payment_with_its_own_coupon_is_told() {
    let fixture = Fixture::start().await;
    let payment = fixture.create().await;
    let coupon =
        Coupon { name: "满60减5".to_owned(), amount_minor: 500, funded_by: CouponFunding::Merchant };
    let action = PayerAction { coupon: Some(coupon), ..PayerAction::on(fixture.reference(&payment)) };
    fixture.sandbox.act(PayerMove::Pay, &action).await.unwrap();
    fixture.eventually(&payment, PaymentState::Succeeded).await;
    let events = fixture.events(2).await;
    let Kind::PaymentSucceeded(event) = kind(&events[1]) else { panic!("{events:?}") };
    assert_eq!((event.amount.clone(), event.received.clone()), (cny(6_800), cny(6_300)));
}

#[tokio::test]
async fn a_replayed_notification_changes_nothing() {
    let fixture = Fixture::start().await;
    let payment = fixture.create().await;
    let body = signed_form(&fixture.paid_fields(&payment), &ALIPAY_KEY);
    let account = &fixture.account.channel_account_id;
    assert_eq!(fixture.notify(account, body.clone()).await, "success");
    let paid = fixture.get(&payment).await;
    assert_eq!(paid.state(), PaymentState::Succeeded);
    let told = join_all((0..50).map(|_| fixture.notify(account, body.clone()))).await;
    assert!(told.iter().all(|told| told == "success"));
    assert_eq!(fixture.get(&payment).await, paid);
    assert_eq!(fixture.said(2).await, ["payment.created", "payment.succeeded"]);
}

#[tokio::test]
async fn fifty_notifications_at_once_are_one_success() {
    let fixture = Fixture::start().await;
    let payment = fixture.create().await;
    let body = signed_form(&fixture.paid_fields(&payment), &ALIPAY_KEY);
    let told =
        join_all((0..50).map(|_| fixture.notify(&fixture.account.channel_account_id, body.clone()))).await;
    assert!(told.iter().all(|told| told == "success"));
    assert_eq!(fixture.said(2).await, ["payment.created", "payment.succeeded"]);
}

#[tokio::test]
async fn a_forged_or_altered_notification_changes_nothing() {
    let fixture = Fixture::start().await;
    let payment = fixture.create().await;
    let account = &fixture.account.channel_account_id;
    let fields = fixture.paid_fields(&payment);
    let good = signed_form(&fields, &ALIPAY_KEY);
    let mut cheaper = fields.clone();
    cheaper.insert("total_amount", "0.01".to_owned());
    let sign = good.split_once("&sign_type").unwrap().1;
    let altered = signed_form(&cheaper, &ALIPAY_KEY);
    for (what, body) in [
        ("signed by another key", signed_form(&fields, &APP_KEY)),
        (
            "another amount under the old signature",
            altered.split_once("&sign_type").unwrap().0.to_owned() + "&sign_type" + sign,
        ),
        ("a field added", format!("{good}&refund_fee=68.00")),
        ("a field twice", format!("{good}&trade_status=TRADE_SUCCESS")),
        ("no signature", good.split_once("&sign=").unwrap().0.to_owned()),
        ("an empty signature", format!("{}&sign=", good.split_once("&sign=").unwrap().0)),
        ("no fields", String::new()),
        ("no form", "{\"a\":1}".to_owned()),
    ] {
        assert_eq!(fixture.notify(account, body).await, "failure", "{what}");
    }
    assert_eq!(fixture.notify(account, vec![0xff; 100]).await, "failure");
    assert_eq!(fixture.get(&payment).await, payment);
    assert_eq!(fixture.said(1).await, ["payment.created"]);
    assert!(alerts(&fixture).await.is_empty());
    assert_eq!(fixture.notify(account, good).await, "success", "the good one is still good");
}

/// Signed by Alipay, and not what we know: an integrity alert, not an update.
#[tokio::test]
async fn a_mismatch_is_an_integrity_alert_and_no_update() {
    let fixture = Fixture::start().await;
    let payment = fixture.create().await;
    let account = &fixture.account.channel_account_id;
    for (name, field, value, expected, actual) in [
        ("total_amount", "amount", "67.99", "68.00 CNY", "67.99 CNY"),
        ("app_id", "app_id", "2021000000000999", fixture.app.app_id.as_str(), "2021000000000999"),
        ("seller_id", "seller_id", "2088999999999999", fixture.app.seller_id.as_str(), "2088999999999999"),
    ] {
        let mut fields = fixture.paid_fields(&payment);
        fields.insert(name, value.to_owned());
        let body = signed_form(&fields, &ALIPAY_KEY);
        let before = alerts(&fixture).await.len();
        for _ in 0..3 {
            assert_eq!(fixture.notify(account, body.clone()).await, "failure", "{name}");
        }
        let alerts = alerts(&fixture).await;
        assert_eq!(alerts.len(), before + 1, "the same mismatch, told again, is no other alert");
        let alert = &alerts[0];
        assert_eq!((alert.field.as_str(), &alert.payment_id), (field, &payment.payment_id));
        assert_eq!((alert.expected.as_str(), alert.actual.as_str()), (expected, actual));
    }
    assert_eq!(fixture.get(&payment).await, payment);
    let raised = "payment.alarm_raised";
    assert_eq!(fixture.said(4).await, ["payment.created", raised, raised, raised]);

    // The alerts do not stand in the way of the truth, and the truth not in the way of a later alert.
    let truth = signed_form(&fixture.paid_fields(&payment), &ALIPAY_KEY);
    assert_eq!(fixture.notify(account, truth).await, "success");
    let mut more = fixture.paid_fields(&payment);
    more.insert("total_amount", "680.00".to_owned());
    assert_eq!(fixture.notify(account, signed_form(&more, &ALIPAY_KEY)).await, "failure");
    assert_eq!(alerts(&fixture).await.len(), 4);
    assert_eq!(fixture.get(&payment).await.state(), PaymentState::Succeeded);
}

#[tokio::test]
async fn a_notification_about_nothing_of_ours_fails() {
    let fixture = Fixture::start().await;
    let payment = fixture.create().await;
    let account = &fixture.account.channel_account_id;
    for number in [AttemptId::new().channel_number(), "20190815155618536-564-57".to_owned()] {
        let mut fields = fixture.paid_fields(&payment);
        fields.insert("out_trade_no", number);
        assert_eq!(fixture.notify(account, signed_form(&fields, &ALIPAY_KEY)).await, "failure");
    }
    // The right number at another account of ours, whose key Alipay also signs with.
    let other = account_request(&fixture.merchant_id.to_string(), &fixture.app);
    let other = create_account(&fixture.channel_accounts, other).await.unwrap().channel_account_id;
    let body = signed_form(&fixture.paid_fields(&payment), &ALIPAY_KEY);
    assert_eq!(fixture.notify(&other, body.clone()).await, "failure");

    let request = HandleCallbackRequest {
        channel: "alipay".to_owned(),
        channel_account_id: ChannelAccountId::new().to_string(),
        body: body.into(),
        ..HandleCallbackRequest::default()
    };
    let told = fixture.callbacks.clone().handle_callback(request.clone()).await.unwrap().into_inner();
    assert_eq!((told.status, &told.body[..]), (404, b"failure".as_slice()));
    assert_eq!(fixture.get(&payment).await, payment);

    for (request, field) in [
        (HandleCallbackRequest { channel: String::new(), ..request.clone() }, "channel"),
        (
            HandleCallbackRequest { channel_account_id: "x".to_owned(), ..request.clone() },
            "channel_account_id",
        ),
        (HandleCallbackRequest { body: vec![b'a'; 65_537].into(), ..request.clone() }, "body"),
    ] {
        let status = fixture.callbacks.clone().handle_callback(request).await.unwrap_err();
        assert_eq!((status.code(), bad_fields(&status)), (Code::InvalidArgument, vec![field.to_owned()]));
    }
}

async fn told(fixture: &Fixture, payment: &Payment, changes: &[(&'static str, &str)]) -> String {
    let mut fields = fixture.paid_fields(payment);
    for (name, value) in changes {
        fields.insert(name, (*value).to_owned());
    }
    fixture.notify(&fixture.account.channel_account_id, signed_form(&fields, &ALIPAY_KEY)).await
}

#[tokio::test]
async fn a_closed_trade_closes_and_a_waiting_one_says_nothing() {
    let fixture = Fixture::start().await;
    let payment = fixture.create().await;
    assert_eq!(told(&fixture, &payment, &[("trade_status", "WAIT_BUYER_PAY")]).await, "success");
    assert_eq!(fixture.get(&payment).await, payment);
    // In another application's name it would be an alert, like everything else.
    let foreign = [("trade_status", "TRADE_CLOSED"), ("app_id", "2021000000000999")];
    assert_eq!(told(&fixture, &payment, &foreign).await, "failure");
    assert_eq!((fixture.get(&payment).await, alerts(&fixture).await.len()), (payment.clone(), 1));
    assert_eq!(told(&fixture, &payment, &[("trade_status", "TRADE_CLOSED")]).await, "success");
    assert_eq!(fixture.get(&payment).await.state(), PaymentState::Closed);
    assert_eq!(fixture.said(3).await, ["payment.created", "payment.alarm_raised", "payment.closed"]);
}

/// Messages come late and in any order: none moves a state backwards, and money always counts.
#[tokio::test]
async fn money_that_comes_late_is_recorded() {
    let fixture = Fixture::start().await;
    let order = fixture.order();
    let closed = fixture.try_create(&order).await.unwrap();
    fixture.close(&closed).await;
    let next = fixture.try_create(&order).await.unwrap();

    assert_eq!(told(&fixture, &closed, &[]).await, "success");
    assert_eq!(fixture.get(&closed).await.state(), PaymentState::Succeeded);
    assert_eq!(told(&fixture, &closed, &[("trade_status", "TRADE_CLOSED")]).await, "success");
    assert_eq!(fixture.get(&closed).await.state(), PaymentState::Succeeded);
    // The payment that was made since keeps its order.
    assert_eq!(told(&fixture, &next, &[("trade_no", "2026030122001468450512505579")]).await, "success");
    assert_eq!(fixture.get(&next).await.state(), PaymentState::Succeeded);
    assert_eq!(
        fixture.said(5).await,
        ["payment.created", "payment.closed", "payment.created", "payment.succeeded", "payment.succeeded"]
    );
    assert_ne!(number(&closed), number(&next));
}

/// The trade is closed with everything given back, and none of it was asked for by us: before we knew of the money,
/// and after.
#[tokio::test]
async fn money_that_went_unasked_is_recorded_once() {
    let given_back = [
        ("trade_status", "TRADE_CLOSED"),
        ("refund_fee", "68.00"),
        ("gmt_refund", "2026-11-21 12:00:00.000"),
    ];
    for known_before in [false, true] {
        let fixture = Fixture::start().await;
        let payment = fixture.create().await;
        if known_before {
            assert_eq!(told(&fixture, &payment, &[]).await, "success");
        }
        for _ in 0..3 {
            assert_eq!(told(&fixture, &payment, &given_back).await, "success");
        }
        let reversed = fixture.get(&payment).await;
        assert_eq!((reversed.state(), reversed.refunded), (PaymentState::Succeeded, cny(6_800)));
        let events = fixture.events(3).await;
        let Kind::PaymentSucceeded(succeeded) = kind(&events[1]) else { panic!("{events:?}") };
        let Kind::PaymentRefunded(refunded) = kind(&events[2]) else { panic!("{events:?}") };
        assert_eq!((succeeded.reversed, refunded.reversal, events.len()), (!known_before, true, 3));
    }
}

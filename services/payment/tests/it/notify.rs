//! HandleNotification.

use std::collections::BTreeMap;

use futures::future::join_all;
use tael_grpc::status::bad_fields;
use tael_ids::{AttemptId, ChannelAccountId};
use tael_proto::event::v1::payload::Kind;
use tael_proto::payment::v1::{
    Alarm, AttemptState, HandleNotificationRequest, ListAlarmsRequest, Payment, PaymentState,
};
use tael_sandbox::control::DeliveryState;
use tael_testkit::eventually;
use tonic::Code;

use crate::world::{
    ALIPAY_KEY, APP_KEY, World, account_request, cny, create_account, kind, number, signed_form,
};

async fn alarms(world: &World) -> Vec<Alarm> {
    let request = ListAlarmsRequest {
        merchant_id: world.merchant_id.to_string(),
        page_size: 0,
        page_token: String::new(),
    };
    world.payments.clone().list_alarms(request).await.unwrap().into_inner().alarms
}

#[tokio::test]
async fn a_payers_payment_arrives_by_notification() {
    let world = World::start().await;
    let payment = world.create().await;
    let trade = world.pay(&payment).await;
    let paid = world.eventually(&payment, PaymentState::Succeeded).await;
    let attempt = &paid.attempts[0];
    assert_eq!((attempt.state(), attempt.in_doubt), (AttemptState::Succeeded, false));
    assert_eq!(Some(&attempt.channel_transaction_id), trade.trade_no.as_ref());
    assert_eq!(paid.pay_time.unwrap().seconds, trade.paid_at.unwrap().as_second());
    assert!(paid.next_action.is_none());

    let events = world.events(2).await;
    let Kind::PaymentSucceeded(event) = kind(&events[1]) else { panic!("{events:?}") };
    assert_eq!((&event.payment_id, &event.order_id), (&paid.payment_id, &paid.order_id));
    assert_eq!((&event.attempt_id, event.amount), (&attempt.attempt_id, cny(6_800)));
    assert_eq!(event.channel_transaction_id, attempt.channel_transaction_id);
    assert_eq!((&event.channel_account_id, event.pay_time), (&attempt.channel_account_id, paid.pay_time));

    // Alipay is told that it was taken, and stops.
    eventually("the notification to be acknowledged", || async {
        let trade = world.trade(&payment).await;
        (trade.notifications[0].state == DeliveryState::Acknowledged).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_replayed_notification_changes_nothing() {
    let world = World::start().await;
    let payment = world.create().await;
    let body = signed_form(&world.paid_fields(&payment), &ALIPAY_KEY);
    let account = &world.account.channel_account_id;
    assert_eq!(world.notify(account, body.clone()).await, "success");
    let paid = world.get(&payment).await;
    assert_eq!(paid.state(), PaymentState::Succeeded);
    let told = join_all((0..50).map(|_| world.notify(account, body.clone()))).await;
    assert!(told.iter().all(|told| told == "success"));
    assert_eq!(world.get(&payment).await, paid);
    assert_eq!(world.said(2).await, ["payment.created", "payment.succeeded"]);
}

#[tokio::test]
async fn fifty_notifications_at_once_are_one_success() {
    let world = World::start().await;
    let payment = world.create().await;
    let body = signed_form(&world.paid_fields(&payment), &ALIPAY_KEY);
    let told = join_all((0..50).map(|_| world.notify(&world.account.channel_account_id, body.clone()))).await;
    assert!(told.iter().all(|told| told == "success"));
    assert_eq!(world.said(2).await, ["payment.created", "payment.succeeded"]);
}

#[tokio::test]
async fn a_forged_or_altered_notification_changes_nothing() {
    let world = World::start().await;
    let payment = world.create().await;
    let account = &world.account.channel_account_id;
    let fields = world.paid_fields(&payment);
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
        assert_eq!(world.notify(account, body).await, "failure", "{what}");
    }
    assert_eq!(world.notify(account, vec![0xff; 100]).await, "failure");
    assert_eq!(world.get(&payment).await, payment);
    assert_eq!(world.said(1).await, ["payment.created"]);
    assert!(alarms(&world).await.is_empty());
    assert_eq!(world.notify(account, good).await, "success", "the good one is still good");
}

/// Signed by Alipay, and not what we know: an alarm, not an update.
#[tokio::test]
async fn a_contradiction_is_an_alarm_and_no_update() {
    let world = World::start().await;
    let payment = world.create().await;
    let account = &world.account.channel_account_id;
    for (name, field, value, expected, actual) in [
        ("total_amount", "amount", "67.99", "68.00 CNY", "67.99 CNY"),
        ("app_id", "app_id", "2021000000000999", world.app.app_id.as_str(), "2021000000000999"),
        ("seller_id", "seller_id", "2088999999999999", world.app.seller_id.as_str(), "2088999999999999"),
    ] {
        let mut fields = world.paid_fields(&payment);
        fields.insert(name, value.to_owned());
        let body = signed_form(&fields, &ALIPAY_KEY);
        let before = alarms(&world).await.len();
        for _ in 0..3 {
            assert_eq!(world.notify(account, body.clone()).await, "failure", "{name}");
        }
        let alarms = alarms(&world).await;
        assert_eq!(alarms.len(), before + 1, "the same contradiction, told again, is no other alarm");
        let alarm = &alarms[0];
        assert_eq!((alarm.field.as_str(), &alarm.payment_id), (field, &payment.payment_id));
        assert_eq!((alarm.expected.as_str(), alarm.actual.as_str()), (expected, actual));
    }
    assert_eq!(world.get(&payment).await, payment);
    let raised = "payment.alarm_raised";
    assert_eq!(world.said(4).await, ["payment.created", raised, raised, raised]);

    // The alarms do not stand in the way of the truth, and the truth not in the way of a later alarm.
    let truth = signed_form(&world.paid_fields(&payment), &ALIPAY_KEY);
    assert_eq!(world.notify(account, truth).await, "success");
    let mut more = world.paid_fields(&payment);
    more.insert("total_amount", "680.00".to_owned());
    assert_eq!(world.notify(account, signed_form(&more, &ALIPAY_KEY)).await, "failure");
    assert_eq!(alarms(&world).await.len(), 4);
    assert_eq!(world.get(&payment).await.state(), PaymentState::Succeeded);
}

#[tokio::test]
async fn a_notification_about_nothing_of_ours_fails() {
    let world = World::start().await;
    let payment = world.create().await;
    let account = &world.account.channel_account_id;
    for number in [AttemptId::new().channel_number(), "20190815155618536-564-57".to_owned()] {
        let mut fields = world.paid_fields(&payment);
        fields.insert("out_trade_no", number);
        assert_eq!(world.notify(account, signed_form(&fields, &ALIPAY_KEY)).await, "failure");
    }
    // The right number at another account of ours, whose key Alipay also signs with.
    let other = account_request(&world.merchant_id.to_string(), &world.app);
    let other = create_account(&world.payments, other).await.unwrap().channel_account_id;
    let body = signed_form(&world.paid_fields(&payment), &ALIPAY_KEY);
    assert_eq!(world.notify(&other, body.clone()).await, "failure");

    let request = HandleNotificationRequest {
        channel: 1,
        channel_account_id: ChannelAccountId::new().to_string(),
        headers: BTreeMap::new(),
        body: body.into(),
    };
    let told = world.payments.clone().handle_notification(request.clone()).await.unwrap().into_inner();
    assert_eq!((told.status, &told.body[..]), (404, b"failure".as_slice()));
    assert_eq!(world.get(&payment).await, payment);

    for (request, field) in [
        (HandleNotificationRequest { channel: 0, ..request.clone() }, "channel"),
        (
            HandleNotificationRequest { channel_account_id: "x".to_owned(), ..request.clone() },
            "channel_account_id",
        ),
        (HandleNotificationRequest { body: vec![b'a'; 65_537].into(), ..request.clone() }, "body"),
    ] {
        let status = world.payments.clone().handle_notification(request).await.unwrap_err();
        assert_eq!((status.code(), bad_fields(&status)), (Code::InvalidArgument, vec![field.to_owned()]));
    }
}

async fn told(world: &World, payment: &Payment, changes: &[(&'static str, &str)]) -> String {
    let mut fields = world.paid_fields(payment);
    for (name, value) in changes {
        fields.insert(name, (*value).to_owned());
    }
    world.notify(&world.account.channel_account_id, signed_form(&fields, &ALIPAY_KEY)).await
}

#[tokio::test]
async fn a_closed_trade_closes_and_a_waiting_one_says_nothing() {
    let world = World::start().await;
    let payment = world.create().await;
    assert_eq!(told(&world, &payment, &[("trade_status", "WAIT_BUYER_PAY")]).await, "success");
    assert_eq!(world.get(&payment).await, payment);
    // In another application's name it would be an alarm, like everything else.
    let foreign = [("trade_status", "TRADE_CLOSED"), ("app_id", "2021000000000999")];
    assert_eq!(told(&world, &payment, &foreign).await, "failure");
    assert_eq!((world.get(&payment).await, alarms(&world).await.len()), (payment.clone(), 1));
    assert_eq!(told(&world, &payment, &[("trade_status", "TRADE_CLOSED")]).await, "success");
    assert_eq!(world.get(&payment).await.state(), PaymentState::Closed);
    assert_eq!(world.said(3).await, ["payment.created", "payment.alarm_raised", "payment.closed"]);
}

/// Messages come late and in any order: none moves a state backwards, and money always counts.
#[tokio::test]
async fn money_that_comes_late_is_recorded() {
    let world = World::start().await;
    let order = world.order();
    let closed = world.try_create(&order).await.unwrap();
    world.close(&closed).await;
    let next = world.try_create(&order).await.unwrap();

    assert_eq!(told(&world, &closed, &[]).await, "success");
    assert_eq!(world.get(&closed).await.state(), PaymentState::Succeeded);
    assert_eq!(told(&world, &closed, &[("trade_status", "TRADE_CLOSED")]).await, "success");
    assert_eq!(world.get(&closed).await.state(), PaymentState::Succeeded);
    // The payment that was made since keeps its order.
    assert_eq!(told(&world, &next, &[("trade_no", "2026030122001468450512505579")]).await, "success");
    assert_eq!(world.get(&next).await.state(), PaymentState::Succeeded);
    assert_eq!(
        world.said(5).await,
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
        let world = World::start().await;
        let payment = world.create().await;
        if known_before {
            assert_eq!(told(&world, &payment, &[]).await, "success");
        }
        for _ in 0..3 {
            assert_eq!(told(&world, &payment, &given_back).await, "success");
        }
        let reversed = world.get(&payment).await;
        assert_eq!((reversed.state(), reversed.refunded), (PaymentState::Succeeded, cny(6_800)));
        let events = world.events(3).await;
        let Kind::PaymentSucceeded(succeeded) = kind(&events[1]) else { panic!("{events:?}") };
        let Kind::PaymentRefunded(refunded) = kind(&events[2]) else { panic!("{events:?}") };
        assert_eq!((succeeded.reversed, refunded.reversal, events.len()), (!known_before, true, 3));
    }
}

use tael_sandbox::control::{AddFault, DeliveryState, Fault, NotificationEvent, TradeView};

use crate::merchant::{endpoint, notification_is_genuine, world, world_with};
use tael_sandbox::Config;

fn fault(fault: Fault) -> AddFault {
    AddFault::new(fault).times(1)
}

fn acknowledged(trade: &TradeView) -> bool {
    trade.notifications.iter().all(|notification| notification.state == DeliveryState::Acknowledged)
}

#[tokio::test]
async fn a_payment_is_notified_with_a_genuine_signature() {
    let world = world().await;
    let mut shop = endpoint(&[]).await;
    let trade = world.paid("order1", "88.88", Some(&shop.url)).await;
    let fields = shop.next().await;
    assert!(notification_is_genuine(&world, &fields));
    for (name, value) in [
        ("notify_type", "trade_status_sync"),
        ("trade_status", "TRADE_SUCCESS"),
        ("app_id", &world.app.app_id),
        ("auth_app_id", &world.app.app_id),
        ("seller_id", &world.app.seller_id),
        ("out_trade_no", "order1"),
        ("trade_no", trade.trade_no.as_ref().unwrap()),
        ("total_amount", "88.88"),
        ("receipt_amount", "88.88"),
        ("buyer_pay_amount", "88.88"),
        ("subject", "乌龙茶 500g"),
        ("version", "1.0"),
        ("charset", "utf-8"),
        ("fund_bill_list", r#"[{"amount":"88.88","fundChannel":"ALIPAYACCOUNT"}]"#),
    ] {
        assert_eq!(fields.get(name).map(String::as_str), Some(value), "{name}");
    }
    let mut altered = fields.clone();
    altered.insert("total_amount".to_owned(), "0.01".to_owned());
    assert!(!notification_is_genuine(&world, &altered));

    let trade = world.until("order1", acknowledged).await;
    let attempts = &trade.notifications[0].attempts;
    assert_eq!(attempts.len(), 1);
    assert_eq!((attempts[0].http_status, attempts[0].body.as_deref()), (Some(200), Some("success")));
}

#[tokio::test]
async fn without_a_notify_url_nothing_is_sent() {
    let world = world().await;
    let trade = world.paid("order1", "1.00", None).await;
    assert!(trade.notifications.is_empty());
}

#[tokio::test]
async fn what_is_not_acknowledged_is_sent_again_under_the_same_id() {
    let world = world().await;
    let answers = [(500, "success"), (302, "success"), (200, "SUCCESS"), (200, "success\n"), (200, "")];
    let mut shop = endpoint(&answers).await;
    world.paid("order1", "1.00", Some(&shop.url)).await;
    let first = shop.next().await;
    for _ in 0..5 {
        let again = shop.next().await;
        assert!(notification_is_genuine(&world, &again));
        assert_eq!(again["notify_id"], first["notify_id"]);
    }
    let trade = world.until("order1", acknowledged).await;
    let statuses: Vec<_> =
        trade.notifications[0].attempts.iter().map(|attempt| attempt.http_status.unwrap()).collect();
    assert_eq!(statuses, [500, 302, 200, 200, 200, 200]);
    assert!(shop.is_quiet(), "a redirect was followed or an acknowledged notification repeated");
}

#[tokio::test]
async fn after_eight_deliveries_alipay_gives_up() {
    let world = world().await;
    let mut shop = endpoint(&[(200, "fail"); 8]).await;
    world.paid("order1", "1.00", Some(&shop.url)).await;
    for _ in 0..8 {
        shop.next().await;
    }
    let trade = world.until("order1", |trade| trade.notifications[0].state == DeliveryState::GivenUp).await;
    assert_eq!(trade.notifications[0].attempts.len(), 8);
    assert!(shop.is_quiet());
}

#[tokio::test]
async fn an_unreachable_endpoint_is_an_error_in_the_log() {
    let world = world().await;
    // Port 9 of the loopback interface is not listened on.
    world.paid("order1", "1.00", Some("http://127.0.0.1:9/notify")).await;
    let trade = world.until("order1", |trade| trade.notifications[0].state == DeliveryState::GivenUp).await;
    assert!(trade.notifications[0].attempts.iter().all(|attempt| attempt.error.is_some()));
}

#[tokio::test]
async fn skipped_time_brings_the_retries_forward() {
    let world = world_with(Config::default()).await;
    let mut shop = endpoint(&[(500, "")]).await;
    world.paid("order1", "1.00", Some(&shop.url)).await;
    let first = shop.next().await;
    let waiting =
        world.until("order1", |trade| trade.notifications[0].state == DeliveryState::Scheduled).await;
    let attempt = &waiting.notifications[0];
    let wait = attempt.next_attempt_at.unwrap().duration_since(attempt.attempts[0].at);
    assert_eq!(wait.as_secs(), 4 * 60);
    world.control.skip_ms(4 * 60 * 1000).await.unwrap();
    assert_eq!(shop.next().await["notify_id"], first["notify_id"]);
}

#[tokio::test]
async fn refunds_are_notified_with_the_sum_so_far() {
    let world = world().await;
    let mut shop = endpoint(&[]).await;
    world.paid("order1", "10.00", Some(&shop.url)).await;
    shop.next().await;
    world.refund("order1", "r1", "4.00").await;
    let partial = shop.next().await;
    world.refund("order1", "r2", "6.00").await;
    let full = shop.next().await;
    assert!(notification_is_genuine(&world, &partial) && notification_is_genuine(&world, &full));
    let values = |fields: &std::collections::BTreeMap<String, String>| {
        ["trade_status", "refund_fee", "out_biz_no", "total_amount"].map(|name| fields[name].clone())
    };
    assert_eq!(values(&partial), ["TRADE_SUCCESS", "4.00", "r1", "10.00"]);
    assert_eq!(values(&full), ["TRADE_CLOSED", "10.00", "r2", "10.00"]);
    assert_eq!(partial["gmt_refund"].len(), "2020-03-27 18:19:15.143".len());
    assert!(full.contains_key("gmt_close") && !partial.contains_key("gmt_close"));
    assert_ne!(partial["notify_id"], full["notify_id"]);

    // A replayed refund is no new event.
    world.refund("order1", "r2", "6.00").await;
    let trade = world.until("order1", acknowledged).await;
    assert_eq!(trade.notifications.len(), 3);
}

#[tokio::test]
async fn a_lost_notification_never_comes_and_can_be_resent() {
    let world = world().await;
    let mut shop = endpoint(&[]).await;
    world.control.add_fault(&fault(Fault::LoseNotification { attempts: None })).await.unwrap();
    let lost = world.paid("lost", "1.00", Some(&shop.url)).await;
    world.paid("arrives", "1.00", Some(&shop.url)).await;
    assert_eq!(shop.next().await["out_trade_no"], "arrives");
    world.until("arrives", acknowledged).await;
    assert_eq!(lost.notifications[0].state, DeliveryState::Lost);
    assert!(shop.is_quiet());

    world.control.resend(&lost.notifications[0].notify_id).await.unwrap();
    assert_eq!(shop.next().await["notify_id"], lost.notifications[0].notify_id);
    world.until("lost", acknowledged).await;
    // A replay of an acknowledged one.
    world.control.resend(&lost.notifications[0].notify_id).await.unwrap();
    assert_eq!(shop.next().await["notify_id"], lost.notifications[0].notify_id);
}

#[tokio::test]
async fn lost_deliveries_are_made_up_for_by_retries() {
    let world = world().await;
    let mut shop = endpoint(&[]).await;
    world.control.add_fault(&fault(Fault::LoseNotification { attempts: Some(2) })).await.unwrap();
    world.paid("order1", "1.00", Some(&shop.url)).await;
    shop.next().await;
    let trade = world.until("order1", acknowledged).await;
    assert_eq!(trade.notifications[0].attempts.len(), 3);
}

#[tokio::test]
async fn a_duplicated_notification_comes_several_times() {
    let world = world().await;
    let mut shop = endpoint(&[]).await;
    world.control.add_fault(&fault(Fault::DuplicateNotification { copies: 2 })).await.unwrap();
    world.paid("order1", "1.00", Some(&shop.url)).await;
    let ids =
        [shop.next().await, shop.next().await, shop.next().await].map(|fields| fields["notify_id"].clone());
    assert!(ids.iter().all(|id| *id == ids[0]));
    world.until("order1", acknowledged).await;
    assert!(shop.is_quiet());
}

#[tokio::test]
async fn a_reordered_notification_comes_after_the_next_one() {
    let world = world_with(Config::default()).await;
    let mut shop = endpoint(&[]).await;
    let rule = fault(Fault::ReorderNotification).event(NotificationEvent::Payment);
    world.control.add_fault(&rule).await.unwrap();
    world.paid("order1", "1.00", Some(&shop.url)).await;
    world.refund("order1", "r1", "1.00").await;
    assert_eq!(shop.next().await["trade_status"], "TRADE_CLOSED");
    assert_eq!(shop.next().await["trade_status"], "TRADE_SUCCESS");
}

#[tokio::test]
async fn a_delayed_notification_comes_late() {
    let world = world_with(Config::default()).await;
    let mut shop = endpoint(&[]).await;
    world.control.add_fault(&fault(Fault::DelayNotification { delay_ms: 3_600_000 })).await.unwrap();
    world.paid("late", "1.00", Some(&shop.url)).await;
    world.paid("prompt", "1.00", Some(&shop.url)).await;
    assert_eq!(shop.next().await["out_trade_no"], "prompt");
    shop.answer_next(200, "success");
    world.control.skip_ms(3_600_000).await.unwrap();
    assert_eq!(shop.next().await["out_trade_no"], "late");
}

use aws_lc_rs::rsa::{KeyPair, KeySize};
use tael_sandbox::{
    App, BuildError, Config, ControlClient,
    alipay::{self, AppView, RegisterApp},
    client::ControlError,
    control::{AddFault, Fault, NotificationEvent, TradeFilter, TradeStatus},
};

use crate::merchant::{registration, world};

fn status<T: std::fmt::Debug>(result: Result<T, ControlError>) -> u16 {
    match result.unwrap_err() {
        ControlError::Refused { status, .. } => status.as_u16(),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn registering_again_changes_the_key_and_nothing_else() {
    let mut world = world().await;
    world.paid("order1", "1.00", None).await;
    let new_key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let again = RegisterApp { app_id: Some(world.app.app_id.clone()), ..registration(&new_key) };
    let app: AppView = world.control.register(&again).await.unwrap();
    assert_eq!(app, world.app);
    let mut query = world.common("alipay.trade.query");
    query.insert("biz_content".to_owned(), r#"{"out_trade_no":"order1"}"#.to_owned());
    let sign = world.sign(&query);
    query.insert("sign".to_owned(), sign);
    assert_eq!(world.send_to_be_refused(&query).await.outcome(), "40002 isv.invalid-signature");
    world.key = new_key.into();
    assert_eq!(world.query("order1").await.outcome(), "10000");
    let other_seller = RegisterApp { seller_id: Some("2088000000000000".to_owned()), ..again };
    assert_eq!(status(world.control.register::<AppView>(&other_seller).await), 409);
}

#[tokio::test]
async fn bad_registrations_are_refused() {
    let world = world().await;
    let good = registration(&world.key);
    for bad in [
        RegisterApp { app_id: Some("a b".to_owned()), ..good.clone() },
        RegisterApp { app_id: Some(String::new()), ..good.clone() },
        RegisterApp { seller_id: Some("2088".to_owned()), ..good.clone() },
        RegisterApp { public_key: "AAAA".to_owned(), ..good.clone() },
        RegisterApp { fee_rate: Some("0,6".to_owned()), ..good.clone() },
    ] {
        assert_eq!(status(world.control.register::<AppView>(&bad).await), 400, "{bad:?}");
    }
    let cheap = RegisterApp { fee_rate: Some("0.0038".to_owned()), ..good };
    assert_eq!(world.control.register::<AppView>(&cheap).await.unwrap().fee_rate, "0.0038");
}

#[tokio::test]
async fn a_pem_key_is_taken_as_well() {
    let world = world().await;
    let mut app = registration(&world.key);
    let lines: Vec<_> =
        app.public_key.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    app.public_key = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"));
    world.control.register::<AppView>(&app).await.unwrap();
}

#[tokio::test]
async fn orders_are_listed_page_by_page() {
    let world = world().await;
    for number in 0..5 {
        world.precreate(&format!("order{number}"), "1.00", None).await;
    }
    world.control.pay(world.trade("order3")).await.unwrap();
    let mut filter =
        TradeFilter { account: Some(world.app.app_id.clone()), limit: Some(2), ..TradeFilter::default() };
    let mut numbers = Vec::new();
    loop {
        let page = world.control.trades(&filter).await.unwrap();
        numbers.extend(page.trades.into_iter().map(|trade| trade.out_trade_no));
        filter.after = page.next;
        if page.next.is_none() {
            break;
        }
    }
    assert_eq!(numbers, ["order0", "order1", "order2", "order3", "order4"]);
    let paid = TradeFilter { status: Some(TradeStatus::Paid), ..TradeFilter::default() };
    let page = world.control.trades(&paid).await.unwrap();
    assert_eq!(page.trades.len(), 1);
    assert_eq!(page.trades[0].out_trade_no, "order3");
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let world = world().await;
    assert_eq!(status(world.control.pay(world.trade("nowhere")).await), 404);
    assert_eq!(status(world.control.trade("nobody", "order1").await), 404);
    assert_eq!(status(world.control.resend("1").await), 404);
    world.paid("order1", "1.00", None).await;
    assert_eq!(status(world.control.pay(world.trade("order1")).await), 409);
    assert_eq!(status(world.control.skip_ms(i64::MAX).await), 400);
    for bad in [
        AddFault::new(Fault::DropRequest).times(0),
        AddFault::new(Fault::DropRequest).event(NotificationEvent::Refund),
        AddFault::new(Fault::ReorderNotification).operation("m"),
        AddFault::new(Fault::DuplicateNotification { copies: 0 }),
        AddFault::new(Fault::PretendClosed),
    ] {
        assert_eq!(status(world.control.add_fault(&bad).await), 400, "{bad:?}");
    }
}

#[tokio::test]
async fn the_sandbox_says_that_it_is_alive() {
    let world = world().await;
    assert_eq!(
        world.http.get(format!("{}/healthz", world.url)).send().await.unwrap().text().await.unwrap(),
        "ok"
    );
}

#[tokio::test]
async fn without_a_configured_key_every_sandbox_has_its_own() {
    let keys = [App::build(Config::default()).await.unwrap(), App::build(Config::default()).await.unwrap()];
    let mut public = Vec::new();
    for app in keys {
        let control = ControlClient::new(app.url()).unwrap();
        let server = tokio::spawn(app.run(std::future::pending()));
        let merchant = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let app: AppView = control.register(&registration(&merchant)).await.unwrap();
        public.push(app.alipay_public_key);
        server.abort();
    }
    assert_ne!(public[0], public[1]);
}

#[tokio::test]
async fn an_address_in_use_and_a_bad_key_are_errors() {
    let first = App::build(Config::default()).await.unwrap();
    let taken = Config { listen: first.addr(), ..Config::default() };
    assert!(matches!(App::build(taken).await, Err(BuildError::Listen { .. })));
    let bad_key =
        alipay::Config { private_key_pem: Some("nonsense".to_owned()), ..alipay::Config::default() };
    let bad_key = Config { alipay: bad_key, ..Config::default() };
    assert!(matches!(App::build(bad_key).await, Err(BuildError::Channel(_))));
}

use std::sync::{Arc, Mutex};

use secrecy::ExposeSecret as _;
use tael_ids::MerchantId;
use tael_proto::event::v1::payload::Kind;
use tael_proto::order::v1::{
    CancelOrderRequest, Contact, CreateOrderRequest, CreateOrderResponse, Fulfilment, GetOrderRequest,
    GetPayableOrderRequest, ListOrdersRequest, NewLine, OrderState, RefundProgress,
};
use tael_testkit::{keyed, new_key, redis_url, with_key};
use tonic::Status;
use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::fixture::{Fixture, START, assert_bad_fields, cny, kind, line, money, voucher_line};

async fn refusal(fixture: &Fixture, request: CreateOrderRequest) -> Status {
    let answer = fixture.orders.clone().create_order(keyed(request)).await;
    answer.map(|answer: tonic::Response<CreateOrderResponse>| answer.into_inner()).unwrap_err()
}

fn contact() -> Contact {
    Contact {
        name: "王小明".into(),
        phone: "+86 138 0000 0000".into(),
        email: "ming@example.com".into(),
        address: "上海市黄浦区人民大道 1 号".into(),
    }
}

#[tokio::test]
async fn an_order_is_priced_and_stored() {
    let fixture = Fixture::start().await;
    let promotion = fixture.promotion(cny(10_000), cny(1_000)).await;
    fixture.promotion(cny(5_000), cny(300)).await;
    let request = CreateOrderRequest {
        merchant_reference: "shop-1".into(),
        shipping: Some(cny(800)),
        contact: Some(contact()),
        expire_after: Some(prost_types::Duration { seconds: 600, nanos: 0 }),
        ..fixture.request(vec![line("tea", 3, cny(3_000)), voucher_line("tasting", 2, cny(2_500))])
    };
    let order = fixture.create(request).await;

    assert_eq!(order.state(), OrderState::PendingPayment);
    assert_eq!(order.merchant_id, fixture.merchant.to_string());
    assert_eq!(order.merchant_reference, "shop-1");
    let price = order.price.as_ref().unwrap();
    assert_eq!(
        (price.items.clone(), price.discount.clone(), price.shipping.clone(), price.total.clone()),
        (Some(cny(14_000)), Some(cny(1_000)), Some(cny(800)), Some(cny(13_800)))
    );
    assert_eq!(price.promotion_id, promotion.promotion_id);
    let [tea, tasting] = order.lines.as_slice() else { panic!("two lines") };
    // 1000 × 90/140 = 642.86 and 1000 × 50/140 = 357.14.
    assert_eq!((tea.discount.clone(), tea.total.clone()), (Some(cny(643)), Some(cny(8_357))));
    assert_eq!((tasting.discount.clone(), tasting.total.clone()), (Some(cny(357)), Some(cny(4_643))));
    assert_eq!((tea.sku.as_str(), tea.name.as_str(), tea.quantity), ("tea", "<tea>", 3));
    assert_eq!((tea.fulfilment(), tasting.fulfilment()), (Fulfilment::Shipped, Fulfilment::Voucher));
    assert_eq!(order.contact, Some(contact()));
    assert_eq!((order.payment_id.as_str(), order.pay_time), ("", None));
    assert_eq!((order.refunded.clone(), order.refund_progress()), (Some(cny(0)), RefundProgress::None));
    let start: jiff::Timestamp = START.parse().unwrap();
    assert_eq!(order.create_time.unwrap().seconds, start.as_second());
    assert_eq!(order.expire_time.unwrap().seconds, start.as_second() + 600);

    assert_eq!(fixture.get(&order).await, order, "what is stored is what was answered");
    let events = fixture.until_events(1, |k| matches!(k, Kind::OrderCreated(_))).await;
    let Kind::OrderCreated(created) = kind(&events[0]) else { panic!("filtered") };
    assert_eq!(created.order_id, order.order_id);
    assert_eq!((created.total.clone(), created.expire_time), (Some(cny(13_800)), order.expire_time));
    assert_eq!(events[0].aggregate_id, order.order_id);
    assert_eq!(events[0].merchant_id, fixture.merchant.to_string());
}

#[tokio::test]
async fn contacts_are_stored_sealed() {
    let fixture = Fixture::start().await;
    let request =
        CreateOrderRequest { contact: Some(contact()), ..fixture.request(vec![line("tea", 1, cny(1))]) };
    fixture.create(request).await;
    let stored: Vec<u8> =
        sqlx::query_scalar("select contact from orders").fetch_one(&fixture.database.pool()).await.unwrap();
    for secret in ["王小明", "138 0000", "ming@example.com", "上海"] {
        assert!(!stored.windows(secret.len()).any(|bytes| bytes == secret.as_bytes()), "{secret}");
    }
}

#[tokio::test]
async fn contacts_do_not_lie_in_redis_and_yet_are_in_repeated_answers() {
    let fixture = Fixture::start().await;
    let key = new_key();
    let request =
        CreateOrderRequest { contact: Some(contact()), ..fixture.request(vec![line("tea", 1, cny(1))]) };
    let create = async || {
        let request = with_key(&key, request.clone());
        fixture.orders.clone().create_order(request).await.unwrap().into_inner().order.unwrap()
    };
    let order = create().await;
    assert_eq!(order.contact, Some(contact()));
    assert_eq!(create().await, order);
    let cancel =
        CancelOrderRequest { merchant_id: fixture.merchant.to_string(), order_id: order.order_id.clone() };
    for _ in 0..2 {
        let request = with_key(&key, cancel.clone());
        let cancelled = fixture.orders.clone().cancel_order(request).await.unwrap().into_inner();
        assert_eq!(cancelled.order.unwrap().contact, None, "only who asks for it is told");
    }

    let client = redis::Client::open(redis_url().expose_secret()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    for method in ["CreateOrder", "CancelOrder"] {
        let kept: Vec<Vec<u8>> = redis::cmd("HVALS")
            .arg(format!("tael:idempotency:{}:{method}:{key}", fixture.merchant))
            .query_async(&mut redis)
            .await
            .unwrap();
        assert!(!kept.is_empty(), "the answer is remembered");
        for secret in ["王小明", "138 0000", "ming@example.com", "上海"] {
            let shown = kept.iter().any(|value| value.windows(secret.len()).any(|w| w == secret.as_bytes()));
            assert!(!shown, "{method} {secret}");
        }
    }
}

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_contact_is_told_only_where_it_is_asked_for_and_each_reading_is_logged() {
    // The service runs on this test's own thread, and so it is this test's subscriber that it logs to.
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
    let _logged = subscriber.set_default();
    // With one subscriber in all, what another test's thread comes to first is switched off for every thread.
    let _second = Dispatch::new(NoSubscriber::default());
    let fixture = Fixture::start().await;
    let request =
        CreateOrderRequest { contact: Some(contact()), ..fixture.request(vec![line("tea", 1, cny(1))]) };
    let order = fixture.create(request).await;
    let get = |with_contact| GetOrderRequest {
        merchant_id: order.merchant_id.clone(),
        order_id: order.order_id.clone(),
        with_contact,
    };
    let readings = || {
        let text = String::from_utf8(logged.0.lock().unwrap().clone()).unwrap();
        text.lines()
            .filter(|line| line.contains("a buyer's contact is read"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let mut orders = fixture.orders.clone();
    let without = orders.get_order(get(false)).await.unwrap().into_inner().order.unwrap();
    assert_eq!((without.contact, without.lines), (None, order.lines.clone()));
    let list = ListOrdersRequest { merchant_id: order.merchant_id.clone(), ..Default::default() };
    assert_eq!(orders.list_orders(list).await.unwrap().into_inner().orders[0].contact, None);
    assert_eq!(readings(), [""; 0]);

    let with = orders.get_order(get(true)).await.unwrap().into_inner().order.unwrap();
    assert_eq!(with.contact, Some(contact()));
    let readings = readings();
    let [reading] = readings.as_slice() else { panic!("{readings:?}") };
    // Without certificates nobody knows who calls.
    for part in [&order.order_id, &order.merchant_id, "caller=\"not known\""] {
        assert!(reading.contains(part), "{reading}");
    }
    let all = String::from_utf8(logged.0.lock().unwrap().clone()).unwrap();
    assert!(!all.contains("ming@example.com") && !all.contains("王小明"));
}

#[tokio::test]
async fn who_moves_an_order_s_money_is_told_nothing_of_its_buyer_and_no_code() {
    let fixture = Fixture::start().await;
    let lines = vec![voucher_line("tasting", 2, cny(100)), line("tea", 1, cny(50))];
    let request = CreateOrderRequest { contact: Some(contact()), ..fixture.request(lines) };
    let order = fixture.create(request).await;
    let order = fixture.pay(&order).await;
    let request =
        GetPayableOrderRequest { merchant_id: order.merchant_id.clone(), order_id: order.order_id.clone() };
    let payable =
        fixture.orders.clone().get_payable_order(request).await.unwrap().into_inner().order.unwrap();
    let shown = format!("{payable:?}");
    for secret in ["王小明", "138 0000", "ming@example.com", "上海", order.vouchers[0].code.as_str()] {
        assert!(!shown.contains(secret), "{secret}");
    }
    assert_eq!((payable.state(), payable.lines, payable.price), (order.state(), order.lines, order.price));
    assert_eq!((payable.payment_id, payable.pay_time), (order.payment_id, order.pay_time));
}

#[tokio::test]
async fn a_contact_that_says_nothing_is_none() {
    let fixture = Fixture::start().await;
    let request = CreateOrderRequest {
        contact: Some(Contact::default()),
        ..fixture.request(vec![line("tea", 1, cny(1))])
    };
    assert_eq!(fixture.create(request).await.contact, None);
}

#[tokio::test]
async fn currencies_with_none_two_and_three_decimals_work() {
    let fixture = Fixture::start().await;
    for code in ["JPY", "CNY", "KWD"] {
        fixture.promotion(money(1_000, code), money(100, code)).await;
        let lines = vec![line("a", 1, money(333, code)), line("b", 2, money(334, code))];
        let order = fixture.create(fixture.request(lines)).await;
        let price = order.price.unwrap();
        assert_eq!((price.items, price.total), (Some(money(1_001, code)), Some(money(901, code))));
        let shares: i64 = order.lines.iter().map(|l| l.discount.as_ref().unwrap().minor).sum();
        assert_eq!(shares, 100);
    }
}

#[tokio::test]
async fn every_bad_field_is_named() {
    let fixture = Fixture::start().await;
    let good = || fixture.request(vec![line("tea", 1, cny(100))]);
    let with_line = |change: fn(&mut NewLine)| {
        let mut bad = line("tea", 1, cny(100));
        change(&mut bad);
        fixture.request(vec![line("cup", 1, cny(100)), bad])
    };
    let with = |change: &dyn Fn(&mut CreateOrderRequest)| {
        let mut request = good();
        change(&mut request);
        request
    };
    let seconds = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });
    let table: Vec<(CreateOrderRequest, &[&str])> = vec![
        (with(&|r| r.merchant_id.clear()), &["merchant_id"]),
        (with(&|r| r.merchant_id = "mer_x".into()), &["merchant_id"]),
        (with(&|r| r.merchant_id = r.merchant_id.replace("mer", "ord")), &["merchant_id"]),
        (with(&|r| r.merchant_reference = "x".repeat(65)), &["merchant_reference"]),
        (with(&|r| r.lines.clear()), &["lines"]),
        (with(&|r| r.lines = vec![line("tea", 1, cny(1)); 101]), &["lines"]),
        (with_line(|l| l.sku.clear()), &["lines[1].sku"]),
        (with_line(|l| l.sku = "x".repeat(65)), &["lines[1].sku"]),
        (with_line(|l| l.name.clear()), &["lines[1].name"]),
        (with_line(|l| l.name = "字".repeat(257)), &["lines[1].name"]),
        (with_line(|l| l.name = "tea\n".into()), &["lines[1].name"]),
        (with_line(|l| l.quantity = 0), &["lines[1].quantity"]),
        (with_line(|l| l.quantity = 10_000), &["lines[1].quantity"]),
        (with_line(|l| l.unit_price = None), &["lines[1].unit_price"]),
        (with_line(|l| l.unit_price = Some(cny(-1))), &["lines[1].unit_price.minor"]),
        (with_line(|l| l.unit_price = Some(money(1, ""))), &["lines[1].unit_price.currency"]),
        (with_line(|l| l.unit_price = Some(money(1, "XYZ"))), &["lines[1].unit_price.currency"]),
        (with_line(|l| l.unit_price = Some(money(1, "USD"))), &["lines[1].unit_price.currency"]),
        (with_line(|l| l.fulfilment = 99), &["lines[1].fulfilment"]),
        (with_line(|l| (l.unit_price, l.quantity) = (Some(cny(500_000_000_000)), 2)), &["lines[1]"]),
        (with_line(|l| l.unit_price = Some(cny(999_999_999_999))), &["lines[1]"]),
        (with_line(|l| l.unit_price = Some(cny(1_000_000_000_000))), &["lines[1].unit_price.minor"]),
        // 2⁶³ − 1, which no channel has digits for.
        (with_line(|l| l.unit_price = Some(cny(i64::MAX))), &["lines[1].unit_price.minor"]),
        (with(&|r| r.shipping = Some(cny(-1))), &["shipping.minor"]),
        (with(&|r| r.shipping = Some(money(1, "USD"))), &["shipping.currency"]),
        (with(&|r| r.shipping = Some(money(1, "cny"))), &["shipping.currency"]),
        (with(&|r| r.shipping = Some(cny(i64::MAX))), &["shipping.minor"]),
        (with(&|r| r.shipping = Some(cny(999_999_999_999))), &["shipping"]),
        (with(&|r| r.contact = Some(Contact { name: "x".repeat(129), ..contact() })), &["contact.name"]),
        (with(&|r| r.contact = Some(Contact { phone: "1".repeat(33), ..contact() })), &["contact.phone"]),
        (with(&|r| r.contact = Some(Contact { email: "x".repeat(255), ..contact() })), &["contact.email"]),
        (
            with(&|r| r.contact = Some(Contact { address: "x".repeat(513), ..contact() })),
            &["contact.address"],
        ),
        (with(&|r| r.expire_after = seconds(59, 999_999_999)), &["expire_after"]),
        (with(&|r| r.expire_after = seconds(7 * 86_400, 1)), &["expire_after"]),
        (with(&|r| r.expire_after = seconds(-60, 0)), &["expire_after"]),
        (with(&|r| r.expire_after = seconds(120, -1)), &["expire_after"]),
        (with(&|r| r.expire_after = seconds(i64::MAX, 0)), &["expire_after"]),
        (
            CreateOrderRequest {
                merchant_id: String::new(),
                shipping: Some(cny(-5)),
                ..fixture.request(vec![line("", 0, cny(-1))])
            },
            &[
                "merchant_id",
                "lines[0].sku",
                "lines[0].quantity",
                "lines[0].unit_price.minor",
                "shipping.minor",
            ],
        ),
    ];
    for (request, fields) in table {
        assert_bad_fields(&refusal(&fixture, request).await, fields);
    }
    assert!(fixture.events().await.is_empty(), "nothing was stored");
}

#[tokio::test]
async fn the_bounds_themselves_are_allowed() {
    let fixture = Fixture::start().await;
    let request = CreateOrderRequest {
        merchant_reference: "字".repeat(64),
        expire_after: Some(prost_types::Duration { seconds: 7 * 86_400, nanos: 0 }),
        ..fixture.request(vec![line(&"s".repeat(64), 9_999, cny(1)); 100])
    };
    let order = fixture.create(request).await;
    assert_eq!(order.lines.len(), 100);
    assert_eq!(order.price.unwrap().total, Some(cny(999_900)));
}

#[tokio::test]
async fn promotions_of_others_ended_ones_and_other_currencies_do_not_count() {
    let mut fixture = Fixture::start().await;
    let ours = fixture.merchant;
    fixture.merchant = MerchantId::new();
    fixture.promotion(cny(1), cny(1)).await;
    fixture.merchant = ours;
    fixture.promotion(money(1, "USD"), money(1, "USD")).await;
    let ended = fixture.promotion(cny(100), cny(50)).await;
    let request = tael_proto::order::v1::EndPromotionRequest {
        merchant_id: ours.to_string(),
        promotion_id: ended.promotion_id,
    };
    fixture.promotions().end_promotion(keyed(request)).await.unwrap();
    let order = fixture.create(fixture.request(vec![line("tea", 1, cny(100))])).await;
    assert_eq!(order.price.unwrap().discount, Some(cny(0)));
}

#[tokio::test]
async fn a_key_is_needed() {
    let fixture = Fixture::start().await;
    let request = fixture.request(vec![line("tea", 1, cny(100))]);
    let status = fixture.orders.clone().create_order(request).await.unwrap_err();
    assert_bad_fields(&status, &["idempotency-key"]);
}

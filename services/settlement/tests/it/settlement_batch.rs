use futures::future::join_all;
use jiff::SignedDuration;
use tael_grpc::status::{bad_fields, reason};
use tael_ids::{BatchId, MerchantId};
use tael_proto::event::v1::event_log_service_client::EventLogServiceClient;
use tael_proto::event::v1::payload::Kind;
use tael_proto::event::v1::{BatchClosed, ReadEventsRequest};
use tael_proto::settlement::v1::{
    Batch, BatchLine, CloseBatchRequest, GetBatchRequest, ListBatchesRequest, TransferKind,
};
use tael_testkit::keyed;
use tonic::{Code, Request};

use crate::fixture::{Shop, closing, cny, money, start};

fn line(kind: TransferKind, component: &str, transfer_count: u32, minor: i64) -> BatchLine {
    BatchLine { kind: kind.into(), component: component.to_owned(), transfer_count, amount: Some(cny(minor)) }
}

#[tokio::test]
async fn a_batch_takes_yesterday_and_adds_up() {
    let mut fixture = start().await;
    let shop = fixture.shop_with_rates("0.006", "0.0038").await;
    let paid = shop.paid(10_000);
    let today = shop.paid_at(cny(777), "2026-11-20T16:00:00Z"); // midnight in Shanghai belongs to the new day
    let last = shop.paid_at(cny(300), "2026-11-20T15:59:59.999999Z");
    let dollars = shop.paid_at(money(900, "USD"), "2026-11-19T00:00:00Z");
    let events =
        [paid.event(), last.event(), today.event(), dollars.event(), paid.refunded(2_500, 2_500).event()];
    fixture.happen(events).await;

    let batch = fixture.close(&shop, None).await.unwrap();
    let expected = Batch {
        batch_id: batch.batch_id.clone(),
        merchant_id: shop.merchant_id.clone(),
        cut_off_time: Some(tael_grpc::convert::timestamp("2026-11-20T16:00:00Z".parse().unwrap())),
        payment_count: 2,
        refund_count: 1,
        gross: Some(cny(10_300)),
        refunds: Some(cny(2_500)),
        fees: Some(cny(62)),
        fees_returned: Some(cny(15)),
        held: Some(cny(0)),
        released: Some(cny(0)),
        net: Some(cny(7_753)),
        close_time: Some(tael_grpc::convert::timestamp(fixture.clock.now())),
        lines: vec![
            line(TransferKind::Payment, "channel_fee", 2, 39),
            line(TransferKind::Payment, "fee", 2, 62),
            line(TransferKind::Payment, "received", 2, 10_300),
            line(TransferKind::Refund, "channel_fee", 1, 10),
            line(TransferKind::Refund, "fee", 1, 15),
            line(TransferKind::Refund, "received", 1, 2_500),
        ],
    };
    assert_eq!(batch, expected);
    assert!(batch.batch_id.starts_with("bat_"));
    let [_, payable, payout, _, _] = fixture.balances(&shop).await;
    assert_eq!((payable, payout), (-(777 - 5), -7_753));
    fixture.checked().await;

    let request = GetBatchRequest { merchant_id: shop.merchant_id.clone(), batch_id: batch.batch_id.clone() };
    assert_eq!(fixture.batches.get_batch(request).await.unwrap().into_inner().batch, Some(batch));
}

#[tokio::test]
async fn what_comes_late_is_in_the_next_batch() {
    let fixture = start().await;
    let shop = fixture.shop();
    fixture.happen([shop.paid(100).event()]).await;
    assert_eq!(fixture.close(&shop, None).await.unwrap().net, Some(cny(100)));
    assert_eq!(reason(&fixture.close(&shop, None).await.unwrap_err()).as_deref(), Some("NOTHING_TO_SETTLE"));
    fixture.happen([shop.paid_at(cny(20), "2026-11-01T00:00:00Z").event()]).await;
    assert_eq!(fixture.close(&shop, None).await.unwrap().net, Some(cny(20)));
}

#[tokio::test]
async fn days_begin_in_the_merchants_zone() {
    let fixture = start().await;
    // At noon of the 21st in Shanghai it is still the 20th in New York: the day began at 05:00 UTC.
    let shop = fixture.shop_in("America/New_York");
    fixture.happen([shop.paid_at(cny(100), "2026-11-20T05:00:00Z").event()]).await;
    let error = fixture.close(&shop, None).await.unwrap_err();
    assert_eq!(reason(&error).as_deref(), Some("NOTHING_TO_SETTLE"));
    fixture.clock.advance(SignedDuration::from_hours(1));
    assert_eq!(fixture.close(&shop, None).await.unwrap().net, Some(cny(100)));
}

#[tokio::test]
async fn refunds_may_outweigh_payments_or_even_them_out() {
    let fixture = start().await;
    let shop = fixture.shop_with_rates("0.01", "0.006").await;
    let paid = shop.paid(1_000);
    fixture.happen([paid.event()]).await;
    assert_eq!(fixture.close(&shop, None).await.unwrap().net, Some(cny(990)));

    fixture.happen([paid.refunded(1_000, 1_000).event(), shop.paid(100).event()]).await;
    assert_eq!(fixture.balances(&shop).await[1], 990 - 99, "the merchant owes us");
    let negative = fixture.close(&shop, None).await.unwrap();
    assert_eq!(negative.net, Some(cny(99 - 990)));
    let [_, payable, payout, _, _] = fixture.balances(&shop).await;
    assert_eq!((payable, payout), (0, -99));

    let free = fixture.shop();
    let even = free.paid(50);
    fixture.happen([even.event(), even.refunded(50, 50).event()]).await;
    let batch = fixture.close(&free, None).await.unwrap();
    assert_eq!((batch.payment_count, batch.refund_count, batch.net), (1, 1, Some(cny(0))));
    assert!(fixture.transfers(&free).await.iter().all(|t| t.kind() != TransferKind::Batch));
    fixture.checked().await;
}

#[tokio::test]
async fn concurrent_closings_never_take_one_transfer_twice() {
    let fixture = start().await;
    let shop = fixture.shop();
    fixture.happen((0..200).map(|_| shop.paid(10).event())).await;
    // Each with a key of its own, while more payments are posted.
    let closings = (0..8).map(|_| fixture.close(&shop, None));
    let more = fixture.happen((0..200).map(|_| shop.paid(10).event()));
    let (results, ()) = futures::join!(join_all(closings), more);
    let mut batches: Vec<Batch> = Vec::new();
    for result in results {
        match result {
            Ok(batch) => batches.push(batch),
            Err(error) => assert_eq!(reason(&error).as_deref(), Some("NOTHING_TO_SETTLE"), "{error:?}"),
        }
    }
    batches.extend(fixture.close(&shop, None).await); // the rest, if any
    assert_eq!(batches.iter().map(|b| b.payment_count).sum::<u32>(), 400);
    assert_eq!(batches.iter().map(|b| b.net.as_ref().unwrap().minor).sum::<i64>(), 4_000);
    let [_, payable, payout, _, _] = fixture.balances(&shop).await;
    assert_eq!((payable, payout), (0, -4_000));
    fixture.checked().await;
}

#[tokio::test]
async fn a_closed_batch_is_an_event() {
    let fixture = start().await;
    let shop = fixture.shop();
    fixture.happen([shop.paid(100).event()]).await;
    let batch = fixture.close(&shop, None).await.unwrap();
    let mut log = EventLogServiceClient::new(fixture.running.channel());
    let request = ReadEventsRequest { after: None, limit: 0, wait_ms: 5_000, ..ReadEventsRequest::default() };
    let events = log.read_events(request).await.unwrap().into_inner().events;
    assert_eq!(events.len(), 1);
    assert_eq!((&events[0].merchant_id, &events[0].aggregate_id), (&shop.merchant_id, &batch.batch_id));
    let expected = Kind::BatchClosed(BatchClosed { batch_id: batch.batch_id, net: Some(cny(100)) });
    assert_eq!(events[0].payload.clone().unwrap().kind, Some(expected));
}

#[tokio::test]
async fn bad_fields_of_a_closing_are_named() {
    let mut fixture = start().await;
    let shop = fixture.shop();
    let good = closing(&shop, None);
    let far = prost_types::Timestamp { seconds: i64::MAX, nanos: 0 };
    let odd = prost_types::Timestamp { seconds: 1, nanos: -1 };
    let table = [
        (CloseBatchRequest { merchant_id: String::new(), ..good.clone() }, "merchant_id"),
        (CloseBatchRequest { merchant_id: "mer_1".to_owned(), ..good.clone() }, "merchant_id"),
        (CloseBatchRequest { currency: String::new(), ..good.clone() }, "currency"),
        (CloseBatchRequest { currency: "cny".to_owned(), ..good.clone() }, "currency"),
        (CloseBatchRequest { currency: "XXX".to_owned(), ..good.clone() }, "currency"),
        (closing(&shop, Some("2026-11-21T04:00:00.000001Z")), "cut_off_time"),
        (closing(&shop, Some("0001-01-01T00:00:00Z")), "cut_off_time"),
        (CloseBatchRequest { cut_off_time: Some(far), ..good.clone() }, "cut_off_time"),
        (CloseBatchRequest { cut_off_time: Some(odd), ..good.clone() }, "cut_off_time"),
    ];
    for (request, field) in table {
        let error = fixture.batches.close_batch(keyed(request.clone())).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert_eq!(bad_fields(&error), [field], "{request:?}");
    }
    let error = fixture.batches.close_batch(Request::new(good)).await.unwrap_err();
    assert_eq!(bad_fields(&error), ["idempotency-key"]);
    let now = fixture.close(&shop, Some("2026-11-21T04:00:00Z")).await.unwrap_err();
    assert_eq!(now.code(), Code::FailedPrecondition, "the present is not the future");
}

#[tokio::test]
async fn what_is_unknown_is_not_found() {
    let mut fixture = start().await;
    let (shop, other) = (fixture.shop(), fixture.shop());
    fixture.happen([shop.paid(100).event()]).await;
    let batch = fixture.close(&shop, None).await.unwrap();
    for (merchant_id, batch_id) in [
        (shop.merchant_id.clone(), BatchId::new().to_string()),
        (other.merchant_id.clone(), batch.batch_id.clone()),
    ] {
        let error = fixture.batches.get_batch(GetBatchRequest { merchant_id, batch_id }).await.unwrap_err();
        assert_eq!(error.code(), Code::NotFound);
        assert_eq!(reason(&error).as_deref(), Some("BATCH_NOT_FOUND"));
    }
    let error = fixture.batches.get_batch(GetBatchRequest::default()).await.unwrap_err();
    assert_eq!(bad_fields(&error), ["merchant_id", "batch_id"]);
    let nobody = Shop { merchant_id: MerchantId::new().to_string(), ..shop.clone() };
    let error = fixture.close(&nobody, None).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_deref()), (Code::NotFound, Some("MERCHANT_NOT_FOUND")));
}

#[tokio::test]
async fn batches_are_walked_newest_first() {
    let mut fixture = start().await;
    let (shop, other) = (fixture.shop(), fixture.shop());
    for minor in 1..=3 {
        fixture.happen([shop.paid(minor).event(), other.paid(9).event()]).await;
        fixture.close(&shop, None).await.unwrap();
    }
    let request = |page_token: String| ListBatchesRequest {
        merchant_id: shop.merchant_id.clone(),
        page_size: 2,
        page_token,
    };
    let first = fixture.batches.list_batches(request(String::new())).await.unwrap().into_inner();
    let second =
        fixture.batches.list_batches(request(first.next_page_token.clone())).await.unwrap().into_inner();
    let nets = |batches: &[Batch]| batches.iter().map(|b| b.net.as_ref().unwrap().minor).collect::<Vec<_>>();
    assert_eq!((nets(&first.batches), nets(&second.batches)), (vec![3, 2], vec![1]));
    assert_eq!(second.next_page_token, "");
    let foreign = ListBatchesRequest {
        merchant_id: other.merchant_id.clone(),
        page_size: 2,
        page_token: first.next_page_token,
    };
    let error = fixture.batches.list_batches(foreign).await.unwrap_err();
    assert_eq!(bad_fields(&error), ["page_token"]);
    let bad = ListBatchesRequest { page_size: 101, ..ListBatchesRequest::default() };
    let error = fixture.batches.list_batches(bad).await.unwrap_err();
    assert_eq!(bad_fields(&error), ["merchant_id", "page_size"]);
}

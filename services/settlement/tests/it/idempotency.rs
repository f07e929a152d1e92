use std::collections::HashSet;

use futures::future::join_all;
use tael_grpc::status::reason;
use tael_proto::settlement::v1::{ReconcileRequest, SetFeeScheduleRequest};
use tael_testkit::{new_key, no_redis_url, redis_url, with_key};
use tonic::Code;

use crate::fixture::{closing, schedule, start_with_redis};
use crate::peers::Bill;

#[tokio::test]
async fn fifty_closings_at_once_make_one_batch_with_and_without_redis() {
    for redis in [redis_url(), no_redis_url()] {
        let fixture = start_with_redis(redis).await;
        let shop = fixture.shop();
        fixture.happen((0..20).map(|_| shop.paid(10).event())).await;
        let key = new_key();
        let calls = (0..50).map(|_| {
            let mut client = fixture.batches.clone();
            let request = with_key(&key, closing(&shop, None));
            async move { client.close_batch(request).await.unwrap().into_inner() }
        });
        let answers = join_all(calls).await;
        assert!(answers.iter().all(|answer| answer == &answers[0]));
        assert_eq!(answers[0].batch.as_ref().unwrap().payment_count, 20);
        // And on another day, with the same words: what was answered then.
        fixture.clock.advance(jiff::SignedDuration::from_hours(24));
        let again = fixture.batches.clone().close_batch(with_key(&key, closing(&shop, None))).await.unwrap();
        assert_eq!(again.into_inner(), answers[0]);

        let other = closing(&shop, Some("2026-11-20T00:00:00Z"));
        let error = fixture.batches.clone().close_batch(with_key(&key, other)).await.unwrap_err();
        assert_eq!(error.code(), Code::AlreadyExists);
        assert_eq!(reason(&error).as_deref(), Some("IDEMPOTENCY_KEY_REUSED"));
        fixture.checked().await;
    }
}

#[tokio::test]
async fn fifty_settings_at_once_make_one_schedule_with_and_without_redis() {
    for redis in [redis_url(), no_redis_url()] {
        let fixture = start_with_redis(redis).await;
        let shop = fixture.shop();
        let key = new_key();
        let setting = |rate| SetFeeScheduleRequest {
            merchant_id: shop.merchant_id.clone(),
            fee_schedule: Some(schedule(rate, "0")),
        };
        let calls = (0..50).map(|_| {
            let mut client = fixture.fee_schedules.clone();
            let request = with_key(&key, setting("0.01"));
            async move { client.set_fee_schedule(request).await.unwrap().into_inner() }
        });
        let answers = join_all(calls).await;
        assert!(answers.iter().all(|answer| answer.fee_schedule == Some(schedule("0.01", "0"))));
        let rows = sqlx::query_scalar::<_, i64>("select count(*) from fee_schedule").fetch_one(&fixture.pool);
        assert_eq!(rows.await.unwrap(), 1);

        // A late repetition does not bring an old schedule back.
        fixture.set_rates(&shop, "0.02", "0").await;
        fixture.fee_schedules.clone().set_fee_schedule(with_key(&key, setting("0.01"))).await.unwrap();
        fixture.happen([shop.paid(100).event()]).await;
        assert_eq!(fixture.balances(&shop).await, [100, -98, 0, -2, 0]);

        let error = fixture
            .fee_schedules
            .clone()
            .set_fee_schedule(with_key(&key, setting("0.03")))
            .await
            .unwrap_err();
        assert_eq!(error.code(), Code::AlreadyExists);
    }
}

#[tokio::test]
async fn fifty_comparisons_at_once_make_one_with_and_without_redis() {
    for redis in [redis_url(), no_redis_url()] {
        let fixture = start_with_redis(redis).await;
        let shop = fixture.shop();
        let paid = shop.paid(100);
        fixture.happen([paid.event(), shop.paid(7).event()]).await;
        fixture.payment.set_bill(
            &shop.channel_account_id,
            "2026-11-20",
            Bill::Parts(vec![vec![paid.bill_line(0)]]),
        );
        let key = new_key();
        let request = |statement_date: &str| ReconcileRequest {
            merchant_id: shop.merchant_id.clone(),
            channel_account_id: shop.channel_account_id.clone(),
            statement_date: statement_date.to_owned(),
        };
        let calls = (0..50).map(|_| {
            let mut client = fixture.reconciliations.clone();
            let request = with_key(&key, request("2026-11-20"));
            async move { client.reconcile(request).await.unwrap().into_inner() }
        });
        let answers: HashSet<String> =
            join_all(calls).await.into_iter().map(|answer| format!("{answer:?}")).collect();
        assert_eq!(answers.len(), 1);
        let rows = sqlx::query_as::<_, (i64, i64)>(
            "select (select count(*) from reconciliation), (select count(*) from bill_line)",
        );
        assert_eq!(
            rows.fetch_one(&fixture.pool).await.unwrap(),
            (1, 1),
            "nothing is left of the slower ones"
        );

        let error = fixture
            .reconciliations
            .clone()
            .reconcile(with_key(&key, request("2026-11-19")))
            .await
            .unwrap_err();
        assert_eq!(error.code(), Code::AlreadyExists);
    }
}

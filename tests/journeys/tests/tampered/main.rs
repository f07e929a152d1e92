//! The money audit over real services: journeys are clean, and faults planted in each database are named.
//!
//! In a process of its own, for its platform's books are wrong from then on.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tael::audit;
use tael::clients::keyed;
use tael_ids::{MerchantId, OrderId, PaymentId, RefundId};
use tael_journeys::Seller;
use tael_proto::audit::v1::{AuditMoneyRequest, AuditSummary, Disagreement, DisagreementKind as Kind};
use tael_proto::notification::v1::CreateWebhookEndpointRequest;
use tael_proto::order::v1::{Order, RefundProgress};
use tael_proto::payment::v1::Payment;
use tael_proto::refund::v1::{CreateRefundRequest, FullRefund, create_refund_request};
use uuid::Uuid;

async fn audited(seller: &Seller, patience_ms: u32) -> (Vec<Disagreement>, AuditSummary) {
    let request = AuditMoneyRequest {
        merchant_id: seller.shop.id(),
        patience_ms,
        statements_so_far: true,
        ..AuditMoneyRequest::default()
    };
    let mut found = Vec::new();
    let summary = audit::ask(seller.clients.audit.clone(), request, |d| found.push(d)).await.unwrap();
    (found, summary)
}

/// A seller who is told of everything, though nobody listens there.
async fn seller() -> Seller {
    let mut seller = Seller::open().await;
    let endpoint = CreateWebhookEndpointRequest {
        merchant_id: seller.shop.id(),
        url: "http://127.0.0.1:9/".to_owned(),
        event_types: Vec::new(),
    };
    seller.clients.webhook_endpoints.create_webhook_endpoint(keyed(endpoint)).await.unwrap();
    seller
}

async fn refunded(seller: &mut Seller) -> (Order, Payment, String) {
    let (order, payment) = seller.sell().await;
    let create = CreateRefundRequest {
        merchant_id: seller.shop.id(),
        order_id: order.order_id.clone(),
        scope: Some(create_refund_request::Scope::Full(FullRefund {})),
        reason: "changed my mind".to_owned(),
        force_reason: String::new(),
    };
    let refund =
        seller.clients.refund.create_refund(keyed(create)).await.unwrap().into_inner().refund.unwrap();
    let order = seller
        .order_when(&order.order_id, "to be refunded", |o| o.refund_progress() == RefundProgress::Full)
        .await;
    (order, payment, refund.refund_id)
}

/// Changes a service's database behind its back.
async fn tamper(service: &str, sql: String) {
    let server = std::env::var("TAEL_DATABASE_URL").expect("set as `make test` does");
    let mut url: url::Url = server.parse().unwrap();
    url.set_path(&format!("/tael_journeys_{service}"));
    let mut conn = PgConnection::connect(url.as_str()).await.unwrap();
    let done = sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(&mut conn).await.unwrap();
    assert!(done.rows_affected() > 0, "nothing was changed: {sql}");
}

fn assert_named(found: &[Disagreement], kind: Kind, ids: &[&str]) {
    let named = found.iter().any(|d| d.kind() == kind && ids.iter().all(|id| d.ids.iter().any(|i| i == id)));
    let all: Vec<String> = found.iter().map(audit::in_words).collect();
    assert!(named, "{kind:?} of {ids:?} is not among {all:#?}");
}

#[tokio::test]
async fn journeys_are_clean_and_what_is_planted_in_each_database_is_named() {
    let mut seller = seller().await;
    let merchant = seller.shop.id().parse::<MerchantId>().unwrap().uuid();
    let (changed, changed_payment) = seller.sell().await;
    let (_, unheard) = seller.sell().await;
    let (_, doubled) = seller.sell().await;
    let (_, unknown) = seller.sell().await;
    let (_, untold) = seller.sell().await;
    let (_, cut_payment, cut) = refunded(&mut seller).await;
    let (_, miscounted, _) = refunded(&mut seller).await;

    let (found, summary) = audited(&seller, 60_000).await;
    assert_eq!(found.iter().map(audit::in_words).collect::<Vec<_>>(), Vec::<String>::new());
    let count = |kind: &str| summary.facts.iter().find(|fact| fact.kind == kind).unwrap().count;
    assert_eq!((count("order"), count("payment"), count("transfer")), (7, 7, 9));
    assert_eq!((count("payment_refund"), count("refund"), count("statement_line")), (2, 2, 9));
    assert_eq!(summary.statement_days, 5);

    let id = |text: &str| -> Uuid { text.parse::<PaymentId>().unwrap().uuid() };
    let order_uuid = changed.order_id.parse::<OrderId>().unwrap().uuid();
    tamper("order", format!(
        "update orders set payment_id = gen_random_uuid() where merchant_id = '{merchant}' and order_id = '{order_uuid}'"
    )).await;
    tamper("payment", format!(
        "delete from event_log where merchant_id = '{merchant}' and kind = 'payment.succeeded' and aggregate_id = '{}'",
        unheard.payment_id
    )).await;
    // As a posting that was made twice, had the ledger not refused it.
    tamper("settlement", format!(
        "begin;
         alter table transfer disable trigger user;
         drop index transfer_payment;
         insert into transfer select (jsonb_populate_record(t, jsonb_build_object('transfer_id', gen_random_uuid(),
             'event_id', gen_random_uuid()))).* from transfer t
         where merchant_id = '{merchant}' and kind = 'payment' and payment_id = '{}';
         alter table transfer enable trigger user;
         commit;", id(&doubled.payment_id)
    )).await;
    // The channel keeps its record of an attempt of which ours is lost.
    tamper("payment", format!(
        "update attempt set attempt_id = gen_random_uuid() where merchant_id = '{merchant}' and payment_id = '{}'",
        id(&unknown.payment_id)
    )).await;
    let untold_event = format!(
        "delete from delivery where merchant_id = '{merchant}' and event_type = 'payment.succeeded' and body like '%{}%'",
        untold.payment_id
    );
    tamper(
        "notification",
        format!(
            "delete from delivery_attempt where merchant_id = '{merchant}' and delivery_id in (
             select delivery_id from delivery where event_type = 'payment.succeeded' and body like '%{}%');
         {untold_event}",
            untold.payment_id
        ),
    )
    .await;
    let refund_uuid = cut.parse::<RefundId>().unwrap().uuid();
    tamper(
        "refund",
        format!(
            "delete from refund_line where merchant_id = '{merchant}' and refund_id = '{refund_uuid}';
         delete from refund where merchant_id = '{merchant}' and refund_id = '{refund_uuid}'"
        ),
    )
    .await;
    tamper(
        "payment",
        format!(
            "update payment set refunded_minor = refunded_minor - 1
         where merchant_id = '{merchant}' and payment_id = '{}'",
            id(&miscounted.payment_id)
        ),
    )
    .await;

    let (found, summary) = audited(&seller, 1000).await;
    assert_named(&found, Kind::OrderWithoutMoney, &[&changed.order_id]);
    assert_named(&found, Kind::MoneyWithoutOrder, &[&changed_payment.payment_id, &changed.order_id]);
    assert_named(&found, Kind::EventMissing, &[&unheard.payment_id]);
    assert_named(&found, Kind::PostedTwice, &[&doubled.payment_id]);
    let number = unknown.attempts[0].attempt_id.replace('_', "");
    assert_named(&found, Kind::ChannelPaymentUnknown, &[&number]);
    assert_named(&found, Kind::ChannelMissing, &[&unknown.payment_id]);
    assert_named(&found, Kind::MoneyWithoutRefund, &[&cut, &cut_payment.payment_id]);
    assert_named(&found, Kind::PaymentRefunded, &[&miscounted.payment_id]);
    assert!(found.iter().any(|d| d.kind() == Kind::DeliveryMissing), "{found:#?}");
    assert_eq!(summary.disagreements, found.len() as u64);
    assert!(found.iter().all(|d| d.merchant_id == seller.shop.id()));
}

use tael::clients::keyed;
use tael_journeys::Seller;
use tael_proto::refund::v1::{CreateRefundRequest, FullRefund, create_refund_request};
use tael_proto::settlement::v1::{
    Account, CheckLedgerRequest, CloseBatchRequest, ListAccountsRequest, ReconcileRequest,
};
use tael_testkit::eventually;

fn balance(account: &Account) -> i64 {
    account.debits.as_ref().map_or(0, |m| m.minor) - account.credits.as_ref().map_or(0, |m| m.minor)
}

#[tokio::test]
async fn a_payment_and_its_full_refund_leave_nothing_behind_and_the_bill_agrees() {
    let mut seller = Seller::open().await;
    let (order, _) = seller.sell().await;
    let create = CreateRefundRequest {
        merchant_id: seller.shop.id(),
        order_id: order.order_id.clone(),
        scope: Some(create_refund_request::Scope::Full(FullRefund {})),
        reason: "changed my mind".to_owned(),
        force_reason: String::new(),
    };
    seller.clients.refund.create_refund(keyed(create)).await.unwrap();

    let accounts = eventually("both postings", || {
        let mut client = seller.clients.ledger.clone();
        let list = ListAccountsRequest { merchant_id: seller.shop.id() };
        async move {
            let accounts = client.list_accounts(list).await.unwrap().into_inner().accounts;
            (!accounts.is_empty() && accounts.iter().all(|a| balance(a) == 0)).then_some(accounts)
        }
    })
    .await;
    assert!(accounts.iter().all(|a| a.debits.as_ref().is_some_and(|m| m.minor > 0)), "{accounts:?}");

    let now = now();
    let close = CloseBatchRequest {
        merchant_id: seller.shop.id(),
        currency: "CNY".to_owned(),
        cut_off_time: Some(tael_grpc::convert::timestamp(now)),
    };
    let batch = seller.clients.batches.close_batch(keyed(close)).await.unwrap().into_inner().batch.unwrap();
    assert_eq!((batch.payment_count, batch.refund_count), (1, 1));
    assert_eq!(batch.net.as_ref().unwrap().minor, 0);
    assert_eq!(batch.gross, batch.refunds);
    assert_eq!(batch.fees, batch.fees_returned);

    let reconcile = ReconcileRequest {
        merchant_id: seller.shop.id(),
        channel_account_id: seller.shop.channel_account.channel_account_id.clone(),
        statement_date: now.to_zoned(jiff::tz::TimeZone::get("Asia/Shanghai").unwrap()).date().to_string(),
    };
    let found = seller.clients.reconciliations.reconcile(keyed(reconcile)).await.unwrap().into_inner();
    let found = found.reconciliation.unwrap();
    assert_eq!((found.statement_lines, found.matched, found.break_count), (2, 2, 0), "{:?}", found.breaks);

    let ledger = seller.clients.ledger.check_ledger(CheckLedgerRequest {}).await.unwrap().into_inner();
    assert!(ledger.sums.iter().all(|sum| sum.debits == sum.credits));
    assert!(ledger.unbalanced_transfer_ids.is_empty() && ledger.wrong_account_ids.is_empty());
}

fn now() -> jiff::Timestamp {
    tael_clock::Clock::system().now()
}

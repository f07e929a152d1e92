use std::collections::BTreeSet;

use tael_grpc::status::bad_fields;
use tael_ids::{MerchantId, PaymentId};
use tael_proto::settlement::v1::{
    AccountKind, CheckLedgerRequest, ListAccountsRequest, ListTransfersRequest, TransferKind,
};
use tael_proto::r#type::v1::Channel;

use crate::fixture::{Shop, cny, money, start};

fn listing(shop: &Shop) -> ListTransfersRequest {
    ListTransfersRequest { merchant_id: shop.merchant_id.clone(), ..ListTransfersRequest::default() }
}

#[tokio::test]
async fn accounts_are_listed_by_kind_channel_and_currency() {
    let mut fixture = start().await;
    let shop = fixture.shop_with_rates("0.006", "0.0038").await;
    let at = "2026-11-20T04:00:00Z";
    fixture.happen([shop.paid(10_000).event(), shop.paid_at(money(10_000, "AUD"), at).event()]).await;
    fixture.close(&shop, None).await.unwrap();
    let request = ListAccountsRequest { merchant_id: shop.merchant_id.clone() };
    let accounts = fixture.ledger.list_accounts(request).await.unwrap().into_inner().accounts;
    let listed: Vec<_> = accounts
        .iter()
        .map(|a| (a.kind(), a.channel(), a.debits.clone().unwrap().currency, a.debits.clone().unwrap().minor))
        .collect();
    let (alipay, none) = (Channel::Alipay, Channel::Unspecified);
    assert_eq!(
        listed,
        [
            (AccountKind::ChannelReceivable, alipay, "AUD".to_owned(), 9_962),
            (AccountKind::ChannelReceivable, alipay, "CNY".to_owned(), 9_962),
            (AccountKind::MerchantPayable, none, "AUD".to_owned(), 0),
            (AccountKind::MerchantPayable, none, "CNY".to_owned(), 9_940),
            (AccountKind::PayoutPayable, none, "CNY".to_owned(), 0),
            (AccountKind::FeeIncome, none, "AUD".to_owned(), 0),
            (AccountKind::FeeIncome, none, "CNY".to_owned(), 0),
            (AccountKind::ChannelCost, alipay, "AUD".to_owned(), 38),
            (AccountKind::ChannelCost, alipay, "CNY".to_owned(), 38),
        ]
    );
    assert!(accounts.iter().all(|a| a.merchant_id == shop.merchant_id && a.account_id.starts_with("acc_")));
    assert_eq!(accounts[4].credits, Some(cny(9_940)));

    let other = ListAccountsRequest { merchant_id: MerchantId::new().to_string() };
    assert_eq!(fixture.ledger.list_accounts(other).await.unwrap().into_inner().accounts, []);
    let error = fixture.ledger.list_accounts(ListAccountsRequest::default()).await.unwrap_err();
    assert_eq!(bad_fields(&error), ["merchant_id"]);
}

#[tokio::test]
async fn transfers_are_walked_page_by_page_newest_first() {
    let mut fixture = start().await;
    let (shop, other) = (fixture.shop(), fixture.shop());
    for minor in 1..=7 {
        fixture.happen([shop.paid(minor).event(), other.paid(minor).event()]).await;
    }
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let request = ListTransfersRequest { page_size: 3, page_token: token, ..listing(&shop) };
        let page = fixture.ledger.list_transfers(request).await.unwrap().into_inner();
        assert!(page.transfers.len() <= 3);
        seen.extend(page.transfers.iter().map(|t| t.entries[0].amount.clone().unwrap().minor));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, [7, 6, 5, 4, 3, 2, 1]);
}

#[tokio::test]
async fn a_payments_transfers_know_their_batch() {
    let mut fixture = start().await;
    let shop = fixture.shop();
    let paid = shop.paid(1_000);
    fixture.happen([paid.event(), shop.paid(5).event()]).await;
    let batch = fixture.close(&shop, None).await.unwrap();
    let refund = paid.refunded(10, 10);
    fixture.happen([refund.event()]).await;

    let payment_id = paid.payment_id.to_string();
    let request = ListTransfersRequest { payment_id: payment_id.clone(), ..listing(&shop) };
    let transfers = fixture.ledger.list_transfers(request.clone()).await.unwrap().into_inner().transfers;
    let facts: Vec<_> = transfers
        .iter()
        .map(|t| (t.kind(), t.payment_id.as_str(), t.refund_id.clone(), t.batch_id.as_str()))
        .collect();
    assert_eq!(
        facts,
        [
            (TransferKind::Refund, payment_id.as_str(), refund.refund_id.to_string(), ""),
            (TransferKind::Payment, payment_id.as_str(), String::new(), batch.batch_id.as_str()),
        ]
    );
    let first = ListTransfersRequest { page_size: 1, ..request };
    let page = fixture.ledger.list_transfers(first.clone()).await.unwrap().into_inner();
    let second = ListTransfersRequest { page_token: page.next_page_token, ..first };
    let page = fixture.ledger.list_transfers(second).await.unwrap().into_inner();
    assert_eq!((&page.transfers[..], page.next_page_token.as_str()), (&transfers[1..], ""));

    let all = fixture.transfers(&shop).await;
    let of_batch = all.iter().find(|t| t.kind() == TransferKind::Batch).unwrap();
    assert_eq!((of_batch.batch_id.as_str(), of_batch.payment_id.as_str()), (batch.batch_id.as_str(), ""));
    let unknown = ListTransfersRequest { payment_id: PaymentId::new().to_string(), ..listing(&shop) };
    assert_eq!(fixture.ledger.list_transfers(unknown).await.unwrap().into_inner().transfers, []);
}

#[tokio::test]
async fn bad_fields_of_a_list_are_named() {
    let mut fixture = start().await;
    let (shop, other) = (fixture.shop(), fixture.shop());
    fixture.happen([shop.paid(1).event(), shop.paid(2).event()]).await;
    let first = ListTransfersRequest { page_size: 1, ..listing(&shop) };
    let token = fixture.ledger.list_transfers(first).await.unwrap().into_inner().next_page_token;
    assert!(!token.is_empty());
    let payment_id = PaymentId::new().to_string();
    let table = [
        (ListTransfersRequest::default(), "merchant_id"),
        (
            ListTransfersRequest { merchant_id: shop.merchant_id.to_uppercase(), ..listing(&shop) },
            "merchant_id",
        ),
        (ListTransfersRequest { payment_id: "ord_1".to_owned(), ..listing(&shop) }, "payment_id"),
        (ListTransfersRequest { page_size: 101, ..listing(&shop) }, "page_size"),
        (ListTransfersRequest { page_token: "x".to_owned(), ..listing(&shop) }, "page_token"),
        (ListTransfersRequest { page_token: token.clone(), ..listing(&other) }, "page_token"),
        (ListTransfersRequest { page_token: token, payment_id, ..listing(&shop) }, "page_token"),
    ];
    for (request, field) in table {
        let error = fixture.ledger.list_transfers(request.clone()).await.unwrap_err();
        assert_eq!(bad_fields(&error), [field], "{request:?}");
    }
}

#[tokio::test]
async fn an_empty_ledger_adds_up_and_a_full_one_has_its_sums() {
    let fixture = start().await;
    let empty = fixture.ledger.clone().check_ledger(CheckLedgerRequest {}).await.unwrap().into_inner();
    assert_eq!((empty.sums.len(), empty.transfer_count), (0, 0));
    let shop = fixture.shop_with_rates("0.006", "0.0038").await;
    fixture.happen([shop.paid(10_000).event(), shop.paid(1).event()]).await;
    let full = fixture.checked().await;
    assert_eq!(full.transfer_count, 2);
    assert_eq!(full.sums[0].debits, Some(cny(10_001)));
    let ids: BTreeSet<_> = fixture.transfers(&shop).await.into_iter().map(|t| t.transfer_id).collect();
    assert_eq!(ids.len(), 2);
}

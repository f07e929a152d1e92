use tael_grpc::status::{bad_fields, reason};
use tael_ids::BatchId;
use tael_proto::settlement::v1::{GetStatementRequest, StatementLine, TransferKind};
use tonic::Code;

use crate::fixture::{Fixture, Shop, cny, start};

/// All lines of a statement, page by page.
pub(crate) async fn lines(
    fixture: &Fixture,
    shop: &Shop,
    batch_id: &str,
    page_size: u32,
) -> Vec<StatementLine> {
    let mut lines = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = GetStatementRequest {
            merchant_id: shop.merchant_id.clone(),
            batch_id: batch_id.to_owned(),
            page_size,
            page_token,
        };
        let page = fixture.batches.clone().get_statement(request).await.unwrap().into_inner();
        assert_eq!(page.batch.unwrap().batch_id, batch_id);
        assert!(page_size == 0 || page.lines.len() <= page_size as usize);
        lines.extend(page.lines);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return lines;
        }
    }
}

#[tokio::test]
async fn a_statement_tells_what_the_merchant_reads_oldest_first() {
    let fixture = start().await;
    let shop = fixture.shop_with_rates("0.006", "0.0038").await;
    let second = shop.paid_at(cny(10_000), "2026-11-20T03:00:00Z");
    let first = shop.paid_at(cny(500), "2026-11-20T02:00:00Z");
    let refund = second.refunded(2_500, 2_500);
    // Posted in another order than they happened.
    fixture.happen([second.event(), refund.event()]).await;
    fixture.happen([first.event()]).await;
    let batch = fixture.close(&shop, None).await.unwrap();

    for page_size in [0, 1, 2, 1_000] {
        let lines = lines(&fixture, &shop, &batch.batch_id, page_size).await;
        let told: Vec<_> = lines
            .iter()
            .map(|line| {
                let money = |money: &Option<_>| money.clone().unwrap();
                (
                    line.kind(),
                    line.payment_id.as_str(),
                    money(&line.amount),
                    money(&line.fee),
                    money(&line.net),
                )
            })
            .collect();
        let (one, two) = (first.payment_id.to_string(), second.payment_id.to_string());
        assert_eq!(
            told,
            [
                (TransferKind::Payment, one.as_str(), cny(500), cny(-3), cny(497)),
                (TransferKind::Payment, two.as_str(), cny(10_000), cny(-60), cny(9_940)),
                (TransferKind::Refund, two.as_str(), cny(-2_500), cny(15), cny(-2_485)),
            ]
        );
        assert_eq!(lines[2].refund_id, refund.refund_id.to_string());
        let net: i64 = lines.iter().map(|line| line.net.as_ref().unwrap().minor).sum();
        assert_eq!(Some(cny(net)), batch.net);
    }
}

#[tokio::test]
async fn movements_of_one_moment_are_told_once_each() {
    let fixture = start().await;
    let shop = fixture.shop();
    fixture.happen((0..10).map(|_| shop.paid(1).event())).await; // all at one time
    let batch = fixture.close(&shop, None).await.unwrap();
    let mut ids: Vec<_> =
        lines(&fixture, &shop, &batch.batch_id, 3).await.into_iter().map(|line| line.transfer_id).collect();
    assert_eq!(ids.len(), 10);
    ids.dedup();
    assert_eq!(ids.len(), 10);
}

#[tokio::test]
async fn what_is_bad_or_unknown_is_said() {
    let mut fixture = start().await;
    let (shop, other) = (fixture.shop(), fixture.shop());
    fixture.happen([shop.paid(1).event(), shop.paid(2).event()]).await;
    let batch = fixture.close(&shop, None).await.unwrap();
    let good = GetStatementRequest {
        merchant_id: shop.merchant_id.clone(),
        batch_id: batch.batch_id.clone(),
        ..GetStatementRequest::default()
    };
    for request in [
        GetStatementRequest { batch_id: BatchId::new().to_string(), ..good.clone() },
        GetStatementRequest { merchant_id: other.merchant_id.clone(), ..good.clone() },
    ] {
        let error = fixture.batches.get_statement(request).await.unwrap_err();
        assert_eq!((error.code(), reason(&error).as_deref()), (Code::NotFound, Some("BATCH_NOT_FOUND")));
    }
    let first = GetStatementRequest { page_size: 1, ..good.clone() };
    let token = fixture.batches.get_statement(first).await.unwrap().into_inner().next_page_token;
    let table = [
        (GetStatementRequest { merchant_id: "x".to_owned(), ..good.clone() }, "merchant_id"),
        (GetStatementRequest { batch_id: "bat_".to_owned(), ..good.clone() }, "batch_id"),
        (GetStatementRequest { page_size: 1_001, ..good.clone() }, "page_size"),
        (
            GetStatementRequest { page_token: token, batch_id: BatchId::new().to_string(), ..good },
            "page_token",
        ),
    ];
    for (request, field) in table {
        let error = fixture.batches.get_statement(request).await.unwrap_err();
        assert_eq!(bad_fields(&error), [field]);
    }
}

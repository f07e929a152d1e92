use tael_grpc::status::{bad_fields, reason};
use tael_ids::{ChannelAccountId, ReconciliationId};
use tael_proto::payment::v1::StatementLine;
use tael_proto::settlement::v1::{
    Break, BreakKind, GetReconciliationRequest, ReconcileRequest, Reconciliation,
};
use tael_testkit::{keyed, new_key, with_key};
use tonic::{Code, Request, Status};

use crate::fixture::{Fixture, Paid, Shop, cny, money, start};
use crate::peers::Bill;

const DAY: &str = "2026-11-20";

fn request(shop: &Shop, statement_date: &str) -> ReconcileRequest {
    ReconcileRequest {
        merchant_id: shop.merchant_id.clone(),
        channel_account_id: shop.channel_account_id.clone(),
        statement_date: statement_date.to_owned(),
    }
}

async fn reconcile(fixture: &Fixture, shop: &Shop, statement_date: &str) -> Result<Reconciliation, Status> {
    let answer = fixture.reconciliations.clone().reconcile(keyed(request(shop, statement_date))).await?;
    Ok(answer.into_inner().reconciliation.unwrap())
}

fn set_bill(fixture: &Fixture, shop: &Shop, statement_date: &str, lines: Vec<StatementLine>) {
    fixture.payment.set_bill(&shop.channel_account_id, statement_date, Bill::Parts(vec![lines]));
}

fn counts(found: &Reconciliation) -> (u32, u32, u32) {
    (found.statement_lines, found.matched, found.break_count)
}

#[tokio::test]
async fn a_bill_that_agrees_has_no_breaks() {
    let mut fixture = start().await;
    let shop = fixture.shop_with_rates("0.01", "0.006").await;
    let paid = shop.paid(10_000);
    let refund = paid.refunded(5_000, 5_000);
    fixture.happen([paid.event(), refund.event(), fixture.shop().paid(5).event()]).await;
    set_bill(&fixture, &shop, DAY, vec![paid.bill_line(60), refund.bill_line(-30)]);
    let found = reconcile(&fixture, &shop, DAY).await.unwrap();
    assert_eq!(counts(&found), (2, 2, 0));
    assert_eq!(found.breaks, []);
    assert_eq!((found.statement_date.as_str(), &found.channel_account_id), (DAY, &shop.channel_account_id));

    let get = GetReconciliationRequest {
        merchant_id: shop.merchant_id.clone(),
        reconciliation_id: found.reconciliation_id.clone(),
    };
    let stored =
        fixture.reconciliations.get_reconciliation(get).await.unwrap().into_inner().reconciliation.unwrap();
    assert_eq!(stored, found);
    let channels: Vec<String> =
        sqlx::query_scalar("select channel from reconciliation").fetch_all(&fixture.pool).await.unwrap();
    assert_eq!(channels, ["alipay"]);
}

#[tokio::test]
async fn a_reversal_is_matched_by_the_number_of_its_payment_and_not_taken_for_it() {
    let fixture = start().await;
    let shop = fixture.shop_with_rates("0.01", "0.006").await;
    let (paid, reversal) = shop.paid(10_000).reversed();
    // The race: the payment was told of before anybody knew that the channel would give it back.
    let raced = shop.paid(20_000);
    let (_, raced_reversal) = raced.clone().reversed();
    fixture.happen([paid.event(), reversal.event(), raced.event()]).await;
    fixture.happen([raced_reversal.event(), reversal.event()]).await;
    assert_eq!(fixture.balances(&shop).await, [0, 0, 0, 0, 0]);
    assert_eq!(fixture.checked().await.transfer_count, 4);
    assert_eq!(fixture.dead_letters().await, Vec::<String>::new());

    // Without the reversals the lines of the payments agree and nothing else: the shared number fools nobody.
    set_bill(&fixture, &shop, DAY, vec![paid.bill_line(60), raced.bill_line(120)]);
    let found = reconcile(&fixture, &shop, DAY).await.unwrap();
    assert_eq!(counts(&found), (2, 2, 2));
    assert!(found.breaks.iter().all(|b| b.kind() == BreakKind::MissingInStatement), "{:?}", found.breaks);

    let lines = vec![
        reversal.bill_line(-60),
        paid.bill_line(60),
        raced.bill_line(120),
        raced_reversal.bill_line(-120),
    ];
    set_bill(&fixture, &shop, DAY, lines);
    let found = reconcile(&fixture, &shop, DAY).await.unwrap();
    assert_eq!((counts(&found), found.breaks), ((4, 4, 0), Vec::new()));
}

#[tokio::test]
async fn every_kind_of_break_is_told_with_both_sides() {
    let fixture = start().await;
    let shop = fixture.shop_with_rates("0.01", "0.006").await;
    let amount_differs = shop.paid(10_000);
    let fee_differs = shop.paid(20_000);
    let refund_fee_differs = fee_differs.refunded(10_000, 10_000);
    let not_in_bill = shop.paid(3_000);
    let not_in_ledger = shop.paid(4_000);
    let events = [&amount_differs, &fee_differs, &not_in_bill].map(Paid::event);
    fixture.happen(events.into_iter().chain([refund_fee_differs.event()])).await;

    let mut wrong_amount = amount_differs.bill_line(60);
    wrong_amount.amount = Some(cny(9_999));
    set_bill(
        &fixture,
        &shop,
        DAY,
        vec![
            not_in_ledger.bill_line(24),
            wrong_amount,
            fee_differs.bill_line(121),
            refund_fee_differs.bill_line(-59),
        ],
    );
    let found = reconcile(&fixture, &shop, DAY).await.unwrap();
    assert_eq!(counts(&found), (4, 0, 5));
    let expected = [
        Break {
            kind: BreakKind::MissingInLedger.into(),
            number: not_in_ledger.attempt_id.channel_number(),
            statement_amount: Some(cny(4_000)),
            statement_fee: Some(cny(24)),
            ..Break::default()
        },
        Break {
            kind: BreakKind::Amount.into(),
            number: amount_differs.attempt_id.channel_number(),
            ledger_amount: Some(cny(10_000)),
            statement_amount: Some(cny(9_999)),
            ledger_fee: Some(cny(60)),
            statement_fee: Some(cny(60)),
        },
        Break {
            kind: BreakKind::Fee.into(),
            number: fee_differs.attempt_id.channel_number(),
            ledger_amount: Some(cny(20_000)),
            statement_amount: Some(cny(20_000)),
            ledger_fee: Some(cny(120)),
            statement_fee: Some(cny(121)),
        },
        Break {
            kind: BreakKind::Fee.into(),
            number: refund_fee_differs.refund_id.channel_number(),
            ledger_amount: Some(cny(10_000)),
            statement_amount: Some(cny(10_000)),
            ledger_fee: Some(cny(-60)),
            statement_fee: Some(cny(-59)),
        },
        Break {
            kind: BreakKind::MissingInStatement.into(),
            number: not_in_bill.attempt_id.channel_number(),
            ledger_amount: Some(cny(3_000)),
            ledger_fee: Some(cny(18)),
            ..Break::default()
        },
    ];
    assert_eq!(found.breaks, expected);
}

#[tokio::test]
async fn another_currency_is_another_amount() {
    let fixture = start().await;
    let shop = fixture.shop();
    let paid = shop.paid(100);
    fixture.happen([paid.event()]).await;
    let mut line = paid.bill_line(0);
    line.amount = Some(money(100, "JPY"));
    line.fee = Some(money(0, "JPY"));
    set_bill(&fixture, &shop, DAY, vec![line]);
    let found = reconcile(&fixture, &shop, DAY).await.unwrap();
    assert_eq!((found.breaks[0].kind(), counts(&found)), (BreakKind::Amount, (1, 0, 1)));
}

#[tokio::test]
async fn a_line_that_stands_twice_is_in_the_ledger_once() {
    let fixture = start().await;
    let shop = fixture.shop();
    let paid = shop.paid(100);
    fixture.happen([paid.event()]).await;
    set_bill(&fixture, &shop, DAY, vec![paid.bill_line(0), paid.bill_line(0)]);
    let found = reconcile(&fixture, &shop, DAY).await.unwrap();
    assert_eq!(counts(&found), (2, 1, 1));
    assert_eq!(found.breaks[0].kind(), BreakKind::MissingInLedger);
}

#[tokio::test]
async fn days_are_cut_by_the_channels_clock_and_midnight_makes_no_false_breaks() {
    let fixture = start().await;
    // The merchant lives elsewhere: its zone has nothing to do with the channel's days.
    let shop = fixture.shop_in("America/New_York");
    let (before, first) = ("2026-11-19T15:59:59Z", "2026-11-19T16:00:00Z");
    let (last, after) = ("2026-11-20T15:59:59Z", "2026-11-20T16:00:00Z");
    let [yesterday, morning, night, tomorrow] =
        [before, first, last, after].map(|at| shop.paid_at(cny(100), at));
    // We have it on the 20th; the channel finished it after midnight, or thinks so.
    let slipped = shop.paid_at(cny(200), last);
    // We have it on the 21st; the channel counts it to the 20th.
    let early = shop.paid_at(cny(300), after);
    let all = [&yesterday, &morning, &night, &tomorrow, &slipped, &early];
    fixture.happen(all.map(Paid::event)).await;
    set_bill(&fixture, &shop, "2026-11-19", vec![yesterday.bill_line(0)]);
    set_bill(&fixture, &shop, "2026-11-20", [&morning, &night, &early].map(|paid| paid.bill_line(0)).into());
    set_bill(&fixture, &shop, "2026-11-21", [&tomorrow, &slipped].map(|paid| paid.bill_line(0)).into());

    assert_eq!(counts(&reconcile(&fixture, &shop, "2026-11-19").await.unwrap()), (1, 1, 0));
    // The bill of the 21st is not known yet, so what slipped into it is missing.
    let found = reconcile(&fixture, &shop, "2026-11-20").await.unwrap();
    assert_eq!(counts(&found), (3, 3, 1));
    assert_eq!(found.breaks[0].number, slipped.attempt_id.channel_number());
    assert_eq!(found.breaks[0].kind(), BreakKind::MissingInStatement);
    // In the bill of the 21st it is found, and what came early is not missing there.
    assert_eq!(counts(&reconcile(&fixture, &shop, "2026-11-21").await.unwrap()), (2, 2, 0));
    // Now that both neighbours are known, nothing is missing on the 20th.
    assert_eq!(counts(&reconcile(&fixture, &shop, "2026-11-20").await.unwrap()), (3, 3, 0));
}

#[tokio::test]
async fn long_bills_are_read_in_parts_and_a_thousand_breaks_are_told() {
    let fixture = start().await;
    let shop = fixture.shop();
    let known = shop.paid(1);
    fixture.happen([known.event()]).await;
    let stranger = |_| shop.paid(5).bill_line(0);
    let parts = vec![
        (0..1_000).map(stranger).collect(),
        vec![known.bill_line(0)],
        Vec::new(),
        (0..200).map(stranger).collect(),
    ];
    fixture.payment.set_bill(&shop.channel_account_id, DAY, Bill::Parts(parts));
    let found = reconcile(&fixture, &shop, DAY).await.unwrap();
    assert_eq!(counts(&found), (1_201, 1, 1_200));
    assert_eq!(found.breaks.len(), 1_000);
}

#[tokio::test]
async fn an_empty_bill_is_a_bill() {
    let fixture = start().await;
    let shop = fixture.shop();
    fixture.payment.set_bill(&shop.channel_account_id, DAY, Bill::Parts(Vec::new()));
    assert_eq!(counts(&reconcile(&fixture, &shop, DAY).await.unwrap()), (0, 0, 0));
    fixture.happen([shop.paid(1).event()]).await;
    assert_eq!(counts(&reconcile(&fixture, &shop, DAY).await.unwrap()), (0, 0, 1));
}

#[tokio::test]
async fn a_bill_that_breaks_off_leaves_nothing_and_can_be_read_again() {
    let fixture = start().await;
    let shop = fixture.shop();
    let paid = shop.paid(1);
    fixture.happen([paid.event()]).await;
    fixture.payment.set_bill(&shop.channel_account_id, DAY, Bill::BreaksOff(vec![paid.bill_line(0)]));
    let key = new_key();
    let call = || async {
        let answer = fixture.reconciliations.clone().reconcile(with_key(&key, request(&shop, DAY))).await?;
        Ok::<_, Status>(answer.into_inner().reconciliation.unwrap())
    };
    let error = call().await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    let rows = sqlx::query_scalar::<_, i64>("select count(*) from reconciliation").fetch_one(&fixture.pool);
    assert_eq!(rows.await.unwrap(), 0);
    set_bill(&fixture, &shop, DAY, vec![paid.bill_line(0)]);
    assert_eq!(counts(&call().await.unwrap()), (1, 1, 0));
    assert_eq!(fixture.payment.bill_reads(), 2);
}

#[tokio::test]
async fn readings_of_a_process_that_died_are_forgotten() {
    let fixture = start().await;
    let shop = fixture.shop();
    set_bill(&fixture, &shop, DAY, Vec::new());
    for hours in [2, 0] {
        sqlx::query(
            "insert into reconciliation (merchant_id, reconciliation_id, channel_account_id, bill_date, state,
                                         create_time)
             values ($1, gen_random_uuid(), gen_random_uuid(), '2026-11-20', 'reading',
                     '2026-11-21T04:00:00Z'::timestamptz - make_interval(hours => $2))",
        )
        .bind(shop.merchant_id.parse::<tael_ids::MerchantId>().unwrap().uuid())
        .bind(hours)
        .execute(&fixture.pool)
        .await
        .unwrap();
    }
    reconcile(&fixture, &shop, DAY).await.unwrap();
    let states: Vec<String> = sqlx::query_scalar("select state from reconciliation order by state")
        .fetch_all(&fixture.pool)
        .await
        .unwrap();
    assert_eq!(states, ["done", "reading"], "only the one that is still being read stays");
}

#[tokio::test]
async fn what_is_unknown_is_said_with_its_reason() {
    let mut fixture = start().await;
    let (shop, other) = (fixture.shop(), fixture.shop());
    let error = reconcile(&fixture, &shop, DAY).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert_eq!(reason(&error).as_deref(), Some("STATEMENT_NOT_AVAILABLE"));

    let unknown = Shop { channel_account_id: ChannelAccountId::new().to_string(), ..shop.clone() };
    let foreign = Shop { channel_account_id: other.channel_account_id.clone(), ..shop.clone() };
    for shop in [unknown, foreign] {
        let error = reconcile(&fixture, &shop, DAY).await.unwrap_err();
        assert_eq!(
            (error.code(), reason(&error).as_deref()),
            (Code::NotFound, Some("CHANNEL_ACCOUNT_NOT_FOUND"))
        );
    }

    set_bill(&fixture, &shop, DAY, Vec::new());
    let found = reconcile(&fixture, &shop, DAY).await.unwrap();
    for (merchant_id, reconciliation_id) in [
        (shop.merchant_id.clone(), ReconciliationId::new().to_string()),
        (other.merchant_id.clone(), found.reconciliation_id),
    ] {
        let request = GetReconciliationRequest { merchant_id, reconciliation_id };
        let error = fixture.reconciliations.get_reconciliation(request).await.unwrap_err();
        assert_eq!(
            (error.code(), reason(&error).as_deref()),
            (Code::NotFound, Some("RECONCILIATION_NOT_FOUND"))
        );
    }
}

#[tokio::test]
async fn bad_fields_are_named() {
    let mut fixture = start().await;
    let shop = fixture.shop();
    let good = request(&shop, DAY);
    let table = [
        (ReconcileRequest { merchant_id: String::new(), ..good.clone() }, "merchant_id"),
        (ReconcileRequest { channel_account_id: "acc_1".to_owned(), ..good.clone() }, "channel_account_id"),
        (request(&shop, ""), "statement_date"),
        (request(&shop, "20261120"), "statement_date"),
        (request(&shop, "2026-11-31"), "statement_date"),
        (request(&shop, "2026-11"), "statement_date"),
        (request(&shop, "2026-11-20T00:00:00"), "statement_date"),
        (request(&shop, "9999-12-31"), "statement_date"),
    ];
    for (request, field) in table {
        let error = fixture.reconciliations.reconcile(keyed(request.clone())).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert_eq!(bad_fields(&error), [field], "{request:?}");
    }
    let error = fixture.reconciliations.reconcile(Request::new(good)).await.unwrap_err();
    assert_eq!(bad_fields(&error), ["idempotency-key"]);
    let error =
        fixture.reconciliations.get_reconciliation(GetReconciliationRequest::default()).await.unwrap_err();
    assert_eq!(bad_fields(&error), ["merchant_id", "reconciliation_id"]);
}

use tael_grpc::status::{bad_fields, reason};
use tael_ids::{ChannelAccountId, ReconciliationId};
use tael_proto::payment::v1::{StatementLine, StatementLineKind};
use tael_proto::settlement::v1::{
    Break, BreakKind, GetReconciliationRequest, ReconcileRequest, Reconciliation,
};
use tael_testkit::{keyed, new_key, with_key};
use tonic::{Code, Request, Status};

use crate::fixture::{Fixture, Paid, Shop, cny, money, seller, start};
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
    let sides = |amount, fee| (Some(cny(amount)), Some(cny(amount)), Some(cny(fee)));
    let none = || (None, None, None);
    let broken = |kind: BreakKind, number: String, ledger, statement| {
        let (
            (ledger_amount, ledger_received, ledger_fee),
            (statement_amount, statement_received, statement_fee),
        ) = (ledger, statement);
        Break {
            kind: kind.into(),
            number,
            ledger_amount,
            ledger_received,
            ledger_fee,
            statement_amount,
            statement_received,
            statement_fee,
            problem: String::new(),
        }
    };
    let number = |paid: &Paid| paid.attempt_id.channel_number();
    let refund = refund_fee_differs.refund_id.channel_number();
    let expected = [
        broken(BreakKind::MissingInLedger, number(&not_in_ledger), none(), sides(4_000, 24)),
        broken(BreakKind::Amount, number(&amount_differs), sides(10_000, 60), sides(9_999, 60)),
        broken(BreakKind::Fee, number(&fee_differs), sides(20_000, 120), sides(20_000, 121)),
        broken(BreakKind::Fee, refund, sides(10_000, -60), sides(10_000, -59)),
        broken(BreakKind::MissingInStatement, number(&not_in_bill), sides(3_000, 18), none()),
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

#[tokio::test]
async fn a_merchants_coupon_is_received_by_nobody() {
    let fixture = start().await;
    let shop = fixture.shop_with_rates("0.006", "0.0038").await;
    let paid = shop.paid(10_000).of_which_received(9_500);
    let refund = paid.refunded(5_000, 5_000).of_which_taken_back(4_750);
    fixture.happen([paid.event(), refund.event()]).await;
    // The channel pays out what it says: 95.00 less 0.38 %, and takes half of that back.
    assert_eq!(
        fixture.balances(&shop).await,
        [9_464 - (4_750 - 18), -(9_443 - (4_750 - 29)), 0, -(57 - 29), 18]
    );
    fixture.checked().await;
    let components: Vec<Vec<(String, i64)>> = fixture
        .transfers(&shop)
        .await
        .into_iter()
        .map(|t| t.components.into_iter().map(|c| (c.component, c.amount.unwrap().minor)).collect())
        .collect();
    let part = |name: &str, minor| (name.to_owned(), minor);
    assert_eq!(
        components,
        [
            vec![part("channel_fee", 18), part("coupon", 250), part("fee", 29), part("received", 4_750)],
            vec![part("channel_fee", 36), part("coupon", 500), part("fee", 57), part("received", 9_500)],
        ]
    );

    set_bill(&fixture, &shop, DAY, vec![paid.bill_line(36), refund.bill_line(-18)]);
    let found = reconcile(&fixture, &shop, DAY).await.unwrap();
    assert_eq!((counts(&found), found.breaks), ((2, 2, 0), Vec::new()));

    // The channel had paid out all of it: that is a difference of its own.
    let mut whole = paid.bill_line(36);
    whole.received = None;
    set_bill(&fixture, &shop, DAY, vec![whole, refund.bill_line(-18)]);
    let found = reconcile(&fixture, &shop, DAY).await.unwrap();
    assert_eq!(counts(&found), (2, 1, 1));
    let broken = &found.breaks[0];
    assert_eq!(broken.kind(), BreakKind::Received);
    assert_eq!(
        (broken.ledger_received.clone(), broken.statement_received.clone()),
        (Some(cny(9_500)), Some(cny(10_000)))
    );
}

#[tokio::test]
async fn accounts_of_one_seller_are_compared_together() {
    let fixture = start().await;
    let one = fixture.shop();
    let seller = seller();
    let [app, other_app, stranger] = std::array::from_fn(|_| ChannelAccountId::new().to_string());
    for (account, seller) in [(&app, &seller), (&other_app, &seller), (&stranger, &crate::fixture::seller())]
    {
        fixture.payment.add_account(&one.merchant_id, account, seller);
    }
    let at = |account: &str| Shop { channel_account_id: account.to_owned(), ..one.clone() };
    let (first, second, elsewhere) = (at(&app).paid(100), at(&other_app).paid(200), at(&stranger).paid(400));
    fixture.happen([first.event(), second.event(), elsewhere.event()]).await;
    // Each account's statement is the seller's, with the payments of both.
    for account in [&app, &other_app] {
        set_bill(&fixture, &at(account), DAY, vec![first.bill_line(0), second.bill_line(0)]);
        let found = reconcile(&fixture, &at(account), DAY).await.unwrap();
        assert_eq!((counts(&found), found.breaks), ((2, 2, 0), Vec::new()));
    }
    // What it has not is missing, whichever account took it; what another seller took is none of its business.
    set_bill(&fixture, &at(&app), DAY, vec![first.bill_line(0)]);
    let found = reconcile(&fixture, &at(&app), DAY).await.unwrap();
    assert_eq!(counts(&found), (1, 1, 1));
    assert_eq!(found.breaks[0].number, second.attempt_id.channel_number());
}

#[tokio::test]
async fn a_line_that_can_t_be_read_is_named_and_the_rest_compared() {
    let fixture = start().await;
    let shop = fixture.shop();
    let (paid, missing) = (shop.paid(100), shop.paid(300));
    fixture.happen([paid.event(), missing.event()]).await;
    let unreadable = StatementLine {
        line: 7,
        kind: StatementLineKind::Unreadable.into(),
        merchant_number: missing.attempt_id.channel_number(),
        problem: "26 cells".to_owned(),
        ..StatementLine::default()
    };
    let lacking = StatementLine { line: 9, amount: None, ..shop.paid(5).bill_line(0) };
    set_bill(&fixture, &shop, DAY, vec![unreadable, lacking.clone(), paid.bill_line(0)]);
    let found = reconcile(&fixture, &shop, DAY).await.unwrap();
    assert_eq!(counts(&found), (3, 1, 3));
    let told: Vec<_> =
        found.breaks.iter().map(|b| (b.kind(), b.number.as_str(), b.problem.as_str())).collect();
    let number = missing.attempt_id.channel_number();
    assert_eq!(
        told,
        [
            (BreakKind::Unreadable, number.as_str(), "line 7: 26 cells"),
            (BreakKind::Unreadable, lacking.merchant_number.as_str(), "line 9: it has no usable amount"),
            (BreakKind::MissingInStatement, number.as_str(), ""),
        ]
    );
}

#[tokio::test]
async fn what_will_be_refused_again_is_not_told_to_be_called_again() {
    let fixture = start().await;
    let shop = fixture.shop();
    let reason_of_payment = tael_proto::payment::v1::ErrorReason::NoChannelAccount;
    fixture.payment.set_bill(&shop.channel_account_id, DAY, Bill::Refused(reason_of_payment));
    let error = reconcile(&fixture, &shop, DAY).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert_eq!(reason(&error).as_deref(), Some("STATEMENT_REFUSED"));
}

#[tokio::test]
async fn a_line_is_matched_by_the_channels_transaction_where_our_number_is_not_in_it() {
    let fixture = start().await;
    let shop = fixture.shop();
    let paid = shop.paid(1_000);
    let (first, second) = (paid.refunded(300, 300), paid.refunded(200, 500));
    fixture.happen([paid.event(), first.event(), second.event()]).await;
    let renamed = |line: StatementLine| StatementLine {
        merchant_number: "T200P1".to_owned(),
        refund_number: if line.refund_number.is_empty() { String::new() } else { "their own".to_owned() },
        ..line
    };
    let lines = vec![renamed(paid.bill_line(0)), second.bill_line(0), renamed(first.bill_line(0))];
    set_bill(&fixture, &shop, DAY, lines);
    let found = reconcile(&fixture, &shop, DAY).await.unwrap();
    assert_eq!((counts(&found), found.breaks), ((3, 3, 0), Vec::new()));
    // Another amount under the same transaction is another refund.
    set_bill(
        &fixture,
        &shop,
        DAY,
        vec![paid.bill_line(0), renamed(paid.refunded(250, 250).bill_line(0)), second.bill_line(0)],
    );
    let found = reconcile(&fixture, &shop, DAY).await.unwrap();
    assert_eq!(counts(&found), (3, 2, 2));
}

#[tokio::test]
async fn a_refund_made_at_the_channel_is_posted_and_matched_by_the_channels_number() {
    let fixture = start().await;
    let shop = fixture.shop_with_rates("0.006", "0.0038").await;
    let paid = shop.paid(10_000);
    let refund = paid.refunded(2_500, 2_500).made_at_channel("2026112000321");
    fixture.happen([paid.event(), refund.event(), refund.event()]).await;
    let transfers = fixture.transfers(&shop).await;
    assert_eq!(transfers.iter().map(|t| t.made_at_channel).collect::<Vec<_>>(), [true, false]);
    assert_eq!(fixture.balances(&shop).await[0], 9_962 - 2_490);
    set_bill(&fixture, &shop, DAY, vec![paid.bill_line(38), refund.bill_line(-10)]);
    let found = reconcile(&fixture, &shop, DAY).await.unwrap();
    assert_eq!((counts(&found), found.breaks), ((2, 2, 0), Vec::new()));

    // Nothing is posted of which the channel's number is not known.
    let unnumbered = paid.refunded(100, 2_600).made_at_channel("");
    fixture.happen([unnumbered.event()]).await;
    assert_eq!(fixture.dead_letters().await.len(), 1);
}

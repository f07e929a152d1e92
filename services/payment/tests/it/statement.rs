//! ReadStatement.

use jiff::SignedDuration;
use jiff::tz::{TimeZone, offset};
use tael_clock::Clock;
use tael_grpc::status::{bad_fields, reason};
use tael_ids::{AttemptId, MerchantId, RefundId};
use tael_proto::payment::v1::{ReadStatementRequest, StatementLine, StatementLineKind};
use tael_sandbox::alipay::{AppView, RegisterApp};
use tael_sandbox::control::{AddFault, Fault, StatementVariant};
use tonic::{Code, Status};

use crate::fixture::{APP_KEY, Fixture, account_request, cny, create_account, number, refund_request};

/// The day that it is in Beijing now, or so many days off.
fn day(days: i64) -> String {
    let now = Clock::system().now() + SignedDuration::from_hours(24 * days);
    now.to_zoned(TimeZone::fixed(offset(8))).date().to_string()
}

fn request(fixture: &Fixture, statement_date: &str) -> ReadStatementRequest {
    ReadStatementRequest {
        merchant_id: fixture.merchant_id.to_string(),
        channel_account_id: fixture.account.channel_account_id.clone(),
        statement_date: statement_date.to_owned(),
    }
}

async fn read(fixture: &Fixture, request: ReadStatementRequest) -> Result<Vec<StatementLine>, Status> {
    let mut stream = fixture.statements.clone().read_statement(request).await?.into_inner();
    let mut lines = Vec::new();
    while let Some(part) = stream.message().await? {
        assert!((1..=1000).contains(&part.lines.len()));
        lines.extend(part.lines);
    }
    Ok(lines)
}

#[tokio::test]
async fn a_bill_tells_what_was_paid_and_refunded() {
    let fixture = Fixture::start().await;
    let today = day(0);
    let payment = fixture.paid().await;
    let refund = fixture.refund(&refund_request(&payment, 1_700)).await.unwrap();
    let lines = read(&fixture, request(&fixture, &today)).await.unwrap();
    if day(0) != today {
        return; // midnight in Beijing came in between
    }
    let trade = fixture.trade(&payment).await;
    assert_eq!(lines.len(), 2);
    let (paid, refunded) = (&lines[0], &lines[1]);
    assert_eq!((paid.kind(), refunded.kind()), (StatementLineKind::Payment, StatementLineKind::Refund));
    assert_eq!((paid.amount.clone(), refunded.amount.clone()), (cny(6_800), cny(1_700)));
    assert_eq!(
        (paid.fee.clone(), refunded.fee.clone()),
        (cny(trade.fee_minor), cny(-trade.refunds[0].fee_returned_minor))
    );
    for line in &lines {
        assert_eq!(
            (&line.merchant_number, Some(&line.channel_transaction_id)),
            (&number(&payment), trade.trade_no.as_ref())
        );
    }
    assert!(paid.refund_number.is_empty());
    let refund_id = RefundId::from_channel_number(&refunded.refund_number).unwrap();
    assert_eq!(refund_id.to_string(), refund.refund_id);
    let attempt_id = AttemptId::from_channel_number(&paid.merchant_number).unwrap();
    assert_eq!(attempt_id.to_string(), payment.attempts[0].attempt_id);
    assert_eq!((paid.finish_time, refunded.finish_time), (payment.pay_time, refund.refund_time));
    assert_eq!((paid.line, refunded.line), (6, 7));
}

#[tokio::test]
async fn a_long_bill_comes_in_parts_and_a_quiet_day_is_empty() {
    let fixture = Fixture::start().await;
    assert!(read(&fixture, request(&fixture, &day(-1))).await.unwrap().is_empty());
    let today = day(0);
    for _ in 0..30 {
        fixture.paid().await;
    }
    let lines = read(&fixture, request(&fixture, &today)).await.unwrap();
    assert!(lines.len() == 30 || day(0) != today);
}

#[tokio::test]
async fn a_day_without_a_bill_is_not_found() {
    let fixture = Fixture::start().await;
    let status = read(&fixture, request(&fixture, &day(2))).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_deref()),
        (Code::FailedPrecondition, Some("STATEMENT_NOT_AVAILABLE"))
    );
    fixture.fault("alipay.data.dataservice.bill.downloadurl.query", 1, Fault::unavailable()).await;
    let status = read(&fixture, request(&fixture, &day(0))).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_deref()),
        (Code::Unavailable, Some("DEPENDENCY_UNAVAILABLE"))
    );
}

/// The account is configured with another seller than the application's: its bill must not be taken for ours.
#[tokio::test]
async fn another_sellers_bill_is_refused() {
    let fixture = Fixture::start().await;
    let mut app: AppView = fixture.sandbox.register(&RegisterApp::new(&APP_KEY.public)).await.unwrap();
    app.app_id.clone_from(&fixture.app.app_id);
    let wrong =
        create_account(&fixture.channel_accounts, account_request(&fixture.merchant_id.to_string(), &app))
            .await
            .unwrap();
    let request =
        ReadStatementRequest { channel_account_id: wrong.channel_account_id, ..request(&fixture, &day(-1)) };
    let status = read(&fixture, request).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_deref()),
        (Code::FailedPrecondition, Some("STATEMENT_UNUSABLE"))
    );
}

/// Spoils the next statement that is made for the fixture's application.
async fn spoil(fixture: &Fixture, variants: Vec<StatementVariant>) {
    let rule = AddFault::new(Fault::Statement { variants }).account(&fixture.app.app_id).times(1);
    fixture.sandbox.add_fault(&rule).await.unwrap();
}

#[tokio::test]
async fn a_comma_an_unknown_kind_and_missing_sums_end_no_day() {
    let fixture = Fixture::start().await;
    let today = day(0);
    let payment = fixture.paid().await;
    fixture.refund(&refund_request(&payment, 1_700)).await.unwrap();
    let expected = read(&fixture, request(&fixture, &today)).await.unwrap();
    if day(0) != today {
        return; // midnight in Beijing came in between
    }
    assert_eq!(expected[0].received, cny(6_800));
    for column in ["商品名称", "门店名称", "券名称", "备注"] {
        spoil(&fixture, vec![StatementVariant::Commas { column: column.to_owned() }]).await;
        assert_eq!(read(&fixture, request(&fixture, &today)).await.unwrap(), expected, "{column}");
    }
    spoil(&fixture, vec![StatementVariant::TrailingComma, StatementVariant::NoSums]).await;
    assert_eq!(read(&fixture, request(&fixture, &today)).await.unwrap(), expected);

    spoil(&fixture, vec![StatementVariant::UnknownKind]).await;
    let lines = read(&fixture, request(&fixture, &today)).await.unwrap();
    assert_eq!(lines[..2], expected[..]);
    let unknown = &lines[2];
    assert_eq!((unknown.kind(), unknown.line), (StatementLineKind::Unreadable, 8));
    assert_eq!(unknown.problem, "业务类型 花呗贴息 is not known");
    assert_eq!(unknown.channel_transaction_id, "2026000022001000000000000000");
    assert!(unknown.amount.is_none());
}

#[tokio::test]
async fn what_is_no_statement_is_told_apart_from_a_channel_that_does_not_answer() {
    let fixture = Fixture::start().await;
    for (variant, code, expected) in [
        (StatementVariant::NotAnArchive, Code::FailedPrecondition, "STATEMENT_UNUSABLE"),
        (StatementVariant::Broken, Code::Unavailable, "DEPENDENCY_UNAVAILABLE"),
    ] {
        spoil(&fixture, vec![variant.clone()]).await;
        let status = read(&fixture, request(&fixture, &day(-1))).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_deref()), (code, Some(expected)), "{variant:?}");
    }
    let refusal = Fault::refusal("40006", "isv.insufficient-isv-permissions");
    fixture.fault("alipay.data.dataservice.bill.downloadurl.query", 1, refusal).await;
    let status = read(&fixture, request(&fixture, &day(-1))).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_deref()),
        (Code::FailedPrecondition, Some("STATEMENT_REFUSED"))
    );
    assert!(status.message().contains("isv.insufficient-isv-permissions"), "{}", status.message());
}

#[tokio::test]
async fn bad_fields_and_another_merchants_account() {
    let fixture = Fixture::start().await;
    let good = request(&fixture, "2026-03-01");
    for (request, field) in [
        (ReadStatementRequest { merchant_id: "x".to_owned(), ..good.clone() }, "merchant_id"),
        (ReadStatementRequest { channel_account_id: String::new(), ..good.clone() }, "channel_account_id"),
        (ReadStatementRequest { statement_date: String::new(), ..good.clone() }, "statement_date"),
        (ReadStatementRequest { statement_date: "2026-3-1".to_owned(), ..good.clone() }, "statement_date"),
        (ReadStatementRequest { statement_date: "20260301".to_owned(), ..good.clone() }, "statement_date"),
        (ReadStatementRequest { statement_date: "2026-02-30".to_owned(), ..good.clone() }, "statement_date"),
    ] {
        let status = read(&fixture, request).await.unwrap_err();
        assert_eq!((status.code(), bad_fields(&status)), (Code::InvalidArgument, vec![field.to_owned()]));
    }
    let stranger = ReadStatementRequest { merchant_id: MerchantId::new().to_string(), ..good };
    let status = read(&fixture, stranger).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_deref()),
        (Code::NotFound, Some("CHANNEL_ACCOUNT_NOT_FOUND"))
    );
}

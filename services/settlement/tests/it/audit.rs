//! The money audit: clean books are clean, and every kind of fault is named.

use tael_proto::settlement::v1::audit_money_response::Part;
use tael_proto::settlement::v1::money_audit_service_client::MoneyAuditServiceClient;
use tael_proto::settlement::v1::{AuditMoneyRequest, AuditSummary, Disagreement, DisagreementKind as Kind};
use tonic::Code;

use crate::audit_facts::AuditFacts;
use crate::faults::FAULTS;
use crate::fixture::{self, Fixture, Shop};
use crate::peers::Bill;

/// A fixture whose ledger has what the books say: a sale of 100.00 of which 25.00 was refunded, and 50.00 that is held.
async fn audited() -> (Fixture, Shop, AuditFacts) {
    let fixture = fixture::start().await;
    let shop = fixture.shop_with_rates("0.006", "0.0038").await;
    let late = shop.paid(50_00);
    let sold = shop.paid(100_00);
    let refund = sold.refunded(25_00, 25_00);
    fixture.happen([late.event(), sold.event(), refund.event()]).await;
    fixture.orders.append(late.held());
    fixture.orders.consumed().await;
    let mut books = AuditFacts::of(&shop);
    books.held(&shop, &late, 50_00);
    books.sold(&shop, &sold, 100_00);
    books.refunded(&refund, &sold, 25_00);
    (fixture, shop, books)
}

/// Audits these books.
async fn audit(fixture: &Fixture, shop: &Shop, books: AuditFacts) -> (Vec<Disagreement>, AuditSummary) {
    let parts = vec![books.bill.clone()];
    fixture.payment.set_bill(&shop.channel_account_id, "2026-11-20", Bill::Parts(parts));
    fixture.books.put(books);
    ask(fixture, AuditMoneyRequest { patience_ms: 1, ..AuditMoneyRequest::default() }).await.unwrap()
}

async fn ask(
    fixture: &Fixture,
    request: AuditMoneyRequest,
) -> Result<(Vec<Disagreement>, AuditSummary), tonic::Status> {
    let mut client = MoneyAuditServiceClient::new(fixture.running.channel());
    let mut stream = client.audit_money(request).await?.into_inner();
    let mut found = Vec::new();
    loop {
        match stream.message().await?.and_then(|answer| answer.part) {
            Some(Part::Disagreement(disagreement)) => found.push(disagreement),
            Some(Part::Summary(summary)) => {
                assert_eq!(stream.message().await?, None, "the summary is the last");
                return Ok((found, summary));
            }
            None => panic!("the audit ended without a summary"),
        }
    }
}

fn named(found: &[Disagreement], kind: Kind, ids: &[String]) -> bool {
    found.iter().any(|d| d.kind() == kind && ids.iter().all(|id| d.ids.contains(id)))
}

#[tokio::test]
async fn books_that_agree_are_clean_after_one_look() {
    let (fixture, shop, books) = audited().await;
    let (found, summary) = audit(&fixture, &shop, books).await;
    assert_eq!(found, []);
    assert_eq!((summary.disagreements, summary.passes, summary.in_flight), (0, 1, 0));
    // Yesterday's bill is there, not today's and those of three days before.
    assert_eq!((summary.bill_days, summary.bill_days_not_available), (1, 4));
    let count = |kind: &str| summary.facts.iter().find(|fact| fact.kind == kind).unwrap().count;
    assert_eq!((count("order"), count("payment"), count("attempt"), count("held_payment")), (2, 2, 2, 1));
    assert_eq!((count("payment_refund"), count("refund"), count("transfer")), (1, 1, 4));
    assert_eq!((count("event"), count("delivery"), count("bill_line")), (7, 7, 3));
    assert_eq!(kept(&fixture).await, [Vec::<String>::new()]);
}

/// The kinds of disagreements that audits ended with, as they are kept for those who watch.
async fn kept(fixture: &Fixture) -> Vec<Vec<String>> {
    let kinds = sqlx::query_scalar("select kinds from money_audit order by money_audit_id");
    kinds.fetch_all(&fixture.pool).await.unwrap()
}

#[tokio::test]
async fn only_audits_of_everything_are_told_to_those_who_watch() {
    let (fixture, shop, mut books) = audited().await;
    // The bill of the day lacks a payment.
    books.bill.remove(0);
    assert_eq!(audit(&fixture, &shop, books).await.0.len(), 1);
    let found = [vec!["channel_missing".to_owned()]];
    assert_eq!(kept(&fixture).await, found);

    // Another day, and one that has an opinion of its own of what is stuck, do not make it undone.
    let narrower = [
        AuditMoneyRequest { merchant_id: shop.merchant_id.clone(), ..AuditMoneyRequest::default() },
        AuditMoneyRequest {
            first_bill_date: "2026-11-12".to_owned(),
            last_bill_date: "2026-11-12".to_owned(),
            ..AuditMoneyRequest::default()
        },
        AuditMoneyRequest { stuck_after_seconds: 3601, ..AuditMoneyRequest::default() },
    ];
    for request in narrower {
        ask(&fixture, AuditMoneyRequest { patience_ms: 1, ..request }).await.unwrap();
    }
    assert_eq!(kept(&fixture).await, found);

    // It is found until its day is past, over a weekend.
    let today =
        AuditMoneyRequest { patience_ms: 1, stuck_after_seconds: 3600, ..AuditMoneyRequest::default() };
    let days = jiff::SignedDuration::from_hours(24);
    for clean in [false, false, false, true] {
        fixture.clock.advance(days);
        assert_eq!(ask(&fixture, today.clone()).await.unwrap().0.is_empty(), clean);
    }
    assert_eq!(kept(&fixture).await.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1, 1, 0]);
}

#[tokio::test]
async fn an_audit_is_answered_also_when_nobody_can_be_told_how_it_ended() {
    let (fixture, shop, books) = audited().await;
    sqlx::query("drop table money_audit").execute(&fixture.pool).await.unwrap();
    let (found, summary) = audit(&fixture, &shop, books).await;
    assert_eq!((found, summary.disagreements), (vec![], 0));
}

#[tokio::test]
async fn every_kind_of_fault_in_the_services_and_the_bill_is_named_with_its_ids() {
    // In worlds of their own, side by side.
    let parts = [0, 1, 2, 3].map(|part| tokio::spawn(name_every(part, 4)));
    for part in parts {
        part.await.unwrap();
    }
}

/// Plants the faults of one part of so many and sees each of them named.
async fn name_every(part: usize, parts: usize) {
    let (fixture, shop, books) = audited().await;
    for (number, fault) in FAULTS.iter().enumerate().skip(part).step_by(parts) {
        let mut wrong = books.clone();
        let ids = (fault.plant)(&mut wrong);
        let (found, summary) = audit(&fixture, &shop, wrong).await;
        assert!(named(&found, fault.kind, &ids), "fault {number}, {:?} of {ids:?}: {found:#?}", fault.kind);
        assert!(found.iter().all(|d| d.merchant_id == shop.merchant_id), "{found:#?}");
        assert_eq!(summary.disagreements, found.len() as u64);
        assert!(summary.passes >= 2, "a disagreement is looked at again");
    }
    // Nothing of it stayed.
    assert_eq!(audit(&fixture, &shop, books).await.0, []);
}

/// A kind of fault, how to plant it, and an id that must be named.
type LedgerFault = (Kind, &'static str, fn(&AuditFacts) -> String);

/// Changes what the ledger never lets anybody change.
async fn tamper(fixture: &Fixture, sql: &'static str) {
    let mut conn = fixture.pool.acquire().await.unwrap();
    for table in ["transfer", "entry", "account"] {
        let off = format!("alter table {table} disable trigger user");
        sqlx::query(sqlx::AssertSqlSafe(off)).execute(&mut *conn).await.unwrap();
    }
    let done = sqlx::raw_sql(sql).execute(&mut *conn).await.unwrap();
    assert!(done.rows_affected() > 0, "nothing was tampered with: {sql}");
}

#[tokio::test]
async fn every_kind_of_fault_in_the_ledger_is_named_with_its_ids() {
    let faults: [LedgerFault; 8] = [
        (
            Kind::PostedTwice,
            "drop index transfer_payment;
             insert into transfer select (t2).* from (
                 select jsonb_populate_record(t, jsonb_build_object('transfer_id', gen_random_uuid(),
                     'event_id', gen_random_uuid())) as t2
                 from transfer t where kind = 'payment' and gross_minor = 10000) x",
            |b| b.payments[1].payment_id.clone(),
        ),
        (
            Kind::PostedWithoutCause,
            "update transfer set payment_id = gen_random_uuid(), event_id = gen_random_uuid()
             where kind = 'payment' and gross_minor = 5000",
            |_| String::new(),
        ),
        (Kind::PaymentNotPosted, "delete from transfer where kind = 'payment' and gross_minor = 5000", |b| {
            b.payments[0].payment_id.clone()
        }),
        (
            Kind::PostedAmount,
            "update transfer set gross_minor = gross_minor + 1, refunded_total_minor = refunded_total_minor + 1 where kind = 'refund'",
            |b| b.payment_refunds[0].refund_id.clone(),
        ),
        (
            Kind::Fee,
            "update transfer set fee_minor = fee_minor - 1 where kind = 'payment' and gross_minor = 10000",
            |b| b.payments[1].payment_id.clone(),
        ),
        (Kind::Fee, "update transfer set fee_minor = fee_minor - 1 where kind = 'refund'", |b| {
            b.payments[1].payment_id.clone()
        }),
        (
            Kind::Unbalanced,
            "update entry set amount_minor = amount_minor + 1 where ctid = (select min(ctid) from entry)",
            |_| String::new(),
        ),
        (
            Kind::AccountSum,
            "update account set debits_minor = debits_minor + 1 where kind = 'channel_receivable'",
            |_| String::new(),
        ),
    ];
    for (kind, sql, id) in faults {
        let (fixture, shop, books) = audited().await;
        let ids: Vec<String> = [id(&books)].into_iter().filter(|id| !id.is_empty()).collect();
        tamper(&fixture, sql).await;
        let (found, _) = audit(&fixture, &shop, books).await;
        assert!(named(&found, kind, &ids), "{kind:?} of {ids:?}: {found:#?}");
    }
}

#[tokio::test]
async fn work_in_flight_is_looked_at_again_and_not_reported() {
    let (fixture, shop, books) = audited().await;
    let mut early = books.clone();
    early.orders[1].state = "pending_payment".to_owned();
    early.orders[1].payment_id = String::new();
    fixture.payment.set_bill(&shop.channel_account_id, "2026-11-20", Bill::Parts(vec![books.bill.clone()]));
    fixture.books.put(early);
    let auditing = ask(&fixture, AuditMoneyRequest { patience_ms: 20_000, ..AuditMoneyRequest::default() });
    // The bill is read after the facts: by then a look has found what it must.
    let done = async {
        tael_testkit::eventually("a first look", || async {
            (fixture.payment.bill_reads() > 0).then_some(())
        })
        .await;
        fixture.books.put(books);
    };
    let (answer, ()) = tokio::join!(auditing, done);
    let (found, summary) = answer.unwrap();
    assert_eq!(found, []);
    assert!(summary.settled_meanwhile > 0 && summary.passes >= 2, "{summary:?}");
}

#[tokio::test]
async fn what_has_no_final_state_is_in_flight_until_it_is_stuck() {
    let (fixture, shop, mut books) = audited().await;
    let mut trying = books.attempts[1].clone();
    trying.attempt_id = tael_ids::AttemptId::new().to_string();
    trying.state = "initiated".to_owned();
    trying.create_time = crate::audit_facts::time("2026-11-21T03:30:00Z");
    // The channel has its money already.
    let number = trying.attempt_id.replace('_', "");
    books
        .bill
        .push(tael_proto::payment::v1::StatementLine { merchant_number: number, ..books.bill[0].clone() });
    books.attempts.push(trying.clone());
    let (found, summary) = audit(&fixture, &shop, books).await;
    assert_eq!(found, []);
    assert_eq!(summary.in_flight, 1);
    let impatient =
        AuditMoneyRequest { patience_ms: 1, stuck_after_seconds: 1799, ..AuditMoneyRequest::default() };
    let (found, _) = ask(&fixture, impatient).await.unwrap();
    assert!(named(&found, Kind::Stuck, &[trying.attempt_id]) && found.len() == 1, "{found:?}");
}

#[tokio::test]
async fn what_retention_removed_is_not_missed() {
    let (fixture, shop, mut books) = audited().await;
    books.events.clear();
    books.deliveries.clear();
    books.log.events_removed = true;
    books.log.first_occur_time = crate::audit_facts::time("2026-11-20T12:00:00Z");
    let (found, _) = audit(&fixture, &shop, books.clone()).await;
    assert_eq!(found, []);
    books.log.first_occur_time = crate::audit_facts::time("2026-11-20T00:00:00Z");
    let (found, _) = audit(&fixture, &shop, books).await;
    assert_eq!(found.iter().filter(|d| d.kind() == Kind::EventMissing).count(), 7, "{found:?}");
}

#[tokio::test]
async fn a_bill_of_a_day_that_is_not_over_is_missed_in_only_when_it_is_said_to_have_all() {
    let (fixture, _, books) = audited().await;
    fixture.books.put(books.clone());
    let account = &books.accounts[0].channel_account_id;
    fixture.payment.set_bill(account, "2026-11-20", Bill::Parts(vec![]));
    fixture.clock.advance(jiff::SignedDuration::from_hours(-18));
    let so_far = |bills_so_far| AuditMoneyRequest {
        first_bill_date: "2026-11-20".to_owned(),
        last_bill_date: "2026-11-20".to_owned(),
        patience_ms: 1,
        bills_so_far,
        ..AuditMoneyRequest::default()
    };
    assert_eq!(ask(&fixture, so_far(false)).await.unwrap().0, []);
    let (found, _) = ask(&fixture, so_far(true)).await.unwrap();
    assert_eq!(found.iter().map(Disagreement::kind).collect::<Vec<_>>(), [Kind::ChannelMissing; 3]);
}

#[tokio::test]
async fn an_audit_that_cannot_be_made_is_an_error_and_bad_requests_name_the_field() {
    let (fixture, shop, books) = audited().await;
    fixture.books.put(books);
    // The bill breaks off: nothing may be concluded from it.
    fixture.payment.set_bill(&shop.channel_account_id, "2026-11-20", Bill::BreaksOff(vec![]));
    let error = ask(&fixture, AuditMoneyRequest::default()).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);

    let day = |first: &str, last: &str| AuditMoneyRequest {
        first_bill_date: first.to_owned(),
        last_bill_date: last.to_owned(),
        ..AuditMoneyRequest::default()
    };
    let bad: [(AuditMoneyRequest, &str); 7] = [
        (AuditMoneyRequest { merchant_id: "mer_".to_owned(), ..AuditMoneyRequest::default() }, "merchant_id"),
        (AuditMoneyRequest { patience_ms: 600_001, ..AuditMoneyRequest::default() }, "patience_ms"),
        (
            AuditMoneyRequest { stuck_after_seconds: u32::MAX, ..AuditMoneyRequest::default() },
            "stuck_after_seconds",
        ),
        (day("yesterday", "2026-11-20"), "first_bill_date"),
        (day("2026-11-20", "2026-11-19"), "last_bill_date"),
        (day("2026-01-01", "2026-11-19"), "last_bill_date"),
        (day("2026-11-20", ""), "last_bill_date"),
    ];
    for (request, field) in bad {
        let error = ask(&fixture, request).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert_eq!(tael_grpc::status::bad_fields(&error), [field]);
    }
}

#[tokio::test]
async fn the_audit_of_one_merchant_leaves_the_others_alone() {
    let (fixture, shop, mut books) = audited().await;
    books.payments[1].refunded = Some(crate::fixture::cny(1));
    let (found, _) = audit(&fixture, &shop, books).await;
    assert!(named(&found, Kind::PaymentRefunded, &[]));
    let other = AuditMoneyRequest {
        merchant_id: fixture.shop().merchant_id,
        patience_ms: 1,
        ..AuditMoneyRequest::default()
    };
    let (found, summary) = ask(&fixture, other).await.unwrap();
    assert_eq!(found, []);
    assert!(summary.facts.iter().all(|fact| fact.count == 0 || fact.kind == "log_start"), "{summary:?}");
}

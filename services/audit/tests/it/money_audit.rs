//! The money audit: clean books are clean, and every kind of fault is named.

use tael_proto::audit::v1::audit_money_response::Part;
use tael_proto::audit::v1::money_audit_service_client::MoneyAuditServiceClient;
use tael_proto::audit::v1::{AuditMoneyRequest, AuditSummary, Disagreement, DisagreementKind as Kind};
use tonic::Code;

use crate::audit_facts::AuditFacts;
use crate::faults::FAULTS;
use crate::fixture::{self, Fixture, Paid, Shop};
use crate::peers::Statement;

/// Books that agree: a sale of 100.00 of which 25.00 was refunded, and 50.00 that is held.
async fn audited() -> (Fixture, Shop, AuditFacts) {
    let (fixture, shop) = (fixture::start().await, Shop::open());
    let mut books = AuditFacts::of(&shop);
    books.held(&shop, &Paid::new(50_00));
    let sold = Paid::new(100_00);
    books.sold(&shop, &sold);
    books.refunded(&sold, 25_00);
    (fixture, shop, books)
}

/// Audits these books.
async fn audit(fixture: &Fixture, shop: &Shop, books: AuditFacts) -> (Vec<Disagreement>, AuditSummary) {
    let parts = vec![books.statement.clone()];
    fixture.statements.set(&shop.channel_account_id, "2026-11-20", Statement::Parts(parts));
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
    // Yesterday's statement is there, not today's and those of three days before.
    assert_eq!((summary.statement_days, summary.statement_days_not_available), (1, 4));
    let count = |kind: &str| summary.facts.iter().find(|fact| fact.kind == kind).unwrap().count;
    assert_eq!((count("order"), count("payment"), count("attempt"), count("held_payment")), (2, 2, 2, 1));
    assert_eq!((count("payment_refund"), count("refund"), count("transfer")), (1, 1, 4));
    assert_eq!((count("event"), count("delivery"), count("statement_line")), (7, 7, 3));
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
    // The statement of the day lacks a payment.
    books.statement.remove(0);
    assert_eq!(audit(&fixture, &shop, books).await.0.len(), 1);
    let found = [vec!["channel_missing".to_owned()]];
    assert_eq!(kept(&fixture).await, found);

    // Another day, and one that has an opinion of its own of what is stuck, do not make it undone.
    let narrower = [
        AuditMoneyRequest { merchant_id: shop.merchant_id.clone(), ..AuditMoneyRequest::default() },
        AuditMoneyRequest {
            first_statement_date: "2026-11-12".to_owned(),
            last_statement_date: "2026-11-12".to_owned(),
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
async fn every_kind_of_fault_in_the_services_the_ledger_and_the_statement_is_named_with_its_ids() {
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

#[tokio::test]
async fn work_in_flight_is_looked_at_again_and_not_reported() {
    let (fixture, shop, books) = audited().await;
    let mut early = books.clone();
    early.orders[1].state = "pending_payment".to_owned();
    early.orders[1].payment_id = String::new();
    fixture.statements.set(
        &shop.channel_account_id,
        "2026-11-20",
        Statement::Parts(vec![books.statement.clone()]),
    );
    fixture.books.put(early);
    let auditing = ask(&fixture, AuditMoneyRequest { patience_ms: 20_000, ..AuditMoneyRequest::default() });
    // The statement is read after the facts: by then a look has found what it must.
    let done = async {
        tael_testkit::eventually("a first look", || async { (fixture.statements.reads() > 0).then_some(()) })
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
    books.statement.push(tael_proto::payment::v1::StatementLine {
        merchant_number: number,
        ..books.statement[0].clone()
    });
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
async fn a_statement_of_a_day_that_is_not_over_is_missed_in_only_when_it_is_said_to_have_all() {
    let (fixture, _, books) = audited().await;
    fixture.books.put(books.clone());
    let account = &books.accounts[0].channel_account_id;
    fixture.statements.set(account, "2026-11-20", Statement::Parts(vec![]));
    fixture.clock.advance(jiff::SignedDuration::from_hours(-18));
    let so_far = |statements_so_far| AuditMoneyRequest {
        first_statement_date: "2026-11-20".to_owned(),
        last_statement_date: "2026-11-20".to_owned(),
        patience_ms: 1,
        statements_so_far,
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
    // The payment service is away: nothing can be compared.
    fixture.statements.set(&shop.channel_account_id, "2026-11-20", Statement::PaymentAway);
    let error = ask(&fixture, AuditMoneyRequest::default()).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);

    let day = |first: &str, last: &str| AuditMoneyRequest {
        first_statement_date: first.to_owned(),
        last_statement_date: last.to_owned(),
        ..AuditMoneyRequest::default()
    };
    let bad: [(AuditMoneyRequest, &str); 7] = [
        (AuditMoneyRequest { merchant_id: "mer_".to_owned(), ..AuditMoneyRequest::default() }, "merchant_id"),
        (AuditMoneyRequest { patience_ms: 600_001, ..AuditMoneyRequest::default() }, "patience_ms"),
        (
            AuditMoneyRequest { stuck_after_seconds: u32::MAX, ..AuditMoneyRequest::default() },
            "stuck_after_seconds",
        ),
        (day("yesterday", "2026-11-20"), "first_statement_date"),
        (day("2026-11-20", "2026-11-19"), "last_statement_date"),
        (day("2026-01-01", "2026-11-19"), "last_statement_date"),
        (day("2026-11-20", ""), "last_statement_date"),
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
        merchant_id: Shop::open().merchant_id,
        patience_ms: 1,
        ..AuditMoneyRequest::default()
    };
    let (found, summary) = ask(&fixture, other).await.unwrap();
    assert_eq!(found, []);
    assert!(summary.facts.iter().all(|fact| fact.count == 0 || fact.kind == "log_start"), "{summary:?}");
}

#[tokio::test]
async fn a_statement_that_breaks_off_is_named_and_the_rest_is_judged() {
    let (fixture, shop, mut books) = audited().await;
    // Of the day before, what came is enough to be wrong if it were believed.
    let part = Paid::new(1_00).statement_line();
    fixture.statements.set(&shop.channel_account_id, "2026-11-19", Statement::BreaksOff(vec![part]));
    books.payments[1].refunded = Some(crate::fixture::cny(1));
    books.statement.remove(0);
    let (found, summary) = audit(&fixture, &shop, books).await;
    assert!(named(&found, Kind::StatementUnread, &["2026-11-19".to_owned()]), "{found:#?}");
    assert!(
        named(&found, Kind::PaymentRefunded, &[]) && named(&found, Kind::ChannelMissing, &[]),
        "{found:#?}"
    );
    assert!(!found.iter().any(|d| d.kind() == Kind::ChannelPaymentUnknown), "{found:#?}");
    assert_eq!((summary.statement_days, summary.statement_days_unread), (1, 1));
    let unread = found.iter().find(|d| d.kind() == Kind::StatementUnread).unwrap();
    assert!(unread.detail.contains(&shop.channel_account_id), "{}", unread.detail);
}

#[tokio::test]
async fn a_channel_that_never_answers_holds_up_no_other_account() {
    let (fixture, shop, mut books) = audited().await;
    let silent = Shop::open();
    let mut other = AuditFacts::of(&silent);
    other.accounts[0].statement_owner = "2088000000000002".to_owned();
    books.accounts.extend(other.accounts);
    fixture.statements.set(&silent.channel_account_id, "2026-11-20", Statement::Silent);
    let (found, summary) = audit(&fixture, &shop, books).await;
    assert_eq!(
        found.iter().map(Disagreement::kind).collect::<Vec<_>>(),
        [Kind::StatementUnread],
        "{found:#?}"
    );
    assert_eq!((summary.statement_days, summary.statement_days_unread), (1, 1));
}

#[tokio::test]
async fn two_apps_of_one_seller_share_one_statement() {
    let (fixture, shop, mut books) = audited().await;
    let second = Shop { channel_account_id: tael_ids::ChannelAccountId::new().to_string(), ..shop.clone() };
    let mut accounts = AuditFacts::of(&second).accounts;
    books.accounts.append(&mut accounts);
    books.attempts[0].channel_account_id.clone_from(&second.channel_account_id);
    // Whichever account asks gets all of the seller's.
    let parts = Statement::Parts(vec![books.statement.clone()]);
    fixture.statements.set(&second.channel_account_id, "2026-11-20", parts);
    let (found, summary) = audit(&fixture, &shop, books.clone()).await;
    assert_eq!(found, []);
    assert_eq!(summary.statement_days, 1, "it is read once");
    // The one account's key is wrong: the other's will do.
    fixture.books.put(books.clone());
    fixture.statements.set(&shop.channel_account_id, "2026-11-20", Statement::BreaksOff(books.statement));
    let request = AuditMoneyRequest { patience_ms: 1, ..AuditMoneyRequest::default() };
    assert_eq!(ask(&fixture, request).await.unwrap().0, []);
}

//! A build finds what the build before it wrote, and what that one still writes beside it.

use std::collections::BTreeMap;

use secrecy::ExposeSecret as _;
use sqlx::{AssertSqlSafe, PgPool};
use tael_clock::Clock;
use tael_config::Env;
use tael_ids::{MerchantId, ReconciliationId};
use tael_proto::order::v1::unapplied_payment_service_client::UnappliedPaymentServiceClient;
use tael_proto::order::v1::{
    ListUnappliedPaymentsRequest, UnappliedPayment, UnappliedPaymentState, UnappliedReason,
};
use tael_proto::settlement::v1::ledger_service_client::LedgerServiceClient;
use tael_proto::settlement::v1::reconciliation_service_client::ReconciliationServiceClient;
use tael_proto::settlement::v1::settlement_batch_service_client::SettlementBatchServiceClient;
use tael_proto::settlement::v1::{
    AccountKind, BatchLine, CheckLedgerRequest, Direction, GetReconciliationRequest, GetStatementRequest,
    ListAccountsRequest, ListBatchesRequest, ListTransfersRequest, TransferKind,
};
use tael_runtime::Service;
use tael_testkit::{Running, TestDatabase, redis_url};

use crate::migrate_to;

/// The merchant whose rows the fixtures hold.
const MERCHANT: &str = "01a201a1-8460-718a-9278-c16f6a7a8529";

/// A database as a build left it whose own schema was at this level.
async fn left_at<S: Service>(level: i64, rows: &str) -> (TestDatabase, PgPool) {
    let database = TestDatabase::create().await;
    let pool = database.pool();
    let [log, own] = S::SCHEMAS else { panic!("a log and the service's own") };
    migrate_to(&pool, log.migrator, i64::MAX).await;
    migrate_to(&pool, own.migrator, level).await;
    // The rows come as they were at last, which the triggers that watch their becoming would refuse.
    let sql = format!("begin; set local session_replication_role = replica; {rows}; commit");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&pool).await.unwrap();
    (database, pool)
}

/// Starts today's build there; its peers are away.
async fn start<S: Service>(database: &TestDatabase) -> Running {
    let mut variables = BTreeMap::from([
        ("TAEL_LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
        ("TAEL_DATABASE_URL".to_owned(), database.url().expose_secret().to_owned()),
        ("TAEL_REDIS_URL".to_owned(), redis_url().expose_secret().to_owned()),
        (
            "TAEL_SEALING_KEYS".to_owned(),
            tael_sealed::Keyring::generate_text("test").expose_secret().to_owned(),
        ),
        (
            "TAEL_PRINCIPAL_SIGNING_KEY".to_owned(),
            tael_principal::SigningKey::generate("test").0.expose_secret().to_owned(),
        ),
    ]);
    for peer in ["MERCHANT", "ORDER", "PAYMENT", "REFUND", "SETTLEMENT", "NOTIFICATION"] {
        variables.insert(format!("TAEL_{peer}_URL"), "http://127.0.0.1:1".to_owned());
    }
    let config = S::config(&mut Env::from_map(variables)).unwrap_or_else(|errors| panic!("{errors}"));
    tael_testkit::run::<S>(config, Clock::system()).await
}

fn merchant() -> String {
    MerchantId::from_uuid(MERCHANT.parse::<uuid::Uuid>().unwrap()).to_string()
}

#[tokio::test]
async fn settlement_keeps_the_books_that_the_build_before_the_guards_wrote() {
    let rows = include_str!("../fixtures/settlement-0002.sql");
    let (database, _pool) = left_at::<tael_settlement::App>(2, rows).await;
    let running = start::<tael_settlement::App>(&database).await;
    let mut client = LedgerServiceClient::new(running.channel());
    let check = client.check_ledger(CheckLedgerRequest {}).await.unwrap().into_inner();
    assert_eq!(check.transfer_count, 16);
    assert_eq!((check.unbalanced_transfer_ids, check.wrong_account_ids), (vec![], vec![]));

    let accounts = client.list_accounts(ListAccountsRequest { merchant_id: merchant() }).await.unwrap();
    let accounts = accounts.into_inner().accounts;
    let owed = accounts.iter().find(|account| account.kind() == AccountKind::MerchantPayable).unwrap();
    let minor = |money: &Option<tael_proto::r#type::v1::Money>| money.as_ref().unwrap().minor;
    assert_eq!((minor(&owed.debits), minor(&owed.credits)), (3_956, 35_604));
    running.stop().await;
}

#[tokio::test]
async fn settlement_keeps_the_books_of_the_build_before_components() {
    use TransferKind::{Hold, Payment, Refund};

    let rows = include_str!("../fixtures/settlement-0004.sql");
    let (database, pool) = left_at::<tael_settlement::App>(4, rows).await;
    let running = start::<tael_settlement::App>(&database).await;
    let merchant_id =
        MerchantId::from_uuid("01a22fce-aac4-7437-9ac4-62a9c11c5b86".parse().unwrap()).to_string();
    let mut ledger = LedgerServiceClient::new(running.channel());
    let check = ledger.check_ledger(CheckLedgerRequest {}).await.unwrap().into_inner();
    assert_eq!((check.unbalanced_transfer_ids, check.wrong_account_ids), (vec![], vec![]));

    // What a transfer must have been made of is what its entries say.
    let request = ListTransfersRequest {
        merchant_id: merchant_id.clone(),
        page_size: 100,
        ..ListTransfersRequest::default()
    };
    let transfers = ledger.list_transfers(request).await.unwrap().into_inner().transfers;
    assert_eq!(check.transfer_count, transfers.len() as u64);
    for transfer in &transfers {
        let part = |name: &str| {
            let found = transfer.components.iter().find(|part| part.component == name);
            found.map_or(0, |part| part.amount.as_ref().unwrap().minor)
        };
        let owed: i64 = transfer
            .entries
            .iter()
            .filter(|entry| entry.kind() == AccountKind::MerchantPayable)
            .map(|entry| (entry.direction(), entry.amount.as_ref().unwrap().minor))
            .map(|(side, minor)| if side == Direction::Credit { minor } else { -minor })
            .sum();
        let expected = match transfer.kind() {
            TransferKind::Payment => part("received") - part("fee"),
            TransferKind::Refund => part("fee") - part("received"),
            TransferKind::Hold => -part("held"),
            TransferKind::Release => part("held"),
            TransferKind::Batch | TransferKind::Unspecified => -part("net"),
        };
        assert!(owed != 0 && owed == expected, "{transfer:?}");
    }

    // Batches have the lines that they would have today.
    let mut batches = SettlementBatchServiceClient::new(running.channel());
    let request = ListBatchesRequest { merchant_id: merchant_id.clone(), ..ListBatchesRequest::default() };
    let listed = batches.list_batches(request).await.unwrap().into_inner().batches;
    let lines: Vec<Vec<_>> = listed
        .iter()
        .map(|batch| {
            let line = |line: &BatchLine| {
                let minor = line.amount.as_ref().unwrap().minor;
                (line.kind(), line.component.clone(), line.transfer_count, minor)
            };
            batch.lines.iter().map(line).collect()
        })
        .collect();
    let line = |kind, component: &str, count, minor| (kind, component.to_owned(), count, minor);
    assert_eq!(
        lines,
        [
            vec![
                line(Refund, "channel_fee", 1, 13),
                line(Refund, "fee", 1, 20),
                line(Refund, "received", 1, 3_333),
            ],
            vec![
                line(Hold, "held", 1, 5_000),
                line(Payment, "channel_fee", 3, 70),
                line(Payment, "fee", 3, 110),
                line(Payment, "received", 3, 18_333),
                line(Refund, "channel_fee", 1, 10),
                line(Refund, "fee", 1, 15),
                line(Refund, "received", 1, 2_500),
            ],
        ]
    );
    for batch in &listed {
        let request = GetStatementRequest {
            merchant_id: merchant_id.clone(),
            batch_id: batch.batch_id.clone(),
            ..GetStatementRequest::default()
        };
        let statement = batches.get_statement(request).await.unwrap().into_inner();
        let net: i64 = statement.lines.iter().map(|line| line.net.as_ref().unwrap().minor).sum();
        assert_eq!(Some(net), batch.net.as_ref().map(|net| net.minor));
    }

    // Of a break from before all of the amount was received.
    let id: uuid::Uuid =
        sqlx::query_scalar("select reconciliation_id from reconciliation").fetch_one(&pool).await.unwrap();
    let request = GetReconciliationRequest {
        merchant_id,
        reconciliation_id: ReconciliationId::from_uuid(id).to_string(),
    };
    let mut reconciliations = ReconciliationServiceClient::new(running.channel());
    let found =
        reconciliations.get_reconciliation(request).await.unwrap().into_inner().reconciliation.unwrap();
    assert!(found.break_count > 1);
    assert!(
        found
            .breaks
            .iter()
            .all(|b| { b.ledger_amount == b.ledger_received && b.statement_amount == b.statement_received })
    );
    running.stop().await;
}

#[tokio::test]
async fn order_tells_why_money_is_held_that_the_build_before_holds() {
    let rows = include_str!("../fixtures/order-0001.sql");
    let (database, pool) = left_at::<tael_order::App>(1, rows).await;
    let running = start::<tael_order::App>(&database).await;
    // The build before goes on, and tells of nothing that it does not know.
    sqlx::query(AssertSqlSafe(format!(
        "insert into held_payment (merchant_id, order_id, payment_id, currency, amount_minor, hold_time)
         values ('{MERCHANT}', '01a201a1-8bd3-7145-8372-000000000002', '01a201a1-8bd3-7145-8372-0000000000a5', 'CNY', \
         7, now())"
    )))
    .execute(&pool)
    .await
    .unwrap();
    let mut client = UnappliedPaymentServiceClient::new(running.channel());
    let request =
        ListUnappliedPaymentsRequest { merchant_id: merchant(), ..ListUnappliedPaymentsRequest::default() };
    let held = client.list_unapplied_payments(request).await.unwrap().into_inner().unapplied_payments;
    assert!(held.iter().all(|held| held.state() == UnappliedPaymentState::Held));
    let reasons: Vec<_> = held.iter().map(UnappliedPayment::reason).collect();
    // Newest payment first.
    let (amount, closed, paid) =
        (UnappliedReason::Amount, UnappliedReason::ClosedOrder, UnappliedReason::AlreadyPaid);
    assert_eq!(reasons, [amount, closed, amount, paid]);
    running.stop().await;
}

//! A database's name that leads to a server that takes no writes, as after a failover it does for a while.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use tael_testkit::TestDatabase;
use tokio::time::Instant;
use tonic::Code;

/// From now on new sessions, and only those, are as on a standby.
async fn read_only(operator: &mut PgConnection, on: bool) {
    let sql =
        if on { "set default_transaction_read_only = on" } else { "reset default_transaction_read_only" };
    let name: String =
        sqlx::query_scalar("select current_database()").fetch_one(&mut *operator).await.unwrap();
    sqlx::query(AssertSqlSafe(format!("alter database {name} {sql}"))).execute(operator).await.unwrap();
}

async fn insert(pool: &PgPool) -> Result<(), sqlx::Error> {
    sqlx::query("insert into paid values (1)").execute(pool).await.map(drop)
}

#[tokio::test]
async fn who_connected_to_a_standby_is_not_kept() {
    let database = TestDatabase::create().await;
    let admin = database.pool();
    sqlx::query("create table paid (id int)").execute(&admin).await.unwrap();
    // Sessions that were there before stay as they are.
    let mut operator = admin.acquire().await.unwrap();
    let (mut link, url) = database.link().await;
    let pool = tael_postgres::connect(&url, "test", 4).unwrap();
    insert(&pool).await.unwrap();

    link.cut().await;
    read_only(&mut operator, true).await;
    link.restore().await;
    let began = Instant::now();
    let refused = insert(&pool).await.unwrap_err();
    assert_eq!(tael_postgres::status(&refused).code(), Code::Unavailable, "{refused}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(pool.size(), 0, "none is kept");

    // Who waits when the name leads to the new primary is served.
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { insert(&pool).await }
    });
    read_only(&mut operator, false).await;
    waiting.await.unwrap().unwrap();
    insert(&pool).await.unwrap();
}

#[tokio::test]
async fn a_rested_connection_whose_server_takes_no_more_writes_is_left() {
    let database = TestDatabase::create().await;
    let pool = tael_postgres::connect(&database.url(), "test", 1).unwrap();
    sqlx::query("create table paid (id int)").execute(&pool).await.unwrap();
    // As a server that was told so would do to all its sessions.
    sqlx::query("set default_transaction_read_only = on").execute(&pool).await.unwrap();
    let refused = insert(&pool).await.unwrap_err();
    assert_eq!(tael_postgres::status(&refused).code(), Code::Unavailable, "{refused}");
    // It is looked at when it has rested, and a rest is a time.
    tokio::time::sleep(Duration::from_millis(300)).await;
    insert(&pool).await.unwrap();
}

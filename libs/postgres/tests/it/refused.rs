//! A server that answers, but with a refusal.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::error::DatabaseError;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use tael_grpc::status::reason;
use tael_testkit::TestDatabase;
use tokio::time::Instant;
use tonic::Code;
use url::Url;
use uuid::Uuid;

async fn run(pool: &PgPool, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(pool).await.unwrap();
}

async fn count(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from paid").fetch_one(pool).await.unwrap()
}

#[track_caller]
fn assert_call_again(error: &sqlx::Error, state: &str) {
    assert_eq!(error.as_database_error().and_then(DatabaseError::code).as_deref(), Some(state), "{error}");
    let status = tael_postgres::status(error);
    assert_eq!(
        (status.code(), reason(&status).as_deref()),
        (Code::Unavailable, Some("DEPENDENCY_UNAVAILABLE"))
    );
    assert!(!status.message().contains("disk") && !status.message().contains("lock"), "{}", status.message());
}

#[tokio::test]
async fn a_full_disk_refuses_cleanly_and_goes_on_when_there_is_room() {
    let database = TestDatabase::create().await;
    let pool = database.pool();
    run(
        &pool,
        "create table paid (id int primary key);
         create function full_disk() returns trigger language plpgsql as $$
         begin
             raise exception 'could not extend file: no space left on device' using errcode = '53100';
         end $$;
         create trigger full_disk before insert on paid for each row when (new.id > 1) execute function full_disk();",
    )
    .await;
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("insert into paid values (1)").execute(&mut *tx).await.unwrap();
    let full = sqlx::query("insert into paid values (2)").execute(&mut *tx).await.unwrap_err();
    assert_call_again(&full, "53100");
    drop(tx);
    assert_eq!(count(&pool).await, 0, "what came before in its transaction is gone with it");
    run(&pool, "drop trigger full_disk on paid; insert into paid values (1), (2)").await;
    assert_eq!(count(&pool).await, 2);
}

#[tokio::test]
async fn one_of_a_deadlock_is_told_to_call_again_and_the_other_succeeds() {
    let database = TestDatabase::create().await;
    let pool = database.pool();
    run(&pool, "create table paid (id int primary key, n int); insert into paid values (1, 0), (2, 0)").await;
    let add = async |conn: &mut PgConnection, id: i32| {
        sqlx::query("update paid set n = n + 1 where id = $1").bind(id).execute(conn).await
    };
    let (mut one, mut other) = (pool.begin().await.unwrap(), pool.begin().await.unwrap());
    add(&mut one, 1).await.unwrap();
    add(&mut other, 2).await.unwrap();
    let finish = async |mut tx: sqlx::Transaction<'static, sqlx::Postgres>, id| {
        add(&mut tx, id).await?;
        tx.commit().await
    };
    let (one, other) = tokio::join!(finish(one, 2), finish(other, 1));
    let (won, lost): (Vec<_>, Vec<_>) = [one, other].into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 1));
    assert_call_again(&lost.into_iter().next().unwrap().unwrap_err(), "40P01");
    let sum: i64 = sqlx::query_scalar("select sum(n) from paid").fetch_one(&pool).await.unwrap();
    assert_eq!(sum, 2, "the loser left nothing behind");
}

#[tokio::test]
async fn the_loser_of_a_serializable_race_is_told_to_call_again() {
    let database = TestDatabase::create().await;
    let pool = database.pool();
    run(&pool, "create table paid (id int primary key)").await;
    let (mut one, mut other) = (pool.begin().await.unwrap(), pool.begin().await.unwrap());
    for (tx, id) in [(&mut one, 1), (&mut other, 2)] {
        sqlx::query("set transaction isolation level serializable").execute(&mut **tx).await.unwrap();
        sqlx::query("select count(*) from paid").execute(&mut **tx).await.unwrap();
        sqlx::query("insert into paid values ($1)").bind(id).execute(&mut **tx).await.unwrap();
    }
    one.commit().await.unwrap();
    assert_call_again(&other.commit().await.unwrap_err(), "40001");
    assert_eq!(count(&pool).await, 1);
}

#[tokio::test]
async fn a_lock_that_is_not_had_in_time_and_a_session_that_was_ended() {
    let database = TestDatabase::create().await;
    let pool = database.pool();
    run(&pool, "create table paid (id int primary key)").await;
    let mut holder = pool.begin().await.unwrap();
    sqlx::query("lock table paid").execute(&mut *holder).await.unwrap();
    let mut waiter = pool.acquire().await.unwrap();
    sqlx::query("set lock_timeout = '50ms'").execute(&mut *waiter).await.unwrap();
    let late = sqlx::query("insert into paid values (1)").execute(&mut *waiter).await.unwrap_err();
    assert_call_again(&late, "55P03");

    let victim: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut *waiter).await.unwrap();
    sqlx::query("select pg_terminate_backend($1, 5000)").bind(victim).execute(&mut *holder).await.unwrap();
    let ended = sqlx::query("select 1").execute(&mut *waiter).await.unwrap_err();
    assert_eq!(tael_postgres::status(&ended).code(), Code::Unavailable, "{ended}");
    drop((holder, waiter));
    assert_eq!(count(&pool).await, 0, "the pool goes on with another connection");
}

/// A role of the test's own may have one connection, and somebody has it.
#[tokio::test]
async fn without_a_connection_the_caller_is_told_soon_and_served_when_there_is_one() {
    let database = TestDatabase::create().await;
    let admin = database.pool();
    let role = format!("tael_test_{}", Uuid::new_v4().simple());
    run(&admin, &format!("create role {role} login password 'narrow' connection limit 1")).await;
    let mut url: Url = database.url().expose_secret().parse().unwrap();
    url.set_username(&role).unwrap();
    url.set_password(Some("narrow")).unwrap();
    let somebody = PgConnection::connect(url.as_str()).await.unwrap();

    let pool = tael_postgres::connect(&SecretString::from(url.as_str()), "test", 4).unwrap();
    let began = Instant::now();
    let refused = pool.acquire().await.unwrap_err();
    let status = tael_postgres::status(&refused);
    assert_eq!(
        (status.code(), reason(&status).as_deref()),
        (Code::Unavailable, Some("DEPENDENCY_UNAVAILABLE"))
    );
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());

    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { sqlx::query_scalar::<_, i32>("select 1").fetch_one(&pool).await }
    });
    somebody.close().await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), 1);
    pool.close().await;
    run(&admin, &format!("drop role {role}")).await;
}

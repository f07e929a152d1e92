//! A database's name that leads to a server that takes no writes, as after a failover it does for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use tael_testkit::{Link, PostgresServer, TestDatabase, eventually};
use tokio::time::Instant;
use tonic::Code;
use url::Url;

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
async fn a_connection_whose_server_takes_no_more_writes_is_left() {
    let database = TestDatabase::create().await;
    let pool = tael_postgres::connect(&database.url(), "test", 1).unwrap();
    sqlx::query("create table paid (id int)").execute(&pool).await.unwrap();
    // As a server that was told so would do to all its sessions.
    sqlx::query("set default_transaction_read_only = on").execute(&pool).await.unwrap();
    let mut refusals = 0;
    while let Err(refused) = insert(&pool).await {
        assert_eq!(tael_postgres::status(&refused).code(), Code::Unavailable, "{refused}");
        refusals += 1;
        // A call that is made again pauses a little.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(refusals <= 10, "{refusals} calls were refused by one session");
}

/// An address of `server` with user, password and database of another one.
async fn at(server: &Url, other: &SecretString) -> Url {
    let mut url: Url = other.expose_secret().parse().unwrap();
    let mut there = server.clone();
    there.set_path(url.path());
    tael_postgres::create_database(&SecretString::from(there.as_str())).await.unwrap();
    let mut admin = PgConnection::connect(there.as_str()).await.unwrap();
    let user = url.username().to_owned();
    if user != server.username() {
        let sql = format!("create role \"{user}\" superuser login");
        sqlx::query(AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
    }
    if let Some(password) = url.password() {
        let sql = format!("alter role \"{user}\" password '{password}'");
        sqlx::query(AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
    }
    url.set_host(server.host_str()).unwrap();
    url.set_port(server.port()).unwrap();
    url
}

/// A failover that leaves the old primary alive and read-only, and its sessions open: those of busy clients never rest.
#[tokio::test]
async fn busy_clients_leave_a_server_that_was_turned_read_only() {
    const CLIENTS: u32 = 16;
    let (old, new) = (PostgresServer::start().await, TestDatabase::create().await);
    let old_url = at(old.url(), &new.url()).await;
    let mut operator = PgConnection::connect(old_url.as_str()).await.unwrap();
    let create = "create table paid (id int)";
    sqlx::query(create).execute(&mut operator).await.unwrap();
    sqlx::query(create).execute(&new.pool()).await.unwrap();

    let new_url: Url = new.url().expose_secret().parse().unwrap();
    let link = Link::to(old_url.socket_addrs(|| Some(5432)).unwrap()[0]).await;
    let mut url = new_url.clone();
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(link.addr().port())).unwrap();
    let pool = tael_postgres::connect(&SecretString::from(url.as_str()), "test", CLIENTS).unwrap();

    let (paid, refused) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (pool, paid, refused) = (pool.clone(), paid.clone(), refused.clone());
            tokio::spawn(async move {
                loop {
                    match insert(&pool).await {
                        Ok(()) => paid.fetch_add(1, Ordering::SeqCst),
                        Err(error) => {
                            let status = tael_postgres::status(&error);
                            assert_eq!(status.code(), Code::Unavailable, "{error}");
                            refused.fetch_add(1, Ordering::SeqCst)
                        }
                    };
                    // Busy all the same: no connection rests for long.
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            })
        })
        .collect();
    eventually("all clients to pay", async || (paid.load(Ordering::SeqCst) > 10 * CLIENTS).then_some(()))
        .await;
    assert_eq!((pool.size(), refused.load(Ordering::SeqCst)), (CLIENTS, 0));

    link.turn_to(new_url.socket_addrs(|| Some(5432)).unwrap()[0]);
    sqlx::query("alter system set default_transaction_read_only = on").execute(&mut operator).await.unwrap();
    sqlx::query("select pg_reload_conf()").execute(&mut operator).await.unwrap();
    eventually("the old server to refuse", async || (refused.load(Ordering::SeqCst) > 0).then_some(())).await;
    let at_first = paid.load(Ordering::SeqCst);
    let many = at_first + 20 * CLIENTS;
    eventually("the clients to pay again", async || (paid.load(Ordering::SeqCst) > many).then_some(())).await;
    // One session is found out within 10 ms, and then each at its next use.
    let refusals = refused.load(Ordering::SeqCst);
    assert!(refusals <= 10 * CLIENTS, "{refusals} calls were refused by {CLIENTS} sessions");
    for client in clients {
        client.abort();
    }
}

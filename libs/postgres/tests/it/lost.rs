//! Connections that are lost.

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::join_all;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::PgPool;
use tael_testkit::{Link, TestDatabase, eventually};
use tokio::time::Instant;
use tonic::Code;
use url::Url;

const CONNECTIONS: u32 = 4;

/// A database and a pool whose connections go over a link.
async fn over_a_link() -> (TestDatabase, Link, PgPool) {
    let database = TestDatabase::create().await;
    let mut url: Url = database.url().expose_secret().parse().unwrap();
    let server: Vec<SocketAddr> = url.socket_addrs(|| Some(5432)).unwrap();
    let link = Link::to(server[0]).await;
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(link.addr().port())).unwrap();
    let pool = tael_postgres::connect(&SecretString::from(url.as_str()), "test", CONNECTIONS).unwrap();
    (database, link, pool)
}

async fn one(pool: &PgPool) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar("select 1").fetch_one(pool).await
}

/// Opens all the connections that the pool may have, and lets them rest.
async fn fill(pool: &PgPool) {
    for acquired in join_all((0..CONNECTIONS).map(|_| pool.acquire())).await {
        acquired.unwrap();
    }
    eventually("the connections to rest", async || (pool.num_idle() == CONNECTIONS as usize).then_some(()))
        .await;
}

#[tokio::test]
async fn the_first_call_after_an_outage_succeeds_soon() {
    let (_database, mut link, pool) = over_a_link().await;
    fill(&pool).await;
    link.cut().await;
    // Some wait all the time, as callers do.
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { join_all((0..20).map(|_| one(&pool))).await }
    });
    for error in waiting.await.unwrap().into_iter().filter_map(Result::err) {
        assert_eq!(tael_postgres::status(&error).code(), Code::Unavailable, "{error}");
    }
    let early = tokio::spawn({
        let pool = pool.clone();
        async move { one(&pool).await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    link.restore().await;
    let back = Instant::now();
    assert_eq!(early.await.unwrap().unwrap(), 1, "who asked during the outage is answered after it");
    assert_eq!(one(&pool).await.unwrap(), 1);
    assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
}

/// Nobody is told that the other end is gone: without an end of our own, each connection would hold its place in the
/// pool for a quarter of an hour.
#[tokio::test]
async fn connections_that_fall_silent_are_given_up() {
    let (_database, link, pool) = over_a_link().await;
    fill(&pool).await;
    let mut in_use = Vec::new();
    for _ in 0..CONNECTIONS / 2 {
        in_use.push(pool.acquire().await.unwrap());
    }
    link.freeze();
    let frozen = Instant::now();
    // Those at rest are found out when they are taken, those in use when they are given back.
    for conn in &mut in_use {
        let cut_off = sqlx::query("select 1").execute(&mut **conn);
        tokio::time::timeout(Duration::from_millis(50), cut_off).await.expect_err("nobody answers");
    }
    drop(in_use);
    let mut answered = 0;
    while answered < 2 * CONNECTIONS {
        // Each call has its deadline.
        match tokio::time::timeout(Duration::from_secs(1), one(&pool)).await {
            Ok(Ok(_)) => answered += 1,
            Ok(Err(error)) => assert_eq!(tael_postgres::status(&error).code(), Code::Unavailable, "{error}"),
            Err(_elapsed) => {}
        }
        assert!(frozen.elapsed() < Duration::from_secs(15), "the pool does not come back");
    }
    fill(&pool).await;
}

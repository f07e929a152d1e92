//! A storm of repetitions of one call, and Redis struck in its middle. The work is guarded as those of the services are.

use std::sync::Arc;

use futures::future::join_all;
use sqlx::PgPool;
use tael_idempotency::{Idempotency, IdempotencyKey};
use tael_proto::r#type::v1::Money;
use tael_testkit::{RedisServer, TestDatabase};
use tokio::sync::{Barrier, watch};
use tonic::Status;

use crate::{call, is_replayed, message, new_key};

/// RpcAccess before the blow, and as many after it.
const HALF: usize = 100;

/// Where the work stands when Redis is struck.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    BeforeTheEffect,
    AfterTheEffect,
}

/// A work that waits at a moment until the blow was struck.
#[derive(Clone)]
struct Work {
    pool: PgPool,
    moment: Moment,
    is_struck: watch::Receiver<bool>,
    /// How many works stand at the moment.
    waiting: watch::Sender<usize>,
}

impl Work {
    async fn run(mut self, guard: IdempotencyKey) -> Result<Money, Status> {
        if self.moment == Moment::BeforeTheEffect {
            self.wait().await;
        }
        let number = once(&self.pool, &guard).await?;
        if self.moment == Moment::AfterTheEffect {
            self.wait().await;
        }
        Ok(message(number))
    }

    async fn wait(&mut self) {
        self.waiting.send_modify(|waiting| *waiting += 1);
        self.is_struck.wait_for(|struck| *struck).await.unwrap();
    }
}

/// A table for [`once`].
pub(crate) async fn effects(database: &TestDatabase) -> PgPool {
    let pool = database.pool();
    sqlx::query(
        "create table effect (idempotency_key text primary key, fingerprint bytea not null,
                              number bigint generated always as identity)",
    )
    .execute(&pool)
    .await
    .unwrap();
    pool
}

/// The effect: a row with a number of its own. Without the unique constraint each call would have one.
pub(crate) async fn once(pool: &PgPool, guard: &IdempotencyKey) -> Result<i64, Status> {
    let made: Option<i64> = sqlx::query_scalar(
        "insert into effect (idempotency_key, fingerprint) values ($1, $2)
         on conflict (idempotency_key) do nothing returning number",
    )
    .bind(&guard.key)
    .bind(&guard.fingerprint)
    .fetch_optional(pool)
    .await
    .map_err(|error| tael_postgres::status(&error))?;
    if let Some(number) = made {
        return Ok(number);
    }
    let (number, fingerprint): (i64, Vec<u8>) =
        sqlx::query_as("select number, fingerprint from effect where idempotency_key = $1")
            .bind(&guard.key)
            .fetch_one(pool)
            .await
            .map_err(|error| tael_postgres::status(&error))?;
    if !guard.matches(&fingerprint) {
        return Err(guard.conflict());
    }
    Ok(number)
}

/// Two replicas, 200 callers, one key: half of them call, one work stands at the moment, Redis is struck, the other
/// half call, the works go on.
async fn storm(moment: Moment, strike: impl AsyncFnOnce(&mut RedisServer)) {
    let (mut redis, database) = (RedisServer::start().await, TestDatabase::create().await);
    let pool = effects(&database).await;
    let replicas = [(); 2].map(|()| Idempotency::connect(&redis.url()).unwrap());
    let (struck, is_struck) = watch::channel(false);
    let (waiting, mut works) = watch::channel(0);
    let work = Work { pool: pool.clone(), moment, is_struck, waiting };
    let key = new_key();
    let callers = |here: &Arc<Barrier>| {
        let spawn = |n: usize| {
            let (idempotency, call, work) = (replicas[n % 2].clone(), call(&key, 7), work.clone());
            let here = Arc::clone(here);
            tokio::spawn(async move {
                here.wait().await;
                idempotency.run(call, |guard| work.run(guard)).await
            })
        };
        (0..HALF).map(spawn).collect::<Vec<_>>()
    };

    let here = Arc::new(Barrier::new(HALF));
    let before = callers(&here);
    works.wait_for(|waiting| *waiting > 0).await.unwrap();
    strike(&mut redis).await;
    let here = Arc::new(Barrier::new(HALF + 1));
    let after = callers(&here);
    here.wait().await;
    struck.send_replace(true);

    let answers = join_all(before.into_iter().chain(after)).await;
    let answers: Vec<_> =
        answers.into_iter().map(|answer| answer.unwrap().expect("no error to callers")).collect();
    assert_eq!(answers.len(), 2 * HALF);
    assert!(answers.iter().all(|answer| answer.get_ref() == answers[0].get_ref()));
    assert!(answers.iter().any(|answer| !is_replayed(answer)));
    // Who comes later, and to another replica, hears the same, whether Redis is still in trouble or back and empty.
    let url = redis.url();
    let late = async || {
        let (idempotency, work) = (Idempotency::connect(&url).unwrap(), work.clone());
        idempotency.run(call(&key, 7), |guard| work.run(guard)).await.unwrap()
    };
    assert_eq!(late().await.get_ref(), answers[0].get_ref());
    redis.restart().await;
    assert_eq!(late().await.get_ref(), answers[0].get_ref());
    let effects: i64 = sqlx::query_scalar("select count(*) from effect").fetch_one(&pool).await.unwrap();
    assert_eq!(effects, 1);
    for idempotency in replicas {
        idempotency.drain().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_killed_before_the_effect() {
    storm(Moment::BeforeTheEffect, async |redis| redis.kill()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_killed_after_the_effect() {
    storm(Moment::AfterTheEffect, async |redis| redis.kill()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_hanging_before_the_effect() {
    storm(Moment::BeforeTheEffect, async |redis| redis.hang()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_hanging_after_the_effect() {
    storm(Moment::AfterTheEffect, async |redis| redis.hang()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_flushed_before_the_effect() {
    storm(Moment::BeforeTheEffect, async |redis| redis.flush().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_flushed_after_the_effect() {
    storm(Moment::AfterTheEffect, async |redis| redis.flush().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_replaced_by_an_empty_one_before_the_effect() {
    storm(Moment::BeforeTheEffect, async |redis| redis.restart().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_replaced_by_an_empty_one_after_the_effect() {
    storm(Moment::AfterTheEffect, async |redis| redis.restart().await).await;
}

//! Repeated calls, with a real Redis, with none, with one that talks nonsense, and with one that dies or hangs.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod call;
mod degraded;
mod failover;
mod gone;
mod latency;
mod lease;
mod metrics;
mod open;
mod refusal;
mod run;
mod sealed;
mod storm;
mod trouble;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use redis::aio::MultiplexedConnection;
use secrecy::ExposeSecret as _;
use tael_idempotency::{Call, Idempotency, REPLAYED};
use tael_proto::r#type::v1::Money;
use tael_testkit::{new_key, redis_url};
use tonic::{Response, Status};

/// A message of any kind; it serves as request and as answer.
fn message(minor: i64) -> Money {
    Money { currency: "CNY".to_owned(), minor }
}

/// A call with a key, and a request that is known by its number.
fn call(key: &str, request: i64) -> Call {
    Call::with_key(&"tester", "Do", key, &message(request))
}

/// Under which name Redis knows the key of [`call`].
fn redis_key(key: &str) -> String {
    format!("tael:idempotency:tester:Do:{key}")
}

fn idempotency() -> Idempotency {
    Idempotency::connect(&redis_url()).unwrap()
}

async fn redis() -> MultiplexedConnection {
    let client = redis::Client::open(redis_url().expose_secret()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

fn is_replayed(answer: &Response<Money>) -> bool {
    answer.metadata().get(REPLAYED).is_some_and(|value| value == "true")
}

/// An effect that counts how often it happened, and answers with the count.
#[derive(Clone, Default)]
struct Effect(Arc<AtomicI64>);

impl Effect {
    fn happen(&self) -> Money {
        message(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn count(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    async fn run(&self, idempotency: &Idempotency, call: Call) -> Result<Response<Money>, Status> {
        let effect = self.clone();
        idempotency.run(call, |_| async move { Ok(effect.happen()) }).await
    }
}

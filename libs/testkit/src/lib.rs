//! Test kit: real databases, running services, scripted peers, awaited conditions. For tests only.
//!
//! `TAEL_DATABASE_URL` and `TAEL_REDIS_URL` must point to servers that may be written to; `make test` starts private
//! ones. Every test has its own database, dropped when the test ends; one with a service's tables is a copy of a template,
//! which is migrated once for the server and remains there ([`TestDatabase::of`]). A test that does harm to a whole
//! server starts one of its own: [`PostgresServer`], [`RedisServer`], for which they must be installed.

mod authority;
mod crash_points;
mod database;
mod link;
mod log;
mod postgres;
mod redis;
mod role;
mod scripted;
mod sentinel;
mod service;
mod spans;
mod template;

use std::future::Future;
use std::time::Duration;

pub use authority::{Authority, Certificate, Mounted};
pub use crash_points::assert_crash_points;
pub use database::TestDatabase;
pub use link::Link;
pub use log::ScriptedLog;
pub use postgres::PostgresServer;
pub use redis::RedisServer;
pub use role::TestRole;
pub use scripted::{Answer, Recorded, ScriptedServer};
use secrecy::SecretString;
pub use sentinel::RedisSentinels;
pub use service::{Running, run};
pub use spans::{SpanData, SpanKind, Spans, attribute, is_error};
use tael_ids::EventId;
use tokio::time::Instant;
use tonic::Request;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How long a condition is waited for before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// Returns the Redis to test with.
pub fn redis_url() -> SecretString {
    std::env::var("TAEL_REDIS_URL").expect("TAEL_REDIS_URL is set, as `make test` does").into()
}

/// Returns an address where no Redis is, for tests without it.
pub fn no_redis_url() -> SecretString {
    "redis://127.0.0.1:1".into()
}

/// Puts an idempotency key into a request.
pub fn with_key<T>(key: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("idempotency-key", key.parse().expect("a key is visible ASCII"));
    request
}

/// Puts a new idempotency key into a request.
pub fn keyed<T>(message: T) -> Request<T> {
    with_key(&new_key(), message)
}

/// Makes an idempotency key that was not used before.
pub fn new_key() -> String {
    EventId::new().channel_number()
}

/// Waits until `look` finds something. Fails the test, naming `what`, when it does not come.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < give_up, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Shows logs of tests that fail, when `TAEL_LOG` is set.
pub fn logs() {
    if let Ok(filter) = std::env::var("TAEL_LOG") {
        let filter = filter.parse::<Targets>().expect("levels of targets, as for services");
        let lines = tracing_subscriber::fmt::layer().with_test_writer();
        drop(tracing_subscriber::registry().with(lines).with(filter).try_init());
    }
}

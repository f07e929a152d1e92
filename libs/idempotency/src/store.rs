//! The fast guard in Redis. Every step is one atomic script; every failure means "go on without".

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{IntoConnectionInfo as _, Script};
use secrecy::{ExposeSecret as _, SecretString};
use tael_ids::EventId;
use tokio::time::Instant;

use crate::call::Call;

/// How long the call in progress may hold its key. An owner that crashed blocks it no longer than this.
const LEASE: Duration = Duration::from_secs(30);
/// How long an answer is remembered.
const REMEMBERED: Duration = Duration::from_hours(24);
/// Redis must be faster than this to be of use.
const PATIENCE: Duration = Duration::from_millis(250);
/// After a failure Redis is left alone for so long, so that an outage costs one wait and not one per call.
const PAUSE_MS: u64 = 1000;

/// Takes the key, or says why not: 0 ours, 1 another request, 2 answered (with the answer), 3 in progress.
static BEGIN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local seen = redis.call('HMGET', KEYS[1], 'fingerprint', 'answer')
        if not seen[1] then
            redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'owner', ARGV[2])
            redis.call('PEXPIRE', KEYS[1], ARGV[3])
            return {0}
        end
        if seen[1] ~= ARGV[1] then return {1} end
        if seen[2] then return {2, seen[2]} end
        return {3}",
    )
});

/// Records the answer, if the key is still ours.
static FINISH: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 0 end
        redis.call('HSET', KEYS[1], 'answer', ARGV[2])
        redis.call('HDEL', KEYS[1], 'owner')
        redis.call('PEXPIRE', KEYS[1], ARGV[3])
        return 1",
    )
});

/// Gives the key back, if it is still ours.
static ABANDON: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 0 end
        return redis.call('DEL', KEYS[1])",
    )
});

/// What became of the try to take a key.
pub(crate) enum Begin {
    /// The key is ours, under this owner token.
    Ours(String),
    /// The key was used with another request.
    Conflict,
    /// The call was answered with these bytes.
    Answered(Vec<u8>),
    /// Another call with this key is in progress.
    InProgress,
    /// Redis was asked and nothing sensible was heard: the key may be ours, under this owner token.
    Unheard(String),
    /// Redis is no help now.
    Degraded,
}

#[derive(Clone)]
pub(crate) struct Store {
    manager: ConnectionManager,
    /// Until when Redis is left alone, in milliseconds since `epoch`.
    paused_until_ms: Arc<AtomicU64>,
    epoch: Instant,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl Store {
    pub(crate) fn connect(url: &SecretString) -> Result<Self, redis::RedisError> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE))
            .set_number_of_retries(0);
        let tcp = TcpSettings::default().set_nodelay(true);
        let info = url.expose_secret().into_connection_info()?.set_tcp_settings(tcp);
        let client = redis::Client::open(info)?;
        Ok(Self {
            manager: ConnectionManager::new_lazy_with_config(client, config)?,
            paused_until_ms: Arc::default(),
            epoch: Instant::now(),
        })
    }

    pub(crate) async fn ping(&self) -> bool {
        redis::cmd("PING").query_async::<()>(&mut self.manager.clone()).await.is_ok()
    }

    pub(crate) async fn begin(&self, call: &Call) -> Begin {
        if self.is_paused() {
            return Begin::Degraded;
        }
        let owner = EventId::new().channel_number();
        let mut script = BEGIN.key(&call.redis_key);
        script.arg(call.fingerprint()).arg(&owner).arg(millis(LEASE));
        let answer: (u8, Option<Vec<u8>>) =
            match self.attempt(script.invoke_async::<Vec<redis::Value>>(&mut self.manager.clone())).await {
                Some(values) => match read(values) {
                    Some(answer) => answer,
                    None => return Begin::Degraded,
                },
                None => return Begin::Unheard(owner),
            };
        match answer {
            (0, _) => Begin::Ours(owner),
            (1, _) => Begin::Conflict,
            (2, Some(bytes)) => Begin::Answered(bytes),
            (3, _) => Begin::InProgress,
            _ => Begin::Degraded,
        }
    }

    /// Records the answer. Tried also while Redis is left alone, as is [`abandon`](Self::abandon): trouble that
    /// another call had would otherwise keep this key "in progress" until the lease ends.
    pub(crate) async fn finish(&self, call: &Call, owner: &str, answer: &[u8]) {
        let mut script = FINISH.key(&call.redis_key);
        script.arg(owner).arg(answer).arg(millis(REMEMBERED));
        self.attempt(script.invoke_async::<i64>(&mut self.manager.clone())).await;
    }

    /// Gives the key back; nothing happens if it is not ours.
    pub(crate) async fn abandon(&self, call: &Call, owner: &str) {
        let mut script = ABANDON.key(&call.redis_key);
        script.arg(owner);
        self.attempt(script.invoke_async::<i64>(&mut self.manager.clone())).await;
    }

    /// Waits for Redis with little patience; after a failure it is left alone for a while.
    async fn attempt<T>(&self, step: impl Future<Output = redis::RedisResult<T>>) -> Option<T> {
        let error = match tokio::time::timeout(PATIENCE, step).await {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(error)) => error.to_string(),
            Err(_elapsed) => "no answer in time".to_owned(),
        };
        let until = self.elapsed_ms() + PAUSE_MS;
        if self.paused_until_ms.fetch_max(until, Ordering::Relaxed) + PAUSE_MS < until {
            tracing::warn!(error, "Redis is no help; the database guard works alone");
        }
        None
    }

    fn is_paused(&self) -> bool {
        self.elapsed_ms() < self.paused_until_ms.load(Ordering::Relaxed)
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn read(values: Vec<redis::Value>) -> Option<(u8, Option<Vec<u8>>)> {
    let mut values = values.into_iter();
    let code = redis::from_redis_value(values.next()?).ok()?;
    let bytes = values.next().map(redis::from_redis_value).transpose().ok()?;
    Some((code, bytes))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

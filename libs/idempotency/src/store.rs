//! The fast guard in Redis. Every step is one atomic script; every failure means "go on without".
//!
//! A key is a hash. Held by a call in progress it has `fingerprint` and `owner`; answered, `fingerprint` and `answer`;
//! refused for good, `refused` (the fingerprint), `code`, `message` and `details`. A refusal has no `fingerprint` lest
//! a binary from before there were refusals wait for its answer: to that one the key is free, and it asks the database
//! again. What it then writes beside the refusal counts, as `fingerprint` is looked at first.

use std::convert::Infallible;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use std::vec;

use redis::{FromRedisValue, Script, Value};
use secrecy::{ExposeSecret as _, SecretString};
use tael_ids::EventId;
use tonic::{Code, Status};

use crate::address::Address;
use crate::breaker::{Breaker, TIMEOUT};
use crate::call::Call;
use crate::connection::Connection;

/// For how long a call in progress holds its key without renewing the lease. An owner that crashed blocks it no longer.
const LEASE: Duration = Duration::from_secs(10);
/// How long an answer is remembered.
const REMEMBERED: Duration = Duration::from_hours(24);

/// Takes the key, or says why not: 0 ours, 1 another request, 2 answered (with the answer), 3 in progress, 4 refused
/// (with code, message and details).
static BEGIN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local seen = redis.call(
            'HMGET', KEYS[1], 'fingerprint', 'answer', 'refused', 'code', 'message', 'details')
        if seen[1] then
            if seen[1] ~= ARGV[1] then return {1} end
            if seen[2] then return {2, seen[2]} end
            return {3}
        end
        if seen[3] then
            if seen[3] ~= ARGV[1] then return {1} end
            return {4, seen[4], seen[5], seen[6]}
        end
        redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'owner', ARGV[2])
        redis.call('PEXPIRE', KEYS[1], ARGV[3])
        return {0}",
    )
});

/// Prolongs the lease, if the key is still ours.
static RENEW: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 0 end
        return redis.call('PEXPIRE', KEYS[1], ARGV[2])",
    )
});

/// Records the answer, if the key is still ours, or nobody's because Redis lost it. It is true in either case.
static ANSWER: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local owner = redis.call('HGET', KEYS[1], 'owner')
        if owner ~= ARGV[1] and redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
        redis.call('HSET', KEYS[1], 'fingerprint', ARGV[2], 'answer', ARGV[3])
        redis.call('HDEL', KEYS[1], 'owner')
        redis.call('PEXPIRE', KEYS[1], ARGV[4])
        return 1",
    )
});

/// Records the refusal, if the key is still ours. Not if it is nobody's: without the lease another call may have
/// succeeded since.
static REFUSE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 0 end
        redis.call('HDEL', KEYS[1], 'fingerprint', 'owner')
        redis.call(
            'HSET', KEYS[1], 'refused', ARGV[2], 'code', ARGV[3], 'message', ARGV[4], 'details', ARGV[5])
        redis.call('PEXPIRE', KEYS[1], ARGV[6])
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
    /// The call was refused for good.
    Refused(Status),
    /// Another call with this key is in progress.
    InProgress,
    /// Redis was asked and nothing was heard: the key may be ours, under this owner token.
    Unknown(String),
    /// Redis is no help now.
    Degraded,
}

/// How a call ended, for its key.
pub(crate) enum End {
    /// With this answer for all.
    Answer(Vec<u8>),
    /// With this refusal for all.
    Refusal(Status),
    /// With nothing that others should hear.
    Nothing,
}

#[derive(Clone, Debug)]
pub(crate) struct Store {
    connection: Connection,
    breaker: Arc<Breaker>,
    lease: Duration,
}

impl Store {
    pub(crate) fn connect(url: &SecretString) -> Result<Self, redis::RedisError> {
        let connection = Connection::new(Address::parse(url.expose_secret())?);
        Ok(Self { connection, breaker: Arc::new(Breaker::new()), lease: LEASE })
    }

    pub(crate) fn with_lease(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    pub(crate) async fn ping(&self) -> bool {
        let mut connection = self.connection.clone();
        let ping = redis::cmd("PING");
        let answer = tokio::time::timeout(TIMEOUT, ping.query_async::<()>(&mut connection)).await;
        matches!(answer, Ok(Ok(())))
    }

    /// Whether Redis gave trouble when it was last asked, so that asking it again may cost time.
    pub(crate) fn is_degraded(&self) -> bool {
        self.breaker.is_open()
    }

    #[tracing::instrument(name = "redis.idempotency.begin", skip_all)]
    pub(crate) async fn begin(&self, call: &Call) -> Begin {
        if !self.breaker.allows() {
            return Begin::Degraded;
        }
        let owner = EventId::new().channel_number();
        let mut script = BEGIN.key(&call.redis_key);
        script.arg(call.fingerprint()).arg(&owner).arg(millis(self.lease));
        let found = self.breaker.wait(script.invoke_async::<Vec<Value>>(&mut self.connection.clone())).await;
        match found {
            Some(values) => read(values, owner).unwrap_or(Begin::Degraded),
            None => Begin::Unknown(owner),
        }
    }

    /// Keeps the lease up as long as it is polled.
    pub(crate) async fn keep(&self, call: &Call, owner: &str) -> Infallible {
        loop {
            tokio::time::sleep(self.lease / 3).await;
            let mut script = RENEW.key(&call.redis_key);
            script.arg(owner).arg(millis(self.lease));
            self.breaker.wait(script.invoke_async::<i64>(&mut self.connection.clone())).await;
        }
    }

    /// Records how the call ended, or gives the key back; nothing happens if it is not ours. Tried also while Redis is
    /// left alone: trouble that another call had would otherwise keep this key "in progress" until the lease ends.
    #[tracing::instrument(name = "redis.idempotency.end", skip_all)]
    pub(crate) async fn end(&self, call: &Call, owner: &str, end: End) {
        let script = match &end {
            End::Answer(_) => &ANSWER,
            End::Refusal(_) => &REFUSE,
            End::Nothing => &ABANDON,
        };
        let mut script = script.key(&call.redis_key);
        script.arg(owner);
        match end {
            End::Answer(answer) => {
                script.arg(call.fingerprint()).arg(answer).arg(millis(REMEMBERED));
            }
            End::Refusal(refusal) => {
                script.arg(call.fingerprint()).arg(i32::from(refusal.code())).arg(refusal.message());
                script.arg(refusal.details()).arg(millis(REMEMBERED));
            }
            End::Nothing => {}
        }
        self.breaker.wait(script.invoke_async::<i64>(&mut self.connection.clone())).await;
    }
}

/// `None` for what [`BEGIN`] can't have said of a record of ours.
fn read(values: Vec<Value>, owner: String) -> Option<Begin> {
    let mut values = values.into_iter();
    match next::<u8>(&mut values)? {
        0 => Some(Begin::Ours(owner)),
        1 => Some(Begin::Conflict),
        2 => Some(Begin::Answered(next(&mut values)?)),
        3 => Some(Begin::InProgress),
        4 => {
            let code = Code::from_i32(next(&mut values)?);
            let message: String = next(&mut values)?;
            let details: Vec<u8> = next(&mut values)?;
            (code != Code::Ok).then(|| Begin::Refused(Status::with_details(code, message, details.into())))
        }
        _ => None,
    }
}

fn next<T: FromRedisValue>(values: &mut vec::IntoIter<Value>) -> Option<T> {
    redis::from_redis_value(values.next()?).ok()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

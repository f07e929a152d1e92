//! The fast guard in Redis. Every step is one atomic script; every failure means "go on without".
//!
//! A key is a hash. Held by a call in progress it has `fingerprint` and `owner`; answered, `packed_for` (the fingerprint)
//! and `packed`, see [`Packing`]; refused for good, `refused` (the fingerprint), `code`, `message` and `details`. Neither
//! has a `fingerprint` lest a binary that does not know it wait for its answer: to that one the key is free, and it asks
//! the database again. What it then writes beside it counts, as `fingerprint` is looked at first. Such a binary records an
//! answer as `fingerprint` and `answer`, plain; it is still read.
//!
//! Redis is shared by all merchants. What one of them has recorded is counted under `tael:idempotency:<caller>:bytes`; over
//! its quota, as over the bound of one answer, nothing is recorded and the key is given back: a repetition runs the
//! work again, which finds the effect by the unique constraint and makes the answer anew.

use std::convert::Infallible;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use std::vec;

use redis::{FromRedisValue, Script, Value};
use secrecy::{ExposeSecret as _, SecretString};
use tael_ids::EventId;
use tael_sealed::Keyring;
use tonic::{Code, Status};

use crate::address::Address;
use crate::breaker::{Breaker, TIMEOUT};
use crate::call::Call;
use crate::connection::Connection;
use crate::pack::Packing;

/// For how long a call in progress holds its key without renewing the lease. An owner that crashed blocks it no longer.
const LEASE: Duration = Duration::from_secs(10);
/// How long an answer is remembered.
const REMEMBERED: Duration = Duration::from_hours(24);

/// The most bytes that one packed answer may take. An order of 100 lines is well below it.
const MAX_PACKED: usize = 32 << 10;
/// The most bytes of answers that a caller may have recorded in a day.
const QUOTA: u64 = 128 << 20;

/// Takes the key, or says why not: 0 ours, 1 another request, 2 answered (with the plain answer), 3 in progress, 4 refused
/// (with code, message and details), 5 answered (with the packed answer).
static BEGIN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local seen = redis.call(
            'HMGET', KEYS[1], 'fingerprint', 'answer', 'refused', 'code', 'message', 'details',
            'packed_for', 'packed')
        if seen[1] then
            if seen[1] ~= ARGV[1] then return {1} end
            if seen[2] then return {2, seen[2]} end
            return {3}
        end
        if seen[7] then
            if seen[7] ~= ARGV[1] then return {1} end
            return {5, seen[8]}
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

/// Records the answer, if the key is still ours, or nobody's because Redis lost it (it is true in either case), and if its
/// caller has not used up the quota; otherwise gives the key back.
static ANSWER: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local owner = redis.call('HGET', KEYS[1], 'owner')
        if owner ~= ARGV[1] and redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
        local used = redis.call('INCRBY', KEYS[2], #ARGV[3])
        if used == #ARGV[3] then redis.call('PEXPIRE', KEYS[2], ARGV[4]) end
        if used > tonumber(ARGV[5]) then
            redis.call('DECRBY', KEYS[2], #ARGV[3])
            redis.call('DEL', KEYS[1])
            return 0
        end
        redis.call('HDEL', KEYS[1], 'fingerprint', 'owner', 'answer')
        redis.call('HSET', KEYS[1], 'packed_for', ARGV[2], 'packed', ARGV[3])
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
    packing: Packing,
    quota: u64,
}

impl Store {
    pub(crate) fn connect(url: &SecretString) -> Result<Self, redis::RedisError> {
        let connection = Connection::new(Address::parse(url.expose_secret())?);
        Ok(Self {
            connection,
            breaker: Arc::new(Breaker::new()),
            lease: LEASE,
            packing: Packing::default(),
            quota: QUOTA,
        })
    }

    pub(crate) fn with_lease(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    pub(crate) fn sealed_by(self, keyring: Arc<Keyring>) -> Self {
        Self { packing: Packing { keyring: Some(keyring) }, ..self }
    }

    pub(crate) fn with_quota(self, quota: u64) -> Self {
        Self { quota, ..self }
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
            Some(values) => self.read(call, values, owner).unwrap_or(Begin::Degraded),
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
        let packed = match &end {
            End::Answer(answer) => Some(self.packing.pack(&call.redis_key, answer)),
            End::Refusal(_) | End::Nothing => None,
        };
        let script = match &end {
            End::Answer(_) if packed.as_ref().is_some_and(|packed| packed.len() > MAX_PACKED) => &ABANDON,
            End::Answer(_) => &ANSWER,
            End::Refusal(_) => &REFUSE,
            End::Nothing => &ABANDON,
        };
        let mut script = script.key(&call.redis_key);
        script.arg(owner);
        match end {
            End::Answer(_) => {
                script.key(&call.usage_key).arg(call.fingerprint()).arg(packed).arg(millis(REMEMBERED));
                script.arg(self.quota);
            }
            End::Refusal(refusal) => {
                script.arg(call.fingerprint()).arg(i32::from(refusal.code())).arg(refusal.message());
                script.arg(refusal.details()).arg(millis(REMEMBERED));
            }
            End::Nothing => {}
        }
        self.breaker.wait(script.invoke_async::<i64>(&mut self.connection.clone())).await;
    }

    /// `None` for what [`BEGIN`] can't have said of a record of ours.
    fn read(&self, call: &Call, values: Vec<Value>, owner: String) -> Option<Begin> {
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
                let refusal = || Begin::Refused(Status::with_details(code, message, details.into()));
                (code != Code::Ok).then(refusal)
            }
            5 => self.packing.unpack(&call.redis_key, &next::<Vec<u8>>(&mut values)?).map(Begin::Answered),
            _ => None,
        }
    }
}

fn next<T: FromRedisValue>(values: &mut vec::IntoIter<Value>) -> Option<T> {
    redis::from_redis_value(values.next()?).ok()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

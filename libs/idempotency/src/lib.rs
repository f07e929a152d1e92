//! A repeated call has one effect and one answer.
//!
//! Two guards work together. Redis is the fast one: per caller, method and key it holds a fingerprint of the request
//! and either the lease of the call in progress or the recorded answer ([`Idempotency::run`]). PostgreSQL is the
//! sure one: every effect carries the key and the fingerprint ([`IdempotencyKey`]) under a unique constraint, so that with
//! Redis empty, down or failed over a repetition finds the first effect instead of making a second one.
//!
//! An answer that may yet change, such as a payment in doubt, is not recorded ([`Idempotency::run_until_final`]):
//! the database knows better than what was true at the first call. Of errors those are recorded that are final, as
//! "not found": by their code (INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED, FAILED_PRECONDITION,
//! OUT_OF_RANGE and UNIMPLEMENTED), unless the service says that one may pass ([`Call::retryable_reasons`]). All others give the
//! key back, so that a repetition tries again.
//!
//! A call holds its key by a lease of ten seconds that it renews while its work goes on: however slow, it is not
//! overtaken; and if its process dies, its key is free when the lease ends.
//!
//! Whatever happens to Redis, callers get their answers. One that is down costs nothing, one that hangs costs the calls
//! that are asking it then a quarter of a second, and from then on one call each second until it is back.
//!
//! The metric `tael.idempotency.calls` counts calls by `method` and by `outcome`, as Redis tells it: `first`, `replayed`,
//! `conflict` (the key was used with another request), `in_progress` (the first call did not end in time), and
//! `degraded` (Redis told nothing).

mod address;
mod breaker;
mod call;
mod connection;
mod count;
mod pack;
mod store;

use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

pub use call::{Call, IdempotencyKey};
use count::{Calls, Outcome};
use futures::FutureExt as _;
use prost::Message;
use secrecy::SecretString;
use store::{Begin, End, Store};
use tael_grpc::{deadline, status};
use tael_proto::r#type::v1::ErrorReason;
use tael_sealed::Keyring;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Response, Status};
use tracing::Instrument as _;

/// Set to "true" in the metadata of an answer to a call whose effect an earlier call with its key made, and of an error
/// that answered one: whether it was recorded or found in the database ([`IdempotencyKey::matches`]).
pub const REPLAYED: &str = "idempotency-replayed";

/// How long a call waits at most for the answer of another one with its key, when its caller set no deadline.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// Runs calls at most once while their answers are remembered. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Idempotency {
    store: Store,
    running: TaskTracker,
    calls: Calls,
}

/// The Redis address can't be used.
#[derive(Debug, thiserror::Error)]
#[error("the Redis address is not usable")]
pub struct AddressError(#[from] redis::RedisError);

impl Idempotency {
    /// Uses the Redis at this address: `redis://…`, `rediss://…` with TLS (certificates are judged by the system's
    /// authorities, or those of the file that `SSL_CERT_FILE` names), or
    /// `redis-sentinel://[user:password@]host[:26379][,host…]/master name[/db]` (likewise `rediss-sentinel://`), where
    /// the sentinels are asked for the master at every connection, so that a failover is followed.
    ///
    /// It is connected to when it is first needed; while it is away, calls go on with the database guard alone. To be called after telemetry is set up, or calls are not counted.
    pub fn connect(url: &SecretString) -> Result<Self, AddressError> {
        Ok(Self { store: Store::connect(url)?, running: TaskTracker::new(), calls: Calls::new() })
    }

    /// Sets how long the key of a call stays blocked when its process dies, instead of ten seconds. While a call is in
    /// progress its lease is renewed three times in this time; Redis counts in milliseconds.
    #[must_use]
    pub fn with_lease(self, lease: Duration) -> Self {
        Self { store: self.store.with_lease(lease), ..self }
    }

    /// Seals recorded answers with these keys, for services whose answers hold secrets or somebody's data: Redis, and who can
    /// read it or a dump of it, knows nothing of them. Answers that were recorded before are still read.
    #[must_use]
    pub fn sealed_by(self, keyring: Arc<Keyring>) -> Self {
        Self { store: self.store.sealed_by(keyring), ..self }
    }

    /// Sets how many bytes of answers one caller may have recorded in a day, instead of 128 MiB. Calls beyond that are
    /// answered all the same, and a repetition of one by the database guard.
    #[must_use]
    pub fn with_quota(self, bytes: u64) -> Self {
        Self { store: self.store.with_quota(bytes), ..self }
    }

    /// Says whether Redis answers, for readiness.
    pub async fn ping(&self) -> bool {
        self.store.ping().await
    }

    /// Waits until the work of all calls has ended, for draining. No call may be begun afterwards.
    pub async fn drain(&self) {
        self.running.close();
        self.running.wait().await;
    }

    /// Runs `work` unless the same call was answered already or is in progress: then its answer is returned.
    ///
    /// The work runs to its end even when the caller goes away: half a payment is worse than an unheard answer.
    /// An error is recorded if it is final, as the crate's documentation says; its code, message and details are, but
    /// no metadata.
    pub async fn run<R, F, W>(&self, call: Call, work: F) -> Result<Response<R>, Status>
    where
        R: Message + Default + 'static,
        F: FnOnce(IdempotencyKey) -> W + Send + 'static,
        W: Future<Output = Result<R, Status>> + Send + 'static,
    {
        self.run_until_final(call, |_| true, work).await
    }

    /// Like [`run`](Self::run), for work whose answer may not be final, as `is_final` tells.
    ///
    /// Such an answer is returned, but not recorded: the effect goes on without the caller, and for a day every
    /// repetition would be told how it stood at first. The key is given back instead, so a repetition, or a call that
    /// waits, runs the work, which meets the database guard and answers with the effect as it stands by then. So the
    /// work must find its own effect by the [`IdempotencyKey`], or be idempotent by itself.
    pub async fn run_until_final<R, F, W>(
        &self,
        call: Call,
        is_final: fn(&R) -> bool,
        work: F,
    ) -> Result<Response<R>, Status>
    where
        R: Message + Default + 'static,
        F: FnOnce(IdempotencyKey) -> W + Send + 'static,
        W: Future<Output = Result<R, Status>> + Send + 'static,
    {
        let give_up = Instant::now() + deadline::remaining(MAX_WAIT);
        let at = deadline::current().unwrap_or(give_up);
        let (store, calls, running) = (self.store.clone(), self.calls.clone(), self.running.clone());
        let gone = CancellationToken::new();
        let _here = gone.clone().drop_guard();
        // The key is asked for within the task as well: a caller that went away while Redis was answering would leave
        // it held by nobody until the lease ends.
        let task = async move {
            let claim = claim::<R>(&store, &call, give_up, &gone).await;
            calls.count(call.method, claim.outcome());
            let hold = match claim {
                Claim::Work(hold) => hold,
                Claim::Answered(answer) => return Ok(replayed_answer(answer)),
                Claim::Refused(refusal) => return Err(replayed_refusal(refusal)),
                Claim::Conflict => return Err(call.guard().conflict()),
                Claim::InProgress => return Err(in_progress()),
            };
            let guard = call.guard();
            let needed = call.needed();
            let timely = async {
                deadline::require(needed)?;
                work(guard).await
            };
            let work = AssertUnwindSafe(deadline::scope(at, timely)).catch_unwind();
            let result = match &hold {
                Hold::Owner(owner) => tokio::select! {
                    biased;
                    result = work => result,
                    never = store.keep(&call, owner) => match never {},
                },
                Hold::Unknown(_) | Hold::None => work.await,
            };
            let found = call.guard().was_found();
            let end = match (hold, &result) {
                (Hold::Owner(owner), Ok(Ok(answer))) if is_final(answer) => {
                    Some((owner, End::Answer(answer.encode_to_vec())))
                }
                (Hold::Owner(owner), Ok(Err(refusal))) if call.is_final(refusal) => {
                    Some((owner, End::Refusal(refusal.clone())))
                }
                (Hold::Owner(owner) | Hold::Unknown(owner), _) => Some((owner, End::Nothing)),
                (Hold::None, _) => None,
            };
            if let Some((owner, end)) = end {
                // The caller need not wait for a Redis that is in trouble.
                let is_degraded = store.is_degraded();
                let ending = async move { store.end(&call, &owner, end).await };
                if is_degraded {
                    running.spawn(ending.in_current_span());
                } else {
                    ending.await;
                }
            }
            let answer = result.unwrap_or_else(|panic| resume_unwind(panic))?;
            Ok(if found { replayed_answer(answer) } else { Response::new(answer) })
        };
        // The work keeps the call's place at the server, also when its caller has gone.
        match self.running.spawn(deadline::detach_with_permit(task).in_current_span()).await {
            Ok(result) => result,
            Err(join) => Err(status::broken_invariant(&join)),
        }
    }
}

/// What a call may do.
enum Claim<R> {
    /// Its work.
    Work(Hold),
    /// Nothing: this is the answer.
    Answered(R),
    /// Nothing: it was refused like this.
    Refused(Status),
    /// Nothing: its key was used with another request.
    Conflict,
    /// Nothing: another call with its key goes on for too long.
    InProgress,
}

/// How a call that does its work holds the key.
enum Hold {
    /// As its owner under this token.
    Owner(String),
    /// Perhaps under this token: Redis was asked, and its answer did not arrive. The database alone guards the work.
    Unknown(String),
    /// Not at all; the database alone guards the work.
    None,
}

impl<R> Claim<R> {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Work(Hold::Owner(_)) => Outcome::First,
            Self::Work(Hold::Unknown(_) | Hold::None) => Outcome::Degraded,
            Self::Answered(_) | Self::Refused(_) => Outcome::Replayed,
            Self::Conflict => Outcome::Conflict,
            Self::InProgress => Outcome::InProgress,
        }
    }
}

/// Takes the key, or waits for the answer of the call that has it: until `give_up`, or until our own caller is gone.
async fn claim<R: Message + Default>(
    store: &Store,
    call: &Call,
    give_up: Instant,
    gone: &CancellationToken,
) -> Claim<R> {
    let mut pause = Duration::from_millis(5);
    loop {
        match store.begin(call).await {
            Begin::Ours(owner) => return Claim::Work(Hold::Owner(owner)),
            Begin::Unknown(owner) => return Claim::Work(Hold::Unknown(owner)),
            Begin::Degraded => return Claim::Work(Hold::None),
            Begin::Conflict => return Claim::Conflict,
            Begin::Refused(refusal) => return Claim::Refused(refusal),
            Begin::Answered(bytes) => match R::decode(bytes.as_slice()) {
                Ok(answer) => return Claim::Answered(answer),
                Err(error) => {
                    tracing::warn!(%error, "a recorded answer can't be read; the database guard decides");
                    return Claim::Work(Hold::None);
                }
            },
            Begin::InProgress if Instant::now() + pause >= give_up => return Claim::InProgress,
            Begin::InProgress => {
                tokio::select! {
                    () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_millis(100)),
                    () = gone.cancelled() => return Claim::InProgress,
                }
            }
        }
    }
}

fn replayed_answer<R>(answer: R) -> Response<R> {
    let mut response = Response::new(answer);
    mark_replayed(response.metadata_mut());
    response
}

fn replayed_refusal(mut refusal: Status) -> Status {
    mark_replayed(refusal.metadata_mut());
    refusal
}

fn mark_replayed(metadata: &mut MetadataMap) {
    tracing::Span::current().record("tael.idempotency_replayed", true);
    metadata.insert(REPLAYED, MetadataValue::from_static("true"));
}

fn in_progress() -> Status {
    status::error(
        Code::Aborted,
        status::SHARED_DOMAIN,
        ErrorReason::IdempotencyInProgress.as_str_name(),
        "a call with this idempotency key is still in progress, call again",
        [],
    )
}

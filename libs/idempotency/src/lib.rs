//! A repeated call has one effect and one answer.
//!
//! Two guards work together. Redis is the fast one: per caller, method and key it holds a fingerprint of the request
//! and either the lease of the call in progress or the recorded answer ([`Idempotency::run`]). PostgreSQL is the
//! sure one: every effect carries the key and the fingerprint ([`Guard`]) under a unique constraint, so that with
//! Redis empty, down or failed over a repetition finds the first effect instead of making a second one.
//!
//! An answer that may yet change, such as a payment in doubt, is not recorded ([`Idempotency::run_until_final`]):
//! the database knows better than what was true at the first call.

mod call;
mod store;

use std::future::Future;
use std::time::Duration;

pub use call::{Call, Guard};
use prost::Message;
use secrecy::SecretString;
use store::{Begin, Store};
use tael_grpc::{deadline, status};
use tael_proto::r#type::v1::ErrorReason;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Code, Response, Status};
use tracing::Instrument as _;

/// Set to "true" in the metadata of an answer that was recorded by an earlier call.
pub const REPLAYED: &str = "idempotency-replayed";

/// How long a call waits at most for the answer of another one with its key, when its caller set no deadline.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// Runs calls at most once while their answers are remembered. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Idempotency {
    store: Store,
    running: TaskTracker,
}

/// The Redis address can't be used.
#[derive(Debug, thiserror::Error)]
#[error("the Redis address is not usable")]
pub struct AddressError(#[from] redis::RedisError);

impl Idempotency {
    /// Uses the Redis at this address. It is connected to when it is first needed; while it is away, calls go on
    /// with the database guard alone.
    pub fn connect(url: &SecretString) -> Result<Self, AddressError> {
        Ok(Self { store: Store::connect(url)?, running: TaskTracker::new() })
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
    /// An error is not recorded, so a repetition tries again.
    pub async fn run<R, F, W>(&self, call: Call, work: F) -> Result<Response<R>, Status>
    where
        R: Message + Default + 'static,
        F: FnOnce(Guard) -> W + Send + 'static,
        W: Future<Output = Result<R, Status>> + Send + 'static,
    {
        self.run_until_final(call, |_| true, work).await
    }

    /// Like [`run`](Self::run), for work whose answer may not be final, as `is_final` tells.
    ///
    /// Such an answer is returned, but not recorded: the effect goes on without the caller, and for a day every
    /// repetition would be told how it stood at first. The key is given back instead, so a repetition, or a call that
    /// waits, runs the work, which meets the database guard and answers with the effect as it stands by then. So the
    /// work must find its own effect by the [`Guard`], or be idempotent by itself.
    pub async fn run_until_final<R, F, W>(
        &self,
        call: Call,
        is_final: fn(&R) -> bool,
        work: F,
    ) -> Result<Response<R>, Status>
    where
        R: Message + Default + 'static,
        F: FnOnce(Guard) -> W + Send + 'static,
        W: Future<Output = Result<R, Status>> + Send + 'static,
    {
        let give_up = Instant::now() + deadline::remaining(MAX_WAIT);
        let at = deadline::current().unwrap_or(give_up);
        let store = self.store.clone();
        let gone = CancellationToken::new();
        let _here = gone.clone().drop_guard();
        // The key is asked for within the task as well: a caller that went away while Redis was answering would leave
        // it held by nobody until the lease ends.
        let task = async move {
            let hold = match claim::<R>(&store, &call, give_up, &gone).await? {
                Claim::Work(hold) => hold,
                Claim::Replay(answer) => return Ok(replay(answer)),
            };
            let result = deadline::scope(at, work(call.guard())).await;
            match (hold, &result) {
                (Hold::Owner(owner), Ok(answer)) if is_final(answer) => {
                    store.finish(&call, &owner, &answer.encode_to_vec()).await;
                }
                (Hold::Owner(owner) | Hold::Perhaps(owner), _) => store.abandon(&call, &owner).await,
                (Hold::None, _) => {}
            }
            result.map(Response::new)
        };
        match self.running.spawn(task.in_current_span()).await {
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
    Replay(R),
}

/// How a call that does its work holds the key.
enum Hold {
    /// As its owner under this token.
    Owner(String),
    /// Perhaps under this token: Redis was asked, and its answer did not arrive. The database alone guards the work.
    Perhaps(String),
    /// Not at all; the database alone guards the work.
    None,
}

/// Takes the key, or waits for the answer of the call that has it: until `give_up`, or until our own caller is gone.
async fn claim<R: Message + Default>(
    store: &Store,
    call: &Call,
    give_up: Instant,
    gone: &CancellationToken,
) -> Result<Claim<R>, Status> {
    let mut pause = Duration::from_millis(5);
    loop {
        match store.begin(call).await {
            Begin::Ours(owner) => return Ok(Claim::Work(Hold::Owner(owner))),
            Begin::Unheard(owner) => return Ok(Claim::Work(Hold::Perhaps(owner))),
            Begin::Degraded => return Ok(Claim::Work(Hold::None)),
            Begin::Conflict => return Err(call.guard().conflict()),
            Begin::Answered(bytes) => match R::decode(bytes.as_slice()) {
                Ok(answer) => return Ok(Claim::Replay(answer)),
                Err(error) => {
                    tracing::warn!(%error, "a recorded answer can't be read; the database guard decides");
                    return Ok(Claim::Work(Hold::None));
                }
            },
            Begin::InProgress if Instant::now() + pause >= give_up => return Err(in_progress()),
            Begin::InProgress => {
                tokio::select! {
                    () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_millis(100)),
                    () = gone.cancelled() => return Err(in_progress()),
                }
            }
        }
    }
}

fn replay<R>(answer: R) -> Response<R> {
    tracing::Span::current().record("idempotency_replayed", true);
    let mut response = Response::new(answer);
    response.metadata_mut().insert(REPLAYED, tonic::metadata::MetadataValue::from_static("true"));
    response
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

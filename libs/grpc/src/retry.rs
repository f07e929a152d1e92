//! Repeating calls that a peer could not take, without making an outage worse.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rand::Rng as _;
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::deadline;

/// A repetition takes so much of the budget, ...
const COST: u32 = 10;
/// ... a call brings so much: one call in ten may be repeated.
const EARNED: u32 = 1;
/// The most that is saved up: ten repetitions, so that a peer with few callers is tried again as well.
const FULL: u32 = 10 * COST;

/// The pauses before repetitions: the first, then each twice as long, up to the last. A random part of up to half is
/// left off, so that callers that failed together do not come back together.
#[derive(Clone, Copy)]
struct Pauses {
    first: Duration,
    last: Duration,
}

const PAUSES: Pauses = Pauses { first: Duration::from_millis(50), last: Duration::from_millis(800) };

/// A repetition that would have less time than this is not worth its cost.
const LEAST_TIME: Duration = Duration::from_millis(20);

/// How long to go on at most when the running call has no deadline, as in a worker.
const MAX_PATIENCE: Duration = Duration::from_secs(10);

/// What callers of one peer may spend on repetitions: a tenth of their calls and a small reserve. When the peer is
/// down, its load by repetitions stays a tenth of what it was.
///
/// The scheme is that of gRPC's retry throttling (proposal A6), but every call earns, not only one that succeeded: the
/// bound then holds for any mixture of answers. Cheap to clone; clones share the budget.
#[derive(Clone, Debug)]
pub struct Budget(Arc<AtomicU32>);

impl Default for Budget {
    /// Full.
    fn default() -> Self {
        Self(Arc::new(AtomicU32::new(FULL)))
    }
}

impl Budget {
    fn earn(&self) {
        self.change(|tokens| Some((tokens + EARNED).min(FULL)));
    }

    /// Pays for a repetition; says whether there was enough left.
    fn spend(&self) -> bool {
        self.change(|tokens| tokens.checked_sub(COST))
    }

    fn change(&self, change: impl Fn(u32) -> Option<u32>) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).is_ok()
    }
}

/// Makes a call and repeats it while the peer says UNAVAILABLE, the running call's deadline allows and the peer's
/// budget lasts; returns the last answer.
///
/// Only for calls that may reach the peer twice: those that read, and those whose effect is guarded by an idempotency
/// key or an id of the caller's, which must be the same in each repetition. An answer that was lost is UNAVAILABLE too,
/// so the peer may have done the work. Any other code is final: RESOURCE_EXHAUSTED above all, for a peer that has too
/// much to do is not helped by more. An answer that says when to come back (`google.rpc.RetryInfo`) is believed.
pub async fn repeat<T, F: Future<Output = Result<T, Status>>>(
    budget: &Budget,
    call: impl FnMut() -> F,
) -> Result<T, Status> {
    repeat_after(PAUSES, budget, call).await
}

async fn repeat_after<T, F: Future<Output = Result<T, Status>>>(
    pauses: Pauses,
    budget: &Budget,
    mut call: impl FnMut() -> F,
) -> Result<T, Status> {
    let give_up = Instant::now() + deadline::remaining(MAX_PATIENCE);
    let mut pause = pauses.first;
    budget.earn();
    loop {
        let status = match call().await {
            Err(status) if status.code() == Code::Unavailable => status,
            answer => return answer,
        };
        let wait = jittered(pause).max(asked_for(&status));
        if wait > pauses.last || Instant::now() + wait + LEAST_TIME > give_up || !budget.spend() {
            return Err(status);
        }
        tracing::debug!(?wait, "an unavailable peer is called again");
        tokio::time::sleep(wait).await;
        pause = (pause * 2).min(pauses.last);
    }
}

fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::rng().random_range(0.5..=1.0))
}

/// How long the peer wants to be left alone.
fn asked_for(status: &Status) -> Duration {
    status.get_details_retry_info().and_then(|info| info.retry_delay).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::status;

    const QUICK: Pauses = Pauses { first: Duration::from_millis(1), last: Duration::from_millis(1) };

    /// A peer that fails so many times with a code, and then answers with the number of calls it had.
    async fn calls_until(
        pauses: Pauses,
        budget: &Budget,
        failures: u32,
        code: Code,
    ) -> (Result<u32, Code>, u32) {
        let calls = Cell::new(0);
        let answer = repeat_after(pauses, budget, || async {
            calls.set(calls.get() + 1);
            if calls.get() <= failures { Err(Status::new(code, "as told")) } else { Ok(calls.get()) }
        })
        .await;
        (answer.map_err(|status| status.code()), calls.get())
    }

    #[tokio::test]
    async fn an_unavailable_peer_is_called_again() {
        assert_eq!(calls_until(QUICK, &Budget::default(), 0, Code::Unavailable).await, (Ok(1), 1));
        assert_eq!(calls_until(QUICK, &Budget::default(), 3, Code::Unavailable).await, (Ok(4), 4));
    }

    #[tokio::test]
    async fn no_other_code_is_called_again() {
        for code in (1..=16).map(Code::from_i32).filter(|code| *code != Code::Unavailable) {
            let budget = Budget::default();
            assert_eq!(calls_until(QUICK, &budget, 1, code).await, (Err(code), 1), "{code:?}");
            assert_eq!(budget.0.load(Ordering::Relaxed), FULL);
        }
    }

    #[tokio::test]
    async fn the_deadline_is_respected() {
        let began = Instant::now();
        let at = began + Duration::from_millis(500);
        let endless = Budget(Arc::new(AtomicU32::new(1_000_000)));
        let (answer, calls) =
            deadline::scope(at, calls_until(PAUSES, &endless, u32::MAX, Code::Unavailable)).await;
        assert_eq!(answer, Err(Code::Unavailable));
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        // After 50, 100, 200 and 400 ms, or half of that.
        assert!((3..=5).contains(&calls), "{calls} calls");

        let over = deadline::scope(began, calls_until(PAUSES, &endless, u32::MAX, Code::Unavailable)).await;
        assert_eq!(over, (Err(Code::Unavailable), 1), "no repetition begins after the deadline");
    }

    #[tokio::test]
    async fn an_outage_is_not_multiplied() {
        let budget = Budget::default();
        let mut calls = 0;
        for _ in 0..1000 {
            calls += calls_until(QUICK, &budget, u32::MAX, Code::Unavailable).await.1;
        }
        // One in ten, and the reserve. The first call of all finds the budget full and earns nothing.
        assert!((1_108..=1_110).contains(&calls), "{calls} calls");
        // When the peer is back, the reserve fills up again, and no further.
        for _ in 0..1000 {
            calls_until(QUICK, &budget, 0, Code::Unavailable).await.0.unwrap();
        }
        assert_eq!(budget.0.load(Ordering::Relaxed), FULL);
    }

    #[tokio::test]
    async fn a_peer_says_when_to_come_back() {
        for (after_ms, calls_expected) in [(300, 2), (5_000, 1)] {
            let calls = Cell::new(0);
            let began = Instant::now();
            let answer = repeat(&Budget::default(), || async {
                calls.set(calls.get() + 1);
                if calls.get() > 1 {
                    return Ok(());
                }
                Err(status::unavailable_for("channel", Duration::from_millis(after_ms)))
            })
            .await;
            assert_eq!((answer.is_ok(), calls.get()), (calls_expected == 2, calls_expected));
            assert!(calls_expected == 1 || began.elapsed() >= Duration::from_millis(after_ms));
            assert!(began.elapsed() < Duration::from_secs(4), "a caller is not kept for a pause that long");
        }
    }
}

//! Starting although something that is needed is not there yet.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use tael_grpc::status::Chain;
use tael_postgres::SchemaError;
use tokio::time::Instant;

use crate::StartError;

/// The pauses between two tries.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// While nothing changes, the log says so as often.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Tries again and again as long as the error is one that passes and the patience lasts: the database does not answer,
/// or somebody is yet to make or migrate it.
pub(crate) async fn retry<T, F>(patience: Duration, mut attempt: impl FnMut() -> F) -> Result<T, StartError>
where
    F: Future<Output = Result<T, StartError>>,
{
    let give_up = Instant::now() + patience;
    let mut pause = FIRST_PAUSE;
    let mut told: Option<(String, Instant)> = None;
    loop {
        match attempt().await {
            Err(error) if may_pass(&*error) && Instant::now() + pause < give_up => {
                let why = Chain(&*error).to_string();
                if told.as_ref().is_none_or(|(what, at)| *what != why || at.elapsed() >= TELL_EVERY) {
                    if is_awaited(&*error) {
                        // An ordinary start beside a migration is no error, and nobody has to be called.
                        tracing::info!(waiting_for = why, "could not start yet");
                    } else {
                        tracing::warn!(error = why, "could not start yet");
                    }
                    told = Some((why, Instant::now()));
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LAST_PAUSE);
            }
            ended => return ended,
        }
    }
}

/// Says whether what failed now may succeed later.
fn may_pass(error: &(dyn Error + 'static)) -> bool {
    is_awaited(error)
        || causes(error).any(|cause| cause.downcast_ref().is_some_and(tael_postgres::is_transient))
}

/// Says whether somebody is yet to make, to migrate or to open the database.
fn is_awaited(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| {
        cause.downcast_ref().is_some_and(tael_postgres::may_be_set_up_later)
            || matches!(cause.downcast_ref(), Some(SchemaError::Behind(_) | SchemaError::Closed(_)))
    })
}

/// The error and what is behind it.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_waited_for_as_long_as_the_patience_lasts() {
        let mut tries = 0;
        let behind = || -> StartError { SchemaError::Behind(vec!["0002_more".to_owned()]).into() };
        let built = retry(Duration::from_mins(1), || {
            tries += 1;
            let result = if tries < 4 { Err(behind()) } else { Ok(tries) };
            async { result }
        });
        assert_eq!(built.await.unwrap(), 4);

        let began = Instant::now();
        let never = retry(Duration::from_mins(1), || async { Err::<(), _>(behind()) }).await;
        assert!(never.unwrap_err().to_string().contains("0002_more"));
        assert!((58..=60).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn what_stays_is_told_at_once() {
        let began = Instant::now();
        for stays in
            [SchemaError::Changed("0001_order".to_owned()).into(), StartError::from("a typing error")]
        {
            let mut stays = Some(stays);
            let attempt = || {
                let error = stays.take().expect("asked once");
                async { Err::<(), StartError>(error) }
            };
            retry(Duration::from_mins(1), attempt).await.unwrap_err();
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}

//! The parts of a service that run side by side.

use std::error::Error;
use std::future::Future;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

/// A set of tasks that stand and fall together: when one fails, panics or ends before its time, all are told to end.
#[derive(Debug)]
pub struct Tasks {
    set: JoinSet<Ended>,
    shutdown: CancellationToken,
}

/// A task's name and what became of it.
type Ended = (&'static str, Result<(), Box<dyn Error + Send + Sync>>);

/// Why a service ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// A part failed.
    #[error("{0} failed")]
    Failed(&'static str, #[source] Box<dyn Error + Send + Sync>),
    /// A part ended although nobody had asked it to.
    #[error("{0} ended before its time")]
    Ended(&'static str),
    /// A part panicked.
    #[error("a task panicked")]
    Panicked(#[source] tokio::task::JoinError),
}

impl Tasks {
    /// Makes an empty set; its tasks are expected to end soon after `shutdown` is cancelled.
    pub fn new(shutdown: CancellationToken) -> Self {
        Self { set: JoinSet::new(), shutdown }
    }

    /// Starts a task that can't fail.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_fallible(name, async move {
            task.await;
            Ok::<(), std::convert::Infallible>(())
        });
    }

    /// Starts a task that may fail.
    pub fn spawn_fallible<E: Error + Send + Sync + 'static>(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        // A task's own span is none: what it does belongs to the traces of what it works on.
        self.set.spawn(
            async move { (name, task.await.map_err(|e| Box::new(e) as Box<dyn Error + Send + Sync>)) }
                .instrument(tracing::Span::none()),
        );
    }

    /// Waits until all have ended; the first error is returned.
    pub async fn join(mut self) -> Result<(), TaskError> {
        let mut first = Ok(());
        while let Some(ended) = self.set.join_next().await {
            let result = match ended {
                Ok((name, Err(error))) => Err(TaskError::Failed(name, error)),
                Ok((name, Ok(()))) if !self.shutdown.is_cancelled() => Err(TaskError::Ended(name)),
                Ok((_, Ok(()))) => Ok(()),
                Err(join) => Err(TaskError::Panicked(join)),
            };
            if result.is_err() {
                self.shutdown.cancel();
                first = first.and(result);
            }
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tasks_end_together_when_told() {
        let shutdown = CancellationToken::new();
        let mut tasks = Tasks::new(shutdown.clone());
        tasks.spawn("a", shutdown.clone().cancelled_owned());
        tasks.spawn("b", shutdown.clone().cancelled_owned());
        shutdown.cancel();
        assert!(tasks.join().await.is_ok());
    }

    #[tokio::test]
    async fn one_that_ends_early_takes_the_others_along() {
        let shutdown = CancellationToken::new();
        let mut tasks = Tasks::new(shutdown.clone());
        tasks.spawn("waits", shutdown.clone().cancelled_owned());
        tasks.spawn("leaves", async {});
        assert!(matches!(tasks.join().await, Err(TaskError::Ended("leaves"))));
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        let shutdown = CancellationToken::new();
        let mut tasks = Tasks::new(shutdown.clone());
        tasks.spawn("waits", shutdown.clone().cancelled_owned());
        tasks.spawn("panics", async { panic!("as intended") });
        assert!(matches!(tasks.join().await, Err(TaskError::Panicked(_))));
    }
}

//! A connection to Redis that is made anew when it is of no use any more, each time to whichever server is the master
//! by then.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult};
use redis::{ServerErrorKind, Value};

use crate::address::Address;
use crate::breaker::TIMEOUT;

/// One connection for all, whose requests go out without waiting for one another. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connection {
    inner: Arc<Inner>,
}

struct Inner {
    address: Address,
    /// The connection, or the attempt to make it that all who need it wait for.
    current: Mutex<Option<Attempt>>,
}

type Attempt = Shared<BoxFuture<'static, RedisResult<MultiplexedConnection>>>;

impl Inner {
    fn current(&self) -> MutexGuard<'_, Option<Attempt>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("address", &self.inner.address).finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects when it is first used.
    pub(crate) fn new(address: Address) -> Self {
        Self { inner: Arc::new(Inner { address, current: Mutex::default() }) }
    }

    /// Returns the attempt under way, or the one that succeeded, or begins one. It goes on when nobody waits for it any
    /// more, so that sentinels that take longer than a call has time are found by the next call. One that fails is
    /// gone, whether or not somebody waited: the next call begins another.
    fn attempt(&self) -> Attempt {
        let begin = || {
            let inner = Arc::clone(&self.inner);
            let attempt = async move {
                let made = inner.address.connect(&config()).await;
                if made.is_err() {
                    // It is the current one: nobody forgets an attempt that has not ended.
                    inner.current().take();
                }
                made
            };
            let attempt = attempt.boxed().shared();
            tokio::spawn(attempt.clone());
            attempt
        };
        self.inner.current().get_or_insert_with(begin).clone()
    }

    /// Leaves a connection to those who still wait for its answers. Only who met its trouble may do so: by now there may
    /// be another one.
    fn forget(&self, attempt: &Attempt) {
        self.inner.current().take_if(|current| current.ptr_eq(attempt));
    }

    async fn use_it<T>(
        &self,
        ask: impl AsyncFnOnce(MultiplexedConnection) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let attempt = self.attempt();
        let result = ask(attempt.clone().await?).await;
        if result.as_ref().is_err_and(is_of_no_use) {
            self.forget(&attempt);
        }
        result
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        self.use_it(async |mut connection| connection.send_packed_command(cmd).await).boxed()
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.use_it(async move |mut connection| {
            connection.send_packed_commands(pipeline, offset, count).await
        })
        .boxed()
    }

    fn get_db(&self) -> i64 {
        self.inner.address.db()
    }
}

/// An answer has a little less time than its caller: the connection itself must find out that there is none.
pub(crate) fn config() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(TIMEOUT))
        .set_response_timeout(Some(TIMEOUT * 4 / 5))
}

/// Whether an error says that another connection may do better: this one broke, was silent, or leads to a server that is
/// no master, or not yet.
fn is_of_no_use(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Server(
            ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown | ServerErrorKind::BusyLoading,
        ) => true,
        // Before version 7, what a script met comes as text.
        ErrorKind::Server(ServerErrorKind::ResponseError) => {
            error.detail().is_some_and(|detail| detail.contains("-READONLY "))
        }
        ErrorKind::Server(_) | ErrorKind::Extension => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn an_attempt_that_fails_when_nobody_waits_is_not_for_who_comes_next() {
        let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("redis://{}", silent.local_addr().unwrap());
        let connection = Connection::new(Address::parse(&url).unwrap());
        let attempt = connection.attempt();
        assert!(connection.attempt().ptr_eq(&attempt), "one for all");
        let (peer, _) = silent.accept().await.unwrap();
        drop(peer);
        attempt.clone().await.map(drop).unwrap_err();
        assert!(!connection.attempt().ptr_eq(&attempt));
    }
}

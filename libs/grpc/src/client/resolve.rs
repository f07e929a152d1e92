//! Looking host names up.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};

/// How long one look-up may take. The system's resolver asks again after five seconds, which no call has.
const PATIENCE: Duration = Duration::from_secs(2);

type Addresses = BoxFuture<'static, io::Result<Vec<SocketAddr>>>;
type LookUp = Shared<BoxFuture<'static, Result<Vec<SocketAddr>, Arc<io::Error>>>>;

/// How a host name and a port become addresses; by default the system's resolver. Cheap to clone.
#[derive(Clone)]
pub struct Resolver(Arc<Inner>);

struct Inner {
    ask: Box<dyn Fn(String, u16) -> Addresses + Send + Sync>,
    /// The look-ups that nobody has heard the end of. The system's resolver takes a thread for each, and can't be told to
    /// stop: while a name server is away there must not be more and more of them.
    running: Mutex<HashMap<(String, u16), LookUp>>,
}

impl Resolver {
    /// Asks a function.
    pub fn new<F>(lookup: impl Fn(String, u16) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    {
        let ask = Box::new(move |name, port| lookup(name, port).boxed());
        Self(Arc::new(Inner { ask, running: Mutex::default() }))
    }

    /// All addresses of a name, each once. Who gave up waiting left the look-up to who asks next.
    pub(super) async fn look_up(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let key = (name.to_owned(), port);
        let look_up = self.running().entry(key.clone()).or_insert_with(|| self.ask(name, port)).clone();
        let answer = tokio::time::timeout(PATIENCE, look_up.clone()).await?;
        let mut running = self.running();
        if running.get(&key).is_some_and(|running| running.ptr_eq(&look_up)) {
            running.remove(&key);
        }
        answer.map_err(|error| io::Error::new(error.kind(), error))
    }

    fn ask(&self, name: &str, port: u16) -> LookUp {
        let answer = (self.0.ask)(name.to_owned(), port);
        async move {
            let mut addresses = answer.await.map_err(Arc::new)?;
            addresses.sort_unstable();
            addresses.dedup();
            Ok(addresses)
        }
        .boxed()
        .shared()
    }

    fn running(&self) -> MutexGuard<'_, HashMap<(String, u16), LookUp>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new(async |name, port| Ok(tokio::net::lookup_host((name, port)).await?.collect()))
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::sync::watch;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_look_up_that_hangs_is_the_only_one_of_its_name() {
        let (answered, asked) = (watch::Sender::new(false), Arc::new(Mutex::new(Vec::new())));
        let resolver = Resolver::new({
            let (answered, asked) = (answered.clone(), Arc::clone(&asked));
            move |name, port| {
                asked.lock().unwrap().push(name);
                let mut answered = answered.subscribe();
                async move {
                    answered.wait_for(|answered| *answered).await.map_err(io::Error::other)?;
                    Ok(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port)); 2])
                }
            }
        });
        for _ in 0..3 {
            let late = resolver.look_up("order", 1).await.unwrap_err();
            assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        }
        resolver.look_up("payment", 1).await.unwrap_err();
        assert_eq!(*asked.lock().unwrap(), ["order", "payment"]);

        // Its answer is of use although it comes late, and then the name is looked up anew.
        answered.send_replace(true);
        for _ in 0..2 {
            let addresses = resolver.look_up("order", 1).await.unwrap();
            assert_eq!(addresses, [SocketAddr::from((Ipv4Addr::LOCALHOST, 1))]);
        }
        assert_eq!(*asked.lock().unwrap(), ["order", "payment", "order"]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_after_a_failure_is_not_told_of_it_again() {
        let tries = Mutex::new(0..2);
        let resolver = Resolver::new(move |_, _| {
            let first = tries.lock().unwrap().next() == Some(0);
            async move { if first { Err(io::ErrorKind::HostUnreachable.into()) } else { Ok(vec![]) } }
        });
        let failed = resolver.look_up("order", 1).await.unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::HostUnreachable);
        assert_eq!(resolver.look_up("order", 1).await.unwrap(), []);
    }
}

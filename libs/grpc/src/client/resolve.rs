//! Looking host names up.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// How long one look-up may take. The system's resolver asks again after five seconds, which no call has.
const PATIENCE: Duration = Duration::from_secs(2);

type Addresses = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// How a host name and a port become addresses; by default the system's resolver. Cheap to clone.
#[derive(Clone)]
pub struct Resolver(Arc<dyn Fn(String, u16) -> Addresses + Send + Sync>);

impl Resolver {
    /// Asks a function.
    pub fn new<F>(lookup: impl Fn(String, u16) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    {
        Self(Arc::new(move |name, port| Box::pin(lookup(name, port))))
    }

    /// All addresses of a name, each once.
    pub(super) async fn look_up(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let mut addresses = tokio::time::timeout(PATIENCE, (self.0)(name.to_owned(), port)).await??;
        addresses.sort_unstable();
        addresses.dedup();
        Ok(addresses)
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

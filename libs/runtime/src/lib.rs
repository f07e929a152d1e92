//! How a service's process runs: configuration, start, tasks, signals, exit code.
//!
//! Every service implements [`Service`]. Its own binary calls [`main`]; the all-in-one binary and the tests build
//! and run the same value themselves.

mod arguments;
mod database_time;
mod gauges;
mod migrate;
mod process;
mod service_config;
mod start;
mod tasks;

use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;

pub use arguments::version;
pub use migrate::migrate;
pub use process::main;
pub use service_config::{ServiceConfig, identity, readiness, tls_files};
use tael_clock::Clock;
use tael_config::{ConfigErrors, Env};
pub use tael_postgres::Schema;
pub use tasks::{TaskError, Tasks};
use tokio_util::sync::CancellationToken;

/// Of every process that runs services. Calls are handled by many small values that one thread makes and another drops,
/// which the system's allocator is slow at. Unit tests have it from the build of this crate that their tools link.
#[cfg(not(test))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Why a service could not start; the chain of sources says what failed.
pub type StartError = Box<dyn Error + Send + Sync>;

/// A service that can be configured, built and run.
pub trait Service: Sized + Send + 'static {
    /// The service's name, as in its binary, its database and its spans.
    const NAME: &'static str;

    /// The parts of its database's schema, in the order in which they are migrated; none if it has no database.
    const SCHEMAS: &'static [Schema];

    /// What it needs to know to start.
    type Config: Clone + Send;

    /// Reads the configuration; all errors are reported at once.
    fn config(env: &mut Env) -> Result<Self::Config, ConfigErrors>;

    /// Builds every part in the order of their dependence: the schema is up to date and the address is bound when
    /// this returns, but no work has begun.
    fn build(config: Self::Config, clock: Clock) -> impl Future<Output = Result<Self, StartError>> + Send;

    /// Returns the address that was bound.
    fn addr(&self) -> SocketAddr;

    /// Works until `shutdown` is cancelled and what was begun has ended, or until a part fails.
    fn run(self, shutdown: CancellationToken) -> impl Future<Output = Result<(), TaskError>> + Send;
}

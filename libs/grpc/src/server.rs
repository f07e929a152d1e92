//! Serving gRPC: what stands around every call.

mod call;
mod edge;
mod health;
mod held;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

pub use health::{Check, Readiness};
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;

/// Bounds of a server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// So many calls may run at once; further ones are refused with `RESOURCE_EXHAUSTED` before anything is done. They
    /// are refused and not queued: a caller that is told at once can still choose, one that waits only loses time.
    pub max_in_flight: usize,
    /// So many readers of the event log may be there at once, counted apart: they mostly wait, which takes nothing from
    /// calls, and a rush of calls must not hold up the events.
    pub max_log_readers: usize,
    /// A call whose caller set no deadline, or a later one, has this long.
    pub max_duration: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_in_flight: 256, max_log_readers: 64, max_duration: Duration::from_secs(35) }
    }
}

/// A bound server that does not serve yet, so that its address is known before any work begins.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    addr: SocketAddr,
    limits: Limits,
}

/// Binds an address; port 0 takes a free one.
pub async fn bind(addr: SocketAddr, limits: Limits) -> std::io::Result<Bound> {
    let listener = TcpListener::bind(addr).await?;
    Ok(Bound { addr: listener.local_addr()?, listener, limits })
}

impl Bound {
    /// Returns the address that was bound.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves the routes with health and reflection beside them, until `shutdown` resolves and the calls in flight
    /// have ended.
    pub async fn serve(
        self,
        routes: Routes,
        readiness: Readiness,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), tonic::transport::Error> {
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(tael_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .expect("the descriptors come from the compiler");
        let (health, watching) = readiness.serve().await;
        let routes = routes.add_service(health).add_service(reflection);
        let result = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(Duration::from_secs(20)))
            // One layer, three duties in this order: the span sees refused calls too, and a call that waits for
            // nothing can't be refused late.
            .layer(edge::EdgeLayer::new(self.limits))
            .add_routes(routes)
            // Answers are small: with Nagle's algorithm each would wait 40 ms for the caller's acknowledgement.
            .serve_with_incoming_shutdown(TcpIncoming::from(self.listener).with_nodelay(Some(true)), shutdown)
            .await;
        watching.abort();
        result
    }
}

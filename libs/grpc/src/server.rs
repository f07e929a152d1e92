//! Serving gRPC: what stands around every call.

mod authorization;
mod edge;
mod health;
mod incoming;
mod principal;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use authorization::{AuthorizationLayer, EVERYWHERE};
pub use authorization::{RpcAccess, unlike_contracts};
pub use health::{Check, LIVE, Readiness};
pub(crate) use incoming::Peer;
use incoming::{incoming, probes};
use principal::PrincipalLayer;
use tael_principal::Verifier;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::HealthService;

use crate::tls::Identity;

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
    /// So many connections may be open at once; further ones are closed as they come. A peer needs one for all its calls.
    /// It is well below the 1024 open files that a process has where nobody gave it more, so that databases, peers and
    /// health have theirs whoever connects.
    pub max_connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_in_flight: 256,
            max_log_readers: 64,
            max_duration: Duration::from_secs(35),
            max_connections: 512,
        }
    }
}

/// A connection with TLS is given up gracefully when it is this old, so that each peer shows again who it is: what is no
/// longer believed does not live on in connections that were made before.
const TLS_CONNECTION_AGE: Duration = Duration::from_hours(1);

/// A bound server that does not serve yet, so that its address is known before any work begins.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    addr: SocketAddr,
    limits: Limits,
    health: Option<TcpListener>,
    identity: Option<Identity>,
    access: Option<RpcAccess>,
    verifier: Option<Verifier>,
}

/// Binds an address; port 0 takes a free one.
pub async fn bind(addr: SocketAddr, limits: Limits) -> io::Result<Bound> {
    let listener = TcpListener::bind(addr).await?;
    Ok(Bound {
        addr: listener.local_addr()?,
        listener,
        limits,
        health: None,
        identity: None,
        access: None,
        verifier: None,
    })
}

impl Bound {
    /// Returns the address that was bound.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Binds a second address, at which only health is served, and without TLS: for those who probe and have no
    /// certificate, as Kubernetes' kubelet. Returns the address as well.
    pub async fn with_health(mut self, addr: SocketAddr) -> io::Result<(Self, SocketAddr)> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        self.health = Some(listener);
        Ok((self, addr))
    }

    /// Demands mutual TLS of every connection, and lets callers make only the calls that the table allows them.
    #[must_use]
    pub fn secured(self, identity: Identity, callers: RpcAccess) -> Self {
        Self { identity: Some(identity), ..self.serving(callers) }
    }

    /// Lists by reflection only the services of this table, and those that every server has. Otherwise all contracts are.
    #[must_use]
    pub fn serving(mut self, access: RpcAccess) -> Self {
        self.access = Some(access);
        self
    }

    /// Verifies the principals of calls, and binds the calls to them. Otherwise a call that names a principal is refused.
    #[must_use]
    pub fn with_principals(mut self, verifier: Verifier) -> Self {
        self.verifier = Some(verifier);
        self
    }

    /// Serves the routes with health and reflection beside them, until `shutdown` resolves and the calls in flight
    /// have ended.
    ///
    /// From `shutdown` on it reports that it is not ready, refuses new connections and tells the peers of the others to
    /// go elsewhere (GOAWAY), which costs a caller that knows another replica no call. It does not go on accepting for a
    /// while: a caller that knows only this replica needs the time before `shutdown`, until its name server knows
    /// another. In Kubernetes a `preStop` sleep gives it, in which the replica is out of the Service and still serves.
    pub async fn serve(
        self,
        routes: Routes,
        readiness: Readiness,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), tonic::transport::Error> {
        let mut health = readiness.watch().await;
        // Some clients know only the older of the two, as grpcurl before 1.8.8.
        let known = "the descriptors come from the compiler";
        let routes = routes
            .add_service(health.server())
            .add_service(reflection(self.access).build_v1().expect(known))
            .add_service(reflection(self.access).build_v1alpha().expect(known));
        let identity = self.identity;
        // Without TLS nobody can be told from anybody.
        let callers = self.access.filter(|_| identity.is_some());
        let mut server =
            tonic::transport::Server::builder().http2_keepalive_interval(Some(Duration::from_secs(20)));
        if identity.is_some() {
            server = server.max_connection_age(TLS_CONNECTION_AGE);
        }
        let probes = self.health.map(|listener| serve_health(listener, health.server()));
        let stop = CancellationToken::new();
        let serving = server
            // One layer, three duties in this order: the span sees refused calls too, and a call that waits for
            // nothing can't be refused late.
            .layer(edge::EdgeLayer::new(self.limits))
            // Inside of it, for who was refused is worth a span.
            .layer(AuthorizationLayer::new(callers))
            // Last: it may have to read the message, which is done for nobody who is refused anyway.
            .layer(PrincipalLayer::new(self.verifier))
            .add_routes(routes)
            // The end of the connections is what makes it drain.
            .serve_with_incoming_shutdown(
                incoming(self.listener, self.limits.max_connections, identity, stop.clone()),
                std::future::pending(),
            );
        let mut serving = pin!(serving);
        let result = tokio::select! {
            result = &mut serving => result,
            () = shutdown => {
                health.drain().await;
                stop.cancel();
                serving.await
            }
        };
        // Who probes is answered to the end.
        drop(probes);
        result
    }
}

/// The contracts, and by name those of this table that are served.
fn reflection(access: Option<RpcAccess>) -> tonic_reflection::server::Builder<'static> {
    let contracts = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(tael_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET);
    let served = access.into_iter().flat_map(|access| access.iter().chain(EVERYWHERE));
    served.fold(contracts, |contracts, (service, _)| contracts.with_service_name(*service))
}

/// Serves health alone until the guard is dropped. Its connections have a budget of their own.
fn serve_health(listener: TcpListener, health: HealthServer<HealthService>) -> DropGuard {
    let stop = CancellationToken::new();
    let stopped = stop.clone().cancelled_owned();
    tokio::spawn(async move {
        let server = tonic::transport::Server::builder().add_service(health);
        if let Err(error) = server.serve_with_incoming_shutdown(probes(listener), stopped).await {
            tracing::error!(%error, "health is no longer served");
        }
    });
    stop.drop_guard()
}

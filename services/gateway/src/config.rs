//! What the gateway needs to know to start.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use tael_config::{ConfigErrors, Env};
use tael_grpc::tls::Files;

/// The gateway's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// `TAEL_LISTEN`: where to serve HTTP; port 0 takes a free one. By default 0.0.0.0:8080.
    pub listen: SocketAddr,
    /// `TAEL_PAYMENT_URL`: the payment service.
    pub payment_url: String,
    /// `TAEL_TLS_CERTIFICATE`, `TAEL_TLS_KEY`, `TAEL_TLS_AUTHORITY`, see [`Files`]: what the payment service is shown when
    /// its URL begins with `https://`; all three or none. Our own listener is plain: TLS ends at the ingress before it.
    pub tls: Option<Files>,
    /// How much is taken on.
    pub limits: Limits,
}

/// Bounds within which strangers may use the gateway.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `TAEL_MAX_CONNECTIONS`: so many connections may be open at once; further ones wait to be accepted. 4096.
    pub max_connections: NonZeroU32,
    /// `TAEL_MAX_IN_FLIGHT`: so many requests may run at once; further ones are answered with 503 at once. 512.
    pub max_in_flight: NonZeroU32,
    /// `TAEL_REQUEST_TIMEOUT`: a request has this long, its body included, and is then answered with 503. 10 s.
    pub request_timeout: Duration,
    /// `TAEL_HEADER_TIMEOUT`: a connection is closed when a request's header does not come within it; also when no
    /// next request comes. 10 s.
    pub header_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: const { NonZeroU32::new(4096).expect("not zero") },
            max_in_flight: const { NonZeroU32::new(512).expect("not zero") },
            request_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
        }
    }
}

impl Config {
    pub(crate) fn read(env: &mut Env) -> Result<Self, ConfigErrors> {
        let default = Limits::default();
        let listen = env.or("TAEL_LISTEN", SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080)));
        let payment_url = env.required("TAEL_PAYMENT_URL");
        let tls = tael_runtime::tls_files(env);
        let limits = Limits {
            max_connections: env.or("TAEL_MAX_CONNECTIONS", default.max_connections),
            max_in_flight: env.or("TAEL_MAX_IN_FLIGHT", default.max_in_flight),
            request_timeout: env.duration("TAEL_REQUEST_TIMEOUT", default.request_timeout),
            header_timeout: env.duration("TAEL_HEADER_TIMEOUT", default.header_timeout),
        };
        env.finish(|| Some(Self { listen, payment_url: payment_url?, tls, limits }))
    }
}

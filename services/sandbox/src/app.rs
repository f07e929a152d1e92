//! The composition root: binds, builds the parts, runs them.

use std::{future::Future, io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    routing::{any, get},
};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    alipay::{self, Alipay},
    config::Config,
    control, payer_page,
    serve::serve,
};

/// A sandbox that is bound to its address and not yet serving.
pub struct App {
    listener: TcpListener,
    addr: SocketAddr,
    alipay: Arc<Alipay>,
    notifications: reqwest::Client,
    router: Router,
    stop: CancellationToken,
}

/// Why a sandbox could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}")]
    Listen {
        /// The configured address.
        addr: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The bound address makes no URL.
    #[error("the bound address makes no URL")]
    PublicUrl(#[from] url::ParseError),
    /// Alipay's configured private key cannot be used.
    #[error("alipay's private key cannot be used: not an RSA private key of at least 2048 bits in PEM form")]
    PrivateKey,
    /// The HTTP client for notifications could not be made.
    #[error("the client for notifications could not be made")]
    NotificationClient(#[from] reqwest::Error),
}

impl App {
    /// Binds the address and builds everything; nothing is served before [`App::run`].
    pub async fn build(config: Config) -> Result<Self, BuildError> {
        let listen_error = |source| BuildError::Listen { addr: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(listen_error)?;
        let addr = listener.local_addr().map_err(listen_error)?;
        let public_url = match &config.public_url {
            Some(url) => url.clone(),
            None => Url::parse(&format!("http://{}", reachable(addr)))?,
        };
        let stop = CancellationToken::new();
        let alipay =
            Arc::new(Alipay::new(&config, &public_url, stop.clone()).map_err(|_| BuildError::PrivateKey)?);
        Ok(Self {
            listener,
            addr,
            notifications: alipay::courier_client()?,
            router: router(Arc::clone(&alipay)),
            alipay,
            stop,
        })
    }

    /// The bound address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The base URL of everything here, without a slash at its end: what a [`ControlClient`](crate::ControlClient)
    /// is made with.
    pub fn url(&self) -> &str {
        &self.alipay.public_url
    }

    /// Where calls of Alipay's protocol go.
    pub fn gateway_url(&self) -> String {
        self.alipay.gateway_url()
    }

    /// Serves until `shutdown` ends, then finishes what is under way.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> io::Result<()> {
        let Self { listener, alipay, notifications, router, stop, .. } = self;
        // Also when this future is dropped, connections that hang on purpose must not outlive it.
        let stop_when_gone = stop.clone().drop_guard();
        let mut parts = JoinSet::new();
        parts.spawn(alipay::run_courier(alipay, notifications, stop.clone()));
        parts.spawn(serve(listener, router, stop));
        // Neither part ends before the stop by itself: if one does, it has panicked, and the sandbox ends with it.
        tokio::select! {
            () = shutdown => {}
            Some(ended) = parts.join_next() => ended.map_err(io::Error::other)?,
        }
        drop(stop_when_gone);
        while let Some(ended) = parts.join_next().await {
            ended.map_err(io::Error::other)?;
        }
        Ok(())
    }
}

/// An address that a client on this machine can connect to, also when all interfaces are listened on.
fn reachable(addr: SocketAddr) -> SocketAddr {
    if !addr.ip().is_unspecified() {
        return addr;
    }
    match addr {
        SocketAddr::V4(_) => SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, addr.port())),
        SocketAddr::V6(_) => SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, addr.port())),
    }
}

fn router(alipay: Arc<Alipay>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        // The wire.
        .route("/gateway.do", get(alipay::handle).post(alipay::handle))
        .route("/bill/download", get(alipay::download_bill))
        // The payer's page.
        .route("/qr/{qr_code}", get(payer_page::scan))
        .route("/pay", get(payer_page::scan_by_query).post(payer_page::decide))
        // Control.
        .nest("/control", control::routes::router())
        .fallback(any(|| async { (http::StatusCode::NOT_FOUND, "nothing here") }))
        .with_state(alipay)
}

//! The composition root: binds, builds the parts, runs them.

use std::{error::Error, future::Future, io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    routing::{any, get},
};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    config::Config,
    control::{self, routes::Channels},
    core::{ChannelFactory, Clock, Context, KeyFolder, dispatcher, serve::serve},
    payer,
};

/// A sandbox that is bound to its address and not yet serving.
pub struct App {
    listener: TcpListener,
    addr: SocketAddr,
    public_url: String,
    channels: Channels,
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
    /// The folder of keys cannot be made.
    #[error("the folder of keys cannot be made")]
    KeyFolder(#[source] io::Error),
    /// A channel cannot be played with its configuration.
    #[error("a channel cannot be played")]
    Channel(#[source] Box<dyn Error + Send + Sync>),
    /// The HTTP client for notifications could not be made.
    #[error("the client for notifications could not be made")]
    NotificationClient(#[from] reqwest::Error),
}

impl App {
    /// Binds the address and builds everything; nothing is served before [`App::run`].
    pub async fn build(config: Config) -> Result<Self, BuildError> {
        Self::build_with(config, Vec::new()).await
    }

    /// As [`App::build`], with more channels than the sandbox has of its own.
    pub async fn build_with(config: Config, more: Vec<ChannelFactory>) -> Result<Self, BuildError> {
        let listen_error = |source| BuildError::Listen { addr: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(listen_error)?;
        let addr = listener.local_addr().map_err(listen_error)?;
        let public_url = match &config.public_url {
            Some(url) => url.clone(),
            None => Url::parse(&format!("http://{}", reachable(addr)))?,
        };
        let public_url = public_url.as_str().trim_end_matches('/').to_owned();
        let keys = KeyFolder::open(config.key_dir.clone()).map_err(BuildError::KeyFolder)?;
        let stop = CancellationToken::new();
        let clock = Arc::new(Clock::default());
        let mut all = Vec::new();
        for channel in config.channels().into_iter().chain(more) {
            let context = Context::new(
                Arc::clone(&clock),
                public_url.clone(),
                config.time_scale,
                keys.clone(),
                stop.clone(),
            );
            all.push(channel(context).map_err(BuildError::Channel)?);
        }
        let channels = Channels { clock, all: all.into() };
        Ok(Self {
            listener,
            addr,
            public_url,
            notifications: dispatcher::client()?,
            router: router(&channels),
            channels,
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
        &self.public_url
    }

    /// Serves until `shutdown` ends, then finishes what is under way.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> io::Result<()> {
        let Self { listener, channels, notifications, router, stop, .. } = self;
        // Also when this future is dropped, connections that hang on purpose must not outlive it.
        let stop_when_gone = stop.clone().drop_guard();
        let mut parts = JoinSet::new();
        for channel in channels.all.iter() {
            parts.spawn(dispatcher::run(Arc::clone(channel), notifications.clone()));
        }
        parts.spawn(serve(listener, router, stop));
        // No part ends before the stop by itself: if one does, it has panicked, and the sandbox ends with it.
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

fn router(channels: &Channels) -> Router {
    let ours = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .nest("/payer", payer::router())
        .nest("/control", control::routes::router())
        .fallback(any(|| async { (http::StatusCode::NOT_FOUND, "nothing here") }))
        .with_state(channels.clone());
    channels.all.iter().fold(ours, |router, channel| router.merge(Arc::clone(channel).wire()))
}

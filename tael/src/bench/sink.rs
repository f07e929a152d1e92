//! A collector that takes whatever is exported and looks at none of it, so that exporting has somebody to export to and a
//! run pays for what its services do, not for what a collector does on a machine of its own.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Response, header};
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;

use crate::Error;

/// An empty message as gRPC frames it: not compressed, no bytes. Every answer of OTLP may be one
/// (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).
const EMPTY_MESSAGE: [u8; 5] = [0; 5];

/// See the module. It lives as long as the process.
#[derive(Clone, Debug)]
pub(super) struct Sink {
    addr: SocketAddr,
    bytes: Arc<AtomicU64>,
}

impl Sink {
    /// Listens on a free port.
    pub(super) async fn start() -> Result<Self, Error> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let sink = Self { addr: listener.local_addr()?, bytes: Arc::default() };
        let router = Router::new().fallback(swallow).with_state(sink.bytes.clone());
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_routes(Routes::from(router))
                .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true))),
        );
        Ok(sink)
    }

    /// Where it receives.
    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// How much it has received.
    pub(super) fn mebibytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed) >> 20
    }
}

async fn swallow(State(bytes): State<Arc<AtomicU64>>, request: Request) -> Response<Body> {
    let mut body = request.into_body();
    while let Some(Ok(frame)) = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await
    {
        let length = frame.data_ref().map_or(0, Bytes::len);
        bytes.fetch_add(length as u64, Ordering::Relaxed);
    }
    let mut response = Response::new(Body::new(Answer(0)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// The empty message, and then that all went well. Tells how many of the two are gone.
struct Answer(u8);

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        self.0 += 1;
        std::task::Poll::Ready(match self.0 {
            1 => Some(Ok(http_body::Frame::data(Bytes::from_static(&EMPTY_MESSAGE)))),
            2 => {
                let status =
                    [(header::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))];
                Some(Ok(http_body::Frame::trailers(HeaderMap::from_iter(status))))
            }
            _ => None,
        })
    }
}

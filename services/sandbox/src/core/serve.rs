//! The HTTP/1 accept loop. It exists beside axum's own because a fault must be able to close a connection without any
//! answer, which a handler cannot say there.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{Router, body::Body, response::Response};
use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;
use tracing::{debug, warn};

/// How long open connections may take to finish their request after the stop.
const DRAIN: Duration = Duration::from_secs(5);
/// How long to wait after an accept failed, which happens when the process has too many open files.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

#[derive(Clone)]
struct Drop;

/// The connection is closed on purpose, without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection was closed on purpose")]
struct DroppedOnPurpose;

/// A response that closes the connection instead of being sent.
pub fn drop_connection() -> Response {
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(Drop);
    response
}

/// Serves until `stop`, then lets open connections finish, for a bounded time.
pub(crate) async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let router = Arc::new(router);
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                // Answers are small and must not wait for an acknowledgement; if it fails they are only slower.
                let _ = stream.set_nodelay(true);
                connections.spawn(connection(stream, Arc::clone(&router), stop.clone()));
            }
            Err(error) => {
                warn!(%error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
    connections.close();
    if tokio::time::timeout(DRAIN, connections.wait()).await.is_err() {
        warn!("some connections did not finish in time");
    }
}

async fn connection(stream: TcpStream, router: Arc<Router>, stop: CancellationToken) {
    let service = service_fn(|request: Request<Incoming>| {
        let router = Router::clone(&router);
        async move {
            let response: Result<Response, Infallible> = router.oneshot(request.map(Body::new)).await;
            match response {
                Ok(response) if response.extensions().get::<Drop>().is_some() => Err(DroppedOnPurpose),
                Ok(response) => Ok(response),
                Err(never) => match never {},
            }
        }
    });
    let connection =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        debug!(%error, "connection ended early");
    }
}

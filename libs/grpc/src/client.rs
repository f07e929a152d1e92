//! Channels to other services.

use std::time::Duration;

use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Endpoint;
use tonic::{Request, Status};

use crate::deadline;

/// How long a call may take when the caller has no nearer deadline.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// A channel to another service: generated clients are built on it with `XClient::new(channel)`.
pub type Channel = InterceptedService<tonic::transport::Channel, Outbound>;

/// Makes a channel that connects when it is first used and again whenever the connection is lost.
pub fn connect(url: &str) -> Result<Channel, tonic::transport::Error> {
    let transport = Endpoint::from_shared(url.to_owned())?
        .connect_timeout(Duration::from_secs(2))
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(5))
        .tcp_nodelay(true)
        .connect_lazy();
    Ok(InterceptedService::new(transport, Outbound))
}

/// Carries the running call's trace context and deadline on to the next service.
#[derive(Clone, Copy, Debug)]
pub struct Outbound;

impl Interceptor for Outbound {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if request.metadata().get("grpc-timeout").is_none() {
            request.set_timeout(deadline::remaining(DEFAULT_TIMEOUT));
        }
        let mut headers = std::mem::take(request.metadata_mut()).into_headers();
        tael_telemetry::inject(&mut headers);
        *request.metadata_mut() = tonic::metadata::MetadataMap::from_headers(headers);
        Ok(request)
    }
}

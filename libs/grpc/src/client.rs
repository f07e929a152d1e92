//! Channels to other services.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{self, Endpoint};
use tonic::{Request, Status, TimeoutExpired};
use tower::util::MapErr;

use crate::deadline;

/// How long a call may take when the caller has no nearer deadline.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// A channel to another service: generated clients are built on it with `XClient::new(channel)`.
pub type Channel = InterceptedService<MapErr<transport::Channel, fn(transport::Error) -> Status>, Outbound>;

/// A peer that is frozen, or cut off without a word, is given up after this much silence and a ping that stays
/// unanswered for [`PING_TIMEOUT`]; also while no call waits, so that the next one need not find out.
const SILENCE: Duration = Duration::from_secs(3);
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// Makes a channel that connects when it is first used and again whenever the connection is lost.
///
/// A connection that is refused or lost is UNAVAILABLE. So is a peer that does not answer pings, after five seconds.
pub fn connect(url: &str) -> Result<Channel, transport::Error> {
    let channel = Endpoint::from_shared(url.to_owned())?
        .connect_timeout(Duration::from_secs(2))
        .http2_keep_alive_interval(SILENCE)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
        .connect_lazy();
    Ok(InterceptedService::new(MapErr::new(channel, status as fn(transport::Error) -> Status), Outbound))
}

/// tonic tells of a deadline that passed on this side as CANCELLED; gRPC's word for it is DEADLINE_EXCEEDED. And it
/// tells of a connection that broke under a call as UNKNOWN or CANCELLED, depending on where; gRPC's word for all of
/// them is UNAVAILABLE.
fn status(error: transport::Error) -> Status {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        if error.is::<TimeoutExpired>() {
            return Status::deadline_exceeded("no answer came before the call's deadline");
        }
        cause = error.source();
    }
    let mut status = Status::unavailable("the connection could not be made, or broke");
    status.set_source(Arc::new(error));
    status
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

//! A server whose methods do what a test says. They are the event log's, for its readers are counted apart: one method
//! is a call like others, one reads the log.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use tael_grpc::client::{Channel, connect};
use tael_grpc::server::{Bound, Limits, Readiness, RpcAccess, bind};
use tael_grpc::tls::Identity;
use tael_proto::event::v1::event_log_service_client::EventLogServiceClient;
use tael_proto::event::v1::event_log_service_server::{EventLogService, EventLogServiceServer};
use tael_proto::event::v1::{
    ListConsumersRequest, ListConsumersResponse, ReadEventsRequest, ReadEventsResponse,
    RemoveConsumerRequest, RemoveConsumerResponse,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

pub(crate) type Client = EventLogServiceClient<Channel>;
type Work = Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>;

/// Which method was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Called {
    Call,
    Read,
}

struct Methods(Arc<dyn Fn(Called) -> Work + Send + Sync>);

#[tonic::async_trait]
impl EventLogService for Methods {
    async fn list_consumers(
        &self,
        _: Request<ListConsumersRequest>,
    ) -> Result<Response<ListConsumersResponse>, Status> {
        (self.0)(Called::Call).await.map(|()| Response::new(ListConsumersResponse::default()))
    }

    async fn read_events(
        &self,
        _: Request<ReadEventsRequest>,
    ) -> Result<Response<ReadEventsResponse>, Status> {
        (self.0)(Called::Read).await.map(|()| Response::new(ReadEventsResponse::default()))
    }

    async fn remove_consumer(
        &self,
        _: Request<RemoveConsumerRequest>,
    ) -> Result<Response<RemoveConsumerResponse>, Status> {
        Err(Status::unimplemented("no test calls this"))
    }
}

/// It serves until it is stopped or dropped.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Server {
    /// Serves methods that answer with nothing after what the test says is done.
    pub(crate) async fn start<F, W>(limits: Limits, readiness: Readiness, work: F) -> Self
    where
        F: Fn(Called) -> W + Send + Sync + 'static,
        W: Future<Output = Result<(), Status>> + Send + 'static,
    {
        let bound = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), limits).await.unwrap();
        Self::serve(bound, readiness, work)
    }

    /// The same, at once for every call, where only its callers may call.
    pub(crate) async fn secured(identity: Identity, callers: RpcAccess) -> Self {
        let bound = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Limits::default()).await.unwrap();
        Self::serve(bound.secured(identity, callers), Readiness::default(), |_| async { Ok(()) })
    }

    pub(crate) fn serve<F, W>(bound: Bound, readiness: Readiness, work: F) -> Self
    where
        F: Fn(Called) -> W + Send + Sync + 'static,
        W: Future<Output = Result<(), Status>> + Send + 'static,
    {
        tael_testkit::logs();
        let methods = Methods(Arc::new(move |called| Box::pin(work(called))));
        let (addr, stop) = (bound.addr(), CancellationToken::new());
        let routes = Routes::new(EventLogServiceServer::new(methods));
        let serving = tokio::spawn(bound.serve(routes, readiness, stop.clone().cancelled_owned()));
        Self { addr, stop, serving }
    }

    pub(crate) fn channel(&self) -> Channel {
        connect(&format!("http://{}", self.addr)).unwrap()
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.channel())
    }

    /// Tells it to end.
    pub(crate) fn tell_to_end(&self) {
        self.stop.cancel();
    }

    /// Tells it to end and waits until it has.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        (&mut self.serving).await.unwrap().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A call like others.
pub(crate) fn message() -> Request<ListConsumersRequest> {
    Request::new(ListConsumersRequest::default())
}

/// A read of the log.
pub(crate) fn read() -> Request<ReadEventsRequest> {
    Request::new(ReadEventsRequest::default())
}

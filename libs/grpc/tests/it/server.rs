//! A server whose one method does what a test says. The method is the event log's because that service has one.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use tael_grpc::client::{Channel, connect};
use tael_grpc::server::{Limits, Readiness, bind};
use tael_proto::event::v1::event_log_service_client::EventLogServiceClient;
use tael_proto::event::v1::event_log_service_server::{EventLogService, EventLogServiceServer};
use tael_proto::event::v1::{ReadEventsRequest, ReadEventsResponse};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

pub(crate) type Client = EventLogServiceClient<Channel>;
type Answer = Pin<Box<dyn Future<Output = Result<Response<ReadEventsResponse>, Status>> + Send>>;

struct Method(Arc<dyn Fn(Request<ReadEventsRequest>) -> Answer + Send + Sync>);

#[tonic::async_trait]
impl EventLogService for Method {
    async fn read_events(
        &self,
        request: Request<ReadEventsRequest>,
    ) -> Result<Response<ReadEventsResponse>, Status> {
        (self.0)(request).await
    }
}

/// It serves until it is stopped or dropped.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Server {
    /// Serves a method that answers with nothing after what the test says is done.
    pub(crate) async fn start<F, W>(limits: Limits, readiness: Readiness, method: F) -> Self
    where
        F: Fn(Request<ReadEventsRequest>) -> W + Send + Sync + 'static,
        W: Future<Output = Result<(), Status>> + Send + 'static,
    {
        tael_testkit::logs();
        let method = Method(Arc::new(move |request| {
            let work = method(request);
            Box::pin(async move { work.await.map(|()| Response::new(ReadEventsResponse::default())) })
        }));
        let bound = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
        let (addr, stop) = (bound.addr(), CancellationToken::new());
        let routes = Routes::new(EventLogServiceServer::new(method));
        let serving = tokio::spawn(bound.serve(routes, readiness, limits, stop.clone().cancelled_owned()));
        Self { addr, stop, serving }
    }

    pub(crate) fn channel(&self) -> Channel {
        connect(&format!("http://{}", self.addr)).unwrap()
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.channel())
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

pub(crate) fn message() -> Request<ReadEventsRequest> {
    Request::new(ReadEventsRequest::default())
}

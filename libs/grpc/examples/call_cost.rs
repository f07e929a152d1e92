//! Measures what a call between services costs: `cargo run --release -p tael-grpc --example call_cost`.
//!
//! The server does nothing. Calls are made one after the other (how long one takes) and by 64 callers at once (how many
//! are possible), by a bare tonic channel, by
//! ours, and by ours with mutual TLS, in turns, so that all have the same machine.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program for people who measure")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::{Request as HttpRequest, Response as HttpResponse};
use tael_grpc::caller::Caller;
use tael_grpc::client::{Connector, connect};
use tael_grpc::server::{Limits, Readiness, RpcAccess, bind};
use tael_proto::event::v1::event_log_service_client::EventLogServiceClient;
use tael_proto::event::v1::event_log_service_server::{EventLogService, EventLogServiceServer};
use tael_proto::event::v1::{
    ListConsumersRequest, ListConsumersResponse, ReadEventsRequest, ReadEventsResponse,
    RemoveConsumerRequest, RemoveConsumerResponse,
};
use tael_testkit::{Authority, Mounted};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::codegen::{Service, StdError};
use tonic::service::Routes;
use tonic::transport::Endpoint;
use tonic::{Request, Response, Status};

const ALLOWED: RpcAccess = &[("tael.event.v1.EventLogService", &[("ListConsumers", &[Caller::Order])])];
const ROUNDS: usize = 9;
const CALLERS: usize = 64;
const LENGTH: Duration = Duration::from_millis(500);

struct Nothing;

#[tonic::async_trait]
impl EventLogService for Nothing {
    async fn list_consumers(
        &self,
        _: Request<ListConsumersRequest>,
    ) -> Result<Response<ListConsumersResponse>, Status> {
        Ok(Response::new(ListConsumersResponse::default()))
    }

    async fn read_events(
        &self,
        _: Request<ReadEventsRequest>,
    ) -> Result<Response<ReadEventsResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn remove_consumer(
        &self,
        _: Request<RemoveConsumerRequest>,
    ) -> Result<Response<RemoveConsumerResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }
}

#[tokio::main]
async fn main() {
    let (authority, local) = (Authority::new(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let [payment, order] =
        ["payment", "order"].map(|name| Mounted::new(&authority.certify(name), &[&authority]));
    let plain = bind(local, Limits::default()).await.unwrap();
    let secure = bind(local, Limits::default()).await.unwrap().secured(payment.identity().await, ALLOWED);
    let (url, secure_url) =
        (format!("http://{}", plain.addr()), format!("https://localhost:{}", secure.addr().port()));
    for bound in [plain, secure] {
        let routes = Routes::new(EventLogServiceServer::new(Nothing));
        tokio::spawn(bound.serve(routes, Readiness::default(), std::future::pending()));
    }

    let tonic = Endpoint::from_shared(url.clone()).unwrap().tcp_nodelay(true).connect_lazy();
    let ours = connect(&url).unwrap();
    let ours_secure = Connector::new(Some(order.identity().await)).connect(&secure_url).unwrap();
    let mut measured: [Vec<Measure>; 3] = Default::default();
    for _ in 0..ROUNDS {
        measured[0].push(measure(tonic.clone()).await);
        measured[1].push(measure(ours.clone()).await);
        measured[2].push(measure(ours_secure.clone()).await);
    }
    println!("{:<18} {:>12} {:>16}", "", "one call", "calls a second");
    for (name, measures) in ["bare tonic", "ours", "ours, mutual TLS"].iter().zip(&measured) {
        let nanos = median(measures.iter().map(|measure| measure.nanos));
        let per_second = median(measures.iter().map(|measure| measure.per_second));
        println!("{name:<18} {:>8}.{} µs {per_second:>16}", nanos / 1000, nanos % 1000 / 100);
    }
}

struct Measure {
    /// How long one call takes when there is no other.
    nanos: u128,
    /// How many are possible when there are many callers.
    per_second: u128,
}

fn median(values: impl Iterator<Item = u128>) -> u128 {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable();
    values[values.len() / 2]
}

async fn measure<S>(channel: S) -> Measure
where
    S: Service<HttpRequest<Body>, Response = HttpResponse<Body>> + Clone + Send + 'static,
    S::Error: Into<StdError> + Send,
    S::Future: Send,
{
    let began = Instant::now();
    let one = calls(channel.clone()).await;
    let nanos = began.elapsed().as_nanos() / one;
    let began = Instant::now();
    let callers: JoinSet<u128> = (0..CALLERS).map(|_| calls(channel.clone())).collect();
    let all: u128 = callers.join_all().await.into_iter().sum();
    Measure { nanos, per_second: all * 1_000_000_000 / began.elapsed().as_nanos() }
}

async fn calls<S>(channel: S) -> u128
where
    S: Service<HttpRequest<Body>, Response = HttpResponse<Body>> + Clone + Send + 'static,
    S::Error: Into<StdError> + Send,
    S::Future: Send,
{
    let mut client = EventLogServiceClient::new(channel);
    let (began, mut calls) = (Instant::now(), 0);
    while began.elapsed() < LENGTH {
        client.list_consumers(ListConsumersRequest::default()).await.unwrap();
        calls += 1;
    }
    calls
}

//! Measures what a call between services costs: `cargo run --release -p tael-grpc --example call_cost`.
//!
//! The server does nothing. Calls are made one after the other (how long one takes) and by 64 callers at once (how many
//! are possible), by a bare tonic channel and by ours, in turns, so that both have the same machine.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program for people who measure")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::{Request as HttpRequest, Response as HttpResponse};
use tael_grpc::client::connect;
use tael_grpc::server::{Limits, Readiness, bind};
use tael_proto::event::v1::event_log_service_client::EventLogServiceClient;
use tael_proto::event::v1::event_log_service_server::{EventLogService, EventLogServiceServer};
use tael_proto::event::v1::{
    ListConsumersRequest, ListConsumersResponse, ReadEventsRequest, ReadEventsResponse,
    RemoveConsumerRequest, RemoveConsumerResponse,
};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::codegen::{Service, StdError};
use tonic::service::Routes;
use tonic::transport::Endpoint;
use tonic::{Request, Response, Status};

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
    let bound = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Limits::default()).await.unwrap();
    let url = format!("http://{}", bound.addr());
    let routes = Routes::new(EventLogServiceServer::new(Nothing));
    tokio::spawn(bound.serve(routes, Readiness::default(), std::future::pending()));

    let tonic = Endpoint::from_shared(url.clone()).unwrap().tcp_nodelay(true).connect_lazy();
    let ours = connect(&url).unwrap();
    let mut measured: [Vec<Measure>; 2] = Default::default();
    for _ in 0..ROUNDS {
        measured[0].push(measure(tonic.clone()).await);
        measured[1].push(measure(ours.clone()).await);
    }
    let [tonic, ours] = measured.map(median);
    println!("{:<12} {:>12} {:>14}", "", "one call", "calls a second");
    for (name, measure) in [("bare tonic", tonic), ("ours", ours)] {
        println!("{name:<12} {:>9.1} µs {:>14}", measure.micros, measure.per_second);
    }
}

#[derive(Clone, Copy)]
struct Measure {
    micros: f64,
    per_second: u64,
}

fn median(measures: Vec<Measure>) -> Measure {
    let mut micros: Vec<_> = measures.iter().map(|m| m.micros).collect();
    let mut per_second: Vec<_> = measures.iter().map(|m| m.per_second).collect();
    micros.sort_by(f64::total_cmp);
    per_second.sort_unstable();
    Measure { micros: micros[micros.len() / 2], per_second: per_second[per_second.len() / 2] }
}

async fn measure<S>(channel: S) -> Measure
where
    S: Service<HttpRequest<Body>, Response = HttpResponse<Body>> + Clone + Send + 'static,
    S::Error: Into<StdError> + Send,
    S::Future: Send,
{
    let began = Instant::now();
    let one = calls(channel.clone()).await;
    let micros =
        Duration::from_secs(1).mul_f64(began.elapsed().as_secs_f64() / one as f64).as_secs_f64() * 1e6;
    let began = Instant::now();
    let callers: JoinSet<u64> = (0..CALLERS).map(|_| calls(channel.clone())).collect();
    let all: u64 = callers.join_all().await.into_iter().sum();
    let per_second = u64::try_from(u128::from(all) * 1_000_000 / began.elapsed().as_micros()).unwrap();
    Measure { micros, per_second }
}

async fn calls<S>(channel: S) -> u64
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

//! Measures what becomes of calls when more come than a server can take: `cargo run --release --example overload`.
//!
//! Each call needs one of 16 connections for 10 ms, as calls of our services need their database; so the server can
//! answer 1,600 calls a second. RpcAccess come at a rate that does not depend on the answers, with a deadline of ten
//! seconds, once at four fifths of what the server can do and once at five times as much; with the default limit of calls
//! in flight, with a wider one, and without.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program for people who measure")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tael_grpc::client::connect;
use tael_grpc::server::{Limits, Readiness, bind};
use tael_proto::event::v1::event_log_service_client::EventLogServiceClient;
use tael_proto::event::v1::event_log_service_server::{EventLogService, EventLogServiceServer};
use tael_proto::event::v1::{
    ListConsumersRequest, ListConsumersResponse, ReadEventsRequest, ReadEventsResponse,
    RemoveConsumerRequest, RemoveConsumerResponse,
};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};

const CONNECTIONS: usize = 16;
const WORK: Duration = Duration::from_millis(10);
/// Calls per second.
const CAPACITY: u32 = 1_600;
const LENGTH: Duration = Duration::from_secs(8);

struct Worker(Semaphore);

#[tonic::async_trait]
impl EventLogService for Worker {
    async fn list_consumers(
        &self,
        _: Request<ListConsumersRequest>,
    ) -> Result<Response<ListConsumersResponse>, Status> {
        let _connection = self.0.acquire().await.unwrap();
        tokio::time::sleep(WORK).await;
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
    println!("limit    load     accepted/s  p50 ms  p99 ms   refused/s  p50 ms  p99 ms   lost/s");
    for (limit, name) in [(256, "256"), (1024, "1024"), (1_000_000, "none")] {
        for (rate, load) in [(CAPACITY * 4 / 5, "0.8x"), (CAPACITY * 5, "5x")] {
            let limits = Limits { max_in_flight: limit, ..Limits::default() };
            let bound = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), limits).await.unwrap();
            let url = format!("http://{}", bound.addr());
            let routes = Routes::new(EventLogServiceServer::new(Worker(Semaphore::new(CONNECTIONS))));
            let server = tokio::spawn(bound.serve(routes, Readiness::default(), std::future::pending()));
            let measured = measure(&url, rate).await;
            server.abort();
            println!("{name:<8} {load:<8} {measured}");
        }
    }
}

/// Calls at a rate of so many per second, and says what came of it.
async fn measure(url: &str, rate: u32) -> String {
    // Several connections, as from several replicas.
    let clients: Vec<_> = (0..4).map(|_| EventLogServiceClient::new(connect(url).unwrap())).collect();
    let began = Instant::now();
    let mut calls = Vec::new();
    let mut due = began;
    while began.elapsed() < LENGTH {
        while due <= Instant::now() {
            let mut client = clients[calls.len() % clients.len()].clone();
            calls.push(tokio::spawn(async move {
                let began = Instant::now();
                let answer = client.list_consumers(Request::new(ListConsumersRequest::default())).await;
                (answer.map_or_else(|status| status.code(), |_| Code::Ok), began.elapsed())
            }));
            due += Duration::from_secs(1) / rate;
        }
        tokio::time::sleep_until(due).await;
    }
    let (mut accepted, mut refused, mut lost) = (Vec::new(), Vec::new(), 0);
    for call in calls {
        match call.await.unwrap() {
            (Code::Ok, took) => accepted.push(took),
            (Code::ResourceExhausted, took) => refused.push(took),
            // The deadline passed, or a connection that is too busy to answer pings was given up.
            (Code::DeadlineExceeded | Code::Unavailable, _) => lost += 1,
            (other, _) => panic!("{other:?}"),
        }
    }
    let seconds = LENGTH.as_secs();
    format!("{}  {}   {:>6}", row(&mut accepted, seconds), row(&mut refused, seconds), lost / seconds)
}

fn row(times: &mut [Duration], seconds: u64) -> String {
    times.sort_unstable();
    let quantile = |percent: usize| times.get(times.len() * percent / 100).map_or(0, Duration::as_millis);
    format!("{:>10}  {:>6}  {:>6}", times.len() as u64 / seconds, quantile(50), quantile(99))
}

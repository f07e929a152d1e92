//! What spans cost: `cargo bench -p tael-telemetry`. Needs no database.
//!
//! It does the spans of calls, with nothing in them, in a process of their own for each way that telemetry can be set up,
//! and takes the processor time of that whole process, the exporter's threads included. The collector is another process
//! and is not counted. To see what that means for the platform, compare with what a journey (an order, its payment, the
//! payer's payment, a refund) takes: about 75 spans and 6.5 ms of processor time.

use std::hint::black_box;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tael_telemetry::{LogFormat, TelemetryConfig};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};
use tracing::{Instrument as _, field};

/// Spans of one call, as in a service: the call, its use case, and the statements.
const SPANS_PER_CALL: u32 = 8;
/// How many calls are made in each process, and how many of them at most in a second: more spans than the exporter's queue
/// holds would be dropped, and cost less than they should.
const CALLS: u32 = 24_000;
const CALLS_PER_SECOND: u32 = 1_500;
/// What a journey takes without telemetry.
const JOURNEY_SPANS: u64 = 75;
const JOURNEY: Duration = Duration::from_micros(6_500);
/// Linux counts processor time in hundredths of a second (`getconf CLK_TCK`).
const TICK: Duration = Duration::from_millis(10);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "collect"] => collect(),
        [_, "work", how, endpoint] => work(how, Some(endpoint).filter(|endpoint| !endpoint.is_empty())),
        _ => compare(),
    }
}

/// Runs the ways one after the other and prints what they cost.
fn compare() {
    let mut collector = start(&["collect"]);
    let endpoint = first_line(&mut collector);
    let cost = |how: &str, endpoint: &str| {
        let mut child = start(&["work", how, endpoint]);
        let nanoseconds: u64 = first_line(&mut child).parse().expect("the child prints a number");
        child.wait().expect("the child can be waited for");
        nanoseconds
    };
    let nothing = cost("nothing", "");
    println!("processor time per span, and what a journey with {JOURNEY_SPANS} spans would take more");
    for (name, how, endpoint) in [
        ("off: JSON logs at info, nothing exported", "info", ""),
        ("off: logs at warn, nothing exported", "warn", ""),
        ("on: all traces exported, JSON logs at info", "info", endpoint.as_str()),
    ] {
        let more = cost(how, endpoint).saturating_sub(nothing);
        // In hundredths of a percent.
        let share = u128::from(more * JOURNEY_SPANS) * 10_000 / JOURNEY.as_nanos();
        println!("{name:<48} {more:>7} ns {:>3}.{:02} %", share / 100, share % 100);
    }
    collector.kill().expect("the child can be killed");
    collector.wait().expect("the child can be waited for");
}

fn start(arguments: &[&str]) -> Child {
    let program = std::env::current_exe().expect("a process knows its program");
    Command::new(program).args(arguments).stdout(Stdio::piped()).spawn().expect("the program can be started")
}

fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    let output = child.stdout.take().expect("it is piped");
    BufReader::new(output).read_line(&mut line).expect("the child prints a line");
    line.trim().to_owned()
}

/// Does the spans of many calls and prints the processor time per span in nanoseconds.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn work(how: &str, endpoint: Option<&str>) {
    let telemetry = (how != "nothing").then(|| {
        tael_telemetry::init(TelemetryConfig {
            service: "bench".to_owned(),
            otlp_endpoint: endpoint.map(str::to_owned),
            log_format: LogFormat::Json,
            log_filter: how.to_owned(),
        })
        .expect("the configuration is right")
    });
    let (began, before) = (Instant::now(), processor_time());
    for n in 0..CALLS {
        call().await;
        let due = began + Duration::from_secs(1) * n / CALLS_PER_SECOND;
        if n % 50 == 0 {
            tokio::time::sleep_until(due.into()).await;
        }
    }
    if let Some(telemetry) = telemetry {
        tokio::task::spawn_blocking(|| telemetry.shutdown()).await.expect("it does not panic");
    }
    let took = processor_time().saturating_sub(before) / (CALLS * SPANS_PER_CALL);
    println!("{}", took.as_nanos());
    std::io::stdout().flush().expect("somebody listens");
}

/// The spans of one call. The names are those of an order's, so that their lengths are right.
async fn call() {
    let method = "tael.order.v1.OrderService/CreateOrder";
    let span = tracing::info_span!(
        target: "tael_grpc",
        "rpc",
        otel.name = method,
        otel.kind = "server",
        otel.status_code = field::Empty,
        rpc.system.name = "grpc",
        rpc.method = method,
        rpc.response.status_code = field::Empty,
        tael.merchant_id = field::Empty,
        tael.order_id = field::Empty,
    );
    async {
        tael_telemetry::record("tael.merchant_id", black_box("mer_01m80r8nrce08r81ccn7ky8mhp"));
        tael_telemetry::record("tael.order_id", black_box("ord_01m80r8nrce08r81ccn7ky8mhp"));
        statement().instrument(tracing::info_span!(target: "tael", "redis.idempotency.begin")).await;
        async {
            statement().instrument(tracing::info_span!(target: "tael", "db.promotion.offers")).await;
            statement().instrument(tracing::info_span!(target: "tael", "db.order.insert")).await;
            statement().instrument(tracing::info_span!(target: "tael", "db.order_line.insert")).await;
            statement().instrument(tracing::info_span!(target: "tael", "db.event.append")).await;
        }
        .instrument(tracing::info_span!(target: "tael", "order.create"))
        .await;
        statement().instrument(tracing::info_span!(target: "tael", "redis.idempotency.end")).await;
        tracing::Span::current().record("rpc.response.status_code", "OK");
    }
    .instrument(span)
    .await;
}

/// Waits twice, as for a connection and for an answer: each time all spans around it are left and entered again.
async fn statement() {
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
}

/// What this process has used of the processors (`man 5 proc_pid_stat`: fields 14 and 15, the second is a name in
/// brackets).
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux has it");
    let fields = stat.rsplit_once(')').expect("the name has brackets").1;
    let ticks = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u32>().unwrap_or(0));
    TICK * ticks.sum::<u32>()
}

struct Nowhere;

#[tonic::async_trait]
impl TraceService for Nowhere {
    async fn export(
        &self,
        _: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// Prints its address and takes spans until it is killed.
#[tokio::main(flavor = "current_thread")]
async fn collect() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    println!("http://{}", listener.local_addr().expect("it is bound"));
    tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(Nowhere))
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await
        .expect("it serves until it is killed");
}

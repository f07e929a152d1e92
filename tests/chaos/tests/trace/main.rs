//! One journey through all services, each a process of its own, is one unbroken trace that tells nobody's secrets.

mod metrics;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use metrics::Metrics;
use tael::traces::{Collector, Kind, Span, Trace, TraceView};
use tael_chaos::audit::audit;
use tael_chaos::caller::{Caller, Calls};
use tael_chaos::load::{self, Book, Line, PERSONAL_DATA, Plan, RefundPlan};
use tael_chaos::platform::{Platform, Reach, Setup};
use tael_chaos::processes::{Environment, Service};
use tael_chaos::receiver::Receiver;
use tael_chaos::servers::Servers;
use tael_chaos::shop::Shop;
use tael_proto::settlement::v1::ReconcileRequest;
use tael_telemetry::{LogFormat, TelemetryConfig};
use tracing::Instrument as _;

const PATIENCE: Duration = Duration::from_secs(30);
const SEED: u64 = 11;
/// The name of the span around the journey, made by the merchant's own back-end, which is this program.
const ROOT: &str = "a buyer buys";

/// What must be in the trace: the name, and the service that tells of it.
const EXPECTED: &[(&str, &str)] = &[
    ("tael.order.v1.OrderService/CreateOrder", "order"),
    ("db.order.insert", "order"),
    ("tael.payment.v1.PaymentService/CreatePayment", "payment"),
    ("tael.order.v1.OrderService/GetPayableOrder", "order"),
    ("db.payment.insert", "payment"),
    ("channel.alipay.precreate", "payment"),
    ("callback.alipay", "payment"),
    ("event.payment_succeeded.order", "order"),
    ("event.payment_succeeded.settlement", "settlement"),
    ("event.payment_succeeded.notification", "notification"),
    ("event.order_paid.notification", "notification"),
    ("tael.order.v1.VoucherService/RedeemVoucher", "order"),
    ("tael.refund.v1.RefundService/CreateRefund", "refund"),
    ("db.refund.insert", "refund"),
    ("tael.payment.v1.RefundExecutionService/RefundPayment", "payment"),
    ("channel.alipay.refund", "payment"),
    ("event.payment_refunded.settlement", "settlement"),
    ("event.payment_refunded.notification", "notification"),
    ("webhook.deliver", "notification"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_journey_through_all_services_is_one_unbroken_trace() {
    let collector = Collector::start().await.expect("a collector starts");
    let metrics = Metrics::before(&collector).await;
    let mut platform = start(metrics.endpoint()).await;
    let telemetry = tael_telemetry::init(TelemetryConfig {
        service: "backend".to_owned(),
        otlp_endpoint: Some(metrics.endpoint()),
        log_format: LogFormat::Text,
        log_filter: "warn".to_owned(),
    })
    .expect("telemetry starts");
    let receiver = Receiver::start().await.expect("a receiver starts");
    let calls: Arc<Calls> = Arc::default();
    let caller = Caller::connect(&platform.addresses, &calls).expect("the addresses are valid");
    let run = format!("trace-{:016x}", rand::random::<u64>());
    let shop = Shop::open(&caller, &receiver, &run, platform.channel().addr, 0).await.expect("a shop opens");

    let book: Arc<Book> = Arc::default();
    let mut plan = Plan::new(SEED, 0, 1);
    plan.kind = load::Kind::Sell;
    plan.lines = vec![
        Line { quantity: 2, price_minor: 19_90, voucher: false },
        Line { quantity: 1, price_minor: 50_00, voucher: true },
    ];
    plan.refunds = vec![RefundPlan::Unit];
    (plan.redeem, plan.double_scan, plan.double_click) = (true, false, false);
    // Of our own code's spans only: the program of a test is called otherwise.
    let root = tracing::info_span!(target: "tael_backend", "journey", otel.name = ROOT);
    load::play(&caller, &shop, &book, SEED, plan).instrument(root).await;
    assert_eq!(book.findings(), Vec::<String>::new());
    let entry = book.entries().into_iter().next().expect("a journey was played");
    assert!(entry.ended, "{entry:?}");
    let order_id = entry.order.expect("it has an order").id;

    let trace = collector.traces().await_trace(&order_id, is_complete, PATIENCE).await;
    let trace = trace.unwrap_or_else(|error| panic!("{error}"));
    assert_unbroken(&trace);

    reconcile(&caller, &shop, &run).await;
    let audit = audit(caller.money_audit()).await.expect("the audit ends").expect("there is an audit");
    assert_eq!(audit.disagreements, Vec::<String>::new());
    assert_measured(&metrics).await;
    tokio::task::spawn_blocking(move || telemetry.shutdown()).await.expect("telemetry ends");
    for service in Service::ALL {
        platform.end(service).await.expect("a service ends in good order");
    }
    // All that there will ever be has come.
    let trace = collector.traces().trace(trace.id).expect("it is kept");
    assert_unbroken(&trace);
    let callback = trace.span("callback.alipay").expect("it was waited for");
    let request = collector.traces().trace(callback.links[0].trace_id).expect("it is linked to how it came");
    let request =
        request.span("POST /callbacks/{channel}/{channel_account_id}").expect("the gateway took it");
    assert_eq!((request.parent, request.service()), (None, Some("gateway")));
    let about = collector.traces().find(&order_id, usize::MAX).matches;
    let about: Vec<_> =
        about.iter().map(|trace| tael::traces::tree(&TraceView::new(trace, &[]), None)).collect();
    assert_eq!(about.len(), 1, "the order is in no other trace:\n{}", about.join("\n"));
    let spans = collector.traces().spans();
    assert_nothing_idle(&spans);
    assert_discreet(&spans, &platform);
}

/// The comparison of the ledger with the channel's bill of today, so that there is something to measure.
async fn reconcile(caller: &Caller, shop: &Shop, key: &str) {
    let zone = jiff::tz::TimeZone::get("Asia/Shanghai").expect("a known time zone");
    let today = tael_clock::Clock::system().now().to_zoned(zone).date();
    let reconcile = ReconcileRequest {
        merchant_id: shop.merchant_id.clone(),
        channel_account_id: shop.channel_account_id.clone(),
        statement_date: today.to_string(),
    };
    let ask = async |mut c: Caller, r| c.reconciliations.reconcile(r).await;
    caller.ask("Reconcile", Some(key), reconcile, ask).await.expect("there is a bill");
}

/// What only exists when something went wrong, and nothing did.
const MEASURED_IN_TROUBLE: [&str; 2] =
    ["tael.event.dead_letters", "tael.payment.channel_accounts_unavailable"];

/// Everything that docs/telemetry.md lists is measured, with the labels that it names, and nothing else is.
async fn assert_measured(metrics: &Metrics) {
    let listed = include_str!("../../../../docs/telemetry.md");
    let (_, listed) = listed.split_once("| metric | Prometheus |").expect("there is a table of metrics");
    let listed: BTreeMap<String, BTreeSet<String>> = listed
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let labels = cells[4].split('`').skip(1).step_by(2);
            // Their values stand in parentheses behind them.
            let labels = labels.filter(|label| !["idle", "used"].contains(label)).map(str::to_owned);
            (cells[1].trim_matches('`').to_owned(), labels.collect())
        })
        .collect();
    let wanted: BTreeSet<&str> =
        listed.keys().map(String::as_str).filter(|name| !MEASURED_IN_TROUBLE.contains(name)).collect();
    assert!(wanted.len() > 10, "{wanted:?}");
    // What comes from databases is looked up every 15 s.
    let came = metrics.await_all(&wanted, 2 * PATIENCE).await;
    let missing: Vec<&&str> = wanted.iter().filter(|name| !came.contains_key(**name)).collect();
    assert!(missing.is_empty(), "{missing:#?} did not come, but {came:#?}");
    for (name, labels) in came {
        let listed = listed.get(&name).unwrap_or_else(|| panic!("{name} is not listed"));
        assert!(labels.is_subset(listed), "{name} has other labels than {listed:?}: {labels:?}");
    }
}

/// All services, one process each, that send everything to `otlp_endpoint` soon.
async fn start(otlp_endpoint: String) -> Platform {
    let variable = |name| std::env::var(name).expect("set as `make test` does");
    let servers = Servers::shared(variable("TAEL_DATABASE_URL"), variable("TAEL_REDIS_URL"));
    // Test binaries are in a folder below that of the others.
    let binaries = std::env::current_exe().expect("this program is somewhere");
    let binaries = binaries.ancestors().nth(2).expect("test binaries are in target/*/deps");
    let logs = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("trace");
    let _ = std::fs::remove_dir_all(&logs);
    let environment = Environment::from([
        ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), otlp_endpoint),
        ("OTEL_BSP_SCHEDULE_DELAY".to_owned(), "100".to_owned()),
        ("OTEL_METRIC_EXPORT_INTERVAL".to_owned(), "500".to_owned()),
        ("TAEL_LOG_FORMAT".to_owned(), "json".to_owned()),
    ]);
    let setup = Setup {
        servers,
        binaries,
        logs: &logs,
        prefix: "trace",
        replicas: 1,
        reach: Reach::Forwarded,
        environment,
    };
    Platform::start(setup).await.expect("the platform starts")
}

/// Whether everything that is expected has come, and every parent: spans come from their processes in no order.
fn is_complete(trace: &Trace) -> bool {
    let known: HashSet<_> = trace.spans.iter().map(|span| span.span_id).collect();
    trace.span(ROOT).is_some()
        && trace.spans.iter().filter_map(|span| span.parent).all(|parent| known.contains(&parent))
        && EXPECTED.iter().all(|(name, service)| {
            trace.spans.iter().any(|span| &*span.name == *name && span.service() == Some(service))
        })
        // Four events that merchants are told of: created, paid, payment, refund; in whatever order.
        && trace.spans.iter().filter(|span| &*span.name == "webhook.deliver").count() >= 4
}

/// Every span but the root hangs from another one of the trace, and a call's two sides hang together.
fn assert_unbroken(trace: &Trace) {
    let roots: Vec<_> = trace.spans.iter().filter(|span| span.parent.is_none()).collect();
    assert_eq!(roots.iter().map(|span| &*span.name).collect::<Vec<_>>(), [ROOT]);
    for span in &trace.spans {
        let Some(parent) = span.parent.map(|_| trace.parent(span).expect("every parent has come")) else {
            continue;
        };
        assert!(parent.start_ns <= span.start_ns, "{} begins before its parent {}", span.name, parent.name);
        match span.kind {
            Kind::Server if span.name.starts_with("tael.") => {
                assert_eq!((&span.name, parent.kind), (&parent.name, Kind::Client), "{span:?}");
                assert_ne!(span.service(), parent.service(), "{span:?}");
                assert_eq!(span.text("rpc.method"), Some(&*span.name));
                assert_eq!(span.text("rpc.response.status_code"), parent.text("rpc.response.status_code"));
            }
            Kind::Consumer if span.name.starts_with("event.") => {
                assert_ne!(span.service(), parent.service(), "{span:?} is caused elsewhere");
                assert_eq!(span.links.len(), 1, "{span:?} is linked to its batch");
            }
            _ => {}
        }
        if span.name.starts_with("db.") {
            assert_eq!((span.kind, span.service()), (Kind::Client, parent.service()), "{span:?}");
        }
    }
    let created = trace.span("tael.order.v1.OrderService/CreateOrder").expect("it was waited for");
    let about = |key| trace.spans.iter().filter(|span| span.text(key).is_some()).count();
    assert!(about("tael.order_id") > 5 && about("tael.payment_id") > 5 && about("tael.merchant_id") > 5);
    assert_eq!(created.service(), Some("backend"), "the first side of a call is its caller's");
}

/// Neither probes nor polls that found nothing nor libraries tell of themselves.
fn assert_nothing_idle(spans: &[Arc<Span>]) {
    for span in spans {
        assert!(!span.name.contains("grpc.health") && !span.name.contains("EventLogService"), "{span:?}");
        let target = span.text("target").or(span.text("code.namespace")).unwrap_or("tael");
        assert!(target.starts_with("tael"), "{span:?} is a library's");
    }
}

/// No secret and nothing about the buyer is in any span or log.
fn assert_discreet(spans: &[Arc<Span>], platform: &Platform) {
    let environment = platform.secrets();
    let forbidden = || PERSONAL_DATA.into_iter().chain(environment.iter().map(String::as_str));
    let said = |text: &str| {
        let found = forbidden().find(|secret| text.contains(secret));
        found.or(["whsec_", "PRIVATE KEY", "MIIE"].into_iter().find(|secret| text.contains(secret)))
    };
    for span in spans {
        assert_eq!(said(&format!("{span:?}")), None, "{span:?}");
    }
    for log in std::fs::read_dir(&platform.logs).expect("there is a folder of logs") {
        let log = log.expect("it can be read").path();
        let text = std::fs::read_to_string(&log).expect("a log can be read");
        assert_eq!(said(&text), None, "{}", log.display());
    }
}

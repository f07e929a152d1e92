//! A million events: written by sixteen writers whose transactions overlap, read meanwhile by our reader and by the one
//! that asks for higher sequence numbers; then drained as a backlog by a consumer that writes a row for each.
//!
//! `cargo bench -p tael-eventlog`, with `TAEL_DATABASE_URL` set; `TAEL_BENCH_EVENTS` for another number.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sqlx::{PgConnection, PgPool};
use tael_eventlog::{ApplyError, Consumer, EventLog, Handler, NewEvent, Received};
use tael_grpc::client::{Channel, connect};
use tael_grpc::server::{Limits, Readiness, bind};
use tael_ids::{AttemptId, EventId, MerchantId, OrderId, PaymentId};
use tael_proto::event::v1::event_log_service_client::EventLogServiceClient;
use tael_proto::event::v1::payload::Kind;
use tael_proto::event::v1::{PaymentSucceeded, ReadEventsRequest};
use tael_proto::r#type::v1::{Channel as PayChannel, Method, Money};
use tael_testkit::TestDatabase;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

const WRITERS: u64 = 16;

fn main() {
    // `cargo test --all-targets` builds benches and runs them without this.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let events = std::env::var("TAEL_BENCH_EVENTS").map_or(1_000_000, |n| n.parse().unwrap());
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let source = Source::start().await;
        let target = TestDatabase::create().await;
        race(&source, events).await;
        drain(&source, &target).await;
        source.stop.cancel();
    });
}

struct Source {
    pool: PgPool,
    log: EventLog,
    channel: Channel,
    stop: CancellationToken,
    _database: TestDatabase,
}

impl Source {
    async fn start() -> Self {
        let database = TestDatabase::create().await;
        let pool = tael_postgres::connect(&database.url(), "bench", 24).unwrap();
        tael_postgres::migrate(&pool, &tael_eventlog::MIGRATOR).await.unwrap();
        let stop = CancellationToken::new();
        let log = EventLog::new(pool.clone(), stop.clone());
        let bound = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Limits::default()).await.unwrap();
        let channel = connect(&format!("http://{}", bound.addr())).unwrap();
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(bound.serve(Routes::new(log.server()), Readiness::default(), stopped));
        Self { pool, log, channel, stop, _database: database }
    }
}

/// Writes while both readers read, and says what each of them missed.
async fn race(source: &Source, events: u64) {
    let began = Instant::now();
    let written = AtomicBool::new(false);
    let left = AtomicU64::new(events);
    let write_all = async {
        let committed = join_all((0..WRITERS).map(|writer| write(source, writer, &left))).await;
        written.store(true, Ordering::Release);
        (committed.into_iter().flatten().collect::<HashSet<String>>(), began.elapsed())
    };
    let ((committed, writing), naive, ours) =
        tokio::join!(write_all, read_naively(&source.pool, &written), read(source, &written));
    let reading = began.elapsed();
    let twice = ours.len();
    let ours: HashSet<String> = ours.into_iter().collect();
    println!("written          {} events by {WRITERS} writers in {writing:.1?}", committed.len());
    println!("naive reader     lost {}", committed.difference(&naive).count());
    println!(
        "our reader       lost {}, had {} twice, done after {reading:.1?}",
        committed.difference(&ours).count(),
        twice - ours.len()
    );
    assert_eq!(ours, committed);
    assert_eq!(twice, committed.len());
}

/// Writes transactions of random length, one in twenty of which rolls back, until nothing is left to be written.
async fn write(source: &Source, writer: u64, left: &AtomicU64) -> Vec<String> {
    let mut rng = StdRng::seed_from_u64(writer);
    let mut committed = Vec::new();
    loop {
        let statements = rng.random_range(1..=3_u64);
        let sizes: Vec<u64> = (0..statements).map(|_| rng.random_range(1..=40)).collect();
        let wanted: u64 = sizes.iter().sum();
        let before = left
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(wanted)))
            .unwrap();
        if before == 0 {
            return committed;
        }
        let mut rest = wanted.min(before);
        let mut tx = source.pool.begin().await.unwrap();
        let mut names = Vec::new();
        for size in sizes {
            let events: Vec<NewEvent> = (0..size.min(rest)).map(|_| event()).collect();
            rest -= events.len() as u64;
            names.extend(events.iter().map(|event| event.aggregate_id.clone()));
            source.log.append(&mut tx, &events).await.unwrap();
            tokio::time::sleep(Duration::from_micros(rng.random_range(0..3_000))).await;
        }
        if rng.random_ratio(1, 20) {
            tx.rollback().await.unwrap();
            left.fetch_add(wanted.min(before), Ordering::Relaxed);
        } else {
            tx.commit().await.unwrap();
            source.log.wake();
            committed.extend(names);
        }
    }
}

/// A payment's success, the event that has most to say.
fn event() -> NewEvent {
    let payment_id = PaymentId::new();
    NewEvent {
        merchant_id: MerchantId::new(),
        aggregate_id: payment_id.to_string(),
        kind: Kind::PaymentSucceeded(PaymentSucceeded {
            payment_id: payment_id.to_string(),
            order_id: OrderId::new().to_string(),
            attempt_id: AttemptId::new().to_string(),
            amount: Some(Money { minor: 12_345, currency: "CNY".to_owned() }),
            channel: PayChannel::Alipay.into(),
            channel_account_id: "cha_bench".to_owned(),
            channel_transaction_id: "2026112222001400000000000001".to_owned(),
            method: Method::QrCode.into(),
            ..PaymentSucceeded::default()
        }),
        occur_time: Timestamp::from_second(1_790_000_000).unwrap(),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
    }
}

async fn read_naively(pool: &PgPool, written: &AtomicBool) -> HashSet<String> {
    let (mut cursor, mut seen) = (0_i64, HashSet::new());
    loop {
        let last = written.load(Ordering::Acquire);
        let rows: Vec<(i64, String)> =
            sqlx::query_as("select seq, aggregate_id from event_log where seq > $1 order by seq limit 1000")
                .bind(cursor)
                .fetch_all(pool)
                .await
                .unwrap();
        if last && rows.is_empty() {
            return seen;
        }
        for (seq, name) in rows {
            cursor = seq;
            seen.insert(name);
        }
    }
}

async fn read(source: &Source, written: &AtomicBool) -> Vec<String> {
    let mut client = EventLogServiceClient::new(source.channel.clone()).max_decoding_message_size(16 << 20);
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let last = written.load(Ordering::Acquire);
        let request = ReadEventsRequest { after, limit: 1000, wait_ms: 1000, ..ReadEventsRequest::default() };
        let events = client.read_events(request).await.unwrap().into_inner().events;
        if last && events.is_empty() {
            return seen;
        }
        after = events.last().and_then(|event| event.cursor).or(after);
        seen.extend(events.into_iter().map(|event| event.aggregate_id));
    }
}

/// Writes a row for each event.
struct Rows {
    applied: Arc<AtomicU64>,
}

impl Handler for Rows {
    fn handles(&self, kind: &Kind) -> bool {
        matches!(kind, Kind::PaymentSucceeded(_))
    }

    async fn apply(&self, tx: &mut PgConnection, events: &[Received]) -> Result<(), ApplyError> {
        let (mut ids, mut payments, mut amounts) = (Vec::new(), Vec::new(), Vec::new());
        for received in events {
            if let Kind::PaymentSucceeded(fact) = &received.kind {
                ids.push(received.event.event_id.parse::<EventId>().unwrap().uuid());
                payments.push(fact.payment_id.clone());
                amounts.push(fact.amount.as_ref().map_or(0, |amount| amount.minor));
            }
        }
        sqlx::query("insert into taken select * from unnest($1::uuid[], $2::text[], $3::bigint[])")
            .bind(&ids)
            .bind(&payments)
            .bind(&amounts)
            .execute(tx)
            .await?;
        self.applied.fetch_add(ids.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

/// Consumes the whole log, as a new consumer does or one that was away.
async fn drain(source: &Source, target: &TestDatabase) {
    let pool = target.pool();
    tael_postgres::migrate(&pool, &tael_eventlog::MIGRATOR).await.unwrap();
    sqlx::query(
        "create table taken (event_id uuid primary key, payment_id text not null, minor bigint not null)",
    )
    .execute(&pool)
    .await
    .unwrap();
    let backlog: i64 =
        sqlx::query_scalar("select count(*) from event_log").fetch_one(&source.pool).await.unwrap();
    let applied = Arc::new(AtomicU64::new(0));
    let handler = Rows { applied: Arc::clone(&applied) };
    let consumer = Consumer::new("target", "source", source.channel.clone(), pool.clone(), handler);
    let shutdown = CancellationToken::new();
    let began = Instant::now();
    let running = tokio::spawn(consumer.run(shutdown.clone()));
    while applied.load(Ordering::Relaxed) < backlog.cast_unsigned() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    shutdown.cancel();
    running.await.unwrap();
    let took = began.elapsed();
    let rows: i64 = sqlx::query_scalar("select count(*) from taken").fetch_one(&pool).await.unwrap();
    assert_eq!(rows, backlog);
    let rate = u128::from(backlog.cast_unsigned()) * 1000 / took.as_millis().max(1);
    println!("backlog drained  {backlog} events in {took:.1?}, {rate} a second");
}

//! At every step between two effects the process is stopped, and everything comes to the same end all the same.

use std::sync::Arc;
use std::time::Duration;

use tael_chaos::audit::audit;
use tael_chaos::caller::{Caller, Calls, reason, words};
use tael_chaos::load::{self, Book, Kind, Line, Plan, RefundPlan};
use tael_chaos::platform::{Platform, Reach};
use tael_chaos::processes::{Environment, Service};
use tael_chaos::receiver::Receiver;
use tael_chaos::run::settle;
use tael_chaos::shop::Shop;
use tael_proto::settlement::v1::{CloseBatchRequest, ReconcileRequest};
use tael_sandbox::control::{AddFault, Fault, NotificationEvent};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::start;

/// How long it may take until a process comes to its crash point. Everything else has three times as long.
const PATIENCE: Duration = Duration::from_mins(1);
const SEED: u64 = 1;
/// The shop that wants late money refunded.
const SHOP: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn payment_recovers_from_a_crash_at_any_step() {
    Box::pin(recovers_at(Service::Payment, tael_payment::crash_points::CRASH_POINTS)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refund_recovers_from_a_crash_at_any_step() {
    // What a person decides is nobody's journey here: the refund service's own tests have it.
    let points = without(tael_refund::crash_points::CRASH_POINTS, &[".approve.", ".reject."]);
    Box::pin(recovers_at(Service::Refund, &points)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notification_recovers_from_a_crash_at_any_step() {
    Box::pin(recovers_at(Service::Notification, tael_notification::crash_points::CRASH_POINTS)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn order_recovers_from_a_crash_at_any_step() {
    // Orders take a minute to expire, and held money that a person decides about is no journey: the service's own
    // tests have both.
    let points = without(tael_order::crash_points::CRASH_POINTS, &[".expire.", ".resolve_unapplied."]);
    Box::pin(recovers_at(Service::Order, &points)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settlement_recovers_from_a_crash_at_any_step() {
    // The log's own steps, in the service that posts money by it.
    let points = [tael_settlement::crash_points::CRASH_POINTS, tael_eventlog::crash_points::CRASH_POINTS];
    Box::pin(recovers_at(Service::Settlement, &points.concat())).await;
}

fn without<'a>(points: &[&'a str], left_out: &[&str]) -> Vec<&'a str> {
    points.iter().copied().filter(|point| !left_out.iter().any(|part| point.contains(part))).collect()
}

/// Journeys that pass every step of every flow: two are sold, one of them refunded in two parts; one is cancelled while
/// its payer looks at the code, and one is paid after it was cancelled.
fn journeys(first: u64) -> [Plan; 4] {
    let plan = |number, kind, refunds: &[RefundPlan]| Plan {
        number,
        shop: 0,
        kind,
        lines: vec![
            Line { quantity: 3, price_minor: 33_30, voucher: false },
            Line { quantity: 1, price_minor: 50_00, voucher: true },
        ],
        redeem: true,
        double_scan: false,
        refunds: refunds.to_vec(),
        double_click: false,
        late_payer: false,
    };
    [
        plan(first, Kind::Sell, &[RefundPlan::Unit, RefundPlan::Rest]),
        plan(first + 1, Kind::Sell, &[]),
        plan(first + 2, Kind::CancelUnpaid, &[]),
        plan(first + 3, Kind::LatePayer, &[]),
    ]
}

async fn recovers_at(service: Service, points: &[&str]) {
    let name = format!("crash_points_{service}");
    let platform = start(&name, 1, Reach::Forwarded, Environment::new()).await;
    let receiver = Receiver::start().await.expect("a receiver starts");
    let calls: Arc<Calls> = Arc::default();
    let caller = Caller::connect(&platform.addresses, &calls).expect("the addresses are valid");
    let channel = platform.channel().addr;
    // Redis is shared with other runs, whose recorded answers must not be ours.
    let run = format!("crash-points-{:016x}", rand::random::<u64>());
    let shop = Shop::open(&caller, &receiver, &run, channel, SHOP).await.expect("a shop opens");
    let book: Arc<Book> = Arc::default();

    let log = platform.logs.join(format!("{service}-0.log"));
    let process = platform.replica(service, 0);
    let (mut playing, mut settling, played_out) = (JoinSet::new(), JoinSet::new(), CancellationToken::new());
    for (point, number) in points.iter().zip(0_u32..) {
        process.kill(Duration::ZERO, Platform::crash_at(point)).await;
        process.serving().await.expect("the armed process starts");
        for fault in channel_troubles() {
            caller.payer.add_fault(&fault).await.expect("a fault can be ordered");
        }
        for plan in journeys(u64::from(number) * 10) {
            let (caller, shop, book) = (caller.clone(), shop.clone(), book.clone());
            playing.spawn(async move { load::play(&caller, &shop, &book, SEED, plan).await });
        }
        if service == Service::Settlement {
            let (caller, shop, key) = (caller.clone(), shop.clone(), format!("{run}-{number}"));
            let played_out = played_out.clone();
            settling.spawn(async move { settle_batch(&caller, &shop, &key, &played_out).await });
        }
        // The next point need not wait for the journeys: a crash may hold them up for as long as a lease lasts.
        let begin = Instant::now();
        while process.exits().len() <= number as usize {
            assert!(begin.elapsed() < PATIENCE, "nobody comes to {point}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let said = std::fs::read_to_string(&log).expect("there is a log");
        assert!(said.contains(&format!("crash point {point}")), "{point}: {:?}", process.exits());
    }

    caller.payer.clear_faults(None).await.expect("faults can be lifted");
    calls.give_up_from(Instant::now() + 3 * PATIENCE);
    while let Some(played) = playing.join_next().await {
        played.expect("what is played does not panic");
    }
    played_out.cancel();
    while let Some(settled) = settling.join_next().await {
        settled.expect("what is settled does not panic");
    }
    assert_eq!(book.findings(), Vec::<String>::new());
    let verdict = settle(&caller, std::slice::from_ref(&shop), &book, &receiver, Instant::now()).await;
    let verdict = verdict.expect("everything can be read");
    assert!(verdict.is_clean(), "{verdict:#?}");
    assert_eq!(verdict.counts["journeys"], i64::try_from(points.len() * 4).expect("a few"));
    let audit = audit(caller.money_audit()).await.expect("the audit ends");
    if let Some(audit) = audit {
        assert_eq!(audit.disagreements, Vec::<String>::new());
    }
}

/// What an operator does at the end of a day: a batch, as soon as there is something to settle, and the comparison with
/// the channel's bill. When nobody plays any more, another batch may have taken all there is.
async fn settle_batch(caller: &Caller, shop: &Shop, key: &str, played_out: &CancellationToken) {
    let clock = tael_clock::Clock::system();
    for number in 0.. {
        let cut_off = prost_types::Timestamp { seconds: clock.now().as_second(), nanos: 0 };
        let close = CloseBatchRequest {
            merchant_id: shop.merchant_id.clone(),
            currency: "CNY".to_owned(),
            cut_off_time: Some(cut_off),
        };
        let key = format!("{key}-batch-{number}");
        let closed = caller
            .ask("CloseBatch", Some(&key), close, |mut c, r| async move { c.batches.close_batch(r).await })
            .await;
        match closed {
            Ok(_) => break,
            Err(status) if reason(&status).as_deref() == Some("NOTHING_TO_SETTLE") => {
                if played_out.is_cancelled() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Err(status) => panic!("no batch: {}", words(&status)),
        }
    }
    let zone = jiff::tz::TimeZone::get("Asia/Shanghai").expect("a known time zone");
    let reconcile = ReconcileRequest {
        merchant_id: shop.merchant_id.clone(),
        channel_account_id: shop.channel_account_id.clone(),
        statement_date: clock.now().to_zoned(zone).date().to_string(),
    };
    caller
        .ask("Reconcile", Some(&format!("{key}-bill")), reconcile, |mut c, r| async move {
            c.reconciliations.reconcile(r).await
        })
        .await
        .unwrap_or_else(|status| panic!("no reconciliation: {}", words(&status)));
}

/// So that the ways are taken that are only taken when an answer or a notification does not come.
fn channel_troubles() -> [AddFault; 4] {
    // Two journeys close, and the one that is paid afterwards must be among those to whom it is pretended.
    [
        AddFault::new(Fault::TimeOutAfter { hang_ms: 0 }).operation("alipay.trade.refund").times(1),
        AddFault::new(Fault::LoseNotification { attempts: Some(4) })
            .event(NotificationEvent::Payment)
            .times(1),
        AddFault::new(Fault::PretendClosed).operation("alipay.trade.close").times(2),
        AddFault::new(Fault::PretendClosed).operation("alipay.trade.cancel").times(2),
    ]
}

//! Every replica of every service is replaced while clients buy, as a rolling update does, and nobody notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tael_chaos::audit::audit;
use tael_chaos::caller::{Caller, Calls};
use tael_chaos::load::{self, Book, Kind, Plan};
use tael_chaos::platform::Reach;
use tael_chaos::processes::{Environment, Service};
use tael_chaos::receiver::Receiver;
use tael_chaos::run::settle;
use tael_chaos::shop::Shop;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::start;

const REPLICAS: usize = 2;
const CLIENTS: usize = 6;
const SHOPS: usize = 2;
const SEED: u64 = 7;
/// How long three journeys take to begin at most, before it is said that clients are stuck or have panicked.
const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_while_every_replica_is_replaced() {
    let mut platform = start("rolling_restart", REPLICAS, Reach::Direct, Environment::new()).await;
    let receiver = Receiver::start().await.expect("a receiver starts");
    let calls: Arc<Calls> = Arc::default();
    let caller = Caller::connect(&platform.addresses, &calls).expect("the addresses are valid");
    let run = format!("rolling-restart-{:016x}", rand::random::<u64>());
    let mut shops = Vec::new();
    for number in 0..SHOPS {
        let shop = Shop::open(&caller, &receiver, &run, platform.channel().addr, number).await;
        shops.push(shop.expect("a shop opens"));
    }
    let shops = Arc::new(shops);
    let book: Arc<Book> = Arc::default();

    let stop = CancellationToken::new();
    let next = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let caller = Caller::connect(&platform.addresses, &calls).expect("the addresses are valid");
        let (shops, book, stop, next) = (shops.clone(), book.clone(), stop.clone(), next.clone());
        clients.spawn(async move {
            while !stop.is_cancelled() {
                let plan = Plan::new(SEED, next.fetch_add(1, Ordering::Relaxed), SHOPS);
                // An order takes a minute to expire, and has nothing to do with restarts.
                if plan.kind != Kind::Expire {
                    load::play(&caller, &shops[plan.shop], &book, SEED, plan).await;
                }
            }
        });
    }
    for service in Service::ALL {
        for number in 0..REPLICAS {
            // Some journeys are on their way, and some have come through the replicas of before.
            let begun = next.load(Ordering::Relaxed);
            let some_begin = async {
                while next.load(Ordering::Relaxed) < begun + 3 {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(PATIENCE, some_begin).await.expect("clients go on buying");
            platform.replace(service, number).await.expect("a replica is replaced");
        }
    }
    stop.cancel();
    while let Some(played) = clients.join_next().await {
        played.expect("what is played does not panic");
    }

    assert_eq!(calls.counts().repeated, std::collections::BTreeMap::new(), "no call had to be repeated");
    assert_eq!(book.findings(), Vec::<String>::new());
    assert_eq!(platform.exits(), Vec::<String>::new());
    let verdict = settle(&caller, &shops, &book, &receiver, Instant::now()).await;
    let verdict = verdict.expect("everything can be read");
    assert!(verdict.is_clean(), "{verdict:#?}");
    assert!(verdict.counts["journeys"] >= 3 * 14, "{verdict:#?}");
    let audit = audit(caller.money_audit()).await.expect("the audit ends").expect("there is an audit");
    assert_eq!(audit.disagreements, Vec::<String>::new());
}

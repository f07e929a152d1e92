//! Several replicas of a service, and one caller.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tael_grpc::client::{Channel, Connector, Resolver, connect};
use tael_grpc::retry::{Budget, repeat};
use tael_grpc::server::{Limits, Readiness};
use tael_testkit::{Link, eventually};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::server::{Client, Server, message};

/// A server, and how often it was called.
struct Replica {
    server: Server,
    calls: Arc<AtomicUsize>,
}

impl Replica {
    async fn start() -> Self {
        Self::answering_after(Duration::ZERO).await
    }

    async fn answering_after(delay: Duration) -> Self {
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&calls);
        let server = Server::start(Limits::default(), Readiness::default(), move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
            async move {
                tokio::time::sleep(delay).await;
                Ok(())
            }
        })
        .await;
        Self { server, calls }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    fn addr(&self) -> SocketAddr {
        self.server.addr
    }

    /// Waits until it has been called once more.
    async fn is_called(&self) {
        let before = self.calls();
        eventually("a replica to be called", async || (self.calls() > before).then_some(())).await;
    }
}

fn channel_to(addrs: impl IntoIterator<Item = SocketAddr>) -> Channel {
    let urls: Vec<_> = addrs.into_iter().map(|addr| format!("http://{addr}")).collect();
    connect(&urls.join(",")).unwrap()
}

async fn call(channel: &Channel) -> Result<(), Status> {
    Client::new(channel.clone()).list_consumers(message()).await.map(drop)
}

/// RpcAccess that go on without a pause until they are told to end.
struct Load {
    callers: JoinSet<Vec<Status>>,
    ends: Arc<AtomicBool>,
}

impl Load {
    /// Each call is made once.
    fn plain(channel: &Channel) -> Self {
        Self::start(channel, async |channel, _| call(&channel).await)
    }

    /// Calls that find nobody are repeated, as our services do where it is safe.
    fn repeating(channel: &Channel) -> Self {
        Self::start(channel, async |channel, budget| repeat(&budget, || call(&channel)).await)
    }

    fn start<F>(channel: &Channel, call: impl Fn(Channel, Budget) -> F + Clone + Send + 'static) -> Self
    where
        F: Future<Output = Result<(), Status>> + Send,
    {
        let ends = Arc::new(AtomicBool::new(false));
        let budget = Budget::default();
        let mut callers = JoinSet::new();
        for _ in 0..8 {
            let (channel, call, ends, budget) = (channel.clone(), call.clone(), ends.clone(), budget.clone());
            callers.spawn(async move {
                let mut failed = Vec::new();
                while !ends.load(Ordering::Relaxed) {
                    failed.extend(call(channel.clone(), budget.clone()).await.err());
                }
                failed
            });
        }
        Self { callers, ends }
    }

    /// The calls that failed.
    async fn end(self) -> Vec<Status> {
        self.ends.store(true, Ordering::Relaxed);
        self.callers.join_all().await.concat()
    }
}

/// Names whose addresses a test chooses; none while it lets look-ups fail.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<(Option<Vec<SocketAddr>>, usize)>>);

impl Names {
    fn are(&self, addrs: impl IntoIterator<Item = SocketAddr>) {
        self.0.lock().unwrap().0 = Some(addrs.into_iter().collect());
    }

    fn can_t_be_looked_up(&self) {
        self.0.lock().unwrap().0 = None;
    }

    /// How often they were looked up.
    fn asked(&self) -> usize {
        self.0.lock().unwrap().1
    }

    fn channel(&self) -> Channel {
        let names = self.clone();
        let resolver = Resolver::new(move |name, _port| {
            assert_eq!(name, "service");
            let mut names = names.0.lock().unwrap();
            names.1 += 1;
            std::future::ready(names.0.clone().ok_or_else(|| io::Error::other("no name server")))
        });
        Connector::default().resolving(resolver).connect("http://service:50051").unwrap()
    }
}

#[tokio::test]
async fn calls_are_spread_over_all_replicas() {
    let replicas = [Replica::start().await, Replica::start().await, Replica::start().await];
    let channel = channel_to(replicas.iter().map(Replica::addr));
    eventually("all replicas to be called", async || {
        call(&channel).await.unwrap();
        replicas.iter().all(|replica| replica.calls() > 0).then_some(())
    })
    .await;
    let before = replicas.each_ref().map(Replica::calls);
    for _ in 0..300 {
        call(&channel).await.unwrap();
    }
    let calls: Vec<_> =
        replicas.iter().zip(before).map(|(replica, before)| replica.calls() - before).collect();
    // 100 each, give or take eight; far from it something is wrong.
    assert!(calls.iter().all(|calls| (50..=150).contains(calls)), "{calls:?}");
}

#[tokio::test]
async fn a_slow_replica_is_spared() {
    let [fast, slow] = [Replica::start().await, Replica::answering_after(Duration::from_millis(20)).await];
    let channel = channel_to([fast.addr(), slow.addr()]);
    let load = Load::plain(&channel);
    eventually("some calls", async || (slow.calls() > 50).then_some(())).await;
    assert!(load.end().await.is_empty());
    assert!(fast.calls() > 3 * slow.calls(), "fast {}, slow {}", fast.calls(), slow.calls());
}

#[tokio::test]
async fn replicas_are_replaced_under_load_without_a_failed_call() {
    let mut replicas = vec![Replica::start().await, Replica::start().await];
    let names = Names::default();
    names.are(replicas.iter().map(Replica::addr));
    let channel = names.channel();
    let load = Load::plain(&channel);
    for _ in 0..2 {
        // As Kubernetes does it: the new one is ready, then the old one is told to end.
        let new = Replica::start().await;
        names.are(replicas.iter().map(Replica::addr).chain([new.addr()]));
        new.is_called().await;
        let old = replicas.remove(0);
        replicas.push(new);
        // It is told before its address is forgotten, which is the worse order.
        old.server.stop().await;
        names.are(replicas.iter().map(Replica::addr));
    }
    let failed = load.end().await;
    assert!(failed.is_empty(), "{} failed, such as {:?}", failed.len(), failed[0]);
}

#[tokio::test]
async fn a_replica_that_dies_costs_no_call_that_may_be_repeated() {
    let replicas = [Replica::start().await, Replica::start().await, Replica::start().await];
    let mut link = Link::to(replicas[0].addr()).await;
    let channel = channel_to([link.addr(), replicas[1].addr(), replicas[2].addr()]);
    let load = Load::repeating(&channel);
    for replica in &replicas {
        replica.is_called().await;
    }
    link.cut().await;
    replicas[1].is_called().await;
    let failed = load.end().await;
    assert!(failed.is_empty(), "{} failed, such as {:?}", failed.len(), failed[0]);
    // It is not there, and no call has to find that out.
    for _ in 0..100 {
        call(&channel).await.unwrap();
    }
    link.restore().await;
    eventually("the replica to be called again", async || {
        let before = replicas[0].calls();
        call(&channel).await.unwrap();
        (replicas[0].calls() > before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_a_replica_the_caller_is_told_at_once() {
    let replica = Replica::start().await;
    let mut link = Link::to(replica.addr()).await;
    let channel = channel_to([link.addr()]);
    call(&channel).await.unwrap();
    link.cut().await;
    let names = Names::default();
    names.are([]);
    let began = Instant::now();
    for channel in [channel, names.channel(), channel_to(["127.0.0.1:1".parse().unwrap()])] {
        for _ in 0..3 {
            let failed = call(&channel).await.unwrap_err();
            assert_eq!(failed.code(), Code::Unavailable, "{failed:?}");
        }
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn addresses_are_looked_up_again_and_again() {
    let [first, second] = [Replica::start().await, Replica::start().await];
    let names = Names::default();
    names.are([]);
    let channel = names.channel();
    // Nobody is there yet.
    assert_eq!(call(&channel).await.unwrap_err().code(), Code::Unavailable);
    names.are([first.addr()]);
    eventually("the service to be found", async || call(&channel).await.ok()).await;
    // A name server that is away takes no service with it.
    names.can_t_be_looked_up();
    let load = Load::plain(&channel);
    tokio::time::sleep(Duration::from_secs(3)).await; // longer than the time between two look-ups
    names.are([first.addr(), second.addr()]);
    second.is_called().await;
    names.are([second.addr()]);
    eventually("the first one to be left alone", async || {
        let before = first.calls();
        second.is_called().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        (first.calls() == before).then_some(())
    })
    .await;
    assert!(load.end().await.is_empty());
}

#[tokio::test]
async fn a_call_waits_until_the_name_server_is_there() {
    let replica = Replica::start().await;
    let names = Names::default();
    let channel = names.channel();
    let calling = tokio::spawn(async move { call(&channel).await });
    eventually("a look-up that fails", async || (names.asked() > 0).then_some(())).await;
    names.are([replica.addr()]);
    calling.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_never_found_is_told_before_the_deadline() {
    let began = Instant::now();
    let unknown = call(&Names::default().channel()).await.unwrap_err();
    assert_eq!((unknown.code(), unknown.message()), (Code::Unavailable, "service can't be looked up"));
    assert_eq!(began.elapsed().as_secs(), 5);
}

#[tokio::test]
async fn a_name_server_that_hangs_holds_nobody_beyond_the_deadline() {
    let resolver = Resolver::new(|_, _| std::future::pending());
    let channel = Connector::default().resolving(resolver).connect("http://service:50051").unwrap();
    let mut request = message();
    request.set_timeout(Duration::from_millis(100));
    let began = Instant::now();
    let late = Client::new(channel).list_consumers(request).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

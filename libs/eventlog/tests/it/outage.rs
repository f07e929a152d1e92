use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tael_eventlog::{ConsumeError, Consumer};
use tael_grpc::client::connect;
use tael_grpc::server::{Limits, Readiness, bind};
use tael_testkit::eventually;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::service::Routes;

use crate::consume::{Noting, noted, target};
use crate::source::Source;

/// A process that was stopped, or a network that swallows everything: connections are taken and nothing is said.
#[tokio::test]
async fn a_source_that_hangs_is_given_up_soon() {
    let target = target().await;
    let hanging = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let channel = connect(&format!("http://{}", hanging.local_addr().unwrap())).unwrap();
    let mut consumer = Consumer::new("target", "source", channel, target.pool.clone(), Noting::default());
    let began = Instant::now();
    let failed = consumer.run_once().await.unwrap_err();
    // Who says nothing counts as not connected.
    assert!(
        matches!(&failed, ConsumeError::Read(status) if status.code() == Code::Unavailable),
        "{failed:?}"
    );
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    drop(hanging);
}

/// The source ends and comes back at the same address, while events keep coming.
#[tokio::test]
async fn a_consumer_goes_on_soon_after_its_source_was_away() {
    let (source, target) = (Source::start().await, target().await);
    let serve = async |addr: SocketAddr| {
        let bound =
            eventually("the address to be free", async || bind(addr, Limits::default()).await.ok()).await;
        let (addr, stop) = (bound.addr(), CancellationToken::new());
        let routes = Routes::new(source.log.server());
        let serving = tokio::spawn(bound.serve(routes, Readiness::default(), stop.clone().cancelled_owned()));
        (addr, stop, serving)
    };
    let (addr, stop, serving) = serve(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await;
    let channel = connect(&format!("http://{addr}")).unwrap();
    let consumer = Consumer::new("target", "source", channel, target.pool.clone(), Noting::default());
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(consumer.run(shutdown.clone()));
    let effects = async |count: usize| {
        eventually("the effects", async || (noted(&target.pool).await.len() == count).then_some(())).await;
    };
    source.commit(&["before"]).await;
    effects(1).await;

    stop.cancel();
    source.commit(&["last"]).await; // answers the reader, if it waits already
    serving.await.unwrap().unwrap();
    // Until its pauses are as long as they get.
    for n in 0..40 {
        source.commit(&[n.to_string()]).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(noted(&target.pool).await.len() <= 2, "the source is away");
    let (_, stop, serving) = serve(addr).await;
    let back = Instant::now();
    effects(42).await;
    assert!(back.elapsed() < Duration::from_secs(4), "{:?}", back.elapsed());
    shutdown.cancel();
    running.await.unwrap();
    stop.cancel();
    serving.await.unwrap().unwrap();
}

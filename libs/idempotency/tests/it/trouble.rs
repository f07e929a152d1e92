//! Redis in trouble for a moment, while a call is in progress or begins.

use std::net::Ipv4Addr;
use std::time::Duration;

use redis::AsyncCommands as _;
use secrecy::{ExposeSecret as _, SecretString};
use tael_idempotency::Idempotency;
use tael_testkit::{eventually, redis_url};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tonic::Status;

use crate::run::begin;
use crate::{Effect, call, idempotency, is_replayed, message, new_key, redis, redis_key};

/// Makes a call fail at Redis, so that Redis is left alone for a second.
async fn hiccup(idempotency: &Idempotency) {
    let (key, mut redis) = (new_key(), redis().await);
    let _: () = redis.set(redis_key(&key), "not a hash").await.unwrap();
    Effect::default().run(idempotency, call(&key, 7)).await.unwrap();
    let _: i64 = redis.del(redis_key(&key)).await.unwrap();
}

#[tokio::test]
async fn an_answer_is_recorded_although_another_call_met_trouble() {
    let (idempotency, effect, key) = (idempotency(), Effect::default(), new_key());
    let (running, go_on) = begin(&idempotency, call(&key, 7), &effect).await;
    hiccup(&idempotency).await;
    go_on.add_permits(1);
    running.await.unwrap().unwrap();
    let again = effect.run(&crate::idempotency(), call(&key, 7)).await.unwrap();
    assert!(is_replayed(&again));
    assert_eq!(again.get_ref(), &message(1));
}

#[tokio::test]
async fn a_key_is_given_back_although_another_call_met_trouble() {
    let (idempotency, effect, key) = (idempotency(), Effect::default(), new_key());
    let (running, go_on) = begin(&idempotency, call(&key, 7), &effect).await;
    hiccup(&idempotency).await;
    go_on.close(); // the call fails
    running.await.unwrap().unwrap_err();
    until_free(&key).await;
}

/// A call that met trouble answers before it gives its key back.
async fn until_free(key: &str) {
    eventually("the key to be given back", async || {
        let held: bool = redis().await.exists(redis_key(key)).await.unwrap();
        (!held).then_some(())
    })
    .await;
}

/// Stands before the Redis of the tests. While `open` is false its answers are kept back; what it is asked passes.
async fn proxy(open: watch::Receiver<bool>) -> SecretString {
    let mut target = redis::parse_redis_url(redis_url().expose_secret()).unwrap();
    let redis = format!("{}:{}", target.host_str().unwrap(), target.port().unwrap_or(6379));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    target.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
    target.set_host(Some("127.0.0.1")).unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (mut asks, mut hears) = client.into_split();
            let (mut answers, mut asked) = TcpStream::connect(&redis).await.unwrap().into_split();
            tokio::spawn(async move { copy(&mut asks, &mut asked).await });
            let mut open = open.clone();
            tokio::spawn(async move {
                let mut bytes = [0; 4096];
                while let Ok(n @ 1..) = answers.read(&mut bytes).await {
                    if open.wait_for(|open| *open).await.is_err()
                        || hears.write_all(&bytes[..n]).await.is_err()
                    {
                        break;
                    }
                }
            });
        }
    });
    target.to_string().into()
}

#[tokio::test]
async fn a_key_that_was_taken_without_our_hearing_of_it_is_given_back() {
    let (open, is_open) = watch::channel(true);
    let (idempotency, effect) = (Idempotency::connect(&proxy(is_open).await).unwrap(), Effect::default());
    // Redis knows the scripts afterwards; a script it has to be sent first would need an answer in between.
    let failing = |_| async { Err::<_, Status>(Status::unavailable("not now")) };
    idempotency.run::<tael_proto::r#type::v1::Money, _, _>(call(&new_key(), 7), failing).await.unwrap_err();

    let key = new_key();
    open.send_replace(false);
    let (running, go_on) = begin(&idempotency, call(&key, 7), &effect).await;
    let held: bool = redis().await.exists(redis_key(&key)).await.unwrap();
    assert!(held, "taken after all");
    go_on.add_permits(1);
    assert!(!is_replayed(&running.await.unwrap().unwrap()));
    until_free(&key).await;
    // Long before the lease would have ended, a repetition runs and meets the database guard.
    let repeated = crate::idempotency();
    let again = timeout(Duration::from_secs(3), effect.run(&repeated, call(&key, 7))).await.unwrap().unwrap();
    assert!(!is_replayed(&again));
    assert_eq!(effect.count(), 2);
}

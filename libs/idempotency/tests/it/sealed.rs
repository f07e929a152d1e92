//! What of an answer lies in Redis, and how much.

use std::collections::HashMap;
use std::sync::Arc;

use redis::AsyncCommands as _;
use tael_idempotency::{Call, Idempotency, REPLAYED};
use tael_proto::order::v1::{NewLine, Order, OrderLine};
use tael_proto::r#type::v1::Money;
use tael_sealed::Keyring;
use tonic::Response;

use crate::{idempotency, is_replayed, message, new_key, redis, redis_key};

const SECRET: &str = "7H3V0UCH-3RC0DE77";

/// An order as it is answered: each line with ids, a name and a bearer code of its own.
fn order(lines: u32) -> Order {
    let money = |minor| Some(Money { currency: "CNY".to_owned(), minor });
    let line = |number: u32| OrderLine {
        line_id: format!("lin_{}", new_key()),
        name: format!("{SECRET} Longjing tea, box number {number}"),
        unit_price: money(1_500 + i64::from(number)),
        ..OrderLine::default()
    };
    Order {
        order_id: format!("ord_{}", new_key()),
        lines: (0..lines).map(line).collect(),
        ..Order::default()
    }
}

async fn run(idempotency: &Idempotency, key: &str, answer: &Order) -> Response<Order> {
    let (call, answer) = (Call::with_key(&"tester", "Do", key, &NewLine::default()), answer.clone());
    idempotency.run(call, |_| async move { Ok(answer) }).await.unwrap()
}

async fn record(key: &str) -> HashMap<String, Vec<u8>> {
    redis().await.hgetall(redis_key(key)).await.unwrap()
}

#[tokio::test]
async fn a_recorded_answer_is_sealed_and_small() {
    let sealed = idempotency().sealed_by(Arc::new(Keyring::generate()));
    let (key, answer) = (new_key(), order(100));
    assert_eq!(run(&sealed, &key, &answer).await.get_ref(), &answer);
    let stored = record(&key).await;
    let all: Vec<u8> = stored.values().flatten().copied().collect();
    assert!(!all.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()), "readable in Redis");
    let plain = prost::Message::encoded_len(&answer);
    assert!(all.len() * 2 < plain, "{} bytes of {plain}", all.len());

    let again = run(&sealed, &key, &Order::default()).await;
    assert!(was_replayed(&again));
    assert_eq!(again.get_ref(), &answer);
    // Who lacks the key works again: the database guard decides.
    let stranger = idempotency().sealed_by(Arc::new(Keyring::generate()));
    assert!(!was_replayed(&run(&stranger, &key, &Order::default()).await));
}

fn was_replayed<T>(answer: &Response<T>) -> bool {
    answer.metadata().get(REPLAYED).is_some()
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_not_recorded_and_its_key_is_free() {
    let sealed = idempotency().sealed_by(Arc::new(Keyring::generate()));
    let (key, answer) = (new_key(), order(5_000));
    run(&sealed, &key, &answer).await;
    assert!(record(&key).await.is_empty());
    assert!(!was_replayed(&run(&sealed, &key, &answer).await), "made anew");
}

#[tokio::test]
async fn one_caller_cannot_fill_redis() {
    let small = idempotency().with_quota(100);
    let caller = new_key();
    let run = async |caller: &str, key: &str| {
        let call = Call::with_key(&caller, "Do", key, &message(7));
        small.run(call, |_| async { Ok(message(1)) }).await.unwrap()
    };
    let keys: Vec<String> = (0..40).map(|_| new_key()).collect();
    for key in &keys {
        assert!(!is_replayed(&run(&caller, key).await));
    }
    let mut recorded = 0;
    for key in &keys {
        recorded += u32::from(is_replayed(&run(&caller, key).await));
    }
    assert!((1..20).contains(&recorded), "{recorded} of 40 answers were recorded");
    let (other, key) = (new_key(), new_key());
    run(&other, &key).await;
    assert!(is_replayed(&run(&other, &key).await), "another caller has a quota of his own");
}

//! How many events the ledger posts per second: a log of payments of one merchant, whose accounts are the hottest rows
//! there can be, read over gRPC in batches of 500 and posted to PostgreSQL.
//!
//! `cargo bench -p tael-settlement`, with `TAEL_DATABASE_URL` and `TAEL_REDIS_URL` as for the tests.

#[path = "../tests/it/fixture.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "written for the tests, which use more of it")]
mod fixture;
#[path = "../tests/it/peers.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "written for the tests, which use more of it")]
mod peers;

use std::time::Instant;

use fixture::{Paid, Refunded};

const EVENTS: u32 = 20_000;
const ROUNDS: u32 = 3;

#[tokio::main]
async fn main() {
    let fixture = fixture::start().await;
    let shop = fixture.shop_with_rates("0.006", "0.0038").await;
    fixture.happen([shop.paid(1).event()]).await; // connections, plans and accounts exist
    for round in 1..=ROUNDS {
        let payments: Vec<_> = (0..EVENTS).map(|_| shop.paid(10_000)).collect();
        report(&fixture, &format!("round {round}, payments"), payments.iter().map(Paid::event)).await;
        let refunds: Vec<_> = payments.iter().map(|p| p.refunded(2_500, 2_500)).collect();
        report(&fixture, &format!("round {round}, refunds"), refunds.iter().map(Refunded::event)).await;
        report(&fixture, &format!("round {round}, refunds again"), refunds.iter().map(Refunded::event)).await;
    }
    fixture.checked().await;
}

async fn report(
    fixture: &fixture::Fixture,
    what: &str,
    events: impl IntoIterator<Item = tael_proto::event::v1::Event>,
) {
    let events: Vec<_> = events.into_iter().collect();
    let begin = Instant::now();
    fixture.happen(events).await;
    let elapsed = begin.elapsed();
    let per_second = u128::from(EVENTS) * 1_000_000 / elapsed.as_micros();
    println!("{what}: {EVENTS} events in {} ms, {per_second} per second", elapsed.as_millis());
}

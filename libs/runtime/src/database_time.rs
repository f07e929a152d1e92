//! A service's clock shows its database's time. Replicas on machines whose clocks differ then agree on what is due, and
//! an order does not expire early because one of them is ahead.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sqlx::PgPool;
use tael_clock::Clock;
use tokio::time::Instant;

/// How often the clocks are compared.
const EVERY: Duration = Duration::from_secs(10);
/// How long the database has for its answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// From here on the machine's clock is worth a warning.
const WORTH_TELLING: SignedDuration = SignedDuration::from_secs(1);

/// Compares the clock with the database's once, and sets it.
pub(crate) async fn set(clock: &Clock, pool: &PgPool) -> Result<(), sqlx::Error> {
    let asked = Instant::now();
    let micros: i64 = sqlx::query_scalar("select (extract(epoch from clock_timestamp()) * 1000000)::bigint")
        .fetch_one(pool)
        .await?;
    let round_trip = SignedDuration::try_from(asked.elapsed()).unwrap_or(SignedDuration::MAX);
    let Ok(time) = Timestamp::from_microsecond(micros) else { return Ok(()) };
    let Ok(time) = time.checked_add(round_trip / 2) else { return Ok(()) };
    // What lies within the time of the question itself is no difference.
    if time.duration_since(clock.now()).abs() <= round_trip {
        return Ok(());
    }
    let behind = clock.set_to(time);
    if behind.abs() >= WORTH_TELLING {
        tracing::warn!(behind_ms = behind.as_millis(), "the clock was not the database's; it is now");
    }
    Ok(())
}

/// Compares again and again until the pool is closed. While the database does not answer, the clock runs on.
pub(crate) async fn follow(clock: Clock, pool: PgPool) {
    let compare = async {
        loop {
            tokio::time::sleep(EVERY).await;
            if let Err(error) = tael_postgres::within(PATIENCE, set(&clock, &pool)).await {
                tracing::debug!(%error, "the database's time could not be asked for");
            }
        }
    };
    tokio::select! {
        () = compare => {}
        () = pool.close_event() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_clock_that_is_an_hour_off_is_set_right() {
        let database = tael_testkit::TestDatabase::create().await;
        let pool = database.pool();
        let clock = Clock::system();
        set(&clock, &pool).await.unwrap();
        for wrong in [SignedDuration::from_hours(1), SignedDuration::from_hours(-1)] {
            let right = clock.now();
            clock.set_to(right + wrong);
            set(&clock, &pool).await.unwrap();
            let off = clock.now().duration_since(right);
            assert!(off.abs() < SignedDuration::from_mins(1), "still {off} off");
        }
    }
}

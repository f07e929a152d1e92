//! How far a log may be read while transactions run.
//!
//! `pg_snapshot_xmin` is the oldest transaction that runs in any database of the server: a long one of a neighbour
//! would hold back everybody's events. What matters here are the transactions of this database alone, and they can
//! be told apart, with care for the order of the looks:
//!
//! 1. A snapshot's `xmax`: every transaction below it has its id, and is listed as running until it has ended.
//! 2. The ids of the transactions that run in this database. One below `xmax` that is not among them has ended, or
//!    belongs to another database.
//! 3. Only then the events: whatever ended before step 2 is visible to them.
//!
//! So below both `xmax` and the oldest id of step 2 nothing can appear any more.

use sqlx::PgPool;

/// Returns the horizon below which the log can be read, given the `xmax` of step 1. None when it can't be told who is
/// running.
pub(crate) async fn own_horizon(pool: &PgPool, xmax: i64) -> Result<Option<i64>, sqlx::Error> {
    // Sessions of roles that we may not look at show no id; then nothing is known of them, as of the owner's that
    // migrates, or an operator's. A role with `pg_read_all_stats` sees them all; without it such a session costs no
    // more than time, while another database of the server has a long transaction.
    let running = sqlx::query!(
        r#"select coalesce(bool_or(a.backend_start is null), false) as "veiled!",
                  array(
                      select b.backend_xid::text::bigint from pg_stat_activity b
                      where b.datname = current_database() and b.backend_xid is not null
                      union all
                      select p.transaction::text::bigint from pg_prepared_xacts p
                      where p.database = current_database()
                  ) as "ids!"
           from pg_stat_activity a where a.datname = current_database()"#
    )
    .fetch_one(pool)
    .await?;
    Ok((!running.veiled).then(|| oldest(xmax, &running.ids)))
}

/// The smaller of `xmax` and the oldest running transaction, whose ids are the lower 32 bits only. They are within
/// 2³¹ of `xmax`, as PostgreSQL itself demands of running transactions.
fn oldest(xmax: i64, running: &[i64]) -> i64 {
    let low = |id: i64| u32::try_from(id & 0xffff_ffff).expect("masked to 32 bits");
    running
        .iter()
        .map(|&id| i64::from(low(id).wrapping_sub(low(xmax)).cast_signed()))
        .filter(|distance| *distance < 0)
        .min()
        .map_or(xmax, |distance| xmax + distance)
}

#[cfg(test)]
mod tests {
    use super::oldest;

    const EPOCH: i64 = 1 << 32;

    #[test]
    fn the_horizon_is_the_oldest_running_transaction() {
        assert_eq!(oldest(100, &[]), 100);
        assert_eq!(oldest(100, &[99, 42, 77]), 42);
        // Begun after the snapshot: of no concern.
        assert_eq!(oldest(100, &[100, 200]), 100);
        // In a later epoch, and across its beginning.
        assert_eq!(oldest(3 * EPOCH + 100, &[42]), 3 * EPOCH + 42);
        assert_eq!(oldest(3 * EPOCH + 5, &[EPOCH - 7]), 3 * EPOCH - 7);
        assert_eq!(oldest(3 * EPOCH - 7, &[5]), 3 * EPOCH - 7);
    }
}

//! Reading a log up to where nothing can appear any more.

use prost::Message as _;
use sqlx::PgPool;
use tael_ids::{EventId, MerchantId};
use tael_proto::event::v1::{Cursor, Event, Payload};
use uuid::Uuid;

use crate::horizon;

/// Some events of a log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The events in log order.
    pub events: Vec<Event>,
    /// The sequence number of the log's newest event, 0 when it never had one.
    pub head_sequence: u64,
}

/// Why a log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Retention has removed events after the cursor, the last of them at this position.
    #[error("events after the cursor were removed")]
    Removed(Cursor),
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

/// Reads at most `limit` events after the cursor.
///
/// Every statement that reads events also looks, by the same snapshot, whether any after the cursor were removed, and
/// finds none then: a gap is never read over.
pub(crate) async fn read(pool: &PgPool, after: Cursor, limit: u32) -> Result<Page, ReadError> {
    let settled = read_settled(pool, after, limit).await?;
    if !settled.is_empty() {
        return Ok(page(settled)?);
    }
    let position = look(pool, after).await?;
    if let (Some(tx), Some(seq)) = (position.removed_tx, position.removed_seq) {
        return Err(ReadError::Removed(cursor(tx, seq)));
    }
    if position.hidden
        && let Some(horizon) = horizon::own_horizon(pool, position.xmax).await?
    {
        let below = read_below(pool, after, horizon, limit).await?;
        if !below.is_empty() {
            return Ok(page(below)?);
        }
    }
    Ok(Page { events: Vec::new(), head_sequence: position.head.cast_unsigned() })
}

/// What there is to know about a position after which nothing could be read.
struct Position {
    /// An upper bound of the transactions that have begun.
    xmax: i64,
    /// Whether there are events behind a transaction that runs.
    hidden: bool,
    /// The newest event's number.
    head: i64,
    /// Up to where events were removed, when that is after the position.
    removed_tx: Option<i64>,
    removed_seq: Option<i64>,
}

async fn look(pool: &PgPool, after: Cursor) -> Result<Position, sqlx::Error> {
    sqlx::query_as!(
        Position,
        r#"select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as "xmax!",
                  exists (select from event_log where (tx, seq) > ($1::bigint::text::xid8, $2)) as "hidden!",
                  coalesce((select max(seq) from event_log), (select seq from event_removed), 0) as "head!",
                  r.tx as "removed_tx?", r.seq as "removed_seq?"
           from (select) here left join event_removed r on (r.tx, r.seq) > ($1::bigint, $2::bigint)"#,
        after.transaction.cast_signed(),
        after.sequence.cast_signed(),
    )
    .fetch_one(pool)
    .await
}

/// Reads below the oldest transaction that runs anywhere on the server: one statement, enough most of the time.
async fn read_settled(pool: &PgPool, after: Cursor, limit: u32) -> Result<Vec<EventRow>, sqlx::Error> {
    sqlx::query_as!(
        EventRow,
        r#"select seq, tx::text::bigint as "tx!", event_id, merchant_id, aggregate_id, payload, traceparent,
                  occur_time, (select max(seq) from event_log) as "head!"
           from event_log
           where (tx, seq) > ($1::bigint::text::xid8, $2) and tx < pg_snapshot_xmin(pg_current_snapshot())
             and not exists (select from event_removed r where (r.tx, r.seq) > ($1::bigint, $2::bigint))
           order by tx, seq
           limit $3"#,
        after.transaction.cast_signed(),
        after.sequence.cast_signed(),
        i64::from(limit),
    )
    .fetch_all(pool)
    .await
}

async fn read_below(
    pool: &PgPool,
    after: Cursor,
    horizon: i64,
    limit: u32,
) -> Result<Vec<EventRow>, sqlx::Error> {
    sqlx::query_as!(
        EventRow,
        r#"select seq, tx::text::bigint as "tx!", event_id, merchant_id, aggregate_id, payload, traceparent,
                  occur_time, (select max(seq) from event_log) as "head!"
           from event_log
           where (tx, seq) > ($1::bigint::text::xid8, $2) and tx < $3::bigint::text::xid8
             and not exists (select from event_removed r where (r.tx, r.seq) > ($1::bigint, $2::bigint))
           order by tx, seq
           limit $4"#,
        after.transaction.cast_signed(),
        after.sequence.cast_signed(),
        horizon,
        i64::from(limit),
    )
    .fetch_all(pool)
    .await
}

struct EventRow {
    seq: i64,
    tx: i64,
    event_id: Uuid,
    merchant_id: Uuid,
    aggregate_id: String,
    payload: Vec<u8>,
    traceparent: String,
    occur_time: jiff_sqlx::Timestamp,
    /// The newest event's number, the same in every row.
    head: i64,
}

fn page(rows: Vec<EventRow>) -> Result<Page, sqlx::Error> {
    let head_sequence = rows.first().map_or(0, |row| row.head).cast_unsigned();
    let events = rows.into_iter().map(Event::try_from).collect::<Result<_, _>>()?;
    Ok(Page { events, head_sequence })
}

impl TryFrom<EventRow> for Event {
    type Error = sqlx::Error;

    fn try_from(row: EventRow) -> Result<Self, sqlx::Error> {
        let payload =
            Payload::decode(row.payload.as_slice()).map_err(|e| sqlx::Error::Decode(Box::new(e)))?;
        Ok(Self {
            event_id: EventId::from_uuid(row.event_id).to_string(),
            cursor: Some(cursor(row.tx, row.seq)),
            merchant_id: MerchantId::from_uuid(row.merchant_id).to_string(),
            aggregate_id: row.aggregate_id,
            occur_time: Some(tael_grpc::convert::timestamp(row.occur_time.to_jiff())),
            traceparent: row.traceparent,
            payload: Some(payload),
        })
    }
}

/// A position as it is stored.
pub(crate) fn cursor(tx: i64, seq: i64) -> Cursor {
    Cursor { transaction: tx.cast_unsigned(), sequence: seq.cast_unsigned() }
}

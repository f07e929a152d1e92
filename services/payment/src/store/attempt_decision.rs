//! Table `attempt_decision`.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::{PgConnection, PgPool};
use tael_ids::{AttemptDecisionId, AttemptId, MerchantId, PaymentId};
use tael_postgres::InconsistentRow;
use uuid::Uuid;

use super::{expect_one, unknown};
use crate::domain::attempt_decision::{AttemptDecision, DecisionState};

/// What says that an attempt awaits another decision.
pub(crate) const ONE_OPEN: &str = "attempt_decision_open";

struct DecisionRow {
    merchant_id: Uuid,
    decision_id: Uuid,
    payment_id: Uuid,
    attempt_id: Uuid,
    state: String,
    reason: String,
    requested_by: String,
    request_time: jiff_sqlx::Timestamp,
    decided_by: Option<String>,
    decide_time: Option<jiff_sqlx::Timestamp>,
}

impl TryFrom<DecisionRow> for AttemptDecision {
    type Error = InconsistentRow;

    fn try_from(row: DecisionRow) -> Result<Self, InconsistentRow> {
        let id = AttemptDecisionId::from_uuid(row.decision_id);
        let decided = row.decided_by.zip(row.decide_time.map(jiff_sqlx::Timestamp::to_jiff));
        let state = match (row.state.as_str(), decided) {
            ("requested", None) => DecisionState::Requested,
            ("approved", Some((by, time))) => DecisionState::Approved { by, time },
            ("rejected", Some((by, time))) => DecisionState::Rejected { by, time },
            (state, _) => return Err(unknown("attempt_decision", "state", &id.to_string(), state)),
        };
        Ok(Self {
            merchant_id: MerchantId::from_uuid(row.merchant_id),
            id,
            payment_id: PaymentId::from_uuid(row.payment_id),
            attempt_id: AttemptId::from_uuid(row.attempt_id),
            state,
            reason: row.reason,
            requested_by: row.requested_by,
            request_time: row.request_time.to_jiff(),
        })
    }
}

/// Selects decisions.
macro_rules! select_decisions {
    ($rest:literal, $($arg:tt)*) => {
        sqlx::query_as!(
            DecisionRow,
            "select merchant_id, decision_id, payment_id, attempt_id, state, reason, requested_by, request_time,
                    decided_by, decide_time
             from attempt_decision " + $rest,
            $($arg)*
        )
    };
}

/// Inserts a decision that is asked for. Violates [`ONE_OPEN`] when the attempt awaits another one.
#[tracing::instrument(name = "db.attempt_decision.insert", skip_all)]
pub(crate) async fn insert(pool: &PgPool, decision: &AttemptDecision) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into attempt_decision (merchant_id, decision_id, payment_id, attempt_id, state, reason, requested_by,
                                       request_time)
         values ($1, $2, $3, $4, 'requested', $5, $6, $7)",
        decision.merchant_id.uuid(),
        decision.id.uuid(),
        decision.payment_id.uuid(),
        decision.attempt_id.uuid(),
        decision.reason,
        decision.requested_by,
        decision.request_time.to_sqlx() as _,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Records what a second person says of a decision that was asked for.
#[tracing::instrument(name = "db.attempt_decision.decide", skip_all)]
pub(crate) async fn decide(
    conn: &mut PgConnection,
    decision: &AttemptDecision,
    state: &'static str,
    by: &str,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let updated = sqlx::query!(
        "update attempt_decision set state = $3, decided_by = $4, decide_time = $5
         where merchant_id = $1 and decision_id = $2 and state = 'requested'",
        decision.merchant_id.uuid(),
        decision.id.uuid(),
        state,
        by,
        now.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(expect_one("attempt_decision", &decision.id, &updated)?)
}

/// Returns a decision and keeps others from changing it until the transaction ends.
#[tracing::instrument(name = "db.attempt_decision.lock", skip_all)]
pub(crate) async fn lock(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    id: AttemptDecisionId,
) -> Result<Option<AttemptDecision>, sqlx::Error> {
    select_decisions!("where merchant_id = $1 and decision_id = $2 for update", merchant_id.uuid(), id.uuid())
        .fetch_optional(conn)
        .await?
        .map(AttemptDecision::try_from)
        .transpose()
        .map_err(Into::into)
}

/// Returns the decision that an attempt awaits.
#[tracing::instrument(name = "db.attempt_decision.open_of", skip_all)]
pub(crate) async fn open_of(
    pool: &PgPool,
    merchant_id: MerchantId,
    attempt_id: AttemptId,
) -> Result<Option<AttemptDecision>, sqlx::Error> {
    select_decisions!(
        "where merchant_id = $1 and attempt_id = $2 and state = 'requested'",
        merchant_id.uuid(),
        attempt_id.uuid()
    )
    .fetch_optional(pool)
    .await?
    .map(AttemptDecision::try_from)
    .transpose()
    .map_err(Into::into)
}

/// Returns at most `limit` of a merchant's decisions, newest first, after the one given.
#[tracing::instrument(name = "db.attempt_decision.list", skip_all)]
pub(crate) async fn list(
    pool: &PgPool,
    merchant_id: MerchantId,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<AttemptDecision>, sqlx::Error> {
    let rows = select_decisions!(
        "where merchant_id = $1 and ($2::uuid is null or decision_id < $2) order by decision_id desc limit $3",
        merchant_id.uuid(),
        after,
        limit
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(|row| row.try_into().map_err(Into::into)).collect()
}

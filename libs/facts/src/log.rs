//! The facts of the event tables that every service has.

use prost::Message as _;
use sqlx::PgPool;
use tael_ids::{EventId, MerchantId};
use tael_proto::audit::v1::fact::Fact;
use tael_proto::audit::v1::{DeadLetterFact, EventFact, LogStartFact};
use tael_proto::event::v1::payload::Kind;
use tael_proto::event::v1::{Event, Payload};
use tael_proto::r#type::v1::Money;
use uuid::Uuid;

use crate::{FactRow, Range, time};

/// The events of the own log. By id, which is the order of their making: the log's own order begins anew with every
/// transaction that was open for long.
pub(crate) async fn events(pool: &PgPool, range: Range) -> Result<Vec<FactRow>, sqlx::Error> {
    let rows = sqlx::query!(
        "select merchant_id, event_id, aggregate_id, kind, payload, occur_time from event_log
         where event_id > $2 and merchant_id between $1 and $3
         order by event_id limit $4",
        if range.last_merchant == Uuid::max() { Uuid::nil() } else { range.last_merchant },
        range.after_id,
        range.last_merchant,
        range.limit,
    )
    .fetch_all(pool)
    .await?;
    let found = rows.into_iter().map(|row| {
        let payload = Payload::decode(row.payload.as_slice()).unwrap_or_default();
        let money_of = payload.kind.as_ref().map(event_money).unwrap_or_default();
        let fact = EventFact {
            event_id: EventId::from_uuid(row.event_id).to_string(),
            kind: row.kind,
            aggregate_id: row.aggregate_id,
            payment_id: money_of.payment_id,
            refund_id: money_of.refund_id,
            amount: money_of.amount,
            flag: money_of.flag,
            occur_time: time(row.occur_time),
        };
        FactRow { merchant_id: row.merchant_id, id: row.event_id, fact: Fact::Event(fact) }
    });
    Ok(found.collect())
}

/// The events of other services that could not be applied.
pub(crate) async fn dead_letters(pool: &PgPool, range: Range) -> Result<Vec<FactRow>, sqlx::Error> {
    let rows = sqlx::query!(
        "select source, event_id, event, error from event_set_aside
         where event_id > $1 order by event_id, source limit $2",
        range.after_id,
        range.limit,
    )
    .fetch_all(pool)
    .await?;
    let found = rows.into_iter().map(|row| {
        // Whatever it is, it is told of: an event that can't be read has no merchant.
        let event = Event::decode(row.event.as_slice()).unwrap_or_default();
        let fact = DeadLetterFact {
            source: row.source,
            event_id: EventId::from_uuid(row.event_id).to_string(),
            error: row.error,
        };
        let merchant_id = event.merchant_id.parse().map_or(Uuid::nil(), MerchantId::uuid);
        FactRow { merchant_id, id: row.event_id, fact: Fact::DeadLetter(fact) }
    });
    Ok(found.collect())
}

/// Where the log begins: one fact on the first page.
pub(crate) async fn start(pool: &PgPool, range: Range) -> Result<Vec<FactRow>, sqlx::Error> {
    if !range.after_id.is_nil() {
        return Ok(Vec::new());
    }
    let removed = sqlx::query_scalar!(r#"select exists (select from event_removed) as "removed!""#);
    let events_removed = removed.fetch_one(pool).await?;
    let first = sqlx::query_scalar!("select occur_time from event_log order by tx, seq limit 1");
    let first_occur_time = first.fetch_optional(pool).await?.and_then(time);
    let fact = LogStartFact { events_removed, first_occur_time };
    Ok(vec![FactRow { merchant_id: Uuid::nil(), id: Uuid::max(), fact: Fact::LogStart(fact) }])
}

/// What an event says about money.
#[derive(Default)]
struct EventMoney {
    payment_id: String,
    refund_id: String,
    amount: Option<Money>,
    flag: bool,
}

fn event_money(kind: &Kind) -> EventMoney {
    let of = |payment_id: &str, refund_id: &str, amount: &Option<Money>, flag| EventMoney {
        payment_id: payment_id.to_owned(),
        refund_id: refund_id.to_owned(),
        amount: amount.clone(),
        flag,
    };
    match kind {
        Kind::OrderPaid(e) => of(&e.payment_id, "", &e.amount, false),
        Kind::OrderPaymentHeld(e) => of(&e.payment_id, "", &e.amount, false),
        Kind::OrderPaymentReleased(e) => of(&e.payment_id, "", &e.amount, e.accepted),
        // The sum so far, not what this refund moved.
        Kind::OrderRefunded(e) => of("", &e.refund_id, &None, false),
        Kind::PaymentCreated(e) => of(&e.payment_id, "", &e.amount, false),
        Kind::PaymentSucceeded(e) => of(&e.payment_id, "", &e.amount, e.reversed),
        Kind::PaymentClosed(e) => of(&e.payment_id, "", &None, false),
        Kind::PaymentFailed(e) => of(&e.payment_id, "", &None, false),
        Kind::PaymentRefunded(e) => of(&e.payment_id, &e.refund_id, &e.amount, e.reversal),
        Kind::PaymentRefundFailed(e) => of(&e.payment_id, &e.refund_id, &e.amount, false),
        Kind::PaymentIntegrityAlertRaised(e) => of(&e.payment_id, "", &None, false),
        Kind::RefundCreated(e) => of(&e.payment_id, &e.refund_id, &e.amount, false),
        Kind::RefundSucceeded(e) => of(&e.payment_id, &e.refund_id, &e.amount, false),
        Kind::RefundFailed(e) => of(&e.payment_id, &e.refund_id, &e.amount, false),
        Kind::OrderCreated(e) => of("", "", &e.total, false),
        Kind::BatchClosed(e) => of("", "", &e.net, false),
        Kind::MerchantRegistered(_)
        | Kind::MerchantApproved(_)
        | Kind::OrderCancelled(_)
        | Kind::OrderExpired(_)
        | Kind::VoucherIssued(_)
        | Kind::VoucherRedeemed(_) => EventMoney::default(),
    }
}

//! Rows for the money audit, as they stand.

use sqlx::PgPool;
use tael_facts::{FactRow, Range, time};
use tael_ids::{DeliveryId, EventId, WebhookEndpointId};
use tael_proto::audit::v1::fact::Fact;
use tael_proto::audit::v1::{DeliveryFact, WebhookEndpointFact};

#[tracing::instrument(name = "db.fact.endpoints", skip_all)]
pub(crate) async fn endpoints(pool: &PgPool, range: Range) -> Result<Vec<FactRow>, sqlx::Error> {
    let rows = sqlx::query!(
        "select merchant_id, webhook_endpoint_id, event_type, create_time, disable_time
         from webhook_endpoint where (merchant_id, webhook_endpoint_id) > ($1, $2) and merchant_id <= $3
         order by merchant_id, webhook_endpoint_id limit $4",
        range.after_merchant,
        range.after_id,
        range.last_merchant,
        range.limit,
    )
    .fetch_all(pool)
    .await?;
    let found = rows.into_iter().map(|row| {
        let fact = WebhookEndpointFact {
            webhook_endpoint_id: WebhookEndpointId::from_uuid(row.webhook_endpoint_id).to_string(),
            event_types: row.event_type,
            create_time: time(row.create_time),
            disable_time: row.disable_time.and_then(time),
        };
        FactRow {
            merchant_id: row.merchant_id,
            id: row.webhook_endpoint_id,
            fact: Fact::WebhookEndpoint(fact),
        }
    });
    Ok(found.collect())
}

#[tracing::instrument(name = "db.fact.deliveries", skip_all)]
pub(crate) async fn deliveries(pool: &PgPool, range: Range) -> Result<Vec<FactRow>, sqlx::Error> {
    let rows = sqlx::query!(
        "select d.merchant_id, d.delivery_id, d.webhook_endpoint_id, d.event_id, d.state,
                case when d.next_attempt_time is not null then greatest(d.next_attempt_time, e.pause_end_time)
                end as next_attempt_time
         from delivery d join webhook_endpoint e using (merchant_id, webhook_endpoint_id)
         where (d.merchant_id, d.delivery_id) > ($1, $2) and d.merchant_id <= $3
         order by d.merchant_id, d.delivery_id limit $4",
        range.after_merchant,
        range.after_id,
        range.last_merchant,
        range.limit,
    )
    .fetch_all(pool)
    .await?;
    let found = rows.into_iter().map(|row| {
        let fact = DeliveryFact {
            delivery_id: DeliveryId::from_uuid(row.delivery_id).to_string(),
            webhook_endpoint_id: WebhookEndpointId::from_uuid(row.webhook_endpoint_id).to_string(),
            event_id: EventId::from_uuid(row.event_id).to_string(),
            state: row.state,
            next_attempt_time: row.next_attempt_time.and_then(time),
        };
        FactRow { merchant_id: row.merchant_id, id: row.delivery_id, fact: Fact::Delivery(fact) }
    });
    Ok(found.collect())
}

//! What becomes of the other services' events: deliveries.

use std::collections::{BTreeSet, HashMap};

use sqlx::PgConnection;
use tael_eventlog::{ApplyError, Handler, Received, event_kind, kind_name};
use tael_ids::{EventId, MerchantId, ParseIdError};
use tael_proto::event::v1::Visibility;
use tael_proto::event::v1::payload::Kind;

use crate::body::body;
use crate::domain::webhook_endpoint::wants;
use crate::store::outbox::{self, NewDelivery};
use crate::store::webhook_endpoint::{self, Active};
use crate::usecase::Notifications;

/// Makes a delivery of every event for each endpoint that wants it.
#[derive(Clone, Debug)]
pub(crate) struct EventConsumer {
    pub(crate) notifications: Notifications,
}

impl Handler for EventConsumer {
    /// Merchants are told of what is public.
    fn handles(&self, kind: &Kind) -> bool {
        event_kind(kind).visibility == Visibility::Public
    }

    async fn apply(&self, tx: &mut PgConnection, events: &[Received]) -> Result<(), ApplyError> {
        let ids = events.iter().map(ids).collect::<Result<Vec<_>, ParseIdError>>();
        let ids = ids.map_err(|e| ApplyError::Poison(Box::new(e)))?;
        let merchants: BTreeSet<_> = ids.iter().map(|(merchant_id, _)| merchant_id.uuid()).collect();
        let merchants: Vec<_> = merchants.into_iter().collect();
        let mut active: HashMap<MerchantId, Vec<Active>> = HashMap::new();
        for endpoint in webhook_endpoint::active(tx, &merchants).await? {
            active.entry(endpoint.merchant_id).or_default().push(endpoint);
        }
        let mut deliveries = Vec::new();
        for (received, (merchant_id, event_id)) in events.iter().zip(ids) {
            let event_type = kind_name(&received.kind);
            let endpoints = active.get(&merchant_id).map_or(&[][..], Vec::as_slice);
            let wanting: Vec<_> = endpoints.iter().filter(|e| wants(&e.event_types, event_type)).collect();
            if wanting.is_empty() {
                continue;
            }
            let body = body(&received.event, &received.kind);
            // While tracing is off the event's own context is passed on.
            let traceparent = received.traceparent().unwrap_or_else(|| received.event.traceparent.clone());
            deliveries.extend(wanting.into_iter().map(|endpoint| NewDelivery {
                merchant_id,
                endpoint_id: endpoint.id,
                event_id,
                event_type,
                body: body.clone(),
                traceparent: traceparent.clone(),
            }));
        }
        if !deliveries.is_empty() {
            outbox::insert(tx, deliveries, self.notifications.clock.now()).await?;
        }
        Ok(())
    }

    fn applied(&self) {
        self.notifications.due.notify_one();
    }
}

fn ids(received: &Received) -> Result<(MerchantId, EventId), ParseIdError> {
    Ok((received.event.merchant_id.parse()?, received.event.event_id.parse()?))
}

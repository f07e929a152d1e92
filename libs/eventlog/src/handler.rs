//! What a service does with another one's events.

use std::error::Error;
use std::future::Future;

use sqlx::PgConnection;
use tael_proto::event::v1::Event;
use tael_proto::event::v1::payload::Kind;
use tracing::Span;

use crate::kind::described;

/// An event to be applied.
#[derive(Debug)]
pub struct Received {
    /// The event as it was read.
    pub event: Event,
    /// What it says.
    pub kind: Kind,
    /// A span in the event's trace, a child of the span that produced it, open until its batch is committed. What an
    /// event causes belongs to it: give [`Received::traceparent`] to events and rows made from this one.
    pub span: Span,
}

impl Received {
    /// Takes an event of a log; none when it has no effect here.
    pub(crate) fn if_handled<H: Handler>(
        handler: &H,
        service: &'static str,
        source: &'static str,
        event: Event,
    ) -> Option<Self> {
        // A kind that is newer than this build is none of its business.
        let kind = event.payload.clone()?.kind?;
        if !handler.handles(&kind) {
            return None;
        }
        let (name, subject) = described(&kind);
        let span = tracing::info_span!(
            "event",
            otel.name = format!("event.{}.{service}", name.replace('.', "_")),
            otel.kind = "consumer",
            tael.source = source,
            tael.event_id = event.event_id,
            tael.merchant_id = event.merchant_id,
            tael.order_id = subject.order.as_deref(),
            tael.payment_id = subject.payment.as_deref(),
            tael.refund_id = subject.refund.as_deref(),
        );
        tael_telemetry::follow(&span, &event.traceparent);
        Some(Self { event, kind, span })
    }

    /// Returns the trace context for what this event causes.
    pub fn traceparent(&self) -> Option<String> {
        tael_telemetry::traceparent_of(&self.span)
    }
}

/// Why events were not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// It may succeed later: nothing is wrong with the events. The batch is tried again.
    #[error("not now")]
    Transient(#[source] Box<dyn Error + Send + Sync>),
    /// It will never succeed. The event that causes it becomes a dead letter.
    #[error("can't be applied")]
    Poison(#[source] Box<dyn Error + Send + Sync>),
}

impl From<sqlx::Error> for ApplyError {
    /// A right that is missing is nothing that an event could be blamed for: who grants it lets the log go on.
    fn from(error: sqlx::Error) -> Self {
        if tael_postgres::is_transient(&error) || tael_postgres::may_be_set_up_later(&error) {
            Self::Transient(Box::new(error))
        } else {
            Self::Poison(Box::new(error))
        }
    }
}

/// What a service does with another one's events.
pub trait Handler: Send + Sync + 'static {
    /// Says whether a kind of event has any effect here. Others never reach [`Handler::apply`] and cost no
    /// transaction.
    fn handles(&self, kind: &Kind) -> bool;

    /// Applies events in log order, within the transaction that also moves the cursor. No network call may be made
    /// here.
    fn apply(
        &self,
        tx: &mut PgConnection,
        events: &[Received],
    ) -> impl Future<Output = Result<(), ApplyError>> + Send;

    /// Called after the commit: wakes what waits for the effects.
    fn applied(&self) {}
}

/// Applies one event in a savepoint, with the constraints that would be checked at commit: there it would be too late
/// to tell which event they refuse.
pub(crate) async fn apply_one<H: Handler>(
    handler: &H,
    savepoint: &mut PgConnection,
    received: &Received,
) -> Result<(), ApplyError> {
    handler.apply(savepoint, std::slice::from_ref(received)).await?;
    sqlx::query("set constraints all immediate").execute(&mut *savepoint).await?;
    sqlx::query("set constraints all deferred").execute(savepoint).await?;
    Ok(())
}

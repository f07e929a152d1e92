//! A webhook endpoint.
//!
//! ```text
//!   active ◀────▶ paused          (see `breaker`)
//!      │  ▲          │
//!      ▼  │ enabled  ▼
//!     disabled ◀─────┘            by request, or because it answered 410 Gone
//! ```

use jiff::Timestamp;
use tael_ids::{MerchantId, WebhookEndpointId};

/// An address of a merchant that is told of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WebhookEndpoint {
    pub(crate) id: WebhookEndpointId,
    pub(crate) merchant_id: MerchantId,
    pub(crate) url: String,
    /// The event types wanted; none for all.
    pub(crate) event_types: Vec<String>,
    pub(crate) create_time: Timestamp,
    pub(crate) state: State,
    /// Attempts that failed since the last one that succeeded.
    pub(crate) failures: u32,
}

/// Whether an endpoint is told of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Active,
    /// It fails: nothing is sent before this time, and then one delivery at a time until one succeeds.
    Paused {
        end_time: Timestamp,
    },
    Disabled {
        time: Timestamp,
        reason: DisableReason,
    },
}

/// Why an endpoint is disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DisableReason {
    /// A call asked for it.
    Requested,
    /// It answered 410.
    Gone,
}

impl DisableReason {
    /// As it is stored and told.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Gone => "gone",
        }
    }
}

/// Says whether an endpoint with this filter is told of an event type.
pub(crate) fn wants(event_types: &[String], event_type: &str) -> bool {
    event_types.is_empty() || event_types.iter().any(|wanted| wanted == event_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_filter_wants_everything() {
        assert!(wants(&[], "payment.succeeded"));
        let filter = ["refund.failed".to_owned(), "payment.succeeded".to_owned()];
        assert!(wants(&filter, "payment.succeeded"));
        assert!(!wants(&filter, "payment.failed"));
    }
}

//! A webhook endpoint.

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
    /// When it was disabled; none while it is active.
    pub(crate) disable_time: Option<Timestamp>,
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

//! Domain values go on the wire.

use tael_grpc::convert;
use tael_proto::notification::v1 as wire;

use crate::domain::delivery::{Attempt, AttemptResult, Delivery, State};
use crate::domain::webhook_endpoint::{DisableReason, State as EndpointState, WebhookEndpoint};

pub(super) fn webhook_endpoint(endpoint: WebhookEndpoint) -> wire::WebhookEndpoint {
    let (state, disable_time, disable_reason, pause_end_time) = match endpoint.state {
        EndpointState::Active => (wire::WebhookEndpointState::Active, None, None, None),
        EndpointState::Paused { end_time } => {
            (wire::WebhookEndpointState::Paused, None, None, Some(end_time))
        }
        EndpointState::Disabled { time, reason } => {
            (wire::WebhookEndpointState::Disabled, Some(time), Some(reason), None)
        }
    };
    wire::WebhookEndpoint {
        webhook_endpoint_id: endpoint.id.to_string(),
        merchant_id: endpoint.merchant_id.to_string(),
        url: endpoint.url,
        event_types: endpoint.event_types,
        create_time: Some(convert::timestamp(endpoint.create_time)),
        disable_time: disable_time.map(convert::timestamp),
        state: state.into(),
        disable_reason: match disable_reason {
            None => wire::DisableReason::Unspecified,
            Some(DisableReason::Requested) => wire::DisableReason::Requested,
            Some(DisableReason::Gone) => wire::DisableReason::Gone,
        }
        .into(),
        pause_end_time: pause_end_time.map(convert::timestamp),
        failure_count: endpoint.failures,
    }
}

pub(super) fn delivery(delivery: Delivery) -> wire::Delivery {
    let (state, next_attempt_time) = match delivery.state {
        State::Pending { next_attempt_time } => (wire::DeliveryState::Pending, next_attempt_time),
        State::Succeeded => (wire::DeliveryState::Succeeded, None),
        State::Failed => (wire::DeliveryState::Failed, None),
    };
    wire::Delivery {
        delivery_id: delivery.id.to_string(),
        webhook_endpoint_id: delivery.endpoint_id.to_string(),
        event_id: delivery.event_id.to_string(),
        event_type: delivery.event_type,
        body: delivery.body,
        state: state.into(),
        attempts: delivery.attempts.into_iter().map(attempt).collect(),
        next_attempt_time: next_attempt_time.map(convert::timestamp),
        create_time: Some(convert::timestamp(delivery.create_time)),
    }
}

fn attempt(attempt: Attempt) -> wire::DeliveryAttempt {
    let (status, error) = match attempt.result {
        AttemptResult::Answered(status) => (u32::from(status), String::new()),
        AttemptResult::Unanswered(reason) => (0, reason),
    };
    wire::DeliveryAttempt {
        attempt_time: Some(convert::timestamp(attempt.time)),
        duration_ms: u32::try_from(attempt.duration.as_millis()).unwrap_or(u32::MAX),
        status,
        error,
    }
}

//! What settlement publishes.

use tael_eventlog::NewEvent;
use tael_proto::event::v1::BatchClosed;
use tael_proto::event::v1::payload::Kind;

use crate::domain::settlement_batch::Batch;

/// Says that a batch was closed.
pub(crate) fn batch_closed(batch: &Batch) -> NewEvent {
    NewEvent {
        merchant_id: batch.merchant_id,
        aggregate_id: batch.id.to_string(),
        kind: Kind::BatchClosed(BatchClosed {
            batch_id: batch.id.to_string(),
            net: Some(tael_grpc::convert::money(batch.net)),
        }),
        occur_time: batch.close_time,
        traceparent: None,
    }
}

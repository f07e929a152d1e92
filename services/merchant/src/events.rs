//! What this service says in its log.

use jiff::Timestamp;
use tael_eventlog::NewEvent;
use tael_proto::event::v1::payload::Kind;
use tael_proto::event::v1::{MerchantApproved, MerchantRegistered};

use crate::domain::merchant::Merchant;

/// Says that a merchant was registered.
pub(crate) fn registered(merchant: &Merchant) -> NewEvent {
    let event = MerchantRegistered { merchant_id: merchant.id.to_string(), name: merchant.name.clone() };
    of(merchant, Kind::MerchantRegistered(event), merchant.create_time)
}

/// Says that a merchant was approved.
pub(crate) fn approved(merchant: &Merchant, at: Timestamp) -> NewEvent {
    of(merchant, Kind::MerchantApproved(MerchantApproved { merchant_id: merchant.id.to_string() }), at)
}

fn of(merchant: &Merchant, kind: Kind, occur_time: Timestamp) -> NewEvent {
    NewEvent {
        merchant_id: merchant.id,
        aggregate_id: merchant.id.to_string(),
        kind,
        occur_time,
        traceparent: None,
    }
}

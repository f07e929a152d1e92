//! Domain values go on the wire.

use tael_grpc::convert;
use tael_proto::merchant::v1 as wire;

use crate::domain::api_key::ApiKey;
use crate::domain::merchant::{Merchant, State};

pub(super) fn merchant(merchant: Merchant) -> wire::Merchant {
    let (state, approve_time) = match merchant.state {
        State::PendingApproval => (wire::MerchantState::PendingApproval, None),
        State::Approved { at } => (wire::MerchantState::Approved, Some(convert::timestamp(at))),
    };
    wire::Merchant {
        merchant_id: merchant.id.to_string(),
        name: merchant.name,
        state: state.into(),
        time_zone: merchant.time_zone,
        create_time: Some(convert::timestamp(merchant.create_time)),
        approve_time,
    }
}

pub(super) fn api_key(key: ApiKey) -> wire::ApiKey {
    wire::ApiKey {
        api_key_id: key.id.to_string(),
        merchant_id: key.merchant_id.to_string(),
        label: key.label,
        create_time: Some(convert::timestamp(key.create_time)),
        revoke_time: key.revoke_time.map(convert::timestamp),
    }
}

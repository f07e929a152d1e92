//! Who may call what. The merchant's back-end registers merchants and says whose key a secret is; only the operator lets one
//! take live money. No service reads the log.

use tael_grpc::caller::Caller::{Backend, Operator, Payment, Settlement};
use tael_grpc::server::Callers;

/// Who may call each method that this service serves.
#[rustfmt::skip] // a table: one line for each call
pub const CALLERS: Callers = &[
    ("tael.merchant.v1.MerchantService", &[
        ("RegisterMerchant", &[Backend, Operator]),
        ("ApproveMerchant", &[Operator]),
        ("GetMerchant", &[Payment, Settlement, Backend, Operator]),
        ("ListMerchants", &[Operator]),
        ("IssueApiKey", &[Backend, Operator]),
        ("AuthenticateApiKey", &[Backend]),
        ("RevokeApiKey", &[Backend, Operator]),
    ]),
    ("tael.event.v1.EventLogService", &[
        ("ReadEvents", &[]),
        ("ListConsumers", &[Operator]),
        ("RemoveConsumer", &[Operator]),
    ]),
];

#[cfg(test)]
mod tests {
    use tael_grpc::server::unlike_contracts;
    use tael_proto::event::v1::event_log_service_server as event_log;
    use tael_proto::merchant::v1::merchant_service_server as merchant;

    use super::*;

    #[test]
    fn every_call_that_is_served_has_its_callers() {
        let served = [merchant::SERVICE_NAME, event_log::SERVICE_NAME];
        assert_eq!(unlike_contracts(CALLERS, &served), [""; 0]);
    }
}

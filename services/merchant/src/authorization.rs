//! Who may call what. The merchant's back-end registers merchants and says whose key a secret is; only the operator lets one
//! take live money. No service reads the log.

use tael_grpc::caller::Caller::{Backend, Operator, Payment, Settlement};
use tael_grpc::server::RpcAccess;

/// Who may call each method that this service serves.
#[rustfmt::skip] // a table: one line for each call
pub const RPC_ACCESS: RpcAccess = &[
    ("tael.merchant.v1.MerchantService", &[
        ("RegisterMerchant", &[Backend, Operator]),
        ("ApproveMerchant", &[Operator]),
        ("GetMerchant", &[Payment, Settlement, Backend, Operator]),
        ("ListMerchants", &[Operator]),
    ]),
    ("tael.merchant.v1.ApiKeyService", &[
        ("IssueApiKey", &[Backend, Operator]),
        ("AuthenticateApiKey", &[Backend]),
        ("ExchangeApiKey", &[Backend]),
        ("RevokeApiKey", &[Backend, Operator]),
    ]),
    ("tael.event.v1.EventLogService", &[
        ("ReadEvents", &[]),
        ("ListConsumers", &[Operator]),
        ("RemoveConsumer", &[Operator]),
    ]),
];

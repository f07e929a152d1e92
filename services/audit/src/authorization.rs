//! Who may call what. Whether the books of all are in order is the operator's to ask.

use tael_grpc::caller::Caller::Operator;
use tael_grpc::server::RpcAccess;

/// Who may call each method that this service serves.
pub const RPC_ACCESS: RpcAccess = &[("tael.audit.v1.MoneyAuditService", &[("AuditMoney", &[Operator])])];

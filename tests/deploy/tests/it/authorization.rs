//! The services' own tables of who may call what.

use tael_deploy_tests::configuration::RPC_ACCESS;
use tael_grpc::server::unlike_contracts;

#[test]
fn every_call_that_is_served_has_its_callers() {
    assert_eq!(unlike_contracts(&RPC_ACCESS.map(|(_, callers)| callers)), [""; 0]);
}

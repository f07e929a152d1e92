//! The services' own tables of who may call what.

use tael_deploy_tests::configuration::CALLERS;
use tael_grpc::server::unlike_contracts;

#[test]
fn every_call_that_is_served_has_its_callers() {
    assert_eq!(unlike_contracts(&CALLERS.map(|(_, callers)| callers)), [""; 0]);
}

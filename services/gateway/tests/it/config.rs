use std::time::Duration;

use tael_config::Env;
use tael_gateway::App;
use tael_runtime::Service as _;

fn env(variables: &[(&str, &str)]) -> Env {
    Env::from_map(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

#[test]
fn only_the_payment_service_must_be_named() {
    let config = App::config(&mut env(&[("TAEL_PAYMENT_URL", "http://payment:50051")])).unwrap();
    assert_eq!(config.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(config.payment_url, "http://payment:50051");
    assert_eq!(config.limits.max_in_flight.get(), 512);
    assert_eq!(config.limits.request_timeout, Duration::from_secs(10));
}

#[test]
fn all_mistakes_are_told_at_once() {
    let errors = App::config(&mut env(&[
        ("TAEL_LISTEN", "everywhere"),
        ("TAEL_MAX_IN_FLIGHT", "0"),
        ("TAEL_REQUEST_TIMEOUT", "10"),
    ]))
    .unwrap_err()
    .to_string();
    for name in ["TAEL_LISTEN", "TAEL_PAYMENT_URL", "TAEL_MAX_IN_FLIGHT", "TAEL_REQUEST_TIMEOUT"] {
        assert!(errors.contains(name), "{errors}");
    }
}

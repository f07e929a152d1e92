//! Configuration from the environment.

use std::time::Duration;

use tael_config::Env;
use tael_payment::App;
use tael_runtime::Service as _;

fn env(variables: &[(&str, &str)]) -> Env {
    Env::from_map(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

#[test]
fn everything_that_is_missing_or_wrong_is_said_at_once() {
    let wrong = [("TAEL_PUBLIC_URL", "not a url"), ("TAEL_POLL_FIRST", "soon")];
    let errors = App::config(&mut env(&wrong)).unwrap_err().to_string();
    for name in [
        "TAEL_DATABASE_URL",
        "TAEL_REDIS_URL",
        "TAEL_ORDER_URL",
        "TAEL_MERCHANT_URL",
        "TAEL_PUBLIC_URL",
        "TAEL_SEALING_KEYS",
        "TAEL_POLL_FIRST",
    ] {
        assert!(errors.contains(name), "{name} in {errors}");
    }
}

#[test]
fn what_has_a_default_may_be_left_out() {
    let least = [
        ("TAEL_DATABASE_URL", "postgres://localhost/payment"),
        ("TAEL_REDIS_URL", "redis://localhost"),
        ("TAEL_ORDER_URL", "http://order:50051"),
        ("TAEL_MERCHANT_URL", "http://merchant:50051"),
        ("TAEL_PUBLIC_URL", "https://pay.example"),
        ("TAEL_SEALING_KEYS", "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
    ];
    let config = App::config(&mut env(&least)).unwrap();
    assert_eq!(config.channel_timeout, Duration::from_secs(10));
    assert_eq!((config.poll_first, config.poll_last), (Duration::from_secs(5), Duration::from_mins(1)));
}

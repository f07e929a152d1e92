//! What a service and its operator see of the configuration.

use std::net::SocketAddr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tael_config::{ConfigErrors, Env, Problem};

fn env<const N: usize>(variables: [(&str, &str); N]) -> Env {
    Env::from_map(variables.map(|(name, value)| (name.to_owned(), value.to_owned())))
}

/// The message an operator would see for what was read so far.
fn complaint(env: &Env) -> String {
    env.finish(|| Some(())).expect_err("a problem was expected").to_string()
}

#[derive(Debug)]
struct Config {
    listen: SocketAddr,
    database_url: SecretString,
    order_url: String,
    retries: u32,
    poll_every: Duration,
    verbose: bool,
    proxy: Option<String>,
}

fn from_env(env: &mut Env) -> Result<Config, ConfigErrors> {
    let listen = env.or("TAEL_LISTEN", SocketAddr::from(([127, 0, 0, 1], 50051)));
    let database_url = env.secret("TAEL_DATABASE_URL");
    let order_url = env.required("TAEL_ORDER_URL");
    let retries = env.or("TAEL_RETRIES", 3);
    let poll_every = env.duration("TAEL_POLL_EVERY", Duration::from_secs(5));
    let verbose = env.flag("TAEL_VERBOSE", false);
    let proxy = env.optional("TAEL_PROXY");
    env.finish(|| {
        Some(Config {
            listen,
            database_url: database_url?,
            order_url: order_url?,
            retries,
            poll_every,
            verbose,
            proxy,
        })
    })
}

#[test]
fn reads_every_kind_of_setting() {
    let mut env = env([
        ("TAEL_LISTEN", "[::]:8080"),
        ("TAEL_DATABASE_URL", "postgres://tael:hunter2@db/order"),
        ("TAEL_ORDER_URL", "http://order:50051"),
        ("TAEL_RETRIES", "7"),
        ("TAEL_POLL_EVERY", "250ms"),
        ("TAEL_VERBOSE", "true"),
        ("TAEL_PROXY", "http://proxy:3128"),
    ]);
    let config = from_env(&mut env).unwrap();
    assert_eq!(config.listen, "[::]:8080".parse().unwrap());
    assert_eq!(config.database_url.expose_secret(), "postgres://tael:hunter2@db/order");
    assert_eq!(config.order_url, "http://order:50051");
    assert_eq!(config.retries, 7);
    assert_eq!(config.poll_every, Duration::from_millis(250));
    assert!(config.verbose);
    assert_eq!(config.proxy.as_deref(), Some("http://proxy:3128"));
}

#[test]
fn fills_in_defaults_for_what_is_absent_or_empty() {
    let mut env = env([
        ("TAEL_DATABASE_URL", "postgres://db/order"),
        ("TAEL_ORDER_URL", "http://order:50051"),
        ("TAEL_RETRIES", ""),
        ("TAEL_PROXY", ""),
    ]);
    let config = from_env(&mut env).unwrap();
    assert_eq!(config.listen, "127.0.0.1:50051".parse().unwrap());
    assert_eq!(config.retries, 3);
    assert_eq!(config.poll_every, Duration::from_secs(5));
    assert!(!config.verbose);
    assert_eq!(config.proxy, None);
}

#[test]
fn reports_all_problems_at_once_in_reading_order() {
    let mut env = env([
        ("TAEL_LISTEN", "localhost"),
        ("TAEL_DATABASE_URL", ""),
        ("TAEL_RETRIES", "many"),
        ("TAEL_POLL_EVERY", "5"),
        ("TAEL_VERBOSE", "yes"),
    ]);
    assert_eq!(
        from_env(&mut env).unwrap_err().to_string(),
        "TAEL_LISTEN is \"localhost\": invalid socket address syntax\n\
         TAEL_DATABASE_URL is not set\n\
         TAEL_ORDER_URL is not set\n\
         TAEL_RETRIES is \"many\": invalid digit found in string\n\
         TAEL_POLL_EVERY is \"5\": expected a whole number and a unit, such as 250ms, 5s, 2m or 1h\n\
         TAEL_VERBOSE is \"yes\": expected true, 1, false or 0"
    );
}

#[test]
fn durations_need_a_unit_and_must_fit() {
    for (text, expected) in [
        ("0s", Duration::ZERO),
        ("250ms", Duration::from_millis(250)),
        ("5s", Duration::from_secs(5)),
        ("2m", Duration::from_mins(2)),
        ("1h", Duration::from_hours(1)),
    ] {
        let mut env = env([("T", text)]);
        assert_eq!(env.duration("T", Duration::MAX), expected, "{text}");
        assert!(env.finish(|| Some(())).is_ok(), "{text}");
    }
    for text in ["5", "s", "-5s", "1.5s", "5 s", "5d", "5S", "18446744073709551615h", "99999999999999999999s"]
    {
        let mut env = env([("T", text)]);
        assert_eq!(env.duration("T", Duration::MAX), Duration::MAX, "{text}");
        assert!(complaint(&env).starts_with("T is "), "{text}");
    }
}

#[test]
fn a_variable_read_by_two_services_is_reported_once() {
    let mut env = env([("TAEL_RETRIES", "many")]);
    let first = from_env(&mut env).unwrap_err();
    let second = from_env(&mut env).unwrap_err();
    assert_eq!(first, second);
}

#[test]
fn configurations_of_several_services_are_put_together() {
    let mut broken = env([("TAEL_ORDER_URL", "http://order:50051"), ("TAEL_FEE_PAYER", "nobody")]);
    let order = from_env(&mut broken);
    let fee_payer = broken.required::<u8>("TAEL_FEE_PAYER");
    let errors = broken.finish(|| Some((order.ok()?, fee_payer?))).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "TAEL_DATABASE_URL is not set\nTAEL_FEE_PAYER is \"nobody\": invalid digit found in string"
    );
}

#[test]
fn a_build_that_gives_up_without_a_reason_is_still_an_error() {
    let errors = env([]).finish(|| None::<()>).unwrap_err();
    assert_eq!(errors.problems(), [Problem::Incomplete]);
}

#[test]
fn secrets_appear_in_no_message() {
    let mut env = env([("TAEL_TOKEN", "hunter2"), ("TAEL_SPARE", "hunter3")]);
    let token = env.secret("TAEL_TOKEN").unwrap();
    let spare = env.optional_secret("TAEL_SPARE").unwrap();
    assert_eq!(env.optional_secret("TAEL_ABSENT").map(|_| ()), None);
    env.secret("TAEL_ABSENT");
    // As a number it is malformed; the reason says so without showing it.
    assert_eq!(env.secret_as::<u32>("TAEL_TOKEN"), None);
    let shown = format!("{env:?} {token:?} {spare:?} {}", complaint(&env));
    assert!(!shown.contains("hunter"), "{shown}");
    assert!(
        shown.contains("TAEL_TOKEN: invalid digit") && shown.contains("TAEL_ABSENT is not set"),
        "{shown}"
    );
}

#[test]
fn the_process_environment_is_read() {
    let mut env = Env::from_process();
    let path: Option<String> = env.required("PATH");
    assert_eq!(path, std::env::var("PATH").ok());
}

#[test]
fn what_nobody_asked_for_is_named() {
    let mut env = env([("TAEL_LISTEN", ""), ("TAEL_TYPO", "1"), ("TAEL_ALSO", "2"), ("TAEL_TOKEN", "x")]);
    env.or("TAEL_LISTEN", 1_u16);
    env.secret("TAEL_TOKEN");
    env.optional::<u16>("TAEL_ABSENT");
    assert_eq!(env.unread(), ["TAEL_ALSO", "TAEL_TYPO"]);
}

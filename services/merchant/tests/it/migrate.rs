//! The binary's other duties: its version, and the schema, with the rights that a service needs.

use std::process::{Output, Stdio};

use secrecy::{ExposeSecret as _, SecretString};
use tael_principal::SigningKey;
use tael_proto::merchant::v1::merchant_service_client::MerchantServiceClient;
use tael_testkit::{TestDatabase, keyed, redis_url};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use crate::fixture::registration;

fn binary(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tael-merchant"));
    command.args(arguments).env_clear().stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

fn migrate(url: &SecretString, arguments: &[&str]) -> Command {
    let mut command = binary(&["migrate"]);
    command.args(arguments).env("TAEL_DATABASE_URL", url.expose_secret()).env("TAEL_START_PATIENCE", "10s");
    command
}

fn assert_code(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
}

async fn run(mut command: Command, code: i32) -> String {
    let output = command.output().await.unwrap();
    assert_code(&output, code);
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

/// A replica that does not migrate, and what it says.
fn serve(url: &SecretString) -> (Child, Lines<BufReader<ChildStderr>>) {
    let mut child = binary(&[])
        .env("TAEL_LISTEN", "127.0.0.1:0")
        .env("TAEL_MIGRATE_AT_START", "false")
        .env("TAEL_DATABASE_URL", url.expose_secret())
        .env("TAEL_REDIS_URL", redis_url().expose_secret())
        .env("TAEL_PRINCIPAL_SIGNING_KEY", SigningKey::generate("test").0.expose_secret())
        .spawn()
        .unwrap();
    let log = BufReader::new(child.stderr.take().unwrap()).lines();
    (child, log)
}

async fn until_it_says(log: &mut Lines<BufReader<ChildStderr>>, what: &str) -> String {
    loop {
        let line =
            log.next_line().await.unwrap().unwrap_or_else(|| panic!("it ended and never said {what:?}"));
        if line.contains(what) {
            return line;
        }
    }
}

#[tokio::test]
async fn it_says_what_it_is_and_what_it_can_do() {
    let version = run(binary(&["--version"]), 0).await;
    let commit = option_env!("TAEL_COMMIT").filter(|commit| !commit.is_empty()).unwrap_or("unknown");
    assert_eq!(version, format!("tael-merchant {} ({commit})\n", env!("CARGO_PKG_VERSION")));
    let help = run(binary(&["--help"]), 0).await;
    for word in ["migrate", "docs/operations.md", "Exit codes"] {
        assert!(help.contains(word), "{help}");
    }
    for unknown in [&["serve"][..], &["--port", "1"], &["migrate", "now"]] {
        run(binary(unknown), 2).await;
    }
}

#[tokio::test]
async fn migrating_needs_an_address_and_a_database_that_comes_in_time() {
    let complaint = run(binary(&["migrate"]), 2).await;
    assert!(complaint.contains("TAEL_DATABASE_URL") && !complaint.contains("TAEL_REDIS_URL"), "{complaint}");

    let mut away = migrate(&"postgres://nobody@127.0.0.1:1/none".into(), &[]);
    let complaint = run(
        {
            away.env("TAEL_START_PATIENCE", "1s");
            away
        },
        3,
    )
    .await;
    assert!(complaint.contains("could not migrate"), "{complaint}");

    let database = TestDatabase::create().await;
    let (mut link, url) = database.link().await;
    link.cut().await;
    let mut waiting = migrate(&url, &[]).spawn().unwrap();
    let mut log = BufReader::new(waiting.stderr.take().unwrap()).lines();
    until_it_says(&mut log, "could not start yet").await;
    link.restore().await;
    until_it_says(&mut log, "up to date").await;
    assert_eq!(waiting.wait().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn several_migrate_at_once_and_again_and_what_is_wrong_is_told() {
    let database = TestDatabase::create().await;
    let url = database.url();
    let (mut one, mut other, mut third) = (migrate(&url, &[]), migrate(&url, &[]), migrate(&url, &[]));
    let (one, other, third) = tokio::join!(one.output(), other.output(), third.output());
    for output in [one, other, third] {
        assert_code(&output.unwrap(), 0);
    }
    run(migrate(&url, &[]), 0).await;

    sqlx::query("update _sqlx_migrations set checksum = 'another' where version = 1")
        .execute(&database.pool())
        .await
        .unwrap();
    let complaint = run(migrate(&url, &[]), 3).await;
    assert!(complaint.contains("could not migrate"), "{complaint}");
}

#[tokio::test]
async fn a_service_that_does_not_migrate_waits_until_somebody_has() {
    let database = TestDatabase::create().await;
    let (_child, mut log) = serve(&database.url());
    let says = until_it_says(&mut log, "could not start yet").await;
    for missing in ["0001_event_log", "0002_consumers", "0001_merchant"] {
        assert!(says.contains(missing), "{says}");
    }
    run(migrate(&database.url(), &[]), 0).await;
    until_it_says(&mut log, "serving").await;

    // A migration that this build knows otherwise does not pass by itself.
    sqlx::query("update _sqlx_migrations set checksum = 'another'").execute(&database.pool()).await.unwrap();
    let (mut child, mut log) = serve(&database.url());
    until_it_says(&mut log, "0001_merchant was applied with another content").await;
    assert_eq!(child.wait().await.unwrap().code(), Some(3));
}

#[tokio::test]
async fn a_service_waits_for_its_rights() {
    let database = TestDatabase::create().await;
    let role = database.role().await;
    run(migrate(&database.url(), &[]), 0).await;
    let (_child, mut log) = serve(&role.url());
    let says = until_it_says(&mut log, "could not start yet").await;
    // Waiting is no failure: neither here nor, for it is asked and not tried, in the server's log.
    assert!(says.contains("waiting_for") && says.contains("the rights are yet to be given"), "{says}");
    assert!(
        !says.contains("permission denied") && !says.contains("error") && !says.contains("WARN"),
        "{says}"
    );
    run(migrate(&database.url(), &["--grant-to", role.name()]), 0).await;
    until_it_says(&mut log, "serving").await;
}

#[tokio::test]
async fn it_runs_with_a_role_that_may_change_no_table() {
    let database = TestDatabase::create().await;
    let role = database.role().await;
    let (name, url) = (role.name(), role.url());
    run(migrate(&database.url(), &["--grant-to", name]), 0).await;
    // Rights that were given by hand are taken again.
    let extra = format!("grant delete, truncate on all tables in schema public to {name}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(extra)).execute(&database.pool()).await.unwrap();
    run(migrate(&database.url(), &["--grant-to", name]), 0).await;

    let (_child, mut log) = serve(&url);
    let serving = until_it_says(&mut log, "serving").await;
    let addr = serving.split("127.0.0.1:").nth(1).unwrap();
    let port: u16 = addr.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap();
    let channel = tael_grpc::client::connect(&format!("http://127.0.0.1:{port}")).unwrap();
    let mut client = MerchantServiceClient::new(channel);
    client.register_merchant(keyed(registration("Tea"))).await.unwrap();

    let pool = role.pool();
    for refused in [
        "delete from merchant",
        "update event_log set payload = ''",
        "truncate event_cursor",
        "alter table merchant add column more text",
        "create table mine ()",
        "update _sqlx_migrations set success = true",
    ] {
        let error = sqlx::query(refused).execute(&pool).await.unwrap_err();
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        assert_eq!(code.as_deref(), Some("42501"), "{refused}: {error}");
    }

    for (nobody, why) in [("tael_test_nobody", "there is no role"), ("tael", "owns the tables")] {
        let complaint = run(migrate(&database.url(), &["--grant-to", nobody]), 3).await;
        assert!(complaint.contains(why), "{complaint}");
    }
}

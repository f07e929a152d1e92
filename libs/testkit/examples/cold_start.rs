//! How soon a service serves: from the start of its process, on a database that is up to date, until health says so.
//!
//! `cargo run -p tael-testkit --example cold_start -- target/release` prints milliseconds for every service, with the
//! binaries of that folder and the servers of `TAEL_DATABASE_URL` and `TAEL_REDIS_URL`.

use std::error::Error;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use secrecy::ExposeSecret as _;
use tael_testkit::{TestDatabase, redis_url};
use tokio::process::{Child, Command};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const SERVICES: [&str; 6] = ["merchant", "order", "payment", "refund", "settlement", "notification"];
const STARTS: usize = 11;
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("name the folder of the binaries")?;
    println!("{:<13} {:>7} {:>7}   ms of {STARTS} starts", "service", "median", "slowest");
    for service in SERVICES {
        let database = TestDatabase::create().await;
        let binary = Path::new(&folder).join(format!("tael-{service}"));
        // The first one migrates, and reads the binary from the disk.
        start(&binary, &database).await?;
        let mut took = Vec::new();
        for _ in 0..STARTS {
            took.push(start(&binary, &database).await?);
        }
        took.sort_unstable();
        println!("{service:<13} {:>7} {:>7}", took[STARTS / 2].as_millis(), took[STARTS - 1].as_millis());
    }
    Ok(())
}

/// Starts a service, and ends it when it serves; returns how long that took.
async fn start(binary: &Path, database: &TestDatabase) -> Result<Duration, Box<dyn Error>> {
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let began = Instant::now();
    let mut child = spawn(binary, database, port)?;
    let url = format!("http://127.0.0.1:{port}");
    while !serves(&url).await {
        if began.elapsed() > PATIENCE || child.try_wait()?.is_some() {
            return Err(format!("{} does not start", binary.display()).into());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let took = began.elapsed();
    child.kill().await?;
    Ok(took)
}

fn spawn(binary: &Path, database: &TestDatabase, port: u16) -> std::io::Result<Child> {
    let mut command = Command::new(binary);
    command
        .env_clear()
        .env("TAEL_LISTEN", format!("127.0.0.1:{port}"))
        .env("TAEL_DATABASE_URL", database.url().expose_secret())
        .env("TAEL_REDIS_URL", redis_url().expose_secret())
        .env("TAEL_PUBLIC_URL", "http://127.0.0.1:1")
        // A key that seals nothing: thirty-two zeros.
        .env("TAEL_SEALING_KEYS", "start:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
        // And one that signs nothing.
        .env("TAEL_PRINCIPAL_SIGNING_KEY", "start:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    for peer in SERVICES {
        command.env(format!("TAEL_{}_URL", peer.to_uppercase()), "http://127.0.0.1:1");
    }
    command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn()
}

async fn serves(url: &str) -> bool {
    let Ok(endpoint) = tonic::transport::Endpoint::from_shared(url.to_owned()) else { return false };
    let Ok(channel) = endpoint.connect().await else { return false };
    let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await;
    answer.is_ok_and(|answer| answer.into_inner().status() == ServingStatus::Serving)
}

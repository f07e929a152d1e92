//! The platform under test: two processes of every service, one address for each service, and the sandbox.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tael_principal::SigningKey;

use crate::Error;
use crate::caller::Addresses;
use crate::forwarder::{Forwarder, Protocol};
use crate::processes::{Environment, Process, Service, free_addresses};
use crate::servers::Servers;

/// Small, so that all replicas together leave PostgreSQL connections for everything else.
const DATABASE_CONNECTIONS: u32 = 8;
/// The shift of a replica's clock, in builds with fault points.
const CLOCK_SKEW: &str = "TAEL_FAULT_CLOCK_SKEW_SECONDS";

/// How a platform is started.
#[derive(Clone, Debug)]
pub struct Setup<'a> {
    /// PostgreSQL and Redis.
    pub servers: Servers,
    /// Where the services' binaries are.
    pub binaries: &'a Path,
    /// Where logs go.
    pub logs: &'a Path,
    /// The databases are named `<prefix>_<service>`; those that exist are dropped first.
    pub prefix: &'a str,
    /// How many replicas each service has.
    pub replicas: usize,
    /// How services are found.
    pub reach: Reach,
    /// What every service is told beside what it needs.
    pub environment: Environment,
}

/// How a service's replicas are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Through a forwarder that can cut, delay and swallow.
    Forwarded,
    /// Directly, by the addresses of all replicas, and of one more that is only there while another is replaced; so
    /// callers balance, as they do over a headless Service of Kubernetes. The gateway is behind its forwarder, as it
    /// would be behind an ingress.
    Direct,
}

/// The crash point at which a process ends itself, in such builds.
const CRASH_AT: &str = "TAEL_FAULT_CRASH_AT";

/// The running platform.
#[derive(Debug)]
pub struct Platform {
    /// PostgreSQL and Redis.
    pub servers: Servers,
    /// Where clients find everything.
    pub addresses: Addresses,
    /// Where logs go.
    pub logs: PathBuf,
    prefix: String,
    replicas: Vec<Vec<Process>>,
    /// For each service an address where no replica is at present.
    spare: Vec<SocketAddr>,
    binaries: PathBuf,
    environment: Environment,
    sandbox: Process,
    services: Vec<Forwarder>,
    databases: Vec<Forwarder>,
    channel: Forwarder,
}

impl Platform {
    /// Creates the databases and starts everything; all of it serves when this returns.
    pub async fn start(setup: Setup<'_>) -> Result<Self, Error> {
        let Setup { servers, binaries, logs, prefix, replicas, reach, environment } = setup;
        std::fs::create_dir_all(logs)?;
        // The last of each service's is the spare one.
        let addresses = free_addresses(Service::ALL.len() * (replicas + 1) + 1)?;
        let (listen, sandbox) = addresses.split_at(Service::ALL.len() * (replicas + 1));
        let listen: Vec<&[SocketAddr]> = listen.chunks(replicas + 1).collect();

        let mut services = Vec::new();
        let mut databases = Vec::new();
        for service in Service::ALL {
            let protocol = if service == Service::Gateway { Protocol::Http } else { Protocol::Grpc };
            let places = if reach == Reach::Direct { replicas + 1 } else { replicas };
            let targets = listen[service as usize][..places].to_vec();
            services.push(Forwarder::start(protocol, targets).await?);
        }
        for service in Service::WITH_DATABASE {
            servers.create_database(&format!("{prefix}_{service}")).await?;
            let postgres = servers.postgres_address().parse()?;
            databases.push(Forwarder::start(Protocol::Postgres, vec![postgres]).await?);
        }
        let channel = Forwarder::start(Protocol::Http, vec![sandbox[0]]).await?;

        let sandbox_environment = Environment::from([
            ("SANDBOX_LISTEN".to_owned(), sandbox[0].to_string()),
            // A notification that was not acknowledged comes again after a second instead of four minutes.
            ("SANDBOX_TIME_SCALE".to_owned(), "240".to_owned()),
            ("RUST_LOG".to_owned(), "warn".to_owned()),
        ]);
        let sandbox = Process::start(
            &binaries.join("tael-sandbox"),
            &logs.join("sandbox.log"),
            sandbox[0],
            sandbox_environment,
        )?;
        let urls = Service::ALL.map(|service| match reach {
            Reach::Direct if service != Service::Gateway => {
                let urls: Vec<_> =
                    listen[service as usize].iter().map(|addr| format!("http://{addr}")).collect();
                urls.join(",")
            }
            Reach::Direct | Reach::Forwarded => format!("http://{}", services[service as usize].addr),
        });
        let mut platform = Self {
            addresses: Addresses { services: urls, sandbox: sandbox.addr },
            servers,
            logs: logs.to_owned(),
            prefix: prefix.to_owned(),
            replicas: Vec::new(),
            spare: listen.iter().map(|addresses| addresses[replicas]).collect(),
            binaries: binaries.to_owned(),
            environment: Environment::new(),
            sandbox,
            services,
            databases,
            channel,
        };
        platform.environment = platform.common_environment();
        platform.environment.extend(environment);
        for service in Service::ALL {
            let addresses = listen[service as usize][..replicas].iter();
            let processes =
                addresses.zip(0..).map(|(addr, number)| platform.start_replica(service, number, *addr));
            let processes = processes.collect::<Result<_, _>>()?;
            platform.replicas.push(processes);
        }
        platform.sandbox.serving().await?;
        platform.serving().await?;
        Ok(platform)
    }

    fn start_replica(&self, service: Service, number: usize, addr: SocketAddr) -> Result<Process, Error> {
        let mut environment = self.environment.clone();
        environment.insert("TAEL_LISTEN".to_owned(), addr.to_string());
        if let Some(database) = self.database(service) {
            let url = self.servers.database_url_at(database.addr, &self.database_name(service));
            environment.insert("TAEL_DATABASE_URL".to_owned(), url);
        }
        let program = self.binaries.join(format!("tael-{service}"));
        Process::start(&program, &self.logs.join(format!("{service}-{number}.log")), addr, environment)
    }

    /// Replaces a replica as a rolling update does: starts another, waits until it serves, and then lets the old one
    /// drain and end.
    pub async fn replace(&mut self, service: Service, number: usize) -> Result<(), Error> {
        let new = self.start_replica(service, number, self.spare[service as usize])?;
        new.serving().await?;
        let old = std::mem::replace(&mut self.replicas[service as usize][number], new);
        self.spare[service as usize] = old.addr;
        old.drain().await.map_err(|error| format!("{service} {number}: {error}").into())
    }

    /// Ends a service's replicas, as an orchestrator does, for good.
    pub async fn end(&mut self, service: Service) -> Result<(), Error> {
        for old in std::mem::take(&mut self.replicas[service as usize]) {
            old.drain().await.map_err(|error| format!("{service}: {error}"))?;
        }
        Ok(())
    }

    /// What is secret of what services are told.
    pub fn secrets(&self) -> Vec<String> {
        let names = ["TAEL_SEALING_KEYS", "TAEL_PRINCIPAL_SIGNING_KEY"];
        let keys = names.into_iter().filter_map(|name| self.environment.get(name));
        // "id:key" each.
        keys.flat_map(|keys| keys.split([':', ',', '=']))
            .filter(|part| part.len() > 20)
            .map(str::to_owned)
            .collect()
    }

    /// What every service is told; intervals are short, so that what went wrong is soon put right.
    fn common_environment(&self) -> Environment {
        let at = |service: Service| self.addresses.of(service).to_owned();
        let keys = tael_sealed::Keyring::generate_text("chaos");
        let (signing_text, signing_key) = SigningKey::generate("chaos");
        [
            ("TAEL_REDIS_URL", self.servers.redis_url().to_owned()),
            ("TAEL_DATABASE_CONNECTIONS", DATABASE_CONNECTIONS.to_string()),
            ("TAEL_SEALING_KEYS", keys.expose_secret().to_owned()),
            ("TAEL_PRINCIPAL_SIGNING_KEY", signing_text.expose_secret().to_owned()),
            ("TAEL_PRINCIPAL_KEYS", signing_key.verification_text()),
            ("TAEL_PUBLIC_URL", at(Service::Gateway)),
            ("TAEL_MERCHANT_URL", at(Service::Merchant)),
            ("TAEL_ORDER_URL", at(Service::Order)),
            ("TAEL_PAYMENT_URL", at(Service::Payment)),
            ("TAEL_REFUND_URL", at(Service::Refund)),
            ("TAEL_SETTLEMENT_URL", at(Service::Settlement)),
            ("TAEL_NOTIFICATION_URL", at(Service::Notification)),
            ("TAEL_LOG_FORMAT", "text".to_owned()),
            ("NO_COLOR", "1".to_owned()),
            ("TAEL_ORDER_REFUND_INTERVAL", "500ms".to_owned()),
            ("TAEL_ORDER_EXPIRY_INTERVAL", "1s".to_owned()),
            ("TAEL_CHANNEL_TIMEOUT", "2s".to_owned()),
            ("TAEL_POLL_FIRST", "500ms".to_owned()),
            ("TAEL_POLL_LAST", "3s".to_owned()),
            ("TAEL_REFUND_RETRY_FIRST", "300ms".to_owned()),
            ("TAEL_REFUND_RETRY_POLL", "300ms".to_owned()),
            ("TAEL_EGRESS_ALLOW_LOCAL", "true".to_owned()),
            ("TAEL_WEBHOOK_TIMEOUT", "2s".to_owned()),
            // Three days of retries within eight minutes.
            ("TAEL_WEBHOOK_RETRY_SPEED", "600".to_owned()),
            ("TAEL_WEBHOOK_POLL", "500ms".to_owned()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }

    /// Waits until every replica accepts connections.
    pub async fn serving(&self) -> Result<(), Error> {
        for process in self.replicas.iter().flatten() {
            process.serving().await?;
        }
        Ok(())
    }

    /// A replica.
    pub fn replica(&self, service: Service, number: usize) -> &Process {
        &self.replicas[service as usize][number]
    }

    /// The forwarder before a service.
    pub fn service(&self, service: Service) -> &Forwarder {
        &self.services[service as usize]
    }

    /// The forwarder before a service's database.
    pub fn database(&self, service: Service) -> Option<&Forwarder> {
        let index = Service::WITH_DATABASE.iter().position(|with| *with == service)?;
        Some(&self.databases[index])
    }

    /// A service's database, past any forwarder.
    pub fn database_url(&self, service: Service) -> String {
        self.servers.database_url(&self.database_name(service))
    }

    fn database_name(&self, service: Service) -> String {
        format!("{}_{service}", self.prefix)
    }

    /// The forwarder before the channel.
    pub fn channel(&self) -> &Forwarder {
        &self.channel
    }

    /// All forwarders.
    pub fn forwarders(&self) -> impl Iterator<Item = &Forwarder> {
        self.services.iter().chain(&self.databases).chain([&self.channel])
    }

    /// The forwarders before the databases.
    pub fn databases(&self) -> impl Iterator<Item = &Forwarder> {
        self.databases.iter()
    }

    /// SIGKILL of every replica at once.
    pub async fn kill_all(&self, down: Duration) {
        let kills = self.replicas.iter().flatten().map(|process| process.kill(down, Environment::new()));
        futures::future::join_all(kills).await;
    }

    /// What a replica is started with so that its clock is wrong.
    pub fn skew(seconds: i64) -> Environment {
        Environment::from([(CLOCK_SKEW.to_owned(), seconds.to_string())])
    }

    /// What a replica is started with so that it ends itself at a crash point.
    pub fn crash_at(point: &str) -> Environment {
        Environment::from([(CRASH_AT.to_owned(), point.to_owned())])
    }

    /// How processes ended by themselves when they should not have.
    pub fn exits(&self) -> Vec<String> {
        self.replicas.iter().flatten().chain([&self.sandbox]).flat_map(Process::exits).collect()
    }
}

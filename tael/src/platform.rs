//! All services in one process, wired as Kubernetes wires them: by addresses in the environment.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tael_clock::Clock;
use tael_config::Env;
use tael_principal::SigningKey;
use tael_runtime::{Service, TaskError};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::Error;

/// How a platform is started.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The PostgreSQL server.
    pub database_url: SecretString,
    /// The Redis server.
    pub redis_url: SecretString,
    /// The databases are named `<prefix>_<service>`.
    pub prefix: &'static str,
    /// Drops databases of these names first.
    pub fresh: bool,
    /// The services run as a role of their own, `<prefix>_service`, which may change no table; it is created. Otherwise
    /// they run as the role that migrates.
    pub own_role: bool,
    /// Which ports to listen on.
    pub ports: Ports,
    /// The keys that seal secrets in the databases.
    pub sealing_keys: SecretString,
    /// For mutual TLS between the services: where each has a folder of its name with the files `tls.crt`, `tls.key` and
    /// `ca.crt`. None without TLS.
    pub certificates: Option<PathBuf>,
    /// Where the sandbox keeps its keys over a restart. None makes new ones.
    pub sandbox_keys: Option<PathBuf>,
}

/// Which ports the services listen on.
#[derive(Clone, Copy, Debug)]
pub enum Ports {
    /// The documented ones.
    Usual,
    /// Whatever is free.
    Free,
}

/// Where everything is: socket addresses here, hosts and ports by name elsewhere.
#[derive(Clone, Debug)]
pub struct Addresses<A = SocketAddr> {
    /// The merchant service.
    pub merchant: A,
    /// The order service.
    pub order: A,
    /// The payment service.
    pub payment: A,
    /// The refund service.
    pub refund: A,
    /// The settlement service.
    pub settlement: A,
    /// The notification service.
    pub notification: A,
    /// The audit service.
    pub audit: A,
    /// The HTTP edge.
    pub gateway: A,
    /// The simulated channel.
    pub sandbox: A,
}

impl Addresses {
    fn choose(ports: Ports) -> Result<Self, Error> {
        let mut ports = match ports {
            Ports::Usual => vec![50051, 50052, 50053, 50054, 50055, 50056, 50057, 8080, 8090],
            Ports::Free => free_ports(9)?,
        }
        .into_iter();
        let mut next = || {
            let port = ports.next().expect("one port for each service");
            SocketAddr::from((Ipv4Addr::LOCALHOST, port))
        };
        Ok(Self {
            merchant: next(),
            order: next(),
            payment: next(),
            refund: next(),
            settlement: next(),
            notification: next(),
            audit: next(),
            gateway: next(),
            sandbox: next(),
        })
    }
}

/// Takes ports that nobody listens on. They are held together, so that they differ, and let go for the services.
fn free_ports(count: usize) -> Result<Vec<u16>, Error> {
    let held: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<_, _>>()?;
    Ok(held.iter().map(|l| l.local_addr().map(|a| a.port())).collect::<Result<_, _>>()?)
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Tael is running.\n")?;
        for (name, addr) in [
            ("merchant", self.merchant),
            ("order", self.order),
            ("payment", self.payment),
            ("refund", self.refund),
            ("settlement", self.settlement),
            ("notification", self.notification),
            ("audit", self.audit),
        ] {
            writeln!(f, "  {name:<13} grpc://{addr}")?;
        }
        writeln!(f, "  {:<13} http://{}", "gateway", self.gateway)?;
        writeln!(
            f,
            "  {:<13} http://{}  (plays Alipay; see services/sandbox/README.md)",
            "sandbox", self.sandbox
        )
    }
}

/// The running services.
#[derive(Debug)]
pub struct Platform {
    /// Where everything is.
    pub addresses: Addresses,
    services: JoinSet<(&'static str, Result<(), TaskError>)>,
    shutdown: CancellationToken,
}

impl Platform {
    /// Starts every service; when this returns all are bound, migrated and serving.
    pub async fn start(settings: Settings) -> Result<Self, Error> {
        let addresses = Addresses::choose(settings.ports)?;
        let sandbox = tael_sandbox::App::build(tael_sandbox::Config {
            listen: addresses.sandbox,
            // A notification that was not acknowledged comes again after a second instead of four minutes.
            time_scale: 240,
            key_dir: settings.sandbox_keys.clone(),
            ..tael_sandbox::Config::default()
        })
        .await?;
        if settings.own_role {
            create_role(&settings).await?;
        }
        let principal_keys = PrincipalKeys::new();
        let keys = &principal_keys;
        // Each has a database of its own, so the order does not matter, and together they start faster.
        let (merchant, order, payment, refund, settlement, notification, audit, gateway) = tokio::try_join!(
            Box::pin(build::<tael_merchant::App>(&settings, keys, &addresses, addresses.merchant)),
            Box::pin(build::<tael_order::App>(&settings, keys, &addresses, addresses.order)),
            Box::pin(build::<tael_payment::App>(&settings, keys, &addresses, addresses.payment)),
            Box::pin(build::<tael_refund::App>(&settings, keys, &addresses, addresses.refund)),
            Box::pin(build::<tael_settlement::App>(&settings, keys, &addresses, addresses.settlement)),
            Box::pin(build::<tael_notification::App>(&settings, keys, &addresses, addresses.notification)),
            Box::pin(build::<tael_audit::App>(&settings, keys, &addresses, addresses.audit)),
            Box::pin(build::<tael_gateway::App>(&settings, keys, &addresses, addresses.gateway)),
        )?;
        let mut platform = Self { addresses, services: JoinSet::new(), shutdown: CancellationToken::new() };
        let shutdown = platform.shutdown.clone();
        platform.services.spawn(async move {
            let result = sandbox.run(shutdown.cancelled_owned()).await;
            ("sandbox", result.map_err(|e| TaskError::Failed("sandbox", Box::new(e))))
        });
        platform.spawn(merchant);
        platform.spawn(order);
        platform.spawn(payment);
        platform.spawn(refund);
        platform.spawn(settlement);
        platform.spawn(notification);
        platform.spawn(audit);
        platform.spawn(gateway);
        Ok(platform)
    }

    fn spawn<S: Service>(&mut self, service: S) {
        let shutdown = self.shutdown.clone();
        self.services.spawn(async move { (S::NAME, service.run(shutdown).await) });
    }

    /// Runs until told to end; an error if a service fails before.
    pub async fn run_until(mut self, shutdown: CancellationToken) -> Result<(), Error> {
        tokio::select! {
            () = shutdown.cancelled() => self.stop().await,
            Some(ended) = self.services.join_next() => {
                let (name, result) = ended?;
                self.shutdown.cancel();
                while self.services.join_next().await.is_some() {}
                result.map_err(|e| Error::from(format!("{name}: {}", tael_grpc::status::Chain(&e))))
            }
        }
    }

    /// Tells every service to end and waits until all have drained.
    pub async fn stop(mut self) -> Result<(), Error> {
        self.shutdown.cancel();
        let mut first = Ok(());
        while let Some(ended) = self.services.join_next().await {
            let (name, result) = ended?;
            first = first
                .and(result.map_err(|e| Error::from(format!("{name}: {}", tael_grpc::status::Chain(&e)))));
        }
        first
    }
}

/// The keys of principals. Tokens live for minutes, so new keys at each start cost nobody more than a new token.
struct PrincipalKeys {
    signing: SecretString,
    verification: String,
}

impl PrincipalKeys {
    fn new() -> Self {
        let (signing, key) = SigningKey::generate("dev");
        Self { signing, verification: key.verification_text() }
    }
}

async fn build<S: Service>(
    settings: &Settings,
    principal_keys: &PrincipalKeys,
    addresses: &Addresses,
    listen: SocketAddr,
) -> Result<S, Error> {
    let mut database_url = database_url(settings, S::NAME)?;
    if !S::SCHEMAS.is_empty() {
        if settings.fresh {
            drop_database(&settings.database_url, &database_url).await?;
        }
        tael_postgres::create_database(&database_url).await?;
    }
    let mut variables = BTreeMap::new();
    let mut set = |name: &str, value: String| variables.insert(name.to_owned(), value);
    if settings.own_role && !S::SCHEMAS.is_empty() {
        let role = own_role(settings);
        tael_runtime::migrate::<S>(&database_url, Some(&role)).await?;
        let mut url: Url = database_url.expose_secret().parse()?;
        url.set_username(&role).map_err(|()| "the address of the database has no place for a user")?;
        database_url = url.as_str().into();
        set("TAEL_MIGRATE_AT_START", "false".to_owned());
    }
    set("TAEL_LISTEN", listen.to_string());
    set("TAEL_DATABASE_URL", database_url.expose_secret().to_owned());
    set("TAEL_REDIS_URL", settings.redis_url.expose_secret().to_owned());
    set("TAEL_SEALING_KEYS", settings.sealing_keys.expose_secret().to_owned());
    set("TAEL_PRINCIPAL_KEYS", principal_keys.verification.clone());
    if S::NAME == tael_merchant::App::NAME {
        set("TAEL_PRINCIPAL_SIGNING_KEY", principal_keys.signing.expose_secret().to_owned());
    }
    set("TAEL_PUBLIC_URL", format!("http://{}", addresses.gateway));
    for (name, addr) in [
        ("TAEL_MERCHANT_URL", addresses.merchant),
        ("TAEL_ORDER_URL", addresses.order),
        ("TAEL_PAYMENT_URL", addresses.payment),
        ("TAEL_REFUND_URL", addresses.refund),
        ("TAEL_SETTLEMENT_URL", addresses.settlement),
        ("TAEL_NOTIFICATION_URL", addresses.notification),
    ] {
        let url = match settings.certificates {
            // Certificates are for names.
            Some(_) => format!("https://localhost:{}", addr.port()),
            None => format!("http://{addr}"),
        };
        set(name, url);
    }
    if let Some(folder) = &settings.certificates {
        let file = |name| folder.join(S::NAME).join(name).display().to_string();
        set("TAEL_TLS_CERTIFICATE", file("tls.crt"));
        set("TAEL_TLS_KEY", file("tls.key"));
        set("TAEL_TLS_AUTHORITY", file("ca.crt"));
    }
    // A merchant under development receives webhooks on this machine, and the channels are simulated here.
    set("TAEL_EGRESS_ALLOW_LOCAL", "true".to_owned());
    // What is set for the whole process, such as poll intervals, holds for every service.
    for (name, value) in std::env::vars().filter(|(name, _)| name.starts_with("TAEL_")) {
        variables.entry(name).or_insert(value);
    }
    let config = S::config(&mut Env::from_map(variables))?;
    S::build(config, Clock::system())
        .await
        .map_err(|e| Error::from(format!("{} could not start: {}", S::NAME, tael_grpc::status::Chain(&*e))))
}

fn database_url(settings: &Settings, service: &str) -> Result<SecretString, Error> {
    let mut url: Url = settings.database_url.expose_secret().parse()?;
    url.set_path(&format!("{}_{service}", settings.prefix));
    Ok(url.as_str().into())
}

fn own_role(settings: &Settings) -> String {
    format!("{}_service", settings.prefix)
}

/// Creates the role that services run as, with the password of the address, unless it exists.
async fn create_role(settings: &Settings) -> Result<(), Error> {
    let url: Url = settings.database_url.expose_secret().parse()?;
    let mut conn = PgConnection::connect(url.as_str()).await?;
    // The name is ours: a fixed prefix.
    let role = own_role(settings);
    match sqlx::query(AssertSqlSafe(format!("create role {role} login"))).execute(&mut conn).await {
        // 42710 duplicate_object
        Err(sqlx::Error::Database(e)) if e.code().as_deref() == Some("42710") => {}
        created => created.map(drop)?,
    }
    // Also of one that exists: the address may have had another password then.
    if let Some(password) = password(&url)? {
        let sql = format!("alter role {role} password '{}'", password.replace('\'', "''"));
        sqlx::query(AssertSqlSafe(sql)).execute(&mut conn).await?;
    }
    Ok(())
}

/// Reads the password of an address, where some characters stand as a percent sign and their number.
fn password(url: &Url) -> Result<Option<String>, Error> {
    let decoded = url.password().map(|password| percent_decode_str(password).decode_utf8());
    Ok(decoded.transpose()?.map(String::from))
}

async fn drop_database(server: &SecretString, database: &SecretString) -> Result<(), Error> {
    let url: Url = database.expose_secret().parse()?;
    let name = url.path().trim_start_matches('/').to_owned();
    let mut conn = PgConnection::connect(server.expose_secret()).await?;
    // The name is ours: a fixed prefix and a service's name.
    sqlx::query(AssertSqlSafe(format!("drop database if exists \"{name}\" with (force)")))
        .execute(&mut conn)
        .await?;
    Ok(())
}

/// Reads the sealing keys: from `TAEL_SEALING_KEYS`, or from the file, which is made when there is none.
pub fn sealing_keys(file: &Path) -> Result<SecretString, Error> {
    if let Ok(keys) = std::env::var("TAEL_SEALING_KEYS") {
        return Ok(keys.into());
    }
    match fs::read_to_string(file) {
        Ok(keys) => Ok(keys.trim().into()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let keys = tael_sealed::Keyring::generate_text("dev");
            if let Some(folder) = file.parent() {
                fs::create_dir_all(folder)?;
            }
            let mut options = fs::OpenOptions::new();
            options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(file)?
                .write_all(keys.expose_secret().as_bytes())?;
            Ok(keys)
        }
        Err(error) => Err(format!("{}: {error}", file.display()).into()),
    }
}

/// Waits for SIGINT or SIGTERM.
pub async fn interrupted() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::password;

    #[test]
    fn a_password_is_what_the_address_says_in_other_letters() {
        for (url, expected) in [
            ("postgres://tael:p%40ss%2Fw%C3%B6rd+%25@localhost/tael", Some("p@ss/wörd+%")),
            ("postgres://tael:plain@localhost/tael", Some("plain")),
            ("postgres://tael@localhost/tael", None),
        ] {
            assert_eq!(password(&url.parse().unwrap()).unwrap().as_deref(), expected, "{url}");
        }
        assert!(password(&"postgres://tael:%FF@localhost/tael".parse().unwrap()).is_err());
    }
}

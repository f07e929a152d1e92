//! What every service with state is configured with.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::path::PathBuf;

use secrecy::SecretString;
use sqlx::PgPool;
use tael_clock::Clock;
use tael_config::Env;
use tael_grpc::server::{self, Bound, Check, Limits, Readiness, RpcAccess};
use tael_grpc::tls::{Files, Identity};
use tael_idempotency::Idempotency;
use tael_principal::{VerificationKeys, Verifier};

use crate::{Service, StartError, database_time, gauges};

/// Address, database and Redis of a service.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    /// `TAEL_LISTEN`: where to serve gRPC; port 0 takes a free one. By default 0.0.0.0:50051.
    pub listen: SocketAddr,
    /// `TAEL_HEALTH_LISTEN`: where to serve health alone, without TLS, for who probes and has no certificate; nowhere by
    /// default.
    pub health_listen: Option<SocketAddr>,
    /// `TAEL_TLS_CERTIFICATE`, `TAEL_TLS_KEY`, `TAEL_TLS_AUTHORITY`, see [`Files`]: with them callers must show a
    /// certificate of the authority, and peers whose URL begins with `https://` are shown ours; all three or none.
    pub tls: Option<Files>,
    /// `TAEL_DATABASE_URL`: the service's own PostgreSQL database.
    pub database_url: SecretString,
    /// `TAEL_DATABASE_CONNECTIONS`: how many connections to it at most; 16 by default.
    pub database_connections: u32,
    /// `TAEL_MIGRATE_AT_START`: whether the service brings its schema up to date when it starts, which takes a role that
    /// may create tables; true by default. Otherwise it waits until `migrate` has, as it waits for a database that is away.
    pub migrate_at_start: bool,
    /// `TAEL_REDIS_URL`: Redis, for idempotency keys.
    pub redis_url: SecretString,
    /// `TAEL_EVENT_RETENTION_DAYS`: after how many days events may be removed from the log, 1 to 65535; none keeps
    /// them for ever.
    pub event_retention_days: Option<NonZeroU16>,
    /// `TAEL_PRINCIPAL_KEYS`: the public keys by which principals are verified, `<key-id>:<base64>` separated by commas, see
    /// `tael_principal`. Without any, a call that names a principal is refused.
    pub principal_keys: Option<VerificationKeys>,
    /// `TAEL_MAX_IN_FLIGHT`: how many calls are worked on at once, 1 to 65535; further ones are refused. 256 by default.
    pub max_in_flight: NonZeroU16,
}

impl ServiceConfig {
    /// How many calls are worked on at once unless it is configured. On two cores a full service still answers each
    /// within a fraction of a second, and there is room for calls that only wait for a slow channel.
    pub const MAX_IN_FLIGHT: NonZeroU16 = NonZeroU16::new(256).expect("it is not zero");

    /// Returns the bounds of the service's server.
    pub fn limits(&self) -> Limits {
        Limits { max_in_flight: self.max_in_flight.get().into(), ..Limits::default() }
    }

    /// Reads the variables above.
    pub fn read(env: &mut Env) -> Option<Self> {
        let listen = env.or("TAEL_LISTEN", SocketAddr::from((Ipv4Addr::UNSPECIFIED, 50051)));
        let health_listen = env.optional("TAEL_HEALTH_LISTEN");
        let tls = tls_files(env);
        let database_url = env.secret("TAEL_DATABASE_URL");
        let database_connections = env.or("TAEL_DATABASE_CONNECTIONS", 16);
        let migrate_at_start = env.flag("TAEL_MIGRATE_AT_START", true);
        let redis_url = env.secret("TAEL_REDIS_URL");
        let event_retention_days = env.optional("TAEL_EVENT_RETENTION_DAYS");
        let principal_keys = env.optional("TAEL_PRINCIPAL_KEYS");
        let max_in_flight = env.or("TAEL_MAX_IN_FLIGHT", Self::MAX_IN_FLIGHT);
        Some(Self {
            listen,
            health_listen,
            tls,
            database_url: database_url?,
            database_connections,
            migrate_at_start,
            redis_url: redis_url?,
            event_retention_days,
            principal_keys,
            max_in_flight,
        })
    }

    /// Connects to the service's database, brings the schema up to date or makes sure that it is, and lets the clock
    /// follow the database's as long as the pool is open.
    pub async fn database<S: Service>(&self, clock: &Clock) -> Result<PgPool, StartError> {
        let pool = tael_postgres::connect(&self.database_url, S::NAME, self.database_connections)?;
        let migrators = S::SCHEMAS.iter().map(|schema| schema.migrator);
        if self.migrate_at_start {
            for migrator in migrators {
                tael_postgres::migrate(&pool, migrator).await?;
            }
        } else {
            tael_postgres::check(&pool, &migrators.collect::<Vec<_>>()).await?;
        }
        database_time::set(clock, &pool).await?;
        tokio::spawn(database_time::follow(clock.clone(), pool.clone()));
        gauges::tell_connections(S::NAME, &pool);
        Ok(pool)
    }

    /// Reads the certificates, and from then on whenever their files change; none without TLS.
    pub async fn identity(&self) -> Result<Option<Identity>, StartError> {
        identity(self.tls.as_ref()).await
    }

    /// Binds the address, and that for probes. With an identity, callers may make the calls that the table allows them.
    /// Principals are verified by the clock given.
    pub async fn bind(
        &self,
        identity: Option<Identity>,
        callers: RpcAccess,
        clock: &Clock,
    ) -> Result<Bound, StartError> {
        let mut bound = server::bind(self.listen, self.limits()).await?;
        if let Some(keys) = &self.principal_keys {
            bound = bound.with_principals(Verifier::new(keys.clone(), clock.clone()));
        }
        if let Some(addr) = self.health_listen {
            bound = bound.with_health(addr).await?.0;
        }
        Ok(match identity {
            Some(identity) => bound.secured(identity, callers),
            None => bound.serving(callers),
        })
    }

    /// Prepares the fast guard against repeated calls.
    pub fn idempotency(&self) -> Result<Idempotency, StartError> {
        Ok(Idempotency::connect(&self.redis_url)?)
    }
}

/// Reads the variables of TLS: all three, or none.
pub fn tls_files(env: &mut Env) -> Option<Files> {
    let names = ["TAEL_TLS_CERTIFICATE", "TAEL_TLS_KEY", "TAEL_TLS_AUTHORITY"];
    names.into_iter().find_map(|name| env.optional::<String>(name))?;
    // One is set; that another is not is noted.
    let [certificate, key, authority] = names.map(|name| env.required::<PathBuf>(name));
    Some(Files { certificate: certificate?, key: key?, authority: authority? })
}

/// Reads certificates, if there are any, and from then on whenever their files change.
pub async fn identity(files: Option<&Files>) -> Result<Option<Identity>, StartError> {
    Ok(match files {
        Some(files) => Some(Identity::read(files.clone()).await?),
        None => None,
    })
}

/// The readiness of a service with a database and Redis: without the database no call can succeed; without Redis
/// calls are slower.
pub fn readiness(pool: &PgPool, idempotency: &Idempotency) -> Readiness {
    let (pool, idempotency) = (pool.clone(), idempotency.clone());
    Readiness::new(vec![
        Check::required("postgres", move || {
            let pool = pool.clone();
            async move { tael_postgres::ping(&pool).await }
        }),
        Check::degrading("redis", move || {
            let idempotency = idempotency.clone();
            async move { idempotency.ping().await }
        }),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls(set: &[&str]) -> Result<Option<Files>, String> {
        let variables = set.iter().map(|name| (format!("TAEL_TLS_{name}"), format!("/tls/{name}")));
        let mut env = Env::from_map(variables);
        let files = tls_files(&mut env);
        env.finish(|| Some(files)).map_err(|error| error.to_string())
    }

    #[test]
    fn of_the_files_for_tls_all_are_set_or_none() {
        assert_eq!(tls(&[]), Ok(None));
        let files = tls(&["CERTIFICATE", "KEY", "AUTHORITY"]).unwrap().unwrap();
        assert_eq!(files.authority, PathBuf::from("/tls/AUTHORITY"));
        for (set, missing) in [
            (["CERTIFICATE", "KEY"], "TAEL_TLS_AUTHORITY"),
            (["CERTIFICATE", "AUTHORITY"], "TAEL_TLS_KEY"),
            (["KEY", "AUTHORITY"], "TAEL_TLS_CERTIFICATE"),
        ] {
            assert!(tls(&set).unwrap_err().contains(missing), "{missing}");
        }
    }

    fn days(value: Option<&str>) -> Result<Option<u16>, String> {
        let needed = [("TAEL_DATABASE_URL", "postgres://h/d"), ("TAEL_REDIS_URL", "redis://h")];
        let given = value.map(|value| ("TAEL_EVENT_RETENTION_DAYS", value));
        let variables =
            needed.into_iter().chain(given).map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut env = Env::from_map(variables);
        let base = ServiceConfig::read(&mut env);
        env.finish(|| base)
            .map(|base| base.event_retention_days.map(NonZeroU16::get))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn events_are_kept_for_ever_unless_days_are_given() {
        assert_eq!(days(None), Ok(None));
        assert_eq!(days(Some("400")), Ok(Some(400)));
        for bad in ["0", "-1", "65536", "a year"] {
            assert!(days(Some(bad)).unwrap_err().contains("TAEL_EVENT_RETENTION_DAYS"), "{bad}");
        }
    }
}

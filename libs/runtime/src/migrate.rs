//! The subcommand that brings a service's schema up to date.

use std::process::ExitCode;
use std::time::Duration;

use secrecy::SecretString;
use tael_grpc::status::Chain;
use tokio_util::sync::CancellationToken;

use crate::start::retry;
use crate::{Service, StartError};

/// Migrates, and grants the rights to `role` if there is one. Exit codes as of [`main`](crate::main).
pub(crate) async fn run<S: Service>(
    database_url: SecretString,
    role: Option<String>,
    patience: Duration,
    shutdown: CancellationToken,
) -> ExitCode {
    let migrated = tokio::select! {
        migrated = retry(patience, || migrate::<S>(&database_url, role.as_deref())) => migrated,
        () = shutdown.cancelled() => Err("told to end before it was done".into()),
    };
    match migrated {
        Ok(()) => {
            tracing::info!(service = S::NAME, role, "the schema is up to date");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!(error = %Chain(&*error), "could not migrate");
            ExitCode::from(3)
        }
    }
}

/// Brings the schema of a service's database up to date, and gives `role`, if there is one, the rights to work with it.
pub async fn migrate<S: Service>(database_url: &SecretString, role: Option<&str>) -> Result<(), StartError> {
    let pool = tael_postgres::connect(database_url, S::NAME, 1)?;
    for schema in S::SCHEMAS {
        tael_postgres::migrate(&pool, schema.migrator).await?;
    }
    if let Some(role) = role {
        tael_postgres::grant(&pool, role, S::SCHEMAS).await?;
    }
    pool.close().await;
    Ok(())
}

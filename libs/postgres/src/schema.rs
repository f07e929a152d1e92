//! A database's schema: brought up to date, compared with what a build knows, and opened to a role that may not change it.

use sqlx::migrate::{MigrateError, Migration, Migrator};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};

/// A part of a database's schema, with a table of migrations of its own.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// The migrations.
    pub migrator: &'static Migrator,
    /// What a role needs to work with these tables and no more: statements in which `:role` stands for its name and
    /// `:database` for that of the database.
    pub grants: &'static str,
}

/// Brings the schema up to date. Replicas that start at once wait for one another.
///
/// Migrations of a newer build are left alone: while a release is rolled out, or taken back, an old replica has to start
/// beside it. (Migrations expand first, so that the old build finds what it knows.)
///
/// A statement may take as long as it needs, as building an index does; but for a lock it waits as short as any other,
/// because everybody else queues behind it. It then fails with an error [that passes](crate::is_transient).
pub async fn migrate(pool: &PgPool, migrator: &Migrator) -> Result<(), MigrateError> {
    let mut known = Migrator::with_migrations(migrator.migrations.to_vec());
    known.dangerous_set_table_name(migrator.table_name.clone());
    known.set_ignore_missing(true);
    // A migrator that fails leaves its lock to its session, so the session must end.
    let mut conn = pool.acquire().await?.detach();
    sqlx::query("set statement_timeout = 0").execute(&mut conn).await?;
    // As `run`, whose future can't be sent to another thread when it is given a connection.
    known.run_direct(None, &mut conn, false).await?;
    // What was done is done, whether or not the server hears the farewell.
    drop(conn.close().await);
    Ok(())
}

/// Why a build can't work with a schema.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// These migrations are yet to be applied.
    #[error("the schema is older than this build; not yet applied: {}", .0.join(", "))]
    Behind(Vec<String>),
    /// This table was made, and the role was not given its rights yet, as at the end of a migration it is.
    #[error("the rights are yet to be given to this role; it may not read {0}")]
    Closed(String),
    /// This migration was applied, but as another build knows it.
    #[error("migration {0} was applied with another content than this build knows")]
    Changed(String),
    /// Nothing could be found out.
    #[error("the schema could not be looked at")]
    Database(#[from] sqlx::Error),
}

/// Says whether the schema is at least at the level of these migrators. Needs no more than to read their tables.
pub async fn check(pool: &PgPool, migrators: &[&Migrator]) -> Result<(), SchemaError> {
    let mut conn = pool.acquire().await?;
    let mut behind = Vec::new();
    for migrator in migrators {
        if !is_open(&mut conn, &migrator.table_name).await? {
            return Err(SchemaError::Closed(migrator.table_name.to_string()));
        }
        let applied = applied(&mut conn, migrator).await?;
        for migration in migrator.iter().filter(|migration| migration.migration_type.is_up_migration()) {
            match applied.iter().find(|(version, _)| *version == migration.version) {
                None => behind.push(name(migration)),
                Some((_, checksum)) if *checksum != *migration.checksum => {
                    return Err(SchemaError::Changed(name(migration)));
                }
                Some(_) => {}
            }
        }
    }
    if behind.is_empty() { Ok(()) } else { Err(SchemaError::Behind(behind)) }
}

/// Says whether this role may read the table, if there is one. Asked for, and not tried: the server, too, would log a
/// refusal as an error.
async fn is_open(conn: &mut PgConnection, table: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select coalesce(has_table_privilege(to_regclass($1), 'select'), true)")
        .bind(table)
        .fetch_one(conn)
        .await
}

/// Returns the versions and the checksums of the migrations that were applied to their end.
async fn applied(conn: &mut PgConnection, migrator: &Migrator) -> Result<Vec<(i64, Vec<u8>)>, sqlx::Error> {
    let table = &migrator.table_name;
    let exists: bool =
        sqlx::query_scalar("select to_regclass($1) is not null").bind(&**table).fetch_one(&mut *conn).await?;
    if !exists {
        return Ok(Vec::new());
    }
    sqlx::query_as(AssertSqlSafe(format!("select version, checksum from {table} where success")))
        .fetch_all(conn)
        .await
}

/// Says whether a newer build migrated: something was applied that these migrators do not know.
async fn is_newer(conn: &mut PgConnection, schemas: &[Schema]) -> Result<bool, sqlx::Error> {
    for Schema { migrator, .. } in schemas {
        let applied = applied(conn, migrator).await?;
        if applied.iter().any(|(version, _)| !migrator.version_exists(*version)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A migration as its file is called.
fn name(migration: &Migration) -> String {
    format!("{:04}_{}", migration.version, migration.description.replace(' ', "_"))
}

/// Why a role was not given its rights.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// There is no such role.
    #[error("there is no role {0:?}")]
    NoSuchRole(String),
    /// It is the role that migrates, a member of it, or a superuser: nothing could be kept from it.
    #[error("{0:?} owns the tables, or may act as the role that does; a service needs another one")]
    Owner(String),
    /// The database refused.
    #[error("the rights could not be granted")]
    Database(#[from] sqlx::Error),
}

/// Gives a role the rights to work with these schemas, and takes from it what it had beyond that in the tables of the
/// current schema and of the database. To be called by the owner of both, after every migration.
///
/// From a schema that a newer build migrated nothing is taken: after a release was taken back, its replicas still run.
pub async fn grant(pool: &PgPool, role: &str, schemas: &[Schema]) -> Result<(), GrantError> {
    let mut tx = pool.begin().await?;
    // Who grants at the same time would meet "tuple concurrently updated".
    sqlx::query("select pg_advisory_xact_lock(hashtext('tael grants'))").execute(&mut *tx).await?;
    let (exists, owns, schema, database): (bool, bool, String, String) = sqlx::query_as(
        "select count(*) > 0, coalesce(bool_or(pg_has_role(oid, current_user, 'member')), false),
                quote_ident(current_schema()), quote_ident(current_database())
         from pg_roles where rolname = $1",
    )
    .bind(role)
    .fetch_one(&mut *tx)
    .await?;
    if !exists {
        return Err(GrantError::NoSuchRole(role.to_owned()));
    }
    if owns {
        return Err(GrantError::Owner(role.to_owned()));
    }
    let quoted = format!("\"{}\"", role.replace('"', "\"\""));
    let mut statements = Vec::new();
    if !is_newer(&mut tx, schemas).await? {
        statements.push(format!("revoke all on all tables in schema {schema} from {quoted}"));
        statements.push(format!("revoke all on all sequences in schema {schema} from {quoted}"));
        statements.push(format!("revoke all on database {database} from {quoted}"));
    }
    // Everybody may connect unless that was taken from them.
    statements.push(format!("grant connect on database {database} to {quoted}"));
    statements.push(format!("grant usage on schema {schema} to {quoted}"));
    statements.push(format!("grant execute on all functions in schema {schema} to {quoted}"));
    for Schema { migrator, grants } in schemas {
        statements.push(format!("grant select on {} to {quoted}", migrator.table_name));
        statements.push(grants.replace(":role", &quoted).replace(":database", &database));
    }
    sqlx::raw_sql(AssertSqlSafe(statements.join(";\n"))).execute(&mut *tx).await?;
    Ok(tx.commit().await?)
}

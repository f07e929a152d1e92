//! Schemas that are migrated once for a server and copied for every test.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tael_postgres::Schema;
use url::Url;
use uuid::Uuid;

/// What the name of every template begins with; `scripts/test.sh` removes them by it.
const PREFIX: &str = "tael_template_";

/// Creates the database `name` with these schemas: a copy of the template that was made of the same migrations, by
/// whichever process came first.
pub(crate) async fn copy(server: &Url, name: &str, schemas: &[Schema]) {
    let template = template(schemas);
    let mut conn = PgConnection::connect(server.as_str()).await.expect("a test may connect");
    let sql = format!("create database \"{name}\" template \"{template}\"");
    loop {
        match sqlx::raw_sql(AssertSqlSafe(sql.as_str())).execute(&mut conn).await {
            Ok(_) => break,
            // invalid_catalog_name: nobody has made the template yet.
            Err(error) if code(&error) == "3D000" => make(&mut conn, server, &template, schemas).await,
            // object_in_use: the session that migrated it has not quite ended.
            Err(error) if code(&error) == "55006" => {}
            Err(error) => panic!("the template could not be copied: {error}"),
        }
    }
    drop(conn.close().await);
}

fn code(error: &sqlx::Error) -> String {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).unwrap_or_default().into_owned()
}

/// The template's name: another one for every other set of migrations, so that it need never be brought up to date.
fn template(schemas: &[Schema]) -> String {
    let mut hash = DefaultHasher::new();
    for Schema { migrator, .. } in schemas {
        migrator.table_name.hash(&mut hash);
        for migration in migrator.iter() {
            (migration.version, &migration.checksum).hash(&mut hash);
        }
    }
    format!("{PREFIX}{:016x}", hash.finish())
}

/// Makes the template unless another process has by now. It gets its name when it is complete, so that a process that
/// dies meanwhile leaves no half of one under it.
async fn make(conn: &mut PgConnection, server: &Url, template: &str, schemas: &[Schema]) {
    run(conn, &format!("select pg_advisory_lock(hashtext('{template}'))")).await;
    let exists: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(template)
        .fetch_one(&mut *conn)
        .await
        .expect("a test may look which databases there are");
    if !exists {
        let unfinished = format!("tael_test_{}", Uuid::new_v4().simple());
        run(conn, &format!("create database \"{unfinished}\"")).await;
        let mut url = server.clone();
        url.set_path(&unfinished);
        let pool = tael_postgres::connect(&SecretString::from(url.as_str()), "template", 1)
            .expect("the address was used before");
        for Schema { migrator, .. } in schemas {
            tael_postgres::migrate(&pool, migrator).await.expect("the migrations can be applied");
        }
        pool.close().await;
        run(conn, &format!("alter database \"{unfinished}\" rename to \"{template}\"")).await;
    }
    run(conn, &format!("select pg_advisory_unlock(hashtext('{template}'))")).await;
}

async fn run(conn: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await.expect("a test may create databases");
}

/// Drops a database, and the role that was named after it.
pub(crate) async fn drop_with_role(server: &SecretString, name: &str) -> Result<(), sqlx::Error> {
    let mut conn = PgConnection::connect(server.expose_secret()).await?;
    // Its rights in the database go with the database, and the role can follow.
    for sql in [
        format!("drop database if exists \"{name}\" with (force)"),
        format!("drop role if exists \"{name}_service\""),
    ] {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await?;
    }
    conn.close().await
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use futures::future::join_all;
    use sqlx::SqlSafeStr as _;
    use sqlx::migrate::{Migration, MigrationType, Migrator};

    use super::*;
    use crate::TestDatabase;

    fn schema(table: &str) -> Schema {
        let sql = AssertSqlSafe(format!("create table {table} (id int); insert into {table} values (7)"));
        let migration =
            Migration::new(1, Cow::Borrowed("only"), MigrationType::Simple, sql.into_sql_str(), false);
        let migrator = Box::leak(Box::new(Migrator::with_migrations(vec![migration])));
        Schema { migrator, grants: "" }
    }

    #[tokio::test]
    async fn a_schema_is_migrated_once_however_many_want_it_at_once() {
        // A name of its own, so that no earlier run has made the template.
        let table = format!("t{}", Uuid::new_v4().simple());
        let schema = schema(&table);
        let copies = join_all((0..6).map(|_| TestDatabase::migrated(std::slice::from_ref(&schema)))).await;
        let applied = format!(
            "select (select id from {table}), (select min(installed_on) from _sqlx_migrations)::text"
        );
        let mut seen = Vec::new();
        for copy in &copies {
            let row: (i32, String) =
                sqlx::query_as(AssertSqlSafe(applied.as_str())).fetch_one(&copy.pool()).await.unwrap();
            seen.push(row);
        }
        assert_eq!(seen[0].0, 7);
        assert!(seen.iter().all(|row| *row == seen[0]), "migrated more than once: {seen:?}");

        let copy = &copies[0];
        sqlx::query(AssertSqlSafe(format!("delete from {table}"))).execute(&copy.pool()).await.unwrap();
        let fresh = TestDatabase::migrated(&[schema]).await;
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {table}")))
            .fetch_one(&fresh.pool())
            .await
            .unwrap();
        assert_eq!(count, 1, "what a test does to its copy is not the template's");
        drop((copies, fresh));
        let server = SecretString::from(std::env::var("TAEL_DATABASE_URL").unwrap());
        drop_with_role(&server, &template(&[self::schema(&table)])).await.unwrap();
    }

    #[test]
    fn other_migrations_are_another_template() {
        assert_eq!(template(&[schema("a")]), template(&[schema("a")]));
        assert_ne!(template(&[schema("a")]), template(&[schema("b")]));
        assert_ne!(template(&[schema("a")]), template(&[schema("a"), schema("a")]));
    }
}

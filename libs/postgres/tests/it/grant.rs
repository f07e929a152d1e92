//! The rights of the role that a service runs as.

use sqlx::{AssertSqlSafe, PgPool};
use tael_postgres::{Schema, grant, migrate};
use tael_testkit::{TestDatabase, TestRole};

use crate::migrate::build_with;

/// A schema as a build knows it whose migrations these are.
async fn migrated(pool: &PgPool, migrations: &[&'static str], grants: &'static str) -> Schema {
    let migrator = Box::leak(Box::new(build_with(migrations)));
    migrate(pool, migrator).await.unwrap();
    Schema { migrator, grants }
}

async fn run(pool: &PgPool, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.unwrap();
}

/// Says whether the role has a right to a table.
async fn may(pool: &PgPool, role: &TestRole, right: &str, table: &str) -> bool {
    sqlx::query_scalar("select has_table_privilege($1, $2, $3)")
        .bind(role.name())
        .bind(table)
        .bind(right)
        .fetch_one(pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_role_has_what_its_build_needs_and_an_older_build_takes_nothing_from_a_newer() {
    let database = TestDatabase::create().await;
    let (pool, role) = (database.pool(), database.role().await);
    let (a, b) = ("create table a ()", "create table b ()");

    let old = migrated(&pool, &[a], "grant select on a to :role").await;
    run(&pool, format!("grant delete on a to {}", role.name())).await;
    grant(&pool, role.name(), &[old]).await.unwrap();
    assert!(may(&pool, &role, "select", "a").await);
    assert!(!may(&pool, &role, "delete", "a").await, "what was given by hand is taken");

    let new = migrated(&pool, &[a, b], "grant select, insert on a, b to :role").await;
    grant(&pool, role.name(), &[new]).await.unwrap();
    grant(&pool, role.name(), &[old]).await.unwrap();
    for (right, table) in [("select", "a"), ("insert", "a"), ("select", "b"), ("insert", "b")] {
        assert!(may(&pool, &role, right, table).await, "{right} on {table}");
    }
}

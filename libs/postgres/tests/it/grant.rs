//! The rights of the role that a service runs as.

use sqlx::{AssertSqlSafe, PgPool};
use tael_postgres::{GrantError, Schema, grant, migrate};
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

#[tokio::test]
async fn a_role_may_do_with_the_database_what_it_needs_whatever_others_may() {
    let database = TestDatabase::create().await;
    let (pool, role) = (database.pool(), database.role().await);
    let modest = migrated(&pool, &["create table a ()"], "grant select on a to :role").await;
    let wants_more = Schema { grants: "grant temporary on database :database to :role", ..modest };
    let may = async |right: &str| -> bool {
        sqlx::query_scalar("select has_database_privilege($1, current_database(), $2)")
            .bind(role.name())
            .bind(right)
            .fetch_one(&pool)
            .await
            .unwrap()
    };
    let revoke = |right: &str| {
        let sql = format!(
            "do $$ begin execute format('revoke {right} on database %I from public', current_database()); end $$"
        );
        run(&pool, sql)
    };
    revoke("connect").await;
    assert!(!may("connect").await && may("temporary").await);
    grant(&pool, role.name(), &[modest]).await.unwrap();
    assert!(may("connect").await);
    revoke("temporary").await;
    assert!(!may("temporary").await, "it was everybody's");
    grant(&pool, role.name(), &[wants_more]).await.unwrap();
    assert!(may("connect").await && may("temporary").await);
    grant(&pool, role.name(), &[modest]).await.unwrap();
    assert!(may("connect").await && !may("temporary").await);
    sqlx::query("select from a").fetch_optional(&role.pool()).await.unwrap();
}

#[tokio::test]
async fn a_role_that_could_change_the_tables_all_the_same_is_refused() {
    let database = TestDatabase::create().await;
    let (pool, role) = (database.pool(), database.role().await);
    let schema = migrated(&pool, &["create table a ()"], "grant select on a to :role").await;
    let name = role.name();
    let refused = async |role: &str| grant(&pool, role, &[schema]).await.unwrap_err();
    assert!(matches!(refused("tael_test_nobody").await, GrantError::NoSuchRole(_)));
    let owner: String = sqlx::query_scalar("select current_user::text").fetch_one(&pool).await.unwrap();
    for (make, unmake) in [
        (format!("alter role {name} superuser"), format!("alter role {name} nosuperuser")),
        (format!("grant {owner} to {name}"), format!("revoke {owner} from {name}")),
    ] {
        run(&pool, make).await;
        assert!(matches!(refused(name).await, GrantError::Owner(_)));
        run(&pool, unmake).await;
    }
    assert!(matches!(refused(&owner).await, GrantError::Owner(_)));
    grant(&pool, name, &[schema]).await.unwrap();
}

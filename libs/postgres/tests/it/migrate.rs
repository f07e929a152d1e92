//! Bringing schemas up to date, beside other builds.

use std::borrow::Cow;

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use tael_testkit::TestDatabase;

/// A build whose migrations these are.
pub(crate) fn build_with(tables: &[&'static str]) -> Migrator {
    let migrations = (1..).zip(tables).map(|(version, sql)| {
        Migration::new(version, Cow::Borrowed("table"), MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(migrations.collect())
}

#[tokio::test]
async fn an_old_build_starts_beside_a_newer_schema_and_not_on_another_one() {
    let database = TestDatabase::create().await;
    let pool = database.pool();
    let (old, new) =
        (build_with(&["create table a ()"]), build_with(&["create table a ()", "create table b ()"]));
    tael_postgres::migrate(&pool, &old).await.unwrap();
    tael_postgres::migrate(&pool, &new).await.unwrap();
    tael_postgres::migrate(&pool, &old).await.unwrap();
    sqlx::query("select from b").fetch_optional(&pool).await.unwrap();
    // What was applied is still compared.
    let other = build_with(&["create table c ()"]);
    assert!(tael_postgres::migrate(&pool, &other).await.is_err());
}

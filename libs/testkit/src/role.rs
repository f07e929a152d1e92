//! A role of a test's own.

use secrecy::SecretString;
use sqlx::{AssertSqlSafe, PgPool};
use url::Url;

/// A role that may log in, and nothing else; dropped with its database.
#[derive(Debug)]
pub struct TestRole {
    name: String,
    url: Url,
}

impl TestRole {
    /// Creates it on the server of `url`, named after the database.
    pub(crate) async fn create(admin: &PgPool, mut url: Url) -> Self {
        let name = format!("{}_service", url.path().trim_start_matches('/'));
        let sql = format!("create role {name} login password 'service'");
        sqlx::query(AssertSqlSafe(sql)).execute(admin).await.expect("a test may create roles");
        url.set_username(&name).expect("an address of PostgreSQL has users");
        url.set_password(Some("service")).expect("an address of PostgreSQL has users");
        Self { name, url }
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the database's address for it.
    pub fn url(&self) -> SecretString {
        self.url.as_str().into()
    }

    /// Connects to the database as this role.
    pub fn pool(&self) -> PgPool {
        tael_postgres::connect(&self.url(), "test", 20).expect("the address was used before")
    }
}

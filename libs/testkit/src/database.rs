//! A database per test.

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use url::Url;
use uuid::Uuid;

use crate::{Link, TestRole};

/// An empty database of a test's own, dropped with the value.
#[derive(Debug)]
pub struct TestDatabase {
    server: Url,
    name: String,
}

impl TestDatabase {
    /// Creates it on the server of `TAEL_DATABASE_URL`.
    pub async fn create() -> Self {
        crate::logs();
        let server: Url = std::env::var("TAEL_DATABASE_URL")
            .expect("TAEL_DATABASE_URL is set, as `make test` does")
            .parse()
            .expect("TAEL_DATABASE_URL is a URL");
        let database = Self { server, name: format!("tael_test_{}", Uuid::new_v4().simple()) };
        tael_postgres::create_database(&database.url()).await.expect("a test may create databases");
        database
    }

    /// Returns the database's address.
    pub fn url(&self) -> SecretString {
        let mut url = self.server.clone();
        url.set_path(&self.name);
        url.as_str().into()
    }

    /// Puts a link before the server; returns it and the database's address over it.
    pub async fn link(&self) -> (Link, SecretString) {
        let server = self.server.socket_addrs(|| Some(5432)).expect("the server has an address");
        let link = Link::to(server[0]).await;
        let mut url = self.server.clone();
        url.set_path(&self.name);
        url.set_ip_host(link.addr().ip()).expect("an address of PostgreSQL has a host");
        url.set_port(Some(link.addr().port())).expect("an address of PostgreSQL has a port");
        (link, url.as_str().into())
    }

    /// Creates a role that may log in and nothing else. A database can have one.
    pub async fn role(&self) -> TestRole {
        let mut url = self.server.clone();
        url.set_path(&self.name);
        TestRole::create(&self.pool(), url).await
    }

    /// Connects to it.
    pub fn pool(&self) -> PgPool {
        tael_postgres::connect(&self.url(), "test", 20).expect("the address was used before")
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // On a thread of its own: the test's runtime is ending and can't be waited on from here.
        let (url, name) = (SecretString::from(self.server.as_str()), self.name.clone());
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut conn =
                    PgConnection::connect(url.expose_secret()).await.map_err(std::io::Error::other)?;
                // Its rights in the database go with the database, and the role can follow.
                for sql in [
                    format!("drop database if exists \"{name}\" with (force)"),
                    format!("drop role if exists \"{name}_service\""),
                ] {
                    sqlx::query(AssertSqlSafe(sql))
                        .execute(&mut conn)
                        .await
                        .map_err(std::io::Error::other)?;
                }
                Ok::<_, std::io::Error>(())
            })
        });
        if !matches!(dropping.join(), Ok(Ok(()))) {
            eprintln!("the test database {} was not dropped", self.name);
        }
    }
}

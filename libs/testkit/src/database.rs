//! A database per test.

use secrecy::SecretString;
use sqlx::PgPool;
use tael_postgres::Schema;
use tael_runtime::Service;
use url::Url;
use uuid::Uuid;

use crate::{Link, TestRole, template};

/// A database of a test's own, dropped with the value.
#[derive(Debug)]
pub struct TestDatabase {
    server: Url,
    name: String,
}

impl TestDatabase {
    /// Creates an empty one on the server of `TAEL_DATABASE_URL`.
    pub async fn create() -> Self {
        let database = Self::named();
        tael_postgres::create_database(&database.url()).await.expect("a test may create databases");
        database
    }

    /// Creates one with the tables of a service, which finds nothing left to migrate.
    pub async fn of<S: Service>() -> Self {
        Self::migrated(S::SCHEMAS).await
    }

    /// Creates one with these schemas. They are migrated once on the server, into a template that all tests copy, those of
    /// other processes as well; it takes no longer than to create an empty database.
    pub async fn migrated(schemas: &[Schema]) -> Self {
        let database = Self::named();
        template::copy(&database.server, &database.name, schemas).await;
        database
    }

    fn named() -> Self {
        crate::logs();
        let server: Url = std::env::var("TAEL_DATABASE_URL")
            .expect("TAEL_DATABASE_URL is set, as `make test` does")
            .parse()
            .expect("TAEL_DATABASE_URL is a URL");
        Self { server, name: format!("tael_test_{}", Uuid::new_v4().simple()) }
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
        // On a thread of its own that nobody waits for: PostgreSQL drops no database before every session has said that it
        // knows, and one that is just proving its password needs this test's runtime for that. What is left when the
        // process ends is removed by scripts/test.sh.
        let (url, name) = (SecretString::from(self.server.as_str()), self.name.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let dropped = runtime.map(|runtime| runtime.block_on(template::drop_with_role(&url, &name)));
            if !matches!(dropped, Ok(Ok(()))) {
                eprintln!("the test database {name} was not dropped");
            }
        });
    }
}

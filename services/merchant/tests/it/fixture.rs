//! A running merchant service on a database of its own.

use std::time::Duration;

use tael_clock::Clock;
use tael_grpc::client::Channel;
use tael_merchant::{App, Config};
use tael_principal::{SigningKey, VerificationKeys};
use tael_proto::merchant::v1::api_key_service_client::ApiKeyServiceClient;
use tael_proto::merchant::v1::merchant_service_client::MerchantServiceClient;
use tael_proto::merchant::v1::{Merchant, RegisterMerchantRequest};
use tael_runtime::ServiceConfig;
use tael_testkit::{Running, TestDatabase, keyed};

pub(crate) struct Fixture {
    pub(crate) keys: ApiKeyServiceClient<Channel>,
    pub(crate) client: MerchantServiceClient<Channel>,
    pub(crate) running: Running,
    pub(crate) principal_keys: VerificationKeys,
    _database: TestDatabase,
}

pub(crate) async fn start() -> Fixture {
    start_with_redis(tael_testkit::redis_url()).await
}

pub(crate) async fn start_with_redis(redis_url: secrecy::SecretString) -> Fixture {
    let database = TestDatabase::of::<App>().await;
    let base = ServiceConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        database_url: database.url(),
        database_connections: 16,
        migrate_at_start: true,
        redis_url,
        event_retention_days: None,
        principal_keys: None,
        health_listen: None,
        tls: None,
        max_in_flight: tael_runtime::ServiceConfig::MAX_IN_FLIGHT,
    };
    let config = config(base);
    let principal_keys = config.base.principal_keys.clone().unwrap();
    let running = tael_testkit::run::<App>(config, Clock::system()).await;
    let channel = running.channel();
    let (client, keys) = (MerchantServiceClient::new(channel.clone()), ApiKeyServiceClient::new(channel));
    Fixture { keys, client, running, principal_keys, _database: database }
}

fn config(base: ServiceConfig) -> Config {
    let (_, signing_key) = SigningKey::generate("test");
    let principal_keys = signing_key.verification_text().parse().unwrap();
    let base = ServiceConfig { principal_keys: Some(principal_keys), ..base };
    Config { base, signing_key, token_lifetime: Duration::from_mins(5) }
}

pub(crate) fn registration(name: &str) -> RegisterMerchantRequest {
    RegisterMerchantRequest { name: name.to_owned(), time_zone: String::new() }
}

impl Fixture {
    pub(crate) async fn register(&mut self, name: &str) -> Merchant {
        let answer = self.client.register_merchant(keyed(registration(name))).await.unwrap();
        answer.into_inner().merchant.unwrap()
    }
}

//! What outlives a restart: the channel's key and the registered apps, and nothing else.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use tael_sandbox::{
    App, BuildError, Config, alipay,
    alipay::{AppView, Charset, RegisterApp},
};

use crate::merchant::{alipay_key_pem, registration, world_of};

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("tael-sandbox-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        Self(folder)
    }

    fn config(&self) -> Config {
        Config { key_dir: Some(self.0.join("keys")), ..Config::default() }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn a_restart_leaves_apps_and_keys_valid() {
    let folder = Folder::new("restart");
    let first = world_of(folder.config()).await;
    first.paid("order1", "1.00", None).await;
    let app = RegisterApp {
        app_id: Some(first.app.app_id.clone()),
        fee_rate: Some("0.0038".to_owned()),
        notify_charset: Some(Charset::Gbk),
        ..registration(&first.key)
    };
    let known: AppView = first.control.register(&app).await.unwrap();
    let key = std::sync::Arc::clone(&first.key);
    first.stop().await;

    let mut second = world_of(folder.config()).await;
    // The account of before still calls with the key of before, and believes the answers.
    second.app = AppView { gateway_url: second.app.gateway_url.clone(), ..known.clone() };
    second.key = key;
    assert_eq!(second.query("order1").await.outcome(), "40004 ACQ.TRADE_NOT_EXIST");
    let trade = second.paid("order2", "100.00", None).await;
    assert_eq!((trade.merchant, trade.fee_minor), (known.seller_id, 38));
}

#[tokio::test]
async fn what_is_kept_is_for_nobody_elses_eyes() {
    let folder = Folder::new("mode");
    let world = world_of(folder.config()).await;
    let mode = |path: &str| fs::metadata(folder.0.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!([mode("keys"), mode("keys/alipay.pem"), mode("keys/alipay-apps.json")], [0o700, 0o600, 0o600]);
    world.stop().await;
}

#[tokio::test]
async fn what_was_kept_and_cannot_be_used_is_an_error_at_the_start() {
    let folder = Folder::new("bad");
    world_of(folder.config()).await.stop().await;
    fs::write(folder.0.join("keys/alipay-apps.json"), "[{}]").unwrap();
    assert!(matches!(App::build(folder.config()).await, Err(BuildError::Channel(_))));
    fs::write(folder.0.join("keys/alipay.pem"), "nonsense").unwrap();
    assert!(matches!(App::build(folder.config()).await, Err(BuildError::Channel(_))));
    let file = Config { key_dir: Some(folder.0.join("keys/alipay.pem")), ..Config::default() };
    assert!(matches!(App::build(file).await, Err(BuildError::KeyFolder(_))));
}

#[tokio::test]
async fn a_key_by_environment_goes_before_the_kept_one() {
    let folder = Folder::new("environment");
    let kept = world_of(folder.config()).await;
    let with_kept_key = kept.app.alipay_public_key.clone();
    kept.stop().await;
    let pem = alipay_key_pem();
    let given = alipay::Config { private_key_pem: Some(pem), ..alipay::Config::default() };
    let world = world_of(Config { alipay: given, ..folder.config() }).await;
    assert_ne!(world.app.alipay_public_key, with_kept_key);
}

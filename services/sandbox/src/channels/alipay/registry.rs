//! The registered apps as they are kept over a restart.

use std::io;

use serde::{Deserialize, Serialize};

use super::{charset::Charset, money::FeeRate, sign::AppPublicKey, state::App};
use crate::core::KeyFolder;

const FILE: &str = "alipay-apps.json";

/// The kept apps cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadRegistry {
    /// The file cannot be read.
    #[error("{FILE} cannot be read")]
    Io(#[from] io::Error),
    /// The file is not what it was when it was written.
    #[error("{FILE} is not a list of apps")]
    Malformed(#[from] serde_json::Error),
    /// An app has a key or a rate that it was never registered with.
    #[error("{FILE}: app {0} has a bad key or fee rate")]
    BadApp(String),
}

#[derive(Serialize, Deserialize)]
struct Kept {
    app_id: String,
    seller_id: String,
    public_key: String,
    fee_rate: String,
    notify_charset: Option<Charset>,
    notify_closed: bool,
}

/// The apps of earlier runs.
pub(super) fn read(keys: &KeyFolder) -> Result<Vec<App>, BadRegistry> {
    let Some(text) = keys.read(FILE)? else { return Ok(Vec::new()) };
    let kept: Vec<Kept> = serde_json::from_str(&text)?;
    let apps = kept.into_iter().map(|kept| {
        let public_key = AppPublicKey::parse(&kept.public_key).ok();
        let fee_rate = kept.fee_rate.parse::<FeeRate>().ok();
        match (public_key, fee_rate) {
            (Some(public_key), Some(fee_rate)) => Ok(App {
                app_id: kept.app_id,
                seller_id: kept.seller_id,
                public_key,
                fee_rate,
                notify_charset: kept.notify_charset,
                notify_closed: kept.notify_closed,
            }),
            _ => Err(BadRegistry::BadApp(kept.app_id)),
        }
    });
    apps.collect()
}

/// Keeps the apps.
pub(super) fn keep<'a>(keys: &KeyFolder, apps: impl Iterator<Item = &'a App>) -> io::Result<()> {
    if !keys.is_kept() {
        return Ok(());
    }
    let kept: Vec<_> = apps
        .map(|app| Kept {
            app_id: app.app_id.clone(),
            seller_id: app.seller_id.clone(),
            public_key: app.public_key.to_base64(),
            fee_rate: app.fee_rate.to_string(),
            notify_charset: app.notify_charset,
            notify_closed: app.notify_closed,
        })
        .collect();
    keys.keep(FILE, &serde_json::to_string_pretty(&kept)?)
}

//! Simulated Alipay: the open platform's gateway protocol 1.0.
//!
//! [`order`] and [`outbox`] are the pure core, [`simulator`] is all the state, [`gateway`] answers calls, [`courier`]
//! sends notifications, [`bill`] writes the bills.

mod bill;
mod courier;
mod faults;
mod gateway;
mod ids;
mod methods;
mod money;
mod node;
mod notice;
mod order;
mod outbox;
mod refusal;
mod sign;
mod simulator;
mod time;
mod views;
mod zip;

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{clock::Clock, config::Config};

pub use money::{FeeRate, FeeRateError};

pub(crate) use courier::{client as courier_client, run as run_courier};
pub(crate) use gateway::{download_bill, handle};
pub(crate) use order::{Buyer, PayerError};
pub(crate) use sign::{AlipayKey, AppPublicKey, BadPrivateKey};
pub(crate) use simulator::{Registration, Simulator};
pub(crate) use views::{app_view, trade_status, trade_view};

/// Whether the text is a private key that [`AlipayKey::from_pem`] takes.
pub(crate) fn is_private_key_pem(text: &str) -> bool {
    AlipayKey::from_pem(text).is_ok()
}

/// Simulated Alipay as the HTTP handlers share it.
pub(crate) struct Alipay {
    simulator: Mutex<Simulator>,
    pub(crate) clock: Clock,
    pub(crate) key: AlipayKey,
    /// The base of QR codes and bill links, without a slash at its end.
    pub(crate) public_url: String,
    pub(crate) current_day_bill: bool,
    /// Ends connections that hang on purpose.
    pub(crate) stop: CancellationToken,
    courier_bell: Notify,
}

impl Alipay {
    pub(crate) fn new(
        config: &Config,
        public_url: &Url,
        stop: CancellationToken,
    ) -> Result<Self, BadPrivateKey> {
        let key = match &config.alipay_private_key_pem {
            Some(pem) => AlipayKey::from_pem(pem)?,
            None => AlipayKey::generate(),
        };
        Ok(Self {
            simulator: Mutex::new(Simulator::new(config.time_scale, config.fee_rate)),
            clock: Clock::default(),
            key,
            public_url: public_url.as_str().trim_end_matches('/').to_owned(),
            current_day_bill: config.current_day_bill,
            stop,
            courier_bell: Notify::new(),
        })
    }

    /// The state. Never held across an await.
    pub(crate) fn simulator(&self) -> MutexGuard<'_, Simulator> {
        // A panic elsewhere must not end the whole simulator.
        self.simulator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The courier looks at the outbox again: something may be due now.
    pub(crate) fn wake_courier(&self) {
        self.courier_bell.notify_one();
    }

    async fn courier_woken(&self) {
        self.courier_bell.notified().await;
    }

    pub(crate) fn gateway_url(&self) -> String {
        format!("{}/gateway.do", self.public_url)
    }

    /// The URL behind a QR code. The real one points to Alipay; this one to the page where a person plays the payer.
    pub(crate) fn qr_url(&self, qr_code: &str) -> String {
        format!("{}/qr/{qr_code}", self.public_url)
    }
}

//! What the handlers of simulated Alipay share.

use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

use super::{
    config::Config,
    registry::{self, BadRegistry},
    sign::{AlipayKey, BadPrivateKey},
    state::State,
};
use crate::core::{Books, Context};

/// The channel's name.
pub(super) const CHANNEL: &str = "alipay";

/// The waits between the eight deliveries of a notification (Alipay open platform: asynchronous notification).
const RETRIES: [SignedDuration; 7] = [
    SignedDuration::from_mins(4),
    SignedDuration::from_mins(10),
    SignedDuration::from_mins(10),
    SignedDuration::from_hours(1),
    SignedDuration::from_hours(2),
    SignedDuration::from_hours(6),
    SignedDuration::from_hours(15),
];

/// Where Alipay's private key is kept.
const KEY_FILE: &str = "alipay.pem";

/// Why Alipay cannot be played.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unplayable {
    #[error("alipay's private key cannot be used")]
    PrivateKey(#[from] BadPrivateKey),
    #[error("alipay's registered apps cannot be used")]
    Registry(#[from] BadRegistry),
    #[error("what alipay keeps cannot be read or written")]
    Keys(#[from] io::Error),
}

/// Simulated Alipay.
pub(crate) struct Alipay {
    pub(super) context: Context,
    pub(super) key: AlipayKey,
    pub(super) current_day_statement: bool,
    state: Mutex<State>,
}

impl Alipay {
    pub(super) fn new(config: &Config, context: Context) -> Result<Self, Unplayable> {
        let known = match &config.private_key_pem {
            Some(pem) => Some(pem.clone()),
            None => context.keys.read(KEY_FILE)?,
        };
        let key = if let Some(pem) = known {
            AlipayKey::from_pem(&pem)?
        } else {
            let key = AlipayKey::generate();
            context.keys.keep(KEY_FILE, &key.to_pem())?;
            key
        };
        let mut state = State::new(config.fee_rate);
        for app in registry::read(&context.keys)? {
            state.restore(app);
        }
        context.books().deliveries.set_schedule(&RETRIES);
        Ok(Self {
            context,
            key,
            current_day_statement: config.current_day_statement,
            state: Mutex::new(state),
        })
    }

    /// What Alipay remembers. Never held across an await.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere must not end the whole channel.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What Alipay remembers and the books, for what changes both.
    pub(super) fn state_and_books(&self) -> (MutexGuard<'_, State>, MutexGuard<'_, Books>) {
        let state = self.state();
        (state, self.context.books())
    }

    /// Does what has fallen due by itself; returns when something falls due next.
    pub(super) fn advance(&self, now: Timestamp) -> Option<Timestamp> {
        let (mut state, mut books) = self.state_and_books();
        state.advance(&mut books, now)
    }

    pub(super) fn gateway_url(&self) -> String {
        format!("{}/gateway.do", self.context.public_url)
    }

    /// The URL behind a QR code. The real one points to Alipay; this one to the page where a person plays the payer.
    pub(super) fn qr_url(&self, qr_code: &str) -> String {
        self.context.payer_url(CHANNEL, qr_code)
    }
}

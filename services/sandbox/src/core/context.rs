//! What a channel is given by the sandbox, and the books that every channel keeps alike.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{clock::Clock, deliveries::Deliveries, faults::Faults, keys::KeyFolder, movements::Movements};

/// One channel's place in the sandbox.
pub struct Context {
    /// The sandbox's clock, the same for all channels.
    pub clock: Arc<Clock>,
    /// The base URL under which clients and payers reach the sandbox, without a slash at its end.
    pub public_url: String,
    /// The waits between deliveries of a notification are divided by this number, at least 1.
    pub time_scale: u32,
    /// Where the channel keeps what it must not forget.
    pub keys: KeyFolder,
    /// Cancelled when the sandbox stops: ends what hangs on purpose.
    pub stop: CancellationToken,
    books: Mutex<Books>,
    notifier: Notify,
}

/// What every channel keeps alike.
#[derive(Debug)]
pub struct Books {
    /// The rules for what goes wrong.
    pub faults: Faults,
    /// The notifications and their deliveries.
    pub deliveries: Deliveries,
    /// The movements of merchants' money.
    pub movements: Movements,
}

impl Context {
    /// A place in the sandbox with empty books.
    pub(crate) fn new(
        clock: Arc<Clock>,
        public_url: String,
        time_scale: u32,
        keys: KeyFolder,
        stop: CancellationToken,
    ) -> Self {
        let books = Books {
            faults: Faults::default(),
            deliveries: Deliveries::new(time_scale),
            movements: Movements::default(),
        };
        Self { clock, public_url, time_scale, keys, stop, books: Mutex::new(books), notifier: Notify::new() }
    }

    /// The sandbox's present time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The books. Never held across an await; a channel that locks a state of its own locks that first.
    pub fn books(&self) -> MutexGuard<'_, Books> {
        // A panic elsewhere must not end the whole channel.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The dispatcher looks again: a notification, or something else, may be due now.
    pub fn notify_dispatcher(&self) {
        self.notifier.notify_one();
    }

    pub(super) async fn dispatcher_notified(&self) {
        self.notifier.notified().await;
    }

    /// The page of the sandbox behind what a payer of `channel` was given.
    pub fn payer_url(&self, channel: &str, code: &str) -> String {
        format!("{}/payer/{channel}/{code}", self.public_url)
    }

    /// Waits in real time, but not beyond the end of the sandbox.
    pub async fn wait_ms(&self, ms: u64) {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(ms)) => {}
            () = self.stop.cancelled() => {}
        }
    }
}

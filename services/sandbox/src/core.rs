//! What every simulated channel is made of and none of their protocols: the clock, faults, deliveries of notifications,
//! movements of money, kept keys, ZIP archives, and serving HTTP. A channel is a [`Simulator`] over a [`Context`].

pub(crate) mod clock;
pub(crate) mod context;
pub(crate) mod deliveries;
pub(crate) mod dispatcher;
pub(crate) mod faults;
pub(crate) mod keys;
pub(crate) mod movements;
pub(crate) mod serve;
pub(crate) mod simulator;
pub(crate) mod variables;
pub(crate) mod zip;

pub use clock::Clock;
pub use context::{Books, Context};
pub use deliveries::{Deliveries, Event, Notification};
pub use faults::{CallFault, Faults, NotificationFault};
pub use keys::KeyFolder;
pub use movements::{BalanceOverflow, Movement, Movements};
pub use serve::drop_connection;
pub use simulator::{ChannelFactory, Post, Refused, Simulator};

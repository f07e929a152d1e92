//! Configuration from the environment, with every mistake reported at once.
//!
//! A service reads its settings into local variables, then builds its `Config` inside [`Env::finish`]. A getter that
//! finds nothing usable notes the problem and carries on, so an operator sees the whole list after one start:
//!
//! ```
//! use std::net::SocketAddr;
//! use std::time::Duration;
//! use secrecy::SecretString;
//! use tael_config::{ConfigErrors, Env};
//!
//! struct Config {
//!     listen: SocketAddr,
//!     database_url: SecretString,
//!     order_url: String,
//!     poll_every: Duration,
//! }
//!
//! fn from_env(env: &mut Env) -> Result<Config, ConfigErrors> {
//!     let listen = env.or("TAEL_LISTEN", SocketAddr::from(([0, 0, 0, 0], 50051)));
//!     let database_url = env.secret("TAEL_DATABASE_URL");
//!     let order_url = env.required("TAEL_ORDER_URL");
//!     let poll_every = env.duration("TAEL_POLL_EVERY", Duration::from_secs(5));
//!     env.finish(|| Some(Config { listen, database_url: database_url?, order_url: order_url?, poll_every }))
//! }
//!
//! let mut env = Env::from_map([("TAEL_LISTEN".into(), "localhost".into())]);
//! let errors = from_env(&mut env).err().unwrap();
//! assert_eq!(
//!     errors.to_string(),
//!     "TAEL_LISTEN is \"localhost\": invalid socket address syntax\n\
//!      TAEL_DATABASE_URL is not set\n\
//!      TAEL_ORDER_URL is not set"
//! );
//! ```
//!
//! A variable that is set but empty counts as absent, because that is how a manifest or a shell says "no value".

mod duration;
mod env;
mod error;

pub use env::Env;
pub use error::{ConfigErrors, Problem};

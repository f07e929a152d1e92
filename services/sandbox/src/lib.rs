//! The sandbox: the outside world of payments, simulated, for development and tests.
//!
//! It plays channels in their own protocols over real HTTP with real signatures in both directions; today Alipay's
//! open-platform gateway protocol 1.0, with asynchronous notifications on Alipay's retry schedule and statements as a GBK
//! CSV inside a ZIP. Beside the wire protocols it has a control interface ([`control`]), the same for every channel, to
//! play the payer and to make things go wrong on purpose.
//!
//! [`core`] is what every channel is made of, `channels` are the channels, `payer` are the pages for a person.
//!
//! What it promises: the wire is as close to the real one as public documents and messages allow. What it does not:
//! durability. Everything lives in memory and is lost with the process.
//!
//! It depends on no other crate of this workspace, above all not on the adapter it is tested against: a mistake in the
//! protocol has to be made twice, independently, to go unnoticed.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tael_sandbox::{App, Config};
//!
//! let app = App::build(Config::default()).await?;
//! println!("the sandbox is at {}", app.url());
//! app.run(std::future::pending()).await?;
//! # Ok(())
//! # }
//! ```

mod app;
mod channels;
mod config;
mod payer;

pub mod client;
pub mod control;
pub mod core;

pub use app::{App, BuildError};
pub use channels::alipay;
pub use client::ControlClient;
pub use config::{Config, ConfigErrors};

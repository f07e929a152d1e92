//! The sandbox: the outside world of payments, simulated, for development and tests.
//!
//! It speaks Alipay's open-platform gateway protocol (version 1.0) over real HTTP with real RSA2 signatures in both
//! directions: calls in, signed answers out, signed asynchronous notifications with Alipay's retry schedule, and bills
//! as a GBK CSV inside a ZIP. Beside the wire protocol it has a control interface ([`control`]) to play the payer and
//! to make things go wrong on purpose.
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
//! println!("the gateway is at {}", app.gateway_url());
//! app.run(std::future::pending()).await?;
//! # Ok(())
//! # }
//! ```

mod alipay;
mod app;
mod clock;
mod config;
mod payer_page;
mod serve;

pub mod client;
pub mod control;

pub use alipay::{FeeRate, FeeRateError};
pub use app::{App, BuildError};
pub use client::ControlClient;
pub use config::{Config, ConfigErrors};

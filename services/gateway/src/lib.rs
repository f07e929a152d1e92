//! The gateway is the HTTP edge: channels call back here, and buyers see what they have to pay.
//!
//! It promises that a channel's callback reaches the payment service byte for byte, and that nothing but the payment
//! service's own word is ever told to a channel: a callback that could not be handed over is answered so that the
//! channel sends it again. It holds no state.

mod app;
mod callback;
mod channels;
mod checkout;
mod clients;
mod config;
mod edge;
mod health;
mod observe;
mod paths;
mod routes;
mod server;

pub use app::App;
pub use config::{Config, Limits};

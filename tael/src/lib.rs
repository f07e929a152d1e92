//! Every service in one process: for development, demonstration, load and the journeys' tests.
//!
//! The code, the SQL and the gRPC between the services are those of the separate processes; nothing is mocked. The
//! channel is the sandbox, which speaks the channel's own protocol with real signatures.

#![deny(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "they panic when nobody reads any more: say!, complain!"
)]

pub mod audit;
pub mod bench;
pub mod clients;
pub mod demo;
pub mod output;
pub mod platform;
pub mod shop;
pub mod traces;

/// What goes wrong in a tool is told to a person.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

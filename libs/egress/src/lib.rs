//! Calls to addresses that somebody outside of the platform named: a merchant's webhook endpoint, the gateway of a channel
//! account, a link to a statement.
//!
//! Whoever names such an address must not reach the platform's own network through us. A [`Policy`] says which URLs are
//! acceptable when they are named, and a [`Client`] holds every call to it: the URL is judged again before each request
//! (the policy may have changed, and links come in answers), names are resolved to public addresses only, the connection
//! is made to exactly what was judged, no redirect is followed, and no proxy of the environment is asked. What went wrong
//! is told in a few fixed words ([`Failure`]), the same whether a name leads into a private network or nowhere: else the
//! one who named it could ask us which internal names exist.

mod address;
mod client;
mod policy;

pub use client::{Client, Failure};
pub use policy::{Policy, PortsError, Refusal};

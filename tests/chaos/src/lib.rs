//! Chaos: the whole platform as real processes, killed, frozen, cut off and overloaded on purpose while clients go on
//! buying, and the question afterwards whether anything was lost, or happened twice.
//!
//! A run starts two replicas of every service with PostgreSQL, Redis and the sandbox ([`platform`]), lets many clients
//! play full journeys ([`load`]) while a schedule made from a seed ([`schedule`]) comes true ([`faults`]), lifts all
//! faults, waits until everything has settled by itself, and compares what clients were promised with what every
//! service and the channel say ([`verdict`], [`audit`]). The services are known by their contracts and binaries alone.

pub mod audit;
pub mod books;
pub mod caller;
pub mod faults;
pub mod forwarder;
pub mod load;
pub mod platform;
pub mod processes;
pub mod receiver;
pub mod report;
pub mod run;
pub mod schedule;
pub mod servers;
pub mod sessions;
pub mod shop;
pub mod verdict;

/// What goes wrong in a tool is told to a person.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

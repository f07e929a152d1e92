//! The load: many clients that play journeys, and the book of what they were promised.

pub mod book;
mod journey;
mod plan;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use book::Book;
pub use plan::{Kind, Line, Plan, RefundPlan};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::caller::{Addresses, Caller, Calls};
use crate::shop::Shop;

/// Every buyer's name, telephone number, e-mail address and postal address: to be found nowhere but in the order.
pub const PERSONAL_DATA: [&str; 4] =
    ["Ouyang Xiaoming", "+86 139 0000 4711", "xiaoming@buyers.example", "4711 Nanjing Road, Shanghai"];

/// Clients that begin journeys until they are told to stop.
#[derive(Debug)]
pub struct Load {
    clients: JoinSet<()>,
    stop: CancellationToken,
}

/// Plays one journey to its end.
pub async fn play(caller: &Caller, shop: &Shop, book: &Arc<Book>, seed: u64, plan: Plan) {
    journey::Journey::new(caller.clone(), shop.clone(), book.clone(), seed, plan).play().await;
}

impl Load {
    /// Lets `clients` play journeys, each beginning the next when one has ended. The journeys' numbers begin at `first`
    /// and end before `end`.
    pub fn start(
        addresses: &Addresses,
        calls: &Arc<Calls>,
        shops: &Arc<Vec<Shop>>,
        book: &Arc<Book>,
        seed: u64,
        clients: usize,
        numbers: std::ops::Range<u64>,
    ) -> Result<Self, Error> {
        let stop = CancellationToken::new();
        let next = Arc::new(AtomicU64::new(numbers.start));
        let mut set = JoinSet::new();
        for _ in 0..clients {
            // Connections of its own, as a separate caller would have.
            let caller = Caller::connect(addresses, calls)?;
            let (shops, book, stop, next) = (shops.clone(), book.clone(), stop.clone(), next.clone());
            set.spawn(async move {
                // Those that wait for an order to expire: a client does not wait with them.
                let mut waiting = JoinSet::new();
                while !stop.is_cancelled() {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= numbers.end {
                        break;
                    }
                    let plan = Plan::new(seed, number, shops.len());
                    let patient = plan.kind == Kind::Expire;
                    let seller = shops[plan.shop].clone();
                    let journey = journey::Journey::new(caller.clone(), seller, book.clone(), seed, plan);
                    if patient {
                        waiting.spawn(journey.play());
                    } else {
                        journey.play().await;
                    }
                }
                while waiting.join_next().await.is_some() {}
            });
        }
        Ok(Self { clients: set, stop })
    }

    /// Begins no more journeys.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until every journey has ended.
    pub async fn ended(mut self) {
        while self.clients.join_next().await.is_some() {}
    }
}

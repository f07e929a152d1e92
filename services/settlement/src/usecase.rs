//! One function per use case; with the consumers, the only place that opens transactions.

pub(crate) mod fee_schedule;
pub(crate) mod ledger;
pub(crate) mod metrics;
pub(crate) mod reconciliation;
pub(crate) mod settlement_batch;

use std::sync::Arc;

use jiff::Timestamp;
use sqlx::PgPool;
use tael_clock::Clock;
use tael_eventlog::EventLog;
use tokio::sync::Notify;

use crate::clients::Clients;
use crate::store::ledger::rules::StoredRules;

/// The use cases and what they need. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Settlement {
    pool: PgPool,
    log: EventLog,
    clock: Clock,
    clients: Clients,
    rules: StoredRules,
    /// Is told when a comparison ended.
    news: Arc<Notify>,
}

impl Settlement {
    pub(crate) fn new(
        pool: PgPool,
        log: EventLog,
        clock: Clock,
        clients: Clients,
        rules: StoredRules,
        news: Arc<Notify>,
    ) -> Self {
        Self { pool, log, clock, clients, rules, news }
    }

    /// The present by the service's clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

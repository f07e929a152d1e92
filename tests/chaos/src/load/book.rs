//! What the clients were promised: every acknowledged fact of every journey.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::plan::Plan;

/// All journeys, in the order of their beginning.
#[derive(Debug, Default)]
pub struct Book {
    entries: Mutex<Vec<Arc<Mutex<Entry>>>>,
    findings: Mutex<Vec<String>>,
}

/// What one journey was promised.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// What it wanted.
    pub plan: Plan,
    /// What it does at present.
    pub step: &'static str,
    /// Whether it has ended.
    pub ended: bool,
    /// The order.
    pub order: Option<Acknowledged>,
    /// The order's end: "paid", "cancelled", "expired".
    pub order_end: Option<&'static str>,
    /// The payments that were created.
    pub payments: Vec<Acknowledged>,
    /// The payments that the channel told the payer were paid, by our number.
    pub paid_numbers: Vec<String>,
    /// The redemptions.
    pub redemptions: Vec<Redemption>,
    /// The refunds.
    pub refunds: Vec<Acknowledged>,
}

/// Something of an id and an amount that the platform said it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Acknowledged {
    /// Its id.
    pub id: String,
    /// Its amount in fen.
    pub minor: i64,
}

/// Uses of a voucher that the platform said were redeemed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Redemption {
    /// Its id.
    pub id: String,
    /// The voucher's.
    pub voucher_id: String,
    /// How many uses.
    pub count: u32,
}

impl Book {
    /// Begins the entry of a journey.
    pub fn begin(&self, plan: Plan) -> Arc<Mutex<Entry>> {
        let entry = Arc::new(Mutex::new(Entry {
            plan,
            step: "begin",
            ended: false,
            order: None,
            order_end: None,
            payments: Vec::new(),
            paid_numbers: Vec::new(),
            redemptions: Vec::new(),
            refunds: Vec::new(),
        }));
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).push(entry.clone());
        entry
    }

    /// All entries as they are now.
    pub fn entries(&self) -> Vec<Entry> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.iter().map(|entry| entry.lock().unwrap_or_else(PoisonError::into_inner).clone()).collect()
    }

    /// Notes what must not happen and was seen by a client.
    pub fn find(&self, finding: String) {
        tracing::error!(finding, "a client found something");
        self.findings.lock().unwrap_or_else(PoisonError::into_inner).push(finding);
    }

    /// What was noted.
    pub fn findings(&self) -> Vec<String> {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

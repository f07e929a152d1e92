//! What a service shows to the money audit: its own facts, and those of the event tables that every service has, page by
//! page and in constant memory.
//!
//! A service implements [`AuditFacts`] with one query per kind that it owns; [`Auditable`] is the gRPC service around it.
//! AuditFacts are rows as they stand, not domain values: a row that makes no sense must reach the auditor, not fail here.

mod log;
mod server;

use std::future::Future;

pub use server::Auditable;
use tael_proto::audit::v1::FactKind;
use tael_proto::audit::v1::fact::Fact;
use tael_proto::r#type::v1::Money;
use uuid::Uuid;

/// Which facts a page may hold: those after a row, of merchants up to one, so many.
///
/// In SQL `(merchant_id, id) > ($1, $2) and merchant_id <= $3 order by merchant_id, id limit $4`, which reads only the
/// rows of the page from an index on (merchant, id).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The merchant of the last fact before the page.
    pub after_merchant: Uuid,
    /// The id of the last fact before the page.
    pub after_id: Uuid,
    /// The last merchant whose facts are wanted.
    pub last_merchant: Uuid,
    /// At most so many.
    pub limit: i64,
}

/// A fact with its place in the order of pages.
#[derive(Clone, Debug)]
pub struct FactRow {
    /// Its merchant; nil for what has none.
    pub merchant_id: Uuid,
    /// Its id; unique within the merchant and kind.
    pub id: Uuid,
    /// What it says.
    pub fact: Fact,
}

/// What a service holds to be true about money.
pub trait AuditFacts: Send + Sync + 'static {
    /// Reads the facts of a range, in its order; none for a kind that the service does not own.
    fn read(
        &self,
        kind: FactKind,
        range: Range,
    ) -> impl Future<Output = Result<Option<Vec<FactRow>>, sqlx::Error>> + Send;
}

/// Writes an amount as it is stored.
pub fn money(minor: i64, currency: &str) -> Option<Money> {
    Some(Money { minor, currency: currency.to_owned() })
}

/// Writes a time as it is stored.
pub fn time(time: jiff_sqlx::Timestamp) -> Option<prost_types::Timestamp> {
    Some(tael_grpc::convert::timestamp(time.to_jiff()))
}

//! What an audit covers.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use tael_ids::MerchantId;

/// What to audit.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    /// Only this merchant.
    pub(crate) merchant_id: Option<MerchantId>,
    /// The first day whose statements are compared; four days before today, by the channel's calendar, when none is
    /// given.
    pub(crate) first_statement_date: Option<Date>,
    /// The last such day; today likewise.
    pub(crate) last_statement_date: Option<Date>,
    /// For how long what disagrees may be work in flight.
    pub(crate) patience: Duration,
    /// Work begun before that is stuck.
    pub(crate) stuck_before: Timestamp,
    /// Whether the statement of a day that is not over has all of it so far.
    pub(crate) statements_so_far: bool,
    /// Whether this is an audit of everything. Only how such a one ended becomes a metric: a narrower one that finds
    /// nothing would end an alert about what it did not look at.
    pub(crate) is_whole: bool,
}

//! What a channel says of a day, line by line.

use jiff::Timestamp;
use tael_money::Money;

use super::download::DownloadError;

/// Why there is no statement. The words are fit for the merchant.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StatementFailure {
    /// The channel has none for that day, or not yet.
    #[error("the channel has no statement for that day")]
    NotAvailable,
    /// The channel did not answer, or not clearly: the next time it may.
    #[error("the statement could not be had: {0}")]
    Unavailable(String),
    /// The channel said that it gives none, and why: until the account is mended it will say so again.
    #[error("the channel refuses the statement: {0}")]
    Refused(String),
    /// What came is no statement, not the one that was asked for, or contradicts itself.
    #[error("the statement can't be trusted: {0}")]
    Broken(String),
}

/// A downloaded statement, to be read line by line.
pub(crate) trait ChannelStatement: Send {
    /// Reads the lines in the order of the file and gives them on; stops when `line` returns false. The last check,
    /// of the statement's own sums, is made after the last line: until this returns without an error, nothing is sure.
    fn read(self: Box<Self>, line: &mut dyn FnMut(StatementEntry) -> bool) -> Result<(), StatementFailure>;
}

/// A line of a statement, read or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StatementEntry {
    Line(StatementLine),
    Unreadable(UnreadableLine),
}

/// One line of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StatementLine {
    /// The line's number in the file, from 1.
    pub(crate) line: u32,
    pub(crate) kind: StatementLineKind,
    pub(crate) channel_transaction_id: String,
    pub(crate) merchant_number: String,
    /// Positive for both kinds.
    pub(crate) amount: Money,
    /// What the channel pays out of the amount, or takes back, before its fee: less than the amount where a coupon was
    /// used that the merchant funds. Positive for both kinds.
    pub(crate) received: Money,
    /// Positive when charged, negative when given back.
    pub(crate) fee: Money,
    pub(crate) finish_time: Timestamp,
}

/// What a line of a statement tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StatementLineKind {
    Payment,
    Refund { refund_number: String },
}

/// A line that can't be read. It is told all the same, so that nobody takes what it says for missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnreadableLine {
    /// The line's number in the file, from 1.
    pub(crate) line: u32,
    pub(crate) problem: String,
    /// What could be read of it; else empty.
    pub(crate) channel_transaction_id: String,
    pub(crate) merchant_number: String,
    pub(crate) refund_number: String,
}

impl From<DownloadError> for StatementFailure {
    fn from(error: DownloadError) -> Self {
        match error {
            DownloadError::TooLarge => Self::Broken(error.to_string()),
            // The channel linked to where nobody may be sent.
            DownloadError::NotAllowed(_) => Self::Refused(error.to_string()),
            DownloadError::Http(_)
            | DownloadError::Status(_)
            | DownloadError::Slow
            | DownloadError::Busy
            | DownloadError::Disk(_) => Self::Unavailable(error.to_string()),
        }
    }
}

//! What channels say of a day.

use jiff::civil::Date;
use tael_ids::{ChannelAccountId, MerchantId};
use tokio::sync::mpsc;

use super::{ChannelAccountError, Internal, Payments};
use crate::channel::{StatementEntry, StatementFailure};

/// The most lines of one part of a statement (ReadStatementResponse).
const PART: usize = 1000;
/// Why a statement could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StatementError {
    #[error(transparent)]
    ChannelAccount(#[from] ChannelAccountError),
    #[error("there is no statement of {0}, or not yet")]
    NotAvailable(Date),
    #[error(transparent)]
    Channel(StatementFailure),
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// So many parts are read ahead of a slow reader.
const AHEAD: usize = 4;

impl Payments {
    /// Downloads a statement and returns its lines in parts, as they are read. A last error says that the lines before it
    /// must not be trusted.
    #[tracing::instrument(name = "statement.read", skip_all)]
    pub(crate) async fn read_statement(
        &self,
        merchant_id: MerchantId,
        account_id: ChannelAccountId,
        day: Date,
    ) -> Result<mpsc::Receiver<Result<Vec<StatementEntry>, StatementError>>, StatementError> {
        let account = self.account(merchant_id, account_id).await?.account;
        let open = self.accounts.open(account.id).await?;
        let statements = open.channel.statements().ok_or(StatementError::NotAvailable(day))?;
        let statement = statements.download_statement(day).await.map_err(|error| match error {
            StatementFailure::NotAvailable => StatementError::NotAvailable(day),
            StatementFailure::Unavailable(_) | StatementFailure::Refused(_) | StatementFailure::Broken(_) => {
                StatementError::Channel(error)
            }
        })?;
        let (parts, receiver) = mpsc::channel(AHEAD);
        // Unpacking and decoding is work, not waiting.
        tokio::task::spawn_blocking(move || {
            let mut part = Vec::new();
            let read = statement.read(&mut |line| {
                part.push(line);
                part.len() < PART || parts.blocking_send(Ok(std::mem::take(&mut part))).is_ok()
            });
            let last = match read {
                Ok(()) if part.is_empty() => return,
                Ok(()) => Ok(part),
                Err(error) => Err(StatementError::Channel(error)),
            };
            // Nobody listens any more: then nobody needs it.
            let _ = parts.blocking_send(last);
        });
        Ok(receiver)
    }
}

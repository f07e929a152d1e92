//! Channel bills.

use jiff::civil::Date;
use tael_ids::{ChannelAccountId, MerchantId};
use tokio::sync::mpsc;

use super::{Error, Payments};
use crate::channel::{BillError, BillLine};

/// The most lines of one part of a bill (ReadBillResponse).
const PART: usize = 1000;
/// So many parts are read ahead of a slow reader.
const AHEAD: usize = 4;

impl Payments {
    /// Downloads a bill and returns its lines in parts, as they are read. A last error says that the lines before it
    /// must not be trusted.
    #[tracing::instrument(name = "bill.read", skip_all)]
    pub(crate) async fn read_bill(
        &self,
        merchant_id: MerchantId,
        account_id: ChannelAccountId,
        day: Date,
    ) -> Result<mpsc::Receiver<Result<Vec<BillLine>, Error>>, Error> {
        let account = self.account(merchant_id, account_id).await?;
        let open = self.accounts.open(account.id).await?;
        let bill = open.adapter.download_bill(day).await.map_err(|error| match error {
            BillError::NotAvailable => Error::BillNotAvailable(day),
            BillError::Unavailable(_) | BillError::Broken(_) => Error::Bill(error),
        })?;
        let (parts, receiver) = mpsc::channel(AHEAD);
        // Unpacking and decoding is work, not waiting.
        tokio::task::spawn_blocking(move || {
            let mut part = Vec::new();
            let read = bill.read(&mut |line| {
                part.push(line);
                part.len() < PART || parts.blocking_send(Ok(std::mem::take(&mut part))).is_ok()
            });
            let last = match read {
                Ok(()) if part.is_empty() => return,
                Ok(()) => Ok(part),
                Err(error) => Err(Error::Bill(error)),
            };
            // Nobody listens any more: then nobody needs it.
            let _ = parts.blocking_send(last);
        });
        Ok(receiver)
    }
}

//! The services that are asked: all for their facts, `payment` also for the channels' statements.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::civil::Date;
use tael_grpc::client::Channel as Transport;
use tael_grpc::retry::{Budget, repeat};
use tael_grpc::status;
use tael_ids::{ChannelAccountId, MerchantId};
use tael_proto::audit::v1::fact_service_client::FactServiceClient;
use tael_proto::audit::v1::{FactKind, ReadFactsRequest, ReadFactsResponse};
use tael_proto::payment::v1::statement_service_client::StatementServiceClient;
use tael_proto::payment::v1::{ErrorReason, ReadStatementRequest, ReadStatementResponse, StatementLine};
use tonic::{Request, Status, Streaming};

/// Pages of facts and parts of statements are larger than messages usually are.
const MAX_MESSAGE: usize = 16 << 20;

/// A service that shows what it holds to be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    Order,
    Payment,
    Refund,
    Notification,
    Settlement,
}

impl Owner {
    pub(crate) const ALL: [Self; 5] =
        [Self::Order, Self::Payment, Self::Refund, Self::Notification, Self::Settlement];

    /// The service's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Payment => "payment",
            Self::Refund => "refund",
            Self::Notification => "notification",
            Self::Settlement => "settlement",
        }
    }

    /// The kinds of facts that it holds.
    pub(crate) fn kinds(self) -> &'static [FactKind] {
        use FactKind as K;
        match self {
            Self::Order => {
                &[K::Order, K::HeldPayment, K::CountedRefund, K::Event, K::DeadLetter, K::LogStart]
            }
            Self::Payment => {
                &[K::ChannelAccount, K::Payment, K::Attempt, K::PaymentRefund, K::Event, K::LogStart]
            }
            Self::Refund => &[K::Refund, K::RefundCeiling, K::Event, K::DeadLetter, K::LogStart],
            Self::Notification => &[K::WebhookEndpoint, K::Delivery, K::DeadLetter],
            Self::Settlement => &[K::Transfer, K::LedgerAccount, K::Event, K::DeadLetter, K::LogStart],
        }
    }
}

/// A service gave no usable answer.
#[derive(Debug, thiserror::Error)]
#[error("{peer} failed")]
pub(crate) struct PeerError {
    pub(crate) peer: &'static str,
    pub(crate) source: Box<Status>,
}

/// Reads facts. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct FactClient {
    owners: BTreeMap<Owner, FactServiceClient<Transport>>,
    budget: Budget,
}

impl FactClient {
    /// Asks each owner over its connection.
    pub(crate) fn new(owners: [(Owner, Transport); Owner::ALL.len()]) -> Self {
        let client = |transport| FactServiceClient::new(transport).max_decoding_message_size(MAX_MESSAGE);
        let owners = owners.into_iter().map(|(owner, transport)| (owner, client(transport))).collect();
        Self { owners, budget: Budget::default() }
    }

    /// Reads a page of one owner's facts.
    pub(crate) async fn read(
        &self,
        owner: Owner,
        request: ReadFactsRequest,
    ) -> Result<ReadFactsResponse, PeerError> {
        let client = &self.owners[&owner];
        let answer = repeat(&self.budget, || {
            let (mut client, request) = (client.clone(), request.clone());
            async move { client.read_facts(request).await }
        });
        let failed = |status| PeerError { peer: owner.name(), source: Box::new(status) };
        Ok(answer.await.map_err(failed)?.into_inner())
    }
}

/// Why a statement was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StatementError {
    /// The channel has none of that day, or not yet.
    #[error("the channel has no statement of that day, or not yet")]
    NotAvailable,
    /// It can't be read for a reason of this account or its channel.
    #[error("{0}")]
    Unread(String),
    /// The payment service itself can't be asked.
    #[error(transparent)]
    Peer(#[from] PeerError),
}

/// Reads statements. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct StatementClient {
    client: StatementServiceClient<Transport>,
    /// How long one statement may take.
    pub(crate) timeout: Duration,
    budget: Budget,
}

impl StatementClient {
    /// Asks the payment service over this connection; one statement may take so long.
    pub(crate) fn new(payment: Transport, timeout: Duration) -> Self {
        let client = StatementServiceClient::new(payment).max_decoding_message_size(MAX_MESSAGE);
        Self { client, timeout, budget: Budget::default() }
    }

    /// Begins to read an account's statement of a day.
    pub(crate) async fn read(
        &self,
        merchant_id: MerchantId,
        account: ChannelAccountId,
        date: Date,
    ) -> Result<Statement, StatementError> {
        let message = ReadStatementRequest {
            merchant_id: merchant_id.to_string(),
            channel_account_id: account.to_string(),
            statement_date: date.to_string(),
        };
        // Only until the statement begins: what was read of it is not read again.
        let answer = repeat(&self.budget, || {
            let (mut client, mut request) = (self.client.clone(), Request::new(message.clone()));
            request.set_timeout(self.timeout);
            async move { client.read_statement(request).await }
        });
        Ok(Statement(answer.await.map_err(statement_error)?.into_inner()))
    }
}

/// A statement that is being read, part by part.
pub(crate) struct Statement(Streaming<ReadStatementResponse>);

impl Statement {
    /// The next lines; none at the end of the statement.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<StatementLine>>, StatementError> {
        Ok(self.0.message().await.map_err(statement_error)?.map(|part| part.lines))
    }
}

/// Tells an account's trouble, which the payment service explains with a reason, from its own.
fn statement_error(error: Status) -> StatementError {
    let not_available = ErrorReason::StatementNotAvailable.as_str_name().strip_prefix("ERROR_REASON_");
    match status::reason(&error) {
        Some(reason) if Some(reason.as_str()) == not_available => StatementError::NotAvailable,
        Some(_) if status::metadata(&error, "dependency").as_deref() != Some("postgres") => {
            StatementError::Unread(error.message().to_owned())
        }
        // Of one statement alone the time may have been up.
        None if error.code() == tonic::Code::DeadlineExceeded => {
            StatementError::Unread("the statement did not come in time".to_owned())
        }
        _ => StatementError::Peer(PeerError { peer: "payment", source: Box::new(error) }),
    }
}

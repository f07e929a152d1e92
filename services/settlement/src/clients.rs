//! The services that settlement asks: `merchant` for time zones, `payment` for channel accounts and statements.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tael_grpc::client::Channel as Transport;
use tael_grpc::retry::{Budget, repeat};
use tael_grpc::{deadline, status};
use tael_ids::{ChannelAccountId, MerchantId};
use tael_money::{Currency, Money};
use tael_proto::merchant::v1::GetMerchantRequest;
use tael_proto::merchant::v1::merchant_service_client::MerchantServiceClient;
use tael_proto::payment::v1::channel_account_service_client::ChannelAccountServiceClient;
use tael_proto::payment::v1::statement_service_client::StatementServiceClient;
use tael_proto::payment::v1::{
    self as wire, ErrorReason, GetChannelAccountRequest, ReadStatementRequest, ReadStatementResponse,
};
use tael_proto::r#type::v1::{Channel as WireChannel, Money as WireMoney};
use tonic::{Code, Request, Status, Streaming};

use crate::domain::channel::Channel;
use crate::domain::reconciliation::{ChannelStatementLine, ChannelStatementLineKind};

const MERCHANT: &str = "merchant";
const PAYMENT: &str = "payment";

/// How long a statement may take to be read when the caller has no nearer deadline.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// Clients of the other services. They are only asked, so calls that they could not take are repeated. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    merchant: MerchantServiceClient<Transport>,
    merchant_budget: Budget,
    channel_accounts: ChannelAccountServiceClient<Transport>,
    statements: StatementServiceClient<Transport>,
    payment_budget: Budget,
}

/// Why another service gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("there is no such merchant")]
    MerchantNotFound,
    #[error("the merchant has no such channel account")]
    ChannelAccountNotFound,
    #[error("the channel has no statement for that day, or not yet")]
    StatementNotAvailable,
    #[error("{peer} failed")]
    Failed { peer: &'static str, source: Box<Status> },
    #[error("{peer} answered without a usable {what}")]
    Malformed { peer: &'static str, what: &'static str },
}

impl Clients {
    pub(crate) fn new(merchant: Transport, payment: Transport) -> Self {
        Self {
            merchant: MerchantServiceClient::new(merchant),
            merchant_budget: Budget::default(),
            channel_accounts: ChannelAccountServiceClient::new(payment.clone()),
            statements: StatementServiceClient::new(payment).max_decoding_message_size(16 << 20),
            payment_budget: Budget::default(),
        }
    }

    /// The zone in which the merchant's settlement days are cut.
    pub(crate) async fn time_zone(&self, merchant_id: MerchantId) -> Result<TimeZone, ClientError> {
        let request = GetMerchantRequest { merchant_id: merchant_id.to_string() };
        let answer = repeat(&self.merchant_budget, || {
            let (mut merchant, request) = (self.merchant.clone(), request.clone());
            async move { merchant.get_merchant(request).await }
        });
        let response = answer.await.map_err(|status| {
            if status.code() == Code::NotFound {
                ClientError::MerchantNotFound
            } else {
                failed(MERCHANT, status)
            }
        })?;
        let merchant = response
            .into_inner()
            .merchant
            .ok_or(ClientError::Malformed { peer: MERCHANT, what: "merchant" })?;
        TimeZone::get(&merchant.time_zone)
            .map_err(|_| ClientError::Malformed { peer: MERCHANT, what: "time_zone" })
    }

    /// The channel at which the merchant has this account.
    pub(crate) async fn channel(
        &self,
        merchant_id: MerchantId,
        id: ChannelAccountId,
    ) -> Result<Channel, ClientError> {
        let request = GetChannelAccountRequest {
            merchant_id: merchant_id.to_string(),
            channel_account_id: id.to_string(),
        };
        let answer = repeat(&self.payment_budget, || {
            let (mut accounts, request) = (self.channel_accounts.clone(), request.clone());
            async move { accounts.get_channel_account(request).await }
        });
        let response = answer.await.map_err(payment_error)?;
        response
            .into_inner()
            .channel_account
            .and_then(|account| channel(account.channel))
            .ok_or(ClientError::Malformed { peer: PAYMENT, what: "channel" })
    }

    /// Begins to read a channel's statement.
    pub(crate) async fn read_statement(
        &self,
        merchant_id: MerchantId,
        id: ChannelAccountId,
        date: Date,
    ) -> Result<ChannelStatement, ClientError> {
        let message = ReadStatementRequest {
            merchant_id: merchant_id.to_string(),
            channel_account_id: id.to_string(),
            statement_date: date.to_string(),
        };
        // Only until the statement begins: what was read of it is not read again.
        let answer = repeat(&self.payment_budget, || {
            let (mut statements, mut request) = (self.statements.clone(), Request::new(message.clone()));
            request.set_timeout(deadline::remaining(STATEMENT_TIMEOUT));
            async move { statements.read_statement(request).await }
        });
        Ok(ChannelStatement(answer.await.map_err(payment_error)?.into_inner()))
    }
}

/// A channel's statement that is being read, part by part.
pub(crate) struct ChannelStatement(Streaming<ReadStatementResponse>);

impl ChannelStatement {
    /// The next lines; none at the end of the statement.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<ChannelStatementLine>>, ClientError> {
        let Some(part) = self.0.message().await.map_err(payment_error)? else { return Ok(None) };
        let lines = part.lines.into_iter().map(statement_line);
        let lines = lines
            .collect::<Option<_>>()
            .ok_or(ClientError::Malformed { peer: PAYMENT, what: "statement line" })?;
        Ok(Some(lines))
    }
}

/// Reads a channel; none for those that this build does not know.
pub(crate) fn channel(wire: i32) -> Option<Channel> {
    match WireChannel::try_from(wire) {
        Ok(WireChannel::Alipay) => Some(Channel::Alipay),
        Ok(WireChannel::Unspecified) | Err(_) => None,
    }
}

/// Reads an amount; none when it is absent or its currency unknown.
pub(crate) fn money(wire: Option<&WireMoney>) -> Option<Money> {
    let wire = wire?;
    Some(Money::new(wire.minor, Currency::parse(&wire.currency).ok()?))
}

/// Reads an instant; none when it is absent or out of range.
pub(crate) fn timestamp(wire: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    let wire = wire?;
    Timestamp::new(wire.seconds, wire.nanos).ok()
}

fn statement_line(line: wire::StatementLine) -> Option<ChannelStatementLine> {
    let (kind, number) = match wire::StatementLineKind::try_from(line.kind) {
        Ok(wire::StatementLineKind::Payment) => (ChannelStatementLineKind::Payment, line.merchant_number),
        Ok(wire::StatementLineKind::Refund) => (ChannelStatementLineKind::Refund, line.refund_number),
        Ok(wire::StatementLineKind::Unspecified | wire::StatementLineKind::Unreadable) | Err(_) => {
            return None;
        }
    };
    let amount = money(line.amount.as_ref())?;
    let fee = money(line.fee.as_ref())?;
    if amount.currency() != fee.currency() {
        return None;
    }
    Some(ChannelStatementLine {
        kind,
        number,
        channel_transaction_id: line.channel_transaction_id,
        amount,
        fee,
        finish_time: timestamp(line.finish_time.as_ref()),
    })
}

fn payment_error(error: Status) -> ClientError {
    let reason = status::reason(&error);
    let is =
        |expected: ErrorReason| reason.as_deref() == expected.as_str_name().strip_prefix("ERROR_REASON_");
    if is(ErrorReason::ChannelAccountNotFound) {
        ClientError::ChannelAccountNotFound
    } else if is(ErrorReason::StatementNotAvailable) {
        ClientError::StatementNotAvailable
    } else {
        failed(PAYMENT, error)
    }
}

fn failed(peer: &'static str, status: Status) -> ClientError {
    ClientError::Failed { peer, source: Box::new(status) }
}

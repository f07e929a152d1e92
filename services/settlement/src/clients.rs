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
use tael_proto::payment::v1::channel_account::Account;
use tael_proto::payment::v1::channel_account_service_client::ChannelAccountServiceClient;
use tael_proto::payment::v1::statement_service_client::StatementServiceClient;
use tael_proto::payment::v1::{
    self as wire, ChannelAccount, ErrorReason, ListChannelAccountsRequest, ReadStatementRequest,
    ReadStatementResponse,
};
use tael_proto::r#type::v1::{Channel as WireChannel, Money as WireMoney};
use tonic::{Code, Request, Status, Streaming};

use crate::domain::channel::Channel;
use crate::domain::reconciliation::{
    ChannelStatementLine, ChannelStatementLineKind, StatementPart, UnreadableLine,
};

const MERCHANT: &str = "merchant";
const PAYMENT: &str = "payment";

/// How many channel accounts are asked for at a time.
const ACCOUNT_PAGE: u32 = 100;
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
    /// For good, as things stand; with the reason that the payment service gives.
    #[error("the channel's statement can't be had: {reason}")]
    StatementRefused { reason: String },
    /// It will not be otherwise when it is asked again.
    #[error("{peer} refused")]
    Refused { peer: &'static str, source: Box<Status> },
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

    /// The channel at which the merchant has this account, and all of its accounts with the same seller: a statement is the
    /// seller's, whichever of its apps took the money.
    pub(crate) async fn seller(
        &self,
        merchant_id: MerchantId,
        id: ChannelAccountId,
    ) -> Result<Seller, ClientError> {
        let malformed = |what| ClientError::Malformed { peer: PAYMENT, what };
        let accounts = self.accounts(merchant_id).await?;
        let wanted = id.to_string();
        let account = accounts
            .iter()
            .find(|account| account.channel_account_id == wanted)
            .ok_or(ClientError::ChannelAccountNotFound)?;
        let channel = channel(account.channel).ok_or_else(|| malformed("channel"))?;
        let of_seller = accounts.iter().filter(|other| {
            other.channel_account_id == account.channel_account_id || is_same_seller(account, other)
        });
        let accounts = of_seller
            .map(|other| other.channel_account_id.parse().map_err(|_| malformed("channel_account_id")))
            .collect::<Result<_, _>>()?;
        Ok(Seller { channel, accounts })
    }

    /// All channel accounts of a merchant, page by page.
    async fn accounts(&self, merchant_id: MerchantId) -> Result<Vec<ChannelAccount>, ClientError> {
        let mut request = ListChannelAccountsRequest {
            merchant_id: merchant_id.to_string(),
            page_size: ACCOUNT_PAGE,
            page_token: String::new(),
        };
        let mut accounts = Vec::new();
        loop {
            let answer = repeat(&self.payment_budget, || {
                let (mut client, request) = (self.channel_accounts.clone(), request.clone());
                async move { client.list_channel_accounts(request).await }
            });
            let page = answer.await.map_err(payment_error)?.into_inner();
            accounts.extend(page.channel_accounts);
            if page.next_page_token.is_empty() {
                return Ok(accounts);
            }
            request.page_token = page.next_page_token;
        }
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

/// Whom a channel pays, and the accounts that the merchant has with it.
#[derive(Clone, Debug)]
pub(crate) struct Seller {
    pub(crate) channel: Channel,
    pub(crate) accounts: Vec<ChannelAccountId>,
}

/// Whether a channel pays out the money of both accounts together, and has one statement for them.
fn is_same_seller(one: &ChannelAccount, other: &ChannelAccount) -> bool {
    match (&one.account, &other.account) {
        (Some(Account::Alipay(one)), Some(Account::Alipay(other))) => one.seller_id == other.seller_id,
        (None, _) | (_, None) => false,
    }
}

/// A channel's statement that is being read, part by part.
pub(crate) struct ChannelStatement(Streaming<ReadStatementResponse>);

impl ChannelStatement {
    /// The next lines; none at the end of the statement.
    pub(crate) async fn next(&mut self) -> Result<Option<StatementPart>, ClientError> {
        let Some(message) = self.0.message().await.map_err(payment_error)? else { return Ok(None) };
        let mut part = StatementPart::default();
        for line in message.lines {
            match statement_line(&line) {
                Ok(line) => part.lines.push(line),
                Err(problem) => part.unreadable.push(UnreadableLine {
                    number: if line.refund_number.is_empty() {
                        line.merchant_number
                    } else {
                        line.refund_number
                    },
                    problem: format!("line {}: {problem}", line.line),
                }),
            }
        }
        Ok(Some(part))
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

/// Reads a line, or says why it can't be read.
fn statement_line(line: &wire::StatementLine) -> Result<ChannelStatementLine, String> {
    let (kind, number) = match wire::StatementLineKind::try_from(line.kind) {
        Ok(wire::StatementLineKind::Payment) => (ChannelStatementLineKind::Payment, &line.merchant_number),
        Ok(wire::StatementLineKind::Refund) => (ChannelStatementLineKind::Refund, &line.refund_number),
        Ok(wire::StatementLineKind::Unreadable) => return Err(line.problem.clone()),
        Ok(wire::StatementLineKind::Unspecified) | Err(_) => {
            return Err("neither a payment nor a refund".to_owned());
        }
    };
    let amount = money(line.amount.as_ref()).ok_or("it has no usable amount")?;
    let fee = money(line.fee.as_ref()).ok_or("it has no usable fee")?;
    let received = match &line.received {
        Some(received) => money(Some(received)).ok_or("what is received of it is not usable")?,
        None => amount,
    };
    if amount.currency() != fee.currency() || amount.currency() != received.currency() {
        return Err("its amounts are in several currencies".to_owned());
    }
    Ok(ChannelStatementLine {
        kind,
        number: number.clone(),
        channel_transaction_id: line.channel_transaction_id.clone(),
        amount,
        received,
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
    } else if error.code() == Code::FailedPrecondition {
        ClientError::StatementRefused { reason: reason.unwrap_or_default() }
    } else {
        failed(PAYMENT, error)
    }
}

/// What may be different the next time, and what will not.
fn failed(peer: &'static str, status: Status) -> ClientError {
    let source = Box::new(status);
    match source.code() {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss => ClientError::Refused { peer, source },
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Unavailable => ClientError::Failed { peer, source },
    }
}

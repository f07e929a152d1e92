//! The messages of the control interface. They know nothing of the rest of the sandbox.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Which trade is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TradeRef {
    /// By what the payer was given: the URL of the action, or the code at its end.
    Code {
        /// The URL or the code.
        code: String,
    },
    /// By the merchant's number.
    Number {
        /// The account that made the trade.
        account: String,
        /// The merchant's number.
        out_trade_no: String,
    },
}

impl TradeRef {
    /// The trade behind a QR code or another URL that the payer was given.
    pub fn code(code: impl Into<String>) -> Self {
        Self::Code { code: code.into() }
    }

    /// The trade that an account made under a number of its own.
    pub fn number(account: impl Into<String>, out_trade_no: impl Into<String>) -> Self {
        Self::Number { account: account.into(), out_trade_no: out_trade_no.into() }
    }
}

/// What a payer does: `POST /control/{channel}/trades/scan`, `…/pay`, `…/decline`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PayerMove {
    /// Opens what they were given (scans the QR code).
    Scan,
    /// Pays, scanning first if nobody did.
    Pay,
    /// Declines, scanning first if nobody did.
    Decline,
}

/// The body of a payer's move. Each is answered with the [`TradeView`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PayerAction {
    /// The trade.
    #[serde(flatten)]
    pub trade: TradeRef,
    /// The payer's id in the channel's form (Alipay: 16 digits from 2088); a standard one if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<String>,
    /// The coupon that is paid with; for paying.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coupon: Option<Coupon>,
    /// The channel decides so many milliseconds later (of the sandbox's clock, not scaled), as when the payer's bank is
    /// asked: until then the trade waits, and whatever ends it before wins. For paying and declining.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<u64>,
}

impl PayerAction {
    /// The standard payer's action, at once and without a coupon.
    pub fn on(trade: TradeRef) -> Self {
        Self { trade, payer: None, coupon: None, after_ms: None }
    }
}

/// A coupon that a payer pays with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coupon {
    /// What it is called, up to 64 characters.
    pub name: String,
    /// What it is worth, in minor units; less than the price.
    pub amount_minor: i64,
    /// Who pays for it.
    pub funded_by: CouponFunding,
}

/// Who pays for a coupon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CouponFunding {
    /// The merchant, who receives less than the price.
    Merchant,
    /// The channel, which pays the merchant in the payer's place.
    Channel,
}

/// `POST /control/{channel}/trades/refund`: somebody at the merchant refunds in the channel's console, past the
/// merchant's own systems. The channel gives the refund a number of its own. Answered with the [`TradeView`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConsoleRefund {
    /// The trade.
    #[serde(flatten)]
    pub trade: TradeRef,
    /// How much of the price, in minor units; all that is left if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount_minor: Option<i64>,
    /// Why; up to 256 characters.
    #[serde(default)]
    pub reason: String,
}

/// How far a trade has come, as the channel knows it, which may be more than its protocol tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TradeStatus {
    /// The payer was given something to act on and has not: for some protocols (Alipay's) there is no trade yet.
    Offered,
    /// Cancelled before the payer acted: there will never be a trade.
    Withdrawn,
    /// The payer has acted, the money has not come.
    Waiting,
    /// Paid, and refundable.
    Paid,
    /// Never paid, or wholly refunded.
    Closed,
    /// Paid, and no longer refundable.
    Finished,
}

/// What the payer was given to act on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Action {
    /// A QR code to scan; the URL behind it is a page of the sandbox.
    QrCode {
        /// The URL.
        url: String,
    },
    /// A page to be sent to.
    Redirect {
        /// The page.
        url: String,
    },
    /// Nothing to open: the channel asks the payer on their own device. The page shows what they would see there.
    Confirm {
        /// The page.
        url: String,
    },
}

impl Action {
    /// The page of the sandbox on which a person plays the payer.
    pub fn url(&self) -> &str {
        match self {
            Self::QrCode { url } | Self::Redirect { url } | Self::Confirm { url } => url,
        }
    }
}

/// A trade with everything that happened to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TradeView {
    /// The account that made it.
    pub account: String,
    /// Whose money it is.
    pub merchant: String,
    /// The merchant's number.
    pub out_trade_no: String,
    /// The channel's number, once it has one (Alipay: from the scan on).
    pub trade_no: Option<String>,
    /// What the payer was given to act on.
    pub action: Action,
    /// What is sold.
    pub subject: String,
    /// The currency, ISO 4217.
    pub currency: String,
    /// The price in minor units.
    pub total_minor: i64,
    /// How far it has come.
    pub status: TradeStatus,
    /// Who acted.
    pub payer: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was paid.
    pub paid_at: Option<Timestamp>,
    /// When it was closed, cancelled or wholly refunded, or its time ran out.
    pub closed_at: Option<Timestamp>,
    /// What the merchant received before the fee, in minor units: the price less the merchant's own coupon; 0 before the
    /// payment.
    pub received_minor: i64,
    /// The coupon that was paid with.
    pub coupon: Option<Coupon>,
    /// What the channel kept of the payment, in minor units; 0 before it.
    pub fee_minor: i64,
    /// Everything refunded of the price, in minor units.
    pub refunded_minor: i64,
    /// The refunds, in order.
    pub refunds: Vec<RefundView>,
    /// The notifications about it, in order.
    pub notifications: Vec<NotificationView>,
}

/// One refund.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RefundView {
    /// Its number: the merchant's, or the channel's own of a refund in its console.
    pub refund_no: String,
    /// How much of the price, in minor units.
    pub amount_minor: i64,
    /// What the merchant gave back of what it had received, in minor units.
    pub given_back_minor: i64,
    /// Whether it was made in the channel's console.
    pub in_console: bool,
    /// What the channel returned of its fee, in minor units.
    pub fee_returned_minor: i64,
    /// The merchant's reason; may be empty.
    pub reason: String,
    /// When it was done.
    pub refunded_at: Timestamp,
}

/// What a notification is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotificationEvent {
    /// The trade was paid.
    Payment,
    /// A refund was done.
    Refund,
    /// The trade was closed without money (only accounts that ask for it are told).
    Closed,
}

/// Where a notification stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Waiting for its next delivery.
    Scheduled,
    /// Held back so that another one overtakes it.
    Held,
    /// Being delivered.
    InFlight,
    /// Acknowledged as the protocol wants it (Alipay: `success`).
    Acknowledged,
    /// All deliveries of the channel's schedule went without an acknowledgement.
    GivenUp,
    /// Lost by a fault: never sent.
    Lost,
}

/// One notification and its deliveries.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NotificationView {
    /// Its id, the same in every delivery.
    pub notify_id: String,
    /// What it is about.
    pub event: NotificationEvent,
    /// Where it goes.
    pub url: String,
    /// Where it stands.
    pub state: DeliveryState,
    /// When it is sent next, if it waits.
    pub next_attempt_at: Option<Timestamp>,
    /// The deliveries so far.
    pub attempts: Vec<AttemptView>,
}

/// One delivery: either an answer (`http_status` and `body`) or an `error`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AttemptView {
    /// When it ended.
    pub at: Timestamp,
    /// The status answered.
    pub http_status: Option<u16>,
    /// The beginning of the body answered.
    pub body: Option<String>,
    /// Why there was no answer.
    pub error: Option<String>,
}

/// One movement of a merchant's money at the channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovementView {
    /// Counts from 1 without gaps over the whole channel.
    pub sequence: u64,
    /// When it happened.
    pub at: Timestamp,
    /// Whose money.
    pub merchant: String,
    /// Why.
    pub kind: MovementKind,
    /// The currency, ISO 4217.
    pub currency: String,
    /// Minor units; positive flows to the merchant, negative from the merchant.
    pub amount_minor: i64,
    /// The channel's number of the trade.
    pub trade_no: String,
    /// The merchant's number of the trade.
    pub out_trade_no: String,
    /// The number of the refund, for refunds and returned fees.
    pub refund_no: Option<String>,
}

/// Why money moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MovementKind {
    /// A payer paid (positive).
    Payment,
    /// The channel took its fee (negative).
    Fee,
    /// A refund went back to the payer (negative).
    Refund,
    /// The channel returned a part of its fee (positive).
    FeeReturn,
}

/// `GET /control/{channel}/trades?account=&out_trade_no=&status=&after=&limit=`: which trades to list, oldest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TradeFilter {
    /// Only this account's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Only this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_trade_no: Option<String>,
    /// Only this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<TradeStatus>,
    /// Continue behind an earlier page: its `next`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// At most this many (default 100, at most 1000).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// A page of trades.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TradePage {
    /// The trades.
    pub trades: Vec<TradeView>,
    /// The `after` of the next page, if there may be one.
    pub next: Option<u64>,
}

/// `GET /control/{channel}/movements?merchant=&after=&limit=`: which movements to list, in the order they happened.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MovementFilter {
    /// Only this merchant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merchant: Option<String>,
    /// Only those with a greater sequence number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// At most this many (default 100, at most 1000).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// A page of movements.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MovementPage {
    /// The movements.
    pub movements: Vec<MovementView>,
    /// The `after` of the next page, if there may be one.
    pub next: Option<u64>,
}

/// `POST /control/{channel}/faults`: a rule for what goes wrong. Rules are tried in the order they were added, and the first that
/// matches a call or a notification is applied to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddFault {
    /// Only for this account; for all if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Only for this operation of the protocol, such as `alipay.trade.refund`; for faults of calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Only for notifications about this; for faults of notifications.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<NotificationEvent>,
    /// How often the rule is applied before it is gone; without end if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// What goes wrong.
    pub fault: Fault,
}

impl AddFault {
    /// A rule for all accounts, operations and events, without end.
    pub fn new(fault: Fault) -> Self {
        Self { account: None, operation: None, event: None, times: None, fault }
    }

    /// Only for this account.
    #[must_use]
    pub fn account(self, account: impl Into<String>) -> Self {
        Self { account: Some(account.into()), ..self }
    }

    /// Only for this operation.
    #[must_use]
    pub fn operation(self, operation: impl Into<String>) -> Self {
        Self { operation: Some(operation.into()), ..self }
    }

    /// Only for notifications about this.
    #[must_use]
    pub fn event(self, event: NotificationEvent) -> Self {
        Self { event: Some(event), ..self }
    }

    /// Only so many times.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// The notification never arrives (`attempts` missing), or its first `attempts` deliveries do not.
    LoseNotification {
        /// How many deliveries are lost; all if missing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attempts: Option<u32>,
    },
    /// The first delivery comes late.
    DelayNotification {
        /// By so many milliseconds (not scaled).
        delay_ms: u64,
    },
    /// The notification is delivered again, although acknowledged.
    DuplicateNotification {
        /// So many times more, 1 to 100.
        copies: u32,
    },
    /// The notification is held until another one of the same account was delivered, at most four (scaled) minutes.
    ReorderNotification,
    /// The connection is closed without doing anything.
    DropRequest,
    /// The call is refused, with a good signature, without doing anything.
    FailBefore {
        /// The code answered; if empty, the channel's "service unavailable" (Alipay: `20000`, `isp.unknow-error`).
        #[serde(default)]
        code: String,
        /// The sub code answered, in channels that have such (Alipay: `ACQ.SYSTEM_ERROR`, then with code `40004`).
        #[serde(default)]
        sub_code: String,
    },
    /// The call is done, but its answer never comes: the connection is closed after a while.
    TimeOutAfter {
        /// For how long the connection hangs first, in milliseconds; 0 closes at once.
        hang_ms: u64,
    },
    /// The call is done and answered late.
    DelayAnswer {
        /// By so many milliseconds.
        delay_ms: u64,
    },
    /// The call is done, and its answer carries a signature that does not verify.
    BadAnswerSignature,
    /// The next statement that is made is not as it should be. How it is refused or slow to be made is said by the faults
    /// of calls; this is about the file.
    Statement {
        /// In all these ways.
        variants: Vec<StatementVariant>,
    },
    /// The call, one that closes a trade (the rule has to name it, such as `alipay.trade.close`), is answered as done
    /// without doing anything: the payer, whose bank was slower than the channel, can still pay.
    PretendClosed,
}

/// How a statement is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "variant", rename_all = "snake_case", deny_unknown_fields)]
pub enum StatementVariant {
    /// Every row's text in a column has commas in it, which shift the columns behind it.
    Commas {
        /// The column by its name in the header, such as `备注`; one of free text.
        column: String,
    },
    /// One row more, of a kind of business that nobody knows.
    UnknownKind,
    /// A comma stands behind every row.
    TrailingComma,
    /// The lines with the sums are missing.
    NoSums,
    /// The file is a web page instead of an archive.
    NotAnArchive,
    /// The file never ends.
    Endless,
    /// The connection breaks in the middle of the file.
    Broken,
    /// The file comes late.
    Slow {
        /// By so many milliseconds.
        delay_ms: u64,
    },
}

impl Fault {
    /// The call is refused as the channel refuses when it is unavailable, without doing anything.
    pub fn unavailable() -> Self {
        Self::FailBefore { code: String::new(), sub_code: String::new() }
    }

    /// The call is refused with this code and sub code, without doing anything.
    pub fn refusal(code: impl Into<String>, sub_code: impl Into<String>) -> Self {
        Self::FailBefore { code: code.into(), sub_code: sub_code.into() }
    }
}

/// A rule that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultView {
    /// Its number.
    pub id: u64,
    /// How often it was applied.
    pub hits: u64,
    /// The rule.
    pub rule: AddFault,
}

/// `POST /control/clock`: sets the distance of the sandbox, with all its channels, to real time.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetClock {
    /// Milliseconds ahead of real time; negative is behind.
    pub offset_ms: i64,
}

/// `POST /control/clock/skip`: lets time pass at once. Whatever falls due is done.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkipTime {
    /// Milliseconds to skip.
    pub by_ms: i64,
}

/// The sandbox's clock.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClockView {
    /// Its present time.
    pub now: Timestamp,
    /// Milliseconds ahead of real time.
    pub offset_ms: i64,
}

/// `POST /control/{channel}/notifications/resend`: delivers a notification once more, under its old `notify_id`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resend {
    /// Which one.
    pub notify_id: String,
}

/// The answer to anything that did not work.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ControlFailure {
    /// What was wrong.
    pub error: String,
}

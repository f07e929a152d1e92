//! The control interface: JSON over HTTP under `/control`, to play the payer and to make things go wrong. It is no part
//! of any channel's protocol.
//!
//! These are its messages; [`ControlClient`](crate::ControlClient) sends them. Amounts are whole fen, times are
//! RFC 3339. Errors are answered as [`ControlFailure`] with status 400 (malformed), 404 (unknown), 409 (not possible in
//! the present state).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) mod routes;

/// `POST /control/apps`: registers a merchant's app, or gives a registered one a new key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterApp {
    /// Up to 32 letters and digits; generated if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_id: Option<String>,
    /// The seller's PID, 16 digits from 2088; generated if missing. Several apps may share a seller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seller_id: Option<String>,
    /// The app's RSA public key (at least 2048 bits), as PEM or as base64 of its DER form.
    pub public_key: String,
    /// The share of each payment that Alipay keeps, such as `0.006`; the sandbox's default if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee_rate: Option<String>,
}

/// A registered app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppView {
    /// The app's id, to be sent with every call.
    pub app_id: String,
    /// The seller's PID, 16 digits from 2088, as notifications name it.
    pub seller_id: String,
    /// Alipay's public key, base64 of its SubjectPublicKeyInfo: verifies answers and notifications.
    pub alipay_public_key: String,
    /// Where calls go.
    pub gateway_url: String,
    /// The share of each payment that Alipay keeps.
    pub fee_rate: String,
}

/// Which order is meant.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OrderRef {
    /// By its QR code: the URL from precreate, or the code at its end.
    Qr {
        /// The URL or the code.
        qr_code: String,
    },
    /// By the merchant's number.
    Number {
        /// The app that made the order.
        app_id: String,
        /// The merchant's order number.
        out_trade_no: String,
    },
}

/// `POST /control/qr/scan`, `/control/trades/pay`, `/control/trades/refuse`: what the payer does. Paying and refusing
/// scan first if nobody did. Each answers with the [`TradeView`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PayerAction {
    /// The order.
    #[serde(flatten)]
    pub order: OrderRef,
    /// The payer's user id, 16 digits from 2088; a standard one if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buyer: Option<String>,
}

/// The state of an order as the sandbox knows it, which is more than the protocol tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TradeStatus {
    /// A QR code exists and was not scanned: for the protocol there is no trade.
    NotScanned,
    /// Cancelled before it was scanned: there will never be a trade.
    Withdrawn,
    /// Scanned, not paid.
    WaitBuyerPay,
    /// Paid, and refundable.
    TradeSuccess,
    /// Never paid, or wholly refunded.
    TradeClosed,
    /// Paid, and no longer refundable.
    TradeFinished,
}

/// An order with everything that happened to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TradeView {
    /// The app that made the order.
    pub app_id: String,
    /// The seller's PID.
    pub seller_id: String,
    /// The merchant's order number.
    pub out_trade_no: String,
    /// Alipay's number, from the scan on.
    pub trade_no: Option<String>,
    /// The URL behind the QR code.
    pub qr_code: String,
    /// What is sold.
    pub subject: String,
    /// The price in fen.
    pub total_fen: i64,
    /// How far it has come.
    pub status: TradeStatus,
    /// Who scanned.
    pub buyer_id: Option<String>,
    /// When the QR code was made.
    pub created_at: Timestamp,
    /// When it was paid.
    pub paid_at: Option<Timestamp>,
    /// When it was closed, cancelled or wholly refunded, or its time ran out.
    pub closed_at: Option<Timestamp>,
    /// What Alipay kept of the payment, in fen; 0 before it.
    pub fee_fen: i64,
    /// Everything refunded, in fen.
    pub refunded_fen: i64,
    /// The refunds, in order.
    pub refunds: Vec<RefundView>,
    /// The notifications about it, in order.
    pub notifications: Vec<NotificationView>,
}

/// One refund.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RefundView {
    /// The merchant's number of the refund.
    pub out_request_no: String,
    /// Its amount in fen.
    pub amount_fen: i64,
    /// What Alipay returned of its fee, in fen.
    pub fee_returned_fen: i64,
    /// The merchant's reason; may be empty.
    pub reason: String,
    /// When it was done.
    pub refunded_at: Timestamp,
}

/// What a notification is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotificationEvent {
    /// The order was paid.
    Payment,
    /// A refund was done.
    Refund,
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
    /// Answered with `success`.
    Acknowledged,
    /// Eight deliveries went without a `success`.
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

/// One movement on a seller's account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovementView {
    /// Counts from 1 without gaps over the whole sandbox.
    pub sequence: u64,
    /// When it happened.
    pub at: Timestamp,
    /// Whose account.
    pub seller_id: String,
    /// Why.
    pub kind: MovementKind,
    /// Fen; positive flows to the seller, negative from the seller.
    pub amount_fen: i64,
    /// Alipay's number of the trade.
    pub trade_no: String,
    /// The merchant's order number.
    pub out_trade_no: String,
    /// The merchant's number of the refund, for refunds and returned fees.
    pub out_request_no: Option<String>,
}

/// Why money moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MovementKind {
    /// A buyer paid (positive).
    Payment,
    /// Alipay took its fee (negative).
    Fee,
    /// A refund went back to the buyer (negative).
    Refund,
    /// Alipay returned a part of its fee (positive).
    FeeReturn,
}

/// `GET /control/trades?app_id=&out_trade_no=&status=&after=&limit=`: which orders to list, oldest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TradeFilter {
    /// Only this app's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_id: Option<String>,
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

/// A page of orders.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TradePage {
    /// The orders.
    pub trades: Vec<TradeView>,
    /// The `after` of the next page, if there may be one.
    pub next: Option<u64>,
}

/// `GET /control/movements?seller_id=&after=&limit=`: which movements to list, in the order they happened.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MovementFilter {
    /// Only this seller's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seller_id: Option<String>,
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

/// `POST /control/faults`: a rule for what goes wrong. Rules are tried in the order they were added, and the first that
/// matches a call or a notification is applied to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddFault {
    /// Only for this app; for all if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_id: Option<String>,
    /// Only for this method, such as `alipay.trade.refund`; for faults of calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Only for notifications about this; for faults of notifications.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<NotificationEvent>,
    /// How often the rule is applied before it is gone; without end if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// What goes wrong.
    pub fault: Fault,
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
    /// The notification is held until another one of the same app was delivered, at most four (scaled) minutes.
    ReorderNotification,
    /// The connection is closed without doing anything.
    DropRequest,
    /// The call is refused without doing anything.
    FailBefore {
        /// The code answered.
        #[serde(default = "unavailable_code")]
        code: String,
        /// The sub code answered, such as `ACQ.SYSTEM_ERROR` (then with code 40004).
        #[serde(default = "unavailable_sub_code")]
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
    /// The call, `alipay.trade.close` or `alipay.trade.cancel` (the rule has to name which), is answered as done without
    /// doing anything: the payer, whose bank was slower than the channel, can still pay.
    PretendClosed,
}

fn unavailable_code() -> String {
    "20000".to_owned()
}

fn unavailable_sub_code() -> String {
    "isp.unknow-error".to_owned() // the protocol's own spelling
}

impl Fault {
    /// The call is refused with code 20000, "service currently unavailable", without doing anything.
    pub fn unavailable() -> Self {
        Self::FailBefore { code: unavailable_code(), sub_code: unavailable_sub_code() }
    }

    /// The call is refused with 40004 / `ACQ.SYSTEM_ERROR` without doing anything.
    pub fn system_error() -> Self {
        Self::FailBefore { code: "40004".to_owned(), sub_code: "ACQ.SYSTEM_ERROR".to_owned() }
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

/// `POST /control/clock`: sets the sandbox's distance to real time.
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

/// `POST /control/notifications/resend`: delivers a notification once more, under its old `notify_id`.
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

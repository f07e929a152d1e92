//! One order at Alipay, from its QR code to its refunds: pure state and transitions, time passed in.

use jiff::{SignedDuration, Timestamp};

use super::{
    charset::Charset,
    coupon::{Coupon, Split},
    money::{Fen, share},
    refusal::Business,
    time,
};

/// A QR code made by precreate lives two hours unless the call says otherwise (Alipay open platform: precreate).
const QR_LIFE: SignedDuration = SignedDuration::from_hours(2);
/// A scanned trade with neither `timeout_express` nor `time_expire` closes after the longest permitted time, 15 days.
const TRADE_LIFE: SignedDuration = SignedDuration::from_hours(15 * 24);
/// After the contractual refund window, usually twelve months, a paid trade is TRADE_FINISHED and keeps its money.
const REFUND_WINDOW: SignedDuration = SignedDuration::from_hours(365 * 24);
/// Cancel works for a day after the trade was created (Alipay open platform: `ACQ.TRADE_CANCEL_TIME_OUT`).
const CANCEL_WINDOW: SignedDuration = SignedDuration::from_hours(24);

/// What precreate was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OrderSpec {
    pub(crate) out_trade_no: String,
    pub(crate) total: Fen,
    pub(crate) subject: String,
    pub(crate) body: String,
    pub(crate) store_id: String,
    pub(crate) operator_id: String,
    pub(crate) terminal_id: String,
    pub(crate) notify_url: Option<String>,
    /// The character set of the call.
    pub(crate) charset: Charset,
    pub(crate) deadline: Deadline,
    pub(crate) qr_timeout: Option<Timeout>,
}

/// Until when a trade may be paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deadline {
    /// Nothing was said.
    Default,
    /// `timeout_express`: counted from the trade's creation, which for a QR code is the scan.
    Express(Timeout),
    /// `time_expire`: an absolute time.
    At(Timestamp),
}

/// A relative timeout: `90m`, `2h`, `15d`, or `1c` for the end of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timeout {
    After(SignedDuration),
    EndOfDay,
}

impl Timeout {
    /// Reads `timeout_express` and its kin: 1m to 15d, units m, h, d, no decimals, or `1c` (Alipay open platform).
    pub(crate) fn from_wire(text: &str) -> Option<Self> {
        if text == "1c" {
            return Some(Self::EndOfDay);
        }
        let unit = text.chars().next_back()?;
        let number = &text[..text.len() - unit.len_utf8()];
        if number.is_empty() || number.len() > 5 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let minutes_per_unit = match unit {
            'm' => 1,
            'h' => 60,
            'd' => 24 * 60,
            _ => return None,
        };
        let minutes = number.parse::<i64>().ok()? * minutes_per_unit;
        (1..=15 * 24 * 60).contains(&minutes).then(|| Self::After(SignedDuration::from_mins(minutes)))
    }

    fn end_from(self, start: Timestamp) -> Timestamp {
        match self {
            Self::After(duration) => start + duration,
            Self::EndOfDay => time::next_midnight(start),
        }
    }
}

/// An order: what was asked for, its present QR code, and how far it has come.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) app_id: String,
    pub(crate) seller_id: String,
    pub(crate) spec: OrderSpec,
    pub(crate) qr_code: String,
    pub(crate) qr_expires_at: Timestamp,
    pub(crate) created_at: Timestamp,
    pub(crate) stage: Stage,
    /// Positions of this order's notifications in the outbox.
    pub(crate) notifications: Vec<usize>,
}

/// How far an order has come.
#[derive(Debug)]
pub(crate) enum Stage {
    /// A QR code exists, nobody scanned it: for the protocol there is no trade.
    Unscanned,
    /// The merchant cancelled before anybody scanned: the QR code is dead and there will never be a trade.
    Withdrawn { at: Timestamp },
    /// Somebody scanned.
    Trade(Trade),
}

/// A trade: exists from the scan on.
#[derive(Debug)]
#[expect(clippy::struct_field_names, reason = "trade_no is the protocol's word")]
pub(crate) struct Trade {
    pub(crate) trade_no: String,
    pub(crate) buyer: Buyer,
    pub(crate) created_at: Timestamp,
    pub(crate) state: TradeState,
}

/// Who scanned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Buyer {
    /// 16 digits from 2088.
    pub(crate) user_id: String,
}

impl Buyer {
    /// The login as Alipay shows it to merchants, masked.
    pub(crate) fn logon_id(&self) -> String {
        format!("buy***{}@sandbox.com", &self.user_id[self.user_id.len() - 2..])
    }
}

/// The states of a trade.
#[derive(Debug)]
pub(crate) enum TradeState {
    Waiting {
        expires_at: Timestamp,
    },
    /// Closed without any money.
    Closed {
        at: Timestamp,
    },
    Paid(Paid),
}

/// What is true once a trade was paid.
#[derive(Debug)]
pub(crate) struct Paid {
    pub(crate) at: Timestamp,
    pub(crate) fee: Fen,
    pub(crate) coupon: Option<Coupon>,
    pub(crate) refunds: Vec<Refund>,
}

/// One refund, done: refunds at Alipay are synchronous.
#[derive(Debug, Clone)]
pub(crate) struct Refund {
    pub(crate) out_request_no: String,
    pub(crate) amount: Fen,
    pub(crate) reason: String,
    /// Made in Alipay's console and not by a call.
    pub(crate) in_console: bool,
    /// Who bore what of the amount, and has it back.
    pub(crate) split: Split,
    pub(crate) at: Timestamp,
    /// What Alipay gives back of its fee with this refund.
    pub(crate) fee_returned: Fen,
    /// Everything refunded of the trade, this refund included.
    pub(crate) refunded_so_far: Fen,
}

/// What a refund is asked to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RefundSpec<'a> {
    pub(crate) out_request_no: &'a str,
    /// Of the price.
    pub(crate) amount: Fen,
    pub(crate) reason: &'a str,
    pub(crate) in_console: bool,
}

/// The state a query reports (Alipay open platform: `trade_status`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TradeStatus {
    WaitBuyerPay,
    TradeSuccess,
    TradeClosed,
    TradeFinished,
}

impl TradeStatus {
    pub(crate) fn as_wire(self) -> &'static str {
        match self {
            Self::WaitBuyerPay => "WAIT_BUYER_PAY",
            Self::TradeSuccess => "TRADE_SUCCESS",
            Self::TradeClosed => "TRADE_CLOSED",
            Self::TradeFinished => "TRADE_FINISHED",
        }
    }
}

/// Why a payer could not do what they wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PayerError {
    #[error("the QR code has expired")]
    QrExpired,
    #[error("the order was cancelled or closed")]
    Closed,
    #[error("the order is already paid")]
    AlreadyPaid,
    #[error("another buyer has already scanned this order")]
    OtherBuyer,
    #[error("nobody has scanned this order yet")]
    NotScanned,
    #[error("the seller's account can hold no more")]
    TooMuch,
    #[error("a coupon must be worth less than the price")]
    CouponTooLarge,
}

/// What a cancel did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cancelled {
    /// There was no trade yet.
    NoTrade,
    /// The unpaid trade is closed (perhaps already was).
    Closed,
    /// The paid trade is refunded; the position of the refund if this call made it.
    Refunded { new: Option<usize> },
}

/// What a refund call did; the position is that of the refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refunded {
    Executed(usize),
    Replayed(usize),
}

impl Paid {
    /// Who bore what of the price.
    pub(crate) fn split(&self, total: Fen) -> Split {
        Split::whole(total, self.coupon.as_ref())
    }

    pub(crate) fn refunded(&self) -> Fen {
        self.refunds.last().map_or(Fen::ZERO, |refund| refund.refunded_so_far)
    }

    fn fee_returned(&self) -> Fen {
        self.refunds.iter().map(|refund| refund.fee_returned).sum()
    }

    /// Adds a refund of an amount that was checked to be refundable, and returns its position. The fee returned is
    /// cumulative, so that rounding never adds up: after a full refund exactly the fee has been returned.
    fn add_refund(&mut self, total: Fen, refund: &RefundSpec<'_>, now: Timestamp) -> usize {
        let RefundSpec { out_request_no, amount, reason, in_console } = *refund;
        let refunded_so_far = self.refunded() + amount;
        let whole = self.split(total);
        let split = whole.first(refunded_so_far).less(whole.first(self.refunded()));
        let fee_returned = share(self.fee, refunded_so_far.0, total.0) - self.fee_returned();
        self.refunds.push(Refund {
            out_request_no: out_request_no.to_owned(),
            amount,
            reason: reason.to_owned(),
            in_console,
            split,
            at: now,
            fee_returned,
            refunded_so_far,
        });
        self.refunds.len() - 1
    }
}

impl Trade {
    pub(crate) fn status(&self, total: Fen, now: Timestamp) -> TradeStatus {
        match &self.state {
            TradeState::Waiting { expires_at } if now < *expires_at => TradeStatus::WaitBuyerPay,
            TradeState::Waiting { .. } | TradeState::Closed { .. } => TradeStatus::TradeClosed,
            TradeState::Paid(paid) if paid.refunded() == total => TradeStatus::TradeClosed,
            TradeState::Paid(paid) if now >= paid.at + REFUND_WINDOW => TradeStatus::TradeFinished,
            TradeState::Paid(_) => TradeStatus::TradeSuccess,
        }
    }
}

impl Order {
    /// Makes the order and its QR code.
    pub(crate) fn precreate(
        app_id: &str,
        seller_id: &str,
        spec: OrderSpec,
        qr_code: String,
        now: Timestamp,
    ) -> Self {
        Self {
            app_id: app_id.to_owned(),
            seller_id: seller_id.to_owned(),
            qr_expires_at: qr_expiry(&spec, now),
            spec,
            qr_code,
            created_at: now,
            stage: Stage::Unscanned,
            notifications: Vec::new(),
        }
    }

    /// Precreate again under the same number: allowed while unpaid and for the same thing. Keeps the QR code while it
    /// lives; returns the new one if it had to be made.
    pub(crate) fn precreate_again(
        &mut self,
        spec: OrderSpec,
        new_qr_code: impl FnOnce() -> String,
        now: Timestamp,
    ) -> Result<Option<String>, Business> {
        match &self.stage {
            Stage::Withdrawn { .. } => return Err(Business::TradeHasClose),
            Stage::Unscanned => {}
            Stage::Trade(trade) => match trade.status(self.spec.total, now) {
                TradeStatus::WaitBuyerPay => {}
                TradeStatus::TradeSuccess | TradeStatus::TradeFinished => {
                    return Err(Business::TradeHasSuccess);
                }
                TradeStatus::TradeClosed => return Err(Business::TradeHasClose),
            },
        }
        if spec.total != self.spec.total || spec.subject != self.spec.subject {
            return Err(Business::ContextInconsistent);
        }
        self.spec = spec;
        if now < self.qr_expires_at || matches!(self.stage, Stage::Trade(_)) {
            return Ok(None);
        }
        self.qr_code = new_qr_code();
        self.qr_expires_at = qr_expiry(&self.spec, now);
        Ok(Some(self.qr_code.clone()))
    }

    /// The trade, if somebody has scanned.
    pub(crate) fn trade(&self) -> Option<&Trade> {
        match &self.stage {
            Stage::Trade(trade) => Some(trade),
            Stage::Unscanned | Stage::Withdrawn { .. } => None,
        }
    }

    /// The buyer scans: the trade begins to exist. Scanning again is the same scan; returns whether it was the first.
    pub(crate) fn scan(
        &mut self,
        buyer: &Buyer,
        new_trade_no: impl FnOnce() -> String,
        now: Timestamp,
    ) -> Result<bool, PayerError> {
        match &self.stage {
            Stage::Withdrawn { .. } => Err(PayerError::Closed),
            Stage::Trade(trade) if trade.buyer == *buyer => Ok(false),
            Stage::Trade(_) => Err(PayerError::OtherBuyer),
            Stage::Unscanned => {
                let expires_at = match self.spec.deadline {
                    Deadline::Default => now + TRADE_LIFE,
                    Deadline::Express(timeout) => timeout.end_from(now),
                    Deadline::At(at) => at,
                };
                if now >= self.qr_expires_at || now >= expires_at {
                    return Err(PayerError::QrExpired);
                }
                self.stage = Stage::Trade(Trade {
                    trade_no: new_trade_no(),
                    buyer: buyer.clone(),
                    created_at: now,
                    state: TradeState::Waiting { expires_at },
                });
                Ok(true)
            }
        }
    }

    /// What is left to refund of a paid trade.
    pub(crate) fn refundable(&self) -> Option<Fen> {
        match &self.trade()?.state {
            TradeState::Paid(paid) => {
                Some(self.spec.total - paid.refunded()).filter(|left| *left > Fen::ZERO)
            }
            TradeState::Waiting { .. } | TradeState::Closed { .. } => None,
        }
    }

    /// Whether the buyer can pay now.
    pub(crate) fn can_be_paid(&mut self, now: Timestamp) -> Result<(), PayerError> {
        self.waiting_trade(now).map(|_| ())
    }

    /// The buyer pays a scanned trade, of which Alipay keeps `fee`.
    pub(crate) fn pay(&mut self, fee: Fen, coupon: Option<Coupon>, now: Timestamp) -> Result<(), PayerError> {
        let paid = Paid { at: now, fee, coupon, refunds: Vec::new() };
        self.waiting_trade(now)?.state = TradeState::Paid(paid);
        Ok(())
    }

    /// The buyer declines a scanned trade, which closes it.
    pub(crate) fn decline(&mut self, now: Timestamp) -> Result<(), PayerError> {
        self.waiting_trade(now)?.state = TradeState::Closed { at: now };
        Ok(())
    }

    /// A scanned trade whose time is up at `now` is closed; returns whether that was it.
    pub(crate) fn expire(&mut self, now: Timestamp) -> bool {
        match &mut self.stage {
            Stage::Trade(Trade { state: state @ TradeState::Waiting { .. }, .. }) => {
                let TradeState::Waiting { expires_at } = *state else { return false };
                if now >= expires_at {
                    *state = TradeState::Closed { at: expires_at };
                }
                now >= expires_at
            }
            Stage::Unscanned | Stage::Withdrawn { .. } | Stage::Trade(_) => false,
        }
    }

    fn waiting_trade(&mut self, now: Timestamp) -> Result<&mut Trade, PayerError> {
        let total = self.spec.total;
        match &mut self.stage {
            Stage::Unscanned => Err(PayerError::NotScanned),
            Stage::Withdrawn { .. } => Err(PayerError::Closed),
            Stage::Trade(trade) => match trade.status(total, now) {
                TradeStatus::WaitBuyerPay => Ok(trade),
                TradeStatus::TradeSuccess | TradeStatus::TradeFinished => Err(PayerError::AlreadyPaid),
                TradeStatus::TradeClosed => Err(PayerError::Closed),
            },
        }
    }

    /// The merchant closes an unpaid trade. An unscanned order has no trade to close, and its QR code stays alive:
    /// that trap is the protocol's own.
    pub(crate) fn close(&mut self, now: Timestamp) -> Result<(), Business> {
        let total = self.spec.total;
        let Stage::Trade(trade) = &mut self.stage else { return Err(Business::TradeNotExist) };
        match trade.status(total, now) {
            TradeStatus::WaitBuyerPay => {
                trade.state = TradeState::Closed { at: now };
                Ok(())
            }
            TradeStatus::TradeSuccess | TradeStatus::TradeClosed | TradeStatus::TradeFinished => {
                Err(Business::TradeStatusError)
            }
        }
    }

    /// The merchant cancels an order in doubt: unscanned, its QR code dies; unpaid, it closes; paid, everything goes
    /// back. A trade that was partly refunded cannot be cancelled (Alipay open platform:
    /// `ACQ.REASON_TRADE_REFUND_FEE_ERR` of cancel).
    pub(crate) fn cancel(&mut self, now: Timestamp) -> Result<Cancelled, Business> {
        let total = self.spec.total;
        match &mut self.stage {
            Stage::Withdrawn { .. } => Ok(Cancelled::NoTrade),
            Stage::Unscanned => {
                self.stage = Stage::Withdrawn { at: now };
                Ok(Cancelled::NoTrade)
            }
            Stage::Trade(trade) => {
                let status = trade.status(total, now);
                let in_time = now < trade.created_at + CANCEL_WINDOW;
                match (&mut trade.state, status) {
                    (TradeState::Closed { .. }, _) => Ok(Cancelled::Closed),
                    (TradeState::Waiting { expires_at }, TradeStatus::TradeClosed) => {
                        trade.state = TradeState::Closed { at: *expires_at };
                        Ok(Cancelled::Closed)
                    }
                    (TradeState::Waiting { .. }, _) => {
                        trade.state = TradeState::Closed { at: now };
                        Ok(Cancelled::Closed)
                    }
                    (TradeState::Paid(_), TradeStatus::TradeClosed) => Ok(Cancelled::Refunded { new: None }),
                    (TradeState::Paid(_), TradeStatus::TradeFinished) => Err(Business::TradeHasFinished),
                    (TradeState::Paid(_), _) if !in_time => Err(Business::TradeCancelTimeOut),
                    (TradeState::Paid(paid), _) if !paid.refunds.is_empty() => {
                        Err(Business::ReasonTradeRefundFeeErr)
                    }
                    (TradeState::Paid(paid), _) => {
                        let out_request_no = &self.spec.out_trade_no;
                        let refund =
                            RefundSpec { out_request_no, amount: total, reason: "", in_console: false };
                        Ok(Cancelled::Refunded { new: Some(paid.add_refund(total, &refund, now)) })
                    }
                }
            }
        }
    }

    /// The merchant refunds. The same number with the same amount again is the same refund; a paid trade's refunds
    /// never exceed its total.
    pub(crate) fn refund(&mut self, refund: &RefundSpec<'_>, now: Timestamp) -> Result<Refunded, Business> {
        let total = self.spec.total;
        let Stage::Trade(trade) = &mut self.stage else { return Err(Business::TradeNotExist) };
        let status = trade.status(total, now);
        let TradeState::Paid(paid) = &mut trade.state else { return Err(Business::TradeStatusError) };

        let known = |known: &Refund| known.out_request_no == refund.out_request_no;
        if let Some(index) = paid.refunds.iter().position(known) {
            let same = paid.refunds[index].amount == refund.amount;
            return if same { Ok(Refunded::Replayed(index)) } else { Err(Business::DiscordantRepeatRequest) };
        }
        if status == TradeStatus::TradeFinished {
            return Err(Business::TradeHasFinished);
        }
        if refund.amount > total - paid.refunded() {
            return Err(Business::RefundAmountNotEqualTotal);
        }
        Ok(Refunded::Executed(paid.add_refund(total, refund, now)))
    }
}

fn qr_expiry(spec: &OrderSpec, now: Timestamp) -> Timestamp {
    spec.qr_timeout.map_or(now + QR_LIFE, |timeout| timeout.end_from(now))
}

#[cfg(test)]
mod tests;

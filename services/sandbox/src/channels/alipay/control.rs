//! What control asks of Alipay.

use serde_json::Value;

use super::{
    coupon::{Coupon, FundedBy},
    ids,
    messages::{AppView, RegisterApp},
    money::{FeeRateError, Fen},
    order::{Buyer, PayerError, RefundSpec},
    refusal::Business,
    registry,
    shared::Alipay,
    sign::AppPublicKey,
    state::{Registration, State},
    statement, views,
};
use crate::{
    control::{
        self, AddFault, ConsoleRefund, CouponFunding, Fault, PayerAction, PayerMove, StatementVariant,
        TradeFilter, TradePage, TradeRef, TradeView,
    },
    core::{Refused, clock::later},
};

/// The payer of actions that name none.
const USUAL_BUYER: &str = "2088102146225135";

impl From<PayerError> for Refused {
    fn from(error: PayerError) -> Self {
        Self::Conflict(error.to_string())
    }
}

pub(super) fn register(alipay: &Alipay, account: Value) -> Result<Value, Refused> {
    let malformed = |text: &str| Refused::Malformed(text.to_owned());
    let wanted: RegisterApp =
        serde_json::from_value(account).map_err(|error| Refused::Malformed(error.to_string()))?;
    if let Some(app_id) = &wanted.app_id
        && (app_id.is_empty()
            || app_id.len() > 32
            || !app_id.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    {
        return Err(malformed("app_id must be up to 32 letters and digits"));
    }
    if let Some(seller_id) = &wanted.seller_id
        && !is_pid(seller_id)
    {
        return Err(malformed("seller_id must be 16 digits from 2088"));
    }
    let registration = Registration {
        app_id: wanted.app_id,
        seller_id: wanted.seller_id,
        public_key: AppPublicKey::parse(&wanted.public_key).map_err(|error| malformed(&error.to_string()))?,
        fee_rate: wanted
            .fee_rate
            .map(|rate| rate.parse())
            .transpose()
            .map_err(|error: FeeRateError| malformed(&error.to_string()))?,
        notify_charset: wanted.notify_charset,
        notify_closed: wanted.notify_closed,
    };
    let mut state = alipay.state();
    let app = state.register(registration).map_err(|error| Refused::Conflict(error.to_string()))?;
    registry::keep(&alipay.context.keys, state.apps())
        .map_err(|error| Refused::Conflict(format!("the app cannot be kept: {error}")))?;
    Ok(value(&views::app_view(alipay, &app)))
}

pub(super) fn accounts(alipay: &Alipay) -> Vec<Value> {
    alipay.state().apps().map(|app| value(&views::app_view(alipay, app))).collect()
}

fn value(app: &AppView) -> Value {
    serde_json::to_value(app).expect("an app is made of texts")
}

/// A PID or user id: 16 digits from 2088.
fn is_pid(text: &str) -> bool {
    text.len() == 16 && text.starts_with("2088") && text.bytes().all(|byte| byte.is_ascii_digit())
}

pub(super) fn act(
    alipay: &Alipay,
    payer_move: PayerMove,
    action: &PayerAction,
) -> Result<TradeView, Refused> {
    let user_id = action.payer.clone().unwrap_or_else(|| USUAL_BUYER.to_owned());
    if !is_pid(&user_id) {
        return Err(Refused::Malformed("payer must be 16 digits from 2088".to_owned()));
    }
    let buyer = Buyer { user_id };
    let now = alipay.context.now();
    let coupon = action.coupon.as_ref().map(coupon).transpose()?;
    let (mut state, mut books) = alipay.state_and_books();
    state.advance(&mut books, now);
    let position = find(&state, &action.trade)?;
    let decided_at = action.after_ms.map(|ms| later(now, ms));
    match (payer_move, decided_at) {
        (PayerMove::Scan, _) => state.scan(position, &buyer, now)?,
        (PayerMove::Pay, None) => state.pay(&mut books, position, &buyer, coupon, now)?,
        (PayerMove::Pay, Some(at)) => state.pay_at(position, &buyer, coupon, at, now)?,
        (PayerMove::Decline, None) => state.decline(&mut books, position, &buyer, now)?,
        (PayerMove::Decline, Some(at)) => state.decline_at(position, &buyer, at, now)?,
    }
    alipay.context.notify_dispatcher();
    Ok(views::trade_view(alipay, state.order(position), &books.deliveries, now))
}

fn coupon(wanted: &control::Coupon) -> Result<Coupon, Refused> {
    let malformed = |text: &str| Refused::Malformed(text.to_owned());
    if !(1..=64).contains(&wanted.name.chars().count()) {
        return Err(malformed("the coupon's name must be 1 to 64 characters"));
    }
    if wanted.amount_minor < 1 {
        return Err(malformed("the coupon's amount_minor must be at least 1"));
    }
    Ok(Coupon {
        id: ids::coupon_id(),
        name: wanted.name.clone(),
        amount: Fen(wanted.amount_minor),
        funded_by: match wanted.funded_by {
            CouponFunding::Merchant => FundedBy::Seller,
            CouponFunding::Channel => FundedBy::Alipay,
        },
    })
}

/// A refund in Alipay's console: as by a call, under a number that Alipay makes.
pub(super) fn refund(alipay: &Alipay, wanted: &ConsoleRefund) -> Result<TradeView, Refused> {
    let conflict = |error: Business| Refused::Conflict(error.words().0.to_owned());
    if wanted.reason.chars().count() > 256 {
        return Err(Refused::Malformed("reason must be at most 256 characters".to_owned()));
    }
    let now = alipay.context.now();
    let (mut state, mut books) = alipay.state_and_books();
    state.advance(&mut books, now);
    let position = find(&state, &wanted.trade)?;
    let order = state.order(position);
    let amount = match wanted.amount_minor {
        Some(minor) if minor > 0 => Fen(minor),
        Some(_) => return Err(Refused::Malformed("amount_minor must be at least 1".to_owned())),
        None => order.refundable().ok_or_else(|| conflict(Business::TradeStatusError))?,
    };
    let out_request_no = state.console_refund_no(now);
    let refund =
        RefundSpec { out_request_no: &out_request_no, amount, reason: &wanted.reason, in_console: true };
    state.refund(&mut books, position, &refund, now).map_err(conflict)?;
    alipay.context.notify_dispatcher();
    Ok(views::trade_view(alipay, state.order(position), &books.deliveries, now))
}

fn find(state: &State, trade: &TradeRef) -> Result<usize, Refused> {
    let position = match trade {
        // The code itself, or the URL that ends with it.
        TradeRef::Code { code } => state.find_by_qr_code(code.rsplit('/').next().unwrap_or(code)),
        TradeRef::Number { account, out_trade_no } => {
            let app = state.app(account).ok_or(Refused::Unknown("account"))?;
            state.find_by_number(&app.seller_id, out_trade_no)
        }
    };
    position.ok_or(Refused::Unknown("trade"))
}

pub(super) fn trade(alipay: &Alipay, trade: &TradeRef) -> Result<TradeView, Refused> {
    alipay.advance(alipay.context.now());
    let (state, books) = alipay.state_and_books();
    let position = find(&state, trade)?;
    Ok(views::trade_view(alipay, state.order(position), &books.deliveries, alipay.context.now()))
}

pub(super) fn trade_at(alipay: &Alipay, position: usize) -> Result<TradeView, Refused> {
    let (state, books) = alipay.state_and_books();
    let order = state.orders().get(position).ok_or(Refused::Unknown("trade"))?;
    Ok(views::trade_view(alipay, order, &books.deliveries, alipay.context.now()))
}

pub(super) fn trades(alipay: &Alipay, filter: &TradeFilter, limit: usize) -> TradePage {
    let now = alipay.context.now();
    alipay.advance(now);
    let after = usize::try_from(filter.after.unwrap_or(0)).unwrap_or(usize::MAX);
    let (state, books) = alipay.state_and_books();
    let mut matching = state.orders().iter().enumerate().skip(after).filter(|(_, order)| {
        filter.account.as_ref().is_none_or(|account| *account == order.app_id)
            && filter.out_trade_no.as_ref().is_none_or(|number| *number == order.spec.out_trade_no)
            && filter.status.is_none_or(|status| status == views::trade_status(order, now))
    });
    let mut trades = Vec::new();
    let mut next = None;
    for (position, order) in matching.by_ref().take(limit) {
        trades.push(views::trade_view(alipay, order, &books.deliveries, now));
        next = Some(position as u64 + 1);
    }
    let more = matching.next().is_some();
    TradePage { trades, next: next.filter(|_| more) }
}

pub(super) fn check_fault(rule: &AddFault) -> Result<(), String> {
    let closes = matches!(rule.operation.as_deref(), Some("alipay.trade.close" | "alipay.trade.cancel"));
    if rule.fault == Fault::PretendClosed && !closes {
        return Err("operation must be alipay.trade.close or alipay.trade.cancel".to_owned());
    }
    if let Fault::Statement { variants } = &rule.fault {
        let strange = variants.iter().find_map(|variant| match variant {
            StatementVariant::Commas { column } if !statement::FREE_TEXT.contains(&column.as_str()) => {
                Some(column)
            }
            _ => None,
        });
        if let Some(column) = strange {
            return Err(format!(
                "{column} is no column of free text; {} are",
                statement::FREE_TEXT.join(", ")
            ));
        }
    }
    Ok(())
}

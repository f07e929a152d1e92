//! The methods of the gateway: `biz_content` in, the fields of the answer's node out.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    coupon::Split,
    money::Fen,
    node::Fields,
    order::{
        Cancelled, Deadline, Order, OrderSpec, Paid, Refund, RefundSpec, Refunded, Timeout, Trade, TradeState,
    },
    parameters::Parameters,
    refusal::{Business, Refusal},
    shared::Alipay,
    state::App,
    statement::Period,
    time,
};

/// Calls a method whose caller is authenticated.
pub(crate) fn call(
    alipay: &Alipay,
    app: &App,
    method: &str,
    parameters: &Parameters,
    now: Timestamp,
) -> Result<Fields, Refusal> {
    let run: fn(&Call<'_>) -> Result<Fields, Refusal> = match method {
        "alipay.trade.precreate" => precreate,
        "alipay.trade.query" => query,
        "alipay.trade.close" => close,
        "alipay.trade.cancel" => cancel,
        "alipay.trade.refund" => refund,
        "alipay.trade.fastpay.refund.query" => refund_query,
        "alipay.data.dataservice.bill.downloadurl.query" => statement_url,
        _ => return Err(Refusal::Invalid("isv.invalid-method")),
    };
    run(&Call { alipay, app, biz: Biz::read(parameters)?, parameters, now })
}

/// Answers a close or a cancel as if it had been done.
pub(crate) fn pretend_closed(parameters: &Parameters) -> Result<Fields, Refusal> {
    let number = Biz::read(parameters)?.number("out_trade_no")?.ok_or(Refusal::Field("out_trade_no"))?;
    Ok(vec![("out_trade_no", json!(number)), ("retry_flag", json!("N")), ("action", json!("close"))])
}

struct Call<'a> {
    alipay: &'a Alipay,
    app: &'a App,
    biz: Biz,
    parameters: &'a Parameters,
    now: Timestamp,
}

/// The business parameters.
struct Biz(Map<String, Value>);

impl Biz {
    fn read(parameters: &Parameters) -> Result<Self, Refusal> {
        let text = parameters.get("biz_content").ok_or(Refusal::Missing("isv.missing-parameter"))?;
        match serde_json::from_str(text) {
            Ok(Value::Object(biz)) => Ok(Self(biz)),
            Ok(_) | Err(_) => Err(Refusal::Invalid("isv.invalid-parameter")),
        }
    }

    /// A text of at most `max` characters; numbers count as their text, since SDK users send amounts both ways.
    fn text(&self, name: &'static str, max: usize) -> Result<Option<String>, Refusal> {
        let text = match self.0.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => return Err(Refusal::Field(name)),
        };
        match text.chars().count() {
            0 => Ok(None),
            length if length > max => Err(Refusal::Field(name)),
            _ => Ok(Some(text)),
        }
    }

    /// A merchant's number: up to 64 letters, digits and underscores (Alipay open platform), and hyphens, which real
    /// messages show to be accepted.
    fn number(&self, name: &'static str) -> Result<Option<String>, Refusal> {
        let Some(number) = self.text(name, 64)? else { return Ok(None) };
        let fits = number.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        if fits { Ok(Some(number)) } else { Err(Refusal::Field(name)) }
    }

    /// The subject, in which `/`, `=` and `&` are forbidden (Alipay open platform: `subject`), and so is NUL.
    fn subject(&self) -> Result<String, Refusal> {
        let subject = self.text("subject", 256)?.ok_or(Refusal::Field("subject"))?;
        if subject.contains(['/', '=', '&', '\0']) { Err(Refusal::Field("subject")) } else { Ok(subject) }
    }

    fn amount(&self, name: &'static str) -> Result<Fen, Refusal> {
        let text = self.text(name, 12)?.ok_or(Refusal::Field(name))?;
        Fen::from_wire(&text).ok_or(Refusal::Field(name))
    }

    fn timeout(&self, name: &'static str) -> Result<Option<Timeout>, Refusal> {
        let Some(text) = self.text(name, 6)? else { return Ok(None) };
        Timeout::from_wire(&text).map(Some).ok_or(Refusal::Field(name))
    }
}

impl Call<'_> {
    /// `trade_no` and `out_trade_no`, of which at least one has to be there.
    fn order_numbers(&self) -> Result<(Option<String>, Option<String>), Refusal> {
        let trade_no = self.biz.number("trade_no")?;
        let out_trade_no = self.biz.number("out_trade_no")?;
        if trade_no.is_none() && out_trade_no.is_none() {
            return Err(Refusal::Field("out_trade_no"));
        }
        Ok((trade_no, out_trade_no))
    }
}

fn precreate(call: &Call<'_>) -> Result<Fields, Refusal> {
    let biz = &call.biz;
    let required = |value: Option<String>, name| value.ok_or(Refusal::Field(name));
    let optional = |name, max| Ok::<_, Refusal>(biz.text(name, max)?.unwrap_or_default());
    let deadline = match (biz.text("time_expire", 32)?, biz.timeout("timeout_express")?) {
        // Both given: the absolute time counts (Alipay open platform: precreate).
        (Some(text), _) => {
            let at = time::from_wire(&text).filter(|at| *at > call.now);
            Deadline::At(at.ok_or(Refusal::Field("time_expire"))?)
        }
        (None, Some(timeout)) => Deadline::Express(timeout),
        (None, None) => Deadline::Default,
    };
    let spec = OrderSpec {
        out_trade_no: required(biz.number("out_trade_no")?, "out_trade_no")?,
        total: biz.amount("total_amount")?,
        subject: biz.subject()?,
        body: optional("body", 128)?,
        store_id: optional("store_id", 32)?,
        operator_id: optional("operator_id", 28)?,
        terminal_id: optional("terminal_id", 32)?,
        notify_url: notify_url(call.parameters)?,
        charset: call.parameters.charset(),
        deadline,
        qr_timeout: biz.timeout("qr_code_timeout_express")?,
    };
    let mut state = call.alipay.state();
    let position = state.precreate(call.app, spec, call.now)?;
    let order = state.order(position);
    Ok(vec![
        ("out_trade_no", json!(order.spec.out_trade_no)),
        ("qr_code", json!(call.alipay.qr_url(&order.qr_code))),
    ])
}

/// The `notify_url` of this call: http or https, up to 256 characters.
fn notify_url(parameters: &Parameters) -> Result<Option<String>, Refusal> {
    let Some(text) = parameters.get("notify_url") else { return Ok(None) };
    let usable = text.len() <= 256
        && url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if usable { Ok(Some(text.to_owned())) } else { Err(Refusal::Invalid("isv.invalid-parameter")) }
}

fn query(call: &Call<'_>) -> Result<Fields, Refusal> {
    let (trade_no, out_trade_no) = call.order_numbers()?;
    let state = call.alipay.state();
    let position = state.find(&call.app.seller_id, trade_no.as_deref(), out_trade_no.as_deref())?;
    let order = state.order(position);
    let trade = order.trade().ok_or(Business::TradeNotExist)?;
    let total = order.spec.total;
    let mut fields = head(order, trade);
    fields.extend([
        ("trade_status", json!(trade.status(total, call.now).as_wire())),
        ("total_amount", json!(total.to_string())),
    ]);
    let paid = paid(trade);
    let split = paid.map(|paid| paid.split(total));
    let received = split.map_or(Fen::ZERO, Split::received);
    let by_buyer = split.map_or(Fen::ZERO, Split::by_buyer);
    fields.extend([
        ("receipt_amount", json!(received.to_string())),
        ("buyer_pay_amount", json!(by_buyer.to_string())),
        ("invoice_amount", json!(by_buyer.to_string())),
        ("point_amount", json!(Fen::ZERO.to_string())),
    ]);
    if let Some(paid) = paid {
        fields.push(("send_pay_date", json!(time::wire(paid.at))));
        let mut funds = vec![json!({ "amount": by_buyer.to_string(), "fund_channel": "ALIPAYACCOUNT" })];
        if let Some(coupon) = &paid.coupon {
            let split = paid.split(total);
            funds.push(json!({ "amount": coupon.amount.to_string(), "fund_channel": coupon.fund_channel() }));
            fields.extend([
                ("mdiscount_amount", json!(split.seller.to_string())),
                ("discount_amount", json!(split.alipay.to_string())),
                (
                    "voucher_detail_list",
                    json!([{
                        "id": coupon.id,
                        "name": coupon.name,
                        "type": "ALIPAY_FIX_VOUCHER",
                        "amount": coupon.amount.to_string(),
                        "merchant_contribute": split.seller.to_string(),
                        "other_contribute": split.alipay.to_string(),
                    }]),
                ),
            ]);
        }
        fields.push(("fund_bill_list", Value::Array(funds)));
    }
    Ok(fields)
}

fn close(call: &Call<'_>) -> Result<Fields, Refusal> {
    let (trade_no, out_trade_no) = call.order_numbers()?;
    let (mut state, mut books) = call.alipay.state_and_books();
    let position = state.find(&call.app.seller_id, trade_no.as_deref(), out_trade_no.as_deref())?;
    state.close(&mut books, position, call.now)?;
    let order = state.order(position);
    Ok(numbers(order, order.trade()))
}

fn cancel(call: &Call<'_>) -> Result<Fields, Refusal> {
    let (trade_no, out_trade_no) = call.order_numbers()?;
    let (mut state, mut books) = call.alipay.state_and_books();
    let retry_flag = ("retry_flag", json!("N"));
    let position = match state.find(&call.app.seller_id, trade_no.as_deref(), out_trade_no.as_deref()) {
        Ok(position) => position,
        // A cancel finds no trade and succeeds without an `action` (Alipay open platform: cancel, `action`).
        Err(Business::TradeNotExist) => {
            return Ok(vec![("out_trade_no", json!(out_trade_no.unwrap_or_default())), retry_flag]);
        }
        Err(business) => return Err(business.into()),
    };
    let action = match state.cancel(&mut books, position, call.now)? {
        Cancelled::NoTrade => None,
        Cancelled::Closed => Some("close"),
        Cancelled::Refunded { .. } => Some("refund"),
    };
    let order = state.order(position);
    let mut fields = numbers(order, order.trade());
    fields.push(retry_flag);
    fields.extend(action.map(|action| ("action", json!(action))));
    Ok(fields)
}

fn refund(call: &Call<'_>) -> Result<Fields, Refusal> {
    let (trade_no, out_trade_no) = call.order_numbers()?;
    let amount = call.biz.amount("refund_amount")?;
    let reason = call.biz.text("refund_reason", 256)?.unwrap_or_default();
    let out_request_no = call.biz.number("out_request_no")?;

    let (mut state, mut books) = call.alipay.state_and_books();
    let position = state.find(&call.app.seller_id, trade_no.as_deref(), out_trade_no.as_deref())?;
    let order = state.order(position);
    let out_request_no = match out_request_no {
        Some(number) => number,
        // Only a partial refund has to name its number; else the order's is taken (Alipay open platform: refund).
        None if amount == order.spec.total => order.spec.out_trade_no.clone(),
        None => return Err(Refusal::Field("out_request_no")),
    };
    let refund = RefundSpec { out_request_no: &out_request_no, amount, reason: &reason, in_console: false };
    let refunded = state.refund(&mut books, position, &refund, call.now)?;
    let (index, fund_change) = match refunded {
        Refunded::Executed(index) => (index, "Y"),
        Refunded::Replayed(index) => (index, "N"),
    };
    let order = state.order(position);
    let trade = order.trade().ok_or(Business::TradeNotExist)?;
    let paid = paid(trade).ok_or(Business::TradeStatusError)?;
    let refund = &paid.refunds[index];
    let mut fields = head(order, trade);
    fields.extend([
        ("fund_change", json!(fund_change)),
        ("refund_fee", json!(paid.refunded().to_string())),
        ("send_back_fee", json!(refund.split.by_buyer().to_string())),
        ("gmt_refund_pay", json!(time::wire(refund.at))),
    ]);
    if paid.coupon.is_some() {
        fields.push(("present_refund_mdiscount_amount", json!(refund.split.seller.to_string())));
        fields.push(("present_refund_discount_amount", json!(refund.split.alipay.to_string())));
    }
    Ok(fields)
}

fn refund_query(call: &Call<'_>) -> Result<Fields, Refusal> {
    let (trade_no, out_trade_no) = call.order_numbers()?;
    let out_request_no = call.biz.number("out_request_no")?.ok_or(Refusal::Field("out_request_no"))?;
    let wants_time = match call.biz.0.get("query_options") {
        Some(Value::Array(options)) => options.iter().any(|option| option == "gmt_refund_pay"),
        _ => false,
    };
    let state = call.alipay.state();
    let position = state.find(&call.app.seller_id, trade_no.as_deref(), out_trade_no.as_deref())?;
    let order = state.order(position);
    let trade = order.trade().ok_or(Business::TradeNotExist)?;
    let mut fields = numbers(order, Some(trade));
    fields.push(("out_request_no", json!(out_request_no)));
    // An unknown refund is a success without refund_status: the refund has not happened (Alipay open platform:
    // refund query).
    let found = paid(trade)
        .and_then(|paid| paid.refunds.iter().find(|refund| refund.out_request_no == out_request_no));
    if let Some(Refund { amount, reason, at, split, .. }) = found {
        fields.extend([
            ("refund_status", json!("REFUND_SUCCESS")),
            ("total_amount", json!(order.spec.total.to_string())),
            ("refund_amount", json!(amount.to_string())),
            ("refund_reason", json!(reason)),
            ("send_back_fee", json!(split.by_buyer().to_string())),
        ]);
        if wants_time {
            fields.push(("gmt_refund_pay", json!(time::wire(*at))));
        }
    }
    Ok(fields)
}

fn statement_url(call: &Call<'_>) -> Result<Fields, Refusal> {
    let bill_type = call.biz.text("bill_type", 20)?.ok_or(Refusal::Field("bill_type"))?;
    let date = call.biz.text("bill_date", 15)?.ok_or(Refusal::Field("bill_date"))?;
    let period = Period::from_wire(&date).ok_or(Refusal::Field("bill_date"))?;
    let (from, until) = period.range().ok_or(Refusal::Field("bill_date"))?;
    match bill_type.as_str() {
        "trade" => {}
        // The statement of account movements: the sandbox keeps none.
        "signcustomer" => return Err(Business::BillNotExist.into()),
        _ => return Err(Refusal::Field("bill_type")),
    }
    // The real service has a day's statement from the next morning on; here it is there at midnight, and today's may be
    // allowed.
    let complete = until <= call.now;
    let begun = from <= call.now;
    if !(complete || (begun && call.alipay.current_day_statement)) {
        return Err(Business::BillNotExist.into());
    }
    let (mut state, mut books) = call.alipay.state_and_books();
    let variants = books.faults.take_statement(&call.app.app_id);
    let token = state.make_statement(&call.app.seller_id, period, (from, until), variants, call.now);
    let link = format!("{}/bill/download?token={token}", call.alipay.context.public_url);
    Ok(vec![("bill_download_url", json!(link))])
}

/// What the answers about a trade begin with.
fn head(order: &Order, trade: &Trade) -> Fields {
    let mut fields = numbers(order, Some(trade));
    fields.extend([
        ("buyer_logon_id", json!(trade.buyer.logon_id())),
        ("buyer_user_id", json!(trade.buyer.user_id)),
    ]);
    fields
}

fn numbers(order: &Order, trade: Option<&Trade>) -> Fields {
    let mut fields: Fields = trade.map(|trade| ("trade_no", json!(trade.trade_no))).into_iter().collect();
    fields.push(("out_trade_no", json!(order.spec.out_trade_no)));
    fields
}

fn paid(trade: &Trade) -> Option<&Paid> {
    match &trade.state {
        TradeState::Paid(paid) => Some(paid),
        TradeState::Waiting { .. } | TradeState::Closed { .. } => None,
    }
}

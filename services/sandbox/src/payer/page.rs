//! The HTML of the payer's pages.

use axum::response::{Html, IntoResponse, Response};
use http::StatusCode;

use crate::control::{Action, TradeStatus, TradeView};

/// A trade as the payer sees it, by the kind of what they were given, with its buttons while it can be paid.
pub(super) fn trade_html(trade: &TradeView) -> String {
    let state = match trade.status {
        TradeStatus::Offered => "not opened 未扫码",
        TradeStatus::Withdrawn => "cancelled 已撤销",
        TradeStatus::Waiting => "waiting for payment 等待付款",
        TradeStatus::Paid => "paid 已支付",
        TradeStatus::Closed => "closed 已关闭",
        TradeStatus::Finished => "finished 已完结",
    };
    // The form is posted to the page itself.
    let buttons = if trade.status == TradeStatus::Waiting {
        r#"<form method="post">
<button name="action" value="pay">Pay 付款</button>
<button name="action" value="decline">Decline 拒绝</button></form>"#
    } else {
        ""
    };
    let given = match trade.action {
        Action::QrCode { .. } => "You scanned a QR code. 您已扫码。",
        Action::Redirect { .. } => "The shop sent you here. 商户将您转至此处。",
        Action::Confirm { .. } => "Your phone asks you to confirm. 请在手机上确认。",
    };
    format!(
        "<p>{given}</p><p class=\"amount\">{}</p><p>{}</p><p>{}</p><p>{state}</p>{buttons}",
        escape(&price(&trade.currency, trade.total_minor)),
        escape(&trade.subject),
        escape(&trade.out_trade_no),
    )
}

fn price(currency: &str, minor: i64) -> String {
    let (sign, minor) = (if minor < 0 { "-" } else { "" }, minor.unsigned_abs());
    match currency {
        "CNY" => format!("{sign}¥{}.{:02}", minor / 100, minor % 100),
        // How many decimals another currency has is its channel's knowledge.
        _ => format!("{sign}{minor} {currency} (minor units)"),
    }
}

/// A whole page.
pub(super) fn page(status: StatusCode, title: &str, content: &str) -> Response {
    let html = format!(
        r#"<!doctype html><html lang="zh-CN"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>Sandbox payer</title>
<style>body{{font-family:sans-serif;max-width:22rem;margin:3rem auto;text-align:center}}
.amount{{font-size:2.5rem;margin:0}}button{{font-size:1.2rem;padding:.6rem 1.4rem;margin:.3rem}}
small{{color:#777}}</style>
<h1>Simulated {}</h1>{content}<p><small>This is a sandbox. No money moves.</small></p></html>"#,
        escape(title),
    );
    (status, Html(html)).into_response()
}

/// The text as HTML shows it.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

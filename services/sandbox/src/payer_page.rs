//! The page behind a QR code, where a person plays the payer: it shows the order and two buttons. Opening it is the
//! scan, as it is with the real wallet.

use std::sync::Arc;

use axum::{
    Form,
    extract::{Path, Query, State},
    response::{Html, IntoResponse, Response},
};
use http::StatusCode;
use serde::Deserialize;

use crate::{
    alipay::{Alipay, PayerError, trade_view},
    control::{
        TradeStatus, TradeView,
        routes::{find_qr, usual_buyer},
    },
};

/// The query of `GET /pay`.
#[derive(Deserialize)]
pub(crate) struct Scan {
    qr: String,
}

/// The form of `POST /pay`.
#[derive(Deserialize)]
pub(crate) struct Decision {
    qr: String,
    action: Action,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    Pay,
    Refuse,
}

/// `GET /qr/{qr_code}`
pub(crate) async fn scan(State(alipay): State<Arc<Alipay>>, Path(qr_code): Path<String>) -> Response {
    show(&alipay, &qr_code, None)
}

/// `GET /pay?qr=`
pub(crate) async fn scan_by_query(State(alipay): State<Arc<Alipay>>, Query(scan): Query<Scan>) -> Response {
    show(&alipay, &scan.qr, None)
}

/// `POST /pay`
pub(crate) async fn decide(State(alipay): State<Arc<Alipay>>, Form(decision): Form<Decision>) -> Response {
    show(&alipay, &decision.qr, Some(decision.action))
}

fn show(alipay: &Alipay, qr_code: &str, action: Option<Action>) -> Response {
    let now = alipay.clock.now();
    let mut simulator = alipay.simulator();
    let Some(position) = find_qr(&simulator, qr_code) else {
        return page(StatusCode::NOT_FOUND, "<p>There is no such QR code. 二维码不存在。</p>");
    };
    let buyer = usual_buyer();
    let done = match action {
        None => simulator.scan(position, &buyer, now),
        Some(Action::Pay) => simulator.pay(position, &buyer, now),
        Some(Action::Refuse) => simulator.refuse(position, &buyer, now),
    };
    alipay.wake_courier();
    let trade = trade_view(alipay, simulator.order(position), &simulator.outbox, now);
    let problem = match done {
        // Opening the page of a paid or closed order shows it, which is all that was asked for.
        Ok(()) | Err(PayerError::Closed | PayerError::AlreadyPaid) => String::new(),
        Err(error @ (PayerError::QrExpired | PayerError::OtherBuyer | PayerError::NotScanned)) => {
            format!("<p>{error}</p>")
        }
    };
    let status = if problem.is_empty() { StatusCode::OK } else { StatusCode::CONFLICT };
    page(status, &format!("{}{problem}", order_html(&trade)))
}

fn order_html(trade: &TradeView) -> String {
    // The QR code's URL is the base URL, /qr/ and the code.
    let (base, code) = trade.qr_code.rsplit_once("/qr/").unwrap_or_default();
    let yuan = format!("{}.{:02}", trade.total_fen / 100, trade.total_fen % 100);
    let state = match trade.status {
        TradeStatus::NotScanned => "not scanned 未扫码",
        TradeStatus::Withdrawn => "cancelled 已撤销",
        TradeStatus::WaitBuyerPay => "waiting for payment 等待付款",
        TradeStatus::TradeSuccess => "paid 已支付",
        TradeStatus::TradeClosed => "closed 已关闭",
        TradeStatus::TradeFinished => "finished 已完结",
    };
    let buttons = if trade.status == TradeStatus::WaitBuyerPay {
        format!(
            r#"<form method="post" action="{base}/pay"><input type="hidden" name="qr" value="{code}">
<button name="action" value="pay">Pay 付款</button>
<button name="action" value="refuse">Refuse 拒绝</button></form>"#
        )
    } else {
        String::new()
    };
    format!(
        "<p class=\"amount\">¥{yuan}</p><p>{}</p><p>{}</p><p>{state}</p>{buttons}",
        escape(&trade.subject),
        escape(&trade.out_trade_no),
    )
}

fn page(status: StatusCode, content: &str) -> Response {
    let html = format!(
        r#"<!doctype html><html lang="zh-CN"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>Sandbox payer</title>
<style>body{{font-family:sans-serif;max-width:22rem;margin:3rem auto;text-align:center}}
.amount{{font-size:2.5rem;margin:0}}button{{font-size:1.2rem;padding:.6rem 1.4rem;margin:.3rem}}
small{{color:#777}}</style>
<h1>Simulated Alipay</h1>{content}<p><small>This is a sandbox. No money moves.</small></p></html>"#
    );
    (status, Html(html)).into_response()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

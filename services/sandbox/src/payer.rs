//! The pages where a person plays the payer, by the kind of what the payer was given. Opening a page is the scan, as it is
//! with a real wallet; then there are two buttons.

mod page;

use axum::{
    Form, Router,
    extract::{Path, State},
    response::Response,
    routing::get,
};
use http::StatusCode;
use serde::Deserialize;

use self::page::{escape, page, trade_html};
use crate::{
    control::{PayerAction, PayerMove, TradeRef, TradeStatus, routes::Channels},
    core::Refused,
};

/// The routes, relative to `/payer`.
pub(crate) fn router() -> Router<Channels> {
    Router::new().route("/{channel}/{code}", get(open).post(decide))
}

/// The form of a page.
#[derive(Deserialize)]
struct Decision {
    action: PayerMove,
}

async fn open(State(channels): State<Channels>, Path((channel, code)): Path<(String, String)>) -> Response {
    show(&channels, &channel, code, PayerMove::Scan)
}

async fn decide(
    State(channels): State<Channels>,
    Path((channel, code)): Path<(String, String)>,
    Form(decision): Form<Decision>,
) -> Response {
    show(&channels, &channel, code, decision.action)
}

fn show(channels: &Channels, channel: &str, code: String, payer_move: PayerMove) -> Response {
    let Some(channel) = channels.find(channel) else {
        return page(StatusCode::NOT_FOUND, "payer", "<p>There is no such channel. 渠道不存在。</p>");
    };
    let trade = TradeRef::Code { code };
    let done = channel.act(payer_move, &PayerAction::on(trade.clone()));
    let title = channel.title();
    match (done, channel.trade(&trade)) {
        (Ok(trade), _) => page(StatusCode::OK, title, &trade_html(&trade)),
        (Err(Refused::Unknown(_)), _) | (Err(_), Err(_)) => {
            page(StatusCode::NOT_FOUND, title, "<p>There is no such payment. 支付不存在。</p>")
        }
        // Opening the page of what is paid or closed shows it, which is all that was asked for.
        (Err(_), Ok(trade)) if payer_move == PayerMove::Scan && is_over(trade.status) => {
            page(StatusCode::OK, title, &trade_html(&trade))
        }
        (Err(Refused::Malformed(problem) | Refused::Conflict(problem)), Ok(trade)) => {
            let content = format!("{}<p>{}</p>", trade_html(&trade), escape(&problem));
            page(StatusCode::CONFLICT, title, &content)
        }
    }
}

fn is_over(status: TradeStatus) -> bool {
    match status {
        TradeStatus::Offered | TradeStatus::Waiting => false,
        TradeStatus::Withdrawn | TradeStatus::Paid | TradeStatus::Closed | TradeStatus::Finished => true,
    }
}

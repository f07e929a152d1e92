//! The handlers of the control interface, the same for every channel: parse, ask the channel, show.

use std::sync::Arc;

use axum::{
    Json, RequestPartsExt, Router,
    extract::{FromRequestParts, Path, Query, State, rejection::QueryRejection},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use http::{StatusCode, request::Parts};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::messages::{
    AddFault, ClockView, ConsoleRefund, ControlFailure, Fault, FaultView, MovementFilter, MovementPage,
    PayerAction, PayerMove, Resend, SetClock, SkipTime, TradeFilter, TradePage, TradeRef, TradeView,
};
use crate::core::{Clock, Refused, Simulator};

const DEFAULT_PAGE: u32 = 100;
const MAX_PAGE: u32 = 1000;
const MAX_COPIES: u32 = 100;

/// All channels of a sandbox, and the clock that they share.
#[derive(Clone)]
pub(crate) struct Channels {
    pub(crate) clock: Arc<Clock>,
    pub(crate) all: Arc<[Arc<dyn Simulator>]>,
}

impl Channels {
    /// The channel with this name.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<dyn Simulator>> {
        self.all.iter().find(|channel| channel.channel() == name).cloned()
    }

    fn notify_dispatchers(&self) {
        for channel in self.all.iter() {
            channel.context().notify_dispatcher();
        }
    }
}

/// The channel that a path names first.
struct Channel(Arc<dyn Simulator>);

impl FromRequestParts<Channels> for Channel {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, channels: &Channels) -> Result<Self, Refused> {
        #[derive(Deserialize)]
        struct Named {
            channel: String,
        }
        let Path(Named { channel }) =
            parts.extract().await.map_err(|_| Refused::Malformed("the path is malformed".to_owned()))?;
        channels.find(&channel).map(Self).ok_or(Refused::Unknown("channel"))
    }
}

type Answer<T> = Result<Json<T>, Refused>;

/// The routes, relative to `/control`.
pub(crate) fn router() -> Router<Channels> {
    Router::new()
        .route("/channels", get(list_channels))
        .route("/clock", get(show_clock).post(set_clock))
        .route("/clock/skip", post(skip_time))
        .route("/{channel}/accounts", get(list_accounts).post(register))
        .route("/{channel}/trades", get(list_trades))
        .route("/{channel}/trades/{account}/{out_trade_no}", get(show_trade))
        .route("/{channel}/trades/scan", post(scan))
        .route("/{channel}/trades/pay", post(pay))
        .route("/{channel}/trades/decline", post(decline))
        .route("/{channel}/trades/refund", post(refund))
        .route("/{channel}/movements", get(list_movements))
        .route("/{channel}/faults", get(list_faults).post(add_fault).delete(clear_faults))
        .route("/{channel}/notifications/resend", post(resend))
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, error) = match self {
            Self::Malformed(error) => (StatusCode::BAD_REQUEST, error),
            Self::Unknown(what) => (StatusCode::NOT_FOUND, format!("no such {what}")),
            Self::Conflict(error) => (StatusCode::CONFLICT, error),
        };
        (status, Json(ControlFailure { error })).into_response()
    }
}

impl From<QueryRejection> for Refused {
    fn from(rejection: QueryRejection) -> Self {
        Self::Malformed(rejection.body_text())
    }
}

/// Reads a JSON body, whatever its content type says: friendlier to curl.
fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| Refused::Malformed(error.to_string()))
}

async fn list_channels(State(channels): State<Channels>) -> Json<Vec<&'static str>> {
    Json(channels.all.iter().map(|channel| channel.channel()).collect())
}

async fn register(Channel(channel): Channel, body: Bytes) -> Answer<Value> {
    channel.register(read(&body)?).map(Json)
}

async fn list_accounts(Channel(channel): Channel) -> Json<Vec<Value>> {
    Json(channel.accounts())
}

async fn scan(Channel(channel): Channel, body: Bytes) -> Answer<TradeView> {
    act(&*channel, PayerMove::Scan, &body)
}

async fn pay(Channel(channel): Channel, body: Bytes) -> Answer<TradeView> {
    act(&*channel, PayerMove::Pay, &body)
}

async fn decline(Channel(channel): Channel, body: Bytes) -> Answer<TradeView> {
    act(&*channel, PayerMove::Decline, &body)
}

async fn refund(Channel(channel): Channel, body: Bytes) -> Answer<TradeView> {
    let refund: ConsoleRefund = read(&body)?;
    channel.refund(&refund).map(Json)
}

fn act(channel: &dyn Simulator, payer_move: PayerMove, body: &Bytes) -> Answer<TradeView> {
    let action: PayerAction = read(body)?;
    if action.coupon.is_some() && payer_move != PayerMove::Pay {
        return Err(Refused::Malformed("coupon is for paying".to_owned()));
    }
    if action.after_ms.is_some() && payer_move == PayerMove::Scan {
        return Err(Refused::Malformed("after_ms is for paying and declining".to_owned()));
    }
    channel.act(payer_move, &action).map(Json)
}

async fn show_trade(
    Channel(channel): Channel,
    Path((_, account, out_trade_no)): Path<(String, String, String)>,
) -> Answer<TradeView> {
    channel.trade(&TradeRef::Number { account, out_trade_no }).map(Json)
}

async fn list_trades(
    Channel(channel): Channel,
    query: Result<Query<TradeFilter>, QueryRejection>,
) -> Answer<TradePage> {
    let Query(filter) = query?;
    let limit = page_size(filter.limit)?;
    Ok(Json(channel.trades(&filter, limit)))
}

async fn list_movements(
    Channel(channel): Channel,
    query: Result<Query<MovementFilter>, QueryRejection>,
) -> Answer<MovementPage> {
    let Query(filter) = query?;
    let limit = page_size(filter.limit)?;
    // Sequence numbers count from 1, so they are how many to skip.
    let after = usize::try_from(filter.after.unwrap_or(0)).unwrap_or(usize::MAX);
    let books = channel.context().books();
    let mut matching =
        books.movements.all().iter().skip(after).filter(|movement| {
            filter.merchant.as_ref().is_none_or(|merchant| *merchant == movement.merchant)
        });
    let movements: Vec<_> = matching.by_ref().take(limit).cloned().collect();
    let more = matching.next().is_some();
    let next = movements.last().map(|movement| movement.sequence).filter(|_| more);
    Ok(Json(MovementPage { movements, next }))
}

fn page_size(limit: Option<u32>) -> Result<usize, Refused> {
    let limit = limit.unwrap_or(DEFAULT_PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Refused::Malformed(format!("limit must be 1 to {MAX_PAGE}")));
    }
    Ok(limit as usize)
}

async fn add_fault(Channel(channel): Channel, body: Bytes) -> Answer<FaultView> {
    let rule: AddFault = read(&body)?;
    check(&rule).map_err(|problem| Refused::Malformed(problem.to_owned()))?;
    channel.check_fault(&rule).map_err(Refused::Malformed)?;
    Ok(Json(channel.context().books().faults.add(rule)))
}

fn check(rule: &AddFault) -> Result<(), &'static str> {
    let about_notifications = match &rule.fault {
        Fault::DuplicateNotification { copies } if !(1..=MAX_COPIES).contains(copies) => {
            return Err("copies must be 1 to 100");
        }
        Fault::LoseNotification { .. }
        | Fault::DelayNotification { .. }
        | Fault::DuplicateNotification { .. }
        | Fault::ReorderNotification => true,
        Fault::Statement { variants } if variants.is_empty() => return Err("variants must not be empty"),
        Fault::Statement { .. } if rule.operation.is_some() => {
            return Err("operation is for faults of calls");
        }
        Fault::Statement { .. }
        | Fault::DropRequest
        | Fault::FailBefore { .. }
        | Fault::TimeOutAfter { .. }
        | Fault::DelayAnswer { .. }
        | Fault::BadAnswerSignature
        | Fault::PretendClosed => false,
    };
    if rule.times == Some(0) {
        Err("times must be at least 1")
    } else if about_notifications && rule.operation.is_some() {
        Err("operation is for faults of calls")
    } else if !about_notifications && rule.event.is_some() {
        Err("event is for faults of notifications")
    } else {
        Ok(())
    }
}

async fn list_faults(Channel(channel): Channel) -> Json<Vec<FaultView>> {
    Json(channel.context().books().faults.list().to_vec())
}

/// The query of `DELETE /control/{channel}/faults`.
#[derive(Deserialize)]
struct WhichFaults {
    account: Option<String>,
}

async fn clear_faults(
    Channel(channel): Channel,
    query: Result<Query<WhichFaults>, QueryRejection>,
) -> Answer<Vec<FaultView>> {
    let Query(which) = query?;
    let mut books = channel.context().books();
    books.faults.clear(which.account.as_deref());
    Ok(Json(books.faults.list().to_vec()))
}

async fn show_clock(State(channels): State<Channels>) -> Json<ClockView> {
    Json(clock_view(&channels))
}

async fn set_clock(State(channels): State<Channels>, body: Bytes) -> Answer<ClockView> {
    let SetClock { offset_ms } = read(&body)?;
    channels.clock.set_offset_ms(offset_ms).map_err(|error| Refused::Malformed(error.to_string()))?;
    channels.notify_dispatchers();
    Ok(Json(clock_view(&channels)))
}

async fn skip_time(State(channels): State<Channels>, body: Bytes) -> Answer<ClockView> {
    let SkipTime { by_ms } = read(&body)?;
    channels.clock.skip_ms(by_ms).map_err(|error| Refused::Malformed(error.to_string()))?;
    channels.notify_dispatchers();
    Ok(Json(clock_view(&channels)))
}

fn clock_view(channels: &Channels) -> ClockView {
    ClockView { now: channels.clock.now(), offset_ms: channels.clock.offset_ms() }
}

async fn resend(Channel(channel): Channel, body: Bytes) -> Answer<TradeView> {
    let Resend { notify_id } = read(&body)?;
    let context = channel.context();
    let now = context.now();
    let about = {
        let mut books = context.books();
        let position = books.deliveries.find(&notify_id).ok_or(Refused::Unknown("notification"))?;
        books.deliveries.resend(position, now);
        books.deliveries.notification(position).trade
    };
    context.notify_dispatcher();
    channel.trade_at(about).map(Json)
}

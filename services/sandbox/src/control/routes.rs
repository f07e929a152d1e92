//! The handlers of the control interface: parse, act on the simulator, show.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, Query, State, rejection::QueryRejection},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    AddFault, AppView, ClockView, ControlFailure, Fault, FaultView, MovementFilter, MovementPage, OrderRef,
    PayerAction, RegisterApp, Resend, SetClock, SkipTime, TradeFilter, TradePage, TradeView,
};
use crate::alipay::{self, Alipay, AppPublicKey, Buyer, PayerError, Registration, Simulator};

/// The payer of actions that name none.
const USUAL_BUYER: &str = "2088102146225135";
const DEFAULT_PAGE: u32 = 100;
const MAX_PAGE: u32 = 1000;
const MAX_COPIES: u32 = 100;

type Shared = State<Arc<Alipay>>;
type Answer<T> = Result<Json<T>, Problem>;

/// The routes, relative to `/control`.
pub(crate) fn router() -> Router<Arc<Alipay>> {
    Router::new()
        .route("/apps", get(list_apps).post(register_app))
        .route("/apps/{app_id}/trades/{out_trade_no}", get(show_trade))
        .route("/qr/scan", post(scan))
        .route("/trades", get(list_trades))
        .route("/trades/pay", post(pay))
        .route("/trades/refuse", post(refuse))
        .route("/movements", get(list_movements))
        .route("/faults", get(list_faults).post(add_fault).delete(clear_faults))
        .route("/clock", get(show_clock).post(set_clock))
        .route("/clock/skip", post(skip_time))
        .route("/notifications/resend", post(resend))
}

/// Why a control call did not work.
#[derive(Debug)]
pub(crate) enum Problem {
    Malformed(String),
    Unknown(&'static str),
    Conflict(String),
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, error) = match self {
            Self::Malformed(error) => (StatusCode::BAD_REQUEST, error),
            Self::Unknown(what) => (StatusCode::NOT_FOUND, format!("no such {what}")),
            Self::Conflict(error) => (StatusCode::CONFLICT, error),
        };
        (status, Json(ControlFailure { error })).into_response()
    }
}

impl From<PayerError> for Problem {
    fn from(error: PayerError) -> Self {
        Self::Conflict(error.to_string())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::Malformed(rejection.body_text())
    }
}

/// Reads a JSON body, whatever its content type says: friendlier to curl.
fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::Malformed(error.to_string()))
}

async fn register_app(State(alipay): Shared, body: Bytes) -> Answer<AppView> {
    let wanted: RegisterApp = read(&body)?;
    let malformed = |text: &str| Problem::Malformed(text.to_owned());
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
            .map_err(|error: alipay::FeeRateError| malformed(&error.to_string()))?,
    };
    let registered = alipay.simulator().register(registration);
    let app = registered.map_err(|error| Problem::Conflict(error.to_string()))?;
    Ok(Json(alipay::app_view(&alipay, &app)))
}

async fn list_apps(State(alipay): Shared) -> Json<Vec<AppView>> {
    let simulator = alipay.simulator();
    Json(simulator.apps().map(|app| alipay::app_view(&alipay, app)).collect())
}

/// A PID or user id: 16 digits from 2088.
fn is_pid(text: &str) -> bool {
    text.len() == 16 && text.starts_with("2088") && text.bytes().all(|byte| byte.is_ascii_digit())
}

async fn scan(State(alipay): Shared, body: Bytes) -> Answer<TradeView> {
    act(&alipay, &body, Simulator::scan)
}

async fn pay(State(alipay): Shared, body: Bytes) -> Answer<TradeView> {
    act(&alipay, &body, Simulator::pay)
}

async fn refuse(State(alipay): Shared, body: Bytes) -> Answer<TradeView> {
    act(&alipay, &body, Simulator::refuse)
}

type PayerMove = fn(&mut Simulator, usize, &Buyer, jiff::Timestamp) -> Result<(), PayerError>;

fn act(alipay: &Alipay, body: &Bytes, payer_move: PayerMove) -> Answer<TradeView> {
    let action: PayerAction = read(body)?;
    let user_id = action.buyer.unwrap_or_else(|| USUAL_BUYER.to_owned());
    if !is_pid(&user_id) {
        return Err(Problem::Malformed("buyer must be 16 digits from 2088".to_owned()));
    }
    let now = alipay.clock.now();
    let mut simulator = alipay.simulator();
    let position = find(&simulator, &action.order)?;
    payer_move(&mut simulator, position, &Buyer { user_id }, now)?;
    alipay.wake_courier();
    Ok(Json(alipay::trade_view(alipay, simulator.order(position), &simulator.outbox, now)))
}

/// The usual buyer, for the payer's page.
pub(crate) fn usual_buyer() -> Buyer {
    Buyer { user_id: USUAL_BUYER.to_owned() }
}

fn find(simulator: &Simulator, order: &OrderRef) -> Result<usize, Problem> {
    let position = match order {
        OrderRef::Qr { qr_code } => find_qr(simulator, qr_code),
        OrderRef::Number { app_id, out_trade_no } => {
            let app = simulator.app(app_id).ok_or(Problem::Unknown("app"))?;
            simulator.find_by_number(&app.seller_id, out_trade_no)
        }
    };
    position.ok_or(Problem::Unknown("order"))
}

/// The order behind a QR code, given as the code or as the URL that ends with it.
pub(crate) fn find_qr(simulator: &Simulator, qr_code: &str) -> Option<usize> {
    let code = qr_code.rsplit('/').next().unwrap_or(qr_code);
    simulator.find_by_qr_code(code)
}

async fn show_trade(
    State(alipay): Shared,
    Path((app_id, out_trade_no)): Path<(String, String)>,
) -> Answer<TradeView> {
    let simulator = alipay.simulator();
    let position = find(&simulator, &OrderRef::Number { app_id, out_trade_no })?;
    Ok(Json(alipay::trade_view(&alipay, simulator.order(position), &simulator.outbox, alipay.clock.now())))
}

async fn list_trades(
    State(alipay): Shared,
    query: Result<Query<TradeFilter>, QueryRejection>,
) -> Answer<TradePage> {
    let Query(filter) = query?;
    let now = alipay.clock.now();
    let limit = page_size(filter.limit)?;
    let after = usize::try_from(filter.after.unwrap_or(0)).unwrap_or(usize::MAX);
    let simulator = alipay.simulator();
    let mut matching = simulator.orders().iter().enumerate().skip(after).filter(|(_, order)| {
        filter.app_id.as_ref().is_none_or(|app_id| *app_id == order.app_id)
            && filter.out_trade_no.as_ref().is_none_or(|number| *number == order.spec.out_trade_no)
            && filter.status.is_none_or(|status| status == alipay::trade_status(order, now))
    });
    let mut trades = Vec::new();
    let mut next = None;
    for (position, order) in matching.by_ref().take(limit) {
        trades.push(alipay::trade_view(&alipay, order, &simulator.outbox, now));
        next = Some(position as u64 + 1);
    }
    let more = matching.next().is_some();
    Ok(Json(TradePage { trades, next: next.filter(|_| more) }))
}

async fn list_movements(
    State(alipay): Shared,
    query: Result<Query<MovementFilter>, QueryRejection>,
) -> Answer<MovementPage> {
    let Query(filter) = query?;
    let limit = page_size(filter.limit)?;
    // Sequence numbers count from 1, so they are how many to skip.
    let after = usize::try_from(filter.after.unwrap_or(0)).unwrap_or(usize::MAX);
    let simulator = alipay.simulator();
    let mut matching = simulator
        .movements()
        .iter()
        .skip(after)
        .filter(|movement| filter.seller_id.as_ref().is_none_or(|seller| *seller == movement.seller_id));
    let movements: Vec<_> = matching.by_ref().take(limit).cloned().collect();
    let more = matching.next().is_some();
    let next = movements.last().map(|movement| movement.sequence).filter(|_| more);
    Ok(Json(MovementPage { movements, next }))
}

fn page_size(limit: Option<u32>) -> Result<usize, Problem> {
    let limit = limit.unwrap_or(DEFAULT_PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Problem::Malformed(format!("limit must be 1 to {MAX_PAGE}")));
    }
    Ok(limit as usize)
}

async fn add_fault(State(alipay): Shared, body: Bytes) -> Answer<FaultView> {
    let rule: AddFault = read(&body)?;
    check(&rule)?;
    Ok(Json(alipay.simulator().faults.add(rule)))
}

fn check(rule: &AddFault) -> Result<(), Problem> {
    let about_notifications = match &rule.fault {
        Fault::LoseNotification { .. } | Fault::DelayNotification { .. } | Fault::ReorderNotification => true,
        Fault::DuplicateNotification { copies } if (1..=MAX_COPIES).contains(copies) => true,
        Fault::DuplicateNotification { .. } => {
            return Err(Problem::Malformed(format!("copies must be 1 to {MAX_COPIES}")));
        }
        Fault::DropRequest
        | Fault::FailBefore { .. }
        | Fault::TimeOutAfter { .. }
        | Fault::DelayAnswer { .. }
        | Fault::BadAnswerSignature
        | Fault::PretendClosed => false,
    };
    let closes = matches!(rule.method.as_deref(), Some("alipay.trade.close" | "alipay.trade.cancel"));
    let problem = if rule.times == Some(0) {
        "times must be at least 1"
    } else if rule.fault == Fault::PretendClosed && !closes {
        "method must be alipay.trade.close or alipay.trade.cancel"
    } else if about_notifications && rule.method.is_some() {
        "method is for faults of calls"
    } else if !about_notifications && rule.event.is_some() {
        "event is for faults of notifications"
    } else {
        return Ok(());
    };
    Err(Problem::Malformed(problem.to_owned()))
}

async fn list_faults(State(alipay): Shared) -> Json<Vec<FaultView>> {
    Json(alipay.simulator().faults.list().to_vec())
}

/// The query of `DELETE /control/faults`.
#[derive(Deserialize)]
struct WhichFaults {
    app_id: Option<String>,
}

async fn clear_faults(
    State(alipay): Shared,
    query: Result<Query<WhichFaults>, QueryRejection>,
) -> Answer<Vec<FaultView>> {
    let Query(which) = query?;
    let mut simulator = alipay.simulator();
    simulator.faults.clear(which.app_id.as_deref());
    Ok(Json(simulator.faults.list().to_vec()))
}

async fn show_clock(State(alipay): Shared) -> Json<ClockView> {
    Json(clock_view(&alipay))
}

async fn set_clock(State(alipay): Shared, body: Bytes) -> Answer<ClockView> {
    let SetClock { offset_ms } = read(&body)?;
    alipay.clock.set_offset_ms(offset_ms).map_err(|error| Problem::Malformed(error.to_string()))?;
    alipay.wake_courier();
    Ok(Json(clock_view(&alipay)))
}

async fn skip_time(State(alipay): Shared, body: Bytes) -> Answer<ClockView> {
    let SkipTime { by_ms } = read(&body)?;
    alipay.clock.skip_ms(by_ms).map_err(|error| Problem::Malformed(error.to_string()))?;
    alipay.wake_courier();
    Ok(Json(clock_view(&alipay)))
}

fn clock_view(alipay: &Alipay) -> ClockView {
    ClockView { now: alipay.clock.now(), offset_ms: alipay.clock.offset_ms() }
}

async fn resend(State(alipay): Shared, body: Bytes) -> Answer<TradeView> {
    let Resend { notify_id } = read(&body)?;
    let now = alipay.clock.now();
    let mut simulator = alipay.simulator();
    let position = simulator.outbox.find(&notify_id).ok_or(Problem::Unknown("notification"))?;
    simulator.outbox.resend(position, now);
    alipay.wake_courier();
    let order = simulator.order(simulator.outbox.get(position).news.order);
    Ok(Json(alipay::trade_view(&alipay, order, &simulator.outbox, now)))
}

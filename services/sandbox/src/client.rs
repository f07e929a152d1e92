//! A client of the control interface, for tests and demonstrations.

use reqwest::{RequestBuilder, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use url::Url;

use crate::control::{
    AddFault, AppView, ClockView, ControlFailure, FaultView, MovementFilter, MovementPage, MovementView,
    OrderRef, PayerAction, RegisterApp, Resend, SetClock, SkipTime, TradeFilter, TradePage, TradeView,
};

/// Plays the payer and orders faults at a running sandbox.
#[derive(Debug, Clone)]
pub struct ControlClient {
    base: Url,
    http: reqwest::Client,
}

/// Why a control call did not work.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The sandbox could not be reached, or answered something else than JSON.
    #[error("the sandbox could not be reached")]
    Http(#[from] reqwest::Error),
    /// The sandbox said no.
    #[error("the sandbox refused with {status}: {message}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// What was wrong.
        message: String,
    },
    /// The base URL cannot be a base.
    #[error("the sandbox's URL is not usable")]
    BadUrl(#[from] url::ParseError),
}

impl ControlClient {
    /// A client of the sandbox at `base`, such as `http://127.0.0.1:8080`.
    pub fn new(base: &str) -> Result<Self, ControlError> {
        let mut base = Url::parse(base)?;
        if !base.path().ends_with('/') {
            let path = format!("{}/", base.path());
            base.set_path(&path);
        }
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self { base, http })
    }

    /// Registers an app or renews its key.
    pub async fn register_app(&self, app: &RegisterApp) -> Result<AppView, ControlError> {
        self.post("control/apps", app).await
    }

    /// The buyer scans.
    pub async fn scan(&self, order: OrderRef) -> Result<TradeView, ControlError> {
        self.post("control/qr/scan", &PayerAction { order, buyer: None }).await
    }

    /// The buyer pays, scanning first if needed.
    pub async fn pay(&self, order: OrderRef) -> Result<TradeView, ControlError> {
        self.post("control/trades/pay", &PayerAction { order, buyer: None }).await
    }

    /// The buyer declines, scanning first if needed.
    pub async fn refuse(&self, order: OrderRef) -> Result<TradeView, ControlError> {
        self.post("control/trades/refuse", &PayerAction { order, buyer: None }).await
    }

    /// Any of the payer's actions by a chosen buyer; `path` is one of `qr/scan`, `trades/pay`, `trades/refuse`.
    pub async fn act(&self, path: &str, action: &PayerAction) -> Result<TradeView, ControlError> {
        self.post(&format!("control/{path}"), action).await
    }

    /// One order with its refunds and notifications.
    pub async fn trade(&self, app_id: &str, out_trade_no: &str) -> Result<TradeView, ControlError> {
        let url = self.url(&format!("control/apps/{app_id}/trades/{out_trade_no}"))?;
        receive(self.http.get(url)).await
    }

    /// A page of orders.
    pub async fn trades(&self, filter: &TradeFilter) -> Result<TradePage, ControlError> {
        receive(self.http.get(self.url("control/trades")?).query(filter)).await
    }

    /// All movements of a seller, or of everybody, page after page.
    pub async fn movements(&self, seller_id: Option<&str>) -> Result<Vec<MovementView>, ControlError> {
        let mut filter =
            MovementFilter { seller_id: seller_id.map(str::to_owned), after: None, limit: Some(1000) };
        let mut movements = Vec::new();
        loop {
            let request = self.http.get(self.url("control/movements")?).query(&filter);
            let page: MovementPage = receive(request).await?;
            movements.extend(page.movements);
            match page.next {
                Some(next) => filter.after = Some(next),
                None => return Ok(movements),
            }
        }
    }

    /// Adds a fault rule.
    pub async fn add_fault(&self, fault: &AddFault) -> Result<FaultView, ControlError> {
        self.post("control/faults", fault).await
    }

    /// The fault rules in force.
    pub async fn faults(&self) -> Result<Vec<FaultView>, ControlError> {
        receive(self.http.get(self.url("control/faults")?)).await
    }

    /// Removes the fault rules of an app, or all.
    pub async fn clear_faults(&self, app_id: Option<&str>) -> Result<Vec<FaultView>, ControlError> {
        let query: Vec<_> = app_id.map(|app_id| ("app_id", app_id)).into_iter().collect();
        receive(self.http.delete(self.url("control/faults")?).query(&query)).await
    }

    /// The sandbox's clock.
    pub async fn clock(&self) -> Result<ClockView, ControlError> {
        receive(self.http.get(self.url("control/clock")?)).await
    }

    /// Sets the sandbox's distance to real time.
    pub async fn set_clock(&self, offset_ms: i64) -> Result<ClockView, ControlError> {
        self.post("control/clock", &SetClock { offset_ms }).await
    }

    /// Lets time pass at once.
    pub async fn skip_ms(&self, by_ms: i64) -> Result<ClockView, ControlError> {
        self.post("control/clock/skip", &SkipTime { by_ms }).await
    }

    /// Delivers a notification once more.
    pub async fn resend(&self, notify_id: &str) -> Result<TradeView, ControlError> {
        self.post("control/notifications/resend", &Resend { notify_id: notify_id.to_owned() }).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ControlError> {
        receive(self.http.post(self.url(path)?).json(body)).await
    }

    fn url(&self, path: &str) -> Result<Url, ControlError> {
        Ok(self.base.join(path)?)
    }
}

async fn receive<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, ControlError> {
    let response = request.send().await?;
    let status = response.status();
    if status.is_success() {
        return Ok(response.json().await?);
    }
    let message =
        response.json::<ControlFailure>().await.map_or_else(|_| String::new(), |failure| failure.error);
    Err(ControlError::Refused { status, message })
}

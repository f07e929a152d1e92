//! A client of the control interface, for tests and demonstrations.

use reqwest::{RequestBuilder, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use url::Url;

use crate::control::{
    AddFault, ClockView, ConsoleRefund, ControlFailure, FaultView, MovementFilter, MovementPage,
    MovementView, PayerAction, PayerMove, Resend, SetClock, SkipTime, TradeFilter, TradePage, TradeRef,
    TradeView,
};

/// Plays the payer and orders faults at one channel of a running sandbox.
#[derive(Debug, Clone)]
pub struct ControlClient {
    base: Url,
    channel: String,
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
    /// A client of the sandbox at `base`, such as `http://127.0.0.1:8080`; of its Alipay, until another channel is
    /// chosen with [`on`](Self::on).
    pub fn new(base: &str) -> Result<Self, ControlError> {
        let mut base = Url::parse(base)?;
        if !base.path().ends_with('/') {
            let path = format!("{}/", base.path());
            base.set_path(&path);
        }
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self { base, channel: "alipay".to_owned(), http })
    }

    /// The same client of another channel.
    #[must_use]
    pub fn on(&self, channel: &str) -> Self {
        Self { channel: channel.to_owned(), ..self.clone() }
    }

    /// Registers an account or renews it. Both messages are the channel's own; Alipay's are
    /// [`RegisterApp`](crate::alipay::RegisterApp) and [`AppView`](crate::alipay::AppView).
    pub async fn register<T: DeserializeOwned>(&self, account: &impl Serialize) -> Result<T, ControlError> {
        self.post(self.of_channel("accounts")?, account).await
    }

    /// The payer scans.
    pub async fn scan(&self, trade: TradeRef) -> Result<TradeView, ControlError> {
        self.act(PayerMove::Scan, &PayerAction::on(trade)).await
    }

    /// The payer pays, scanning first if needed.
    pub async fn pay(&self, trade: TradeRef) -> Result<TradeView, ControlError> {
        self.act(PayerMove::Pay, &PayerAction::on(trade)).await
    }

    /// The payer declines, scanning first if needed.
    pub async fn decline(&self, trade: TradeRef) -> Result<TradeView, ControlError> {
        self.act(PayerMove::Decline, &PayerAction::on(trade)).await
    }

    /// Any of the payer's moves, by a chosen payer.
    pub async fn act(&self, payer_move: PayerMove, action: &PayerAction) -> Result<TradeView, ControlError> {
        let path = match payer_move {
            PayerMove::Scan => "trades/scan",
            PayerMove::Pay => "trades/pay",
            PayerMove::Decline => "trades/decline",
        };
        self.post(self.of_channel(path)?, action).await
    }

    /// Somebody refunds in the channel's console.
    pub async fn refund(&self, refund: &ConsoleRefund) -> Result<TradeView, ControlError> {
        self.post(self.of_channel("trades/refund")?, refund).await
    }

    /// One trade with its refunds and notifications.
    pub async fn trade(&self, account: &str, out_trade_no: &str) -> Result<TradeView, ControlError> {
        receive(self.http.get(self.of_channel(&format!("trades/{account}/{out_trade_no}"))?)).await
    }

    /// A page of trades.
    pub async fn trades(&self, filter: &TradeFilter) -> Result<TradePage, ControlError> {
        receive(self.http.get(self.of_channel("trades")?).query(filter)).await
    }

    /// All movements of a merchant's money, or of everybody's, page after page.
    pub async fn movements(&self, merchant: Option<&str>) -> Result<Vec<MovementView>, ControlError> {
        let mut filter =
            MovementFilter { merchant: merchant.map(str::to_owned), after: None, limit: Some(1000) };
        let mut movements = Vec::new();
        loop {
            let request = self.http.get(self.of_channel("movements")?).query(&filter);
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
        self.post(self.of_channel("faults")?, fault).await
    }

    /// The fault rules in force.
    pub async fn faults(&self) -> Result<Vec<FaultView>, ControlError> {
        receive(self.http.get(self.of_channel("faults")?)).await
    }

    /// Removes the fault rules of an account, or all.
    pub async fn clear_faults(&self, account: Option<&str>) -> Result<Vec<FaultView>, ControlError> {
        let query: Vec<_> = account.map(|account| ("account", account)).into_iter().collect();
        receive(self.http.delete(self.of_channel("faults")?).query(&query)).await
    }

    /// The sandbox's clock.
    pub async fn clock(&self) -> Result<ClockView, ControlError> {
        receive(self.http.get(self.url("control/clock")?)).await
    }

    /// Sets the sandbox's distance to real time.
    pub async fn set_clock(&self, offset_ms: i64) -> Result<ClockView, ControlError> {
        self.post(self.url("control/clock")?, &SetClock { offset_ms }).await
    }

    /// Lets time pass at once.
    pub async fn skip_ms(&self, by_ms: i64) -> Result<ClockView, ControlError> {
        self.post(self.url("control/clock/skip")?, &SkipTime { by_ms }).await
    }

    /// Delivers a notification once more.
    pub async fn resend(&self, notify_id: &str) -> Result<TradeView, ControlError> {
        let resend = Resend { notify_id: notify_id.to_owned() };
        self.post(self.of_channel("notifications/resend")?, &resend).await
    }

    async fn post<T: DeserializeOwned>(&self, url: Url, body: &impl Serialize) -> Result<T, ControlError> {
        receive(self.http.post(url).json(body)).await
    }

    fn of_channel(&self, path: &str) -> Result<Url, ControlError> {
        self.url(&format!("control/{}/{path}", self.channel))
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

//! Simulated Alipay: the open platform's gateway protocol 1.0.
//!
//! [`order`] is the pure core, [`state`] is everything it remembers, [`shared`] is what handlers share, [`gateway`] answers
//! calls, [`notification`] writes notifications, [`statement`] the statements, [`control`] does what control asks for.

mod charset;
mod config;
mod control;
mod coupon;
mod gateway;
mod ids;
mod messages;
mod methods;
mod money;
mod node;
mod notification;
mod order;
mod parameters;
mod refusal;
mod registry;
mod shared;
mod sign;
mod state;
mod statement;
mod time;
mod views;

use std::sync::Arc;

use axum::{Router, routing::get};
use jiff::Timestamp;
use serde_json::Value;

use self::shared::Alipay;
use crate::{
    control::{AddFault, ConsoleRefund, PayerAction, PayerMove, TradeFilter, TradePage, TradeRef, TradeView},
    core::{ChannelFactory, Context, Notification, Post, Refused, Simulator},
};

pub use charset::Charset;
pub use config::Config;
pub use messages::{AppView, RegisterApp, system_error};
pub use money::{FeeRate, FeeRateError};

/// Alipay as the sandbox takes it in.
pub(crate) fn channel(config: Config) -> ChannelFactory {
    Box::new(move |context| Ok(Arc::new(Alipay::new(&config, context)?)))
}

impl Simulator for Alipay {
    fn channel(&self) -> &'static str {
        shared::CHANNEL
    }

    fn title(&self) -> &'static str {
        "Alipay"
    }

    fn context(&self) -> &Context {
        &self.context
    }

    fn wire(self: Arc<Self>) -> Router {
        Router::new()
            .route("/gateway.do", get(gateway::handle).post(gateway::handle))
            .route("/bill/download", get(gateway::download_statement))
            .with_state(self)
    }

    fn register(&self, account: Value) -> Result<Value, Refused> {
        control::register(self, account)
    }

    fn accounts(&self) -> Vec<Value> {
        control::accounts(self)
    }

    fn act(&self, payer_move: PayerMove, action: &PayerAction) -> Result<TradeView, Refused> {
        control::act(self, payer_move, action)
    }

    fn refund(&self, refund: &ConsoleRefund) -> Result<TradeView, Refused> {
        control::refund(self, refund)
    }

    fn trade(&self, trade: &TradeRef) -> Result<TradeView, Refused> {
        control::trade(self, trade)
    }

    fn trade_at(&self, position: usize) -> Result<TradeView, Refused> {
        control::trade_at(self, position)
    }

    fn trades(&self, filter: &TradeFilter, limit: usize) -> TradePage {
        control::trades(self, filter, limit)
    }

    fn check_fault(&self, rule: &AddFault) -> Result<(), String> {
        control::check_fault(rule)
    }

    fn advance(&self, now: Timestamp) -> Option<Timestamp> {
        shared::Alipay::advance(self, now)
    }

    fn compose(&self, notification: &Notification, now: Timestamp) -> Post {
        notification::post(self, notification, now)
    }

    fn acknowledges(&self, status: u16, body: &str) -> bool {
        notification::acknowledges(status, body)
    }
}

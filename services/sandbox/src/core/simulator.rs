//! What a simulated channel is to the rest of the sandbox.

use std::{error::Error, sync::Arc};

use axum::Router;
use jiff::Timestamp;
use serde_json::Value;

use super::{context::Context, deliveries::Notification};
use crate::control::messages::{
    AddFault, ConsoleRefund, PayerAction, PayerMove, TradeFilter, TradePage, TradeRef, TradeView,
};

/// Why a control call does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The request cannot be meant: status 400.
    Malformed(String),
    /// There is no such thing; the text names it: status 404.
    Unknown(&'static str),
    /// Not in the present state: status 409.
    Conflict(String),
}

/// One delivery of a notification, as it is posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// The headers, the content type among them.
    pub headers: Vec<(&'static str, String)>,
    /// The body, already signed if the protocol signs it.
    pub body: Vec<u8>,
}

/// A simulated channel. Control, the payer's pages and the dispatcher know channels by this alone.
pub trait Simulator: Send + Sync + 'static {
    /// The channel's name in control paths, such as `alipay`: lower-case letters and digits.
    fn channel(&self) -> &'static str;

    /// How the payer's page calls it, such as `Alipay`.
    fn title(&self) -> &'static str;

    /// The channel's place in the sandbox.
    fn context(&self) -> &Context;

    /// The channel's own protocol, at the paths of the real one.
    fn wire(self: Arc<Self>) -> Router;

    // === what control does ===

    /// Registers an account, or renews one; both messages are the channel's own.
    fn register(&self, account: Value) -> Result<Value, Refused>;

    /// The registered accounts, as [`register`](Self::register) answers them.
    fn accounts(&self) -> Vec<Value>;

    /// The payer acts.
    fn act(&self, payer_move: PayerMove, action: &PayerAction) -> Result<TradeView, Refused>;

    /// Somebody refunds in the channel's console.
    fn refund(&self, refund: &ConsoleRefund) -> Result<TradeView, Refused>;

    /// One trade.
    fn trade(&self, trade: &TradeRef) -> Result<TradeView, Refused>;

    /// The trade at this position of the channel's list, which a notification names.
    fn trade_at(&self, position: usize) -> Result<TradeView, Refused>;

    /// A page of trades, at most `limit`.
    fn trades(&self, filter: &TradeFilter, limit: usize) -> TradePage;

    /// Whether the channel can make this go wrong; the text says why not.
    fn check_fault(&self, rule: &AddFault) -> Result<(), String>;

    // === what the dispatcher does ===

    /// Does what falls due by itself, and says when something falls due next.
    fn advance(&self, now: Timestamp) -> Option<Timestamp> {
        let _ = now;
        None
    }

    /// A notification as it is delivered now.
    fn compose(&self, notification: &Notification, now: Timestamp) -> Post;

    /// Whether an answer acknowledges a notification; of the body, the first 256 bytes are shown.
    fn acknowledges(&self, status: u16, body: &str) -> bool;
}

/// Makes a channel when the sandbox has bound its address.
pub type ChannelFactory =
    Box<dyn FnOnce(Context) -> Result<Arc<dyn Simulator>, Box<dyn Error + Send + Sync>> + Send>;

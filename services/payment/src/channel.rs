//! Adapters: one per channel, in the channel's own protocol.
//!
//! To add a channel: one module beside `alipay` that implements [`Adapter`], and its line in [`open`] and [`takes`].
//! An adapter keeps no state but its keys and makes no decision about payments. It turns answers into evidence, and
//! whatever it can't understand into "unknown". Of each call it tells the account's [`Health`] whether it was answered.

pub(crate) mod alipay;
mod call;
mod download;
mod health;
mod statement;

use std::fmt::Debug;
use std::sync::Arc;

pub(crate) use health::Health;
use jiff::Timestamp;
use jiff::civil::Date;
pub(crate) use statement::{
    ChannelStatement, StatementEntry, StatementFailure, StatementLine, StatementLineKind, UnreadableLine,
};
use tael_clock::Clock;
use tael_money::Money;

use crate::domain::channel_account::{Channel, Identity, Method};
use crate::domain::evidence::{Evidence, Paid};
use crate::domain::integrity_alert::Assertion;
use crate::domain::refund_execution::RefundEvidence;

/// What the channel is asked to let the payer pay.
#[derive(Clone, Debug)]
pub(crate) struct InitiateRequest {
    /// The number under which the channel is to know it.
    pub(crate) number: String,
    pub(crate) amount: Money,
    pub(crate) subject: String,
    pub(crate) create_time: Timestamp,
    /// After this the payer must not be able to pay.
    pub(crate) expire_time: Timestamp,
    /// Where the channel is to send callbacks.
    pub(crate) callback_url: String,
}

/// A refund, told to the channel.
#[derive(Clone, Debug)]
pub(crate) struct RefundOrder {
    /// The number of what was paid.
    pub(crate) number: String,
    /// The number under which the channel is to know the refund.
    pub(crate) refund_number: String,
    pub(crate) amount: Money,
    pub(crate) reason: String,
}

/// What came of the try to close something at a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// Nobody can pay it any more.
    Closed,
    /// The payer was faster.
    Paid(Paid),
    /// The payer was faster, and the channel gave all the money back in closing.
    Reversed(Paid),
    /// It did not answer, or not clearly: whether it can be paid is not known.
    Unknown,
}

/// A callback whose signature was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Callback {
    /// The number of what it is about, as we gave it to the channel.
    pub(crate) number: String,
    /// What it says of things that we know ourselves.
    pub(crate) claim: Assertion,
    /// What it says about the payment; none when it says nothing new.
    pub(crate) evidence: Option<Evidence>,
    /// The number of the refund it is about, if it is about one.
    pub(crate) refund_number: Option<String>,
}

/// Why a callback is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallbackRejected {
    /// The signature is missing or does not verify.
    #[error("the signature does not verify")]
    InvalidSignature,
    /// It is signed, and still can't be read.
    #[error("the signed message can't be read")]
    Malformed,
}

/// What a channel is told after its callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acknowledgement {
    pub(crate) status: u32,
    pub(crate) content_type: &'static str,
    pub(crate) body: &'static str,
}

/// One merchant's account at one channel. Calls have an end of their own and always have an outcome.
#[tonic::async_trait]
pub(crate) trait Adapter: Debug + Send + Sync {
    /// Gets a code by which the payer can pay. Repeated with the same content it is the same initiate_request.
    async fn initiate(&self, request: &InitiateRequest) -> Evidence;

    /// Asks what became of a payment.
    async fn query(&self, number: &str) -> Evidence;

    /// Closes the payment at the channel; afterwards the payer cannot pay.
    async fn close(&self, number: &str) -> Closing;

    /// Refunds. Repeated with the same content it is the same refund.
    async fn refund(&self, order: &RefundOrder) -> RefundEvidence;

    /// Asks what became of a refund.
    async fn query_refund(&self, order: &RefundOrder) -> RefundEvidence;

    /// Verifies and reads a callback, given byte for byte.
    fn read_callback(&self, body: &[u8]) -> Result<Callback, CallbackRejected>;

    /// Returns what the channel is to be told: that its callback was taken, or that it must come again.
    fn acknowledge(&self, taken: bool) -> Acknowledgement;

    /// Downloads the statement of one day of the channel's calendar.
    async fn download_statement(&self, day: Date) -> Result<Box<dyn ChannelStatement>, StatementFailure>;
}

/// Opens an account with its secrets.
pub(crate) fn open(
    identity: &Identity,
    keys: &[u8],
    http: &tael_egress::Client,
    clock: &Clock,
    health: &Health,
) -> Result<Arc<dyn Adapter>, alipay::KeysError> {
    match identity {
        Identity::Alipay(identity) => {
            let keys = alipay::Keys::from_stored(keys)?;
            Ok(Arc::new(alipay::Alipay::new(
                identity.clone(),
                keys,
                http.only(alipay::HOSTS),
                clock.clone(),
                health.clone(),
            )))
        }
    }
}

/// Says whether a channel can take such a payment at all.
pub(crate) fn takes(channel: Channel, method: Method, amount: Money) -> bool {
    match channel {
        Channel::Alipay => alipay::takes(method, amount),
    }
}

//! Channels: for each a folder with its adapter, in the channel's own protocol, and a line in [`CHANNELS`].
//!
//! An adapter keeps no state but its keys and makes no decision about payments. It turns answers into evidence, and
//! whatever it can't understand into "unknown". What it can do is data ([`Capabilities`]); what only some can do is a
//! trait of its own that it may offer ([`Statements`]). Its calls go through [`http::ChannelHttp`], which tells spans,
//! metrics and the account's [`Health`] of each.

pub(crate) mod alipay;
mod call;
mod download;
mod health;
mod http;
mod statement;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::RangeInclusive;
use std::sync::Arc;

pub(crate) use health::Health;
use jiff::Timestamp;
use jiff::civil::Date;
use secrecy::zeroize::Zeroizing;
use serde_json::Value;
pub(crate) use statement::{
    ChannelStatement, StatementEntry, StatementFailure, StatementLine, StatementLineKind, UnreadableLine,
};
use tael_clock::Clock;
use tael_money::{Currency, Money};

use crate::domain::channel_account::{ChannelName, Method};
use crate::domain::evidence::{Evidence, Paid};
use crate::domain::integrity_alert::Assertion;
use crate::domain::payment::MethodInput;
use crate::domain::refund_execution::RefundEvidence;

/// Every channel: one line for each.
pub(crate) const CHANNELS: &[&Registration] = &[&alipay::REGISTRATION];

/// What the rest of the service must know of a channel.
#[derive(Debug)]
pub(crate) struct Registration {
    /// Its name in rows, spans, metrics and paths.
    pub(crate) name: &'static str,
    pub(crate) capabilities: Capabilities,
    /// The header fields of its callbacks that it needs, in lower case. All others are dropped unseen.
    pub(crate) callback_headers: &'static [&'static str],
    /// Opens an account.
    pub(crate) open: fn(&Opening<'_>) -> Result<Arc<dyn Channel>, CannotOpen>,
}

/// What a channel can do.
#[derive(Debug)]
pub(crate) struct Capabilities {
    pub(crate) methods: &'static [Method],
    /// The currencies it takes, with the smallest and largest amount of each in minor units.
    pub(crate) amounts: &'static [(Currency, RangeInclusive<i64>)],
    /// Whether a part of a payment can be refunded, and the rest later; else only all at once.
    pub(crate) partial_refund: bool,
    /// How it is found out what became of an initiation without a clear answer.
    pub(crate) resend: Resend,
}

/// How an initiation that is in doubt recovers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resend {
    /// Sent again with the same number and content it is the same payment.
    Repeatable,
    /// Sent again it may be another payment, or is refused: only a query tells.
    #[expect(dead_code, reason = "no channel of ours is like that yet; most others are")]
    QueryOnly,
}

/// An account that is to be opened.
pub(crate) struct Opening<'a> {
    pub(crate) identity: &'a Value,
    /// The secrets as they were sealed: at least one, and the one to sign with first. All of them verify.
    pub(crate) keys: &'a [Zeroizing<Vec<u8>>],
    pub(crate) http: &'a tael_egress::Client,
    pub(crate) clock: &'a Clock,
    pub(crate) health: &'a Health,
}

/// Why an account can't be opened. Never says what is in its secrets.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CannotOpen {
    #[error("the stored identity can't be read")]
    Identity,
    #[error("the stored keys can't be used")]
    Keys(#[source] alipay::KeysError),
}

/// A payment that the channel is to let the payer pay.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "Alipay has one method, which takes no input; others have several")]
pub(crate) struct Initiate {
    /// The number under which the channel is to know it: the attempt's.
    pub(crate) number: String,
    pub(crate) method: Method,
    pub(crate) input: MethodInput,
    pub(crate) amount: Money,
    pub(crate) subject: String,
    pub(crate) create_time: Timestamp,
    /// After this the payer must not be able to pay.
    pub(crate) expire_time: Timestamp,
    /// Where the channel is to send callbacks.
    pub(crate) callback_url: String,
}

/// An attempt that the channel was told of.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "Alipay knows attempts by our numbers alone; others by their own")]
pub(crate) struct AttemptRef {
    pub(crate) number: String,
    /// What the adapter asked to be kept.
    pub(crate) refs: Value,
}

/// A refund, told to the channel.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "Alipay knows the total; others want to be told")]
pub(crate) struct RefundOrder {
    /// What was paid.
    pub(crate) attempt: AttemptRef,
    /// All that was paid.
    pub(crate) total: Money,
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
    Unknown {
        /// What stands in the way, as far as somebody said so who can't be believed.
        problem: Option<String>,
    },
}

impl Closing {
    /// An answer that says nothing.
    pub(crate) const UNCLEAR: Self = Self::Unknown { problem: None };
}

/// A callback as it came in.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "Alipay signs the body alone; others sign headers, path or query too")]
pub(crate) struct Callback {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Without the question mark.
    pub(crate) query: String,
    /// The header fields that the channel's registration names, in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    /// Byte for byte.
    pub(crate) body: bytes::Bytes,
}

/// What a verified callback says of one payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
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
pub(crate) trait Channel: Debug + Send + Sync {
    /// Makes a signed call that changes nothing, about a number that nobody has; an answer that verifies proves both
    /// sides' keys. The error says what stands in the way, in words for the merchant.
    async fn test(&self, number: &str) -> Result<(), String>;

    /// Begins a payment. Repeated with the same content it is the same payment where the channel is
    /// [`Resend::Repeatable`]; elsewhere it is not repeated.
    async fn initiate(&self, request: &Initiate) -> Evidence;

    /// Asks what became of a payment.
    async fn query(&self, attempt: &AttemptRef) -> Evidence;

    /// Closes the payment at the channel; afterwards the payer cannot pay.
    async fn close(&self, attempt: &AttemptRef) -> Closing;

    /// Refunds. Repeated with the same content it is the same refund.
    async fn refund(&self, order: &RefundOrder) -> RefundEvidence;

    /// Asks what became of a refund.
    async fn query_refund(&self, order: &RefundOrder) -> RefundEvidence;

    /// Verifies a callback, and only then reads it: one may tell of several payments.
    async fn read_callback(&self, callback: &Callback) -> Result<Vec<Notice>, CallbackRejected>;

    /// Returns what the channel is to be told: that its callback was taken, or that it must come again.
    fn acknowledge(&self, taken: bool) -> Acknowledgement;

    /// Statements of what it did on a day, where the channel has any.
    fn statements(&self) -> Option<&dyn Statements>;
}

/// A channel that says what it did on a day.
#[tonic::async_trait]
pub(crate) trait Statements: Send + Sync {
    /// Downloads the statement of one day of the channel's calendar.
    async fn download_statement(&self, day: Date) -> Result<Box<dyn ChannelStatement>, StatementFailure>;
}

/// Finds a channel by its name.
pub(crate) fn registration(name: &ChannelName) -> Option<&'static Registration> {
    CHANNELS.iter().copied().find(|channel| channel.name == name.as_str())
}

/// Says whether a channel can take such a payment at all.
pub(crate) fn takes(name: &ChannelName, method: Method, amount: Money) -> bool {
    registration(name).is_some_and(|channel| channel.capabilities.takes(method, amount))
}

impl Capabilities {
    fn takes(&self, method: Method, amount: Money) -> bool {
        let takes_amount = |(currency, minor): &(Currency, RangeInclusive<i64>)| {
            *currency == amount.currency() && minor.contains(&amount.minor())
        };
        self.methods.contains(&method) && self.amounts.iter().any(takes_amount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_has_a_name_of_its_own_and_what_it_takes_is_data() {
        for (n, channel) in CHANNELS.iter().enumerate() {
            assert!(CHANNELS[..n].iter().all(|other| other.name != channel.name), "{}", channel.name);
            assert!(channel.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'));
            assert!(channel.callback_headers.iter().all(|name| *name == name.to_ascii_lowercase()));
        }
        let alipay = ChannelName::new("alipay");
        let takes = |minor, currency| takes(&alipay, Method::QrCode, Money::new(minor, currency));
        assert!(takes(1, Currency::CNY) && takes(10_000_000_000, Currency::CNY));
        assert!(
            !takes(0, Currency::CNY) && !takes(10_000_000_001, Currency::CNY) && !takes(1, Currency::USD)
        );
        assert!(!super::takes(&alipay, Method::Web, Money::new(1, Currency::CNY)));
        assert!(!super::takes(&ChannelName::new("cowry"), Method::QrCode, Money::new(1, Currency::CNY)));
    }
}

//! What the payment service says, as the page understands it.

use std::collections::BTreeMap;

use tael_money::{Currency, Money, UnknownCurrency};
use tael_proto::payment::v1::next_action::Action;
use tael_proto::payment::v1::{GetCheckoutResponse, Instructions, PaymentState, Redirect};
use tael_proto::r#type::v1::Channel;

/// A payment as its payer may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checkout {
    pub(crate) amount: Money,
    pub(crate) subject: String,
    pub(crate) wallet: Wallet,
    pub(crate) state: State,
}

/// With what the payer pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wallet {
    Alipay,
    /// No channel was chosen yet.
    Any,
}

/// Where the payment stands, in a payer's eyes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// There is nothing to do yet.
    Preparing,
    /// The payer must do this.
    Pending(PayerAction),
    Succeeded,
    /// Closed without money.
    Closed,
    Failed(Reason),
}

/// What the payer must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PayerAction {
    /// Scan this.
    QrCode(String),
    /// Go to this address: by a link, or by a form with these fields.
    Redirect { url: String, form: BTreeMap<String, String> },
    /// Go on in the app or page that the payer comes from: it has what the channel needs, and this page can't run it.
    GoBack,
    /// Pay by these details, naming the reference.
    Instructions { reference: String, details: BTreeMap<String, String> },
    /// Confirm elsewhere, such as on the phone.
    Wait,
}

/// Why a payment failed, as far as it makes a difference for the payer (`Failure.reason` of the contract).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    InsufficientFunds,
    RiskDeclined,
    /// The merchant's settings or ours: the payer can do nothing about it.
    NotAccepted,
    AlreadyClosed,
    Declined,
}

/// Why a reply can't be shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadReply {
    #[error("the amount is missing")]
    NoAmount,
    #[error("the amount's currency is not known")]
    Currency(#[from] UnknownCurrency),
    #[error("the state {0} is not known")]
    State(i32),
}

impl TryFrom<GetCheckoutResponse> for Checkout {
    type Error = BadReply;

    fn try_from(reply: GetCheckoutResponse) -> Result<Self, BadReply> {
        let amount = reply.amount.as_ref().ok_or(BadReply::NoAmount)?;
        let wallet = match reply.channel() {
            Channel::Alipay => Wallet::Alipay,
            Channel::Unspecified => Wallet::Any,
        };
        let state = match PaymentState::try_from(reply.state) {
            Err(_) | Ok(PaymentState::Unspecified) => return Err(BadReply::State(reply.state)),
            Ok(PaymentState::Created) => State::Preparing,
            Ok(PaymentState::Pending) => match reply.next_action.and_then(|next| next.action) {
                Some(action) => State::Pending(PayerAction::from(action)),
                None => State::Preparing,
            },
            Ok(PaymentState::Succeeded) => State::Succeeded,
            Ok(PaymentState::Closed) => State::Closed,
            Ok(PaymentState::Failed) => {
                State::Failed(Reason::of(reply.failure.as_ref().map_or("", |failure| &failure.reason)))
            }
        };
        Ok(Self {
            amount: Money::new(amount.minor, Currency::parse(&amount.currency)?),
            subject: reply.subject,
            wallet,
            state,
        })
    }
}

impl From<Action> for PayerAction {
    fn from(action: Action) -> Self {
        match action {
            Action::QrCode(qr_code) => Self::QrCode(qr_code),
            Action::Redirect(Redirect { url, form }) => Self::Redirect { url, form },
            Action::ClientParameters(_) => Self::GoBack,
            Action::Instructions(Instructions { reference, details }) => {
                Self::Instructions { reference, details }
            }
            Action::Wait(_) => Self::Wait,
        }
    }
}

impl State {
    /// The name that scripts and styles know it by.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Pending(_) => "pending",
            Self::Succeeded => "succeeded",
            Self::Closed => "closed",
            Self::Failed(_) => "failed",
        }
    }

    /// Whether nothing more will happen.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Preparing | Self::Pending(_) => false,
            Self::Succeeded | Self::Closed | Self::Failed(_) => true,
        }
    }
}

impl Reason {
    fn of(text: &str) -> Self {
        match text {
            "INSUFFICIENT_FUNDS" => Self::InsufficientFunds,
            "RISK_DECLINED" => Self::RiskDeclined,
            "CHANNEL_CONFIGURATION" | "INVALID_REQUEST" => Self::NotAccepted,
            "ALREADY_CLOSED" => Self::AlreadyClosed,
            // "DECLINED", and reasons that are newer than this build: nothing more exact can be said.
            _ => Self::Declined,
        }
    }
}

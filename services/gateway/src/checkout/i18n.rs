//! What the page says, in each language.

use serde::Serialize;

use crate::checkout::language::Language;
use crate::checkout::view::{Checkout, PayerAction, Reason, State, Wallet};

/// The state of a payment, as it is told to a page that is open and written on one that is being opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Notice {
    /// "preparing", "pending", "succeeded", "closed" or "failed".
    pub(crate) state: &'static str,
    /// Whether nothing more will happen.
    #[serde(rename = "final")]
    pub(crate) is_final: bool,
    /// The state in words.
    pub(crate) label: &'static str,
    /// What it means for the payer, and what to do next.
    pub(crate) detail: &'static str,
}

/// Tells a payer where the payment stands.
pub(crate) fn notice(language: Language, checkout: &Checkout) -> Notice {
    let state = &checkout.state;
    let (label, detail) = match language {
        Language::ZhCn => chinese(state, checkout.wallet),
        Language::En => english(state, checkout.wallet),
    };
    Notice { state: state.name(), is_final: state.is_final(), label, detail }
}

fn chinese(state: &State, wallet: Wallet) -> (&'static str, &'static str) {
    match (state, wallet) {
        (State::Preparing, _) => ("正在准备", "请稍候，付款码马上就好。"),
        (State::Pending(action), wallet) => (
            "等待付款",
            match (action, wallet) {
                (PayerAction::QrCode(_), Wallet::Alipay) => "请打开支付宝，扫描上方二维码付款。",
                (PayerAction::QrCode(_), Wallet::Any) => "请用手机钱包扫描上方二维码付款。",
                (PayerAction::Redirect { .. }, _) => "请点击上方按钮，前往付款页面完成付款。",
                (PayerAction::GoBack, _) => "请回到您来自的应用或页面，继续付款。",
                (PayerAction::Instructions { .. }, _) => {
                    "请按上方信息付款，并务必填写参考号，我们才能认出您的付款。"
                }
                (PayerAction::Wait, _) => "请在您的手机上确认付款。",
            },
        ),
        (State::Succeeded, _) => ("付款成功", "您可以关闭此页面。"),
        (State::Closed, _) => ("付款已关闭", "没有扣款。如仍要购买，请回到商家页面重新付款。"),
        (State::Failed(reason), _) => (
            "付款失败",
            match reason {
                Reason::InsufficientFunds => {
                    "余额不足，没有扣款。请充值或换一张银行卡，再回到商家页面重新付款。"
                }
                Reason::RiskDeclined => {
                    "为保护您的账户，这笔付款被拦截，没有扣款。请换一种付款方式，或联系支付渠道的客服。"
                }
                Reason::NotAccepted => "商家暂时无法收款，没有扣款。请联系商家。",
                Reason::AlreadyClosed => "这笔付款已经关闭，没有扣款。请回到商家页面重新付款。",
                Reason::Declined => "付款被拒绝，没有扣款。请换一种付款方式，或稍后回到商家页面重试。",
            },
        ),
    }
}

fn english(state: &State, wallet: Wallet) -> (&'static str, &'static str) {
    match (state, wallet) {
        (State::Preparing, _) => ("Getting ready", "One moment, your code is on its way."),
        (State::Pending(action), wallet) => (
            "Waiting for payment",
            match (action, wallet) {
                (PayerAction::QrCode(_), Wallet::Alipay) => "Open Alipay and scan the code above.",
                (PayerAction::QrCode(_), Wallet::Any) => "Scan the code above with the wallet on your phone.",
                (PayerAction::Redirect { .. }, _) => "Use the button above to pay on the next page.",
                (PayerAction::GoBack, _) => "Go on in the app or page that you came from.",
                (PayerAction::Instructions { .. }, _) => {
                    "Pay as described above, and give the reference, so that your payment is recognized."
                }
                (PayerAction::Wait, _) => "Confirm the payment on your phone.",
            },
        ),
        (State::Succeeded, _) => ("Payment received", "Thank you. You can close this page."),
        (State::Closed, _) => (
            "Payment closed",
            "Nothing was charged. If you still want to buy, go back to the shop and pay again.",
        ),
        (State::Failed(reason), _) => (
            "Payment failed",
            match reason {
                Reason::InsufficientFunds => {
                    "There was not enough money in the account, and nothing was charged. Top it up or choose \
                     another card, then go back to the shop and pay again."
                }
                Reason::RiskDeclined => {
                    "To protect your account this payment was stopped, and nothing was charged. Pay in another \
                     way, or ask your wallet's customer service."
                }
                Reason::NotAccepted => {
                    "The shop can't take this payment at the moment, and nothing was charged. Please contact the \
                     shop."
                }
                Reason::AlreadyClosed => {
                    "This payment was closed before, and nothing was charged. Go back to the shop and pay again."
                }
                Reason::Declined => {
                    "The payment was declined, and nothing was charged. Pay in another way, or go back to the \
                     shop and try again later."
                }
            },
        ),
    }
}

/// What is on the page whatever its state.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Messages {
    pub(crate) amount: &'static str,
    pub(crate) qr_label: &'static str,
    pub(crate) open: &'static str,
    pub(crate) proceed: &'static str,
    pub(crate) reference: &'static str,
    pub(crate) hint: &'static str,
    pub(crate) not_found: &'static str,
    pub(crate) not_found_detail: &'static str,
    pub(crate) unavailable: &'static str,
    pub(crate) unavailable_detail: &'static str,
    pub(crate) other_language: &'static str,
    pub(crate) other_language_tag: &'static str,
}

/// Returns the messages of a language.
pub(crate) fn messages(language: Language) -> &'static Messages {
    match language {
        Language::ZhCn => &CHINESE,
        Language::En => &ENGLISH,
    }
}

const CHINESE: Messages = Messages {
    amount: "应付金额",
    qr_label: "付款二维码",
    open: "在手机上打开钱包付款",
    proceed: "前往付款",
    reference: "参考号",
    hint: "付款前请核对商品和金额。",
    not_found: "找不到这笔付款",
    not_found_detail: "请检查链接是否完整，或回到商家页面重新打开。",
    unavailable: "暂时无法显示",
    unavailable_detail: "请稍后刷新此页面。如果您已经付款，款项不会丢失。",
    other_language: "English",
    other_language_tag: "en",
};

const ENGLISH: Messages = Messages {
    amount: "Amount due",
    qr_label: "QR code for the payment",
    open: "Pay on this phone",
    proceed: "Go and pay",
    reference: "Reference",
    hint: "Check what you are paying for, and how much, before you pay.",
    not_found: "There is no such payment",
    not_found_detail: "Check that the link is complete, or open it again from the shop.",
    unavailable: "This page can't be shown right now",
    unavailable_detail: "Reload it in a moment. If you have paid already, your money is not lost.",
    other_language: "中文",
    other_language_tag: "zh-CN",
};

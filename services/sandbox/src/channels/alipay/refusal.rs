//! What the gateway answers when it does not do what it was asked.

use std::borrow::Cow;

/// Why a call was refused. Every refusal is an ordinary signed answer with HTTP 200.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A common parameter is missing; the text is the sub code, such as `isv.missing-app-id`.
    Missing(&'static str),
    /// A common parameter is wrong; the text is the sub code, such as `isv.invalid-signature`.
    Invalid(&'static str),
    /// A field of `biz_content` is missing or wrong; the text names it.
    Field(&'static str),
    /// The business says no.
    Business(Business),
    /// The service is unavailable.
    Unavailable,
    /// A fault asked for through control.
    Fault { code: String, sub_code: String },
}

/// The business sub codes (Alipay open platform: error codes of each method).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Business {
    TradeNotExist,
    TradeHasSuccess,
    TradeHasClose,
    TradeHasFinished,
    TradeStatusError,
    ContextInconsistent,
    DiscordantRepeatRequest,
    RefundAmountNotEqualTotal,
    ReasonTradeRefundFeeErr,
    TradeCancelTimeOut,
    BillNotExist,
}

/// The four fields of an unsuccessful answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ErrorFields<'a> {
    pub(crate) code: &'a str,
    pub(crate) msg: &'static str,
    pub(crate) sub_code: &'a str,
    pub(crate) sub_msg: Cow<'static, str>,
}

impl Refusal {
    /// The refusal in the protocol's words.
    pub(crate) fn fields(&self) -> ErrorFields<'_> {
        match self {
            Self::Missing(sub_code) => ErrorFields {
                code: "40001",
                msg: "Missing Required Arguments",
                sub_code,
                sub_msg: Cow::Borrowed("缺少必选参数"),
            },
            Self::Invalid(sub_code) => ErrorFields {
                code: "40002",
                msg: "Invalid Arguments",
                sub_code,
                sub_msg: Cow::Borrowed("非法的参数"),
            },
            Self::Field(name) => ErrorFields {
                code: "40004",
                msg: "Business Failed",
                sub_code: "ACQ.INVALID_PARAMETER",
                sub_msg: Cow::Owned(format!("参数无效：{name}")),
            },
            Self::Business(business) => {
                let (sub_code, sub_msg) = business.words();
                ErrorFields {
                    code: "40004",
                    msg: "Business Failed",
                    sub_code,
                    sub_msg: Cow::Borrowed(sub_msg),
                }
            }
            Self::Unavailable => ErrorFields {
                code: "20000",
                msg: "Service Currently Unavailable",
                sub_code: "isp.unknow-error", // the protocol's own spelling
                sub_msg: Cow::Borrowed("系统繁忙"),
            },
            Self::Fault { code, sub_code } => ErrorFields {
                code,
                msg: if code == "20000" { "Service Currently Unavailable" } else { "Business Failed" },
                sub_code,
                sub_msg: Cow::Borrowed("系统繁忙"),
            },
        }
    }
}

impl Business {
    /// The sub code and its message.
    pub(crate) fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::TradeNotExist => ("ACQ.TRADE_NOT_EXIST", "交易不存在"),
            Self::TradeHasSuccess => ("ACQ.TRADE_HAS_SUCCESS", "交易已被支付"),
            Self::TradeHasClose => ("ACQ.TRADE_HAS_CLOSE", "交易已经关闭"),
            Self::TradeHasFinished => ("ACQ.TRADE_HAS_FINISHED", "交易已经完结"),
            Self::TradeStatusError => ("ACQ.TRADE_STATUS_ERROR", "交易状态不合法"),
            Self::ContextInconsistent => ("ACQ.CONTEXT_INCONSISTENT", "交易信息被篡改"),
            Self::DiscordantRepeatRequest => ("ACQ.DISCORDANT_REPEAT_REQUEST", "请求信息不一致"),
            Self::RefundAmountNotEqualTotal => ("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", "退款金额超限"),
            Self::ReasonTradeRefundFeeErr => ("ACQ.REASON_TRADE_REFUND_FEE_ERR", "退款金额无效"),
            Self::TradeCancelTimeOut => ("ACQ.TRADE_CANCEL_TIME_OUT", "超过撤销时间范围"),
            Self::BillNotExist => ("isp.bill_not_exist", "账单不存在"),
        }
    }
}

impl From<Business> for Refusal {
    fn from(business: Business) -> Self {
        Self::Business(business)
    }
}

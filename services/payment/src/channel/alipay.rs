//! Alipay's open platform, gateway protocol 1.0 (<https://opendocs.alipay.com/common/02kkv7>).
//!
//! [`wire`] makes calls and verifies answers, [`sign`] is RSA2, [`callback`] reads callbacks, [`statement`] reads statements, and
//! this module says what the answers mean.

mod callback;
mod charset;
mod form;
mod sign;
mod statement;
mod wire;

use std::ops::RangeInclusive;
use std::sync::Arc;

use jiff::civil::Date;
use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
pub(crate) use sign::{Keys, KeysError};
use tael_money::Currency;
use wire::{Gateway, Refusal, Reply};

use super::http::ChannelHttp;
use super::{
    Acknowledgement, AttemptRef, Callback, CallbackRejected, CannotOpen, Capabilities, Channel,
    ChannelStatement, Closing, Initiate, Notice, Opening, RefundOrder, Registration, Resend,
    StatementFailure, Statements,
};
use crate::domain::channel_account::Method;
use crate::domain::evidence::{Evidence, Paid};
use crate::domain::next_action::NextAction;
use crate::domain::payment::{Failure, FailureReason};
use crate::domain::refund_execution::RefundEvidence;

/// The channel's line in the list of channels.
pub(crate) const REGISTRATION: Registration = Registration {
    name: NAME,
    capabilities: Capabilities {
        methods: &[Method::QrCode],
        amounts: AMOUNTS,
        partial_refund: true,
        // alipay.trade.precreate with the same number and content is the same order.
        resend: Resend::Repeatable,
    },
    // A callback is all in its body.
    callback_headers: &[],
    open,
};

/// Its name in rows, spans, metrics and paths.
pub(crate) const NAME: &str = "alipay";

/// Yuan only, from 0.01 to 100,000,000 (alipay.trade.precreate, `total_amount`).
const AMOUNTS: &[(Currency, RangeInclusive<i64>)] = &[(Currency::CNY, 1..=10_000_000_000)];

/// Where Alipay's gateways and the files behind its links are, in production and in its sandbox.
pub(crate) const HOSTS: &[&str] = &["*.alipay.com", "*.alipaydev.com"];

/// How Alipay knows the merchant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) app_id: String,
    pub(crate) seller_id: String,
    pub(crate) gateway_url: String,
}

impl Identity {
    /// As it is stored.
    pub(crate) fn to_stored(&self) -> Value {
        serde_json::to_value(self).expect("texts are always JSON")
    }

    /// Reads it as it was stored.
    pub(crate) fn from_stored(stored: &Value) -> Option<Self> {
        Self::deserialize(stored).ok()
    }
}

/// The keys of an application, several while they are being replaced.
#[derive(Debug)]
pub(crate) struct KeySet(Vec<Keys>);

impl KeySet {
    fn sign(&self, text: impl AsRef<[u8]>) -> String {
        self.0.first().map(|keys| keys.sign(text)).unwrap_or_default()
    }

    fn verifies(&self, text: &[u8], signature: &str) -> bool {
        self.0.iter().any(|keys| keys.verifies(text, signature))
    }
}

fn open(opening: &Opening<'_>) -> Result<Arc<dyn Channel>, CannotOpen> {
    let identity = Identity::from_stored(opening.identity).ok_or(CannotOpen::Identity)?;
    let keys = opening.keys.iter().map(|keys| Keys::from_stored(keys));
    let keys = KeySet(keys.collect::<Result<_, _>>().map_err(CannotOpen::Keys)?);
    let http = ChannelHttp::new(NAME, opening.http.only(HOSTS), opening.health.clone());
    let gateway = Gateway::new(identity.clone(), keys, http, opening.clock.clone());
    Ok(Arc::new(Alipay { identity, gateway }))
}

/// An account at Alipay.
#[derive(Debug)]
struct Alipay {
    identity: Identity,
    gateway: Gateway,
}

impl Alipay {
    async fn query_number(&self, number: &str) -> Evidence {
        match self.gateway.call("alipay.trade.query", json!({ "out_trade_no": number }), None).await {
            Reply::Done(node) => {
                if wire::text(&node, "out_trade_no").is_some_and(|answered| answered != number) {
                    return Evidence::UNCLEAR;
                }
                match wire::text(&node, "trade_status") {
                    Some("WAIT_BUYER_PAY") => Evidence::Waiting,
                    Some("TRADE_SUCCESS" | "TRADE_FINISHED") => {
                        read_paid(&node).map_or(Evidence::UNCLEAR, Evidence::Paid)
                    }
                    // Never paid, or wholly refunded: only what was paid has a time of payment.
                    Some("TRADE_CLOSED") if wire::text(&node, "send_pay_date").is_some() => {
                        read_paid(&node).map_or(Evidence::UNCLEAR, Evidence::Reversed)
                    }
                    Some("TRADE_CLOSED") => Evidence::Closed,
                    _ => Evidence::UNCLEAR,
                }
            }
            Reply::Refused(refusal) if refusal.sub_code == "ACQ.TRADE_NOT_EXIST" => Evidence::Absent,
            Reply::Refused(_) => Evidence::UNCLEAR,
            Reply::Unknown { problem } => Evidence::Unknown { problem: Some(problem) },
        }
    }

    /// `alipay.trade.close` and then what it says. Only for a trade that exists and waits for its buyer.
    async fn close_waiting(&self, number: &str) -> Closing {
        match self.gateway.call("alipay.trade.close", json!({ "out_trade_no": number }), None).await {
            Reply::Done(_) => Closing::Closed,
            // The buyer was faster, or the time was up: the state will tell.
            Reply::Refused(_) => match self.query_number(number).await {
                Evidence::Paid(paid) => Closing::Paid(paid),
                Evidence::Reversed(paid) => Closing::Reversed(paid),
                Evidence::Closed => Closing::Closed,
                Evidence::Unknown { problem } => Closing::Unknown { problem },
                Evidence::ActionRequired { .. }
                | Evidence::Refused(_)
                | Evidence::Declined(_)
                | Evidence::Absent
                | Evidence::Waiting => Closing::UNCLEAR,
            },
            Reply::Unknown { problem } => Closing::Unknown { problem: Some(problem) },
        }
    }

    /// Withdraws a code that nobody has scanned. For Alipay there is no trade yet, so close and query both answer
    /// TRADE_NOT_EXIST while the code can still be paid; only cancel ends it. Its price: if the buyer scans and pays
    /// in the moment between the query and the cancel, Alipay gives the money back (`action` = refund).
    async fn cancel_unscanned(&self, number: &str) -> Closing {
        match self.gateway.call("alipay.trade.cancel", json!({ "out_trade_no": number }), None).await {
            Reply::Done(node) => match (wire::text(&node, "retry_flag"), wire::text(&node, "action")) {
                (Some("Y"), _) => Closing::UNCLEAR,
                (_, Some("refund")) => match self.paid_before_reversal(number).await {
                    Some(paid) => Closing::Reversed(paid),
                    None => Closing::UNCLEAR,
                },
                (_, None | Some("close" | "")) => Closing::Closed,
                (_, Some(_)) => Closing::UNCLEAR,
            },
            Reply::Refused(_) => Closing::UNCLEAR,
            Reply::Unknown { problem } => Closing::Unknown { problem: Some(problem) },
        }
    }

    /// Asks what had been paid before a cancel gave it back.
    async fn paid_before_reversal(&self, number: &str) -> Option<Paid> {
        match self.gateway.call("alipay.trade.query", json!({ "out_trade_no": number }), None).await {
            Reply::Done(node) => read_paid(&node),
            Reply::Refused(_) | Reply::Unknown { .. } => None,
        }
    }
}

#[tonic::async_trait]
impl Channel for Alipay {
    async fn test(&self, number: &str) -> Result<(), String> {
        // They answer in the application's name, so they knew our signature; and we know theirs.
        match self.gateway.call("alipay.trade.query", json!({ "out_trade_no": number }), None).await {
            Reply::Done(_) => Ok(()),
            Reply::Refused(refusal) if refusal.code == "40004" => Ok(()),
            Reply::Refused(refusal) => Err(format!("the channel refuses: {refusal}")),
            Reply::Unknown { problem } => Err(problem),
        }
    }

    async fn initiate(&self, request: &Initiate) -> Evidence {
        // Both from stored times, so that a repetition is the same request to the letter.
        let life = request.expire_time.duration_since(request.create_time);
        let life_minutes = (life.as_secs().max(0) + 59) / 60;
        let biz = json!({
            "out_trade_no": request.number,
            "total_amount": request.amount.to_decimal_string(),
            "subject": request.subject,
            "time_expire": wire::time_text(request.expire_time),
            // The code itself lives for two hours otherwise. 1m to 15d (alipay.trade.precreate).
            "qr_code_timeout_express": format!("{}m", life_minutes.clamp(1, 15 * 24 * 60)),
        });
        match self.gateway.call("alipay.trade.precreate", biz, Some(&request.callback_url)).await {
            Reply::Done(node) => match (wire::text(&node, "out_trade_no"), wire::text(&node, "qr_code")) {
                (Some(number), Some(qr_code)) if number == request.number && !qr_code.is_empty() => {
                    let action = NextAction::QrCode { text: qr_code.to_owned() };
                    Evidence::ActionRequired { action, refs: json!({}) }
                }
                _ => Evidence::UNCLEAR,
            },
            Reply::Refused(refusal) => failure(&refusal).map_or(Evidence::UNCLEAR, Evidence::Refused),
            Reply::Unknown { problem } => Evidence::Unknown { problem: Some(problem) },
        }
    }

    async fn query(&self, attempt: &AttemptRef) -> Evidence {
        self.query_number(&attempt.number).await
    }

    async fn close(&self, attempt: &AttemptRef) -> Closing {
        let number = &attempt.number;
        match self.query_number(number).await {
            Evidence::Paid(paid) => Closing::Paid(paid),
            Evidence::Reversed(paid) => Closing::Reversed(paid),
            Evidence::Closed => Closing::Closed,
            Evidence::Waiting => self.close_waiting(number).await,
            Evidence::Absent => self.cancel_unscanned(number).await,
            Evidence::Unknown { problem } => Closing::Unknown { problem },
            Evidence::ActionRequired { .. } | Evidence::Refused(_) | Evidence::Declined(_) => {
                Closing::UNCLEAR
            }
        }
    }

    async fn refund(&self, order: &RefundOrder) -> RefundEvidence {
        let mut biz = json!({
            "out_trade_no": order.attempt.number,
            "out_request_no": order.refund_number,
            "refund_amount": order.amount.to_decimal_string(),
        });
        if !order.reason.is_empty() {
            biz["refund_reason"] = json!(order.reason);
        }
        match self.gateway.call("alipay.trade.refund", biz, None).await {
            // 10000 is the success of the call. That it moved the money says only fund_change Y; otherwise an earlier
            // call may have moved it, or none, and the refund's own state must tell.
            Reply::Done(node) if wire::text(&node, "fund_change") == Some("Y") => RefundEvidence::Refunded {
                refund_time: wire::time(&node, "gmt_refund_pay").unwrap_or_else(|| self.gateway.now()),
            },
            Reply::Done(_) => match self.query_refund(order).await {
                RefundEvidence::Absent => RefundEvidence::Unknown,
                known => known,
            },
            Reply::Refused(refusal) => {
                failure(&refusal).map_or(RefundEvidence::Unknown, RefundEvidence::Refused)
            }
            Reply::Unknown { .. } => RefundEvidence::Unknown,
        }
    }

    async fn query_refund(&self, order: &RefundOrder) -> RefundEvidence {
        let biz = json!({
            "out_trade_no": order.attempt.number,
            "out_request_no": order.refund_number,
            "query_options": ["gmt_refund_pay"],
        });
        match self.gateway.call("alipay.trade.fastpay.refund.query", biz, None).await {
            Reply::Done(node) => match wire::text(&node, "refund_status") {
                Some("REFUND_SUCCESS") if wire::yuan(&node, "refund_amount") == Some(order.amount) => {
                    let refund_time =
                        wire::time(&node, "gmt_refund_pay").unwrap_or_else(|| self.gateway.now());
                    RefundEvidence::Refunded { refund_time }
                }
                Some("REFUND_SUCCESS") => {
                    tracing::error!(
                        tael.refund_number = order.refund_number,
                        "the channel refunded another amount"
                    );
                    RefundEvidence::Unknown
                }
                // Nothing is said of a refund that it does not know. An answer that says something, and not that it
                // succeeded, is of one that is under way or failed.
                None | Some("") if wire::text(&node, "refund_amount").is_none() => RefundEvidence::Absent,
                None | Some(_) => RefundEvidence::Unknown,
            },
            Reply::Refused(_) | Reply::Unknown { .. } => RefundEvidence::Unknown,
        }
    }

    async fn read_callback(&self, callback: &Callback) -> Result<Vec<Notice>, CallbackRejected> {
        Ok(vec![callback::read(&callback.body, self.gateway.keys())?])
    }

    /// Exactly `success` ends the repetitions; anything else is a failure (asynchronous notification, step 4).
    fn acknowledge(&self, taken: bool) -> Acknowledgement {
        let body = if taken { "success" } else { "failure" };
        Acknowledgement { status: 200, content_type: "text/plain; charset=utf-8", body }
    }

    fn statements(&self) -> Option<&dyn Statements> {
        Some(self)
    }
}

#[tonic::async_trait]
impl Statements for Alipay {
    async fn download_statement(&self, day: Date) -> Result<Box<dyn ChannelStatement>, StatementFailure> {
        let biz = json!({ "bill_type": "trade", "bill_date": day.to_string() });
        let link = match self.gateway.call("alipay.data.dataservice.bill.downloadurl.query", biz, None).await
        {
            Reply::Done(node) => wire::text(&node, "bill_download_url")
                .map(str::to_owned)
                .ok_or_else(|| StatementFailure::Unavailable("the answer has no link".to_owned()))?,
            Reply::Refused(refusal) if refusal.is_no_statement() => {
                return Err(StatementFailure::NotAvailable);
            }
            Reply::Refused(refusal) if refusal.is_for_good() => {
                return Err(StatementFailure::Refused(refusal.to_string()));
            }
            Reply::Refused(refusal) => return Err(StatementFailure::Unavailable(refusal.to_string())),
            Reply::Unknown { problem } => return Err(StatementFailure::Unavailable(problem)),
        };
        let zip = self.gateway.download(&link).await?;
        Ok(Box::new(statement::AlipayStatement::new(zip, self.identity.seller_id.clone(), day)))
    }
}

/// Reads what the answer to a query says about money; none unless it says all of it.
fn read_paid(node: &Map<String, Value>) -> Option<Paid> {
    Some(Paid {
        channel_transaction_id: wire::text(node, "trade_no").filter(|no| !no.is_empty())?.to_owned(),
        amount: wire::yuan(node, "total_amount")?,
        received: wire::yuan(node, "receipt_amount"),
        pay_time: wire::time(node, "send_pay_date")?,
    })
}

/// Turns a refusal into a failure; none when the refusal proves nothing, so that the state must be asked for.
///
/// Codes: common error codes (<https://opendocs.alipay.com/common/02km9f>) and those of alipay.trade.precreate and
/// alipay.trade.refund. A sub code that is in no list proves nothing: money must not be given up for a new word.
fn failure(refusal: &Refusal) -> Option<Failure> {
    let reason = match refusal.code.as_str() {
        // Token, permission.
        "20001" | "40006" => FailureReason::ChannelConfiguration,
        // Missing and invalid arguments: who we are, or what we say.
        "40001" | "40002" => match refusal.sub_code.as_str() {
            "isv.invalid-signature"
            | "isv.invalid-app-id"
            | "isv.missing-signature"
            | "isv.missing-app-id" => FailureReason::ChannelConfiguration,
            _ => FailureReason::InvalidRequest,
        },
        "40004" => business_reason(refusal.sub_code.strip_prefix("ACQ.")?)?,
        // Among them 20000, unavailable, and 40005, called too often.
        _ => return None,
    };
    let channel_code = if refusal.sub_code.is_empty() { &refusal.code } else { &refusal.sub_code };
    Some(Failure { reason, channel_code: channel_code.chars().take(64).collect() })
}

fn business_reason(sub_code: &str) -> Option<FailureReason> {
    Some(match sub_code {
        "BUYER_BALANCE_NOT_ENOUGH" | "BUYER_BANKCARD_BALANCE_NOT_ENOUGH" | "SELLER_BALANCE_NOT_ENOUGH" => {
            FailureReason::InsufficientFunds
        }
        "PAYMENT_REQUEST_HAS_RISK" => FailureReason::RiskDeclined,
        "PARTNER_ERROR" | "ACCESS_FORBIDDEN" => FailureReason::ChannelConfiguration,
        "INVALID_PARAMETER"
        | "CONTEXT_INCONSISTENT"
        | "TOTAL_FEE_EXCEED"
        | "EXIST_FORBIDDEN_WORD"
        | "REFUND_AMT_NOT_EQUAL_TOTAL"
        | "REASON_TRADE_REFUND_FEE_ERR" => FailureReason::InvalidRequest,
        "TRADE_HAS_CLOSE" | "TRADE_HAS_FINISHED" | "TRADE_STATUS_ERROR" => FailureReason::AlreadyClosed,
        "PAYMENT_AUTH_CODE_INVALID"
        | "PAYMENT_FAIL"
        | "BUYER_SELLER_EQUAL"
        | "TRADE_BUYER_NOT_MATCH"
        | "REASON_TRADE_BEEN_FREEZEN"
        | "TRADE_NOT_ALLOW_REFUND"
        | "TRADE_NOT_EXIST" => FailureReason::Declined,
        // TRADE_HAS_SUCCESS: paid already, the query will say so. DISCORDANT_REPEAT_REQUEST: that number has moved
        // money. SYSTEM_ERROR and REFUND_CHARGE_ERROR: perhaps done, perhaps not.
        _ => return None,
    })
}

/// Cuts an instant to whole seconds, as the wire has them.
fn whole_seconds(time: Timestamp) -> Timestamp {
    time.round(TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Floor)).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(code: &str, sub_code: &str) -> Option<FailureReason> {
        failure(&Refusal { code: code.to_owned(), sub_code: sub_code.to_owned() })
            .map(|failure| failure.reason)
    }

    #[test]
    fn what_proves_nothing_is_no_failure() {
        for (code, sub_code) in [
            ("20000", "isp.unknow-error"),
            ("20000", ""),
            ("40004", "ACQ.SYSTEM_ERROR"),
            ("40004", "REFUND_CHARGE_ERROR"),
            ("40004", "ACQ.REFUND_CHARGE_ERROR"),
            ("40004", "ACQ.TRADE_HAS_SUCCESS"),
            ("40004", "ACQ.DISCORDANT_REPEAT_REQUEST"),
            ("40004", "ACQ.SOMETHING_NEW"),
            ("40004", ""),
            ("40005", ""),
            ("99999", "isv.invalid-signature"),
        ] {
            assert_eq!(reason(code, sub_code), None, "{code} {sub_code}");
        }
    }

    #[test]
    fn refusals_have_one_vocabulary() {
        for (code, sub_code, expected) in [
            ("40004", "ACQ.BUYER_BALANCE_NOT_ENOUGH", FailureReason::InsufficientFunds),
            ("40004", "ACQ.PAYMENT_REQUEST_HAS_RISK", FailureReason::RiskDeclined),
            ("40004", "ACQ.ACCESS_FORBIDDEN", FailureReason::ChannelConfiguration),
            ("40004", "ACQ.TRADE_HAS_CLOSE", FailureReason::AlreadyClosed),
            ("40004", "ACQ.TRADE_NOT_ALLOW_REFUND", FailureReason::Declined),
            ("40004", "ACQ.INVALID_PARAMETER", FailureReason::InvalidRequest),
            ("40002", "isv.invalid-signature", FailureReason::ChannelConfiguration),
            ("40002", "isv.invalid-parameter", FailureReason::InvalidRequest),
            ("40006", "isv.insufficient-isv-permissions", FailureReason::ChannelConfiguration),
        ] {
            assert_eq!(reason(code, sub_code), Some(expected), "{code} {sub_code}");
        }
    }
}

//! Calls of the gateway: signed requests out, verified answers in.

use std::collections::HashMap;
use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tael_clock::Clock;
use tael_money::{Currency, Money};

use super::charset::Answer;
use super::sign::text_to_sign;
use super::{Identity, KeySet};
use crate::channel::call::Outcome;
use crate::channel::download::{DownloadError, Downloaded};
use crate::channel::http::{Believed, CallError, ChannelHttp, Operation};

/// Alipay's clock (common parameters: `timestamp`).
const BEIJING: Offset = jiff::tz::offset(8);
const TIME_FORMAT: &str = "%Y-%m-%d %H:%M:%S";

/// The gateway as one application calls it.
#[derive(Debug)]
pub(super) struct Gateway {
    identity: Identity,
    keys: KeySet,
    http: ChannelHttp,
    clock: Clock,
}

/// What came of a call.
#[derive(Debug)]
pub(super) enum Reply {
    /// Code 10000, signed by Alipay.
    Done(Map<String, Value>),
    /// Any other code, signed by Alipay.
    Refused(Refusal),
    /// No answer, or none that is surely Alipay's, and why.
    Unknown { problem: String },
}

/// A refusal in Alipay's words.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) code: String,
    /// May be empty.
    pub(super) sub_code: String,
}

impl Refusal {
    /// Whether asking again will bring nothing else, for it is the call or the account that is refused: sub codes of the
    /// caller's faults begin with isv, those of Alipay's with isp (common error codes, business error codes).
    pub(super) fn is_for_good(&self) -> bool {
        match self.code.as_str() {
            "20001" | "40001" | "40002" | "40003" | "40006" => true,
            "40004" => {
                self.sub_code.to_ascii_lowercase().starts_with("isv.")
                    || matches!(self.sub_code.as_str(), "ACQ.INVALID_PARAMETER" | "ACQ.ACCESS_FORBIDDEN")
            }
            _ => false,
        }
    }

    /// Whether it says that there is no such statement (downloadurl.query: `isp.bill_not_exist`).
    pub(super) fn is_no_statement(&self) -> bool {
        self.sub_code.eq_ignore_ascii_case("isp.bill_not_exist")
    }

    /// Whether it says no more than that there is nobody to answer (common error codes: 20000, service unavailable).
    fn is_unavailable(&self) -> bool {
        self.code == "20000"
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.sub_code)
    }
}

impl Gateway {
    pub(super) fn new(identity: Identity, keys: KeySet, http: ChannelHttp, clock: Clock) -> Self {
        Self { identity, keys, http, clock }
    }

    pub(super) fn keys(&self) -> &KeySet {
        &self.keys
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Calls a method. Never fails: what has no sure answer is [`Reply::Unknown`].
    pub(super) async fn call(&self, method: &'static str, biz: Value, notify_url: Option<&str>) -> Reply {
        let operation = Operation {
            name: operation(method),
            number: biz["out_trade_no"].as_str(),
            refund_number: biz["out_request_no"].as_str(),
        };
        let biz_content = biz.to_string();
        let timestamp = time_text(self.clock.now());
        let mut common = vec![
            ("app_id", self.identity.app_id.as_str()),
            ("charset", "utf-8"),
            ("format", "JSON"),
            ("method", method),
            ("sign_type", "RSA2"),
            ("timestamp", &timestamp),
            ("version", "1.0"),
        ];
        common.extend(notify_url.map(|url| ("notify_url", url)));
        let text = text_to_sign(common.iter().copied().chain([("biz_content", biz_content.as_str())]));
        let sign = self.keys.sign(&text);
        common.push(("sign", &sign));
        // Every answer of the gateway, refusals included, is a 200.
        let answer = self.http.post(
            operation,
            &self.identity.gateway_url,
            |request| request.query(&common).form(&[("biz_content", &biz_content)]),
            |body| Ok(read_reply(open_answer(body, method, &self.keys)?)),
        );
        answer.await.unwrap_or_else(|error| Reply::Unknown { problem: error.to_string() })
    }

    /// Gets the file behind a link.
    pub(super) async fn download(&self, link: &str) -> Result<Downloaded, DownloadError> {
        self.http.download("bill_download", link).await
    }
}

/// The short name of a method, in spans and metrics.
fn operation(method: &str) -> &'static str {
    match method {
        "alipay.trade.precreate" => "precreate",
        "alipay.trade.query" => "query",
        "alipay.trade.close" => "close",
        "alipay.trade.cancel" => "cancel",
        "alipay.trade.refund" => "refund",
        "alipay.trade.fastpay.refund.query" => "refund_query",
        "alipay.data.dataservice.bill.downloadurl.query" => "bill_query",
        _ => "other",
    }
}

/// Verifies an answer over the very bytes of its node, and only then reads the node.
fn open_answer(body: &[u8], method: &str, keys: &KeySet) -> Result<Map<String, Value>, CallError> {
    let body = Answer::decode(body).ok_or(CallError::Lacks("a charset that is known"))?;
    // Raw values: the text between the outermost names is left as it came.
    let answer: HashMap<String, &RawValue> =
        serde_json::from_str(body.text()).map_err(CallError::Malformed)?;
    let name = format!("{}_response", method.replace('.', "_"));
    let node =
        answer.get(&name).or_else(|| answer.get("error_response")).ok_or(CallError::Lacks("its node"))?;
    let Some(sign) = answer.get("sign") else {
        // Who names a wrong application or signs with a wrong key is refused without a signature: there is none that we
        // could verify. That anybody in between could say the same is why it is shown and not believed.
        return Err(unsigned_code(node.get()).map_or(CallError::Lacks("a signature"), CallError::Unsigned));
    };
    let sign: String = serde_json::from_str(sign.get()).map_err(CallError::Malformed)?;
    let signed = body.bytes_of(node.get()).ok_or(CallError::Lacks("its node"))?;
    if !keys.verifies(signed, &sign) {
        return Err(CallError::Forged);
    }
    serde_json::from_str(node.get()).map_err(CallError::Malformed)
}

/// The code of a refusal that nobody signed, if it looks like one: letters, digits and what joins them.
fn unsigned_code(node: &str) -> Option<String> {
    let node: Map<String, Value> = serde_json::from_str(node).ok()?;
    let code = text(&node, "sub_code").filter(|code| !code.is_empty()).or_else(|| text(&node, "code"))?;
    let is_code = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (!code.is_empty() && code.len() <= 64 && code.chars().all(is_code)).then(|| code.to_owned())
}

fn read_reply(node: Map<String, Value>) -> Believed<Reply> {
    let code = text(&node, "code").unwrap_or_default().to_owned();
    let sub_code = text(&node, "sub_code").unwrap_or_default().to_owned();
    let (value, outcome) = if code == "10000" {
        (Reply::Done(node), Outcome::Ok)
    } else {
        let refusal = Refusal { code: code.clone(), sub_code: sub_code.clone() };
        let outcome = if refusal.is_unavailable() { Outcome::Unavailable } else { Outcome::Refused };
        (Reply::Refused(refusal), outcome)
    };
    Believed { value, outcome, code, sub_code }
}

/// Returns a text of a node.
pub(super) fn text<'a>(node: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    node.get(name)?.as_str()
}

/// Returns an amount of a node, in yuan.
pub(super) fn yuan(node: &Map<String, Value>, name: &str) -> Option<Money> {
    Money::parse_decimal(text(node, name)?, Currency::CNY).ok()
}

/// Returns a time of a node.
pub(super) fn time(node: &Map<String, Value>, name: &str) -> Option<Timestamp> {
    parse_time(text(node, name)?)
}

/// Writes a time as Alipay does, in whole seconds of Beijing's clock.
pub(super) fn time_text(time: Timestamp) -> String {
    BEIJING.to_datetime(super::whole_seconds(time)).strftime(TIME_FORMAT).to_string()
}

/// Reads a time as Alipay writes it; `gmt_refund` of notifications has milliseconds, which are dropped.
pub(super) fn parse_time(text: &str) -> Option<Timestamp> {
    let seconds = text.split_once('.').map_or(text, |(seconds, _)| seconds);
    let time = DateTime::strptime(TIME_FORMAT, seconds).ok()?;
    time.to_zoned(TimeZone::fixed(BEIJING)).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{KeyPair as _, RsaKeyPair};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::super::sign::Keys;
    use super::*;

    /// Two ends of a line: what one signs, the other verifies.
    fn ends() -> (KeySet, KeySet) {
        let texts = || {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
            let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
            let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
            (STANDARD.encode(private.as_ref()), STANDARD.encode(public.as_ref()))
        };
        let (ours, theirs) = (texts(), texts());
        let one = |private: &str, public: &str| KeySet(vec![Keys::parse(private, public).unwrap()]);
        (one(&ours.0, &theirs.1), one(&theirs.0, &ours.1))
    }

    /// An account that was made before, or a link in an answer: judged again at every call.
    #[tokio::test]
    async fn nothing_inside_is_called() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let policy = tael_egress::Policy::strict().with_ports(&[443, port]);
        let http = tael_egress::Client::new(policy, reqwest::Client::builder()).unwrap();
        for url in [
            format!("https://127.0.0.1:{port}/"),
            format!("http://127.0.0.1:{port}/"),
            format!("https://[::ffff:127.0.0.1]:{port}/"),
            format!("https://localhost:{port}/"),
            "https://payment:50052/".to_owned(),
            "https://169.254.169.254/".to_owned(),
        ] {
            let identity = Identity {
                app_id: "2021".to_owned(),
                seller_id: "2088000000000001".to_owned(),
                gateway_url: url.clone(),
            };
            let health = crate::channel::Health::new(std::time::Duration::from_secs(1), Clock::system());
            let http = http.only(super::super::HOSTS);
            let gateway =
                Gateway::new(identity, ends().0, ChannelHttp::new("alipay", http, health), Clock::system());
            let reply = gateway.call("alipay.trade.query", serde_json::json!({}), None).await;
            assert!(matches!(reply, Reply::Unknown { .. }), "{url}");
            let told = gateway.download(&url).await.unwrap_err();
            assert!(told.to_string().starts_with("the address must "), "{url}: {told}");
        }
        assert!(tokio::time::timeout(std::time::Duration::ZERO, listener.accept()).await.is_err());
    }

    #[test]
    fn an_answer_is_verified_over_its_very_bytes() {
        let (ours, theirs) = ends();
        // Odd spacing, an escaped brace and a nested object: nothing may be written anew before it is verified.
        let node = r#"{ "code" : "10000","msg":"a}\"b\u007d", "n":{"sign":"x"} , "trade_no":"2026" }"#;
        let sign = theirs.sign(node);
        let open = |body: &str| open_answer(body.as_bytes(), "alipay.trade.query", &ours);
        let good = format!(r#"{{"alipay_trade_query_response":{node},"sign":"{sign}"}}"#);
        assert_eq!(text(&open(&good).unwrap(), "trade_no"), Some("2026"));
        let sign_first = format!(r#"{{"sign":"{sign}","alipay_trade_query_response":{node}}}"#);
        assert!(open(&sign_first).is_ok());
        let error_node = format!(r#"{{"error_response":{node},"sign":"{sign}"}}"#);
        assert!(open(&error_node).is_ok());

        assert!(matches!(open(&good.replace("2026", "2027")), Err(CallError::Forged)));
        assert!(matches!(open(&good.replace(r#" "code" "#, r#""code""#)), Err(CallError::Forged)));
        assert!(matches!(open(&good.replace("_query_", "_close_")), Err(CallError::Lacks(_))));
        let unsigned = format!(r#"{{"alipay_trade_query_response":{node}}}"#);
        assert!(matches!(open(&unsigned), Err(CallError::Unsigned(code)) if code == "10000"));
        let refused = r#"{"error_response":{"code":"40002","sub_code":"isv.invalid-app-id"}}"#;
        assert!(matches!(open(refused), Err(CallError::Unsigned(code)) if code == "isv.invalid-app-id"));
        let odd = r#"{"error_response":{"code":"40002","sub_code":"<script>"}}"#;
        assert!(matches!(open(odd), Err(CallError::Lacks(_))));
        let by_us = format!(r#"{{"alipay_trade_query_response":{node},"sign":"{}"}}"#, ours.sign(node));
        assert!(matches!(open(&by_us), Err(CallError::Forged)));
        for bad in ["", "<html>", "[]", "{}", r#"{"alipay_trade_query_response":"#] {
            assert!(open(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_answer_in_gbk_is_verified_over_its_bytes() {
        let (ours, theirs) = ends();
        // The second bytes of its text are a backslash and a brace.
        let node = b"{\"code\":\"40004\",\"sub_msg\":\"\x81\x5c\x81\x7b\",\"sub_code\":\"ACQ.SYSTEM_ERROR\"}";
        let sign = theirs.sign(node);
        let mut answer = b"{\"alipay_trade_query_response\":".to_vec();
        answer.extend(node);
        answer.extend(format!(",\"sign\":\"{sign}\"}}").as_bytes());
        let opened = open_answer(&answer, "alipay.trade.query", &ours).unwrap();
        assert_eq!(
            (text(&opened, "sub_msg"), text(&opened, "sub_code")),
            (Some("乗亄"), Some("ACQ.SYSTEM_ERROR"))
        );
        let last = answer.iter().rposition(|b| *b == 0x81).unwrap();
        answer[last + 1] = 0x7c;
        assert!(matches!(open_answer(&answer, "alipay.trade.query", &ours), Err(CallError::Forged)));
    }

    #[test]
    fn times_are_beijing_times_in_whole_seconds() {
        let time: Timestamp = "2026-03-01T16:00:05.9Z".parse().unwrap();
        assert_eq!(time_text(time), "2026-03-02 00:00:05");
        assert_eq!(parse_time("2026-03-02 00:00:05"), Some("2026-03-01T16:00:05Z".parse().unwrap()));
        assert_eq!(parse_time("2026-03-02 00:00:05.123"), Some("2026-03-01T16:00:05Z".parse().unwrap()));
        assert_eq!(parse_time("2026-03-02"), None);
    }
}

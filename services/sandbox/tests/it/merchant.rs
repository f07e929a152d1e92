//! A merchant's side of the wire, written from the protocol's description and not from the sandbox's code.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey},
};
use axum::{Router, body::Bytes, http::StatusCode, routing::any};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tael_sandbox::{
    App, Config, ControlClient,
    alipay::{self, AppView, RegisterApp},
    control::{TradeRef, TradeView},
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

/// Keys are slow to make, and their freshness is not what these tests are about.
static MERCHANT_KEY: LazyLock<Arc<KeyPair>> =
    LazyLock::new(|| Arc::new(KeyPair::generate(KeySize::Rsa2048).unwrap()));
static ALIPAY_KEY_PEM: LazyLock<String> = LazyLock::new(|| {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let base64 = BASE64_STANDARD.encode(der.as_ref());
    format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n")
});

/// An RSA private key of Alipay's.
pub(crate) fn alipay_key_pem() -> String {
    ALIPAY_KEY_PEM.clone()
}

/// A running sandbox with one registered app.
pub(crate) struct World {
    pub(crate) control: ControlClient,
    pub(crate) app: AppView,
    pub(crate) key: Arc<KeyPair>,
    pub(crate) http: reqwest::Client,
    pub(crate) url: String,
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<std::io::Result<()>>>,
}

/// Starts a sandbox whose retries come 100,000 times faster: the last of them within a second.
pub(crate) async fn world() -> World {
    world_with(Config { time_scale: 100_000, ..Config::default() }).await
}

pub(crate) async fn world_with(config: Config) -> World {
    let config = Config {
        alipay: alipay::Config { private_key_pem: Some(ALIPAY_KEY_PEM.clone()), ..config.alipay },
        ..config
    };
    world_of(config).await
}

/// As `world_with`, with Alipay's key as the configuration has it.
pub(crate) async fn world_of(config: Config) -> World {
    let sandbox = App::build(config).await.unwrap();
    let url = sandbox.url().to_owned();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(sandbox.run(async move {
        let _ = stopped.await;
    }));
    let control = ControlClient::new(&url).unwrap();
    let key = Arc::clone(&MERCHANT_KEY);
    let app = control.register(&registration(&key)).await.unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    World { control, app, key, http, url, stop: Some(stop), server: Some(server) }
}

pub(crate) fn registration(key: &KeyPair) -> RegisterApp {
    let der = key.public_key().as_der().unwrap();
    let public_key = BASE64_STANDARD.encode(der.as_ref());
    RegisterApp::new(public_key)
}

/// An answer whose signature was found good.
pub(crate) struct Answer {
    pub(crate) node_name: String,
    pub(crate) node: Value,
}

impl Answer {
    pub(crate) fn get(&self, field: &str) -> &str {
        self.node[field].as_str().unwrap_or_else(|| panic!("no text {field} in {}", self.node))
    }

    pub(crate) fn code(&self) -> &str {
        self.get("code")
    }

    /// `10000`, or the code and the sub code.
    pub(crate) fn outcome(&self) -> String {
        match self.code() {
            "10000" => "10000".to_owned(),
            code => format!("{code} {}", self.get("sub_code")),
        }
    }
}

impl World {
    pub(crate) fn common(&self, method: &str) -> BTreeMap<String, String> {
        let parameters = [
            ("app_id", self.app.app_id.as_str()),
            ("method", method),
            ("format", "JSON"),
            ("charset", "utf-8"),
            ("sign_type", "RSA2"),
            ("timestamp", &beijing_now()),
            ("version", "1.0"),
        ];
        parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    pub(crate) fn sign(&self, parameters: &BTreeMap<String, String>) -> String {
        sign_with(&self.key, parameters)
    }

    /// A call as most merchants make it, its answer's signature checked.
    pub(crate) async fn call(&self, method: &str, biz: Value) -> Answer {
        self.call_notified(method, biz, None).await
    }

    pub(crate) async fn call_notified(&self, method: &str, biz: Value, notify_url: Option<&str>) -> Answer {
        let mut parameters = self.common(method);
        parameters.insert("biz_content".to_owned(), biz.to_string());
        if let Some(url) = notify_url {
            parameters.insert("notify_url".to_owned(), url.to_owned());
        }
        let sign = self.sign(&parameters);
        parameters.insert("sign".to_owned(), sign);
        self.send(&parameters).await
    }

    /// Posts parameters as they are.
    pub(crate) async fn send(&self, parameters: &BTreeMap<String, String>) -> Answer {
        self.verified(&self.post(parameters).await)
    }

    /// Posts parameters as they are, which the gateway refuses without a signature.
    pub(crate) async fn send_to_be_refused(&self, parameters: &BTreeMap<String, String>) -> Answer {
        unsigned(&self.post(parameters).await)
    }

    async fn post(&self, parameters: &BTreeMap<String, String>) -> String {
        let response = self.http.post(&self.app.gateway_url).form(parameters).send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.text().await.unwrap()
    }

    pub(crate) fn verified(&self, body: &str) -> Answer {
        let (answer, good) = self.read(body);
        assert!(good, "the answer's signature is wrong: {body}");
        answer
    }

    /// Takes an answer apart by its bytes: the signed text is what stands between the node's name and the sign.
    pub(crate) fn read(&self, body: &str) -> (Answer, bool) {
        let (before, sign) = body.rsplit_once(",\"sign\":\"").unwrap();
        let sign = sign.strip_suffix("\"}").unwrap();
        let (name, node) = before.strip_prefix("{\"").unwrap().split_once("\":").unwrap();
        let good = self.alipay_signed(node.as_bytes(), sign);
        (Answer { node_name: name.to_owned(), node: serde_json::from_str(node).unwrap() }, good)
    }

    pub(crate) fn alipay_signed(&self, text: &[u8], sign: &str) -> bool {
        let key = BASE64_STANDARD.decode(&self.app.alipay_public_key).unwrap();
        let sign = BASE64_STANDARD.decode(sign).unwrap();
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key).verify(text, &sign).is_ok()
    }

    pub(crate) async fn precreate(&self, number: &str, amount: &str, notify_url: Option<&str>) -> String {
        let biz = json!({ "out_trade_no": number, "total_amount": amount, "subject": "乌龙茶 500g" });
        let answer = self.call_notified("alipay.trade.precreate", biz, notify_url).await;
        assert_eq!(answer.outcome(), "10000");
        answer.get("qr_code").to_owned()
    }

    pub(crate) fn trade(&self, number: &str) -> TradeRef {
        TradeRef::number(&self.app.app_id, number)
    }

    /// Precreates, and lets the buyer pay.
    pub(crate) async fn paid(&self, number: &str, amount: &str, notify_url: Option<&str>) -> TradeView {
        self.precreate(number, amount, notify_url).await;
        self.control.pay(self.trade(number)).await.unwrap()
    }

    pub(crate) async fn query(&self, number: &str) -> Answer {
        self.call("alipay.trade.query", json!({ "out_trade_no": number })).await
    }

    pub(crate) async fn refund(&self, number: &str, request: &str, amount: &str) -> Answer {
        let biz = json!({ "out_trade_no": number, "out_request_no": request, "refund_amount": amount });
        self.call("alipay.trade.refund", biz).await
    }

    /// The order as the sandbox sees it, once it satisfies the condition.
    pub(crate) async fn until(&self, number: &str, condition: impl Fn(&TradeView) -> bool) -> TradeView {
        let poll = async {
            loop {
                let trade = self.control.trade(&self.app.app_id, number).await.unwrap();
                if condition(&trade) {
                    return trade;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), poll).await.expect("the condition comes true in time")
    }

    /// Stops the sandbox in an orderly way.
    pub(crate) async fn stop(mut self) {
        let _ = self.stop.take().unwrap().send(());
        self.server.take().unwrap().await.unwrap().unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

/// An answer that is one node and nothing else.
pub(crate) fn unsigned(body: &str) -> Answer {
    let answer: serde_json::Map<String, Value> = serde_json::from_str(body).unwrap();
    assert_eq!(answer.len(), 1, "{body}");
    let (node_name, node) = answer.into_iter().next().unwrap();
    Answer { node_name, node }
}

pub(crate) fn sign_with(key: &KeyPair, parameters: &BTreeMap<String, String>) -> String {
    // A BTreeMap iterates in the order of its names, which is the order to sign in.
    let pairs: Vec<_> = parameters
        .iter()
        .filter(|(name, value)| name.as_str() != "sign" && !value.is_empty())
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    sign_bytes(key, pairs.join("&").as_bytes())
}

pub(crate) fn sign_bytes(key: &KeyPair, text: &[u8]) -> String {
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature).unwrap();
    BASE64_STANDARD.encode(signature)
}

#[expect(clippy::disallowed_methods, reason = "a merchant's machine has a clock of its own")]
fn beijing_now() -> String {
    let beijing = jiff::tz::TimeZone::fixed(jiff::tz::offset(8));
    jiff::Timestamp::now().to_zoned(beijing).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A merchant's endpoint for notifications.
pub(crate) struct Endpoint {
    pub(crate) url: String,
    received: mpsc::UnboundedReceiver<Bytes>,
    answers: Arc<Mutex<VecDeque<(u16, &'static str)>>>,
    server: JoinHandle<()>,
}

/// Starts an endpoint that answers `success`, after the answers given here are used up.
pub(crate) async fn endpoint(first_answers: &[(u16, &'static str)]) -> Endpoint {
    let answers = Arc::new(Mutex::new(VecDeque::from(first_answers.to_vec())));
    let (sender, received) = mpsc::unbounded_channel();
    let handler = {
        let answers = Arc::clone(&answers);
        move |body: Bytes| async move {
            sender.send(body).unwrap();
            let (status, text) = answers.lock().unwrap().pop_front().unwrap_or((200, "success"));
            let location = [("location", "/elsewhere")];
            (StatusCode::from_u16(status).unwrap(), location, text)
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/notify", listener.local_addr().unwrap());
    let router = Router::new().fallback(any(handler));
    let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Endpoint { url, received, answers, server }
}

impl Endpoint {
    /// The next notification that arrives.
    pub(crate) async fn next(&mut self) -> BTreeMap<String, String> {
        url::form_urlencoded::parse(&self.next_raw().await).into_owned().collect()
    }

    /// The next notification that arrives, as its bytes.
    pub(crate) async fn next_raw(&mut self) -> Bytes {
        tokio::time::timeout(Duration::from_secs(10), self.received.recv()).await.expect("in time").unwrap()
    }

    /// Whether nothing has arrived that was not read.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.received.try_recv().is_err()
    }

    pub(crate) fn answer_next(&self, status: u16, text: &'static str) {
        self.answers.lock().unwrap().push_back((status, text));
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Checks a notification's signature as a merchant does: all fields but `sign` and `sign_type`, sorted.
pub(crate) fn notification_is_genuine(world: &World, fields: &BTreeMap<String, String>) -> bool {
    let text: Vec<_> = fields
        .iter()
        .filter(|(name, value)| !matches!(name.as_str(), "sign" | "sign_type") && !value.is_empty())
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    fields["sign_type"] == "RSA2" && world.alipay_signed(text.join("&").as_bytes(), &fields["sign"])
}

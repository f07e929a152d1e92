//! A merchant's server: keeps what it is told and answers as the test says.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use tokio::net::TcpListener;

/// What the receiver answers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Status(u16),
    /// With `Retry-After`.
    RetryAfter(u16, &'static str),
    /// Sends the client to its own other path.
    Redirect,
    /// Says 200 and never stops talking.
    Endless,
    /// Says nothing.
    Hang,
}

/// What the receiver was told.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) url: String,
    told: Arc<Mutex<Vec<Told>>>,
    usual: Arc<Mutex<Answer>>,
    next: Arc<Mutex<Vec<Answer>>>,
    redirected: Arc<Mutex<usize>>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks", listener.local_addr().unwrap());
        let receiver = Self {
            url,
            told: Arc::default(),
            usual: Arc::new(Mutex::new(Answer::Status(204))),
            next: Arc::default(),
            redirected: Arc::default(),
        };
        let routes = Router::new()
            .route("/hooks", post(hear))
            .route("/elsewhere", axum::routing::any(elsewhere))
            .with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        receiver
    }

    pub(crate) fn usually(&self, answer: Answer) {
        *self.usual.lock().unwrap() = answer;
    }

    /// Gives these answers first, in their order.
    pub(crate) fn next(&self, answers: impl IntoIterator<Item = Answer>) {
        *self.next.lock().unwrap() = answers.into_iter().collect();
    }

    pub(crate) fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    /// How often somebody followed the redirect.
    pub(crate) fn redirected(&self) -> usize {
        *self.redirected.lock().unwrap()
    }
}

async fn elsewhere(State(receiver): State<Receiver>) {
    *receiver.redirected.lock().unwrap() += 1;
}

async fn hear(State(receiver): State<Receiver>, headers: HeaderMap, body: String) -> Response {
    receiver.told.lock().unwrap().push(Told { headers, body });
    let next = {
        let mut next = receiver.next.lock().unwrap();
        (!next.is_empty()).then(|| next.remove(0))
    };
    let usual = *receiver.usual.lock().unwrap();
    match next.unwrap_or(usual) {
        Answer::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Answer::RetryAfter(status, after) => {
            (StatusCode::from_u16(status).unwrap(), [(header::RETRY_AFTER, after)]).into_response()
        }
        Answer::Redirect => (StatusCode::FOUND, [(header::LOCATION, "/elsewhere")]).into_response(),
        Answer::Endless => {
            let drivel =
                futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b'a'; 1024])));
            Body::from_stream(drivel).into_response()
        }
        Answer::Hang => std::future::pending().await,
    }
}

impl Told {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    /// Checks the signature as a merchant would, by the specification and with another library than the service's.
    pub(crate) fn is_signed_with(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        let (id, timestamp) = (self.header("webhook-id"), self.header("webhook-timestamp"));
        mac.update(format!("{id}.{timestamp}.{}", self.body).as_bytes());
        let given = self.header("webhook-signature").strip_prefix("v1,").unwrap();
        mac.verify_slice(&STANDARD.decode(given).unwrap()).is_ok()
    }
}

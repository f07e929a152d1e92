//! The merchant's own server, which webhooks are sent to. It trusts nothing that is not signed.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use tokio::net::TcpListener;

use crate::Error;

/// A webhook that came and was verified.
#[derive(Clone, Debug)]
pub struct Received {
    /// The event's id.
    pub id: String,
    /// What it says.
    pub body: serde_json::Value,
}

impl Received {
    /// What it tells of, such as "payment.succeeded".
    pub fn kind(&self) -> &str {
        self.body["type"].as_str().unwrap_or_default()
    }
}

/// Listens for webhooks and keeps those whose signature is right.
#[derive(Clone, Debug)]
pub struct WebhookReceiver {
    /// Where it listens.
    pub addr: SocketAddr,
    inbox: Arc<Mutex<Inbox>>,
}

#[derive(Debug, Default)]
struct Inbox {
    key: Vec<u8>,
    received: Vec<Received>,
    refused: usize,
}

impl WebhookReceiver {
    /// Listens on a free port for as long as the process lives.
    pub async fn start() -> Result<Self, Error> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let receiver = Self { addr: listener.local_addr()?, inbox: Arc::default() };
        let router = Router::new().route("/webhooks", post(receive)).with_state(receiver.inbox.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(receiver)
    }

    /// Where webhooks are to be sent.
    pub fn url(&self) -> String {
        format!("http://{}/webhooks", self.addr)
    }

    /// Sets the secret that the platform gave for this endpoint.
    pub fn set_secret(&self, secret: &str) -> Result<(), Error> {
        let key =
            STANDARD.decode(secret.strip_prefix("whsec_").ok_or("a webhook secret begins with whsec_")?)?;
        self.lock().key = key;
        Ok(())
    }

    /// Returns what came, in the order of arrival, each event once.
    pub fn received(&self) -> Vec<Received> {
        self.lock().received.clone()
    }

    /// Returns how many were refused for their signature.
    pub fn refused(&self) -> usize {
        self.lock().refused
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn receive(State(inbox): State<Arc<Mutex<Inbox>>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut inbox = inbox.lock().unwrap_or_else(PoisonError::into_inner);
    let header = |name| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let id = header("webhook-id");
    // Standard Webhooks: HMAC-SHA256 over "id.timestamp.body"; the header may list several signatures.
    let mut mac = Hmac::<Sha256>::new_from_slice(&inbox.key).expect("HMAC takes keys of any length");
    mac.update(format!("{id}.{}.", header("webhook-timestamp")).as_bytes());
    mac.update(&body);
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    if !header("webhook-signature").split(' ').any(|signature| signature == expected) {
        inbox.refused += 1;
        return StatusCode::UNAUTHORIZED;
    }
    let Ok(body) = serde_json::from_slice(&body) else {
        return StatusCode::BAD_REQUEST;
    };
    if inbox.received.iter().all(|r| r.id != id) {
        let received = Received { id: id.to_owned(), body };
        inbox.received.push(received);
    }
    StatusCode::NO_CONTENT
}

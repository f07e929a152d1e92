//! The merchants' own server, which webhooks are sent to. It keeps everything that is rightly signed, and it can be
//! as bad a server as any.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use tokio::net::TcpListener;

use crate::Error;
use crate::schedule::Mood;

/// Listens for webhooks. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Receiver {
    addr: SocketAddr,
    inbox: Arc<Mutex<Inbox>>,
}

#[derive(Debug, Default)]
struct Inbox {
    mood: Mood,
    keys: HashMap<String, Vec<u8>>,
    events: HashMap<String, BTreeMap<String, Event>>,
    refused: u64,
}

/// A webhook as it was received.
#[derive(Clone, Debug)]
pub struct Event {
    /// The body of its first delivery.
    pub body: String,
    /// How often it was delivered.
    pub count: u64,
    /// Whether a later delivery had another body.
    pub differed: bool,
}

impl Receiver {
    /// Listens for as long as the program runs.
    pub async fn start() -> Result<Self, Error> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let receiver = Self { addr: listener.local_addr()?, inbox: Arc::default() };
        let router =
            Router::new().route("/webhooks/{merchant_id}", post(receive)).with_state(receiver.inbox.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(receiver)
    }

    /// Where a merchant's webhooks are to be sent.
    pub fn url(&self, merchant_id: &str) -> String {
        format!("http://{}/webhooks/{merchant_id}", self.addr)
    }

    /// Sets the secret by which a merchant's webhooks are known.
    pub fn trust(&self, merchant_id: &str, secret: &str) -> Result<(), Error> {
        let secret = secret.strip_prefix("whsec_").ok_or("a webhook secret begins with whsec_")?;
        self.lock().keys.insert(merchant_id.to_owned(), STANDARD.decode(secret)?);
        Ok(())
    }

    /// Behaves so from now on.
    pub fn set_mood(&self, mood: Mood) {
        self.lock().mood = mood;
    }

    /// What a merchant was told, by the event's id.
    pub fn events(&self, merchant_id: &str) -> BTreeMap<String, Event> {
        self.lock().events.get(merchant_id).cloned().unwrap_or_default()
    }

    /// How many webhooks had a wrong signature.
    pub fn refused(&self) -> u64 {
        self.lock().refused
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn receive(
    State(inbox): State<Arc<Mutex<Inbox>>>,
    Path(merchant_id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mood = inbox.lock().unwrap_or_else(PoisonError::into_inner).mood;
    match mood {
        Mood::Good => take(&inbox, merchant_id, &headers, &body).into_response(),
        Mood::Refusing => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Mood::Hanging => std::future::pending().await,
        Mood::Endless => match take(&inbox, merchant_id, &headers, &body) {
            StatusCode::NO_CONTENT => endless(), // a success as soon as its status is sent
            refused => refused.into_response(),
        },
    }
}

/// A success whose body never ends, a little at a time.
fn endless() -> Response {
    let body = futures::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Some((Ok::<_, Infallible>(Bytes::from_static(&[b'.'; 4096])), ()))
    });
    Response::new(Body::from_stream(body))
}

fn take(inbox: &Mutex<Inbox>, merchant_id: String, headers: &HeaderMap, body: &Bytes) -> StatusCode {
    let mut inbox = inbox.lock().unwrap_or_else(PoisonError::into_inner);
    let header = |name| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let id = header("webhook-id");
    // Standard Webhooks: HMAC-SHA256 over "id.timestamp.body"; the header may list several signatures. The time is not
    // looked at: a service with a wrong clock is among the faults.
    let Some(key) = inbox.keys.get(&merchant_id) else {
        return StatusCode::NOT_FOUND;
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(format!("{id}.{}.", header("webhook-timestamp")).as_bytes());
    mac.update(body);
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    if !header("webhook-signature").split(' ').any(|signature| signature == expected) {
        inbox.refused += 1;
        return StatusCode::UNAUTHORIZED;
    }
    let body = String::from_utf8_lossy(body).into_owned();
    let events = inbox.events.entry(merchant_id).or_default();
    let event = events.entry(id.to_owned()).or_insert_with(|| Event {
        body: body.clone(),
        count: 0,
        differed: false,
    });
    event.count += 1;
    event.differed |= event.body != body;
    StatusCode::NO_CONTENT
}

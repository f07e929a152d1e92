//! Delivers a channel's notifications: takes what is due, posts it as the channel composes it, and notes how it went.
//! On its way it lets the channel do what falls due by itself.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use reqwest::{Client, Response, redirect::Policy};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::{
    deliveries::{Attempt, Notification, Outcome},
    simulator::Simulator,
};

/// Deliveries under way at once.
const CONCURRENCY: usize = 64;
/// How long the merchant may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How much of an answer is read: acknowledgements are short, the rest is for the log.
const MAX_BODY: usize = 256;

/// The HTTP client of deliveries. It follows no redirect (a redirect is no acknowledgement) and uses no proxy.
pub(crate) fn client() -> Result<Client, reqwest::Error> {
    Client::builder().redirect(Policy::none()).no_proxy().timeout(TIMEOUT).build()
}

struct Due {
    position: usize,
    notification: Notification,
}

/// Delivers until the sandbox stops, then waits for the deliveries under way.
pub(crate) async fn run(channel: Arc<dyn Simulator>, client: Client) {
    let stop = channel.context().stop.clone();
    let slots = Arc::new(Semaphore::new(CONCURRENCY));
    let tasks = TaskTracker::new();
    loop {
        let (due, next_due) = collect(&*channel, slots.available_permits());
        for due in due {
            let slot = Arc::clone(&slots)
                .try_acquire_owned()
                .expect("no more notifications than free slots were collected");
            let (channel, client, stop) = (Arc::clone(&channel), client.clone(), stop.clone());
            tasks.spawn(async move {
                tokio::select! {
                    () = deliver(&*channel, &client, due) => {}
                    () = stop.cancelled() => {}
                }
                drop(slot);
                channel.context().notify_dispatcher();
            });
        }
        // Without a free slot only a finished delivery, which wakes us, can change anything.
        let next_due = next_due.filter(|_| slots.available_permits() > 0);
        let now = channel.context().now();
        let wait = next_due.map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
        tokio::select! {
            () = stop.cancelled() => break,
            () = channel.context().dispatcher_notified() => {}
            () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
        }
    }
    tasks.close();
    tasks.wait().await;
}

/// What is due now, and when something is due next.
fn collect(channel: &dyn Simulator, limit: usize) -> (Vec<Due>, Option<Timestamp>) {
    let now = channel.context().now();
    let by_itself = channel.advance(now);
    let mut books = channel.context().books();
    let due = books.deliveries.take_due(now, limit);
    let due = due
        .into_iter()
        .map(|position| Due { position, notification: books.deliveries.notification(position).clone() });
    let due = due.collect();
    (due, books.deliveries.next_due().into_iter().chain(by_itself).min())
}

async fn deliver(channel: &dyn Simulator, client: &Client, due: Due) {
    let Due { position, notification } = due;
    let post = channel.compose(&notification, channel.context().now());
    let mut request = client.post(&notification.url);
    for (name, value) in post.headers {
        request = request.header(name, value);
    }
    let outcome = match request.body(post.body).send().await {
        Ok(response) => answered(response).await,
        Err(error) => failed(&error),
    };
    debug!(url = notification.url, ?outcome, "notification delivered");
    let acknowledged = match &outcome {
        Outcome::Answered { status, body } => channel.acknowledges(*status, body),
        Outcome::Failed { .. } | Outcome::Lost => false,
    };
    let now = channel.context().now();
    channel.context().books().deliveries.record(position, Attempt { at: now, outcome }, acknowledged, now);
}

async fn answered(mut response: Response) -> Outcome {
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while body.len() <= MAX_BODY {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(error) => return failed(&error),
        }
    }
    body.truncate(MAX_BODY);
    Outcome::Answered { status, body: String::from_utf8_lossy(&body).into_owned() }
}

/// The error with its causes, without the URL (which the log has already).
fn failed(error: &dyn std::error::Error) -> Outcome {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    Outcome::Failed { error: text }
}

//! Delivers notifications: takes what is due from the outbox, posts it, and notes how it went.

use std::{sync::Arc, time::Duration};

use reqwest::{Client, Response, header::CONTENT_TYPE, redirect::Policy};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

use super::{
    Alipay, notice,
    outbox::{Attempt, Outcome},
};

/// Deliveries under way at once.
const CONCURRENCY: usize = 64;
/// How long the merchant may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How much of an answer is read: `success` has seven bytes, the rest is for the log.
const MAX_BODY: usize = 256;

/// The HTTP client of deliveries. It follows no redirect (a redirect is no acknowledgement) and uses no proxy.
pub(crate) fn client() -> Result<Client, reqwest::Error> {
    Client::builder().redirect(Policy::none()).no_proxy().timeout(TIMEOUT).build()
}

struct Letter {
    notification: usize,
    url: String,
    fields: Vec<(&'static str, String)>,
}

/// Delivers until `stop`, then waits for the deliveries under way.
pub(crate) async fn run(alipay: Arc<Alipay>, client: Client, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(CONCURRENCY));
    let tasks = TaskTracker::new();
    loop {
        let (letters, next_due) = collect(&alipay, slots.available_permits());
        for letter in letters {
            let slot = Arc::clone(&slots)
                .try_acquire_owned()
                .expect("no more letters than free slots were collected");
            let (alipay, client, stop) = (Arc::clone(&alipay), client.clone(), stop.clone());
            tasks.spawn(async move {
                tokio::select! {
                    () = deliver(&alipay, &client, letter) => {}
                    () = stop.cancelled() => {}
                }
                drop(slot);
                alipay.wake_courier();
            });
        }
        // Without a free slot only a finished delivery, which wakes us, can change anything.
        let next_due = next_due.filter(|_| slots.available_permits() > 0);
        let wait =
            next_due.map(|at| Duration::try_from(at.duration_since(alipay.clock.now())).unwrap_or_default());
        tokio::select! {
            () = stop.cancelled() => break,
            () = alipay.courier_woken() => {}
            () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
        }
    }
    tasks.close();
    tasks.wait().await;
}

/// What is due now, with its fields, and when the next one will be.
fn collect(alipay: &Alipay, limit: usize) -> (Vec<Letter>, Option<jiff::Timestamp>) {
    let now = alipay.clock.now();
    let mut simulator = alipay.simulator();
    let due = simulator.outbox.take_due(now, limit);
    let letters = due.into_iter().map(|notification| {
        let news = &simulator.outbox.get(notification).news;
        let fields = notice::fields(news, simulator.order(news.order), now);
        Letter { notification, url: news.url.clone(), fields }
    });
    let letters = letters.collect();
    (letters, simulator.outbox.next_due())
}

async fn deliver(alipay: &Alipay, client: &Client, letter: Letter) {
    let body = notice::form(letter.fields, &alipay.key);
    let request =
        client.post(&letter.url).header(CONTENT_TYPE, "application/x-www-form-urlencoded; charset=utf-8");
    let outcome = match request.body(body).send().await {
        Ok(response) => answered(response).await,
        Err(error) => failed(&error),
    };
    debug!(url = letter.url, ?outcome, "notification delivered");
    let now = alipay.clock.now();
    alipay.simulator().outbox.record(letter.notification, Attempt { at: now, outcome }, now);
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

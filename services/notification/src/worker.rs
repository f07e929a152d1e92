//! Sends deliveries that are due and records what became of them.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use tael_fault::crash_point;
use tael_grpc::status::Chain;
use tael_ids::WebhookEndpointId;
use tael_postgres::within;
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, field};
use url::Url;
use uuid::Uuid;

use crate::domain::delivery::{AttemptResult, Schedule};
use crate::metrics;
use crate::sender::{Message, Sender};
use crate::store::outbox::{self, Capacity, Claimed, Tried};
use crate::usecase::{Notifications, open_secret};

/// So many requests are under way at once.
const MAX_IN_FLIGHT: usize = 128;
/// So many deliveries are taken for one endpoint at once, and none while it has more than that under way: it gets at
/// most 16 requests at once, and can't take all places by being slow.
const BATCH_PER_ENDPOINT: usize = 8;
/// Results are collected for so long, to be recorded together.
const LINGER: Duration = Duration::from_millis(5);
/// A delivery is another worker's when it was not recorded so long after its request has timed out.
const LEASE_MARGIN: Duration = Duration::from_secs(20);
/// How long the database may take before its connection counts as lost. What was taken with it is due again when its lease
/// ends. A result that was recorded all the same is recorded once more: one line too many in a history is better than one
/// more delivery.
const DATABASE_LIMIT: Duration = Duration::from_secs(5);
/// How long to wait before the database is asked again to record results.
const RECORD_PAUSE: Duration = Duration::from_millis(500);

/// Sends deliveries. Any number of replicas may run one.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) notifications: Notifications,
    pub(crate) sender: Sender,
    pub(crate) schedule: Schedule,
    /// How often to look for deliveries of which this process was not told.
    pub(crate) poll: Duration,
    /// How long a request may take.
    pub(crate) timeout: Duration,
}

impl Worker {
    /// Works until `shutdown`; requests under way are ended and recorded.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut sending = Sending::default();
        loop {
            let ending = shutdown.is_cancelled();
            if !ending && let Err(error) = self.start(&mut sending).await {
                tracing::warn!(error = %Chain(&error), "deliveries could not be taken");
            }
            if ending && sending.tasks.is_empty() {
                return;
            }
            let may_take = !ending && sending.tasks.len() < MAX_IN_FLIGHT;
            tokio::select! {
                mut tried = sending.first(), if !sending.tasks.is_empty() => {
                    if !sending.tasks.is_empty() {
                        tokio::time::sleep(LINGER).await;
                        sending.add_ended(&mut tried);
                    }
                    self.record(tried).await;
                }
                () = self.notifications.due.notified(), if may_take => {}
                () = tokio::time::sleep(self.poll), if may_take => {}
                () = shutdown.cancelled(), if !ending => {}
            }
        }
    }

    /// Takes deliveries that are due, as many as there are places, and starts to send them.
    async fn start(&self, sending: &mut Sending) -> Result<(), sqlx::Error> {
        let places = MAX_IN_FLIGHT.saturating_sub(sending.tasks.len());
        if places == 0 {
            return Ok(());
        }
        let capacity = Capacity {
            total: signed(places),
            per_endpoint: signed(BATCH_PER_ENDPOINT),
            busy: sending.busy(),
        };
        let now = self.notifications.clock.now();
        let lease_end = now.saturating_add(self.timeout + LEASE_MARGIN).unwrap_or(Timestamp::MAX);
        let claim = outbox::claim(&self.notifications.pool, now, lease_end, &capacity);
        let taken = within(DATABASE_LIMIT, claim).await?;
        if !taken.is_empty() {
            crash_point("notification.deliver.claimed");
        }
        for claimed in taken {
            let span = tracing::info_span!(
                "webhook.deliver",
                otel.kind = "client",
                otel.status_code = field::Empty,
                http.request.method = "POST",
                server.address = Url::parse(&claimed.url).ok().as_ref().and_then(Url::host_str),
                tael.merchant_id = %claimed.merchant_id,
                tael.webhook_endpoint_id = %claimed.endpoint_id,
                tael.delivery_id = %claimed.id,
                tael.event_id = %claimed.event_id,
                http.response.status_code = field::Empty,
                error.type = field::Empty,
                tael.outcome = field::Empty,
                tael.retries = claimed.tries,
            );
            tael_telemetry::follow(&span, &claimed.traceparent);
            let endpoint_id = claimed.endpoint_id;
            let attempt = Attempt {
                notifications: self.notifications.clone(),
                sender: self.sender.clone(),
                schedule: self.schedule,
            };
            let task = sending.tasks.spawn(attempt.make(claimed).instrument(span));
            sending.endpoints.insert(task.id(), endpoint_id);
        }
        Ok(())
    }

    /// Records results.
    async fn record(&self, mut tried: Vec<Tried>) {
        while !tried.is_empty() {
            // A statement moves a row once. Twice in one go is a delivery that was replayed while it was under way.
            let mut seen = HashSet::new();
            let (batch, rest): (Vec<_>, Vec<_>) = tried.into_iter().partition(|t| seen.insert(t.id));
            self.record_batch(&batch).await;
            tried = rest;
        }
    }

    /// Records results of different deliveries. While the database is away it is asked again: a result that is lost is
    /// a second delivery.
    async fn record_batch(&self, tried: &[Tried]) {
        let give_up = Instant::now() + LEASE_MARGIN;
        let record = || within(DATABASE_LIMIT, outbox::record(&self.notifications.pool, tried));
        while let Err(error) = record().await {
            tracing::warn!(error = %Chain(&error), "results of deliveries could not be recorded");
            if Instant::now() + RECORD_PAUSE > give_up {
                return;
            }
            tokio::time::sleep(RECORD_PAUSE).await;
        }
        crash_point("notification.deliver.recorded");
    }
}

/// Requests under way.
#[derive(Default)]
struct Sending {
    tasks: JoinSet<Tried>,
    /// Which endpoint a task sends to.
    endpoints: HashMap<Id, WebhookEndpointId>,
}

impl Sending {
    /// Returns the endpoints that have enough under way.
    fn busy(&self) -> Vec<Uuid> {
        let mut counts: HashMap<WebhookEndpointId, usize> = HashMap::new();
        for endpoint_id in self.endpoints.values() {
            *counts.entry(*endpoint_id).or_default() += 1;
        }
        counts.into_iter().filter(|(_, count)| *count > BATCH_PER_ENDPOINT).map(|(id, _)| id.uuid()).collect()
    }

    /// Waits until a request has ended.
    async fn first(&mut self) -> Vec<Tried> {
        let mut tried = Vec::new();
        if let Some(joined) = self.tasks.join_next_with_id().await {
            self.ended(joined, &mut tried);
        }
        tried
    }

    /// Adds the results of all further requests that have ended.
    fn add_ended(&mut self, tried: &mut Vec<Tried>) {
        while let Some(joined) = self.tasks.try_join_next_with_id() {
            self.ended(joined, tried);
        }
    }

    fn ended(&mut self, joined: Result<(Id, Tried), tokio::task::JoinError>, tried: &mut Vec<Tried>) {
        match joined {
            Ok((id, result)) => {
                self.endpoints.remove(&id);
                tried.push(result);
            }
            Err(error) => {
                self.endpoints.remove(&error.id());
                tracing::error!(error = %Chain(&error), "a delivery panicked");
            }
        }
    }
}

/// One try to deliver.
struct Attempt {
    notifications: Notifications,
    sender: Sender,
    schedule: Schedule,
}

impl Attempt {
    async fn make(self, claimed: Claimed) -> Tried {
        let clock = &self.notifications.clock;
        let (time, started) = (clock.now(), Instant::now());
        let result = match self.message(&claimed, time) {
            Some(message) => {
                let result = self.sender.send(message).await;
                crash_point("notification.deliver.sent");
                result
            }
            None => AttemptResult::Unanswered("the signing secret does not open".to_owned()),
        };
        let duration = started.elapsed();
        metrics::attempt(&result, duration);
        let next = self.schedule.next(&result, claimed.tries + 1, claimed.id);
        Tried {
            merchant_id: claimed.merchant_id,
            id: claimed.id,
            round: claimed.round,
            time,
            duration,
            result,
            next,
            end_time: clock.now(),
        }
    }

    fn message(&self, claimed: &Claimed, now: Timestamp) -> Option<Message> {
        let secret = match open_secret(
            &self.notifications.keyring,
            claimed.endpoint_id,
            &claimed.sealed_secret,
        ) {
            Ok(secret) => secret,
            Err(error) => {
                tracing::error!(tael.webhook_endpoint_id = %claimed.endpoint_id, error = %Chain(&error), "a secret does not open");
                return None;
            }
        };
        let (id, timestamp) = (claimed.event_id.to_string(), now.as_second());
        let signature = secret.sign(&id, timestamp, &claimed.body);
        Some(Message {
            url: claimed.url.clone(),
            id,
            timestamp,
            signature,
            body: claimed.body.clone(),
            traceparent: claimed.traceparent.clone(),
        })
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

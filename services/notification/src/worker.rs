//! Sends deliveries that are due and records what became of them.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use tael_fault::crash_point;
use tael_grpc::status::Chain;
use tael_ids::{DeliveryAttemptId, MerchantId, WebhookEndpointId};
use tael_postgres::within;
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, field};
use url::Url;
use uuid::Uuid;

use crate::domain::breaker::{self, Health};
use crate::domain::delivery::{AttemptResult, Schedule};
use crate::domain::webhook_endpoint::DisableReason;
use crate::metrics;
use crate::sender::{Answer, Message, Sender};
use crate::store::outbox::{self, Capacity, Claimed, Tried};
use crate::usecase::{Notifications, open_secret};

/// So many requests are under way at once.
const MAX_IN_FLIGHT: usize = 128;
/// One merchant's part of them, at most. It shrinks with what is free (see [`Sending::capacity`]).
const MAX_PER_MERCHANT: usize = 32;
/// One endpoint's part of them, at most.
const MAX_PER_ENDPOINT: usize = 16;
/// So many merchants are looked at in one go.
const MERCHANTS_PER_SCAN: i64 = 256;
/// Results are collected for so long, to be recorded together.
const LINGER: Duration = Duration::from_millis(5);
/// A delivery is another worker's when it was not recorded so long after its request has timed out.
const LEASE_MARGIN: Duration = Duration::from_secs(20);
/// How long the database may take before its connection counts as lost. What was taken with it is due again when its lease
/// ends. A result that was recorded all the same is known when it is recorded again.
const DATABASE_LIMIT: Duration = Duration::from_secs(5);
/// How long to wait before the database is asked again to record results.
const RECORD_PAUSE: Duration = Duration::from_millis(500);

/// Before every merchant.
const FIRST: MerchantId = MerchantId::from_uuid(Uuid::nil());

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
    /// Whether merchants are sent the traces of events.
    pub(crate) traceparent: bool,
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

    /// Takes deliveries that are due and starts to send them: merchants in turn, beginning where it ended before, until there
    /// is no place left or nobody has anything that may be sent.
    async fn start(&self, sending: &mut Sending) -> Result<(), sqlx::Error> {
        let pool = &self.notifications.pool;
        let mut idle_round = false;
        while sending.tasks.len() < MAX_IN_FLIGHT {
            let after = sending.last_merchant.take();
            idle_round |= after.is_none();
            let scan = outbox::waiting_merchants(pool, after.unwrap_or(FIRST), MERCHANTS_PER_SCAN);
            let merchants = within(DATABASE_LIMIT, scan).await?;
            let is_last_scan = merchants.len() < usize::try_from(MERCHANTS_PER_SCAN).unwrap_or(usize::MAX);
            let next = merchants.last().copied().filter(|_| !is_last_scan);
            if self.start_some(sending, merchants).await? {
                idle_round = false;
            }
            sending.last_merchant = next;
            if is_last_scan && idle_round {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes deliveries of these merchants; says whether there were any.
    async fn start_some(
        &self,
        sending: &mut Sending,
        merchants: Vec<MerchantId>,
    ) -> Result<bool, sqlx::Error> {
        let Some(capacity) = sending.capacity(merchants) else { return Ok(false) };
        let now = self.notifications.clock.now();
        let lease_end = now.saturating_add(self.timeout + LEASE_MARGIN).unwrap_or(Timestamp::MAX);
        let claim = outbox::claim(&self.notifications.pool, now, lease_end, &capacity);
        let taken = within(DATABASE_LIMIT, claim).await?;
        let is_some = !taken.is_empty();
        if is_some {
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
            let place = (claimed.merchant_id, claimed.endpoint_id);
            let attempt = Attempt {
                notifications: self.notifications.clone(),
                sender: self.sender.clone(),
                schedule: self.schedule,
                traceparent: self.traceparent,
            };
            let task = sending.tasks.spawn(attempt.make(claimed).instrument(span));
            sending.under_way.insert(task.id(), place);
        }
        Ok(is_some)
    }

    /// Records results.
    async fn record(&self, mut tried: Vec<Tried>) {
        while !tried.is_empty() {
            // A statement moves a row once. Twice in one go is a delivery that was replayed while it was under way.
            let mut seen = HashSet::new();
            let (batch, rest): (Vec<_>, Vec<_>) = tried.into_iter().partition(|t| seen.insert(t.id));
            self.record_batch(&batch).await;
            self.disable_gone(&batch).await;
            tried = rest;
        }
    }

    /// Disables endpoints that say that they are gone. One for which that fails now says so again at its next try.
    async fn disable_gone(&self, tried: &[Tried]) {
        let gone = tried.iter().filter(|t| t.health == Health::Gone);
        let gone: HashSet<_> = gone.map(|t| (t.merchant_id, t.endpoint_id)).collect();
        for (merchant_id, endpoint_id) in gone {
            let disabled =
                self.notifications.disable_endpoint(merchant_id, endpoint_id, DisableReason::Gone).await;
            match disabled {
                Ok(_) => {
                    tracing::info!(
                        tael.merchant_id = %merchant_id, tael.webhook_endpoint_id = %endpoint_id,
                        "a webhook endpoint answered that it is gone and is disabled"
                    );
                }
                Err(error) => {
                    tracing::warn!(
                        tael.webhook_endpoint_id = %endpoint_id, error = %Chain(&error),
                        "a webhook endpoint that is gone could not be disabled"
                    );
                }
            }
        }
    }

    /// Records results of different deliveries. While the database is away it is asked again: a result that is lost is
    /// a second delivery.
    async fn record_batch(&self, tried: &[Tried]) {
        let give_up = Instant::now() + LEASE_MARGIN;
        let pauses = breaker::pauses(self.schedule.speed);
        let record = || within(DATABASE_LIMIT, outbox::record(&self.notifications.pool, tried, &pauses));
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
    /// Whose delivery a task sends, and where.
    under_way: HashMap<Id, (MerchantId, WebhookEndpointId)>,
    /// The merchant whose turn was last; none when the first one's is next.
    last_merchant: Option<MerchantId>,
}

impl Sending {
    /// Says how many deliveries of these merchants may be taken; none when there is no place.
    ///
    /// At one time half of what is free is given away, and a merchant may have no more under way than that: so there is
    /// always a place for a merchant that has none, however many have endpoints that hang.
    fn capacity(&self, merchants: Vec<MerchantId>) -> Option<Capacity> {
        let free = MAX_IN_FLIGHT.saturating_sub(self.tasks.len());
        if free == 0 || merchants.is_empty() {
            return None;
        }
        let given = free.div_ceil(2);
        let mut of_merchants: HashMap<MerchantId, usize> = HashMap::new();
        let mut of_endpoints: HashMap<WebhookEndpointId, usize> = HashMap::new();
        for (merchant_id, endpoint_id) in self.under_way.values() {
            *of_merchants.entry(*merchant_id).or_default() += 1;
            *of_endpoints.entry(*endpoint_id).or_default() += 1;
        }
        let held = |id| signed(of_merchants.get(&id).copied().unwrap_or_default());
        Some(Capacity {
            total: signed(given),
            merchants: merchants.into_iter().map(|id| (id, held(id))).collect(),
            per_merchant: signed(given.min(MAX_PER_MERCHANT)),
            per_endpoint: signed(MAX_PER_ENDPOINT),
            endpoints: of_endpoints.into_iter().map(|(id, count)| (id, signed(count))).collect(),
        })
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
                self.under_way.remove(&id);
                tried.push(result);
            }
            Err(error) => {
                self.under_way.remove(&error.id());
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
    traceparent: bool,
}

impl Attempt {
    async fn make(self, claimed: Claimed) -> Tried {
        let clock = &self.notifications.clock;
        let (time, started) = (clock.now(), Instant::now());
        let Answer { result, retry_after } = match self.message(&claimed, time) {
            Some(message) => {
                let answer = self.sender.send(message).await;
                crash_point("notification.deliver.sent");
                answer
            }
            None => Answer {
                result: AttemptResult::Unanswered("the signing secret does not open".to_owned()),
                retry_after: None,
            },
        };
        let duration = started.elapsed();
        metrics::attempt(&result, duration);
        let next = self.schedule.next(&result, retry_after, claimed.tries + 1, claimed.id);
        Tried {
            merchant_id: claimed.merchant_id,
            id: claimed.id,
            endpoint_id: claimed.endpoint_id,
            attempt_id: DeliveryAttemptId::new(),
            round: claimed.round,
            time,
            duration,
            health: breaker::health(&result, retry_after),
            result,
            retry_after,
            endpoint_fails: claimed.endpoint_fails,
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
            traceparent: self.traceparent.then(|| claimed.traceparent.clone()),
        })
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

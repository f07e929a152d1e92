//! A client of the platform as a merchant should write one: it repeats a call with the same key until it is answered.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tael_grpc::client::Channel;
use tael_proto::audit::v1::money_audit_service_client::MoneyAuditServiceClient;
use tael_proto::event::v1::dead_letter_service_client::DeadLetterServiceClient;
use tael_proto::event::v1::event_log_service_client::EventLogServiceClient;
use tael_proto::merchant::v1::merchant_service_client::MerchantServiceClient;
use tael_proto::notification::v1::delivery_service_client::DeliveryServiceClient;
use tael_proto::notification::v1::webhook_endpoint_service_client::WebhookEndpointServiceClient;
use tael_proto::order::v1::order_service_client::OrderServiceClient;
use tael_proto::order::v1::unapplied_payment_service_client::UnappliedPaymentServiceClient;
use tael_proto::order::v1::voucher_service_client::VoucherServiceClient;
use tael_proto::payment::v1::channel_account_service_client::ChannelAccountServiceClient;
use tael_proto::payment::v1::integrity_alert_service_client::IntegrityAlertServiceClient;
use tael_proto::payment::v1::payment_service_client::PaymentServiceClient;
use tael_proto::refund::v1::refund_service_client::RefundServiceClient;
use tael_proto::settlement::v1::fee_schedule_service_client::FeeScheduleServiceClient;
use tael_proto::settlement::v1::ledger_service_client::LedgerServiceClient;
use tael_proto::settlement::v1::reconciliation_service_client::ReconciliationServiceClient;
use tael_proto::settlement::v1::settlement_batch_service_client::SettlementBatchServiceClient;
use tael_sandbox::ControlClient;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt as _;

use crate::Error;
use crate::processes::Service;

/// How long one try may take.
const TRY: Duration = Duration::from_secs(6);
/// The pause before a call is repeated, doubled up to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(40);
const PAUSE_LONGEST: Duration = Duration::from_millis(640);

/// Where everything is.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// Each service's URL, or several with commas between them, in the order of [`Service::ALL`].
    pub services: [String; Service::ALL.len()],
    /// The channel's control interface.
    pub sandbox: SocketAddr,
}

impl Addresses {
    /// A service's URL or URLs.
    pub fn of(&self, service: Service) -> &str {
        &self.services[service as usize]
    }
}

/// Connections of one client, and what is common to all clients. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Merchants.
    pub merchant: MerchantServiceClient<Channel>,
    /// Orders.
    pub order: OrderServiceClient<Channel>,
    /// Vouchers.
    pub voucher: VoucherServiceClient<Channel>,
    /// Money that came when an order did not wait for it.
    pub unapplied_payment: UnappliedPaymentServiceClient<Channel>,
    /// Payments.
    pub payment: PaymentServiceClient<Channel>,
    /// Channel accounts.
    pub channel_account: ChannelAccountServiceClient<Channel>,
    /// What contradicted our record.
    pub integrity_alert: IntegrityAlertServiceClient<Channel>,
    /// Refunds.
    pub refund: RefundServiceClient<Channel>,
    /// The ledger.
    pub ledger: LedgerServiceClient<Channel>,
    /// Fee schedules.
    pub fee_schedules: FeeScheduleServiceClient<Channel>,
    /// Settlement batches.
    pub batches: SettlementBatchServiceClient<Channel>,
    /// Comparisons with the channels' statements.
    pub reconciliations: ReconciliationServiceClient<Channel>,
    /// Where webhooks go.
    pub webhook_endpoints: WebhookEndpointServiceClient<Channel>,
    /// What became of webhooks.
    pub deliveries: DeliveryServiceClient<Channel>,
    /// The payer, and the faults of the channel.
    pub payer: ControlClient,
    channels: Vec<(Service, Channel)>,
    /// What all clients count together.
    pub calls: Arc<Calls>,
}

/// What all clients count together.
#[derive(Debug)]
pub struct Calls {
    counts: Mutex<Counts>,
    last_success: watch::Sender<Option<Instant>>,
    /// From when on calls that are not answered are given up.
    give_up: watch::Sender<Option<Instant>>,
}

/// How often calls were made and repeated.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Counts {
    /// Tries of calls that were answered or refused for good, by call.
    pub answered: BTreeMap<&'static str, u64>,
    /// Tries that had to be repeated, by status.
    pub repeated: BTreeMap<String, u64>,
    /// How often one call was tried, at most.
    pub most_tries: u64,
    /// How long one call took with all its repetitions, at most, in milliseconds, and which one.
    pub longest_ms: u64,
    /// That call.
    pub longest: String,
}

impl Default for Calls {
    fn default() -> Self {
        Self {
            counts: Mutex::default(),
            last_success: watch::Sender::new(None),
            give_up: watch::Sender::new(None),
        }
    }
}

impl Calls {
    /// From `moment` on calls that are not answered are given up: the caller is stuck.
    pub fn give_up_from(&self, moment: Instant) {
        self.give_up.send_replace(Some(moment));
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for the first call that succeeds after `moment`, and returns how long after it that was.
    pub async fn first_success_after(&self, moment: Instant) -> Duration {
        let mut last = self.last_success.subscribe();
        loop {
            let now = *last.borrow_and_update();
            if let Some(after) = now.and_then(|now| now.checked_duration_since(moment)) {
                return after;
            }
            // The sender lives as long as `self`.
            let _ = last.changed().await;
        }
    }

    /// Whether nothing should be waited for any longer.
    pub fn is_given_up(&self) -> bool {
        self.give_up.borrow().is_some_and(|moment| Instant::now() >= moment)
    }
}

impl Caller {
    /// A client with connections of its own, made when they are first used.
    pub fn connect(addresses: &Addresses, calls: &Arc<Calls>) -> Result<Self, Error> {
        let channels: Vec<(Service, Channel)> = Service::WITH_DATABASE
            .into_iter()
            .map(|service| Ok((service, tael_grpc::client::connect(addresses.of(service))?)))
            .collect::<Result<_, Error>>()?;
        let of = |wanted: Service| {
            let found = channels.iter().find(|(service, _)| *service == wanted);
            found.map(|(_, channel)| channel.clone()).expect("every service with a database has a channel")
        };
        Ok(Self {
            merchant: MerchantServiceClient::new(of(Service::Merchant)),
            order: OrderServiceClient::new(of(Service::Order)),
            voucher: VoucherServiceClient::new(of(Service::Order)),
            unapplied_payment: UnappliedPaymentServiceClient::new(of(Service::Order)),
            payment: PaymentServiceClient::new(of(Service::Payment)),
            channel_account: ChannelAccountServiceClient::new(of(Service::Payment)),
            integrity_alert: IntegrityAlertServiceClient::new(of(Service::Payment)),
            refund: RefundServiceClient::new(of(Service::Refund)),
            ledger: LedgerServiceClient::new(of(Service::Settlement)),
            fee_schedules: FeeScheduleServiceClient::new(of(Service::Settlement)),
            batches: SettlementBatchServiceClient::new(of(Service::Settlement)),
            reconciliations: ReconciliationServiceClient::new(of(Service::Settlement)),
            webhook_endpoints: WebhookEndpointServiceClient::new(of(Service::Notification)),
            deliveries: DeliveryServiceClient::new(of(Service::Notification)),
            payer: ControlClient::new(&format!("http://{}", addresses.sandbox))?,
            channels,
            calls: calls.clone(),
        })
    }

    /// The logs of all services that have one.
    pub fn logs(&self) -> impl Iterator<Item = (Service, EventLogServiceClient<Channel>)> {
        self.channels.iter().map(|(service, channel)| (*service, EventLogServiceClient::new(channel.clone())))
    }

    /// The money audit.
    pub fn money_audit(&self) -> MoneyAuditServiceClient<Channel> {
        let found = self.channels.iter().find(|(service, _)| *service == Service::Audit);
        let (_, channel) = found.expect("every service with a database has a channel");
        MoneyAuditServiceClient::new(channel.clone())
    }

    /// The events that services have set aside.
    pub fn set_aside(&self) -> impl Iterator<Item = (Service, DeadLetterServiceClient<Channel>)> {
        self.channels
            .iter()
            .map(|(service, channel)| (*service, DeadLetterServiceClient::new(channel.clone())))
    }

    /// Calls until there is an answer: again with the same key and the same message, whenever the answer says nothing
    /// about the call itself. The error is the platform's last word, or that of the last try when it is given up.
    pub async fn ask<Q, A, F>(
        &self,
        name: &'static str,
        key: Option<&str>,
        message: Q,
        call: impl Fn(Self, Request<Q>) -> F,
    ) -> Result<A, Status>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let begin = Instant::now();
        let (mut tries, mut pause) = (0, PAUSE_FIRST);
        loop {
            let mut request = Request::new(message.clone());
            request.set_timeout(TRY);
            if let Some(key) = key {
                let key = key.parse().expect("keys are made of letters, digits and hyphens");
                request.metadata_mut().insert("idempotency-key", key);
            }
            tries += 1;
            let answer = match tokio::time::timeout(TRY, call(self.clone(), request)).await {
                Ok(answer) => answer,
                Err(_) => Err(Status::deadline_exceeded("no answer came in time")),
            };
            let status = match answer {
                Ok(answer) => {
                    self.calls.last_success.send_replace(Some(Instant::now()));
                    self.calls.note(name, key, tries, begin.elapsed());
                    return Ok(answer.into_inner());
                }
                Err(status) => status,
            };
            if !is_no_answer(&status) || self.calls.is_given_up() {
                self.calls.note(name, key, tries, begin.elapsed());
                return Err(status);
            }
            tracing::info!(name, key, tries, status = words(&status), "again");
            self.calls.repeated(status.code());
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_LONGEST);
        }
    }
}

impl Calls {
    fn note(&self, name: &'static str, key: Option<&str>, tries: u64, took: Duration) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.answered.entry(name).or_default() += 1;
        counts.most_tries = counts.most_tries.max(tries);
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        if took_ms > counts.longest_ms {
            counts.longest_ms = took_ms;
            counts.longest = format!("{name} {}", key.unwrap_or_default());
        }
    }

    fn repeated(&self, code: Code) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.repeated.entry(format!("{code:?}")).or_default() += 1;
    }
}

/// Whether a status says nothing about the call itself, so that it must be repeated.
pub fn is_no_answer(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable
        | Code::Aborted
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Cancelled
        | Code::Unknown => true,
        // A connection that broke in the middle. The platform's own INTERNAL names its reason, and is a finding.
        Code::Internal => reason(status).is_none(),
        _ => false,
    }
}

/// The reason that the platform gives.
pub fn reason(status: &Status) -> Option<String> {
    status.get_details_error_info().map(|info| info.reason)
}

/// A status for a person: code, message, reason.
pub fn words(status: &Status) -> String {
    let mut words = format!("{:?}: {}", status.code(), status.message());
    if let Some(info) = status.get_details_error_info() {
        let _ = write!(words, " ({} {:?})", info.reason, info.metadata);
    }
    words
}

//! What the services hold to be true about money, scripted.

use std::sync::{Arc, Mutex, MutexGuard};

use tael_ids::{AccountId, DeliveryId, EventId, OrderId, RefundId, TransferId, WebhookEndpointId};
use tael_proto::audit::v1::fact::Fact as Said;
use tael_proto::audit::v1::fact_service_server::{FactService, FactServiceServer};
use tael_proto::audit::v1::{
    AttemptFact, ChannelAccountFact, CountedRefundFact, DeadLetterFact, DeliveryFact, EventFact, Fact,
    FactKind, HeldPaymentFact, LedgerAccountFact, LogStartFact, OrderFact, PaymentFact, PaymentRefundFact,
    ReadFactsRequest, ReadFactsResponse, RefundCeilingFact, RefundFact, TransferFact, WebhookEndpointFact,
};
use tael_proto::payment::v1::StatementLine;
use tael_proto::r#type::v1::Money;
use tonic::{Request, Response, Status};

use crate::fixture::{Paid, Shop, cny, refund_line};

/// So small that every kind takes several pages.
const PAGE: usize = 2;

/// All facts of a merchant, and the channel's statement of one day.
#[derive(Clone, Debug, Default)]
pub(crate) struct AuditFacts {
    pub(crate) merchant_id: String,
    pub(crate) orders: Vec<OrderFact>,
    pub(crate) held: Vec<HeldPaymentFact>,
    pub(crate) counted: Vec<CountedRefundFact>,
    pub(crate) accounts: Vec<ChannelAccountFact>,
    pub(crate) payments: Vec<PaymentFact>,
    pub(crate) attempts: Vec<AttemptFact>,
    pub(crate) payment_refunds: Vec<PaymentRefundFact>,
    pub(crate) ceilings: Vec<RefundCeilingFact>,
    pub(crate) refunds: Vec<RefundFact>,
    pub(crate) endpoints: Vec<WebhookEndpointFact>,
    pub(crate) deliveries: Vec<DeliveryFact>,
    pub(crate) transfers: Vec<TransferFact>,
    pub(crate) ledger_accounts: Vec<LedgerAccountFact>,
    /// With the service that has it in its log.
    pub(crate) events: Vec<(&'static str, EventFact)>,
    /// With the service that could not apply it.
    pub(crate) dead_letters: Vec<(&'static str, DeadLetterFact)>,
    pub(crate) log: LogStartFact,
    pub(crate) statement: Vec<StatementLine>,
}

#[expect(clippy::unnecessary_wraps, reason = "facts have their times so")]
pub(crate) fn time(text: &str) -> Option<prost_types::Timestamp> {
    Some(tael_grpc::convert::timestamp(text.parse().unwrap()))
}

/// A balanced transfer without a cause.
fn transfer(kind: &str, minor: i64) -> TransferFact {
    TransferFact {
        transfer_id: TransferId::new().to_string(),
        kind: kind.to_owned(),
        gross: Some(cny(minor)),
        fee: Some(cny(0)),
        channel_fee: Some(cny(0)),
        debits_minor: minor,
        credits_minor: minor,
        post_time: time("2026-11-20T04:02:00Z"),
        ..TransferFact::default()
    }
}

impl AuditFacts {
    /// A merchant that wants to be told of everything and has sold nothing.
    pub(crate) fn of(shop: &Shop) -> Self {
        Self {
            merchant_id: shop.merchant_id.clone(),
            accounts: vec![ChannelAccountFact {
                channel_account_id: shop.channel_account_id.clone(),
                channel: "alipay".to_owned(),
                statement_owner: "2088000000000001".to_owned(),
                time_zone: "Asia/Shanghai".to_owned(),
            }],
            ledger_accounts: vec![LedgerAccountFact {
                account_id: AccountId::new().to_string(),
                debits: Some(cny(174_00)),
                credits: Some(cny(25_00)),
                entry_debits: Some(cny(174_00)),
                entry_credits: Some(cny(25_00)),
            }],
            endpoints: vec![WebhookEndpointFact {
                webhook_endpoint_id: WebhookEndpointId::new().to_string(),
                create_time: time("2026-11-19T00:00:00Z"),
                ..WebhookEndpointFact::default()
            }],
            ..Self::default()
        }
    }

    /// An order that a payment paid.
    pub(crate) fn sold(&mut self, shop: &Shop, paid: &Paid) {
        let minor = paid.minor;
        let order_id = self.ordered("paid", minor);
        self.took(shop, paid, minor, &order_id);
        let payment_id = paid.payment_id.to_string();
        let order = self.orders.last_mut().unwrap();
        order.payment_id.clone_from(&payment_id);
        order.pay_time = time("2026-11-20T04:00:00Z");
        self.told("order", "order.paid", &payment_id, "", minor);
    }

    /// A payment that came for an order that was cancelled, and is held.
    pub(crate) fn held(&mut self, shop: &Shop, paid: &Paid) {
        let minor = paid.minor;
        let order_id = self.ordered("cancelled", minor);
        self.took(shop, paid, minor, &order_id);
        let payment_id = paid.payment_id.to_string();
        self.held.push(HeldPaymentFact {
            order_id,
            payment_id: payment_id.clone(),
            amount: Some(cny(minor)),
            state: "held".to_owned(),
            refund_id: String::new(),
            hold_time: time("2026-11-20T04:00:01Z"),
        });
        let event_id = self.told("order", "order.payment_held", &payment_id, "", minor);
        self.posted(TransferFact { event_id, payment_id, ..transfer("hold", minor) });
    }

    fn ordered(&mut self, state: &str, minor: i64) -> String {
        let order_id = OrderId::new().to_string();
        self.orders.push(OrderFact {
            order_id: order_id.clone(),
            state: state.to_owned(),
            total: Some(cny(minor)),
            refunded: Some(cny(0)),
            ..OrderFact::default()
        });
        order_id
    }

    fn took(&mut self, shop: &Shop, paid: &Paid, minor: i64, order_id: &str) {
        let payment_id = paid.payment_id.to_string();
        self.payments.push(PaymentFact {
            payment_id: payment_id.clone(),
            order_id: order_id.to_owned(),
            amount: Some(cny(minor)),
            state: "succeeded".to_owned(),
            refunded: Some(cny(0)),
            refund_reserved: Some(cny(0)),
            pay_time: time("2026-11-20T04:00:00Z"),
        });
        self.attempts.push(AttemptFact {
            attempt_id: paid.attempt_id.to_string(),
            payment_id: payment_id.clone(),
            channel_account_id: shop.channel_account_id.clone(),
            state: "succeeded".to_owned(),
            in_doubt: false,
            create_time: time("2026-11-20T03:59:00Z"),
        });
        let event_id = self.told("payment", "payment.succeeded", &payment_id, "", minor);
        self.posted(TransferFact {
            event_id,
            payment_id,
            fee: Some(cny(minor * 6 / 1000)),
            channel_fee: Some(cny(minor * 38 / 10_000)),
            fee_rate: "0.006".to_owned(),
            channel_rate: "0.0038".to_owned(),
            expected_fee: Some(cny(minor * 6 / 1000)),
            expected_channel_fee: Some(cny(minor * 38 / 10_000)),
            ..transfer("payment", minor)
        });
        self.statement.push(paid.statement_line());
    }

    /// A refund of the order that was sold last.
    pub(crate) fn refunded(&mut self, paid: &Paid, minor: i64) {
        let id = RefundId::new();
        let (refund_id, payment_id) = (id.to_string(), paid.payment_id.to_string());
        let order = self.orders.last_mut().unwrap();
        order.refunded = Some(cny(minor));
        let (order_id, total) = (order.order_id.clone(), order.total.clone());
        self.payments.last_mut().unwrap().refunded = Some(cny(minor));
        let at = time("2026-11-20T04:01:00Z");
        self.payment_refunds.push(PaymentRefundFact {
            refund_id: refund_id.clone(),
            payment_id: payment_id.clone(),
            attempt_id: paid.attempt_id.to_string(),
            amount: Some(cny(minor)),
            state: "succeeded".to_owned(),
            reversal: false,
            create_time: at,
            refund_time: at,
        });
        self.refunds.push(RefundFact {
            refund_id: refund_id.clone(),
            order_id: order_id.clone(),
            payment_id: payment_id.clone(),
            amount: Some(cny(minor)),
            state: "succeeded".to_owned(),
            create_time: at,
            end_time: at,
        });
        self.ceilings.push(RefundCeilingFact {
            order_id: order_id.clone(),
            payment_id: payment_id.clone(),
            total,
            reserved: Some(cny(0)),
            refunded: Some(cny(minor)),
        });
        self.counted.push(CountedRefundFact {
            order_id,
            refund_id: refund_id.clone(),
            amount: Some(cny(minor)),
            count_time: at,
        });
        let event_id = self.told("payment", "payment.refunded", &payment_id, &refund_id, minor);
        self.posted(TransferFact {
            event_id,
            payment_id: payment_id.clone(),
            refund_id: refund_id.clone(),
            fee: Some(cny(minor * 6 / 1000)),
            channel_fee: Some(cny((minor * 38 + 5000) / 10_000)),
            ..transfer("refund", minor)
        });
        self.told("refund", "refund.succeeded", &payment_id, &refund_id, minor);
        self.told("order", "order.refunded", "", &refund_id, 0);
        self.statement.push(refund_line(paid, id, minor));
    }

    /// An event in a service's log, and its delivery. An amount of 0 is none.
    pub(crate) fn told(
        &mut self,
        service: &'static str,
        kind: &str,
        payment_id: &str,
        refund_id: &str,
        minor: i64,
    ) -> String {
        let event_id = EventId::new().to_string();
        self.deliveries.push(DeliveryFact {
            delivery_id: DeliveryId::new().to_string(),
            webhook_endpoint_id: self.endpoints[0].webhook_endpoint_id.clone(),
            event_id: event_id.clone(),
            state: "succeeded".to_owned(),
            next_attempt_time: None,
        });
        let amount: Option<Money> = (minor > 0).then(|| cny(minor));
        let event = EventFact {
            event_id: event_id.clone(),
            kind: kind.to_owned(),
            aggregate_id: String::new(),
            payment_id: payment_id.to_owned(),
            refund_id: refund_id.to_owned(),
            amount,
            flag: false,
            occur_time: time("2026-11-20T04:02:00Z"),
        };
        self.events.push((service, event));
        event_id
    }

    fn posted(&mut self, transfer: TransferFact) {
        self.transfers.push(transfer);
    }

    /// The place of the first event of a kind.
    pub(crate) fn event(&self, kind: &str) -> usize {
        self.events.iter().position(|(_, event)| event.kind == kind).unwrap()
    }

    fn facts(&self, service: &str, kind: FactKind) -> Vec<Fact> {
        fn say<T: Clone>(facts: &[T], said: fn(T) -> Said) -> Vec<Said> {
            facts.iter().cloned().map(said).collect()
        }
        fn of<T: Clone>(facts: &[(&'static str, T)], service: &str, said: fn(T) -> Said) -> Vec<Said> {
            facts.iter().filter(|(by, _)| *by == service).map(|(_, fact)| said(fact.clone())).collect()
        }
        let said = match (service, kind) {
            ("order", FactKind::Order) => say(&self.orders, Said::Order),
            ("order", FactKind::HeldPayment) => say(&self.held, Said::HeldPayment),
            ("order", FactKind::CountedRefund) => say(&self.counted, Said::CountedRefund),
            ("payment", FactKind::ChannelAccount) => say(&self.accounts, Said::ChannelAccount),
            ("payment", FactKind::Payment) => say(&self.payments, Said::Payment),
            ("payment", FactKind::Attempt) => say(&self.attempts, Said::Attempt),
            ("payment", FactKind::PaymentRefund) => say(&self.payment_refunds, Said::PaymentRefund),
            ("refund", FactKind::RefundCeiling) => say(&self.ceilings, Said::RefundCeiling),
            ("refund", FactKind::Refund) => say(&self.refunds, Said::Refund),
            ("settlement", FactKind::Transfer) => say(&self.transfers, Said::Transfer),
            ("settlement", FactKind::LedgerAccount) => say(&self.ledger_accounts, Said::LedgerAccount),
            ("notification", FactKind::WebhookEndpoint) => say(&self.endpoints, Said::WebhookEndpoint),
            ("notification", FactKind::Delivery) => say(&self.deliveries, Said::Delivery),
            (_, FactKind::Event) => of(&self.events, service, Said::Event),
            (_, FactKind::DeadLetter) => of(&self.dead_letters, service, Said::DeadLetter),
            (_, FactKind::LogStart) => say(&[self.log], Said::LogStart),
            _ => panic!("{service} is not asked for {kind:?}"),
        };
        said.into_iter()
            .map(|said| Fact { merchant_id: self.merchant_id.clone(), fact: Some(said) })
            .collect()
    }
}

/// What every look finds, one after another; the last one stays.
#[derive(Clone, Debug, Default)]
pub(crate) struct ScriptedFacts(Arc<Mutex<AuditFacts>>);

impl ScriptedFacts {
    pub(crate) fn put(&self, books: AuditFacts) {
        *self.books() = books;
    }

    /// The facts of one service.
    pub(crate) fn server(&self, service: &'static str) -> FactServiceServer<Clerk> {
        FactServiceServer::new(Clerk { service, shelf: self.clone() })
    }

    fn books(&self) -> MutexGuard<'_, AuditFacts> {
        self.0.lock().expect("nothing panics while it holds the books")
    }
}

/// One service's facts, served.
#[derive(Clone, Debug)]
pub(crate) struct Clerk {
    service: &'static str,
    shelf: ScriptedFacts,
}

#[tonic::async_trait]
impl FactService for Clerk {
    async fn read_facts(
        &self,
        request: Request<ReadFactsRequest>,
    ) -> Result<Response<ReadFactsResponse>, Status> {
        let request = request.into_inner();
        let mut facts = self.shelf.books().facts(self.service, request.kind());
        let from = request.page_token.parse().unwrap_or(0_usize).min(facts.len());
        facts.drain(..from);
        let next_page_token = if facts.len() > PAGE { (from + PAGE).to_string() } else { String::new() };
        facts.truncate(PAGE);
        Ok(Response::new(ReadFactsResponse { facts, next_page_token }))
    }
}

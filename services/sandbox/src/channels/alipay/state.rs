//! Everything simulated Alipay remembers, behind plain methods with the time passed in. In memory, and gone with the
//! process.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};
use tracing::debug;

use super::{
    charset::Charset,
    coupon::{Coupon, Split},
    ids::{self, Ids},
    money::{FeeRate, Fen},
    order::{Buyer, Cancelled, Order, OrderSpec, PayerError, RefundSpec, Refunded, TradeState, TradeStatus},
    refusal::Business,
    sign::AppPublicKey,
    statement::{self, Period, Statement},
};
use crate::{
    control::{MovementKind, StatementVariant},
    core::{Books, Event, Movement, Notification},
};

/// A statement's download link lives 30 seconds (Alipay open platform: `bill_download_url`).
const LINK_LIFE: SignedDuration = SignedDuration::from_secs(30);

/// A merchant's app.
#[derive(Clone)]
#[expect(clippy::struct_field_names, reason = "app_id is the protocol's word")]
pub(crate) struct App {
    pub(crate) app_id: String,
    pub(crate) seller_id: String,
    pub(crate) public_key: AppPublicKey,
    pub(crate) fee_rate: FeeRate,
    /// The character set of its notifications, whatever its calls come in.
    pub(crate) notify_charset: Option<Charset>,
    /// Whether it is notified of trades that close without money.
    pub(crate) notify_closed: bool,
}

/// What an app registers with; what is missing is generated or kept.
pub(crate) struct Registration {
    pub(crate) app_id: Option<String>,
    pub(crate) seller_id: Option<String>,
    pub(crate) public_key: AppPublicKey,
    pub(crate) fee_rate: Option<FeeRate>,
    pub(crate) notify_charset: Option<Charset>,
    pub(crate) notify_closed: Option<bool>,
}

/// What happens by itself later.
enum Planned {
    Pay { position: usize, buyer: Buyer, coupon: Option<Coupon> },
    Decline { position: usize, buyer: Buyer },
    Expire { position: usize },
}

/// An app cannot move to another seller: its orders belong to the first.
#[derive(Debug, thiserror::Error)]
#[error("the app belongs to another seller")]
pub(crate) struct OtherSeller;

/// Everything simulated Alipay remembers.
pub(super) struct State {
    apps: BTreeMap<String, App>,
    orders: Vec<Order>,
    /// By seller and merchant's number: a number is unique per seller.
    by_number: HashMap<(String, String), usize>,
    by_trade_no: HashMap<String, usize>,
    by_qr_code: HashMap<String, usize>,
    statements: HashMap<String, (Timestamp, Statement)>,
    /// By time and the order in which it was planned.
    planned: BTreeMap<(Timestamp, u64), Planned>,
    plans: u64,
    ids: Ids,
    default_fee_rate: FeeRate,
}

impl State {
    pub(crate) fn new(default_fee_rate: FeeRate) -> Self {
        Self {
            apps: BTreeMap::new(),
            orders: Vec::new(),
            by_number: HashMap::new(),
            by_trade_no: HashMap::new(),
            by_qr_code: HashMap::new(),
            statements: HashMap::new(),
            planned: BTreeMap::new(),
            plans: 0,
            ids: Ids::new(),
            default_fee_rate,
        }
    }

    // === apps ===

    /// Registers an app. An app that exists keeps its seller, and what else is not given again.
    pub(crate) fn register(&mut self, registration: Registration) -> Result<App, OtherSeller> {
        let Registration { app_id, seller_id, public_key, fee_rate, notify_charset, notify_closed } =
            registration;
        let app_id = app_id.unwrap_or_else(|| self.ids.app_id());
        let known = self.apps.get(&app_id).cloned();
        if let (Some(known), Some(wanted)) = (&known, &seller_id)
            && known.seller_id != *wanted
        {
            return Err(OtherSeller);
        }
        let app = match known {
            Some(known) => App {
                public_key,
                fee_rate: fee_rate.unwrap_or(known.fee_rate),
                notify_charset: notify_charset.or(known.notify_charset),
                notify_closed: notify_closed.unwrap_or(known.notify_closed),
                ..known
            },
            None => App {
                app_id: app_id.clone(),
                seller_id: seller_id.unwrap_or_else(|| self.ids.seller_id()),
                public_key,
                fee_rate: fee_rate.unwrap_or(self.default_fee_rate),
                notify_charset,
                notify_closed: notify_closed.unwrap_or(false),
            },
        };
        self.apps.insert(app_id, app.clone());
        Ok(app)
    }

    /// Takes back an app that was registered in an earlier run.
    pub(crate) fn restore(&mut self, app: App) {
        self.apps.insert(app.app_id.clone(), app);
    }

    pub(crate) fn app(&self, app_id: &str) -> Option<&App> {
        self.apps.get(app_id)
    }

    pub(crate) fn apps(&self) -> impl Iterator<Item = &App> {
        self.apps.values()
    }

    // === finding orders ===

    pub(crate) fn order(&self, position: usize) -> &Order {
        &self.orders[position]
    }

    pub(crate) fn orders(&self) -> &[Order] {
        &self.orders
    }

    pub(crate) fn find_by_number(&self, seller_id: &str, out_trade_no: &str) -> Option<usize> {
        self.by_number.get(&(seller_id.to_owned(), out_trade_no.to_owned())).copied()
    }

    pub(crate) fn find_by_qr_code(&self, qr_code: &str) -> Option<usize> {
        self.by_qr_code.get(qr_code).copied()
    }

    /// The seller's order by `trade_no`, which wins, or `out_trade_no`.
    pub(crate) fn find(
        &self,
        seller_id: &str,
        trade_no: Option<&str>,
        out_trade_no: Option<&str>,
    ) -> Result<usize, Business> {
        let position = match (trade_no, out_trade_no) {
            (Some(trade_no), _) => self.by_trade_no.get(trade_no).copied(),
            (None, Some(number)) => self.find_by_number(seller_id, number),
            (None, None) => None,
        };
        position
            .filter(|position| self.orders[*position].seller_id == seller_id)
            .ok_or(Business::TradeNotExist)
    }

    // === the merchant's calls ===

    /// Makes an order with its QR code, or gives the one it has.
    pub(crate) fn precreate(
        &mut self,
        app: &App,
        spec: OrderSpec,
        now: Timestamp,
    ) -> Result<usize, Business> {
        if let Some(position) = self.find_by_number(&app.seller_id, &spec.out_trade_no) {
            if let Some(qr_code) = self.orders[position].precreate_again(spec, ids::qr_code, now)? {
                self.by_qr_code.insert(qr_code, position);
            }
            return Ok(position);
        }
        let position = self.orders.len();
        let number = spec.out_trade_no.clone();
        let order = Order::precreate(&app.app_id, &app.seller_id, spec, ids::qr_code(), now);
        self.by_number.insert((app.seller_id.clone(), number), position);
        self.by_qr_code.insert(order.qr_code.clone(), position);
        self.orders.push(order);
        Ok(position)
    }

    pub(crate) fn close(
        &mut self,
        books: &mut Books,
        position: usize,
        now: Timestamp,
    ) -> Result<(), Business> {
        self.orders[position].close(now)?;
        self.notify_closed(books, position, now);
        Ok(())
    }

    pub(crate) fn cancel(
        &mut self,
        books: &mut Books,
        position: usize,
        now: Timestamp,
    ) -> Result<Cancelled, Business> {
        let was_waiting = self.is_waiting(position, now);
        let cancelled = self.orders[position].cancel(now)?;
        if was_waiting {
            self.notify_closed(books, position, now);
        }
        if let Cancelled::Refunded { new: Some(refund) } = cancelled {
            self.after_refund(books, position, refund, now);
        }
        Ok(cancelled)
    }

    pub(crate) fn refund(
        &mut self,
        books: &mut Books,
        position: usize,
        refund: &RefundSpec<'_>,
        now: Timestamp,
    ) -> Result<Refunded, Business> {
        let refunded = self.orders[position].refund(refund, now)?;
        if let Refunded::Executed(refund) = refunded {
            self.after_refund(books, position, refund, now);
        }
        Ok(refunded)
    }

    // === the payer ===

    pub(crate) fn scan(&mut self, position: usize, buyer: &Buyer, now: Timestamp) -> Result<(), PayerError> {
        let ids = &mut self.ids;
        let order = &mut self.orders[position];
        if order.scan(buyer, || ids.trade_no(now), now)? {
            let trade = order.trade().expect("a scanned order has a trade");
            self.by_trade_no.insert(trade.trade_no.clone(), position);
            if let TradeState::Waiting { expires_at } = trade.state {
                self.plan(expires_at, Planned::Expire { position });
            }
        }
        Ok(())
    }

    /// Scans if nobody did; the channel decides at `at` whether it is paid.
    pub(crate) fn pay_at(
        &mut self,
        position: usize,
        buyer: &Buyer,
        coupon: Option<Coupon>,
        at: Timestamp,
        now: Timestamp,
    ) -> Result<(), PayerError> {
        self.scan(position, buyer, now)?;
        self.orders[position].can_be_paid(now)?;
        self.plan(at, Planned::Pay { position, buyer: buyer.clone(), coupon });
        Ok(())
    }

    /// Scans if nobody did; at `at` it turns out that nothing will be paid.
    pub(crate) fn decline_at(
        &mut self,
        position: usize,
        buyer: &Buyer,
        at: Timestamp,
        now: Timestamp,
    ) -> Result<(), PayerError> {
        self.scan(position, buyer, now)?;
        self.orders[position].can_be_paid(now)?;
        self.plan(at, Planned::Decline { position, buyer: buyer.clone() });
        Ok(())
    }

    /// Scans if nobody did, and pays. The notification is planned, not sent.
    pub(crate) fn pay(
        &mut self,
        books: &mut Books,
        position: usize,
        buyer: &Buyer,
        coupon: Option<Coupon>,
        now: Timestamp,
    ) -> Result<(), PayerError> {
        self.scan(position, buyer, now)?;
        let order = &mut self.orders[position];
        order.can_be_paid(now)?;
        if coupon.as_ref().is_some_and(|coupon| coupon.amount >= order.spec.total) {
            return Err(PayerError::CouponTooLarge);
        }
        let fee_rate = self.apps.get(&order.app_id).map_or(self.default_fee_rate, |app| app.fee_rate);
        // What the seller gives away itself costs it no fee.
        let received = Split::whole(order.spec.total, coupon.as_ref()).received();
        let fee = fee_rate.of(received);
        let movements = [
            movement(order, MovementKind::Payment, received, None),
            movement(order, MovementKind::Fee, -fee, None),
        ];
        books.movements.book(&movements, now).map_err(|_| PayerError::TooMuch)?;
        order.pay(fee, coupon, now)?;
        self.notify(books, position, Event::Paid, now);
        Ok(())
    }

    /// Scans if nobody did, and declines.
    pub(crate) fn decline(
        &mut self,
        books: &mut Books,
        position: usize,
        buyer: &Buyer,
        now: Timestamp,
    ) -> Result<(), PayerError> {
        self.scan(position, buyer, now)?;
        self.orders[position].decline(now)?;
        self.notify_closed(books, position, now);
        Ok(())
    }

    // === what happens by itself ===

    fn plan(&mut self, at: Timestamp, planned: Planned) {
        self.plans += 1;
        self.planned.insert((at, self.plans), planned);
    }

    /// Does what has fallen due, each at its time, and says when something falls due next.
    pub(crate) fn advance(&mut self, books: &mut Books, now: Timestamp) -> Option<Timestamp> {
        loop {
            let (at, _) = *self.planned.keys().next()?;
            if at > now {
                return Some(at);
            }
            let (_, planned) = self.planned.pop_first()?;
            // What ended the trade before has won; then there is nothing left to do.
            let (position, done) = match planned {
                Planned::Pay { position, buyer, coupon } => {
                    (position, self.pay(books, position, &buyer, coupon, at))
                }
                Planned::Decline { position, buyer } => (position, self.decline(books, position, &buyer, at)),
                Planned::Expire { position } => {
                    if self.orders[position].expire(at) {
                        self.notify_closed(books, position, at);
                    }
                    (position, Ok(()))
                }
            };
            if let Err(error) = done {
                debug!(out_trade_no = self.orders[position].spec.out_trade_no, %error, "too late");
            }
        }
    }

    fn is_waiting(&self, position: usize, now: Timestamp) -> bool {
        let order = &self.orders[position];
        order.trade().is_some_and(|trade| trade.status(order.spec.total, now) == TradeStatus::WaitBuyerPay)
    }

    // === what follows ===

    fn after_refund(&mut self, books: &mut Books, position: usize, refund: usize, now: Timestamp) {
        let order = &self.orders[position];
        let done = match order.trade().map(|trade| &trade.state) {
            Some(TradeState::Paid(paid)) => &paid.refunds[refund],
            Some(TradeState::Waiting { .. } | TradeState::Closed { .. }) | None => {
                unreachable!("only a paid trade is refunded")
            }
        };
        let number = Some(done.out_request_no.as_str());
        let movements = [
            movement(order, MovementKind::Refund, -done.split.received(), number),
            movement(order, MovementKind::FeeReturn, done.fee_returned, number),
        ];
        books
            .movements
            .book(&movements, now)
            .expect("a refund takes back what the payment brought, which is in the balance");
        self.notify(books, position, Event::Refunded(refund), now);
    }

    /// Plans the notification of a trade closed without money, if its app wants it. Which products notify of that is the
    /// merchant's contract (Alipay open platform: triggers of asynchronous notifications).
    fn notify_closed(&mut self, books: &mut Books, position: usize, now: Timestamp) {
        if self.apps.get(&self.orders[position].app_id).is_some_and(|app| app.notify_closed) {
            self.notify(books, position, Event::Closed, now);
        }
    }

    /// Plans the notification, if the order has somewhere to send it.
    fn notify(&mut self, books: &mut Books, position: usize, event: Event, now: Timestamp) {
        let order = &mut self.orders[position];
        let Some(url) = order.spec.notify_url.clone() else { return };
        let fault = books.faults.take_notification(&order.app_id, event.kind());
        let notify_id = self.ids.notify_id(now);
        let notification =
            Notification { notify_id, account: order.app_id.clone(), trade: position, event, url };
        order.notifications.push(books.deliveries.add(notification, fault, now));
    }

    /// The character set in which the app is notified about an order.
    pub(crate) fn notify_charset(&self, order: &Order) -> Charset {
        self.apps.get(&order.app_id).and_then(|app| app.notify_charset).unwrap_or(order.spec.charset)
    }

    /// A number for a refund made in Alipay's console.
    pub(crate) fn console_refund_no(&mut self, now: Timestamp) -> String {
        self.ids.trade_no(now)
    }

    // === statements ===

    /// Makes the seller's statement as of now, with its faults, and returns the token that opens it for 30 seconds.
    pub(crate) fn make_statement(
        &mut self,
        seller_id: &str,
        period: Period,
        range: (Timestamp, Timestamp),
        variants: Vec<StatementVariant>,
        now: Timestamp,
    ) -> String {
        let orders = self.orders.iter().filter(|order| order.seller_id == seller_id);
        let statement = statement::make(seller_id, orders, period, range, variants, now);
        self.statements.retain(|_, (expires_at, _)| now < *expires_at);
        let token = ids::download_token();
        self.statements.insert(token.clone(), (now + LINK_LIFE, statement));
        token
    }

    /// The statement behind a token, while its link lives.
    pub(crate) fn statement(&self, token: &str, now: Timestamp) -> Option<&Statement> {
        self.statements.get(token).filter(|(expires_at, _)| now < *expires_at).map(|(_, statement)| statement)
    }
}

/// A movement of the order's seller.
fn movement(order: &Order, kind: MovementKind, amount: Fen, refund_no: Option<&str>) -> Movement {
    Movement {
        merchant: order.seller_id.clone(),
        kind,
        currency: "CNY",
        amount_minor: amount.0,
        trade_no: order.trade().map(|trade| trade.trade_no.clone()).unwrap_or_default(),
        out_trade_no: order.spec.out_trade_no.clone(),
        refund_no: refund_no.map(str::to_owned),
    }
}

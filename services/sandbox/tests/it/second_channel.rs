//! A second channel, in one file and registered by one line: the sandbox's half of the proof that a channel is its folder.
//! Nothing in `core`, `control` or `payer` knows it. It is no real channel's protocol, only as small as one can be: JSON,
//! amounts in yen, a notification of one line.

use std::sync::{Arc, Mutex, MutexGuard};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tael_sandbox::{
    App, Config, ControlClient,
    control::{
        Action, AddFault, ConsoleRefund, DeliveryState, Fault, MovementKind, PayerAction, PayerMove,
        TradeFilter, TradePage, TradeRef, TradeStatus, TradeView,
    },
    core::{
        CallFault, ChannelFactory, Context, Event, Movement, Notification, Post, Refused, Simulator,
        drop_connection,
    },
};

use crate::merchant::endpoint;

const RETRIES: [SignedDuration; 1] = [SignedDuration::from_secs(1)];

struct Piggy {
    context: Context,
    charges: Mutex<Vec<Charge>>,
}

#[derive(Clone)]
struct Charge {
    order: NewCharge,
    at: Timestamp,
    status: TradeStatus,
    notifications: Vec<usize>,
}

/// `POST /piggy/charges`
#[derive(Clone, Serialize, Deserialize)]
struct NewCharge {
    shop: String,
    number: String,
    yen: i64,
    notify_url: String,
}

/// The line that registers it.
fn piggy() -> ChannelFactory {
    Box::new(|context| Ok(Arc::new(Piggy::new(context))))
}

impl Piggy {
    fn new(context: Context) -> Self {
        context.books().deliveries.set_schedule(&RETRIES);
        Self { context, charges: Mutex::new(Vec::new()) }
    }

    fn charges(&self) -> MutexGuard<'_, Vec<Charge>> {
        self.charges.lock().unwrap()
    }

    fn view(&self, charge: &Charge) -> TradeView {
        let books = self.context.books();
        TradeView {
            account: charge.order.shop.clone(),
            merchant: charge.order.shop.clone(),
            out_trade_no: charge.order.number.clone(),
            trade_no: Some(format!("pig-{}", charge.order.number)),
            action: Action::Redirect { url: self.context.payer_url("piggy", &charge.order.number) },
            subject: "a thing".to_owned(),
            currency: "JPY".to_owned(),
            total_minor: charge.order.yen,
            status: charge.status,
            payer: None,
            created_at: charge.at,
            paid_at: None,
            closed_at: None,
            received_minor: 0,
            coupon: None,
            fee_minor: 0,
            refunded_minor: 0,
            refunds: Vec::new(),
            notifications: charge.notifications.iter().map(|at| books.deliveries.view(*at)).collect(),
        }
    }
}

fn position(charges: &[Charge], trade: &TradeRef) -> Result<usize, Refused> {
    let number = match trade {
        TradeRef::Code { code } => code.rsplit('/').next().unwrap(),
        TradeRef::Number { out_trade_no, .. } => out_trade_no,
    };
    charges.iter().position(|charge| charge.order.number == number).ok_or(Refused::Unknown("trade"))
}

async fn charge(State(piggy): State<Arc<Piggy>>, Json(order): Json<NewCharge>) -> axum::response::Response {
    use axum::response::IntoResponse as _;
    let fault = piggy.context.books().faults.take_call(&order.shop, "charge");
    if fault == Some(CallFault::DropRequest) {
        return drop_connection();
    }
    let at = piggy.context.now();
    let charge = Charge { order, at, status: TradeStatus::Offered, notifications: Vec::new() };
    let url = piggy.view(&charge).action.url().to_owned();
    piggy.charges().push(charge);
    Json(json!({ "pay_at": url })).into_response()
}

async fn show(
    State(piggy): State<Arc<Piggy>>,
    Path(number): Path<String>,
) -> Result<Json<Value>, StatusCode> {
    let charges = piggy.charges();
    let found = charges.iter().find(|charge| charge.order.number == number).ok_or(StatusCode::NOT_FOUND)?;
    Ok(Json(json!({ "paid": found.status == TradeStatus::Paid })))
}

impl Simulator for Piggy {
    fn channel(&self) -> &'static str {
        "piggy"
    }

    fn title(&self) -> &'static str {
        "Piggy Bank"
    }

    fn context(&self) -> &Context {
        &self.context
    }

    fn wire(self: Arc<Self>) -> Router {
        Router::new()
            .route("/piggy/charges", post(charge))
            .route("/piggy/charges/{number}", get(show))
            .with_state(self)
    }

    fn register(&self, account: Value) -> Result<Value, Refused> {
        Ok(json!({ "shop": account["shop"] }))
    }

    fn accounts(&self) -> Vec<Value> {
        Vec::new()
    }

    fn act(&self, payer_move: PayerMove, action: &PayerAction) -> Result<TradeView, Refused> {
        let now = self.context.now();
        let mut charges = self.charges();
        let position = position(&charges, &action.trade)?;
        let charge = &mut charges[position];
        match (payer_move, charge.status) {
            (PayerMove::Scan, TradeStatus::Offered) => charge.status = TradeStatus::Waiting,
            (PayerMove::Decline, TradeStatus::Offered | TradeStatus::Waiting) => {
                charge.status = TradeStatus::Closed;
            }
            (PayerMove::Pay, TradeStatus::Offered | TradeStatus::Waiting) => {
                charge.status = TradeStatus::Paid;
                let mut books = self.context.books();
                let movement = Movement {
                    merchant: charge.order.shop.clone(),
                    kind: MovementKind::Payment,
                    currency: "JPY",
                    amount_minor: charge.order.yen,
                    trade_no: format!("pig-{}", charge.order.number),
                    out_trade_no: charge.order.number.clone(),
                    refund_no: None,
                };
                books
                    .movements
                    .book(&[movement], now)
                    .map_err(|error| Refused::Conflict(error.to_string()))?;
                let fault = books.faults.take_notification(&charge.order.shop, Event::Paid.kind());
                let notification = Notification {
                    notify_id: format!("oink-{}", charge.order.number),
                    account: charge.order.shop.clone(),
                    trade: position,
                    event: Event::Paid,
                    url: charge.order.notify_url.clone(),
                };
                charge.notifications.push(books.deliveries.add(notification, fault, now));
                self.context.notify_dispatcher();
            }
            _ => return Err(Refused::Conflict("it is over".to_owned())),
        }
        Ok(self.view(charge))
    }

    fn refund(&self, _: &ConsoleRefund) -> Result<TradeView, Refused> {
        Err(Refused::Conflict("a pig gives nothing back".to_owned()))
    }

    fn trade(&self, trade: &TradeRef) -> Result<TradeView, Refused> {
        let charges = self.charges();
        Ok(self.view(&charges[position(&charges, trade)?]))
    }

    fn trade_at(&self, position: usize) -> Result<TradeView, Refused> {
        Ok(self.view(self.charges().get(position).ok_or(Refused::Unknown("trade"))?))
    }

    fn trades(&self, _: &TradeFilter, limit: usize) -> TradePage {
        TradePage {
            trades: self.charges().iter().take(limit).map(|charge| self.view(charge)).collect(),
            next: None,
        }
    }

    fn check_fault(&self, _: &AddFault) -> Result<(), String> {
        Ok(())
    }

    fn compose(&self, notification: &Notification, _: Timestamp) -> Post {
        let number = &self.charges()[notification.trade].order.number;
        Post {
            headers: vec![("content-type", "text/plain".to_owned())],
            body: format!("paid={number}").into_bytes(),
        }
    }

    fn acknowledges(&self, status: u16, _: &str) -> bool {
        status == 204
    }
}

#[tokio::test]
async fn a_second_channel_is_one_folder_and_one_line() {
    let sandbox = App::build_with(Config::default(), vec![piggy()]).await.unwrap();
    let url = sandbox.url().to_owned();
    let server = tokio::spawn(sandbox.run(std::future::pending()));
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let channels: Vec<String> =
        http.get(format!("{url}/control/channels")).send().await.unwrap().json().await.unwrap();
    assert_eq!(channels, ["alipay", "piggy"]);

    let alipay = ControlClient::new(&url).unwrap();
    let control = alipay.on("piggy");
    let shop: Value = control.register(&json!({ "shop": "s1" })).await.unwrap();
    assert_eq!(shop["shop"], "s1");

    // Its calls have the faults of all channels.
    let mut receiver = endpoint(&[(204, "")]).await;
    let order = |number: &str| NewCharge {
        shop: "s1".to_owned(),
        number: number.to_owned(),
        yen: 1_200,
        notify_url: receiver.url.clone(),
    };
    control
        .add_fault(&AddFault::new(Fault::DropRequest).account("s1").operation("charge").times(1))
        .await
        .unwrap();
    let charges = format!("{url}/piggy/charges");
    assert!(http.post(&charges).json(&order("a")).send().await.is_err());
    let orders = [order("a"), order("b")];
    for order in &orders {
        assert_eq!(http.post(&charges).json(order).send().await.unwrap().status(), 200);
    }

    // A person pays on its page, and it notifies.
    let page_url = control.trade("s1", "a").await.unwrap().action.url().to_owned();
    let page = http.get(&page_url).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("Simulated Piggy Bank") && page.contains("1200 JPY"), "{page}");
    let paid = http.post(&page_url).form(&[("action", "pay")]).send().await.unwrap();
    assert_eq!(paid.status(), 200);
    assert_eq!(receiver.next_raw().await, "paid=a");
    let acknowledged = async {
        while control.trade("s1", "a").await.unwrap().notifications[0].state != DeliveryState::Acknowledged {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), acknowledged).await.unwrap();
    let shown: Value = http.get(format!("{charges}/a")).send().await.unwrap().json().await.unwrap();
    assert_eq!(shown, json!({ "paid": true }));

    // Its notifications get lost, and are sent again on demand.
    control.add_fault(&AddFault::new(Fault::LoseNotification { attempts: None }).times(1)).await.unwrap();
    let lost = control.pay(TradeRef::number("s1", "b")).await.unwrap();
    assert_eq!(lost.notifications[0].state, DeliveryState::Lost);
    control.resend("oink-b").await.unwrap();
    assert_eq!(receiver.next_raw().await, "paid=b");

    // Its books are its own.
    let movements = control.movements(Some("s1")).await.unwrap();
    let booked: Vec<_> = movements.iter().map(|m| (m.currency.as_str(), m.amount_minor)).collect();
    assert_eq!(booked, [("JPY", 1_200), ("JPY", 1_200)]);
    assert!(alipay.movements(None).await.unwrap().is_empty());
    assert!(alipay.faults().await.unwrap().is_empty());
    server.abort();
}

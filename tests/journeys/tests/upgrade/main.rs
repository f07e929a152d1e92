//! A database of release 0.1 is carried over: today's build migrates it, opens what it sealed, ends what it left under
//! way, and the books agree.
//!
//! `release/` holds the rows of the six databases as that build left them, stopped in the middle of its work: with
//! orders unpaid, pending and in doubt, money held, a refund that waits for a person, deliveries that are due. The keys
//! beside them are theirs, made for this test.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::{Ipv4Addr, SocketAddr};

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use tael::audit;
use tael::clients::{Clients, keyed};
use tael::platform::{Platform, Settings};
use tael::shop::Shop;
use tael_journeys::{Seller, settings};
use tael_proto::audit::v1::AuditMoneyRequest;
use tael_proto::merchant::v1::{AuthenticateApiKeyRequest, GetMerchantRequest, MerchantState};
use tael_proto::order::v1::{
    GetOrderRequest, LatePaymentAction, OrderState, RedeemVoucherRequest, RefundProgress,
    ResolveUnappliedPaymentRequest, UnappliedPaymentState,
};
use tael_proto::payment::v1::{GetChannelAccountRequest, GetPaymentRequest, PaymentState};
use tael_proto::refund::v1::{GetRefundRequest, RefundState, RejectRefundRequest};
use tael_proto::settlement::v1::{CloseBatchRequest, ListTransfersRequest};
use tael_runtime::{Schema, Service};
use tael_sandbox::ControlClient;
use tael_sandbox::alipay::{self, AppView, RegisterApp};
use tael_testkit::eventually;
use tokio_util::sync::CancellationToken;

const PREFIX: &str = "tael_upgrade";

const MERCHANT: &str = "mer_01m8qtcj49e1bbg8p5by9r307n";
const ACCOUNT: &str = "cha_01m8qtcj4kefhttj98bx03mwpp";
const API_KEY: &str = "sk_BxC_gOD8iacYSBvR6yEkYANcYujNoCqE_oRayVHfEyw";

/// Two packets of tea of three and a voucher, redeemed; one packet was refunded.
const REFUNDED_LINE: &str = "ord_01m8qtcj5de1mv6ykxc299ve4m";
const REFUNDED: &str = "ord_01m8qtcjbaerqrgs1vbjkk4m3f";
/// With a promotion, shipping, a contact and a voucher of two uses.
const PROMOTED: (&str, &str) = ("ord_01m8qtcjgbebr8m4ja20fedp8a", "B5F8-5C2Z-13F8-SVQT");
/// Cancelled and paid all the same; the money was given back.
const GIVEN_BACK: &str = "ord_01m8qtcjpaetysn40v0009ejps";
/// Cancelled and paid all the same; nobody has decided yet.
const HELD: &str = "ord_01m8qtck2ze3abp9jr5w4d0vxs";
const WAITING_REFUND: (&str, &str) = ("ord_01m8qtck5we7sas0ve8fvgzdbz", "ref_01m8qtck88ev7bpk6vr9cqzx8q");
const PAID: (&str, &str, &str) =
    ("ord_01m8qtck8hexhtfgesxs4a74yp", "pay_01m8qtck8vehy8se4k0569p85p", "BB78-BH2M-1CGC-7BXD");
const CANCELLED: &str = "ord_01m8qtckajeq8arqtxxcr9f900";
const PENDING: (&str, &str) = ("ord_01m8qtckc5endrdsa028x8w6ze", "pay_01m8qtckcdetha3d2cfhv2v893");
const UNPAID: &str = "ord_01m8qtckcpent8n5vh1xfe2etv";
const IN_DOUBT: (&str, &str) = ("ord_01m8qtckdaebn8frcwyf0wv227", "pay_01m8qtckdnew3t8tgkfweh6qn5");

/// The rows of one service's database. `sandbox` is where its channel account finds the channel.
fn rows<S: Service>(sandbox: &str) -> String {
    let rows = match S::NAME {
        "merchant" => include_str!("release/merchant.sql"),
        "notification" => include_str!("release/notification.sql"),
        "order" => include_str!("release/order.sql"),
        "payment" => include_str!("release/payment.sql"),
        "refund" => include_str!("release/refund.sql"),
        "settlement" => include_str!("release/settlement.sql"),
        other => panic!("release 0.1 had no service {other}"),
    };
    rows.replace("http://sandbox.invalid", sandbox)
}

/// Makes the database of a service as release 0.1 left it, whose own schema was at this level.
async fn leave<S: Service>(settings: &Settings, level: i64, sandbox: &str) {
    let mut url: url::Url = settings.database_url.expose_secret().parse().unwrap();
    let mut server = PgConnection::connect(url.as_str()).await.unwrap();
    let name = format!("{PREFIX}_{}", S::NAME);
    let drop = format!("drop database if exists {name} with (force)");
    sqlx::query(AssertSqlSafe(drop)).execute(&mut server).await.unwrap();
    url.set_path(&name);
    tael_postgres::create_database(&SecretString::from(url.as_str())).await.unwrap();
    let pool = PgPool::connect(url.as_str()).await.unwrap();
    let [log, own] = S::SCHEMAS else { panic!("a log and the service's own") };
    migrate_to(&pool, log, 2).await;
    migrate_to(&pool, own, level).await;
    // The rows come as they were at last, which the triggers that watch their becoming would refuse.
    let sql = format!("begin; set local session_replication_role = replica; {}; commit", rows::<S>(sandbox));
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&pool).await.unwrap();
    pool.close().await;
}

async fn migrate_to(pool: &PgPool, schema: &Schema, level: i64) {
    let known = schema.migrator.iter().filter(|migration| migration.version <= level).cloned().collect();
    let mut build = Migrator::with_migrations(known);
    build.dangerous_set_table_name(schema.migrator.table_name.clone());
    tael_postgres::migrate(pool, &build).await.unwrap();
}

/// The channel, with the keys that the account knows and without the trades of before.
async fn sandbox() -> (String, ControlClient, AppView) {
    let app = tael_sandbox::App::build(tael_sandbox::Config {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        alipay: alipay::Config {
            private_key_pem: Some(include_str!("release/sandbox-key.pem").to_owned()),
            ..alipay::Config::default()
        },
        ..tael_sandbox::Config::default()
    })
    .await
    .unwrap();
    let address = format!("http://{}", app.addr());
    tokio::spawn(app.run(CancellationToken::new().cancelled_owned()));
    let payer = ControlClient::new(&address).unwrap();
    let register = RegisterApp {
        app_id: Some("2021052274200001".to_owned()),
        seller_id: Some("2088052274200002".to_owned()),
        fee_rate: Some("0.0038".to_owned()),
        ..RegisterApp::new(include_str!("release/app-public-key.b64").to_owned())
    };
    let app: AppView = payer.register(&register).await.unwrap();
    (address, payer, app)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_the_release_before_is_carried_over() {
    let (address, payer, app) = sandbox().await;
    let settings = Settings {
        fresh: false,
        sealing_keys: include_str!("release/sealing.key").trim().into(),
        ..settings(PREFIX)
    };
    leave::<tael_merchant::App>(&settings, 1, &address).await;
    leave::<tael_notification::App>(&settings, 1, &address).await;
    leave::<tael_order::App>(&settings, 2, &address).await;
    leave::<tael_payment::App>(&settings, 2, &address).await;
    leave::<tael_refund::App>(&settings, 1, &address).await;
    leave::<tael_settlement::App>(&settings, 4, &address).await;

    let platform = Platform::start(settings).await.unwrap();
    let mut clients = Clients { payer, ..Clients::connect(&platform.addresses).unwrap() };
    let get = GetMerchantRequest { merchant_id: MERCHANT.to_owned() };
    let merchant = clients.merchant.get_merchant(get).await.unwrap().into_inner().merchant.unwrap();
    assert_eq!(merchant.state(), MerchantState::Approved);
    let get =
        GetChannelAccountRequest { merchant_id: MERCHANT.to_owned(), channel_account_id: ACCOUNT.to_owned() };
    let account = clients.channel_account.get_channel_account(get).await.unwrap().into_inner();
    let channel_account = account.channel_account.unwrap();
    let authenticate = AuthenticateApiKeyRequest { secret: API_KEY.to_owned() };
    clients.api_key.authenticate_api_key(authenticate).await.unwrap();
    let mut seller = Seller { clients, shop: Shop { merchant, channel_account, app } };

    what_was_sold_is_as_it_was(&mut seller).await;
    what_was_under_way_comes_to_its_end(&mut seller).await;
    // The old account takes money as before, and the old postings go into the next batch with the new ones.
    let (_, new) = seller.sell().await;
    for payment_id in [PAID.1, &new.payment_id] {
        posted(&seller, payment_id).await;
    }
    let now = tael_clock::Clock::system().now();
    let close = CloseBatchRequest {
        merchant_id: MERCHANT.to_owned(),
        currency: "CNY".to_owned(),
        cut_off_time: Some(tael_grpc::convert::timestamp(now)),
    };
    let batch = seller.clients.batches.close_batch(keyed(close)).await.unwrap().into_inner().batch.unwrap();
    // Of before: the order whose refund waited, the paid one, the one that took its held money, and what was given back.
    assert_eq!((batch.payment_count, batch.refund_count), (5, 1));

    let request = AuditMoneyRequest {
        // The sandbox knows no trade of before: a day without any is compared.
        first_statement_date: "2026-11-01".to_owned(),
        last_statement_date: "2026-11-01".to_owned(),
        ..AuditMoneyRequest::default()
    };
    let mut found = Vec::new();
    audit::ask(seller.clients.audit.clone(), request, |d| found.push(audit::in_words(&d))).await.unwrap();
    assert_eq!(found, Vec::<String>::new());
    platform.stop().await.unwrap();
}

async fn what_was_sold_is_as_it_was(seller: &mut Seller) {
    let order = seller.order_when(REFUNDED_LINE, "to be there", |_| true).await;
    assert_eq!((order.state(), order.refund_progress()), (OrderState::Paid, RefundProgress::Partial));
    assert_eq!(order.vouchers[0].redeemed, 1);
    let order = seller.order_when(REFUNDED, "to be there", |_| true).await;
    assert_eq!((order.state(), order.refund_progress()), (OrderState::Paid, RefundProgress::Full));
    let order = seller.order_when(GIVEN_BACK, "to be there", |_| true).await;
    assert_eq!(order.unapplied_payments[0].state(), UnappliedPaymentState::Refunded);
    assert_eq!(seller.order_when(CANCELLED, "to be there", |_| true).await.state(), OrderState::Cancelled);

    let (order_id, code) = PROMOTED;
    let order = seller.order_when(order_id, "to be there", |_| true).await;
    let get = GetOrderRequest {
        merchant_id: MERCHANT.to_owned(),
        order_id: order_id.to_owned(),
        with_contact: true,
    };
    let told = seller.clients.order.get_order(get).await.unwrap().into_inner().order.unwrap();
    assert_eq!(told.contact.unwrap().name, "王小明");
    assert_eq!(order.merchant_reference, "WEB-1");
    assert_eq!(order.vouchers[0].code, code);
    for (code, uses) in [(code, 2), (PAID.2, 1)] {
        for left in (0..uses).rev() {
            let redeem = RedeemVoucherRequest {
                merchant_id: MERCHANT.to_owned(),
                code: code.to_owned(),
                count: 1,
                terminal: "till-2".to_owned(),
                operator: "Wu".to_owned(),
            };
            let redeemed = seller.clients.voucher.redeem_voucher(keyed(redeem)).await.unwrap().into_inner();
            let voucher = redeemed.voucher.unwrap();
            assert_eq!(voucher.uses - voucher.redeemed, left);
        }
    }
}

async fn what_was_under_way_comes_to_its_end(seller: &mut Seller) {
    let (order_id, refund_id) = WAITING_REFUND;
    let get = GetRefundRequest { merchant_id: MERCHANT.to_owned(), refund_id: refund_id.to_owned() };
    let refund = seller.clients.refund.get_refund(get).await.unwrap().into_inner().refund.unwrap();
    assert_eq!((refund.state(), refund.order_id.as_str()), (RefundState::PendingApproval, order_id));
    let reject = RejectRefundRequest {
        merchant_id: MERCHANT.to_owned(),
        refund_id: refund_id.to_owned(),
        operator: "ann".to_owned(),
    };
    seller.clients.refund.reject_refund(keyed(reject)).await.unwrap();

    let order = seller.order_when(HELD, "to hold the money", |o| !o.unapplied_payments.is_empty()).await;
    let resolve = ResolveUnappliedPaymentRequest {
        merchant_id: MERCHANT.to_owned(),
        order_id: HELD.to_owned(),
        payment_id: order.unapplied_payments[0].payment_id.clone(),
        action: LatePaymentAction::Accept.into(),
        operator: "ann".to_owned(),
    };
    seller.clients.unapplied_payment.resolve_unapplied_payment(keyed(resolve)).await.unwrap();
    let order = seller.order_when(HELD, "to be paid", |o| o.state() == OrderState::Paid).await;
    assert_eq!(order.vouchers.len(), 1);

    // Their half hour has passed: what the channel may still know of is closed there first.
    for order_id in [PENDING.0, IN_DOUBT.0, UNPAID] {
        seller.order_when(order_id, "to expire", |o| o.state() == OrderState::Expired).await;
    }
    for payment_id in [PENDING.1, IN_DOUBT.1] {
        seller.payment_when(payment_id, PaymentState::Closed).await;
    }
    let get = GetPaymentRequest { merchant_id: MERCHANT.to_owned(), payment_id: PAID.1.to_owned() };
    let payment = seller.clients.payment.get_payment(get).await.unwrap().into_inner().payment.unwrap();
    assert_eq!(payment.state(), PaymentState::Succeeded);
}

async fn posted(seller: &Seller, payment_id: &str) {
    eventually(&format!("payment {payment_id} to be posted"), || {
        let mut client = seller.clients.ledger.clone();
        let list = ListTransfersRequest {
            merchant_id: MERCHANT.to_owned(),
            payment_id: payment_id.to_owned(),
            ..ListTransfersRequest::default()
        };
        async move { client.list_transfers(list).await.unwrap().into_inner().transfers.pop() }
    })
    .await;
}

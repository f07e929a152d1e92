//! CreatePayment.

use futures::future::join_all;
use jiff::SignedDuration;
use tael_grpc::status::{bad_fields, reason};
use tael_ids::{MerchantId, OrderId};
use tael_proto::event::v1::payload::Kind;
use tael_proto::order::v1::OrderState;
use tael_proto::payment::v1::{AttemptState, CreatePaymentRequest, Payment, PaymentState};
use tael_sandbox::control::{Fault, TradeFilter, TradeStatus};
use tael_testkit::{new_key, no_redis_url, with_key};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::fixture::{Fixture, account_request, cny, create_account, kind, number, qr_code};

fn metadata(status: &Status, key: &str) -> String {
    status.get_details_error_info().unwrap().metadata[key].clone()
}

#[tokio::test]
async fn the_payer_gets_a_qr_code() {
    let fixture = Fixture::start().await;
    let order = fixture.order();
    let payment = fixture.try_create(&order).await.unwrap();
    assert_eq!((payment.state(), payment.amount.clone()), (PaymentState::Pending, cny(6_800)));
    assert_eq!((&payment.order_id, payment.expire_time), (&order.order_id, order.expire_time));
    assert_eq!((payment.refunded.clone(), payment.refund_reserved.clone()), (cny(0), cny(0)));
    let attempt = &payment.attempts[0];
    assert_eq!(
        (payment.attempts.len(), attempt.state(), attempt.in_doubt),
        (1, AttemptState::Pending, false)
    );
    assert_eq!(attempt.channel_account_id, fixture.account.channel_account_id);
    assert_eq!(attempt.routing_reason, "only account for QR code in CNY");
    let checkout_url = format!("{}checkout/{}", fixture.config.public_url, payment.payment_id);
    assert_eq!(payment.checkout_url, checkout_url);
    assert_eq!(fixture.get(&payment).await, payment);

    let trade = fixture.trade(&payment).await;
    assert_eq!((trade.total_minor, trade.subject.as_str()), (6_800, "龙井茶 100g +1"));
    assert_eq!(
        (Some(trade.action.url().to_owned()), trade.status),
        (qr_code(&payment), TradeStatus::Offered)
    );

    let events = fixture.events(1).await;
    let Kind::PaymentCreated(created) = kind(&events[0]) else { panic!("{events:?}") };
    assert_eq!((created.payment_id, created.amount), (payment.payment_id.clone(), cny(6_800)));
    assert_eq!((events.len(), &events[0].aggregate_id), (1, &payment.payment_id));
}

#[tokio::test]
async fn the_newest_of_several_accounts_is_chosen() {
    let fixture = Fixture::start().await;
    let request = account_request(&fixture.merchant_id.to_string(), &fixture.app);
    let newest = create_account(&fixture.channel_accounts, request).await.unwrap();
    let payment = fixture.create().await;
    assert_eq!(payment.attempts[0].channel_account_id, newest.channel_account_id);
    assert_eq!(payment.attempts[0].routing_reason, "newest of 2 accounts for QR code in CNY");
}

#[tokio::test]
async fn bad_fields_are_named() {
    let fixture = Fixture::start().await;
    let good = fixture.request(&fixture.order());
    let bad = [
        (CreatePaymentRequest { merchant_id: String::new(), ..good.clone() }, "merchant_id"),
        (CreatePaymentRequest { merchant_id: good.order_id.clone(), ..good.clone() }, "merchant_id"),
        (CreatePaymentRequest { order_id: "ord_x".to_owned(), ..good.clone() }, "order_id"),
        (CreatePaymentRequest { method: 0, ..good.clone() }, "method"),
        (CreatePaymentRequest { method: 99, ..good.clone() }, "method"),
        (CreatePaymentRequest { channel: 99, ..good.clone() }, "channel"),
    ];
    for (request, field) in bad {
        let status =
            fixture.payments.clone().create_payment(with_key(&new_key(), request)).await.unwrap_err();
        assert_eq!((status.code(), bad_fields(&status)), (Code::InvalidArgument, vec![field.to_owned()]));
    }
    let keyless = fixture.payments.clone().create_payment(good).await.unwrap_err();
    assert_eq!(bad_fields(&keyless), ["idempotency-key"]);
}

#[tokio::test]
async fn an_order_that_cannot_be_paid_is_refused() {
    let fixture = Fixture::start().await;
    let mut unknown = fixture.order();
    unknown.order_id = OrderId::new().to_string();
    let status = fixture.try_create(&unknown).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_deref()), (Code::NotFound, Some("ORDER_NOT_FOUND")));

    // Another merchant's order is as unknown.
    let mut request = fixture.request(&fixture.order());
    request.merchant_id = MerchantId::new().to_string();
    fixture.merchants.approve(&request.merchant_id);
    let status = fixture.payments.clone().create_payment(with_key(&new_key(), request)).await.unwrap_err();
    assert_eq!(reason(&status).as_deref(), Some("ORDER_NOT_FOUND"));

    for (state, name) in
        [(OrderState::Paid, "paid"), (OrderState::Cancelled, "cancelled"), (OrderState::Expired, "expired")]
    {
        let mut order = fixture.order();
        order.set_state(state);
        fixture.orders.put(order.clone());
        let status = fixture.try_create(&order).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_deref()),
            (Code::FailedPrecondition, Some("ORDER_STATE"))
        );
        assert_eq!(metadata(&status, "state"), name);
    }

    let late = fixture.order();
    fixture.advance(SignedDuration::from_mins(30));
    let status = fixture.try_create(&late).await.unwrap_err();
    assert_eq!(metadata(&status, "state"), "expired");
    assert!(fixture.sandbox.trades(&TradeFilter::default()).await.unwrap().trades.is_empty());
}

#[tokio::test]
async fn only_approved_merchants_take_money() {
    let fixture = Fixture::start().await;
    let mut order = fixture.order();
    order.merchant_id = MerchantId::new().to_string();
    fixture.orders.put(order.clone());
    let request = CreatePaymentRequest { merchant_id: order.merchant_id.clone(), ..fixture.request(&order) };
    let create = |request: CreatePaymentRequest| {
        let mut payments = fixture.payments.clone();
        async move { payments.create_payment(with_key(&new_key(), request)).await.unwrap_err() }
    };
    let status = create(request.clone()).await;
    assert_eq!(reason(&status).as_deref(), Some("MERCHANT_NOT_APPROVED"));
    // Approved now: that is seen at once, and the next obstacle is that the merchant has no account.
    fixture.merchants.approve(&order.merchant_id);
    let status = create(request.clone()).await;
    assert_eq!(
        (status.code(), reason(&status).as_deref()),
        (Code::FailedPrecondition, Some("NO_CHANNEL_ACCOUNT"))
    );
    let asked = fixture.merchants.asked();
    create(request).await;
    assert_eq!(fixture.merchants.asked(), asked, "an approval is remembered for a while");
}

#[tokio::test]
async fn an_amount_that_no_channel_takes_is_refused() {
    let fixture = Fixture::start().await;
    for (currency, minor) in [("USD", 100), ("JPY", 100), ("KWD", 100), ("CNY", 10_000_000_001), ("CNY", 0)] {
        let status = fixture.try_create(&fixture.order_of(currency, minor)).await.unwrap_err();
        assert_eq!(reason(&status).as_deref(), Some("NO_CHANNEL_ACCOUNT"), "{minor} {currency}");
    }
}

#[tokio::test]
async fn an_order_has_one_active_payment() {
    let fixture = Fixture::start().await;
    let order = fixture.order();
    let first = fixture.try_create(&order).await.unwrap();
    let status = fixture.try_create(&order).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_deref()),
        (Code::FailedPrecondition, Some("ORDER_HAS_ACTIVE_PAYMENT"))
    );
    assert_eq!(metadata(&status, "payment_id"), first.payment_id);
    // Fifty different calls at once make no second one either.
    let answers = join_all((0..50).map(|_| fixture.try_create(&order))).await;
    assert!(answers.iter().all(|a| reason(a.as_ref().unwrap_err()).unwrap() == "ORDER_HAS_ACTIVE_PAYMENT"));
    fixture.close(&first).await;
    assert_eq!(fixture.try_create(&order).await.unwrap().state(), PaymentState::Pending);
}

async fn fifty_identical(fixture: &Fixture) -> Vec<Payment> {
    let request = fixture.request(&fixture.order());
    let key = new_key();
    let calls = (0..50).map(|_| {
        let (mut payments, request) = (fixture.payments.clone(), with_key(&key, request.clone()));
        async move { payments.create_payment(request).await.unwrap().into_inner().payment.unwrap() }
    });
    join_all(calls).await
}

#[tokio::test]
async fn fifty_identical_calls_are_one_payment() {
    let fixture = Fixture::start().await;
    let answers = fifty_identical(&fixture).await;
    assert!(answers.iter().all(|payment| *payment == answers[0]), "{answers:#?}");
    assert_eq!(answers[0].state(), PaymentState::Pending);
    assert_eq!(fixture.sandbox.trades(&TradeFilter::default()).await.unwrap().trades.len(), 1);
    assert_eq!(fixture.said(1).await, ["payment.created"]);
}

#[tokio::test]
async fn fifty_identical_calls_are_one_payment_without_redis() {
    let fixture = Fixture::with_redis(no_redis_url()).await;
    // The channel takes its time: the repeated calls have to wait for its answer.
    fixture.fault("alipay.trade.precreate", 1, Fault::DelayAnswer { delay_ms: 300 }).await;
    let answers = fifty_identical(&fixture).await;
    assert!(answers.iter().all(|payment| *payment == answers[0]), "{answers:?}");
    assert_eq!(answers[0].state(), PaymentState::Pending);
    assert_eq!(fixture.sandbox.trades(&TradeFilter::default()).await.unwrap().trades.len(), 1);
    assert_eq!(fixture.said(1).await, ["payment.created"]);
}

#[tokio::test]
async fn a_key_belongs_to_one_request() {
    for redis in [tael_testkit::redis_url(), no_redis_url()] {
        let fixture = Fixture::with_redis(redis).await;
        let (first, second) = (fixture.request(&fixture.order()), fixture.request(&fixture.order()));
        let key = new_key();
        fixture.payments.clone().create_payment(with_key(&key, first)).await.unwrap();
        let status = fixture.payments.clone().create_payment(with_key(&key, second)).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_deref()),
            (Code::AlreadyExists, Some("IDEMPOTENCY_KEY_REUSED"))
        );
    }
}

#[tokio::test]
async fn a_repeated_call_is_answered_when_the_order_is_paid_by_it() {
    let fixture = Fixture::with_redis(no_redis_url()).await;
    let mut order = fixture.order();
    let (key, request) = (new_key(), fixture.request(&order));
    let create = || async {
        let request = with_key(&key, request.clone());
        fixture.payments.clone().create_payment(request).await.unwrap().into_inner().payment.unwrap()
    };
    let payment = create().await;
    fixture.pay(&payment).await;
    fixture.eventually(&payment, PaymentState::Succeeded).await;
    order.set_state(OrderState::Paid);
    fixture.orders.put(order);
    let again = create().await;
    assert_eq!((again.payment_id, again.state), (payment.payment_id, PaymentState::Succeeded.into()));
}

#[tokio::test]
async fn a_refusal_is_a_result_and_frees_the_order() {
    let fixture = Fixture::start().await;
    let order = fixture.order();
    let refusal =
        |sub_code: &str| Fault::FailBefore { code: "40004".to_owned(), sub_code: sub_code.to_owned() };
    fixture.fault("alipay.trade.precreate", 1, refusal("ACQ.PAYMENT_REQUEST_HAS_RISK")).await;
    let payment = fixture.try_create(&order).await.unwrap();
    assert_eq!(payment.state(), PaymentState::Failed);
    let attempt = &payment.attempts[0];
    let failure = attempt.failure.clone().unwrap();
    assert_eq!((attempt.state(), attempt.in_doubt), (AttemptState::Failed, false));
    assert_eq!(
        (failure.reason.as_str(), failure.channel_code.as_str()),
        ("RISK_DECLINED", "ACQ.PAYMENT_REQUEST_HAS_RISK")
    );
    assert_eq!(fixture.said(2).await, ["payment.created", "payment.failed"]);
    assert_eq!(fixture.try_create(&order).await.unwrap().state(), PaymentState::Pending);
}

/// Whatever leaves the channel's answer open leaves the payment in doubt; the poller settles it under the same number.
#[tokio::test]
async fn an_unclear_answer_leaves_the_payment_in_doubt() {
    let fixture = Fixture::start().await;
    for fault in [
        Fault::DropRequest,
        Fault::TimeOutAfter { hang_ms: 0 },
        Fault::BadAnswerSignature,
        Fault::unavailable(),
        tael_sandbox::alipay::system_error(),
        Fault::FailBefore { code: "40004".to_owned(), sub_code: "ACQ.BRAND_NEW".to_owned() },
    ] {
        fixture.fault("alipay.trade.precreate", 1, fault.clone()).await;
        let payment = fixture.create().await;
        assert_eq!(payment.state(), PaymentState::Created, "{fault:?}");
        let attempt = &payment.attempts[0];
        assert_eq!((attempt.state(), attempt.in_doubt), (AttemptState::Initiated, true), "{fault:?}");
        assert!(payment.next_action.is_none() && attempt.failure.is_none(), "{fault:?}");

        fixture.advance(SignedDuration::from_secs(1));
        let settled = fixture.eventually(&payment, PaymentState::Pending).await;
        assert_eq!(settled.attempts[0].attempt_id, attempt.attempt_id);
        assert!(!settled.attempts[0].in_doubt);
        assert_eq!(
            qr_code(&settled),
            Some(fixture.trade(&payment).await.action.url().to_owned()),
            "{fault:?}"
        );
    }
}

/// An answer without a QR code is not repeated to the payer's terminal once there is one.
#[tokio::test]
async fn a_call_that_was_left_in_doubt_is_repeated_for_the_qr_code() {
    let fixture = Fixture::start().await;
    fixture.fault("alipay.trade.precreate", 1, Fault::TimeOutAfter { hang_ms: 0 }).await;
    let (key, request) = (new_key(), fixture.request(&fixture.order()));
    let create = async || {
        let request = with_key(&key, request.clone());
        fixture.payments.clone().create_payment(request).await.unwrap().into_inner().payment.unwrap()
    };
    let doubtful = create().await;
    assert_eq!((doubtful.state(), doubtful.attempts[0].in_doubt), (PaymentState::Created, true));
    fixture.advance(SignedDuration::from_secs(1));
    let settled = fixture.eventually(&doubtful, PaymentState::Pending).await;
    let again = create().await;
    assert_eq!(again, settled);
    assert_eq!(qr_code(&again), Some(fixture.trade(&again).await.action.url().to_owned()));
}

#[tokio::test]
async fn a_channel_that_hangs_does_not_hold_the_caller_beyond_its_deadline() {
    let fixture = Fixture::start().await;
    fixture.fault("alipay.trade.precreate", 1, Fault::DelayAnswer { delay_ms: 60_000 }).await;
    let mut request = with_key(&new_key(), fixture.request(&fixture.order()));
    request.set_timeout(std::time::Duration::from_secs(1));
    let payment =
        fixture.payments.clone().create_payment(request).await.unwrap().into_inner().payment.unwrap();
    assert_eq!((payment.state(), payment.attempts[0].in_doubt), (PaymentState::Created, true));
    assert_eq!(fixture.trade(&payment).await.out_trade_no, number(&payment));
}

#[tokio::test]
async fn a_peer_that_is_away_is_said_to_be() {
    let mut fixture = Fixture::start().await;
    fixture.config.order_url = "http://127.0.0.1:1".to_owned();
    let replica = fixture.replica().await;
    let mut payments =
        tael_proto::payment::v1::payment_service_client::PaymentServiceClient::new(replica.channel());
    let request = with_key(&new_key(), fixture.request(&fixture.order()));
    let status = payments.create_payment(request).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_deref()),
        (Code::Unavailable, Some("DEPENDENCY_UNAVAILABLE"))
    );
}

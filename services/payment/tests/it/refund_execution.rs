//! RefundPayment and GetPaymentRefund.

use std::time::Duration;

use futures::future::join_all;
use jiff::SignedDuration;
use tael_grpc::status::{bad_fields, reason};
use tael_ids::{MerchantId, PaymentId, RefundId};
use tael_proto::event::v1::payload::Kind;
use tael_proto::payment::v1::{
    GetPaymentRefundRequest, PaymentRefund, PaymentRefundState, RefundPaymentRequest,
};
use tael_proto::r#type::v1::Money;
use tael_sandbox::control::Fault;
use tael_testkit::eventually;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::fixture::{ALIPAY_KEY, Fixture, cny, kind, refund_request, signed_form};

async fn get(fixture: &Fixture, refund: &PaymentRefund) -> PaymentRefund {
    let request = GetPaymentRefundRequest {
        merchant_id: fixture.merchant_id.to_string(),
        refund_id: refund.refund_id.clone(),
    };
    fixture.refund_executions.clone().get_payment_refund(request).await.unwrap().into_inner().refund.unwrap()
}

async fn eventually_succeeded(fixture: &Fixture, refund: &PaymentRefund) -> PaymentRefund {
    eventually("the refund to succeed", || async {
        let refund = get(fixture, refund).await;
        (refund.state() == PaymentRefundState::Succeeded).then_some(refund)
    })
    .await
}

fn metadata(status: &Status, key: &str) -> String {
    status.get_details_error_info().unwrap().metadata[key].clone()
}

#[tokio::test]
async fn a_payment_is_refunded_in_parts() {
    let fixture = Fixture::start().await;
    let payment = fixture.paid().await;
    let first = fixture.refund(&refund_request(&payment, 1_800)).await.unwrap();
    assert_eq!((first.state(), first.amount.clone()), (PaymentRefundState::Succeeded, cny(1_800)));
    assert_eq!(get(&fixture, &first).await, first);
    let trade = fixture.trade(&payment).await;
    assert_eq!((trade.refunded_minor, trade.refunds[0].reason.as_str()), (1_800, "wrong size"));
    assert_eq!(first.refund_time.unwrap().seconds, trade.refunds[0].refunded_at.as_second());
    let number = first.refund_id.parse::<RefundId>().unwrap().channel_number();
    assert_eq!(trade.refunds[0].refund_no, number);
    let now = fixture.get(&payment).await;
    assert_eq!((now.refunded, now.refund_reserved), (cny(1_800), cny(0)));

    let second = fixture.refund(&refund_request(&payment, 5_000)).await.unwrap();
    let nothing_left = fixture.refund(&refund_request(&payment, 1)).await.unwrap_err();
    assert_eq!(reason(&nothing_left).as_deref(), Some("REFUND_EXCEEDS_PAYMENT"));
    assert_eq!(metadata(&nothing_left, "refundable_minor"), "0");

    let events = fixture.events(4).await;
    let Kind::PaymentRefunded(event) = kind(&events[3]) else { panic!("{events:?}") };
    assert_eq!((&event.refund_id, &event.payment_id), (&second.refund_id, &payment.payment_id));
    assert_eq!(
        (event.amount, event.refunded_total, event.payment_amount),
        (cny(5_000), cny(6_800), cny(6_800))
    );
    assert_eq!(
        (event.attempt_id, event.refund_time),
        (payment.attempts[0].attempt_id.clone(), second.refund_time)
    );
    assert_eq!(events.len(), 4);
}

#[tokio::test]
async fn fifty_refunds_at_once_never_exceed_the_payment() {
    let fixture = Fixture::start().await;
    let payment = fixture.paid().await;
    let requests: Vec<_> = (0..50).map(|_| refund_request(&payment, 1_000)).collect();
    let answers = join_all(requests.iter().map(|request| fixture.refund(request))).await;
    let (done, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((done.len(), refused.len()), (6, 44));
    for status in refused {
        assert_eq!(reason(&status.unwrap_err()).as_deref(), Some("REFUND_EXCEEDS_PAYMENT"));
    }
    let now = fixture.get(&payment).await;
    assert_eq!((now.refunded, now.refund_reserved), (cny(6_000), cny(0)));
    assert_eq!(fixture.trade(&payment).await.refunded_minor, 6_000);
    assert_eq!(fixture.said(8).await.len(), 8);
}

/// More than the service takes at once: who is told to come again does, and in the end every one has a clear answer.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_refunds_at_once_the_ten_there_is_room_for_succeed() {
    let fixture = Fixture::start().await;
    let payment = fixture.paid().await;
    let requests: Vec<_> = (0..1_000).map(|_| refund_request(&payment, 680)).collect();
    let answer = async |request: &RefundPaymentRequest| {
        loop {
            match fixture.refund(request).await {
                Err(status) if matches!(status.code(), Code::ResourceExhausted | Code::Unavailable) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                answer => return answer,
            }
        }
    };
    let answers = join_all(requests.iter().map(answer)).await;
    let (done, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((done.len(), refused.len()), (10, 990), "{:?}", refused.first());
    for refund in done {
        // Some were told that it is still under way.
        assert_ne!(refund.unwrap().state(), PaymentRefundState::Failed);
    }
    for status in refused {
        assert_eq!(reason(&status.unwrap_err()).as_deref(), Some("REFUND_EXCEEDS_PAYMENT"));
    }
    fixture.advance(SignedDuration::from_mins(1));
    eventually("all ten to succeed", async || {
        let now = fixture.get(&payment).await;
        assert_eq!(now.refunded.as_ref()?.minor + now.refund_reserved?.minor, 6_800);
        (now.refunded == cny(6_800)).then_some(())
    })
    .await;
    let trade = fixture.trade(&payment).await;
    assert_eq!((trade.refunded_minor, trade.refunds.len()), (6_800, 10));
    assert_eq!(fixture.said(12).await.len(), 12);
}

#[tokio::test]
async fn fifty_identical_refunds_move_money_once() {
    let fixture = Fixture::start().await;
    let payment = fixture.paid().await;
    let request = refund_request(&payment, 1_000);
    let answers = join_all((0..50).map(|_| fixture.refund(&request))).await;
    let first = answers[0].as_ref().unwrap();
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap() == first));
    assert_eq!(first.state(), PaymentRefundState::Succeeded);
    assert_eq!(fixture.trade(&payment).await.refunds.len(), 1);
    assert_eq!(fixture.said(3).await.len(), 3);
}

#[tokio::test]
async fn a_refund_id_belongs_to_one_refund() {
    let fixture = Fixture::start().await;
    let (payment, other) = (fixture.paid().await, fixture.paid().await);
    let request = refund_request(&payment, 1_000);
    fixture.refund(&request).await.unwrap();
    for request in [
        RefundPaymentRequest { amount: cny(1_001), ..request.clone() },
        RefundPaymentRequest { payment_id: other.payment_id.clone(), ..request },
    ] {
        let status = fixture.refund(&request).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_deref()),
            (Code::AlreadyExists, Some("IDEMPOTENCY_KEY_REUSED"))
        );
    }
    assert_eq!(fixture.get(&other).await.refund_reserved, cny(0));
}

/// The channel has refunded, or not, and did not say: the amount stays reserved until it does.
#[tokio::test]
async fn an_unclear_answer_keeps_the_reservation_until_there_is_evidence() {
    let fixture = Fixture::start().await;
    let payment = fixture.paid().await;
    fixture.lose_notifications().await;
    let faults = [
        Fault::TimeOutAfter { hang_ms: 0 },
        Fault::DropRequest,
        tael_sandbox::alipay::system_error(),
        Fault::BadAnswerSignature,
    ];
    for (n, fault) in (1..).zip(faults) {
        fixture.fault("alipay.trade.refund", 1, fault.clone()).await;
        let refund = fixture.refund(&refund_request(&payment, 1_000)).await.unwrap();
        assert_eq!(
            (refund.state(), refund.failure.clone()),
            (PaymentRefundState::Pending, None),
            "{fault:?}"
        );
        assert_eq!(fixture.get(&payment).await.refund_reserved, cny(1_000));
        fixture.advance(SignedDuration::from_secs(1));
        eventually_succeeded(&fixture, &refund).await;
        assert_eq!(fixture.trade(&payment).await.refunds.len(), n, "{fault:?}: refunded once");
    }
    let now = fixture.get(&payment).await;
    assert_eq!((now.refunded, now.refund_reserved), (cny(4_000), cny(0)));
}

#[tokio::test]
async fn a_repeated_call_settles_what_was_unclear() {
    let fixture = Fixture::start().await;
    let payment = fixture.paid().await;
    fixture.lose_notifications().await;
    let request = refund_request(&payment, 6_800);
    fixture.fault("alipay.trade.refund", 1, Fault::TimeOutAfter { hang_ms: 0 }).await;
    assert_eq!(fixture.refund(&request).await.unwrap().state(), PaymentRefundState::Pending);
    let again = fixture.refund(&request).await.unwrap();
    assert_eq!(again.state(), PaymentRefundState::Succeeded);
    assert_eq!(fixture.trade(&payment).await.refunds.len(), 1);
    assert_eq!(
        again.refund_time.unwrap().seconds,
        fixture.trade(&payment).await.refunds[0].refunded_at.as_second()
    );
}

#[tokio::test]
async fn a_refusal_releases_the_reservation() {
    let fixture = Fixture::start().await;
    let payment = fixture.paid().await;
    let refusal =
        Fault::FailBefore { code: "40004".to_owned(), sub_code: "ACQ.SELLER_BALANCE_NOT_ENOUGH".to_owned() };
    fixture.fault("alipay.trade.refund", 1, refusal).await;
    let request = refund_request(&payment, 6_800);
    let refund = fixture.refund(&request).await.unwrap();
    let failure = refund.failure.clone().unwrap();
    assert_eq!((refund.state(), failure.reason.as_str()), (PaymentRefundState::Failed, "INSUFFICIENT_FUNDS"));
    assert_eq!(failure.channel_code, "ACQ.SELLER_BALANCE_NOT_ENOUGH");
    assert_eq!(fixture.get(&payment).await.refund_reserved, cny(0));
    assert_eq!(fixture.refund(&request).await.unwrap(), refund, "a refund that failed stays failed");
    let events = fixture.events(3).await;
    let Kind::PaymentRefundFailed(event) = kind(&events[2]) else { panic!("{events:?}") };
    assert_eq!((event.refund_id, event.reason.as_str()), (refund.refund_id, "INSUFFICIENT_FUNDS"));
    assert_eq!(
        fixture.refund(&refund_request(&payment, 6_800)).await.unwrap().state(),
        PaymentRefundState::Succeeded
    );
}

/// Alipay tells of refunds in the words of payments.
#[tokio::test]
async fn a_notification_of_a_refund_settles_it() {
    let fixture = Fixture::start().await;
    let payment = fixture.paid().await;
    fixture.lose_notifications().await;
    fixture.fault("alipay.trade.refund", 1, Fault::TimeOutAfter { hang_ms: 0 }).await;
    let refund = fixture.refund(&refund_request(&payment, 6_800)).await.unwrap();
    assert_eq!(refund.state(), PaymentRefundState::Pending);

    let trade_no = fixture.trade(&payment).await.trade_no.unwrap();
    let tell = async |number: &str| {
        let mut fields = fixture.paid_fields(&payment);
        fields.insert("trade_no", trade_no.clone());
        fields.insert("trade_status", "TRADE_CLOSED".to_owned());
        fields.insert("refund_fee", "68.00".to_owned());
        fields.insert("gmt_refund", "2026-03-01 17:00:00.123".to_owned());
        fields.insert("out_biz_no", number.to_owned());
        fixture.notify(&fixture.account.channel_account_id, signed_form(&fields, &ALIPAY_KEY)).await
    };
    let number = refund.refund_id.parse::<RefundId>().unwrap().channel_number();
    fixture.fault("alipay.trade.fastpay.refund.query", 1, Fault::unavailable()).await;
    assert_eq!(tell(&number).await, "failure", "the channel is asked, and its message alone moves no money");
    assert_eq!(get(&fixture, &refund).await.state(), PaymentRefundState::Pending);
    assert_eq!(tell(&number).await, "success");
    assert_eq!(get(&fixture, &refund).await.state(), PaymentRefundState::Succeeded);
    assert_eq!(fixture.get(&payment).await.refunded, cny(6_800));

    for not_ours in ["HZ01RF001", &RefundId::new().channel_number()] {
        assert_eq!(tell(not_ours).await, "success");
    }
    assert_eq!(fixture.said(3).await.len(), 3);
}

#[tokio::test]
async fn what_has_brought_no_money_is_not_refunded() {
    let fixture = Fixture::start().await;
    let payment = fixture.create().await;
    let pending = fixture.refund(&refund_request(&payment, 100)).await.unwrap_err();
    assert_eq!(
        (pending.code(), reason(&pending).as_deref()),
        (Code::FailedPrecondition, Some("PAYMENT_STATE"))
    );
    assert_eq!(metadata(&pending, "state"), "pending");
    fixture.close(&payment).await;
    let closed = fixture.refund(&refund_request(&payment, 100)).await.unwrap_err();
    assert_eq!(metadata(&closed, "state"), "closed");
}

#[tokio::test]
async fn bad_fields_and_unknown_ids() {
    let fixture = Fixture::start().await;
    let payment = fixture.paid().await;
    let good = refund_request(&payment, 100);
    let money = |currency: &str, minor| Some(Money { currency: currency.to_owned(), minor });
    for (request, field) in [
        (RefundPaymentRequest { merchant_id: String::new(), ..good.clone() }, "merchant_id"),
        (RefundPaymentRequest { payment_id: "pay_".to_owned(), ..good.clone() }, "payment_id"),
        (RefundPaymentRequest { refund_id: String::new(), ..good.clone() }, "refund_id"),
        (RefundPaymentRequest { amount: None, ..good.clone() }, "amount"),
        (RefundPaymentRequest { amount: money("CNY", 0), ..good.clone() }, "amount.minor"),
        (RefundPaymentRequest { amount: money("CNY", -1), ..good.clone() }, "amount.minor"),
        (RefundPaymentRequest { amount: money("XXX", 1), ..good.clone() }, "amount.currency"),
        (RefundPaymentRequest { amount: money("USD", 1), ..good.clone() }, "amount.currency"),
        (RefundPaymentRequest { reason: "x".repeat(129), ..good.clone() }, "reason"),
    ] {
        let status = fixture.refund(&request).await.unwrap_err();
        assert_eq!((status.code(), bad_fields(&status)), (Code::InvalidArgument, vec![field.to_owned()]));
    }
    let too_much = RefundPaymentRequest { amount: money("CNY", i64::MAX), ..good.clone() };
    assert_eq!(
        reason(&fixture.refund(&too_much).await.unwrap_err()).as_deref(),
        Some("REFUND_EXCEEDS_PAYMENT")
    );
    for request in [
        RefundPaymentRequest { payment_id: PaymentId::new().to_string(), ..good.clone() },
        RefundPaymentRequest { merchant_id: MerchantId::new().to_string(), ..good.clone() },
    ] {
        let status = fixture.refund(&request).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_deref()), (Code::NotFound, Some("PAYMENT_NOT_FOUND")));
    }
    let refund = fixture.refund(&RefundPaymentRequest { reason: String::new(), ..good }).await.unwrap();
    assert_eq!(refund.state(), PaymentRefundState::Succeeded);
    let stranger =
        GetPaymentRefundRequest { merchant_id: MerchantId::new().to_string(), refund_id: refund.refund_id };
    let status = fixture.refund_executions.clone().get_payment_refund(stranger).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_deref()), (Code::NotFound, Some("REFUND_NOT_FOUND")));
}

//! ClosePayment and SyncPayment.

use std::time::Duration;

use futures::future::join_all;
use jiff::SignedDuration;
use tael_grpc::status::{bad_fields, reason};
use tael_ids::{MerchantId, PaymentId};
use tael_proto::event::v1::payload::Kind;
use tael_proto::payment::v1::{AttemptState, ClosePaymentRequest, PaymentState, SyncPaymentRequest};
use tael_sandbox::control::{Fault, TradeStatus};
use tael_testkit::keyed;
use tonic::{Code, Request};

use crate::fixture::{Fixture, cny, kind, qr_code};

/// For Alipay there is no trade yet, so it would deny one that can still be paid. The code has to be withdrawn.
#[tokio::test]
async fn a_code_that_nobody_has_scanned_is_withdrawn() {
    let fixture = Fixture::start().await;
    let payment = fixture.create().await;
    let closed = fixture.close(&payment).await;
    assert_eq!((closed.state(), closed.attempts[0].state()), (PaymentState::Closed, AttemptState::Closed));
    assert!(!closed.attempts[0].in_doubt && closed.next_action.is_none());
    assert_eq!(fixture.trade(&payment).await.status, TradeStatus::Withdrawn);
    assert!(
        fixture.sandbox.pay(fixture.reference(&payment)).await.is_err(),
        "a closed payment can't be paid"
    );
    assert_eq!(fixture.close(&payment).await, closed, "closing again changes nothing");
    assert_eq!(fixture.said(2).await, ["payment.created", "payment.closed"]);
}

#[tokio::test]
async fn a_code_that_was_scanned_is_closed() {
    let fixture = Fixture::start().await;
    let payment = fixture.create().await;
    fixture.sandbox.scan(fixture.reference(&payment)).await.unwrap();
    assert_eq!(fixture.close(&payment).await.state(), PaymentState::Closed);
    assert_eq!(fixture.trade(&payment).await.status, TradeStatus::Closed);
}

#[tokio::test]
async fn a_payer_who_was_faster_has_paid() {
    let fixture = Fixture::start().await;
    fixture.lose_notifications().await;
    let payment = fixture.create().await;
    fixture.pay(&payment).await;
    let paid = fixture.close(&payment).await;
    assert_eq!(paid.state(), PaymentState::Succeeded);
    assert_eq!(fixture.trade(&payment).await.refunded_minor, 0);
    assert_eq!(fixture.close(&payment).await, paid);
    assert_eq!(fixture.said(2).await, ["payment.created", "payment.succeeded"]);
}

#[tokio::test]
async fn a_payment_in_doubt_can_be_closed() {
    let fixture = Fixture::start().await;
    for fault in [Fault::DropRequest, Fault::TimeOutAfter { hang_ms: 0 }] {
        fixture.fault("alipay.trade.precreate", 1, fault).await;
        let payment = fixture.create().await;
        assert!(payment.attempts[0].in_doubt);
        assert_eq!(fixture.close(&payment).await.state(), PaymentState::Closed);
    }
}

/// Without evidence a payment is not closed, whatever was tried.
#[tokio::test]
async fn without_evidence_nothing_is_closed() {
    let fixture = Fixture::start().await;
    for method in ["alipay.trade.query", "alipay.trade.cancel"] {
        for fault in [Fault::DropRequest, Fault::unavailable(), Fault::BadAnswerSignature] {
            let payment = fixture.create().await;
            fixture.fault(method, 1, fault.clone()).await;
            let unclear = fixture.close(&payment).await;
            assert_eq!(
                (unclear.state(), unclear.attempts[0].in_doubt),
                (PaymentState::Pending, true),
                "{fault:?}"
            );
            assert_eq!(qr_code(&unclear), qr_code(&payment));
            assert_eq!(fixture.close(&payment).await.state(), PaymentState::Closed, "{method} {fault:?}");
        }
    }
    let scanned = fixture.create().await;
    fixture.sandbox.scan(fixture.reference(&scanned)).await.unwrap();
    fixture.fault("alipay.trade.close", 1, Fault::TimeOutAfter { hang_ms: 0 }).await;
    let unclear = fixture.close(&scanned).await;
    assert_eq!((unclear.state(), unclear.attempts[0].in_doubt), (PaymentState::Pending, true));
    assert_eq!(fixture.close(&scanned).await.state(), PaymentState::Closed);
}

/// The buyer scans and pays between our question and the cancel, which then gives the money back: the books need both.
#[tokio::test]
async fn money_that_closing_gave_back_is_recorded_both_ways() {
    let fixture = Fixture::start().await;
    fixture.lose_notifications().await;
    let payment = fixture.create().await;
    fixture.pay(&payment).await;
    let no_trade = Fault::FailBefore { code: "40004".to_owned(), sub_code: "ACQ.TRADE_NOT_EXIST".to_owned() };
    fixture.fault("alipay.trade.query", 1, no_trade).await;
    let reversed = fixture.close(&payment).await;
    assert_eq!(reversed.state(), PaymentState::Succeeded);
    assert_eq!((reversed.refunded.clone(), reversed.refund_reserved.clone()), (cny(6_800), cny(0)));
    assert_eq!(fixture.trade(&payment).await.refunded_minor, 6_800);
    let events = fixture.events(3).await;
    assert!(matches!(kind(&events[1]), Kind::PaymentSucceeded(succeeded) if succeeded.reversed));
    let Kind::PaymentRefunded(refunded) = kind(&events[2]) else { panic!("{events:?}") };
    assert_eq!((refunded.amount, refunded.refunded_total), (cny(6_800), cny(6_800)));
    assert!(refunded.reversal);
    assert_eq!(events.len(), 3);
}

/// The cancel gives the money back, and its answer is lost. The next look finds a closed trade that was paid.
#[tokio::test]
async fn a_reversal_whose_answer_was_lost_is_found_out() {
    let fixture = Fixture::start().await;
    fixture.lose_notifications().await;
    let payment = fixture.create().await;
    fixture.pay(&payment).await;
    let no_trade = Fault::FailBefore { code: "40004".to_owned(), sub_code: "ACQ.TRADE_NOT_EXIST".to_owned() };
    fixture.fault("alipay.trade.query", 1, no_trade).await;
    fixture.fault("alipay.trade.cancel", 1, Fault::TimeOutAfter { hang_ms: 0 }).await;
    assert_eq!(fixture.close(&payment).await.state(), PaymentState::Pending);
    assert_eq!(fixture.trade(&payment).await.refunded_minor, 6_800);
    let reversed = fixture.close(&payment).await;
    assert_eq!((reversed.state(), reversed.refunded), (PaymentState::Succeeded, cny(6_800)));
    assert_eq!(fixture.said(3).await, ["payment.created", "payment.succeeded", "payment.refunded"]);
}

#[tokio::test]
async fn fifty_at_once_close_once() {
    let fixture = Fixture::start().await;
    let payment = fixture.create().await;
    let answers = join_all((0..50).map(|_| fixture.close(&payment))).await;
    assert!(answers.iter().all(|answer| *answer == answers[0] && answer.state() == PaymentState::Closed));
    assert_eq!(fixture.said(2).await, ["payment.created", "payment.closed"]);
}

#[tokio::test]
async fn asking_now_tells_at_once() {
    let fixture = Fixture::start().await;
    fixture.lose_notifications().await;
    let payment = fixture.create().await;
    assert_eq!(fixture.sync(&payment).await, payment);
    fixture.pay(&payment).await;
    let paid = fixture.sync(&payment).await;
    assert_eq!(paid.state(), PaymentState::Succeeded);
    assert_eq!(fixture.sync(&payment).await, paid);
}

#[tokio::test]
async fn unknown_payments_and_bad_fields() {
    let fixture = Fixture::start().await;
    let payment = fixture.create().await;
    for (merchant_id, payment_id) in [
        (MerchantId::new().to_string(), payment.payment_id.clone()),
        (fixture.merchant_id.to_string(), PaymentId::new().to_string()),
    ] {
        let close = ClosePaymentRequest { merchant_id: merchant_id.clone(), payment_id: payment_id.clone() };
        let sync = SyncPaymentRequest { merchant_id, payment_id };
        for status in [
            fixture.payments.clone().close_payment(keyed(close)).await.unwrap_err(),
            fixture.payments.clone().sync_payment(sync).await.unwrap_err(),
        ] {
            assert_eq!(
                (status.code(), reason(&status).as_deref()),
                (Code::NotFound, Some("PAYMENT_NOT_FOUND"))
            );
        }
    }
    let bad = ClosePaymentRequest { merchant_id: String::new(), payment_id: "ord_1".to_owned() };
    let status = fixture.payments.clone().close_payment(keyed(bad)).await.unwrap_err();
    assert_eq!(bad_fields(&status), ["merchant_id", "payment_id"]);
    let keyless = ClosePaymentRequest {
        merchant_id: payment.merchant_id.clone(),
        payment_id: payment.payment_id.clone(),
    };
    let status = fixture.payments.clone().close_payment(Request::new(keyless)).await.unwrap_err();
    assert_eq!(bad_fields(&status), ["idempotency-key"]);
}

/// A call that is under way could still put a code on the payer's screen, so it is waited for; who died in it is not
/// waited for longer than the lease.
#[tokio::test]
async fn nothing_is_closed_while_somebody_is_calling() {
    let fixture = Fixture::start().await;
    fixture.fault("alipay.trade.precreate", 1, Fault::DropRequest).await;
    let payment = fixture.create().await;
    let until = fixture.clock.now() + SignedDuration::from_secs(10);
    sqlx::query("update attempt set lease_until = $1::text::timestamptz")
        .bind(until.to_string())
        .execute(&fixture.database.pool())
        .await
        .unwrap();

    let mut request = keyed(ClosePaymentRequest {
        merchant_id: payment.merchant_id.clone(),
        payment_id: payment.payment_id.clone(),
    });
    request.set_timeout(Duration::from_secs(1));
    let unchanged =
        fixture.payments.clone().close_payment(request).await.unwrap().into_inner().payment.unwrap();
    assert_eq!(unchanged, payment);
    assert_eq!((unchanged.state(), unchanged.attempts[0].in_doubt), (PaymentState::Created, true));

    fixture.advance(SignedDuration::from_secs(10));
    assert_eq!(fixture.close(&payment).await.state(), PaymentState::Closed);
}

//! A channel that does not answer is left alone for a time.

use std::time::Duration;

use jiff::SignedDuration;
use tael_grpc::status::reason;
use tael_proto::payment::v1::{PaymentRefundState, PaymentState};
use tael_sandbox::control::{AddFault, Fault};
use tael_testkit::{eventually, new_key, with_key};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::fixture::{Fixture, cny, refund_request};

/// The channel answers nothing from now on, until [`Fixture::sandbox`] forgets its faults.
async fn fall_silent(fixture: &Fixture) {
    let fault = AddFault::new(Fault::unavailable());
    fixture.sandbox.add_fault(&fault).await.unwrap();
}

/// Creates payments that end in doubt, until the next one is refused; returns the refusal and the order it was for.
async fn until_refused(fixture: &Fixture) -> (Status, tael_proto::order::v1::PayableOrder, u32) {
    for doubtful in 0..20 {
        let order = fixture.order();
        match fixture.try_create(&order).await {
            Ok(payment) => {
                assert_eq!((payment.state(), payment.attempts[0].in_doubt), (PaymentState::Created, true));
            }
            Err(status) => return (status, order, doubtful),
        }
    }
    panic!("the breaker never opens");
}

#[tokio::test]
async fn a_new_payment_is_refused_before_anything_is_stored_and_the_same_call_succeeds_later() {
    let fixture = Fixture::start().await;
    fall_silent(&fixture).await;
    let (refused, order, doubtful) = until_refused(&fixture).await;
    assert_eq!(doubtful, 5);
    assert_eq!(
        (refused.code(), reason(&refused).as_deref()),
        (Code::Unavailable, Some("DEPENDENCY_UNAVAILABLE"))
    );
    assert_eq!(refused.get_details_error_info().unwrap().metadata["dependency"], "channel");
    assert_eq!(refused.get_details_retry_info().unwrap().retry_delay, Some(Duration::from_secs(5)));

    let key = new_key();
    let call = async || {
        let request = with_key(&key, fixture.request(&order));
        fixture.payments.clone().create_payment(request).await.map(|r| r.into_inner().payment.unwrap())
    };
    assert_eq!(call().await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(
        fixture.said(5).await,
        ["payment.created"; 5],
        "nothing was stored for those that were refused"
    );

    fixture.sandbox.clear_faults(None).await.unwrap();
    assert_eq!(call().await.unwrap_err().code(), Code::Unavailable, "it is not asked before the time");
    fixture.advance(SignedDuration::from_secs(5));
    // The poller may have been the one who found out.
    let payment = eventually("the channel to be called again", async || call().await.ok()).await;
    assert_eq!(payment.state(), PaymentState::Pending);
    assert_eq!(call().await.unwrap(), payment);
}

/// Nothing is lost in the meantime: what is open is settled by itself when the channel answers again.
#[tokio::test]
async fn polls_and_refunds_wait_and_go_on() {
    let fixture = Fixture::start().await;
    fixture.lose_notifications().await;
    let paid = fixture.create().await;
    fixture.pay(&paid).await;
    let paid = fixture.sync(&paid).await;
    assert_eq!(paid.state(), PaymentState::Succeeded);
    let open = fixture.create().await;
    fixture.pay(&open).await;
    fall_silent(&fixture).await;
    until_refused(&fixture).await;

    // A refund is accepted, reserved, and executed later; a closing says truly that nothing is known.
    let refund = fixture.refund(&refund_request(&paid, 1_000)).await.unwrap();
    assert_eq!(refund.state(), PaymentRefundState::Pending);
    assert_eq!(fixture.get(&paid).await.refund_reserved, cny(1_000));
    let unclear = fixture.close(&open).await;
    assert_eq!((unclear.state(), unclear.attempts[0].in_doubt), (PaymentState::Pending, false));

    fixture.sandbox.clear_faults(None).await.unwrap();
    eventually("everything to settle", async || {
        fixture.advance(SignedDuration::from_secs(2));
        let settled = fixture.get(&open).await.state() == PaymentState::Succeeded
            && fixture.get(&paid).await.refunded == cny(1_000);
        settled.then_some(())
    })
    .await;
    assert_eq!(fixture.trade(&paid).await.refunds.len(), 1);
}

/// Whoever refuses is there.
#[tokio::test]
async fn refusals_are_answers() {
    let fixture = Fixture::start().await;
    let refusal =
        Fault::FailBefore { code: "40004".to_owned(), sub_code: "ACQ.PAYMENT_REQUEST_HAS_RISK".to_owned() };
    fixture.fault("alipay.trade.precreate", 12, refusal).await;
    for _ in 0..12 {
        assert_eq!(fixture.create().await.state(), PaymentState::Failed);
    }
    assert_eq!(fixture.create().await.state(), PaymentState::Pending);
}

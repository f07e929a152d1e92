//! What a trace tells of payments.

use tael_proto::payment::v1::PaymentState;
use tael_sandbox::control::Fault;
use tael_testkit::{SpanData, SpanKind, Spans, attribute, eventually, is_error};

use crate::fixture::{Fixture, qr_code, refund_request};

const CREATE: &str = "tael.payment.v1.PaymentService/CreatePayment";

async fn ended(spans: &Spans, name: &str) -> SpanData {
    eventually(name, || async { spans.ended().into_iter().find(|span| span.name == name) }).await
}

#[tokio::test]
async fn a_payment_is_one_trace_from_its_creation_to_its_callback() {
    let spans = Spans::record();
    let fixture = Fixture::start().await;
    let payment = fixture.create().await;
    let created = eventually("the call's span", || async {
        let mut ended = spans.ended().into_iter();
        ended.find(|span| span.name == CREATE && span.span_kind == SpanKind::Server)
    })
    .await;
    let trace_id = created.span_context.trace_id();
    assert_eq!(attribute(&created, "tael.merchant_id"), Some(fixture.merchant_id.to_string()));
    assert_eq!(attribute(&created, "tael.order_id"), Some(payment.order_id.clone()));
    assert_eq!(attribute(&created, "tael.payment_id"), Some(payment.payment_id.clone()));

    let presented = ended(&spans, "channel.alipay.precreate").await;
    assert_eq!(
        (presented.span_kind.clone(), presented.span_context.trace_id()),
        (SpanKind::Client, trace_id)
    );
    assert_eq!(attribute(&presented, "tael.outcome").as_deref(), Some("ok"));
    assert_eq!(attribute(&presented, "tael.channel").as_deref(), Some("alipay"));
    assert_eq!(attribute(&presented, "http.response.status_code").as_deref(), Some("200"));
    assert_eq!(ended(&spans, "db.payment.insert").await.span_context.trace_id(), trace_id);

    fixture.pay(&payment).await;
    fixture.eventually(&payment, PaymentState::Succeeded).await;
    let callback = ended(&spans, "callback.alipay").await;
    assert_eq!(
        (callback.span_kind.clone(), callback.span_context.trace_id()),
        (SpanKind::Consumer, trace_id)
    );
    assert_eq!(attribute(&callback, "tael.payment_id"), Some(payment.payment_id.clone()));
    assert_eq!(callback.links.iter().count(), 1, "the call that handed it over");

    // What opens the payment, what was bought, and who sells it.
    let told = format!("{:?}", spans.ended());
    let code = qr_code(&payment).unwrap();
    for never in [&code, "龙井茶", &fixture.app.app_id, &fixture.app.seller_id] {
        assert!(!told.contains(never), "{never} in {told}");
    }
}

#[tokio::test]
async fn a_refusal_is_no_error_of_a_call_and_silence_is() {
    let spans = Spans::record();
    let fixture = Fixture::start().await;
    let payment = fixture.paid().await;
    let refusal =
        Fault::FailBefore { code: "40004".to_owned(), sub_code: "ACQ.SELLER_BALANCE_NOT_ENOUGH".to_owned() };
    fixture.fault("alipay.trade.refund", 1, refusal).await;
    fixture.refund(&refund_request(&payment, 100)).await.unwrap();
    let refused = ended(&spans, "channel.alipay.refund").await;
    assert_eq!(attribute(&refused, "tael.outcome").as_deref(), Some("refused"));
    assert_eq!(
        attribute(&refused, "tael.channel_sub_code").as_deref(),
        Some("ACQ.SELLER_BALANCE_NOT_ENOUGH")
    );
    assert!(!is_error(&refused));

    fixture.fault("alipay.trade.precreate", 1, Fault::DropRequest).await;
    let before = spans.ended().len();
    fixture.try_create(&fixture.order()).await.unwrap();
    let mut since = spans.ended().into_iter().skip(before);
    let silent = since.find(|span| span.name == "channel.alipay.precreate").unwrap();
    assert_eq!(attribute(&silent, "tael.outcome").as_deref(), Some("unavailable"));
    assert!(is_error(&silent));
}

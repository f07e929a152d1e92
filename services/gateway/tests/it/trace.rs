use opentelemetry::trace::SpanId;
use tael_ids::{ChannelAccountId, PaymentId};
use tael_testkit::{Spans, attribute, is_error};

use crate::Fixture;

#[tokio::test]
async fn requests_are_spans_named_by_route_and_health_is_none() {
    let spans = Spans::record();
    let fixture = Fixture::start().await;
    fixture.payment.script.answer(200, "text/plain", b"success");
    let (account, payment) = (ChannelAccountId::new(), PaymentId::new());
    fixture
        .post(&format!("/callbacks/alipay/{account}?token=secret"))
        .body("sign=secret")
        .send()
        .await
        .unwrap();
    fixture.get(&format!("/checkout/{payment}")).send().await.unwrap();
    // Asked every two seconds by an open page: in no trace at all.
    fixture.get(&format!("/checkout/{payment}/state")).send().await.unwrap();
    fixture.get("/checkout/not-an-id").send().await.unwrap();
    fixture.get("/nowhere/secret").send().await.unwrap();
    fixture.get("/healthz").send().await.unwrap();
    fixture.get("/readyz").send().await.unwrap();

    // Beside the calls that the gateway makes for them.
    let ended: Vec<_> = spans.ended().into_iter().filter(|span| span.name.contains(' ')).collect();
    let names: Vec<_> = ended.iter().map(|span| &*span.name).collect();
    assert_eq!(
        names,
        [
            "POST /callbacks/{channel}/{channel_account_id}",
            "GET /checkout/{payment_id}",
            "GET /checkout/{payment_id}",
            "GET (no route)",
        ]
    );
    let statuses = ended.iter().map(|span| attribute(span, "http.response.status_code").unwrap());
    assert_eq!(statuses.collect::<Vec<_>>(), ["200", "404", "404", "404"]);
    assert!(!ended.iter().any(is_error));
    assert_eq!(attribute(&ended[0], "tael.channel_account_id"), Some(account.to_string()));
    assert_eq!(attribute(&ended[1], "tael.payment_id"), Some(payment.to_string()));
    assert!(!spans.names().iter().any(|name| name.contains("Health")), "{:?}", spans.names());
    let text = format!("{:?}", spans.ended());
    assert!(text.contains("a callback was answered"), "{text}");
    for never in ["secret", "not-an-id", "/checkout/pay_", "/callbacks/alipay/cha_"] {
        assert!(!text.contains(never), "{never} in {text}");
    }
}

#[tokio::test]
async fn a_stranger_chooses_neither_the_trace_nor_that_there_is_none() {
    let spans = Spans::record();
    let fixture = Fixture::start().await;
    fixture.payment.script.answer(200, "text/plain", b"success");
    let path = format!("/callbacks/alipay/{}", ChannelAccountId::new());
    let theirs = "0af7651916cd43dd8448eb211c80319c";
    for flags in ["00", "01", "01"] {
        let traceparent = format!("00-{theirs}-b7ad6b7169203331-{flags}");
        fixture.post(&path).header("traceparent", traceparent).body("a=1").send().await.unwrap();
    }

    let ended = spans.ended();
    let requests: Vec<_> = ended.iter().filter(|span| span.name.starts_with("POST ")).collect();
    assert_eq!(requests.len(), 3, "{:?}", spans.names());
    for request in requests {
        assert_eq!(request.parent_span_id, SpanId::INVALID);
        let [link] = &request.links.links[..] else { panic!("{request:?}") };
        assert_eq!(link.span_context.trace_id().to_string(), theirs);
        // Its trace is of itself and the two sides of the call behind it, and of no other request.
        let trace = request.span_context.trace_id();
        assert_eq!(ended.iter().filter(|span| span.span_context.trace_id() == trace).count(), 3);
    }
}

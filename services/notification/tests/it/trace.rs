//! What a trace tells of deliveries.

use tael_testkit::{SpanKind, Spans, attribute, eventually, is_error, redis_url};

use crate::fixture::Fixture;
use crate::receiver::{Answer, Receiver};

#[tokio::test]
async fn a_delivery_is_a_span_without_what_its_address_hides() {
    let spans = Spans::record();
    let fixture = Fixture::with(redis_url(), |config| config.webhooks.traceparent = true).await;
    let receiver = Receiver::start().await;
    let (_, secret) = fixture.endpoint(&receiver, &[]).await;
    receiver.next([Answer::Status(500)]);
    fixture.order_paid();
    fixture.tried(1).await;
    fixture.advance_secs(6);
    fixture.tried(2).await;

    let tries = eventually("two tries", || async {
        let tries: Vec<_> = spans.ended().into_iter().filter(|span| span.name == "webhook.deliver").collect();
        (tries.len() == 2).then_some(tries)
    })
    .await;
    let told: Vec<_> = tries
        .iter()
        .map(|span| {
            let tell = |name| attribute(span, name).unwrap_or_default();
            let outcome = (tell("tael.outcome"), tell("http.response.status_code"), tell("tael.retries"));
            (outcome, is_error(span))
        })
        .collect();
    let outcome = |outcome: &str, status: &str, retries: &str| {
        (outcome.to_owned(), status.to_owned(), retries.to_owned())
    };
    assert_eq!(told, [(outcome("refused", "500", "0"), true), (outcome("delivered", "204", "1"), false)]);
    let event = spans.named("event.order_paid.notification");
    for span in &tries {
        assert_eq!(span.span_kind, SpanKind::Client);
        assert_eq!(attribute(span, "server.address").as_deref(), Some("127.0.0.1"));
        assert_eq!(span.parent_span_id, event.span_context.span_id());
        let text = format!("{span:?}");
        assert!(!text.contains("/hooks") && !text.contains(&secret), "{text}");
    }
    // The receiver can join the trace.
    for told in receiver.told() {
        let trace_id = event.span_context.trace_id().to_string();
        assert!(told.header("traceparent").contains(&trace_id));
    }
}

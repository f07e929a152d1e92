use std::io::Write;
use std::sync::{Arc, Mutex};

use tael_ids::{ChannelAccountId, PaymentId};
use tracing::Dispatch;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::NoSubscriber;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::Site;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

// The test's runtime has one thread, so that the subscriber set for this thread sees all that the gateway does.
#[tokio::test]
async fn requests_are_spans_named_by_route_and_health_is_none() {
    let lines = Lines::default();
    let writer = lines.clone();
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(move || writer.clone());
    // While there is one subscriber only, whether a span or event is of interest is decided for good by the thread that
    // comes there first, also by one of another test, which has no subscriber. With two, all of them are asked.
    let _second = Dispatch::new(NoSubscriber::default());
    let filter = Targets::new().with_target("tael_gateway", LevelFilter::INFO);
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(filter).with(layer));

    let site = Site::start().await;
    site.payment.script.answer(200, "text/plain", b"success");
    let (account, payment) = (ChannelAccountId::new(), PaymentId::new());
    site.post(&format!("/callbacks/alipay/{account}?token=secret")).body("sign=secret").send().await.unwrap();
    site.get(&format!("/checkout/{payment}")).send().await.unwrap();
    site.get(&format!("/checkout/{payment}/state")).send().await.unwrap();
    site.get("/checkout/not-an-id").send().await.unwrap();
    site.get("/nowhere/secret").send().await.unwrap();
    site.get("/healthz").send().await.unwrap();
    site.get("/readyz").send().await.unwrap();

    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let spans: Vec<_> = text.lines().filter(|line| line.contains(": close ")).collect();
    assert_eq!(spans.len(), 4, "{text}");
    let callback = spans[0];
    assert!(callback.contains(r#"otel.name="POST /callbacks/alipay/{channel_account_id}""#), "{callback}");
    assert!(callback.contains("http.response.status_code=200"), "{callback}");
    assert!(callback.contains(&format!("channel_account_id=\"{account}\"")), "{callback}");
    assert!(spans[1].contains(r#"otel.name="GET /checkout/{payment_id}""#), "{}", spans[1]);
    assert!(spans[1].contains("http.response.status_code=404"), "{}", spans[1]);
    assert!(spans[3].contains(r#"otel.name="GET (no route)""#), "{}", spans[3]);
    assert!(text.contains("a callback was answered"), "{text}");
    for never in ["secret", "not-an-id", "/checkout/pay_", "/callbacks/alipay/cha_"] {
        assert!(!text.contains(never), "{never} in {text}");
    }
}

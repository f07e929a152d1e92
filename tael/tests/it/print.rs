//! `tael trace`.

use std::process::Output;

use tokio::process::Command;

use crate::{Watch, failed, hex, span, with};

async fn trace(viewer: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_tael"))
        .arg("trace")
        .args(arguments)
        .env("TAEL_TRACES_URL", viewer)
        .env("TZ", "UTC")
        .output()
        .await
        .expect("it runs");
    (status.code(), String::from_utf8(stdout).expect("UTF-8"), String::from_utf8(stderr).expect("UTF-8"))
}

#[tokio::test]
async fn every_trace_of_an_id_is_printed_as_a_tree() {
    let watch = Watch::start().await;
    watch.journey().await;
    let (code, stdout, stderr) = trace(&watch.viewer.url(), &["pay_of_this"]).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let one = hex(1);
    let two = hex(2);
    let expected = format!(
        "\
trace {one}  2026-01-01 00:00:00 UTC, 9.0 ms, spans: 3
  order     ord_of_this
  payment   pay_of_this
span                                          after       took  service
tael.order.v1.OrderService/CreateOrder       0.0 ms     9.0 ms  order
└─ channel.alipay.precreate                  2.0 ms     4.0 ms  payment ok
   └─ event.payment_succeeded.settlement     5.0 ms     3.0 ms  settlement

linked with (--linked prints them in full):
  {two}     3.0 ms  event.batch.settlement
"
    );
    assert_eq!(stdout, expected);

    let (_, stdout, _) = trace(&watch.viewer.url(), &["pay_of_this", "--linked"]).await;
    let batch = format!(
        "
trace {two}  2026-01-01 00:00:00 UTC, 3.0 ms, spans: 1
span                        after       took  service
event.batch.settlement     0.0 ms     3.0 ms  settlement

"
    );
    assert!(stdout.ends_with(&batch), "{stdout}");
}

#[tokio::test]
async fn json_is_what_the_viewer_says() {
    let watch = Watch::start().await;
    let broken = failed(span(1, 1, None, "db.order.insert", 0, 1), "gone");
    watch.send("order", vec![with(broken, &[("tael.order_id", "ord_1")])]).await;
    let (code, stdout, _) = trace(&watch.viewer.url(), &["--json", "ord_1"]).await;
    assert_eq!(code, Some(0));
    let printed: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let (_, told) = watch.get(&format!("/api/traces/{}", hex(1))).await;
    assert_eq!(printed, serde_json::json!([serde_json::from_str::<serde_json::Value>(&told).unwrap()]));
    assert_eq!(printed[0]["rows"][0]["error"], "gone");
}

#[tokio::test]
async fn only_so_many_are_printed_and_the_rest_is_counted() {
    let watch = Watch::start().await;
    for n in 1..=3 {
        let span = with(span(n, 1, None, "webhook.deliver", 0, 1), &[("tael.merchant_id", "mer_1")]);
        watch.send("notification", vec![span]).await;
    }
    let (_, stdout, _) = trace(&watch.viewer.url(), &["mer_1", "--limit", "2"]).await;
    assert_eq!(stdout.matches("webhook.deliver").count(), 2, "{stdout}");
    assert!(stdout.contains(&hex(3)) && !stdout.contains(&hex(1)), "the newest: {stdout}");
    assert!(stdout.ends_with("further traces that carry it: 1; --limit shows more\n"), "{stdout}");
}

#[tokio::test]
async fn what_can_not_be_printed_is_said_and_the_exit_code_is_1() {
    let watch = Watch::start().await;
    let (code, stdout, stderr) = trace(&watch.viewer.url(), &["ord_of_nobody"]).await;
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("carries ord_of_nobody"), "{stderr}");

    let (code, _, stderr) = trace("http://127.0.0.1:1", &["ord_1"]).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("no viewer answers at http://127.0.0.1:1"), "{stderr}");

    // Something else answers: the receiver, which speaks no HTTP/1.
    let (code, _, stderr) = trace(&watch.collector.endpoint(), &["ord_1"]).await;
    assert_eq!(code, Some(1));
    assert!(stderr.starts_with("tael: "), "{stderr}");
}

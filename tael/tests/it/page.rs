//! The pages.

use reqwest::StatusCode;

use crate::{Watch, failed, hex, span, with};

#[tokio::test]
async fn the_list_and_the_waterfall_show_a_journey() {
    let watch = Watch::start().await;
    let (status, empty) = watch.get("/").await;
    assert_eq!(status, StatusCode::OK);
    assert!(empty.contains("No traces yet") && empty.contains(&watch.collector.endpoint()), "{empty}");

    watch.journey().await;
    let (_, list) = watch.get("/").await;
    for part in ["Newest traces", "OrderService/CreateOrder", "ord_of_this", &hex(1)] {
        assert!(list.contains(part), "{part}: {list}");
    }
    assert!(!list.contains(&hex(2)), "batches are many and found by links: {list}");
    let (_, list) = watch.get("/?batches=true").await;
    assert!(list.contains(&hex(1)) && list.contains(&hex(2)), "{list}");

    let (status, page) = watch.get(&format!("/traces/{}", hex(1))).await;
    assert_eq!(status, StatusCode::OK);
    // Each span in its place: the payment's begins after 2 of 9 ms and takes 4.
    let rows: Vec<&str> = page.split("<details id=").skip(1).collect();
    assert_eq!(rows.len(), 3);
    assert!(rows[0].contains("Level 1") && rows[0].contains("OrderService/CreateOrder"), "{}", rows[0]);
    assert!(
        rows[1].contains("Level 2") && rows[1].contains(r#"x="22.222%" y="25%" width="44.444%""#),
        "{}",
        rows[1]
    );
    assert!(rows[2].contains("Level 3") && rows[2].contains(&format!("/traces/{}#", hex(2))), "{}", rows[2]);
    assert!(page.contains("Linked with this") && page.contains("event.batch.settlement"), "{page}");
}

#[tokio::test]
async fn a_payment_that_was_asked_about_all_night_is_a_small_page() {
    let watch = Watch::start().await;
    let polls = (0..480_u64).map(|n| {
        let mut poll = span(1, 1, None, "payment.poll", n * 60_000, 5);
        poll.span_id = (n + 1).to_be_bytes().to_vec();
        poll
    });
    watch.send("payment", polls.collect()).await;
    let (_, page) = watch.get(&format!("/traces/{}", hex(1))).await;
    assert_eq!(page.matches("<details").count(), 480);
    let rects = page.matches("<rect").count();
    assert!(rects <= 2 * 480 + 10, "two for each span, and some waits once for all: {rects}");
    assert!(page.contains("Folded waits: 59.99 s, 59.99 s"), "{page}");
}

#[tokio::test]
async fn one_search_box_takes_any_id() {
    let watch = Watch::start().await;
    watch.journey().await;
    let found = (StatusCode::SEE_OTHER, format!("/traces/{}", hex(1)));
    let traceparent = format!("00-{}-{}-01", hex(1), "ab".repeat(8));
    for query in ["ord_of_this", "pay_of_this", " ord_of_this ", &hex(1), &traceparent] {
        let query = query.replace(' ', "%20");
        assert_eq!(watch.get(&format!("/?query={query}")).await, found, "{query}");
    }
    let (status, nothing) = watch.get("/?query=ord_of_nobody").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(nothing.contains("Nothing carries this id") && nothing.contains("ord_of_nobody"), "{nothing}");

    // A second trace carries it: a callback that came later.
    let callback = with(span(3, 1, None, "callback.alipay", 50, 1), &[("tael.payment_id", "pay_of_this")]);
    watch.send("gateway", vec![callback]).await;
    let (status, both) = watch.get("/?query=pay_of_this").await;
    assert_eq!(status, StatusCode::OK);
    for part in ["2 traces carry this id", &hex(1), &hex(3), "Linked with these", &hex(2)] {
        assert!(both.contains(part), "{part}: {both}");
    }
}

#[tokio::test]
async fn errors_and_absent_parents_are_seen() {
    let watch = Watch::start().await;
    let broken = failed(span(1, 1, Some(7), "db.order.insert", 0, 1), "connection lost");
    watch.send("order", vec![broken]).await;
    let (_, page) = watch.get(&format!("/traces/{}", hex(1))).await;
    for part in ["1 error", "connection lost", "is-error", "is-missing", "a span that has not come"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let (_, list) = watch.get("/").await;
    assert!(list.contains("1 error"), "{list}");
}

#[tokio::test]
async fn nothing_in_a_span_becomes_part_of_the_page() {
    let watch = Watch::start().await;
    let evil = r#"</summary><script>alert("x")</script><img src=x onerror='alert(1)'>"#;
    let mut span = failed(span(1, 1, Some(2), evil, 0, 1), evil);
    span.events.push(opentelemetry_proto::tonic::trace::v1::span::Event {
        name: evil.to_owned(),
        attributes: vec![crate::attribute(evil, evil)],
        ..Default::default()
    });
    let keys = ["tael.order_id", "tael.payment_id", "tael.outcome", "rpc.method", evil];
    watch.send(evil, vec![with(span, &keys.map(|key| (key, &evil[..60])))]).await;
    let mut search = reqwest::Url::parse("http://viewer/").unwrap();
    search.query_pairs_mut().append_pair("query", evil);
    let search = format!("/?{}", search.query().unwrap());
    for path in ["/", &format!("/traces/{}", hex(1)), &search] {
        let (_, page) = watch.get(path).await;
        assert!(page.contains("alert("), "{path} shows it: {page}");
        for tag in ["<script", "<img", "onerror='", "</summary><"] {
            assert!(!page.contains(tag), "{path} has {tag}: {page}");
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let watch = Watch::start().await;
    for (path, expected) in [
        (format!("/traces/{}", hex(1)), StatusCode::NOT_FOUND),
        ("/traces/short".to_owned(), StatusCode::BAD_REQUEST),
        (format!("/traces/{}", "0".repeat(32)), StatusCode::BAD_REQUEST),
        ("/elsewhere".to_owned(), StatusCode::NOT_FOUND),
    ] {
        let (status, page) = watch.get(&path).await;
        assert_eq!(status, expected, "{path}");
        assert!(page.contains("<!doctype html>") && page.contains(r#"name="query""#), "{page}");
    }
}

#[tokio::test]
async fn the_page_allows_no_script_and_answers_no_other_name() {
    let watch = Watch::start().await;
    watch.journey().await;
    let client = reqwest::Client::new();
    for path in ["/", &format!("/traces/{}", hex(1)), "/api/traces", "/style.css"] {
        let url = format!("{}{path}", watch.viewer.url());
        let response = client.get(&url).send().await.unwrap();
        let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'; style-src 'self';"), "{policy}");
        assert!(!policy.contains("script-src") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        let body = response.text().await.unwrap();
        assert!(!body.contains(" style=\""), "inline styles are blocked");
        let rebound = client.get(&url).header("host", "evil.example:8099").send().await.unwrap();
        assert_eq!(rebound.status(), StatusCode::FORBIDDEN);
        assert!(!rebound.text().await.unwrap().contains("ord_of_this"));
    }
}

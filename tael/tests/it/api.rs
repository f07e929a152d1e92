//! The API beside the page.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{Watch, hex, span, with};

async fn json(watch: &Watch, path: &str) -> (StatusCode, Value) {
    let (status, body) = watch.get(path).await;
    (status, serde_json::from_str(&body).expect("JSON"))
}

#[tokio::test]
async fn a_search_gives_what_carries_the_id_and_what_that_is_linked_with() {
    let watch = Watch::start().await;
    watch.journey().await;
    let (status, list) = json(&watch, "/api/traces?query=pay_of_this").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(list["total"], 1);
    assert_eq!(
        list["traces"][0],
        json!({
            "trace_id": hex(1),
            "name": "tael.order.v1.OrderService/CreateOrder",
            "start_time": "2026-01-01T00:00:00Z",
            "duration_ns": 9_000_000,
            "spans": 3,
            "errors": 0,
            "services": ["order", "payment", "settlement"],
            "ids": {"orders": ["ord_of_this"], "payments": ["pay_of_this"], "refunds": [], "merchants": []},
        })
    );
    assert_eq!(list["linked"][0]["trace_id"], hex(2));
    let (_, all) = json(&watch, "/api/traces?limit=1").await;
    assert_eq!((all["total"].as_u64(), all["traces"].as_array().unwrap().len()), (Some(2), 1));
    let (status, nothing) = json(&watch, "/api/traces?query=ord_of_nobody").await;
    assert_eq!((status, nothing), (StatusCode::OK, json!({"traces": [], "total": 0, "linked": []})));
}

#[tokio::test]
async fn a_list_is_bounded_whatever_is_asked_for() {
    let watch = Watch::start().await;
    let many = (1..=1_001_u32).map(|n| {
        let mut span = with(span(1, 1, None, "webhook.deliver", 0, 1), &[("tael.merchant_id", "mer_1")]);
        span.trace_id = [n.to_be_bytes(); 4].concat();
        span
    });
    watch.send("notification", many.collect()).await;
    for path in ["/api/traces?limit=9999999", "/api/traces?limit=9999999&query=mer_1"] {
        let (_, list) = json(&watch, path).await;
        let traces = list["traces"].as_array().unwrap().len();
        assert_eq!((list["total"].as_u64(), traces), (Some(1_001), 1_000), "{path}");
    }
}

#[tokio::test]
async fn a_trace_comes_in_full() {
    let watch = Watch::start().await;
    watch.journey().await;
    let (status, trace) = json(&watch, &format!("/api/traces/{}", hex(1))).await;
    assert_eq!(status, StatusCode::OK);
    let rows = trace["rows"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| row["depth"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(rows[1]["service"], "payment");
    assert_eq!(rows[1]["attributes"], json!({"tael.outcome": "ok", "tael.payment_id": "pay_of_this"}));
    assert_eq!(
        (rows[1]["offset_ns"].as_u64(), rows[1]["duration_ns"].as_u64()),
        (Some(2_000_000), Some(4_000_000))
    );
    assert_eq!(rows[2]["links"], json!([{"trace_id": hex(2), "span_id": "09".repeat(8)}]));
    assert_eq!(trace["related"][0]["name"], "event.batch.settlement");
    // The batch knows who links to it.
    let (_, batch) = json(&watch, &format!("/api/traces/{}", hex(2))).await;
    assert_eq!(batch["related"][0]["trace_id"], hex(1));
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let watch = Watch::start().await;
    let (status, body) = json(&watch, &format!("/api/traces/{}", hex(1))).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(body["error"].as_str().unwrap().contains("has not come"), "{body}");
    let (status, body) = json(&watch, "/api/traces/12").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body["error"].as_str().unwrap().contains("32 hexadecimal digits"), "{body}");
    assert_eq!(watch.get("/api/traces?limit=many").await.0, StatusCode::BAD_REQUEST);
}

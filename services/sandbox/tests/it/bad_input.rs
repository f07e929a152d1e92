use serde_json::{Value, json};

use crate::merchant::{World, unsigned, world};

const METHODS: [&str; 7] = [
    "alipay.trade.precreate",
    "alipay.trade.query",
    "alipay.trade.close",
    "alipay.trade.cancel",
    "alipay.trade.refund",
    "alipay.trade.fastpay.refund.query",
    "alipay.data.dataservice.bill.downloadurl.query",
];

async fn still_alive(world: &World) {
    assert_eq!(world.query("nothing").await.outcome(), "40004 ACQ.TRADE_NOT_EXIST");
}

#[tokio::test]
async fn every_bad_field_is_refused_by_name() {
    let world = world().await;
    let good = json!({ "out_trade_no": "order1", "total_amount": "1.00", "subject": "tea" });
    for (name, value) in [
        ("out_trade_no", Value::Null),
        ("out_trade_no", json!("")),
        ("out_trade_no", json!("a b")),
        ("out_trade_no", json!("订单")),
        ("out_trade_no", json!("a".repeat(65))),
        ("out_trade_no", json!(["a"])),
        ("total_amount", Value::Null),
        ("total_amount", json!("0")),
        ("total_amount", json!("-1.00")),
        ("total_amount", json!("1.001")),
        ("total_amount", json!("100000000.01")),
        ("total_amount", json!("1e3")),
        ("total_amount", json!("NaN")),
        ("total_amount", json!({})),
        ("subject", json!("")),
        ("subject", json!("tea/cup")),
        ("subject", json!("a=b")),
        ("subject", json!("tea & cup")),
        ("subject", json!("tea\u{0}")),
        ("subject", json!("茶".repeat(257))),
        ("timeout_express", json!("1.5h")),
        ("timeout_express", json!("16d")),
        ("time_expire", json!("tomorrow")),
        ("qr_code_timeout_express", json!("0m")),
    ] {
        let mut biz = good.clone();
        biz[name] = value.clone();
        let answer = world.call("alipay.trade.precreate", biz).await;
        assert_eq!(answer.outcome(), "40004 ACQ.INVALID_PARAMETER", "{name}={value}");
        assert!(answer.get("sub_msg").contains(name), "{name}={value}");
    }
    // An amount may be a number.
    let mut biz = good;
    biz["total_amount"] = json!(1.5);
    assert_eq!(world.call("alipay.trade.precreate", biz).await.outcome(), "10000");
}

#[tokio::test]
async fn bad_notify_urls_are_refused() {
    let world = world().await;
    let biz = json!({ "out_trade_no": "order1", "total_amount": "1.00", "subject": "tea" });
    let long = format!("http://shop.example/{}", "a".repeat(256));
    for url in ["shop.example", "ftp://shop.example/", "http://", &long] {
        let answer = world.call_notified("alipay.trade.precreate", biz.clone(), Some(url)).await;
        assert_eq!(answer.outcome(), "40002 isv.invalid-parameter", "{url}");
    }
}

#[tokio::test]
async fn strange_business_parameters_are_refused_by_every_method() {
    let world = world().await;
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    for method in METHODS {
        for biz in [
            json!({}),
            json!({ "out_trade_no": deep }),
            json!({ "out_trade_no": { "a": 1 }, "trade_no": true, "bill_type": 1, "bill_date": [] }),
            json!({ "out_trade_no": "\u{0}", "bill_type": "trade", "bill_date": "9999-12-31" }),
            json!({ "trade_no": "x", "out_trade_no": "y", "refund_amount": "99999999999999999999" }),
            json!({ "bill_type": "trade", "bill_date": "-001-01-01" }),
        ] {
            let answer = world.call(method, biz.clone()).await;
            let found_nothing = matches!(method, "alipay.trade.cancel");
            assert!(answer.code() != "10000" || found_nothing, "{method} {biz}");
        }
    }
    still_alive(&world).await;
}

#[tokio::test]
async fn unparsable_requests_do_no_harm() {
    let world = world().await;
    let gateway = &world.app.gateway_url;
    for body in [&b"\xff\xfe=\xfd&%zz=%"[..], b"", b"&&&=&=", b"app_id=1&app_id=2", b"method=a%22%7D"] {
        let response = world.http.post(gateway).body(body.to_vec()).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let answer = unsigned(&response.text().await.unwrap());
        assert_eq!(answer.node_name, "error_response");
        assert!(answer.code().starts_with("4000"));
    }
    let control = |path: &str| world.http.post(format!("{}/control/{path}", world.url));
    for path in [
        "alipay/accounts",
        "alipay/trades/scan",
        "alipay/trades/pay",
        "alipay/trades/decline",
        "alipay/faults",
        "clock",
        "clock/skip",
        "alipay/notifications/resend",
    ] {
        for body in ["", "{", "[]", "{\"unknown\":1}", "null"] {
            let response = control(path).body(body).send().await.unwrap();
            assert_eq!(response.status(), 400, "{path} {body}");
            let failure: Value = response.json().await.unwrap();
            assert!(failure["error"].is_string());
        }
    }
    for path in [
        "payer/alipay/%F0%9F",
        "payer",
        "bill/download",
        "control/alipay/trades?limit=0",
        "control/alipay/trades?status=x",
        "control/nowhere/trades",
        "no/where",
    ] {
        let status = world.http.get(format!("{}/{path}", world.url)).send().await.unwrap().status();
        assert!(status.is_client_error(), "{path} {status}");
    }
    still_alive(&world).await;
}

use std::collections::BTreeMap;

use aws_lc_rs::rsa::{KeyPair, KeySize};
use serde_json::json;

use crate::merchant::{World, sign_with, world};

fn signed_query(world: &World) -> BTreeMap<String, String> {
    let mut parameters = world.common("alipay.trade.query");
    parameters.insert("biz_content".to_owned(), json!({ "out_trade_no": "none" }).to_string());
    let sign = world.sign(&parameters);
    parameters.insert("sign".to_owned(), sign);
    parameters
}

#[tokio::test]
async fn a_well_signed_call_is_answered_and_the_answer_is_signed() {
    let world = world().await;
    let answer = world.send(&signed_query(&world)).await;
    assert_eq!(answer.node_name, "alipay_trade_query_response");
    assert_eq!(answer.outcome(), "40004 ACQ.TRADE_NOT_EXIST");
    world.stop().await;
}

#[tokio::test]
async fn forged_and_altered_calls_are_refused_without_a_signature() {
    let world = world().await;
    let stranger = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let mut forged = signed_query(&world);
    forged.insert("sign".to_owned(), sign_with(&stranger, &forged));
    let mut altered = signed_query(&world);
    altered.insert("biz_content".to_owned(), json!({ "out_trade_no": "other" }).to_string());
    let mut extended = signed_query(&world);
    extended.insert("notify_url".to_owned(), "http://evil.example/".to_owned());
    let mut garbage = signed_query(&world);
    garbage.insert("sign".to_owned(), "AAAA".to_owned());
    // A notification leaves sign_type out of the signed text; a call must not.
    let mut without_type = signed_query(&world);
    let mut reduced = without_type.clone();
    reduced.remove("sign_type");
    without_type.insert("sign".to_owned(), sign_with(&world.key, &reduced));
    for parameters in [forged, altered, extended, garbage, without_type] {
        let refused = world.send_to_be_refused(&parameters).await;
        assert_eq!(refused.outcome(), "40002 isv.invalid-signature");
        assert_eq!(refused.node_name, "alipay_trade_query_response");
    }
}

#[tokio::test]
async fn an_empty_value_is_no_part_of_the_signed_text() {
    let world = world().await;
    let mut parameters = signed_query(&world);
    parameters.insert("return_url".to_owned(), String::new());
    assert_eq!(world.send(&parameters).await.outcome(), "40004 ACQ.TRADE_NOT_EXIST");
}

#[tokio::test]
async fn parameters_may_stand_in_query_and_form() {
    let world = world().await;
    let mut query = signed_query(&world);
    let biz_content = query.remove("biz_content").unwrap();
    let request =
        world.http.post(&world.app.gateway_url).query(&query).form(&[("biz_content", &biz_content)]);
    let body = request.send().await.unwrap().text().await.unwrap();
    assert_eq!(world.verified(&body).outcome(), "40004 ACQ.TRADE_NOT_EXIST");

    let request = world.http.get(&world.app.gateway_url).query(&signed_query(&world));
    let body = request.send().await.unwrap().text().await.unwrap();
    assert_eq!(world.verified(&body).outcome(), "40004 ACQ.TRADE_NOT_EXIST");
}

#[tokio::test]
async fn common_parameters_are_checked() {
    let world = world().await;
    for (name, outcome) in [
        ("app_id", "40001 isv.missing-app-id"),
        ("method", "40001 isv.missing-method"),
        ("sign", "40001 isv.missing-signature"),
        ("sign_type", "40001 isv.missing-signature-type"),
        ("timestamp", "40001 isv.missing-timestamp"),
        ("version", "40001 isv.missing-version"),
    ] {
        let mut parameters = signed_query(&world);
        parameters.remove(name);
        let refused = world.send_to_be_refused(&parameters).await;
        assert_eq!(refused.outcome(), outcome, "without {name}");
        assert_eq!(refused.node_name == "error_response", name == "method", "without {name}");
    }
    for (name, value, outcome) in [
        ("app_id", "2021000000000000", "40002 isv.invalid-app-id"),
        ("sign_type", "RSA", "40002 isv.invalid-signature-type"),
        ("charset", "latin1", "40002 isv.invalid-charset"),
        ("timestamp", "2020-01-01 00:00:00", "40002 isv.invalid-timestamp"),
        ("timestamp", "yesterday", "40002 isv.invalid-timestamp"),
        ("version", "2.0", "40002 isv.invalid-parameter"),
        ("format", "XML", "40002 isv.invalid-format"),
    ] {
        let mut parameters = signed_query(&world);
        parameters.insert(name.to_owned(), value.to_owned());
        let sign = world.sign(&parameters);
        parameters.insert("sign".to_owned(), sign);
        assert_eq!(world.send_to_be_refused(&parameters).await.outcome(), outcome, "{name}={value}");
    }
}

/// Who calls is known by then, so the refusal is signed.
#[tokio::test]
async fn a_call_that_comes_to_a_method_is_refused_with_a_signature() {
    let world = world().await;
    for (name, value, outcome) in [
        ("method", "alipay.trade.unknown", "40002 isv.invalid-method"),
        ("biz_content", "[]", "40002 isv.invalid-parameter"),
        ("biz_content", "{", "40002 isv.invalid-parameter"),
        ("biz_content", "", "40001 isv.missing-parameter"),
    ] {
        let mut parameters = signed_query(&world);
        parameters.insert(name.to_owned(), value.to_owned());
        let sign = world.sign(&parameters);
        parameters.insert("sign".to_owned(), sign);
        assert_eq!(world.send(&parameters).await.outcome(), outcome, "{name}={value}");
    }
}

use encoding_rs::GBK;
use serde_json::{Value, json};
use tael_sandbox::alipay::{AppView, Charset, RegisterApp};

use crate::merchant::{World, endpoint, registration, sign_bytes, world};

fn gbk(text: &str) -> Vec<u8> {
    GBK.encode(text).0.into_owned()
}

/// A form in GBK and the body that answers it, as bytes.
async fn call_in_gbk(world: &World, method: &str, biz: &Value, notify_url: Option<&str>) -> Vec<u8> {
    let mut parameters = world.common(method);
    parameters.insert("charset".to_owned(), "GBK".to_owned());
    parameters.insert("biz_content".to_owned(), biz.to_string());
    parameters.extend(notify_url.map(|url| ("notify_url".to_owned(), url.to_owned())));
    let text: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let sign = sign_bytes(&world.key, &gbk(&text.join("&")));
    parameters.insert("sign".to_owned(), sign);
    let form: Vec<_> = parameters
        .iter()
        .map(|(name, value)| {
            format!("{name}={}", url::form_urlencoded::byte_serialize(&gbk(value)).collect::<String>())
        })
        .collect();
    let request = world.http.post(&world.app.gateway_url).body(form.join("&"));
    let response = request.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/html;charset=GBK");
    response.bytes().await.unwrap().to_vec()
}

/// The node of an answer, whose signature is over its bytes as they were sent.
fn verified(world: &World, body: &[u8]) -> Value {
    let before = body.windows(9).rposition(|window| window == b",\"sign\":\"").unwrap();
    let name = body.windows(2).position(|window| window == b"\":").unwrap() + 2;
    let (node, sign) = (&body[name..before], &body[before + 9..body.len() - 2]);
    assert!(world.alipay_signed(node, std::str::from_utf8(sign).unwrap()), "signed over the bytes sent");
    serde_json::from_str(&GBK.decode_without_bom_handling_and_without_replacement(node).unwrap()).unwrap()
}

/// The fields of a form as bytes.
fn fields_of(body: &[u8]) -> Vec<(String, Vec<u8>)> {
    body.split(|byte| *byte == b'&')
        .map(|pair| {
            let pair: Vec<_> = pair.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let mut half = || percent_encoding::percent_decode(halves.next().unwrap()).collect::<Vec<_>>();
            (String::from_utf8(half()).unwrap(), half())
        })
        .collect()
}

fn assert_genuine_in_gbk(world: &World, body: &[u8], subject: &str) {
    let mut fields = fields_of(body);
    fields.sort();
    let get = |name: &str| fields.iter().find(|(field, _)| field == name).unwrap().1.clone();
    assert_eq!((get("charset"), get("subject")), (b"GBK".to_vec(), gbk(subject)));
    let signed: Vec<_> = fields
        .iter()
        .filter(|(name, value)| !matches!(name.as_str(), "sign" | "sign_type") && !value.is_empty())
        .map(|(name, value)| [name.as_bytes(), b"=", value].concat())
        .collect();
    assert!(world.alipay_signed(&signed.join(&b'&'), std::str::from_utf8(&get("sign")).unwrap()));
}

#[tokio::test]
async fn a_call_in_gbk_is_answered_and_notified_in_gbk() {
    let world = world().await;
    let mut shop = endpoint(&[]).await;
    // 朂 is 0x96 0x7D, which ends like a brace.
    let subject = "乌龙茶朂";
    let biz = json!({ "out_trade_no": "order1", "total_amount": "1.00", "subject": subject });
    let body = call_in_gbk(&world, "alipay.trade.precreate", &biz, Some(&shop.url)).await;
    assert_eq!(verified(&world, &body)["code"], "10000");
    assert_eq!(world.control.pay(world.trade("order1")).await.unwrap().subject, subject);
    assert_genuine_in_gbk(&world, &shop.next_raw().await, subject);

    let unknown = call_in_gbk(&world, "alipay.trade.query", &json!({ "out_trade_no": "none" }), None).await;
    assert_eq!(verified(&world, &unknown)["sub_msg"], "交易不存在");
}

#[tokio::test]
async fn an_app_may_have_its_notifications_in_another_set_than_its_calls() {
    let world = world().await;
    let mut shop = endpoint(&[]).await;
    let in_gbk = RegisterApp {
        app_id: Some(world.app.app_id.clone()),
        notify_charset: Some(Charset::Gbk),
        ..registration(&world.key)
    };
    let _: AppView = world.control.register(&in_gbk).await.unwrap();
    world.paid("order1", "1.00", Some(&shop.url)).await;
    assert_genuine_in_gbk(&world, &shop.next_raw().await, "乌龙茶 500g");
}

use std::collections::HashSet;

use serde_json::{Value, json};
use tael_ids::{OrderId, PaymentId};
use tael_proto::payment::v1::next_action::Action;
use tael_proto::payment::v1::{
    ClientParameters, Failure, GetCheckoutResponse, Instructions, NextAction, PaymentState, Redirect, Wait,
};
use tael_proto::r#type::v1::{Channel, Money};
use tonic::Status;

use crate::{Fixture, header};

const QR: &str = "https://qr.alipay.com/bax00069q3tmwv0a7xyz0033";

fn pending() -> GetCheckoutResponse {
    GetCheckoutResponse {
        amount: Some(Money { currency: "CNY".to_owned(), minor: 123_450 }),
        subject: "龙井茶 250 g".to_owned(),
        state: PaymentState::Pending.into(),
        next_action: Some(NextAction { action: Some(Action::QrCode(QR.to_owned())) }),
        channel: Channel::Alipay.into(),
        failure: None,
    }
}

fn in_state(state: PaymentState) -> GetCheckoutResponse {
    GetCheckoutResponse { state: state.into(), next_action: None, ..pending() }
}

fn failed(reason: &str) -> GetCheckoutResponse {
    let failure = Failure { reason: reason.to_owned(), channel_code: "ACQ.SECRET_CODE".to_owned() };
    GetCheckoutResponse { failure: Some(failure), ..in_state(PaymentState::Failed) }
}

impl Fixture {
    /// Stores a checkout under a new payment and returns the path of its page.
    fn checkout(&self, reply: GetCheckoutResponse) -> String {
        let id = PaymentId::new().to_string();
        self.payment.script.checkout(&id, Ok(reply));
        format!("/checkout/{id}")
    }

    async fn html(&self, path: &str) -> String {
        let response = self.get(path).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(header(&response, "content-type"), "text/html; charset=utf-8");
        response.text().await.unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        let response = self.get(path).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(header(&response, "cache-control"), "no-store");
        assert_eq!(header(&response, "content-type"), "application/json");
        response.json().await.unwrap()
    }
}

#[tokio::test]
async fn the_page_speaks_the_buyer_s_language() {
    let fixture = Fixture::start().await;
    let path = fixture.checkout(pending());
    let in_language = async |accept: &str, path: &str| {
        fixture.get(path).header("accept-language", accept).send().await.unwrap().text().await.unwrap()
    };
    let chinese = in_language("zh-CN,zh;q=0.9,en;q=0.8", &path).await;
    assert!(chinese.contains(r#"<html lang="zh-CN">"#), "{chinese}");
    assert!(chinese.contains("请打开支付宝，扫描上方二维码付款。"));
    assert!(chinese.contains(r#"href="?lang=en""#), "a way to the other language");
    assert!(!chinese.contains("Waiting"));

    let english = in_language("en-GB,en;q=0.9", &path).await;
    assert!(english.contains(r#"<html lang="en">"#), "{english}");
    assert!(english.contains("Open Alipay and scan the code above."));
    assert!(english.contains(r#"href="?lang=zh-CN""#));

    let asked = in_language("zh-CN", &format!("{path}?lang=en")).await;
    assert!(asked.contains(r#"<html lang="en">"#), "what is asked for comes first");
    let nonsense = in_language("zh-CN", &format!("{path}?lang=<b>&lang=x&%FF")).await;
    assert!(nonsense.contains(r#"<html lang="zh-CN">"#), "nonsense in the query does no harm");
}

#[tokio::test]
async fn the_page_shows_subject_price_and_code() {
    let fixture = Fixture::start().await;
    let path = fixture.checkout(pending());
    let html = fixture.html(&path).await;
    assert!(html.contains("龙井茶 250 g"));
    assert!(
        html.contains(r#"<span class="currency">CNY</span> <span class="number">1,234.50</span>"#),
        "{html}"
    );
    assert!(html.contains(r#"<svg role="img" aria-label="QR code for the payment" viewBox="0 0 "#));
    assert!(
        html.contains(r#"href="https:&#x2f;&#x2f;qr.alipay.com&#x2f;bax00069q3tmwv0a7xyz0033""#),
        "{html}"
    );
    assert!(html.contains(r#"<noscript><meta http-equiv="refresh" content="5"></noscript>"#));
    assert!(html.contains(r#"<div role="status">"#));
    assert!(html.contains(r#"data-state="pending""#));
}

#[tokio::test]
async fn the_price_has_the_decimals_of_its_currency() {
    let fixture = Fixture::start().await;
    for (currency, minor, shown) in [("JPY", 98_000, "98,000"), ("KWD", 1_005, "1.005"), ("USD", 5, "0.05")] {
        let amount = Some(Money { currency: currency.to_owned(), minor });
        let path = fixture.checkout(GetCheckoutResponse { amount, ..pending() });
        let html = fixture.html(&path).await;
        let expected =
            format!(r#"<span class="currency">{currency}</span> <span class="number">{shown}</span>"#);
        assert!(html.contains(&expected), "{html}");
    }
}

#[tokio::test]
async fn a_hostile_subject_stays_text() {
    let fixture = Fixture::start().await;
    let subject = r#"</h1><script>alert(1)</script><img src=x onerror="alert(2)">' {{ nonce }} {% raw %}"#;
    let path = fixture.checkout(GetCheckoutResponse { subject: subject.to_owned(), ..pending() });
    let html = fixture.html(&path).await;
    assert_eq!(html.matches("<script").count(), 1, "only our own: {html}");
    assert!(!html.contains("<img"), "{html}");
    assert!(html.contains("&lt;script&gt;alert(1)"), "{html}");
    assert!(html.contains("{{ nonce }} {% raw %}"), "it is no template");
}

#[tokio::test]
async fn a_hostile_code_is_drawn_but_is_no_link() {
    let fixture = Fixture::start().await;
    for qr in ["javascript:alert(1)", "data:text/html,x", "alipays://platformapi", "\"><script>"] {
        let next_action = Some(NextAction { action: Some(Action::QrCode(qr.to_owned())) });
        let path = fixture.checkout(GetCheckoutResponse { next_action, ..pending() });
        let html = fixture.html(&path).await;
        assert!(!html.contains(r#"class="wallet""#), "{html}");
        assert!(html.contains("<svg role=\"img\""));
        assert_eq!(html.matches("<script").count(), 1);
    }
    let quotes = NextAction { action: Some(Action::QrCode("https://x/\"onclick=\"alert(1)".to_owned())) };
    let path = fixture.checkout(GetCheckoutResponse { next_action: Some(quotes), ..pending() });
    assert!(!fixture.html(&path).await.contains("\"onclick"));
}

#[tokio::test]
async fn a_code_that_can_t_be_drawn_is_no_page() {
    let fixture = Fixture::start().await;
    let next_action = Some(NextAction { action: Some(Action::QrCode("x".repeat(3000))) });
    let path = fixture.checkout(GetCheckoutResponse { next_action, ..pending() });
    assert_eq!(fixture.get(&path).send().await.unwrap().status(), 503);
}

fn with_action(action: Action) -> GetCheckoutResponse {
    GetCheckoutResponse { next_action: Some(NextAction { action: Some(action) }), ..pending() }
}

#[tokio::test]
async fn every_kind_of_action_is_shown_in_both_languages() {
    let fixture = Fixture::start().await;
    let pairs = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let url = "https://pay.example/go?a=b".to_owned();
    let escaped = "https:&#x2f;&#x2f;pay.example&#x2f;go?a=b";
    for (action, english, chinese, shown) in [
        (
            Action::Redirect(Redirect { url: url.clone(), form: pairs(&[]) }),
            "Use the button above",
            "请点击上方按钮",
            vec![format!(r#"<a class="go" href="{escaped}""#)],
        ),
        (
            Action::Redirect(Redirect { url, form: pairs(&[("token", "a\"><script>")]) }),
            "Use the button above",
            "请点击上方按钮",
            vec![
                format!(r#"<form method="post" action="{escaped}">"#),
                r#"<input type="hidden" name="token" value="a&quot;&gt;&lt;script&gt;">"#.to_owned(),
            ],
        ),
        (
            Action::ClientParameters(ClientParameters { parameters: pairs(&[("sign", "secret")]) }),
            "Go on in the app",
            "请回到您来自的应用",
            vec![],
        ),
        (
            Action::Instructions(Instructions {
                reference: "RF18-0042".to_owned(),
                details: pairs(&[("IBAN", "DE89 3704")]),
            }),
            "give the reference",
            "参考号",
            vec!["<dd>RF18-0042</dd>".to_owned(), "<dt>IBAN</dt><dd>DE89 3704</dd>".to_owned()],
        ),
        (Action::Wait(Wait {}), "Confirm the payment on your phone", "请在您的手机上确认付款", vec![]),
    ] {
        let path = fixture.checkout(with_action(action));
        let html = fixture.html(&format!("{path}?lang=en")).await;
        assert!(html.contains(r#"data-state="pending""#) && html.contains(english), "{html}");
        for part in shown {
            assert!(html.contains(&part), "{part} in {html}");
        }
        assert!(!html.contains("secret") && !html.contains("role=\"img\""), "{html}");
        let html = fixture.html(&format!("{path}?lang=zh-CN")).await;
        assert!(html.contains(chinese), "{html}");
        let told = fixture.json(&format!("{path}/state?lang=en")).await;
        assert!(told["detail"].as_str().unwrap().contains(english), "{told}");
    }
}

#[tokio::test]
async fn a_form_may_go_where_it_must_and_nowhere_else() {
    let fixture = Fixture::start().await;
    let policy = async |url: &str| {
        let form = [("token".to_owned(), "1".to_owned())].into();
        let path = fixture.checkout(with_action(Action::Redirect(Redirect { url: url.to_owned(), form })));
        let response = fixture.get(&path).send().await.unwrap();
        (response.status().as_u16(), header(&response, "content-security-policy").to_owned())
    };
    let (status, told) = policy("https://pay.example/go").await;
    assert_eq!(status, 200);
    assert!(told.contains("form-action https://pay.example; "), "{told}");
    for hostile in ["javascript:alert(1)", "https://x;script-src%20*/", "https://a@b/", "//x/"] {
        let (status, told) = policy(hostile).await;
        assert_eq!(status, 503, "{hostile}");
        assert!(told.contains("form-action 'none'"), "{told}");
    }
}

#[tokio::test]
async fn browsers_are_kept_on_the_safe_side() {
    let fixture = Fixture::start().await;
    let path = fixture.checkout(pending());
    let unknown = format!("/checkout/{}", PaymentId::new());
    let mut nonces = HashSet::new();
    for path in [&path, &path, &unknown] {
        let response = fixture.get(path).send().await.unwrap();
        assert_eq!(header(&response, "cache-control"), "no-store");
        assert_eq!(header(&response, "x-frame-options"), "DENY");
        assert_eq!(header(&response, "x-content-type-options"), "nosniff");
        assert_eq!(header(&response, "referrer-policy"), "no-referrer");
        let policy = header(&response, "content-security-policy").to_owned();
        assert!(policy.starts_with("default-src 'none'; "), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        let nonce = policy.split("script-src 'nonce-").nth(1).unwrap().split('\'').next().unwrap().to_owned();
        assert!(policy.contains(&format!("style-src 'nonce-{nonce}'")));
        let html = response.text().await.unwrap();
        assert!(html.contains(&format!(r#"<style nonce="{nonce}">"#)));
        assert_eq!(
            html.matches("<script").count(),
            html.matches(&format!(r#"<script nonce="{nonce}">"#)).count()
        );
        assert!(!html.contains("style="), "the policy blocks it");
        nonces.insert(nonce);
    }
    assert_eq!(nonces.len(), 3, "a nonce is used once");
    let state = fixture.get(&format!("{path}/state")).send().await.unwrap();
    assert_eq!(header(&state, "content-security-policy"), "default-src 'none'; frame-ancestors 'none'");
    assert_eq!(header(&state, "x-content-type-options"), "nosniff");
}

#[tokio::test]
async fn every_state_has_its_page_and_its_json() {
    let fixture = Fixture::start().await;
    for (reply, state, is_final, label, zh_label) in [
        (in_state(PaymentState::Created), "preparing", false, "Getting ready", "正在准备"),
        (in_state(PaymentState::Pending), "preparing", false, "Getting ready", "正在准备"),
        (pending(), "pending", false, "Waiting for payment", "等待付款"),
        (in_state(PaymentState::Succeeded), "succeeded", true, "Payment received", "付款成功"),
        (in_state(PaymentState::Closed), "closed", true, "Payment closed", "付款已关闭"),
        (failed("DECLINED"), "failed", true, "Payment failed", "付款失败"),
    ] {
        let path = fixture.checkout(reply);
        let told = fixture.json(&format!("{path}/state?lang=en")).await;
        assert_eq!(told["state"], state);
        assert_eq!(told["final"], is_final);
        assert_eq!(told["label"], label);
        let told = fixture.json(&format!("{path}/state?lang=zh-CN")).await;
        assert_eq!(told["label"], zh_label);

        let html = fixture.html(&path).await;
        assert!(html.contains(&format!(r#"data-state="{state}""#)), "{html}");
        assert!(html.contains(&format!(r#"<p class="label">{label}</p>"#)), "{html}");
        assert_eq!(html.contains("role=\"img\""), state == "pending");
        assert_eq!(html.contains("http-equiv=\"refresh\""), !is_final);
        assert_eq!(html.contains("<script"), !is_final);
    }
}

#[tokio::test]
async fn a_failure_is_explained_with_what_to_do_next() {
    let fixture = Fixture::start().await;
    let mut seen = HashSet::new();
    for reason in
        ["INSUFFICIENT_FUNDS", "RISK_DECLINED", "CHANNEL_CONFIGURATION", "ALREADY_CLOSED", "DECLINED"]
    {
        let path = fixture.checkout(failed(reason));
        for language in ["en", "zh-CN"] {
            let told = fixture.json(&format!("{path}/state?lang={language}")).await;
            let detail = told["detail"].as_str().unwrap().to_owned();
            let html = fixture.html(&format!("{path}?lang={language}")).await;
            assert!(html.contains(&detail.replace('\'', "&#x27;")), "{html}");
            assert!(!html.contains("SECRET_CODE"), "the channel's own words are not for buyers");
            assert!(seen.insert(detail), "{reason} in {language} says nothing of its own");
        }
    }
    // A reason of tomorrow is a plain decline today.
    let path = fixture.checkout(failed("BLUE_MOON"));
    let told = fixture.json(&format!("{path}/state?lang=en")).await;
    assert!(!seen.insert(told["detail"].as_str().unwrap().to_owned()));
}

#[tokio::test]
async fn the_state_is_exactly_this_json() {
    let fixture = Fixture::start().await;
    let path = fixture.checkout(pending());
    assert_eq!(
        fixture.json(&format!("{path}/state?lang=en")).await,
        json!({
            "state": "pending",
            "final": false,
            "label": "Waiting for payment",
            "detail": "Open Alipay and scan the code above.",
        })
    );
}

#[tokio::test]
async fn an_unknown_payment_is_a_page_that_says_so() {
    let fixture = Fixture::start().await;
    let (unknown, other_kind) = (PaymentId::new().to_string(), OrderId::new().to_string());
    let refused = PaymentId::new().to_string();
    fixture
        .payment
        .script
        .checkout(&refused, Err(Status::invalid_argument("payment_id is bad: <internals>")));
    for id in [&unknown, &other_kind, &refused, "x", "pay_", "%FF", "..%2f..%2fetc", "<script>"] {
        let response = fixture.get(&format!("/checkout/{id}?lang=zh-CN")).send().await.unwrap();
        assert_eq!(response.status(), 404, "{id}");
        let html = response.text().await.unwrap();
        assert!(html.contains("找不到这笔付款") && !html.contains("internals"), "{html}");
        let response = fixture.get(&format!("/checkout/{id}/state")).send().await.unwrap();
        assert_eq!(response.status(), 404, "{id}");
        assert_eq!(response.json::<Value>().await.unwrap(), json!({ "error": "not_found" }));
    }
}

#[tokio::test]
async fn what_can_t_be_shown_now_is_said_without_internals() {
    let fixture = Fixture::start().await;
    let broken = [
        Err(Status::internal("relation does not exist")),
        Ok(GetCheckoutResponse { amount: None, ..pending() }),
        Ok(GetCheckoutResponse { amount: Some(Money { currency: "XXX".to_owned(), minor: 1 }), ..pending() }),
        Ok(GetCheckoutResponse { state: 0, ..pending() }),
        Ok(GetCheckoutResponse { state: 99, ..pending() }),
    ];
    for reply in broken {
        let id = PaymentId::new().to_string();
        fixture.payment.script.checkout(&id, reply);
        let response = fixture.get(&format!("/checkout/{id}?lang=en")).send().await.unwrap();
        assert_eq!(response.status(), 503);
        let html = response.text().await.unwrap();
        assert!(html.contains("This page can&#x27;t be shown right now"), "{html}");
        assert!(!html.contains("relation"));
        let response = fixture.get(&format!("/checkout/{id}/state")).send().await.unwrap();
        assert_eq!(response.status(), 503);
        assert_eq!(response.json::<Value>().await.unwrap(), json!({ "error": "unavailable" }));
    }
}

use std::time::Duration;

use reqwest::Method;
use tael_gateway::Limits;
use tael_grpc::status::unavailable;
use tael_ids::{ChannelAccountId, PaymentId};
use tael_testkit::Link;
use tonic::{Code, Status};

use crate::payment::Payment;
use crate::{Fixture, gateway, header};

fn path() -> String {
    format!("/callbacks/alipay/{}", ChannelAccountId::new())
}

#[tokio::test]
async fn a_callback_is_handed_over_as_it_came_and_answered_as_told() {
    let fixture = Fixture::start().await;
    fixture.payment.script.answer(200, "text/plain; charset=utf-8", b"success\xff\x00");
    let account = ChannelAccountId::new().to_string();
    // Not UTF-8, half an escape, an empty field, the same field twice: none of that is the gateway's to mend.
    let body = b"sign=a%2Fb+c%3D%3D&\xd6\xd0=%&empty=&a=1&a=2&".as_slice();

    let response = fixture
        .post(&format!("/callbacks/alipay/{account}?a=%2F&b&a=1"))
        .header("Content-Type", "application/x-www-form-urlencoded; charset=GBK")
        .header("User-Agent", "Mozilla/4.0")
        .header("Cookie", "session=secret")
        .header("Authorization", "Bearer secret")
        .header("X-Forwarded-For", "203.0.113.9")
        .body(body)
        .send()
        .await
        .unwrap();

    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "content-type"), "text/plain; charset=utf-8");
    assert_eq!(response.bytes().await.unwrap().as_ref(), b"success\xff\x00");
    let [notification] = fixture.payment.script.notifications().try_into().unwrap();
    assert_eq!((notification.channel.as_str(), notification.method.as_str()), ("alipay", "POST"));
    assert_eq!(notification.path, format!("/callbacks/alipay/{account}"));
    assert_eq!(notification.query, "a=%2F&b&a=1");
    assert_eq!(notification.channel_account_id, account);
    assert_eq!(notification.body, body);
    let mut headers: Vec<_> = notification.headers.into_iter().collect();
    headers.sort();
    assert_eq!(
        headers,
        [
            ("content-type".to_owned(), "application/x-www-form-urlencoded; charset=GBK".to_owned()),
            ("user-agent".to_owned(), "Mozilla/4.0".to_owned()),
        ]
    );
}

#[tokio::test]
async fn the_payment_service_chooses_status_and_words() {
    let fixture = Fixture::start().await;
    for (status, content_type, body) in
        [(200, "text/plain", "fail"), (400, "application/json", "{}"), (500, "text/plain", "")]
    {
        fixture.payment.script.answer(status, content_type, body.as_bytes());
        let response = fixture.post(&path()).body("a=1").send().await.unwrap();
        assert_eq!(u32::from(response.status().as_u16()), status);
        assert_eq!(header(&response, "content-type"), content_type);
        assert_eq!(response.text().await.unwrap(), body);
    }
}

#[tokio::test]
async fn an_answer_that_is_no_http_makes_the_channel_try_again() {
    let fixture = Fixture::start().await;
    for (status, content_type) in [
        (0, "text/plain"),
        (99, "text/plain"),
        (100, "text/plain"),
        (70_000, "text/plain"),
        (200, "a\r\nb: c"),
    ] {
        fixture.payment.script.answer(status, content_type, b"success");
        let response = fixture.post(&path()).body("a=1").send().await.unwrap();
        assert_eq!(response.status(), 503, "{status} {content_type:?}");
        assert!(!response.text().await.unwrap().contains("success"));
    }
}

#[tokio::test]
async fn a_body_may_have_64_kib() {
    let fixture = Fixture::start().await;
    fixture.payment.script.answer(200, "text/plain", b"success");
    let response = fixture.post(&path()).body(vec![b'a'; 64 << 10]).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let response = fixture.post(&path()).body(vec![b'a'; (64 << 10) + 1]).send().await.unwrap();
    assert_eq!(response.status(), 413);
    assert_eq!(fixture.payment.script.notifications().len(), 1);
}

#[tokio::test]
async fn a_path_that_names_no_channel_account_is_not_found() {
    let fixture = Fixture::start().await;
    fixture.payment.script.answer(200, "text/plain", b"success");
    let (other_kind, known) = (PaymentId::new().to_string(), ChannelAccountId::new().to_string());
    let upper = known.to_uppercase();
    let no_underscore = known.replace('_', "");
    for id in ["", "x", "cha_", "cha_%FF", "%2e%2e", &other_kind, &upper, &no_underscore] {
        let response = fixture.post(&format!("/callbacks/alipay/{id}")).body("a=1").send().await.unwrap();
        assert_eq!(response.status(), 404, "{id}");
    }
    let response = fixture.post(&format!("/callbacks/nobody/{known}")).body("a=1").send().await.unwrap();
    assert_eq!(response.status(), 404);
    assert_eq!(fixture.payment.script.notifications().len(), 0);
}

#[tokio::test]
async fn a_callback_may_come_by_any_method() {
    let fixture = Fixture::start().await;
    fixture.payment.script.answer(200, "text/plain", b"success");
    for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
        let url = fixture.url(&format!("{}?a=1", path()));
        let response = fixture.browser.request(method.clone(), url).send().await.unwrap();
        assert_eq!(response.status(), 200, "{method}");
        let notification = fixture.payment.script.notifications().pop().unwrap();
        assert_eq!((notification.method.as_str(), notification.query.as_str()), (method.as_str(), "a=1"));
        assert!(notification.body.is_empty());
    }
}

#[tokio::test]
async fn refusals_become_answers_without_internals() {
    let fixture = Fixture::start().await;
    let secret = "relation \"attempt\" does not exist";
    for (code, expected) in [
        (Code::InvalidArgument, 400),
        (Code::NotFound, 404),
        (Code::Aborted, 503),
        (Code::Cancelled, 503),
        (Code::DeadlineExceeded, 503),
        (Code::FailedPrecondition, 503),
        (Code::Internal, 503),
        (Code::PermissionDenied, 503),
        (Code::ResourceExhausted, 503),
        (Code::Unavailable, 503),
        (Code::Unknown, 503),
        (Code::Ok, 503),
    ] {
        fixture.payment.script.refuse(Status::new(code, secret));
        let response = fixture.post(&path()).body("a=1").send().await.unwrap();
        assert_eq!(response.status(), expected, "{code:?}");
        assert!(header(&response, "content-type").starts_with("text/plain"));
        let text = response.text().await.unwrap();
        assert!(!text.contains("relation") && !text.contains("success"), "{text}");
    }
    fixture.payment.script.refuse(unavailable("postgres", &std::io::Error::other(secret)));
    assert_eq!(fixture.post(&path()).body("a=1").send().await.unwrap().status(), 503);
}

#[tokio::test]
async fn a_channel_does_not_notice_that_the_payment_service_restarts() {
    let payment = Payment::start().await;
    payment.script.answer(200, "text/plain", b"success");
    let mut link = Link::to(payment.url().strip_prefix("http://").unwrap().parse().unwrap()).await;
    let gateway = gateway(format!("http://{}", link.addr()), Limits::default()).await;
    let post = async || {
        let client = reqwest::Client::new();
        client.post(format!("{}{}", gateway.url(), path())).body("a=1").send().await.unwrap().status()
    };
    assert_eq!(post().await, 200);
    link.cut().await;
    let back = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        link.restore().await;
    };
    assert_eq!(tokio::join!(post(), back).0, 200);
    assert_eq!(payment.script.notifications().len(), 2);
}

#[tokio::test]
async fn while_the_payment_service_is_down_the_channel_is_to_try_again() {
    let mut fixture = Fixture::start().await;
    fixture.payment.script.answer(200, "text/plain", b"success");
    fixture.payment.stop().await;
    let response = fixture.post(&path()).body("a=1").send().await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.text().await.unwrap(), "not now, send it again\n");
}

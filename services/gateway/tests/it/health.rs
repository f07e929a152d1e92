use tael_gateway::Limits;
use tael_testkit::eventually;

use crate::{Fixture, gateway};

#[tokio::test]
async fn it_is_ready_while_the_payment_service_is() {
    let mut fixture = Fixture::start().await;
    assert_eq!(fixture.get("/healthz").send().await.unwrap().status(), 200);
    eventually("readiness", async || {
        (fixture.get("/readyz").send().await.unwrap().status() == 200).then_some(())
    })
    .await;
    fixture.payment.stop().await;
    assert_eq!(fixture.get("/readyz").send().await.unwrap().status(), 503);
    assert_eq!(fixture.get("/healthz").send().await.unwrap().status(), 200, "alive all the same");
}

#[tokio::test]
async fn it_starts_without_the_payment_service() {
    let gateway = gateway("http://127.0.0.1:1".to_owned(), Limits::default()).await;
    let status = async |path: &str| reqwest::get(format!("{}{path}", gateway.url())).await.unwrap().status();
    assert_eq!(status("/healthz").await, 200);
    assert_eq!(status("/readyz").await, 503);
}

use std::time::Duration;

use serde_json::json;
use tael_sandbox::{
    alipay,
    control::{AddFault, Fault},
};

use crate::merchant::{World, world};

async fn order_fault(world: &World, method: &str, fault: Fault) {
    let rule = AddFault::new(fault).account(&world.app.app_id).operation(method).times(1);
    world.control.add_fault(&rule).await.unwrap();
}

/// A signed refund of 1.00.
fn refund_request(world: &World, timeout: Duration) -> reqwest::RequestBuilder {
    let mut parameters = world.common("alipay.trade.refund");
    let biz = json!({ "out_trade_no": "order1", "out_request_no": "r1", "refund_amount": "1.00" });
    parameters.insert("biz_content".to_owned(), biz.to_string());
    let sign = world.sign(&parameters);
    parameters.insert("sign".to_owned(), sign);
    world.http.post(&world.app.gateway_url).form(&parameters).timeout(timeout)
}

async fn send_refund(world: &World, timeout: Duration) -> reqwest::Result<String> {
    refund_request(world, timeout).send().await?.text().await
}

#[tokio::test]
async fn a_timeout_after_success_has_moved_the_money() {
    let world = world().await;
    world.paid("order1", "1.00", None).await;
    order_fault(&world, "alipay.trade.refund", Fault::TimeOutAfter { hang_ms: 600_000 }).await;
    let error = send_refund(&world, Duration::from_millis(200)).await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    // The same refund again, as a client in doubt does it.
    let replay = world.refund("order1", "r1", "1.00").await;
    assert_eq!(replay.get("fund_change"), "N");
}

#[tokio::test]
async fn a_connection_that_hangs_does_not_keep_the_sandbox_from_stopping() {
    let world = world().await;
    order_fault(&world, "alipay.trade.refund", Fault::TimeOutAfter { hang_ms: 600_000 }).await;
    let hanging = tokio::spawn(refund_request(&world, Duration::from_mins(1)).send());
    while !world.control.faults().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    world.stop().await;
    assert!(!hanging.await.unwrap().unwrap_err().is_timeout());
}

#[tokio::test]
async fn a_closed_connection_after_success_has_moved_the_money() {
    let world = world().await;
    world.paid("order1", "1.00", None).await;
    order_fault(&world, "alipay.trade.refund", Fault::TimeOutAfter { hang_ms: 0 }).await;
    let error = send_refund(&world, Duration::from_secs(10)).await.unwrap_err();
    assert!(!error.is_timeout() && error.status().is_none(), "{error:?}");
    assert_eq!(world.refund("order1", "r1", "1.00").await.get("fund_change"), "N");
}

#[tokio::test]
async fn a_dropped_request_has_done_nothing() {
    let world = world().await;
    world.paid("order1", "1.00", None).await;
    order_fault(&world, "alipay.trade.refund", Fault::DropRequest).await;
    assert!(send_refund(&world, Duration::from_secs(10)).await.is_err());
    assert_eq!(world.refund("order1", "r1", "1.00").await.get("fund_change"), "Y");
}

#[tokio::test]
async fn a_failure_before_has_done_nothing_and_hits_only_its_method() {
    let world = world().await;
    world.paid("order1", "1.00", None).await;
    for (fault, outcome) in
        [(Fault::unavailable(), "20000 isp.unknow-error"), (alipay::system_error(), "40004 ACQ.SYSTEM_ERROR")]
    {
        order_fault(&world, "alipay.trade.refund", fault).await;
        assert_eq!(world.query("order1").await.outcome(), "10000");
        assert_eq!(world.refund("order1", "r1", "1.00").await.outcome(), outcome);
    }
    assert_eq!(world.refund("order1", "r1", "1.00").await.get("fund_change"), "Y");
}

#[tokio::test]
async fn what_was_only_said_to_be_closed_can_still_be_paid() {
    let world = world().await;
    for (number, method) in [("order1", "alipay.trade.close"), ("order2", "alipay.trade.cancel")] {
        world.precreate(number, "1.00", None).await;
        order_fault(&world, method, Fault::PretendClosed).await;
        assert_eq!(world.call(method, json!({ "out_trade_no": number })).await.outcome(), "10000");
        world.control.pay(world.trade(number)).await.unwrap();
        assert_eq!(world.query(number).await.get("trade_status"), "TRADE_SUCCESS");
    }
}

#[tokio::test]
async fn an_answer_can_be_late_or_badly_signed() {
    let world = world().await;
    world.paid("order1", "1.00", None).await;
    order_fault(&world, "alipay.trade.refund", Fault::DelayAnswer { delay_ms: 20 }).await;
    let body = send_refund(&world, Duration::from_secs(10)).await.unwrap();
    assert_eq!(world.verified(&body).get("fund_change"), "Y");
    order_fault(&world, "alipay.trade.refund", Fault::BadAnswerSignature).await;
    let body = send_refund(&world, Duration::from_secs(10)).await.unwrap();
    let (answer, good) = world.read(&body);
    assert!(!good);
    assert_eq!(answer.get("fund_change"), "N");
}

#[tokio::test]
async fn faults_can_be_listed_and_cleared() {
    let world = world().await;
    order_fault(&world, "alipay.trade.query", Fault::DropRequest).await;
    let rule = AddFault::new(Fault::unavailable());
    world.control.add_fault(&rule).await.unwrap();
    assert_eq!(world.control.faults().await.unwrap().len(), 2);
    assert_eq!(world.control.clear_faults(Some(&world.app.app_id)).await.unwrap().len(), 1);
    assert_eq!(world.query("order1").await.outcome(), "20000 isp.unknow-error");
    assert_eq!(world.control.faults().await.unwrap()[0].hits, 1);
    assert!(world.control.clear_faults(None).await.unwrap().is_empty());
    assert_eq!(world.query("order1").await.outcome(), "40004 ACQ.TRADE_NOT_EXIST");
}

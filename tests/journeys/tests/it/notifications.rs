use tael_journeys::{Seller, platform};
use tael_proto::order::v1::OrderState;
use tael_proto::payment::v1::{GetPaymentRequest, PaymentState};
use tael_proto::settlement::v1::ListTransfersRequest;
use tael_sandbox::control::{DeliveryState, Fault};
use tael_testkit::eventually;

#[tokio::test]
async fn a_lost_notification_is_found_out_by_query() {
    let mut seller = Seller::open().await;
    let order = seller.order().await;
    let payment = seller.payment(&order).await;
    seller.fault(None, Fault::LoseNotification { attempts: None }).await;
    let trade = seller.pay(&payment).await;
    seller.order_when(&order.order_id, "to be paid", |o| o.state() == OrderState::Paid).await;
    let trade = seller.clients.payer.trade(&seller.shop.app.app_id, &trade.out_trade_no).await.unwrap();
    assert!(trade.notifications.iter().all(|n| n.state == DeliveryState::Lost), "{:?}", trade.notifications);
}

#[tokio::test]
async fn a_repeated_notification_changes_nothing() {
    let mut seller = Seller::open().await;
    let order = seller.order().await;
    let payment = seller.payment(&order).await;
    seller.fault(None, Fault::DuplicateNotification { copies: 20 }).await;
    let out_trade_no = seller.pay(&payment).await.out_trade_no;
    let order = seller.order_when(&order.order_id, "to be paid", |o| o.state() == OrderState::Paid).await;
    eventually("all repetitions to be acknowledged", || async {
        let trade = seller.clients.payer.trade(&seller.shop.app.app_id, &out_trade_no).await.unwrap();
        let attempts: usize = trade.notifications.iter().map(|n| n.attempts.len()).sum();
        let done = trade.notifications.iter().all(|n| n.state == DeliveryState::Acknowledged);
        (attempts >= 21 && done).then_some(())
    })
    .await;
    let list = ListTransfersRequest { merchant_id: seller.shop.id(), ..ListTransfersRequest::default() };
    let transfers = eventually("the posting", || {
        let (mut client, list) = (seller.clients.ledger.clone(), list.clone());
        async move {
            let transfers = client.list_transfers(list).await.unwrap().into_inner().transfers;
            (!transfers.is_empty()).then_some(transfers)
        }
    })
    .await;
    assert_eq!(transfers.len(), 1);
    let now = seller.order_when(&order.order_id, "to be there", |_| true).await;
    assert_eq!(now.vouchers.len(), 1);
    assert_eq!(now, order);
}

#[tokio::test]
async fn a_forged_notification_is_refused_at_the_edge_and_changes_nothing() {
    let mut seller = Seller::open().await;
    let order = seller.order().await;
    let payment = seller.payment(&order).await;
    let account = &seller.shop.channel_account.channel_account_id;
    let url = format!("http://{}/callbacks/alipay/{account}", platform().gateway);
    let number = payment.attempts[0].attempt_id.replace('_', "");
    let form = format!(
        "notify_type=trade_status_sync&app_id={}&seller_id={}&out_trade_no={number}&trade_no=2026&\
         trade_status=TRADE_SUCCESS&total_amount=149.90&charset=utf-8&version=1.0&sign_type=RSA2&sign=Zm9yZ2Vk",
        seller.shop.app.app_id, seller.shop.app.seller_id,
    );
    let answer = reqwest::Client::new()
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await
        .unwrap();
    assert_ne!(answer.text().await.unwrap(), "success");
    let get = GetPaymentRequest { merchant_id: seller.shop.id(), payment_id: payment.payment_id.clone() };
    let seen = seller.clients.payment.get_payment(get).await.unwrap().into_inner().payment.unwrap();
    assert_eq!(seen.state(), PaymentState::Pending);
    assert_eq!(seen, payment);
}

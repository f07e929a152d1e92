//! Everything that the platform and the channel say of one shop, read through their interfaces.

use std::collections::BTreeMap;

use tael_proto::notification::v1::{Delivery, ListDeliveriesRequest};
use tael_proto::order::v1::{ListOrdersRequest, Order};
use tael_proto::payment::v1::{IntegrityAlert, ListIntegrityAlertsRequest, ListPaymentsRequest, Payment};
use tael_proto::refund::v1::{ListRefundsRequest, Refund};
use tael_proto::settlement::v1::{Account, ListAccountsRequest, ListTransfersRequest, Transfer};
use tael_sandbox::control::MovementView;
use tonic::Status;

use crate::Error;
use crate::caller::Caller;
use crate::shop::Shop;

const PAGE: u32 = 100;

/// What all parties have of one shop.
#[derive(Debug)]
pub struct Books {
    /// The orders.
    pub orders: Vec<Order>,
    /// The payments.
    pub payments: Vec<Payment>,
    /// The refunds.
    pub refunds: Vec<Refund>,
    /// The postings.
    pub transfers: Vec<Transfer>,
    /// The ledger's accounts.
    pub accounts: Vec<Account>,
    /// The webhooks.
    pub deliveries: Vec<Delivery>,
    /// What contradicted our record.
    pub integrity_alerts: Vec<IntegrityAlert>,
    /// What the channel moved, by the number that it was given for the payment.
    pub movements: BTreeMap<String, Vec<MovementView>>,
}

impl Books {
    /// Reads them all. While things still move, one part may be newer than another.
    pub async fn read(caller: &Caller, shop: &Shop) -> Result<Self, Error> {
        let merchant_id = shop.merchant_id.clone();
        let orders = pages(async |page_token| {
            let list = ListOrdersRequest {
                merchant_id: merchant_id.clone(),
                page_size: PAGE,
                page_token,
                ..ListOrdersRequest::default()
            };
            let page = caller
                .ask("ListOrders", None, list, |mut c, r| async move { c.order.list_orders(r).await })
                .await?;
            Ok((page.orders, page.next_page_token))
        })
        .await?;
        let payments = pages(async |page_token| {
            let list = ListPaymentsRequest {
                merchant_id: merchant_id.clone(),
                page_size: PAGE,
                page_token,
                ..ListPaymentsRequest::default()
            };
            let page = caller
                .ask("ListPayments", None, list, |mut c, r| async move { c.payment.list_payments(r).await })
                .await?;
            Ok((page.payments, page.next_page_token))
        })
        .await?;
        let refunds = pages(async |page_token| {
            let list = ListRefundsRequest {
                merchant_id: merchant_id.clone(),
                page_size: PAGE,
                page_token,
                ..ListRefundsRequest::default()
            };
            let page = caller
                .ask("ListRefunds", None, list, |mut c, r| async move { c.refund.list_refunds(r).await })
                .await?;
            Ok((page.refunds, page.next_page_token))
        })
        .await?;
        let transfers = pages(async |page_token| {
            let list = ListTransfersRequest {
                merchant_id: merchant_id.clone(),
                page_size: PAGE,
                page_token,
                ..ListTransfersRequest::default()
            };
            let page = caller
                .ask("ListTransfers", None, list, |mut c, r| async move { c.ledger.list_transfers(r).await })
                .await?;
            Ok((page.transfers, page.next_page_token))
        })
        .await?;
        let deliveries = pages(async |page_token| {
            let list = ListDeliveriesRequest {
                merchant_id: merchant_id.clone(),
                page_size: PAGE,
                page_token,
                ..ListDeliveriesRequest::default()
            };
            let page =
                caller
                    .ask("ListDeliveries", None, list, |mut c, r| async move {
                        c.deliveries.list_deliveries(r).await
                    })
                    .await?;
            Ok((page.deliveries, page.next_page_token))
        })
        .await?;
        let integrity_alerts = pages(async |page_token| {
            let list =
                ListIntegrityAlertsRequest { merchant_id: merchant_id.clone(), page_size: PAGE, page_token };
            let page = caller
                .ask("ListIntegrityAlerts", None, list, |mut c, r| async move {
                    c.integrity_alert.list_integrity_alerts(r).await
                })
                .await?;
            Ok((page.integrity_alerts, page.next_page_token))
        })
        .await?;
        let list = ListAccountsRequest { merchant_id: merchant_id.clone() };
        let accounts = caller
            .ask("ListAccounts", None, list, |mut c, r| async move { c.ledger.list_accounts(r).await })
            .await?
            .accounts;
        let mut movements = BTreeMap::<String, Vec<MovementView>>::new();
        for movement in caller.payer.movements(Some(&shop.seller_id)).await? {
            movements.entry(movement.out_trade_no.clone()).or_default().push(movement);
        }
        Ok(Self { orders, payments, refunds, transfers, accounts, deliveries, integrity_alerts, movements })
    }
}

/// All items of a list, page after page.
async fn pages<T>(read: impl AsyncFn(String) -> Result<(Vec<T>, String), Status>) -> Result<Vec<T>, Status> {
    let mut all = Vec::new();
    let mut token = String::new();
    loop {
        let (items, next) = read(token).await?;
        all.extend(items);
        if next.is_empty() {
            return Ok(all);
        }
        token = next;
    }
}

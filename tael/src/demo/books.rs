//! What is in the books afterwards, and in the trace.

use tael_proto::notification::v1::{DeliveryState, ListDeliveriesRequest};
use tael_proto::settlement::v1::{
    AccountKind, CheckLedgerRequest, CloseBatchRequest, Direction, GetStatementRequest, ListAccountsRequest,
    ListTransfersRequest, ReconcileRequest, TransferKind,
};

use super::report::{Report, display, minor, show, show_amount};
use super::{PATIENCE, eventually};
use crate::Error;
use crate::clients::{Clients, keyed};
use crate::shop::{Shop, answer};
use crate::traces::{self, Collector, Trace, TraceView};

/// Prints a payment's posting of one kind.
pub(crate) async fn show_postings(
    report: &mut Report,
    clients: &mut Clients,
    shop: &Shop,
    payment_id: &str,
    kind: TransferKind,
) -> Result<(), Error> {
    let transfer = eventually("the posting", || {
        let mut client = clients.ledger.clone();
        let list = ListTransfersRequest {
            merchant_id: shop.id(),
            payment_id: payment_id.to_owned(),
            page_size: 0,
            page_token: String::new(),
        };
        async move {
            let transfers = client.list_transfers(list).await?.into_inner().transfers;
            Ok(transfers.into_iter().find(|transfer| transfer.kind() == kind))
        }
    })
    .await?;
    show("ledger transfer", &transfer.transfer_id);
    let (mut debits, mut credits) = (0, 0);
    for entry in &transfer.entries {
        let side = match entry.direction() {
            Direction::Debit => {
                debits += minor(entry.amount.as_ref());
                "debit "
            }
            Direction::Credit | Direction::Unspecified => {
                credits += minor(entry.amount.as_ref());
                "credit"
            }
        };
        show_amount(&format!("  {side} {}", account_name(entry.kind())), entry.amount.as_ref());
    }
    report.check("debits equal credits", debits == credits && debits > 0);
    Ok(())
}

fn account_name(kind: AccountKind) -> String {
    kind.as_str_name().trim_start_matches("ACCOUNT_KIND_").to_lowercase().replace('_', " ")
}

pub(crate) async fn settle(report: &mut Report, clients: &mut Clients, shop: &Shop) -> Result<(), Error> {
    report.step("The batch is closed, the channel's bill is reconciled, the statement adds up");
    let expected: usize = 3;
    // All postings are there: two payments and a refund.
    eventually("all postings", || {
        let mut client = clients.ledger.clone();
        let list = ListTransfersRequest { merchant_id: shop.id(), ..ListTransfersRequest::default() };
        async move {
            let transfers = client.list_transfers(list).await?.into_inner().transfers;
            Ok((transfers.len() == expected).then_some(()))
        }
    })
    .await?;
    let now = tael_clock::Clock::system().now();
    let close = CloseBatchRequest {
        merchant_id: shop.id(),
        currency: "CNY".to_owned(),
        cut_off_time: Some(tael_grpc::convert::timestamp(now)),
    };
    let batch = answer(clients.batches.close_batch(keyed(close)).await?.into_inner().batch)?;
    show("batch", &batch.batch_id);
    show_amount(&format!("{} payments", batch.payment_count), batch.gross.as_ref());
    show_amount(&format!("{} refund", batch.refund_count), batch.refunds.as_ref());
    show_amount("fees", batch.fees.as_ref());
    show_amount("fees returned", batch.fees_returned.as_ref());
    show_amount("net, to be paid out", batch.net.as_ref());
    let statement = GetStatementRequest {
        merchant_id: shop.id(),
        batch_id: batch.batch_id.clone(),
        ..GetStatementRequest::default()
    };
    let statement = clients.batches.get_statement(statement).await?.into_inner();
    for line in &statement.lines {
        let kind = line.kind().as_str_name().trim_start_matches("TRANSFER_KIND_").to_lowercase();
        show_amount(&format!("  {kind} {}", line.payment_id), line.net.as_ref());
    }
    let net: i64 = statement.lines.iter().map(|line| minor(line.net.as_ref())).sum();
    report.check("the statement's lines are the batch's net", net == minor(batch.net.as_ref()));

    let today = now.to_zoned(jiff::tz::TimeZone::get("Asia/Shanghai")?).date().to_string();
    let reconcile = ReconcileRequest {
        merchant_id: shop.id(),
        channel_account_id: shop.channel_account.channel_account_id.clone(),
        statement_date: today.clone(),
    };
    let done = clients.reconciliations.reconcile(keyed(reconcile)).await?.into_inner();
    let done = answer(done.reconciliation)?;
    show("Alipay's bill of the day", format!("{today}, {} lines", done.statement_lines));
    show("matched in amount and fee", done.matched);
    for difference in &done.breaks {
        show("break", format!("{difference:?}"));
    }
    report.check("every line agrees with the ledger", done.matched == 3 && done.break_count == 0);

    let accounts = clients.ledger.list_accounts(ListAccountsRequest { merchant_id: shop.id() }).await?;
    for account in accounts.into_inner().accounts {
        let name = account_name(account.kind());
        let (debits, credits) = (display(account.debits.as_ref()), display(account.credits.as_ref()));
        show(&name, format!("{debits:>16} debit {credits:>16} credit"));
    }
    let ledger = clients.ledger.check_ledger(CheckLedgerRequest {}).await?.into_inner();
    for sum in &ledger.sums {
        let (debits, credits) = (display(sum.debits.as_ref()), display(sum.credits.as_ref()));
        show("the whole ledger", format!("{debits:>16} debit {credits:>16} credit"));
        report.check("Σ debits = Σ credits", sum.debits == sum.credits);
    }
    report.check(
        "no transfer is unbalanced and every account equals its entries",
        ledger.unbalanced_transfer_ids.is_empty()
            && ledger.wrong_account_ids.is_empty()
            && !ledger.sums.is_empty(),
    );
    deliveries(report, clients, shop).await
}

async fn deliveries(report: &mut Report, clients: &mut Clients, shop: &Shop) -> Result<(), Error> {
    let all = eventually("all webhooks to be delivered", || {
        let mut client = clients.deliveries.clone();
        let list = ListDeliveriesRequest {
            merchant_id: shop.id(),
            page_size: 100,
            ..ListDeliveriesRequest::default()
        };
        async move {
            let deliveries = client.list_deliveries(list).await?.into_inner().deliveries;
            let told = deliveries.iter().any(|d| d.event_type == "batch.closed");
            let pending = deliveries.iter().any(|d| d.state() == DeliveryState::Pending);
            Ok((told && !pending).then_some(deliveries))
        }
    })
    .await?;
    let delivered = all.iter().filter(|d| d.state() == DeliveryState::Succeeded).count();
    show("webhooks delivered", format!("{delivered} of {}", all.len()));
    report.check("every event was delivered", delivered == all.len());
    Ok(())
}

pub(crate) async fn show_trace(
    report: &mut Report,
    collector: &Collector,
    trace_id: &str,
) -> Result<(), Error> {
    report.step("One trace shows all of it, from the order call to the webhook");
    let needed = [
        "one order, from price to refund",
        "OrderService/CreateOrder",
        "PaymentService/CreatePayment",
        "RefundService/CreateRefund",
        "webhook.deliver",
    ];
    let has_all =
        |trace: &Trace| needed.iter().all(|name| trace.spans.iter().any(|span| span.name.ends_with(name)));
    let trace = collector.traces().await_trace(trace_id, has_all, PATIENCE).await?;
    show("trace", trace_id);
    for line in traces::tree(&TraceView::new(&trace, &[]), None).lines() {
        crate::say!("  {line}");
    }
    report.check("it reaches from the order call to the webhook delivery", has_all(&trace));
    Ok(())
}

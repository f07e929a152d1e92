//! What merchant, buyer and cashier do.

use tael_grpc::status::reason;
use tael_proto::merchant::v1::{AuthenticateApiKeyRequest, IssueApiKeyRequest};
use tael_proto::notification::v1::CreateWebhookEndpointRequest;
use tael_proto::order::v1::{
    Contact, CreateOrderRequest, CreatePromotionRequest, Fulfilment, GetOrderRequest, NewLine, Order,
    OrderState, RedeemVoucherRequest, RefundProgress,
};
use tael_proto::payment::v1::{
    AttemptState, CreatePaymentRequest, GetPaymentRequest, Payment, PaymentState, next_action,
};
use tael_proto::refund::v1::{
    CreateRefundRequest, GetRefundRequest, LineQuantity, LinesRefund, RefundState, create_refund_request,
};
use tael_proto::settlement::v1::TransferKind;
use tael_proto::r#type::v1::{Channel, Method, Money};
use tael_sandbox::control::{AddFault, Fault, TradeRef, TradeStatus};
use tracing::{Instrument as _, Span};

use super::books::show_postings;
use super::eventually;
use super::report::{Report, display, minor, show, show_amount};
use crate::Error;
use crate::clients::{Clients, keyed};
use crate::shop::{CHANNEL_RATE, MERCHANT_RATE, Shop, WebhookReceiver, answer};

fn cny(minor: i64) -> Money {
    Money { currency: "CNY".to_owned(), minor }
}

pub(crate) async fn open_shop(
    report: &mut Report,
    clients: &mut Clients,
    receiver: &WebhookReceiver,
) -> Result<Shop, Error> {
    report.step("A merchant is registered and approved, with an Alipay account, fees and a webhook endpoint");
    let shop = Shop::open(clients, "岩茶铺 Rock Tea").await?;
    show("merchant", format!("{} {}", shop.merchant.name, shop.merchant.merchant_id));
    show("Alipay app at the sandbox", &shop.app.app_id);
    show("merchant's fee, channel's fee", format!("{MERCHANT_RATE}, {CHANNEL_RATE}"));

    let issue = IssueApiKeyRequest { merchant_id: shop.id(), label: "web shop".to_owned() };
    let secret = clients.api_key.issue_api_key(keyed(issue)).await?.into_inner().secret;
    let whose =
        clients.api_key.authenticate_api_key(AuthenticateApiKeyRequest { secret }).await?.into_inner();
    report.check("the API key belongs to the merchant", whose.merchant.as_ref() == Some(&shop.merchant));

    let endpoint =
        CreateWebhookEndpointRequest { merchant_id: shop.id(), url: receiver.url(), event_types: Vec::new() };
    let created = clients.webhook_endpoints.create_webhook_endpoint(keyed(endpoint)).await?.into_inner();
    receiver.set_secret(&created.secret)?;
    show("webhooks go to", receiver.url());

    let promotion = CreatePromotionRequest {
        merchant_id: shop.id(),
        name: "满200减15".to_owned(),
        threshold: Some(cny(200_00)),
        saving: Some(cny(15_00)),
    };
    clients.promotion.create_promotion(keyed(promotion)).await?;
    show("promotion", "满200减15, spend 200 save 15");
    Ok(shop)
}

fn new_order(shop: &Shop) -> CreateOrderRequest {
    CreateOrderRequest {
        merchant_id: shop.id(),
        merchant_reference: String::new(),
        lines: vec![
            NewLine {
                sku: "TEA-DHP-50".to_owned(),
                name: "大红袍 50 g".to_owned(),
                quantity: 3,
                unit_price: Some(cny(43_10)),
                fulfilment: Fulfilment::Shipped.into(),
            },
            NewLine {
                sku: "TASTING".to_owned(),
                name: "Tea tasting".to_owned(),
                quantity: 1,
                unit_price: Some(cny(88_00)),
                fulfilment: Fulfilment::Voucher.into(),
            },
        ],
        shipping: Some(cny(8_00)),
        contact: Some(Contact {
            name: "Ming".to_owned(),
            phone: "+86 138 0000 0000".to_owned(),
            email: "ming@example.com".to_owned(),
            address: "No. 1, Tea Street, Wuyishan".to_owned(),
        }),
        expire_after: None,
    }
}

pub(crate) async fn create_order(
    report: &mut Report,
    clients: &mut Clients,
    shop: &Shop,
) -> Result<Order, Error> {
    report.step("An order is priced");
    let order = answer(clients.order.create_order(keyed(new_order(shop))).await?.into_inner().order)?;
    let price = answer(order.price.clone())?;
    show("order", &order.order_id);
    for line in &order.lines {
        show_amount(&format!("{} × {}", line.quantity, line.name), line.subtotal.as_ref());
        show("  its share of the discount", format!("{:>16}", display(line.discount.as_ref())));
    }
    show_amount("items", price.items.as_ref());
    show_amount("discount", price.discount.as_ref());
    show_amount("shipping", price.shipping.as_ref());
    show_amount("total", price.total.as_ref());
    let (items, discount) = (minor(price.items.as_ref()), minor(price.discount.as_ref()));
    let (shipping, total) = (minor(price.shipping.as_ref()), minor(price.total.as_ref()));
    report.check("items − discount + shipping = total", items - discount + shipping == total);
    let lines: i64 = order.lines.iter().map(|line| minor(line.total.as_ref())).sum();
    report.check("the lines with their discounts and the shipping are the total", lines + shipping == total);
    report.check("the promotion was applied", discount == 15_00);
    Ok(order)
}

pub(crate) async fn create_payment(
    report: &mut Report,
    clients: &mut Clients,
    shop: &Shop,
    order: &Order,
) -> Result<Payment, Error> {
    report.step("A payment is created and the payer gets a QR code");
    let create = CreatePaymentRequest {
        merchant_id: shop.id(),
        order_id: order.order_id.clone(),
        method: Method::QrCode.into(),
        channel: Channel::Unspecified.into(),
        ..CreatePaymentRequest::default()
    };
    let payment = answer(clients.payment.create_payment(keyed(create)).await?.into_inner().payment)?;
    let attempt = payment.attempts.first().ok_or("a payment has an attempt")?;
    show("payment", &payment.payment_id);
    show("attempt", &attempt.attempt_id);
    show("chosen because", &attempt.routing_reason);
    show("QR code", qr_code(&payment)?);
    show("checkout page", &payment.checkout_url);
    report.check("the payment waits for the payer", payment.state() == PaymentState::Pending);
    report.check(
        "its amount is the order's total",
        payment.amount == order.price.as_ref().and_then(|p| p.total.clone()),
    );
    Ok(payment)
}

fn qr_code(payment: &Payment) -> Result<String, Error> {
    let action = payment.next_action.as_ref().and_then(|next| next.action.as_ref());
    let Some(next_action::Action::QrCode(code)) = action else {
        return Err(format!("payment {} has no QR code: {:?}", payment.payment_id, payment.attempts).into());
    };
    Ok(code.clone())
}

pub(crate) async fn pay(
    report: &mut Report,
    clients: &mut Clients,
    shop: &Shop,
    payment: &Payment,
) -> Result<(), Error> {
    report.step("The payer scans and pays; the channel's signed notification comes in");
    let trade = clients.payer.pay(TradeRef::code(qr_code(payment)?)).await?;
    show("Alipay says", format!("{:?}, trade {}", trade.status, trade.trade_no.unwrap_or_default()));
    let payment = payment_succeeded(clients, shop, &payment.payment_id).await?;
    let attempt = payment.attempts.first().ok_or("a payment has an attempt")?;
    show("payment", format!("{:?}", payment.state()));
    show("channel's number", &attempt.channel_transaction_id);
    report.check("the attempt succeeded", attempt.state() == AttemptState::Succeeded && !attempt.in_doubt);
    Ok(())
}

async fn payment_succeeded(clients: &Clients, shop: &Shop, payment_id: &str) -> Result<Payment, Error> {
    eventually("the payment to succeed", || {
        let mut client = clients.payment.clone();
        let get = GetPaymentRequest { merchant_id: shop.id(), payment_id: payment_id.to_owned() };
        async move {
            let payment = answer(client.get_payment(get).await?.into_inner().payment)?;
            Ok((payment.state() == PaymentState::Succeeded).then_some(payment))
        }
    })
    .await
}

async fn order_when(
    clients: &Clients,
    shop: &Shop,
    order_id: &str,
    what: &str,
    wanted: fn(&Order) -> bool,
) -> Result<Order, Error> {
    eventually(what, || {
        let mut client = clients.order.clone();
        let get =
            GetOrderRequest { merchant_id: shop.id(), order_id: order_id.to_owned(), ..Default::default() };
        async move {
            let order = answer(client.get_order(get).await?.into_inner().order)?;
            Ok(wanted(&order).then_some(order))
        }
    })
    .await
}

async fn webhook(receiver: &WebhookReceiver, kind: &str) -> Result<String, Error> {
    eventually(&format!("the webhook {kind}"), || {
        let found = receiver.received().into_iter().find(|webhook| webhook.kind() == kind);
        async move { Ok(found.map(|webhook| webhook.id)) }
    })
    .await
}

pub(crate) async fn paid(
    report: &mut Report,
    clients: &mut Clients,
    shop: &Shop,
    order: &Order,
    payment: &Payment,
    receiver: &WebhookReceiver,
) -> Result<Order, Error> {
    report.step("The order is paid, a voucher is issued, the ledger is posted, the merchant is told");
    let order = order_when(clients, shop, &order.order_id, "the order to be paid", |order| {
        order.state() == OrderState::Paid
    })
    .await?;
    show("order", format!("{:?} by {}", order.state(), order.payment_id));
    let voucher = order.vouchers.first().ok_or("a paid voucher line has a voucher")?;
    show("voucher", format!("{} ({} use)", voucher.code, voucher.uses));
    show_postings(report, clients, shop, &payment.payment_id, TransferKind::Payment).await?;
    for kind in ["payment.succeeded", "order.paid"] {
        let id = webhook(receiver, kind).await?;
        show("webhook", format!("{kind} {id}"));
    }
    report.check("every webhook's signature was right", receiver.refused() == 0);
    Ok(order)
}

pub(crate) async fn redeem(
    report: &mut Report,
    clients: &mut Clients,
    shop: &Shop,
    order: &Order,
) -> Result<(), Error> {
    report.step("The cashier redeems the voucher, once (核销)");
    let voucher = order.vouchers.first().ok_or("a paid voucher line has a voucher")?;
    let redeem = RedeemVoucherRequest {
        merchant_id: shop.id(),
        code: voucher.code.to_lowercase(),
        count: 1,
        terminal: "till-1".to_owned(),
        operator: "Li".to_owned(),
    };
    let redeemed = clients.voucher.redeem_voucher(keyed(redeem.clone())).await?.into_inner();
    show("redemption", &redeemed.redemption_id);
    report.check("the voucher has no use left", redeemed.voucher.is_some_and(|v| v.redeemed == v.uses));
    let again = clients.voucher.redeem_voucher(keyed(redeem)).await;
    report.check(
        "a second redemption is refused",
        again.is_err_and(|status| reason(&status).as_deref() == Some("VOUCHER_USED_UP")),
    );
    Ok(())
}

pub(crate) async fn refund(
    report: &mut Report,
    clients: &mut Clients,
    shop: &Shop,
    order: &Order,
    receiver: &WebhookReceiver,
    journey: &Span,
) -> Result<(), Error> {
    report.step("One packet of tea is refunded");
    let line = order.lines.first().ok_or("an order has lines")?;
    let create = CreateRefundRequest {
        merchant_id: shop.id(),
        order_id: order.order_id.clone(),
        scope: Some(create_refund_request::Scope::Lines(LinesRefund {
            lines: vec![LineQuantity { line_id: line.line_id.clone(), quantity: 1 }],
        })),
        reason: "one packet arrived damaged".to_owned(),
        force_reason: String::new(),
    };
    let created = clients.refund.create_refund(keyed(create)).instrument(journey.clone()).await?.into_inner();
    let refund = answer(created.refund)?;
    show("refund", &refund.refund_id);
    show_amount("one of three packets, less its discount", refund.amount.as_ref());
    let refund = eventually("the refund to succeed", || {
        let mut client = clients.refund.clone();
        let get = GetRefundRequest { merchant_id: shop.id(), refund_id: refund.refund_id.clone() };
        async move {
            let refund = answer(client.get_refund(get).await?.into_inner().refund)?;
            Ok((refund.state() == RefundState::Succeeded).then_some(refund))
        }
    })
    .await?;
    let order = order_when(clients, shop, &order.order_id, "the order to show the refund", |order| {
        order.refund_progress() == RefundProgress::Partial
    })
    .await?;
    show("order", format!("{:?}, refunded {:?}", order.state(), order.refund_progress()));
    report.check("the order's refunded sum is the refund's amount", order.refunded == refund.amount);
    show_postings(report, clients, shop, &refund.payment_id, TransferKind::Refund).await?;
    let id = webhook(receiver, "refund.succeeded").await?;
    show("webhook", format!("refund.succeeded {id}"));
    Ok(())
}

pub(crate) async fn lost_notification(
    report: &mut Report,
    clients: &mut Clients,
    shop: &Shop,
) -> Result<(), Error> {
    report.step("A second order is paid, and the channel's notification is lost");
    let order = answer(clients.order.create_order(keyed(new_order(shop))).await?.into_inner().order)?;
    let create = CreatePaymentRequest {
        merchant_id: shop.id(),
        order_id: order.order_id.clone(),
        method: Method::QrCode.into(),
        channel: Channel::Alipay.into(),
        ..CreatePaymentRequest::default()
    };
    let payment = answer(clients.payment.create_payment(keyed(create)).await?.into_inner().payment)?;
    clients.payer.add_fault(&lose_notification(&shop.app.app_id)).await?;
    let trade = clients.payer.pay(TradeRef::code(qr_code(&payment)?)).await?;
    report.check("Alipay has the money", trade.status == TradeStatus::Paid);
    payment_succeeded(clients, shop, &payment.payment_id).await?;
    let trade = clients.payer.trade(&shop.app.app_id, &trade.out_trade_no).await?;
    clients.payer.clear_faults(Some(&shop.app.app_id)).await?;
    let delivered = trade.notifications.iter().any(|n| !n.attempts.is_empty());
    report.check("the poller found out by query, without any notification", !delivered);
    let order = order_when(clients, shop, &order.order_id, "the second order to be paid", |order| {
        order.state() == OrderState::Paid
    })
    .await?;
    show("order", format!("{:?} by {}", order.state(), order.payment_id));
    Ok(())
}

/// The next notification to this app never arrives.
fn lose_notification(app_id: &str) -> AddFault {
    let fault = Fault::LoseNotification { attempts: None };
    AddFault::new(fault).account(app_id).times(1)
}

//! The steps of a journey: each asks until it is answered, and puts what was promised into the book.

use std::time::Duration;

use tael_proto::order::v1::{
    CancelOrderRequest, Contact, CreateOrderRequest, Fulfilment, NewLine, Order, RedeemVoucherRequest,
    RedeemVoucherResponse, Voucher,
};
use tael_proto::payment::v1::{CreatePaymentRequest, Payment, PaymentState, next_action};
use tael_proto::refund::v1::{
    CreateRefundRequest, FullRefund, GetRefundRequest, LineQuantity, LinesRefund, Refund, RefundState,
    create_refund_request,
};
use tael_proto::r#type::v1::{Channel, Method};
use tael_sandbox::client::ControlError;
use tael_sandbox::control::{TradeRef, TradeStatus};
use tonic::Status;

use super::{Journey, LOOK_LONGEST, Stop, minor, money};
use crate::caller::reason;
use crate::load::PERSONAL_DATA;
use crate::load::book::{Acknowledged, Redemption};
use crate::load::plan::{Kind, RefundPlan};

/// How to reach every buyer. What is said here may be seen in no log and no trace.
fn buyer() -> Contact {
    let [name, phone, email, address] = PERSONAL_DATA.map(str::to_owned);
    Contact { name, phone, email, address }
}

impl Journey {
    pub(super) async fn create_order(&self, expire_after: Option<Duration>) -> Result<Order, Stop> {
        self.step("CreateOrder");
        let lines = self.plan.lines.iter().zip(1..).map(|(line, number)| NewLine {
            sku: format!("SKU-{number}"),
            name: format!("thing {number}"),
            quantity: line.quantity,
            unit_price: Some(money(line.price_minor)),
            fulfilment: if line.voucher { Fulfilment::Voucher } else { Fulfilment::Shipped }.into(),
        });
        let create = CreateOrderRequest {
            merchant_id: self.shop.merchant_id.clone(),
            merchant_reference: format!("journey-{}", self.plan.number),
            lines: lines.collect(),
            contact: Some(buyer()),
            expire_after: expire_after.map(|time| prost_types::Duration {
                seconds: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
                nanos: 0,
            }),
            ..CreateOrderRequest::default()
        };
        let key = self.key("order");
        let ask = || {
            self.caller.ask("CreateOrder", Some(&key), create.clone(), |mut c, r| async move {
                c.order.create_order(r).await
            })
        };
        let order = self.once_or_twice("CreateOrder", ask, |answer| answer.order).await?;
        let total = minor(order.price.as_ref().and_then(|price| price.total.as_ref()));
        if total != self.plan.total_minor() {
            self.book.find(format!(
                "journey {}: order {} costs {total} instead of {}",
                self.plan.number,
                order.order_id,
                self.plan.total_minor()
            ));
        }
        self.note(|entry| {
            entry.order = Some(Acknowledged { id: order.order_id.clone(), minor: total });
        });
        Ok(order)
    }

    /// Creates a payment and waits until the payer can pay.
    pub(super) async fn create_payment(&self, order: &Order) -> Result<Payment, Stop> {
        self.step("CreatePayment");
        let create = CreatePaymentRequest {
            merchant_id: self.shop.merchant_id.clone(),
            order_id: order.order_id.clone(),
            method: Method::QrCode.into(),
            channel: Channel::Alipay.into(),
            ..CreatePaymentRequest::default()
        };
        let key = self.key("payment");
        let ask = || {
            self.caller.ask("CreatePayment", Some(&key), create.clone(), |mut c, r| async move {
                c.payment.create_payment(r).await
            })
        };
        let payment = self.once_or_twice("CreatePayment", ask, |answer| answer.payment).await?;
        let acknowledged =
            Acknowledged { id: payment.payment_id.clone(), minor: minor(payment.amount.as_ref()) };
        self.note(|entry| entry.payments.push(acknowledged));
        let payment = self
            .payment_until("wait for a code", &payment.payment_id, |p| p.state() != PaymentState::Created)
            .await?;
        if payment.state() == PaymentState::Pending || self.plan.kind == Kind::Expire {
            return Ok(payment);
        }
        let finding = format!(
            "journey {}: payment {} is {:?} although nobody refused it: {:?}",
            self.plan.number,
            payment.payment_id,
            payment.state(),
            payment.attempts
        );
        self.book.find(finding);
        Err(Stop)
    }

    /// The payer pays; returns whether the channel took it.
    pub(super) async fn pay(&self, payment: &Payment) -> Result<bool, Stop> {
        self.step("pay");
        let action = payment.next_action.clone().and_then(|next| next.action);
        let Some(next_action::Action::QrCode(qr_code)) = action else {
            return Ok(false); // an order that expired before its payment had a code
        };
        loop {
            let order = TradeRef::code(qr_code.clone());
            match self.caller.payer.pay(order).await {
                Ok(trade) => {
                    let paid = trade.status == TradeStatus::Paid;
                    if paid {
                        self.note(|entry| entry.paid_numbers.push(trade.out_trade_no));
                    }
                    return Ok(paid);
                }
                Err(ControlError::Refused { .. }) => return Ok(false),
                Err(error) if self.caller.calls.is_given_up() => {
                    self.book.find(format!("journey {}: the payer: {error}", self.plan.number));
                    return Err(Stop);
                }
                Err(_) => tokio::time::sleep(LOOK_LONGEST).await,
            }
        }
    }

    pub(super) async fn cancel(&self, order: &Order) -> Result<(), Status> {
        self.step("CancelOrder");
        let cancel = CancelOrderRequest {
            merchant_id: self.shop.merchant_id.clone(),
            order_id: order.order_id.clone(),
        };
        self.caller
            .ask("CancelOrder", Some(&self.key("cancel")), cancel, |mut c, r| async move {
                c.order.cancel_order(r).await
            })
            .await?;
        self.note(|entry| entry.order_end = Some("cancelled"));
        Ok(())
    }

    pub(super) async fn redeem(&self, number: usize, voucher: &Voucher) -> Result<(), Stop> {
        self.step("RedeemVoucher");
        let ask = |till: usize| {
            let redeem = RedeemVoucherRequest {
                merchant_id: self.shop.merchant_id.clone(),
                code: voucher.code.clone(),
                count: voucher.uses,
                terminal: format!("till-{till}"),
                operator: "Li".to_owned(),
            };
            let key = self.key(&format!("redeem-{number}-{till}"));
            async move {
                self.caller
                    .ask("RedeemVoucher", Some(&key), redeem, |mut c, r| async move {
                        c.voucher.redeem_voucher(r).await
                    })
                    .await
            }
        };
        let answers: Vec<Result<RedeemVoucherResponse, Status>> = if self.plan.double_scan {
            let (first, second) = tokio::join!(ask(1), ask(2));
            vec![first, second]
        } else {
            vec![ask(1).await]
        };
        let mut redeemed = 0;
        for answer in answers {
            match answer {
                Ok(answer) => {
                    redeemed += 1;
                    let redemption = Redemption {
                        id: answer.redemption_id,
                        voucher_id: voucher.voucher_id.clone(),
                        count: voucher.uses,
                    };
                    self.note(|entry| entry.redemptions.push(redemption));
                }
                Err(status) if reason(&status).as_deref() == Some("VOUCHER_USED_UP") => {}
                Err(status) => return Err(self.found("RedeemVoucher", &status)),
            }
        }
        if redeemed != 1 {
            self.book.find(format!(
                "journey {}: voucher {} was redeemed {redeemed} times",
                self.plan.number, voucher.voucher_id
            ));
        }
        Ok(())
    }

    /// Asks for a refund and waits for its end; returns what was refunded.
    pub(super) async fn refund(
        &self,
        number: usize,
        wanted: RefundPlan,
        order: &Order,
        refunded: i64,
    ) -> Result<i64, Stop> {
        self.step("CreateRefund");
        let total = self.plan.total_minor();
        let scope = match wanted {
            RefundPlan::Percent(percent) => {
                create_refund_request::Scope::Amount(money((total * percent / 100).max(1)))
            }
            RefundPlan::Unit => {
                let line_id = order.lines.first().map(|line| line.line_id.clone()).unwrap_or_default();
                let lines = vec![LineQuantity { line_id, quantity: 1 }];
                create_refund_request::Scope::Lines(LinesRefund { lines })
            }
            RefundPlan::Rest => create_refund_request::Scope::Full(FullRefund {}),
        };
        let create = CreateRefundRequest {
            merchant_id: self.shop.merchant_id.clone(),
            order_id: order.order_id.clone(),
            scope: Some(scope),
            reason: "chaos".to_owned(),
            // Vouchers may have been redeemed before.
            force_reason: "chaos".to_owned(),
        };
        let key = self.key(&format!("refund-{number}"));
        let ask = || {
            let create = create.clone();
            let key = &key;
            async move {
                let answer = self
                    .caller
                    .ask("CreateRefund", Some(key), create, |mut c, r| async move {
                        c.refund.create_refund(r).await
                    })
                    .await;
                match answer {
                    Ok(answer) => Ok(Some(answer)),
                    // Nothing may be left: of the order, or because the unit is worth nothing.
                    Err(status)
                        if matches!(
                            reason(&status).as_deref(),
                            Some("REFUND_EXCEEDS_ORDER" | "REFUND_EXCEEDS_LINE")
                        ) =>
                    {
                        Ok(None)
                    }
                    Err(status) => Err(status),
                }
            }
        };
        let refund = self.once_or_twice("CreateRefund", ask, |answer| {
            // A refusal is an answer, too.
            Some(answer.map(|answer| answer.refund.unwrap_or_default()).unwrap_or_default())
        });
        let refund: Refund = refund.await?;
        if refund.refund_id.is_empty() {
            if refunded == 0 {
                self.book.find(format!("journey {}: a first refund was refused", self.plan.number));
            }
            return Ok(0);
        }
        let amount = minor(refund.amount.as_ref());
        let acknowledged = Acknowledged { id: refund.refund_id.clone(), minor: amount };
        self.note(|entry| entry.refunds.push(acknowledged));
        let get = GetRefundRequest {
            merchant_id: self.shop.merchant_id.clone(),
            refund_id: refund.refund_id.clone(),
        };
        let refund: Refund = self
            .until(
                "wait for the refund",
                get,
                |mut c, r| async move { c.refund.get_refund(r).await },
                |answer| answer.refund.filter(|refund| refund.state() != RefundState::Processing),
            )
            .await?;
        if refund.state() != RefundState::Succeeded {
            self.book.find(format!(
                "journey {}: refund {} is {:?} ({}) although the channel refused nothing",
                self.plan.number,
                refund.refund_id,
                refund.state(),
                refund.failure_reason
            ));
            return Err(Stop);
        }
        Ok(amount)
    }
}

//! Requests become domain values; every bad field is named.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use tael_grpc::fields::Fields;
use tael_grpc::page::Page;
use tael_ids::{LineId, MerchantId, OrderId, PaymentId, PromotionId, RefundId, VoucherId};
use tael_money::Money;
use tael_proto::order::v1 as wire;
use tael_proto::r#type::v1::Money as WireMoney;
use tonic::Status;

use crate::domain::code::VoucherCode;
use crate::domain::order::{Contact, Fulfilment, NewLine, NewOrder};
use crate::domain::price::{Basket, Item, MAX_AMOUNT_MINOR, Part, Problem};
use crate::domain::unapplied_payment::{Action, LatePaymentPolicy, OverpaymentAction, Resolution};
use crate::domain::voucher::{NewRedemption, NewVoid, RefundScope};
use crate::usecase::order::OrderFilter;
use crate::usecase::unapplied_payment::Resolve;

const MAX_LINES: usize = 100;
const MAX_QUANTITY: u32 = 9999;
const DEFAULT_EXPIRY: SignedDuration = SignedDuration::from_mins(30);
const MIN_EXPIRY: SignedDuration = SignedDuration::from_mins(1);
const MAX_EXPIRY: SignedDuration = SignedDuration::from_hours(7 * 24);

pub(super) fn create_order(request: &wire::CreateOrderRequest) -> Result<NewOrder, Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id::<MerchantId>("merchant_id", &request.merchant_id);
    let merchant_reference = fields.text("merchant_reference", &request.merchant_reference, 0..=64);
    let lines = lines(&mut fields, &request.lines);
    let shipping = match &request.shipping {
        None => Some(None),
        given => price(&mut fields, "shipping", given.as_ref()).map(Some),
    };
    let basket =
        lines.as_ref().zip(shipping).and_then(|(lines, shipping)| basket(&mut fields, lines, shipping));
    let contact = contact(&mut fields, request.contact.as_ref());
    let expire_after = expire_after(&mut fields, request.expire_after.as_ref());
    fields.finish(|| {
        Some(NewOrder {
            merchant_id: merchant_id?,
            merchant_reference: merchant_reference?,
            lines: lines?,
            basket: basket?,
            contact: contact?,
            expire_after: expire_after?,
        })
    })
}

fn lines(fields: &mut Fields, lines: &[wire::NewLine]) -> Option<Vec<NewLine>> {
    if lines.is_empty() {
        return fields.bad("lines", "is missing");
    }
    if lines.len() > MAX_LINES {
        return fields.bad("lines", format!("must have 1 to {MAX_LINES} entries"));
    }
    // All of them are read, so that all bad fields are named.
    let read: Vec<_> = lines.iter().enumerate().map(|(at, new)| line(fields, at, new)).collect();
    read.into_iter().collect()
}

fn line(fields: &mut Fields, at: usize, new: &wire::NewLine) -> Option<NewLine> {
    let sku = fields.text(&format!("lines[{at}].sku"), &new.sku, 1..=64);
    let name = fields.text(&format!("lines[{at}].name"), &new.name, 1..=256);
    let quantity = fields.number(&format!("lines[{at}].quantity"), new.quantity, 1..=MAX_QUANTITY);
    let unit_price = price(fields, &format!("lines[{at}].unit_price"), new.unit_price.as_ref());
    let fulfilment = match wire::Fulfilment::try_from(new.fulfilment) {
        Ok(wire::Fulfilment::Unspecified | wire::Fulfilment::Shipped) => Some(Fulfilment::Shipped),
        Ok(wire::Fulfilment::Voucher) => Some(Fulfilment::Voucher),
        Err(_) => fields.bad(format!("lines[{at}].fulfilment"), "is not a known value"),
    };
    Some(NewLine {
        sku: sku?,
        name: name?,
        item: Item { quantity: quantity?, unit_price: unit_price? },
        fulfilment: fulfilment?,
    })
}

/// Reads an amount that can be a part of a total: zero to the most that can be paid.
fn price(fields: &mut Fields, field: &str, money: Option<&WireMoney>) -> Option<Money> {
    let money = fields.money_not_negative(field, money)?;
    payable(fields, field, money)
}

fn payable(fields: &mut Fields, field: &str, money: Money) -> Option<Money> {
    if money.minor() > MAX_AMOUNT_MINOR {
        return fields.bad(format!("{field}.minor"), format!("must be at most {MAX_AMOUNT_MINOR}"));
    }
    Some(money)
}

fn basket(fields: &mut Fields, lines: &[NewLine], shipping: Option<Money>) -> Option<Basket> {
    let items: Vec<Item> = lines.iter().map(|line| line.item).collect();
    let problems = match Basket::new(&items, shipping) {
        Ok(basket) => return Some(basket),
        Err(problems) => problems,
    };
    for problem in problems {
        let (field, description) = match problem {
            Problem::Currency { part: Part::Line(at), expected } => {
                (format!("lines[{at}].unit_price.currency"), format!("must be {expected} as in lines[0]"))
            }
            Problem::Currency { part: Part::Shipping, expected } => {
                ("shipping.currency".to_owned(), format!("must be {expected} as in lines[0]"))
            }
            Problem::TooLarge { part } => {
                (part_name(part), format!("makes the total more than {MAX_AMOUNT_MINOR}"))
            }
            Problem::OutOfRange { part } => {
                (part_name(part), "must not be below zero, nor a quantity zero".to_owned())
            }
        };
        fields.bad::<Basket>(field, description);
    }
    None
}

fn part_name(part: Part) -> String {
    match part {
        Part::Line(at) => format!("lines[{at}]"),
        Part::Shipping => "shipping".to_owned(),
    }
}

/// The outer option is none when a field is bad. A contact that says nothing is none.
#[expect(clippy::option_option, reason = "bad, absent and given are three cases")]
fn contact(fields: &mut Fields, contact: Option<&wire::Contact>) -> Option<Option<Contact>> {
    let Some(contact) = contact.filter(|contact| **contact != wire::Contact::default()) else {
        return Some(None);
    };
    let name = fields.text("contact.name", &contact.name, 0..=128);
    let phone = fields.text("contact.phone", &contact.phone, 0..=32);
    let email = fields.text("contact.email", &contact.email, 0..=254);
    let address = fields.text("contact.address", &contact.address, 0..=512);
    Some(Some(Contact { name: name?, phone: phone?, email: email?, address: address? }))
}

fn expire_after(fields: &mut Fields, duration: Option<&prost_types::Duration>) -> Option<SignedDuration> {
    let Some(duration) = duration else { return Some(DEFAULT_EXPIRY) };
    let given = (0..1_000_000_000)
        .contains(&duration.nanos)
        .then(|| SignedDuration::new(duration.seconds, duration.nanos))
        .filter(|given| (MIN_EXPIRY..=MAX_EXPIRY).contains(given));
    match given.and_then(|given| i64::try_from(given.as_micros()).ok()) {
        Some(micros) => Some(SignedDuration::from_micros(micros)),
        None => fields.bad("expire_after", "must be 1 minute to 7 days"),
    }
}

/// Reads the key of an order.
pub(super) fn order(merchant_id: &str, order_id: &str) -> Result<(MerchantId, OrderId), Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id::<MerchantId>("merchant_id", merchant_id);
    let order_id = fields.id::<OrderId>("order_id", order_id);
    fields.finish(|| Some((merchant_id?, order_id?)))
}

pub(super) fn list_orders(request: &wire::ListOrdersRequest) -> Result<(OrderFilter, Page), Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id::<MerchantId>("merchant_id", &request.merchant_id);
    let state = match wire::OrderState::try_from(request.state) {
        Ok(wire::OrderState::Unspecified) => Some(None),
        Ok(wire::OrderState::PendingPayment) => Some(Some("pending_payment")),
        Ok(wire::OrderState::Paid) => Some(Some("paid")),
        Ok(wire::OrderState::Cancelled) => Some(Some("cancelled")),
        Ok(wire::OrderState::Expired) => Some(Some("expired")),
        Err(_) => fields.bad("state", "is not a known value"),
    };
    let reference = fields.text("merchant_reference", &request.merchant_reference, 0..=64);
    let scope = [
        "ListOrders",
        &request.merchant_id,
        state.flatten().unwrap_or_default(),
        &request.merchant_reference,
    ];
    let page = Page::parse(&mut fields, request.page_size, &request.page_token, &scope);
    fields.finish(|| {
        let merchant_reference = reference.map(|text| Some(text).filter(|text| !text.is_empty()))?;
        Some((OrderFilter { merchant_id: merchant_id?, state: state?, merchant_reference }, page?))
    })
}

/// Reads a request that holds nothing but a merchant.
pub(super) fn merchant(merchant_id: &str) -> Result<MerchantId, Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id::<MerchantId>("merchant_id", merchant_id);
    fields.finish(|| merchant_id)
}

pub(super) fn set_late_payment_policy(
    request: &wire::SetLatePaymentPolicyRequest,
) -> Result<(MerchantId, LatePaymentPolicy), Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id::<MerchantId>("merchant_id", &request.merchant_id);
    let policy = match request.policy {
        Some(given) => policy(&mut fields, given),
        None => fields.bad("policy", "is missing"),
    };
    fields.finish(|| Some((merchant_id?, policy?)))
}

fn policy(fields: &mut Fields, given: wire::LatePaymentPolicy) -> Option<LatePaymentPolicy> {
    let closed_order = match fields.choice("policy.closed_order", given.closed_order) {
        None | Some(wire::LatePaymentAction::Unspecified) => None,
        Some(wire::LatePaymentAction::Hold) => Some(Action::Hold),
        Some(wire::LatePaymentAction::Accept) => Some(Action::Accept),
        Some(wire::LatePaymentAction::Refund) => Some(Action::Refund),
    };
    let overpayment = match fields.choice("policy.overpayment", given.overpayment) {
        None | Some(wire::LatePaymentAction::Unspecified) => None,
        Some(wire::LatePaymentAction::Hold) => Some(OverpaymentAction::Hold),
        Some(wire::LatePaymentAction::Refund) => Some(OverpaymentAction::Refund),
        Some(wire::LatePaymentAction::Accept) => fields.bad("policy.overpayment", "must be HOLD or REFUND"),
    };
    Some(LatePaymentPolicy { closed_order: closed_order?, overpayment: overpayment? })
}

pub(super) fn list_unapplied_payments(
    request: &wire::ListUnappliedPaymentsRequest,
) -> Result<(MerchantId, Page), Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id::<MerchantId>("merchant_id", &request.merchant_id);
    let scope = ["ListUnappliedPayments", &request.merchant_id];
    let page = Page::parse(&mut fields, request.page_size, &request.page_token, &scope);
    fields.finish(|| Some((merchant_id?, page?)))
}

pub(super) fn resolve_unapplied_payment(
    request: &wire::ResolveUnappliedPaymentRequest,
) -> Result<Resolve, Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id::<MerchantId>("merchant_id", &request.merchant_id);
    let order_id = fields.id::<OrderId>("order_id", &request.order_id);
    let payment_id = fields.id::<PaymentId>("payment_id", &request.payment_id);
    let how = match fields.choice("action", request.action) {
        None | Some(wire::LatePaymentAction::Unspecified) => None,
        Some(wire::LatePaymentAction::Accept) => Some(Resolution::Accept),
        Some(wire::LatePaymentAction::Refund) => Some(Resolution::Refund),
        Some(wire::LatePaymentAction::Hold) => fields.bad("action", "must be ACCEPT or REFUND"),
    };
    let operator = fields.text("operator", &request.operator, 1..=64);
    fields.finish(|| {
        Some(Resolve {
            merchant_id: merchant_id?,
            order_id: order_id?,
            payment_id: payment_id?,
            how: how?,
            operator: operator?,
        })
    })
}

pub(super) fn create_promotion(
    request: &wire::CreatePromotionRequest,
) -> Result<(MerchantId, String, Money, Money), Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id::<MerchantId>("merchant_id", &request.merchant_id);
    let name = fields.text("name", &request.name, 1..=128);
    let threshold = fields
        .positive_money("threshold", request.threshold.as_ref())
        .and_then(|threshold| payable(&mut fields, "threshold", threshold));
    let saving = fields.positive_money("saving", request.saving.as_ref());
    if let Some((threshold, saving)) = threshold.zip(saving) {
        match saving.try_cmp(threshold) {
            Ok(std::cmp::Ordering::Less | std::cmp::Ordering::Equal) => {}
            Ok(std::cmp::Ordering::Greater) => {
                fields.bad::<()>("saving.minor", "must not be more than the threshold");
            }
            Err(_) => {
                fields.bad::<()>("saving.currency", format!("must be {}", threshold.currency()));
            }
        }
    }
    fields.finish(|| Some((merchant_id?, name?, threshold?, saving?)))
}

pub(super) fn list_promotions(request: &wire::ListPromotionsRequest) -> Result<(MerchantId, Page), Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id::<MerchantId>("merchant_id", &request.merchant_id);
    let scope = ["ListPromotions", &request.merchant_id];
    let page = Page::parse(&mut fields, request.page_size, &request.page_token, &scope);
    fields.finish(|| Some((merchant_id?, page?)))
}

pub(super) fn end_promotion(
    request: &wire::EndPromotionRequest,
) -> Result<(MerchantId, PromotionId), Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id::<MerchantId>("merchant_id", &request.merchant_id);
    let promotion_id = fields.id::<PromotionId>("promotion_id", &request.promotion_id);
    fields.finish(|| Some((merchant_id?, promotion_id?)))
}

pub(super) fn get_voucher(request: &wire::GetVoucherRequest) -> Result<(MerchantId, VoucherCode), Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id::<MerchantId>("merchant_id", &request.merchant_id);
    let code = code(&mut fields, &request.code);
    fields.finish(|| Some((merchant_id?, code?)))
}

pub(super) fn redeem_voucher(
    request: &wire::RedeemVoucherRequest,
) -> Result<(MerchantId, NewRedemption), Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id::<MerchantId>("merchant_id", &request.merchant_id);
    let code = code(&mut fields, &request.code);
    let count = match request.count {
        0 => Some(1),
        given => fields.number("count", given, 1..=MAX_QUANTITY),
    };
    let terminal = fields.text("terminal", &request.terminal, 1..=64);
    let operator = fields.text("operator", &request.operator, 1..=64);
    fields.finish(|| {
        let new = NewRedemption { code: code?, count: count?, terminal: terminal?, operator: operator? };
        Some((merchant_id?, new))
    })
}

pub(super) fn void_voucher(request: &wire::VoidVoucherRequest) -> Result<(MerchantId, NewVoid), Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id::<MerchantId>("merchant_id", &request.merchant_id);
    let voucher_id = fields.id::<VoucherId>("voucher_id", &request.voucher_id);
    let count = match request.count {
        0 => Some(None),
        given => fields.number("count", given, 1..=MAX_QUANTITY).map(Some),
    };
    let reason = fields.text("reason", &request.reason, 1..=256);
    let operator = fields.text("operator", &request.operator, 1..=64);
    fields.finish(|| {
        let new = NewVoid { voucher_id: voucher_id?, count: count?, reason: reason?, operator: operator? };
        Some((merchant_id?, new))
    })
}

pub(super) fn reserve_voucher_uses(request: &wire::ReserveVoucherUsesRequest) -> Result<RefundScope, Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id::<MerchantId>("merchant_id", &request.merchant_id);
    let order_id = fields.id::<OrderId>("order_id", &request.order_id);
    let refund_id = fields.id::<RefundId>("refund_id", &request.refund_id);
    let lines = refunded_units(&mut fields, &request.lines);
    let force_reason = fields.text("force_reason", &request.force_reason, 0..=256);
    fields.finish(|| {
        Some(RefundScope {
            merchant_id: merchant_id?,
            order_id: order_id?,
            refund_id: refund_id?,
            lines: lines?,
            everything: request.everything,
            force_reason: force_reason.map(|reason| Some(reason).filter(|reason| !reason.is_empty()))?,
        })
    })
}

fn refunded_units(fields: &mut Fields, lines: &[wire::RefundedUnits]) -> Option<Vec<(LineId, u32)>> {
    if lines.len() > MAX_LINES {
        return fields.bad("lines", format!("must have at most {MAX_LINES} entries"));
    }
    let mut seen = BTreeSet::new();
    let read: Vec<_> = lines
        .iter()
        .enumerate()
        .map(|(at, line)| {
            let line_id = fields.id::<LineId>(&format!("lines[{at}].line_id"), &line.line_id);
            let quantity = fields.number(&format!("lines[{at}].quantity"), line.quantity, 1..=MAX_QUANTITY);
            if line_id.is_some_and(|line_id| !seen.insert(line_id)) {
                return fields.bad(format!("lines[{at}].line_id"), "is there twice");
            }
            Some((line_id?, quantity?))
        })
        .collect();
    read.into_iter().collect()
}

pub(super) fn release_voucher_uses(
    request: &wire::ReleaseVoucherUsesRequest,
) -> Result<(MerchantId, OrderId, RefundId), Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id::<MerchantId>("merchant_id", &request.merchant_id);
    let order_id = fields.id::<OrderId>("order_id", &request.order_id);
    let refund_id = fields.id::<RefundId>("refund_id", &request.refund_id);
    fields.finish(|| Some((merchant_id?, order_id?, refund_id?)))
}

fn code(fields: &mut Fields, text: &str) -> Option<VoucherCode> {
    if text.is_empty() {
        return fields.bad("code", "is missing");
    }
    VoucherCode::parse(text).map_or_else(|e| fields.bad("code", e.to_string()), Some)
}

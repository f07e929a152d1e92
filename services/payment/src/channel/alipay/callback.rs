//! Asynchronous notifications (<https://opendocs.alipay.com/open/270/105902>).

use std::collections::BTreeMap;

use tael_money::{Currency, Money};

use super::charset::Charset;
use super::wire::parse_time;
use super::{CallbackRejected, Evidence, KeySet, Notice, Paid, form};
use crate::domain::integrity_alert::Assertion;

/// Verifies a notification's signature, and only then reads it.
pub(super) fn read(body: &[u8], keys: &KeySet) -> Result<Notice, CallbackRejected> {
    let fields = verified_fields(body, keys)?;
    read_fields(&fields).ok_or(CallbackRejected::Malformed)
}

type Fields = BTreeMap<String, String>;

/// Returns the fields of a form that Alipay signed: all of them but `sign` and `sign_type`, verified as the bytes that they
/// are and only then decoded.
fn verified_fields(body: &[u8], keys: &KeySet) -> Result<Fields, CallbackRejected> {
    let mut signed = form::parse(body).ok_or(CallbackRejected::InvalidSignature)?;
    let sign = signed.remove("sign").ok_or(CallbackRejected::InvalidSignature)?;
    let sign = String::from_utf8(sign).map_err(|_| CallbackRejected::InvalidSignature)?;
    let sign_type = signed.remove("sign_type");
    if sign_type.is_some_and(|kind| kind != b"RSA2")
        || !keys.verifies(&form::text_to_sign(&signed), &sign)
        || !form::is_unambiguous(&signed)
    {
        return Err(CallbackRejected::InvalidSignature);
    }
    let charset = signed.get("charset").map_or(b"".as_slice(), Vec::as_slice);
    let charset = Charset::read(charset).ok_or(CallbackRejected::Malformed)?;
    let decoded = signed.into_iter().map(|(name, value)| Some((name, charset.decode(&value)?.into_owned())));
    decoded.collect::<Option<_>>().ok_or(CallbackRejected::Malformed)
}

fn read_fields(fields: &Fields) -> Option<Notice> {
    let get = |name: &str| fields.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let amount = match get("total_amount") {
        Some(text) => Some(Money::parse_decimal(text, Currency::CNY).ok()?),
        None => None,
    };
    let mut identity = vec![("app_id", get("app_id")?.to_owned())];
    identity.extend(get("seller_id").map(|seller| ("seller_id", seller.to_owned())));
    let claim = Assertion { amount, identity };
    let paid = || {
        Some(Paid {
            channel_transaction_id: get("trade_no")?.to_owned(),
            amount: amount?,
            received: get("receipt_amount").and_then(|text| Money::parse_decimal(text, Currency::CNY).ok()),
            pay_time: parse_time(get("gmt_payment")?)?,
        })
    };
    // A refund is told as the trade's status with these fields beside it; a full one as TRADE_CLOSED, which without
    // them means that nothing was ever paid.
    let tells_refund = get("refund_fee").is_some() || get("gmt_refund").is_some();
    let evidence = match get("trade_status")? {
        "TRADE_SUCCESS" | "TRADE_FINISHED" if tells_refund => paid().map(Evidence::Paid),
        "TRADE_CLOSED" if tells_refund => paid().map(Evidence::Reversed),
        "TRADE_SUCCESS" | "TRADE_FINISHED" => Some(Evidence::Paid(paid()?)),
        "TRADE_CLOSED" => Some(Evidence::Closed),
        "WAIT_BUYER_PAY" => Some(Evidence::Waiting),
        _ => None,
    };
    let refund_number = if tells_refund { get("out_biz_no").map(str::to_owned) } else { None };
    Some(Notice { number: get("out_trade_no")?.to_owned(), claim, evidence, refund_number })
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{KeyPair as _, RsaKeyPair};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::Deserialize;
    use url::form_urlencoded::Serializer;

    use super::super::sign::Keys;
    use super::*;

    /// A real notification and Alipay's public key for it, which nobody in this project wrote.
    #[derive(Deserialize)]
    struct RealMessage {
        alipay_public_key: String,
        fields: BTreeMap<String, String>,
    }

    fn real() -> (KeySet, Fields) {
        let message: RealMessage =
            serde_json::from_str(include_str!("../../../tests/fixtures/alipay_notification.json")).unwrap();
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let keys = Keys::parse(&STANDARD.encode(private.as_ref()), &message.alipay_public_key).unwrap();
        (KeySet(vec![keys]), message.fields)
    }

    fn form(fields: &Fields) -> String {
        Serializer::new(String::new()).extend_pairs(fields).finish()
    }

    #[test]
    fn a_real_notification_is_verified_and_read() {
        let (keys, fields) = real();
        let notification = read(form(&fields).as_bytes(), &keys).unwrap();
        let paid = Paid {
            channel_transaction_id: "2019081522001468450512505578".to_owned(),
            amount: Money::new(10, Currency::CNY),
            received: Some(Money::new(10, Currency::CNY)),
            pay_time: "2019-08-15T07:56:24Z".parse().unwrap(),
        };
        let claim = Assertion {
            amount: Some(Money::new(10, Currency::CNY)),
            identity: vec![
                ("app_id", "2019073166072302".to_owned()),
                ("seller_id", "2088531891668739".to_owned()),
            ],
        };
        let expected = Notice {
            number: "20190815155618536-564-57".to_owned(),
            claim,
            evidence: Some(Evidence::Paid(paid)),
            refund_number: None,
        };
        assert_eq!(notification, expected);
    }

    #[test]
    fn a_real_notification_with_any_field_changed_is_forged() {
        let (keys, fields) = real();
        for name in fields.keys() {
            let mut altered = fields.clone();
            altered.get_mut(name).unwrap().push('0');
            assert_eq!(
                read(form(&altered).as_bytes(), &keys),
                Err(CallbackRejected::InvalidSignature),
                "{name} altered"
            );
        }
        for name in fields.keys().filter(|name| *name != "sign_type") {
            let mut cut = fields.clone();
            cut.remove(name);
            assert_eq!(
                read(form(&cut).as_bytes(), &keys),
                Err(CallbackRejected::InvalidSignature),
                "{name} removed"
            );
        }
        let twice = form(&fields) + "&total_amount=0.10";
        assert_eq!(read(twice.as_bytes(), &keys), Err(CallbackRejected::InvalidSignature));
        let added = form(&fields) + "&refund_fee=0.10";
        assert_eq!(read(added.as_bytes(), &keys), Err(CallbackRejected::InvalidSignature));
        for garbage in ["", "sign=", "a=b", "%%%=%ff"] {
            assert_eq!(read(garbage.as_bytes(), &keys), Err(CallbackRejected::InvalidSignature));
        }
    }

    /// Who has a signed notification has not the signature of another one: fields that are joined in the signed text may not
    /// be cut anew.
    #[test]
    fn a_real_notification_with_two_fields_in_one_is_forged() {
        let (keys, fields) = real();
        let signed: Vec<(&String, &String)> =
            fields.iter().filter(|(name, _)| !matches!(name.as_str(), "sign" | "sign_type")).collect();
        for pair in signed.windows(2) {
            let mut merged = fields.clone();
            merged.remove(pair[1].0);
            let value = [pair[0].1, "&", pair[1].0, "=", pair[1].1].concat();
            merged.insert(pair[0].0.clone(), value);
            let outcome = read(form(&merged).as_bytes(), &keys);
            assert_eq!(outcome, Err(CallbackRejected::InvalidSignature), "{}", pair[0].0);
        }
    }

    /// A notification as Alipay would write it, of fields in a charset.
    fn signed(fields: &[(&str, &[u8])]) -> (Vec<u8>, KeySet) {
        let texts = || {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
            let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
            let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
            (STANDARD.encode(private.as_ref()), STANDARD.encode(public.as_ref()))
        };
        let (ours, theirs) = (texts(), texts());
        let signer = Keys::parse(&theirs.0, &ours.1).unwrap();
        let fields: Vec<(String, Vec<u8>)> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
        let sign = signer.sign(form::text_to_sign(&fields.iter().cloned().collect()));
        let pairs = fields.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        let body: Vec<String> = pairs
            .chain([("sign", sign.as_bytes()), ("sign_type", b"RSA2")])
            .map(|(name, value)| {
                format!("{name}={}", url::form_urlencoded::byte_serialize(value).collect::<String>())
            })
            .collect();
        (body.join("&").into_bytes(), KeySet(vec![Keys::parse(&ours.0, &theirs.1).unwrap()]))
    }

    #[test]
    fn a_notification_in_gbk_is_verified_over_its_bytes() {
        // The second byte of the first character is a backslash.
        let subject = b"\x81\x5c\xb2\xe8";
        let of = |charset: &'static [u8]| -> Vec<(&'static str, &'static [u8])> {
            vec![
                ("app_id", b"2021"),
                ("charset", charset),
                ("gmt_payment", b"2026-03-01 10:00:05"),
                ("out_trade_no", b"att1"),
                ("subject", subject),
                ("total_amount", b"88.88"),
                ("trade_no", b"2026030122"),
                ("trade_status", b"TRADE_SUCCESS"),
            ]
        };
        for charset in [b"GBK".as_slice(), b"gb2312"] {
            let (body, keys) = signed(&of(charset));
            let read = read(&body, &keys).unwrap();
            assert_eq!(
                (read.number.as_str(), read.claim.amount),
                ("att1", Some(Money::new(8_888, Currency::CNY)))
            );
            assert_eq!(verified_fields(&body, &keys).unwrap()["subject"], "乗茶");
            let mut altered = body.clone();
            let at = altered.windows(3).position(|bytes| bytes == b"%B2").unwrap();
            altered[at + 2] = b'3';
            assert_eq!(super::read(&altered, &keys), Err(CallbackRejected::InvalidSignature));
        }
        for charset in [b"utf-8".as_slice(), b"", b"big5"] {
            let (body, keys) = signed(&of(charset));
            assert_eq!(read(&body, &keys), Err(CallbackRejected::Malformed));
        }
    }

    #[test]
    fn a_closed_trade_was_paid_only_if_it_was_refunded() {
        let (_, mut fields) = real();
        fields.insert("trade_status".to_owned(), "TRADE_CLOSED".to_owned());
        assert_eq!(read_fields(&fields).unwrap().evidence, Some(Evidence::Closed));
        fields.insert("refund_fee".to_owned(), "0.10".to_owned());
        fields.insert("out_biz_no".to_owned(), "ref1".to_owned());
        let refunded = read_fields(&fields).unwrap();
        assert!(matches!(refunded.evidence, Some(Evidence::Reversed(_))));
        assert_eq!(refunded.refund_number.as_deref(), Some("ref1"));
    }
}

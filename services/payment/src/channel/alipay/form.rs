//! The form of a notification, as it was signed: byte by byte, in whatever charset it is.

use std::collections::BTreeMap;

/// The fields of a form, by name, with their values as they came.
pub(super) type Form = BTreeMap<String, Vec<u8>>;

/// The parameters of notifications (asynchronous notifications of alipay.trade.*), whichever of them we read.
const PARAMETERS: &[&str] = &[
    "app_id",
    "auth_app_id",
    "body",
    "buyer_id",
    "buyer_logon_id",
    "buyer_open_id",
    "buyer_pay_amount",
    "charset",
    "fund_bill_list",
    "gmt_close",
    "gmt_create",
    "gmt_payment",
    "gmt_refund",
    "invoice_amount",
    "notify_id",
    "notify_time",
    "notify_type",
    "out_biz_no",
    "out_trade_no",
    "passback_params",
    "point_amount",
    "receipt_amount",
    "refund_fee",
    "refund_reason",
    "send_back_fee",
    "seller_email",
    "seller_id",
    "sign",
    "sign_type",
    "subject",
    "total_amount",
    "trade_no",
    "trade_status",
    "version",
    "voucher_detail_list",
];

/// Those with text that somebody wrote. No other has a `&` or a `=` in it.
const TEXTS: &[&str] =
    &["body", "fund_bill_list", "passback_params", "refund_reason", "subject", "voucher_detail_list"];

/// Reads a form, and nothing that could be read in two ways; else none.
pub(super) fn parse(body: &[u8]) -> Option<Form> {
    let mut form = Form::new();
    for pair in body.split(|b| *b == b'&') {
        let (name, value) = split(pair)?;
        let name = String::from_utf8(unescape(name)?).ok().filter(|name| is_name(name.as_bytes()))?;
        if form.insert(name, unescape(value)?).is_some() {
            return None;
        }
    }
    Some(form)
}

/// The text that Alipay signs: fields with a value, sorted by name, joined as they are.
pub(super) fn text_to_sign(form: &Form) -> Vec<u8> {
    let mut text = Vec::new();
    for (name, value) in form.iter().filter(|(_, value)| !value.is_empty()) {
        if !text.is_empty() {
            text.push(b'&');
        }
        text.extend_from_slice(name.as_bytes());
        text.push(b'=');
        text.extend_from_slice(value);
    }
    text
}

/// Whether the signed text can be cut into these fields in no other way. Fields are joined as they are, so
/// `a=1&b=2` is signed for a form with both, and for one whose `a` is `1&b=2`: who has a signed notification could make
/// another of it, in which a field is gone and another says what nobody said.
pub(super) fn is_unambiguous(form: &Form) -> bool {
    form.iter().all(|(name, value)| {
        if PARAMETERS.contains(&name.as_str()) && !TEXTS.contains(&name.as_str()) {
            return !value.iter().any(|b| matches!(b, b'&' | b'='));
        }
        let mut parts = value.split(|b| *b == b'&').skip(1).filter_map(split);
        !parts.any(|(name, _)| PARAMETERS.iter().any(|known| known.as_bytes() == name))
    })
}

fn split(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = pair.iter().position(|b| *b == b'=')?;
    Some((&pair[..at], &pair[at + 1..]))
}

fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// Undoes the escapes of a form; none if one is broken.
fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, behind @ ..] = rest {
        let (byte, behind) = match (first, behind) {
            (b'+', _) => (b' ', behind),
            (b'%', [high, low, behind @ ..]) => (digit(*high)? << 4 | digit(*low)?, behind),
            (b'%', _) => return None,
            (other, _) => (*other, behind),
        };
        bytes.push(byte);
        rest = behind;
    }
    Some(bytes)
}

fn digit(hex: u8) -> Option<u8> {
    char::from(hex).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_in_one_way_or_not_at_all() {
        let form = parse(b"b=2+%26%e8%8c%b6&a=1&c=&a_b=%b2%e8").unwrap();
        assert_eq!(text_to_sign(&form), b"a=1&a_b=\xb2\xe8&b=2 &\xe8\x8c\xb6");
        for bad in [
            "", "a", "a=1&", "&a=1", "=1", "a=1&a=1", "a=%", "a=%4", "a=%zz", "%zz=1", "a%3d=1", "a b=1",
            "\u{e9}=1",
        ] {
            assert!(parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn no_field_has_another_one_in_it() {
        for (form, expected) in [
            ("total_amount=1.00&subject=a%26b%3dc", true),
            ("subject=fish+%26+chips&body=x%3d1", true),
            ("body=x%26buyer_id%3d2088", false),
            ("trade_status=TRADE_SUCCESS%26version%3d1.0", false),
            ("app_id=2021%3d", false),
            ("new=MTIz%3d%26x", true),
            ("new=1%26version%3d1.0", false),
        ] {
            assert_eq!(is_unambiguous(&parse(form.as_bytes()).unwrap()), expected, "{form}");
        }
    }
}

//! The JSON of an answer: one node named after the method, then its signature.

use serde_json::Value;

/// The fields of a node, in the order they are sent.
pub(crate) type Fields = Vec<(&'static str, Value)>;

/// The name of a method's node: its dots become underscores, then `_response`. A method that could not be the name of
/// one (missing, or with other characters than real ones have) is answered as `error_response`.
pub(crate) fn name(method: &str) -> String {
    let usable = !method.is_empty()
        && method.len() <= 128
        && method.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.');
    if usable { format!("{}_response", method.replace('.', "_")) } else { "error_response".to_owned() }
}

/// The node's text, exactly as it is signed and sent.
///
/// Slashes are escaped as the real gateway does, so a client that verifies anything but the bytes received will notice.
/// Braces in strings are escaped too, because some clients find the node's end by counting braces.
pub(crate) fn text(fields: &Fields) -> String {
    let members: Vec<_> =
        fields.iter().map(|(name, value)| format!("\"{name}\":{}", escape(&value.to_string()))).collect();
    format!("{{{}}}", members.join(","))
}

/// The whole answer. The sign, if it is signed, follows the node at once: a common client looks for `},"sign":"`.
pub(crate) fn answer(name: &str, node: &[u8], sign: Option<&str>) -> Vec<u8> {
    let sign = sign.map(|sign| format!(",\"sign\":\"{sign}\"")).unwrap_or_default();
    [b"{\"", name.as_bytes(), b"\":", node, sign.as_bytes(), b"}"].concat()
}

fn escape(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    let mut in_string = false;
    let mut after_backslash = false;
    for character in json.chars() {
        match character {
            '{' if in_string => escaped.push_str("\\u007b"),
            '}' if in_string => escaped.push_str("\\u007d"),
            '/' if in_string => escaped.push_str("\\/"),
            _ => escaped.push(character),
        }
        if after_backslash {
            after_backslash = false;
        } else if character == '\\' {
            after_backslash = true;
        } else if character == '"' {
            in_string = !in_string;
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn names() {
        assert_eq!(name("alipay.trade.query"), "alipay_trade_query_response");
        for method in ["", "a\"b", "alipay.交易", "A.B", &"a".repeat(129)] {
            assert_eq!(name(method), "error_response", "{method:?}");
        }
    }

    #[test]
    fn braces_and_slashes_in_strings_are_escaped() {
        let fields = vec![("a", json!("x{/}\\\"}")), ("list", json!([{"b": "c"}]))];
        let text = text(&fields);
        assert_eq!(text, r#"{"a":"x\u007b\/\u007d\\\"\u007d","list":[{"b":"c"}]}"#);
    }

    proptest! {
        #[test]
        fn escaping_changes_no_value(value in ".*") {
            let text = text(&vec![("a", json!(value))]);
            let read: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(read["a"].as_str().unwrap(), value);
            prop_assert_eq!(text.matches(['{', '}']).count(), 2);
        }
    }
}

//! The parameters of a call.

use std::collections::BTreeMap;

use percent_encoding::percent_decode;

use super::{charset::Charset, refusal::Refusal, sign::request_text};

/// The parameters of a call, from query and form together. Values are in the call's character set.
pub(crate) struct Parameters {
    bytes: BTreeMap<String, Vec<u8>>,
    texts: BTreeMap<String, String>,
    charset: Charset,
}

impl Parameters {
    /// Merges query and form body (SDKs differ in what they put where). The same name with two values is refused.
    pub(crate) fn merge(query: &str, body: &[u8]) -> Result<Self, Refusal> {
        let mut bytes = BTreeMap::new();
        for (name, value) in pairs(query.as_bytes()).chain(pairs(body)) {
            if let Some(earlier) = bytes.insert(name, value.clone())
                && earlier != value
            {
                return Err(Refusal::Invalid("isv.invalid-parameter"));
            }
        }
        // An unknown set is refused later, by name.
        let charset = bytes.get("charset").and_then(|value| Charset::from_wire(str::from_utf8(value).ok()?));
        let charset = charset.unwrap_or_default();
        let texts = bytes.iter().map(|(name, value)| (name.clone(), charset.decode(value))).collect();
        Ok(Self { bytes, texts, charset })
    }

    /// The value, if it is there and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The character set of the call.
    pub(crate) fn charset(&self) -> Charset {
        self.charset
    }

    pub(crate) fn require(&self, name: &str, sub_code: &'static str) -> Result<&str, Refusal> {
        self.get(name).ok_or(Refusal::Missing(sub_code))
    }

    /// The text the app has signed.
    pub(crate) fn signed_text(&self) -> Vec<u8> {
        request_text(self.bytes.iter().map(|(name, value)| (name.as_str(), value.as_slice())))
    }
}

/// The names and the values of a form, values as the bytes that were percent-encoded.
fn pairs(form: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> {
    form.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        let mut half = || {
            let plain: Vec<_> = halves
                .next()
                .unwrap_or_default()
                .iter()
                .map(|b| if *b == b'+' { b' ' } else { *b })
                .collect();
            percent_decode(&plain).collect::<Vec<_>>()
        };
        (String::from_utf8_lossy(&half()).into_owned(), half())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_and_form_are_merged_and_contradictions_refused() {
        let merged = Parameters::merge("a=1&b=%E8%8C%B6+x&same=1", b"c=3&same=1&empty=").unwrap();
        assert_eq!(merged.get("b"), Some("茶 x"));
        assert_eq!(merged.get("empty"), None);
        assert_eq!(merged.signed_text(), "a=1&b=茶 x&c=3&same=1".as_bytes());
        assert!(Parameters::merge("a=1", b"a=2").is_err());
    }

    #[test]
    fn a_call_in_gbk_is_signed_over_its_bytes() {
        let merged = Parameters::merge("charset=GBK&b=%B2%E8+x", b"").unwrap();
        assert_eq!(merged.get("b"), Some("茶 x"));
        assert_eq!(merged.signed_text(), b"b=\xb2\xe8 x&charset=GBK");
    }
}

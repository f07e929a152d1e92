//! The two character sets of the gateway. A call names its own (`charset`); its answer comes in it, and so do the
//! notifications about what it made. Signatures are over the bytes in that set (Alipay open platform: common parameters).

use std::borrow::Cow;

use encoding_rs::{Encoding, GBK, UTF_8};
use serde::{Deserialize, Serialize};

/// A character set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Charset {
    /// UTF-8, the default.
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    /// GBK, of which GB2312 is a part.
    Gbk,
}

impl Charset {
    /// Reads the `charset` parameter.
    pub(super) fn from_wire(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "utf-8" => Some(Self::Utf8),
            "gbk" | "gb2312" => Some(Self::Gbk),
            _ => None,
        }
    }

    /// As `charset` fields and content types name it.
    pub(super) fn as_wire(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Gbk => "GBK",
        }
    }

    fn encoding(self) -> &'static Encoding {
        match self {
            Self::Utf8 => UTF_8,
            Self::Gbk => GBK,
        }
    }

    /// The text of bytes in this set; what is none becomes a replacement character.
    pub(super) fn decode(self, bytes: &[u8]) -> String {
        self.encoding().decode_without_bom_handling(bytes).0.into_owned()
    }

    /// The bytes of a text in this set; what the set cannot say becomes a question mark.
    pub(super) fn encode(self, text: &str) -> Cow<'_, [u8]> {
        let (bytes, _, unmappable) = self.encoding().encode(text);
        if !unmappable {
            return bytes;
        }
        let mut bytes = Vec::with_capacity(text.len());
        for character in text.chars() {
            let mut buffer = [0; 4];
            let (encoded, _, unmappable) = self.encoding().encode(character.encode_utf8(&mut buffer));
            bytes.extend_from_slice(if unmappable { b"?" } else { &encoded });
        }
        Cow::Owned(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gbk_cannot_say_becomes_a_question_mark() {
        assert_eq!(&*Charset::Gbk.encode("茶a"), b"\xb2\xe8a");
        assert_eq!(&*Charset::Gbk.encode("茶🍵a"), b"\xb2\xe8?a");
        assert_eq!(&*Charset::Utf8.encode("茶🍵"), "茶🍵".as_bytes());
    }

    #[test]
    fn names() {
        for (text, charset) in [
            ("utf-8", Some(Charset::Utf8)),
            ("UTF-8", Some(Charset::Utf8)),
            ("GBK", Some(Charset::Gbk)),
            ("gb2312", Some(Charset::Gbk)),
            ("latin1", None),
        ] {
            assert_eq!(Charset::from_wire(text), charset, "{text}");
        }
    }
}

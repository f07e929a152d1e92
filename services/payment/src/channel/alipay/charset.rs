//! Alipay's charsets. A signature is over bytes, so what is signed is decoded only after it was verified.

use std::borrow::Cow;
use std::str;

use encoding_rs::GBK;

/// What a message is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Charset {
    Utf8,
    Gbk,
}

impl Charset {
    /// Reads the `charset` of a message; none if we do not know it.
    pub(super) fn read(name: &[u8]) -> Option<Self> {
        let is = |known: &[&str]| known.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
        if is(&["", "utf-8", "utf8"]) {
            Some(Self::Utf8)
        } else if is(&["gbk", "gb2312", "gb18030"]) {
            Some(Self::Gbk)
        } else {
            None
        }
    }

    /// Reads a text; none if it is not all in this charset.
    pub(super) fn decode(self, bytes: &[u8]) -> Option<Cow<'_, str>> {
        match self {
            Self::Utf8 => str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Self::Gbk => GBK.decode_without_bom_handling_and_without_replacement(bytes),
        }
    }
}

/// An answer as text, which still knows the bytes that it came in. The gateway answers in the charset of the call, but for
/// calls that it does not understand it may answer in GBK.
pub(super) struct Answer<'a> {
    bytes: &'a [u8],
    text: Cow<'a, str>,
    charset: Charset,
}

impl<'a> Answer<'a> {
    /// Reads an answer in the charset that it is in; none if it is in none of them.
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let charset = if str::from_utf8(bytes).is_ok() { Charset::Utf8 } else { Charset::Gbk };
        Some(Self { bytes, text: charset.decode(bytes)?, charset })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the bytes that a part of the text came in; none if it is no part of it.
    pub(super) fn bytes_of(&self, part: &str) -> Option<&'a [u8]> {
        let begin = (part.as_ptr() as usize).checked_sub(self.text.as_ptr() as usize)?;
        let end = begin.checked_add(part.len())?;
        let (before, within) = (self.text.get(..begin)?, self.text.get(begin..end)?);
        let (begin, end) = match self.charset {
            Charset::Utf8 => (begin, end),
            Charset::Gbk => {
                let begin = skip(self.bytes, 0, before.chars().count())?;
                (begin, skip(self.bytes, begin, within.chars().count())?)
            }
        };
        self.bytes.get(begin..end)
    }
}

/// Returns where so many characters of GBK end that begin at a place.
fn skip(bytes: &[u8], mut at: usize, characters: usize) -> Option<usize> {
    for _ in 0..characters {
        at += match bytes.get(at..)? {
            [0..=0x80, ..] => 1,
            // The four bytes of GB 18030.
            [_, b'0'..=b'9', ..] => 4,
            [_, _, ..] => 2,
            [] | [_] => return None,
        };
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_an_answer_is_found_in_its_bytes() {
        // The second byte of the first character is a backslash, that of the second a brace; the third has four bytes.
        for (text, bytes) in
            [("乗", b"\x81\x5c".as_slice()), ("亄", b"\x81\x7b"), ("\u{80}", b"\x81\x30\x81\x30")]
        {
            assert_eq!(Charset::Gbk.decode(bytes).as_deref(), Some(text));
        }
        let mut bytes = b"{\"a\":\"\x81\x5c\x81\x7b\x81\x30\x81\x30\",\"b\":[\"".to_vec();
        bytes.extend(b"\x81\x5c\"]}");
        let answer = Answer::decode(&bytes).unwrap();
        assert_eq!(answer.text(), "{\"a\":\"乗亄\u{80}\",\"b\":[\"乗\"]}");
        let part = &answer.text()[answer.text().find('[').unwrap()..answer.text().len() - 1];
        assert_eq!(answer.bytes_of(part), Some(b"[\"\x81\x5c\"]".as_slice()));
        assert_eq!(answer.bytes_of(answer.text()), Some(bytes.as_slice()));
        assert_eq!(answer.bytes_of("elsewhere"), None);

        let plain = Answer::decode("{\"茶\":1}".as_bytes()).unwrap();
        assert_eq!(plain.bytes_of(&plain.text()[1..6]), Some("\"茶\"".as_bytes()));
        assert!(Answer::decode(b"\xff\xff").is_none());
    }
}

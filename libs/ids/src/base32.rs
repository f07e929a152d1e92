//! Crockford's base32 for 128 bits: 26 digits, the first one at most 7.

const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const LEN: usize = 26;

/// Writes the bits, most significant digit first.
pub(crate) fn encode(bits: u128) -> String {
    (0..LEN).rev().map(|place| char::from(DIGITS[((bits >> (5 * place)) & 31) as usize])).collect()
}

/// Reads what [`encode`] wrote. Nothing else is read: neither upper case nor the look-alikes that Crockford's
/// decoders forgive, for an id must have one text only.
pub(crate) fn decode(text: &str) -> Option<u128> {
    if text.len() != LEN || text.as_bytes()[0] > b'7' {
        return None;
    }
    text.bytes().try_fold(0_u128, |bits, digit| {
        let value = DIGITS.iter().position(|&d| d == digit)?;
        Some((bits << 5) | value as u128)
    })
}

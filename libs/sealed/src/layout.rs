//! The bytes of a sealed value, as drawn in the crate's documentation.

const VERSION: u8 = 1;
pub(crate) const KEY_ID_BYTES_MAX: usize = 32;
pub(crate) const NONCE_BYTES: usize = 12;
pub(crate) const TAG_BYTES: usize = 16;

/// A sealed value taken apart; nothing about it has been verified yet.
pub(crate) struct Parts<'a> {
    /// Version, length and key id: what is authenticated besides the context.
    pub(crate) header: &'a [u8],
    pub(crate) key_id: &'a str,
    pub(crate) nonce: &'a [u8; NONCE_BYTES],
    /// At least as long as a tag.
    pub(crate) ciphertext_and_tag: &'a [u8],
}

/// `key_id` must be acceptable to [`is_key_id`].
pub(crate) fn header(key_id: &str) -> Vec<u8> {
    let length = u8::try_from(key_id.len()).expect("key ids are at most 32 bytes");
    [&[VERSION, length], key_id.as_bytes()].concat()
}

/// `None` when the bytes cannot be a sealed value, whatever the keys.
pub(crate) fn split(sealed: &[u8]) -> Option<Parts<'_>> {
    let (&[version, id_length], _) = sealed.split_first_chunk()?;
    if version != VERSION {
        return None;
    }
    let (header, body) = sealed.split_at_checked(2 + usize::from(id_length))?;
    let key_id = str::from_utf8(&header[2..]).ok().filter(|id| is_key_id(id))?;
    let (nonce, ciphertext_and_tag) = body.split_first_chunk()?;
    if ciphertext_and_tag.len() < TAG_BYTES {
        return None;
    }
    Some(Parts { header, key_id, nonce, ciphertext_and_tag })
}

/// The data that is authenticated but not encrypted. The header says its own length, so no other pair of header and
/// context gives the same bytes.
pub(crate) fn authenticated(header: &[u8], context: &[u8]) -> Vec<u8> {
    [header, context].concat()
}

/// 1 to 32 ASCII letters, digits, `-`, `_` and `.`: readable in a log, and free of the keyring's separators.
pub(crate) fn is_key_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=KEY_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

//! How answers lie in Redis: compressed, and sealed where the service has keys.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use secrecy::ExposeSecret as _;
use tael_sealed::Keyring;

/// The first byte of a packed answer says what follows.
const DEFLATED: u8 = 1;
const SEALED: u8 = 2;

/// The most bytes that an answer may have, as a message of gRPC.
const MAX_ANSWER: u64 = 4 << 20;

/// Packs and unpacks answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packing {
    /// With none, answers are compressed only: for services whose answers hold no secrets and nobody's data.
    pub(crate) keyring: Option<Arc<Keyring>>,
}

impl Packing {
    /// Packs an answer for the record `place`; no other can hold it.
    pub(crate) fn pack(&self, place: &str, answer: &[u8]) -> Vec<u8> {
        let mut deflated = DeflateEncoder::new(Vec::new(), Compression::default());
        deflated.write_all(answer).expect("memory takes all");
        let deflated = deflated.finish().expect("memory takes all");
        let (tag, content) = match &self.keyring {
            Some(keyring) => (SEALED, keyring.seal(&deflated, place.as_bytes())),
            None => (DEFLATED, deflated),
        };
        [&[tag], content.as_slice()].concat()
    }

    /// Unpacks what [`Packing::pack`] made; none when it can't be: it is damaged, or the key is not ours.
    pub(crate) fn unpack(&self, place: &str, packed: &[u8]) -> Option<Vec<u8>> {
        match packed.split_first()? {
            (&DEFLATED, content) => inflate(content),
            (&SEALED, content) => {
                let opened = self.keyring.as_ref()?.open(content, place.as_bytes()).ok()?;
                inflate(opened.expose_secret())
            }
            _ => None,
        }
    }
}

fn inflate(content: &[u8]) -> Option<Vec<u8>> {
    let mut answer = Vec::new();
    let read = DeflateDecoder::new(content).take(MAX_ANSWER + 1).read_to_end(&mut answer).ok()?;
    (read as u64 <= MAX_ANSWER).then_some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_unpacks_in_its_place_alone() {
        let answer = b"voucher code 0123-4567-89AB ".repeat(40);
        let sealed = Packing { keyring: Some(Arc::new(Keyring::generate())) };
        let packed = sealed.pack("here", &answer);
        assert!(packed.len() < answer.len() / 4, "{} bytes", packed.len());
        assert!(!packed.windows(7).any(|part| part == b"voucher"));
        assert_eq!(sealed.unpack("here", &packed).as_deref(), Some(answer.as_slice()));
        assert_eq!(sealed.unpack("elsewhere", &packed), None);
        assert_eq!(Packing::default().unpack("here", &packed), None, "without the key");

        // A service that is given keys still reads what it recorded before.
        let plain = Packing::default().pack("here", &answer);
        assert_eq!(sealed.unpack("here", &plain).as_deref(), Some(answer.as_slice()));
    }

    #[test]
    fn what_was_damaged_or_would_not_end_is_refused() {
        let packing = Packing::default();
        for bad in [b"".as_slice(), b"\x01", b"\x07abc", b"\x02short"] {
            assert_eq!(packing.unpack("here", bad), None, "{bad:?}");
        }
        let endless = vec![0; 16 << 20];
        let packed = packing.pack("here", &endless);
        assert!(packed.len() < 64 << 10);
        assert_eq!(packing.unpack("here", &packed), None);
    }
}

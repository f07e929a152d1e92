//! RSA2: RSA PKCS#1 v1.5 with SHA-256 over the text forms the gateway protocol signs.

use std::sync::Arc;

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::{KeyPair, KeySize, PublicKey},
    signature::{KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaParameters},
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

/// The text that a call signs: every parameter except `sign` with a non-empty value, sorted by name, joined as
/// `k=v&k=v`, values not URL-encoded. `sign_type` is part of it (Alipay open platform: signing a request).
///
/// It is text in the call's character set, so bytes.
pub(crate) fn request_text<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    sorted_text(parameters, &["sign"])
}

/// The text that a notification signs: as for a call, but without `sign_type` (Alipay open platform: verifying an
/// asynchronous notification).
pub(crate) fn notification_text<'a>(fields: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    sorted_text(fields, &["sign", "sign_type"])
}

fn sorted_text<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a [u8])>, without: &[&str]) -> Vec<u8> {
    let mut pairs: Vec<_> =
        pairs.into_iter().filter(|(name, value)| !value.is_empty() && !without.contains(name)).collect();
    pairs.sort_unstable();
    let joined: Vec<_> = pairs.iter().map(|(name, value)| [name.as_bytes(), b"=", value].concat()).collect();
    joined.join(&b'&')
}

/// Alipay's own key pair, with which answers and notifications are signed.
pub(crate) struct AlipayKey(KeyPair);

/// The text is no RSA private key of at least 2048 bits in PEM (PKCS#8 or PKCS#1).
#[derive(Debug, thiserror::Error)]
#[error("not an RSA private key of at least 2048 bits in PEM form")]
pub(crate) struct BadPrivateKey;

impl AlipayKey {
    /// Makes a new RSA-2048 key pair.
    pub(crate) fn generate() -> Self {
        Self(KeyPair::generate(KeySize::Rsa2048).expect("key generation fails only when memory is exhausted"))
    }

    /// Reads a private key from PEM.
    pub(crate) fn from_pem(pem: &str) -> Result<Self, BadPrivateKey> {
        let der = decode_pem(pem).ok_or(BadPrivateKey)?;
        let pair =
            KeyPair::from_pkcs8(&der).or_else(|_| KeyPair::from_der(&der)).map_err(|_| BadPrivateKey)?;
        Ok(Self(pair))
    }

    /// The private key as PEM (PKCS#8).
    pub(crate) fn to_pem(&self) -> String {
        let der: Pkcs8V1Der<'_> =
            self.0.as_der().expect("encoding a valid key fails only when memory is exhausted");
        let base64 = BASE64.encode(der.as_ref());
        let lines: Vec<_> =
            base64.as_bytes().chunks(64).map(|line| str::from_utf8(line).expect("base64 is ASCII")).collect();
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
    }

    /// The RSA2 signature of `text`, base64.
    pub(crate) fn sign(&self, text: &[u8]) -> String {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature)
            .expect("signing fails only when memory is exhausted");
        BASE64.encode(signature)
    }

    /// The public key as base64 of its SubjectPublicKeyInfo, the form in which Alipay's console shows it.
    pub(crate) fn public_key(&self) -> String {
        let der: PublicKeyX509Der<'_> =
            self.0.public_key().as_der().expect("encoding a valid key fails only when memory is exhausted");
        BASE64.encode(der.as_ref())
    }
}

/// A merchant app's public key, with which its calls are verified.
#[derive(Clone)]
pub(crate) struct AppPublicKey {
    key: Arc<ParsedPublicKey>,
    der: Arc<[u8]>,
}

/// The text is no RSA public key of at least 2048 bits.
#[derive(Debug, thiserror::Error)]
#[error("not an RSA public key of at least 2048 bits, as PEM or base64 DER")]
pub(crate) struct BadPublicKey;

impl AppPublicKey {
    /// Reads a public key given as PEM or as the base64 of its DER form.
    pub(crate) fn parse(text: &str) -> Result<Self, BadPublicKey> {
        let der = decode_pem(text).ok_or(BadPublicKey)?;
        // A shorter key parses, but no signature by it would ever verify: better said now.
        let key = PublicKey::from_der(&der).map_err(|_| BadPublicKey)?;
        let bits = RsaParameters::public_modulus_len(key.as_ref()).map_err(|_| BadPublicKey)?;
        if bits < RSA_PKCS1_2048_8192_SHA256.min_modulus_len() {
            return Err(BadPublicKey);
        }
        let key = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &der).map_err(|_| BadPublicKey)?;
        Ok(Self { key: Arc::new(key), der: der.into() })
    }

    /// The key as base64 of its DER form.
    pub(crate) fn to_base64(&self) -> String {
        BASE64.encode(&self.der)
    }

    /// Whether `sign` (base64) is this key's RSA2 signature of `text`.
    pub(crate) fn verifies(&self, text: &[u8], sign: &str) -> bool {
        BASE64.decode(sign).is_ok_and(|signature| self.key.verify_sig(text, &signature).is_ok())
    }
}

/// The bytes between PEM's dashes, or of bare base64.
fn decode_pem(text: &str) -> Option<Vec<u8>> {
    let body: String = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("-----"))
        .flat_map(str::chars)
        .filter(|character| !character.is_whitespace())
        .collect();
    if body.is_empty() {
        return None;
    }
    BASE64.decode(body).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// A real notification with its public key, which nobody in this project made.
    fn public_vector() -> (AppPublicKey, Vec<(String, String)>) {
        let file: Value =
            serde_json::from_str(include_str!("../../../tests/fixtures/alipay_notification_v1.json"))
                .unwrap();
        let key = AppPublicKey::parse(file["alipay_public_key"].as_str().unwrap()).unwrap();
        let fields = file["fields"].as_object().unwrap();
        let fields = fields.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
        (key, fields.collect())
    }

    fn verifies(key: &AppPublicKey, fields: &[(String, String)]) -> bool {
        let text = notification_text(fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())));
        let sign = fields.iter().find(|(name, _)| name == "sign").unwrap();
        key.verifies(&text, &sign.1)
    }

    #[test]
    fn the_text_of_a_real_notification_verifies() {
        let (key, mut fields) = public_vector();
        assert!(verifies(&key, &fields));
        let total = fields.iter_mut().find(|(name, _)| name == "total_amount").unwrap();
        total.1 = "0.11".to_owned();
        assert!(!verifies(&key, &fields));
    }

    #[test]
    fn the_text_of_a_call_keeps_sign_type_and_drops_empty_values() {
        let text = request_text([
            ("version", &b"1.0"[..]),
            ("sign", b"x"),
            ("app_id", b"1"),
            ("notify_url", b""),
            ("sign_type", b"RSA2"),
        ]);
        assert_eq!(text, b"app_id=1&sign_type=RSA2&version=1.0");
    }

    #[test]
    fn signatures_of_the_sandbox_verify_with_its_public_key() {
        let key = AlipayKey::generate();
        let public = AppPublicKey::parse(&key.public_key()).unwrap();
        let sign = key.sign("中文 text".as_bytes());
        assert!(public.verifies("中文 text".as_bytes(), &sign));
        assert!(!public.verifies("中文 text.".as_bytes(), &sign));
        assert!(!public.verifies("中文 text".as_bytes(), "not base64!"));
    }

    #[test]
    fn a_key_survives_its_pem() {
        let key = AlipayKey::generate();
        let again = AlipayKey::from_pem(&key.to_pem()).unwrap();
        assert_eq!(again.public_key(), key.public_key());
    }

    /// A 1024-bit key, made with openssl.
    const SHORT_KEY: &str = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCxowl/ua8XqMMAyPt3q5xEX/kjnvAzKPlo04onv+8NJ3RGSyTXwWdqOzTwPPEAseYWnbznA20Ar6E0LSjj/OIa6kZniiXbphZ0Dp6HSzaej82GkKQ/wL+ujckbWA6h5ab8QvYY/qgaQjgXXdVhjY6PWUV0xxKj572k3Y7Zvfi0wQIDAQAB";

    #[test]
    fn bad_keys_are_refused() {
        for text in
            [SHORT_KEY, "", "nonsense", "AAAA", "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----"]
        {
            assert!(AppPublicKey::parse(text).is_err(), "{text:?}");
            assert!(AlipayKey::from_pem(text).is_err(), "{text:?}");
        }
    }
}

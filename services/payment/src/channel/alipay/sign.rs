//! RSA2: RSA PKCS#1 v1.5 with SHA-256 (<https://opendocs.alipay.com/common/02mse3>).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeySize, PublicEncryptingKey};
use aws_lc_rs::signature::{
    KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};

/// The keys of an application: ours to sign with, Alipay's to verify with.
pub(crate) struct Keys {
    ours: RsaKeyPair,
    theirs: ParsedPublicKey,
    random: SystemRandom,
}

/// Shows nothing of the keys.
impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

/// Which key can't be used. Never says what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeysError {
    /// Ours is not an RSA private key of at least 2048 bits, as PKCS#8 or PKCS#1, PEM or bare base64.
    #[error("the application's private key can't be used")]
    AppPrivateKey,
    /// Alipay's is not an RSA public key of at least 2048 bits, as SubjectPublicKeyInfo, PEM or bare base64.
    #[error("Alipay's public key can't be used")]
    AlipayPublicKey,
    /// Alipay's public key is the application's own: they were mixed up.
    #[error("Alipay's public key is the application's own")]
    SameKey,
    /// What is stored is not what was stored.
    #[error("the stored keys can't be read")]
    Stored,
}

/// The keys as they are sealed.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    #[serde(borrow)]
    app_private_key: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    alipay_public_key: std::borrow::Cow<'a, str>,
}

impl Keys {
    /// Reads keys as a merchant gives them.
    pub(crate) fn parse(app_private_key: &str, alipay_public_key: &str) -> Result<Self, KeysError> {
        let private = Zeroizing::new(decode(app_private_key).ok_or(KeysError::AppPrivateKey)?);
        let ours = RsaKeyPair::from_pkcs8(&private)
            .or_else(|_| RsaKeyPair::from_der(&private))
            .map_err(|_| KeysError::AppPrivateKey)?;
        if ours.public_modulus_len() < KeySize::Rsa2048.len() {
            return Err(KeysError::AppPrivateKey);
        }
        let public = decode(alipay_public_key).ok_or(KeysError::AlipayPublicKey)?;
        let theirs = public_key(&public).ok_or(KeysError::AlipayPublicKey)?;
        // SubjectPublicKeyInfo ends with the PKCS#1 key that the pair shows as its own.
        if public.ends_with(ours.public_key().as_ref()) {
            return Err(KeysError::SameKey);
        }
        Ok(Self { ours, theirs, random: SystemRandom::new() })
    }

    /// Says whether a text is a public key that [`Keys::parse`] takes.
    pub(crate) fn is_public_key(text: &str) -> bool {
        decode(text).is_some_and(|key| public_key(&key).is_some())
    }

    /// Writes keys that were parsed for storing. The text is secret.
    pub(crate) fn to_stored(app_private_key: &str, alipay_public_key: &str) -> Zeroizing<Vec<u8>> {
        let stored =
            Stored { app_private_key: app_private_key.into(), alipay_public_key: alipay_public_key.into() };
        Zeroizing::new(serde_json::to_vec(&stored).expect("two texts are always JSON"))
    }

    /// Reads keys as they were stored.
    pub(crate) fn from_stored(stored: &[u8]) -> Result<Self, KeysError> {
        let stored: Stored<'_> = serde_json::from_slice(stored).map_err(|_| KeysError::Stored)?;
        Self::parse(&stored.app_private_key, &stored.alipay_public_key)
    }

    /// Signs a text with our key, in the charset that it is in.
    pub(crate) fn sign(&self, text: impl AsRef<[u8]>) -> String {
        let mut signature = vec![0; self.ours.public_modulus_len()];
        self.ours
            .sign(&RSA_PKCS1_SHA256, &self.random, text.as_ref(), &mut signature)
            .expect("PKCS#1 v1.5 signs any text when the buffer has the modulus's length");
        STANDARD.encode(signature)
    }

    /// Says whether Alipay signed these bytes.
    pub(crate) fn verifies(&self, text: &[u8], signature: &str) -> bool {
        STANDARD.decode(signature).is_ok_and(|signature| self.theirs.verify_sig(text, &signature).is_ok())
    }
}

/// Reads a public key of at least 2048 bits. A shorter one would be taken, and only then verify nothing.
fn public_key(der: &[u8]) -> Option<ParsedPublicKey> {
    let bits = PublicEncryptingKey::from_der(der).ok()?.key_size_bits();
    if bits < 8 * KeySize::Rsa2048.len() {
        return None;
    }
    ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der).ok()
}

/// Reads PEM or bare base64, with or without line breaks.
fn decode(text: &str) -> Option<Vec<u8>> {
    let base64: Zeroizing<String> = Zeroizing::new(
        text.lines()
            .map(str::trim)
            .filter(|line| !line.starts_with("-----"))
            .flat_map(str::chars)
            .filter(|c| !c.is_ascii_whitespace())
            .collect(),
    );
    if base64.is_empty() { None } else { STANDARD.decode(base64.as_bytes()).ok() }
}

/// The text that is signed: parameters with a value, without `sign`, sorted by name, joined as they are.
pub(crate) fn text_to_sign<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut parameters: Vec<(&str, &str)> =
        parameters.into_iter().filter(|(name, value)| *name != "sign" && !value.is_empty()).collect();
    parameters.sort_unstable();
    let pairs: Vec<String> = parameters.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};

    use super::*;

    fn pair() -> (String, String) {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        (STANDARD.encode(private.as_ref()), STANDARD.encode(public.as_ref()))
    }

    fn pem(label: &str, base64: &str) -> String {
        let lines: Vec<&str> =
            base64.as_bytes().chunks(64).map(|c| std::str::from_utf8(c).unwrap()).collect();
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
    }

    #[test]
    fn keys_are_taken_as_pem_and_as_bare_base64() {
        let (ours, _) = pair();
        let (_, theirs) = pair();
        assert!(Keys::parse(&ours, &theirs).is_ok());
        assert!(Keys::parse(&pem("PRIVATE KEY", &ours), &pem("PUBLIC KEY", &theirs)).is_ok());
        let stored = Keys::to_stored(&ours, &theirs);
        assert!(Keys::from_stored(&stored).is_ok());
    }

    #[test]
    fn a_bad_key_is_named_and_never_shown() {
        let (ours, our_public) = pair();
        let (_, theirs) = pair();
        let error = |ours: &str, theirs: &str| Keys::parse(ours, theirs).unwrap_err();
        for bad in ["", "secret!", "AAAA", theirs.as_str()] {
            assert_eq!(error(bad, &theirs), KeysError::AppPrivateKey, "{bad}");
            assert!(bad.is_empty() || !error(bad, &theirs).to_string().contains(bad));
        }
        for bad in ["", "secret!", "AAAA"] {
            assert_eq!(error(&ours, bad), KeysError::AlipayPublicKey, "{bad}");
        }
        assert_eq!(error(&ours, &our_public), KeysError::SameKey);
    }

    #[test]
    fn a_public_key_of_1024_bits_is_refused_by_name() {
        const SHORT: &str = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDpEbqEKQNDlMt2pnmwW36k21D6\
            KO3PZSdu6LbbQMExV9ydvie1nOayoxyS5jFcFl+bO/CBt/u7MA4XY4v/h0hktrSL\
            McZ/HxBCGEAZdXj1Jhvl7yRLUCk5qNMnKsqmHaK3k/its1rI1558iLVpcWiNBAAo\
            8o79ywHr8gWLM8IXuwIDAQAB";
        let (ours, theirs) = pair();
        assert_eq!(Keys::parse(&ours, SHORT).unwrap_err(), KeysError::AlipayPublicKey);
        assert!(Keys::is_public_key(&theirs) && !Keys::is_public_key(SHORT));
    }

    #[test]
    fn the_text_is_sorted_without_sign_and_empty_values() {
        let text = text_to_sign([("b", "2 &茶"), ("sign", "x"), ("a", "1"), ("c", ""), ("a_b", "3")]);
        assert_eq!(text, "a=1&a_b=3&b=2 &茶");
    }
}

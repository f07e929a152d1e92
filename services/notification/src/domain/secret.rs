//! Signing, as the Standard Webhooks specification describes it
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};

/// The specification asks for 24 to 64 bytes.
const KEY_BYTES: usize = 32;
const PREFIX: &str = "whsec_";

/// The key that an endpoint's deliveries are signed with.
#[derive(Debug)]
pub(crate) struct SigningSecret(SecretSlice<u8>);

/// The system gave no randomness.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system gave no randomness")]
pub(crate) struct NoRandomness;

impl SigningSecret {
    /// Makes a new secret.
    pub(crate) fn generate() -> Result<Self, NoRandomness> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        aws_lc_rs::rand::fill(key.as_mut_slice()).map_err(|_| NoRandomness)?;
        Ok(Self::from_bytes(SecretSlice::from(key.to_vec())))
    }

    /// Takes a secret as it was sealed.
    pub(crate) fn from_bytes(key: SecretSlice<u8>) -> Self {
        Self(key)
    }

    /// Returns the bytes to be sealed.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.expose_secret()
    }

    /// Writes the secret as the merchant is shown it: "whsec_" and base64.
    pub(crate) fn text(&self) -> SecretString {
        let encoded = Zeroizing::new(STANDARD.encode(self.bytes()));
        SecretString::from(format!("{PREFIX}{}", encoded.as_str()))
    }

    /// Returns the value of the header `webhook-signature`.
    pub(crate) fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.bytes());
        let mut context = hmac::Context::with_key(&key);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body.as_bytes());
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specifications_own_vector_comes_out() {
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let secret = SigningSecret::from_bytes(SecretSlice::from(key));
        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn secrets_are_random_and_shown_with_their_prefix() {
        let (a, b) = (SigningSecret::generate().unwrap(), SigningSecret::generate().unwrap());
        assert_ne!(a.bytes(), b.bytes());
        let text = a.text();
        let encoded = text.expose_secret().strip_prefix("whsec_").unwrap();
        assert_eq!(STANDARD.decode(encoded).unwrap(), a.bytes());
        assert!(!format!("{a:?}").contains(encoded));
    }
}

//! Tokens: issued, and verified.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header, encode};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tael_clock::Clock;
use tael_ids::MerchantId;

use crate::{Kind, Principal, SigningKey, VerificationKeys};

/// Who issues: the merchant service.
const ISSUER: &str = "tael/merchant";
/// What a token is, so that none that was signed for something else is taken for a principal (RFC 8725, section 3.11).
const TYPE: &str = "tael-principal+jwt";
/// Longer texts are no token of ours.
const MAX_LEN: usize = 4096;
/// By how much the clocks of two services may differ.
const LEEWAY: Duration = Duration::from_secs(5);

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    iat: i64,
    exp: i64,
    kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    merchant: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    roles: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    scopes: BTreeSet<String>,
}

/// Issues tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Issuer {
    key: SigningKey,
    lifetime: Duration,
    clock: Clock,
}

/// A token, to be sent in the metadata [`METADATA`](crate::METADATA).
#[derive(Clone, Debug)]
pub struct Token {
    /// The text; whoever has it acts as the principal until the token ends.
    pub text: SecretString,
    /// When it ends.
    pub expire_time: Timestamp,
}

impl Issuer {
    /// Issues tokens that hold for `lifetime`: as long as what was revoked still acts.
    pub fn new(key: SigningKey, lifetime: Duration, clock: Clock) -> Self {
        Self { key, lifetime, clock }
    }

    /// Issues a token for a principal.
    pub fn issue(&self, principal: &Principal) -> Result<Token, TokenError> {
        let now = self.clock.now();
        let expire_time = now.checked_add(self.lifetime).map_err(|_| TokenError::Expired)?;
        let claims = Claims {
            iss: ISSUER.to_owned(),
            sub: principal.subject.clone(),
            iat: now.as_second(),
            exp: expire_time.as_second(),
            kind: principal.kind,
            merchant: principal.merchant.map(|id| id.to_string()),
            roles: principal.roles.clone(),
            scopes: principal.scopes.clone(),
        };
        let header = Header {
            typ: Some(TYPE.to_owned()),
            kid: Some(self.key.id.clone()),
            ..Header::new(Algorithm::EdDSA)
        };
        let text = encode(&header, &claims, &self.key.key).map_err(|_| TokenError::Malformed)?;
        Ok(Token { text: text.into(), expire_time })
    }
}

/// Why a token does not hold. None of it is a secret, and the token itself is never shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The text is no token of this kind.
    #[error("the token is malformed")]
    Malformed,
    /// It names a key that is not among ours.
    #[error("the token was signed by an unknown key")]
    UnknownKey,
    /// The signature is not that of the key it names.
    #[error("the token's signature is not valid")]
    InvalidSignature,
    /// It has ended.
    #[error("the token has expired")]
    Expired,
}

/// Verifies tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Verifier {
    keys: VerificationKeys,
    clock: Clock,
}

impl Verifier {
    /// Verifies by these keys, at the clock's time.
    pub fn new(keys: VerificationKeys, clock: Clock) -> Self {
        Self { keys, clock }
    }

    /// Returns whom a token names, if it is signed by one of our keys and has not ended.
    pub fn verify(&self, token: &str) -> Result<Principal, TokenError> {
        if token.len() > MAX_LEN {
            return Err(TokenError::Malformed);
        }
        let header = decode_header(token).map_err(|_| TokenError::Malformed)?;
        if header.alg != Algorithm::EdDSA || header.typ.as_deref() != Some(TYPE) {
            return Err(TokenError::Malformed);
        }
        let key = header.kid.and_then(|id| self.keys.0.get(&id)).ok_or(TokenError::UnknownKey)?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        // The time is compared below, by the clock that was passed in.
        validation.validate_exp = false;
        validation.set_required_spec_claims(&["iss", "sub", "exp"]);
        validation.set_issuer(&[ISSUER]);
        let claims = decode::<Claims>(token, key, &validation).map_err(|error| match error.kind() {
            jsonwebtoken::errors::ErrorKind::InvalidSignature => TokenError::InvalidSignature,
            _ => TokenError::Malformed,
        })?;
        self.principal(claims.claims)
    }

    fn principal(&self, claims: Claims) -> Result<Principal, TokenError> {
        let expire_time = Timestamp::from_second(claims.exp).map_err(|_| TokenError::Malformed)?;
        if expire_time.saturating_add(LEEWAY).unwrap_or(Timestamp::MAX) <= self.clock.now() {
            return Err(TokenError::Expired);
        }
        let merchant = claims.merchant.map(|id| id.parse::<MerchantId>()).transpose();
        let merchant = merchant.map_err(|_| TokenError::Malformed)?;
        // A merchant's program that names no merchant would be bound to none.
        if claims.kind == Kind::ApiKey && merchant.is_none() {
            return Err(TokenError::Malformed);
        }
        if !(1..=64).contains(&claims.sub.chars().count()) {
            return Err(TokenError::Malformed);
        }
        Ok(Principal {
            subject: claims.sub,
            kind: claims.kind,
            merchant,
            roles: claims.roles,
            scopes: claims.scopes,
        })
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jiff::SignedDuration;
    use secrecy::ExposeSecret as _;
    use serde_json::{Value, json};

    use super::*;

    fn key(id: &str) -> SigningKey {
        SigningKey::generate(id).1
    }

    fn verifier(keys: &[&SigningKey], clock: &Clock) -> Verifier {
        let text: Vec<String> = keys.iter().map(|key| key.verification_text()).collect();
        Verifier::new(text.join(",").parse().unwrap(), clock.clone())
    }

    fn clock() -> Clock {
        Clock::manual("2026-03-01T08:00:00Z".parse().unwrap())
    }

    fn principal() -> Principal {
        Principal {
            subject: "key_1".to_owned(),
            kind: Kind::ApiKey,
            merchant: Some(MerchantId::new()),
            roles: BTreeSet::new(),
            scopes: BTreeSet::from(["payments".to_owned()]),
        }
    }

    fn issue(key: &SigningKey, clock: &Clock, principal: &Principal) -> String {
        let issuer = Issuer::new(key.clone(), Duration::from_mins(5), clock.clone());
        issuer.issue(principal).unwrap().text.expose_secret().to_owned()
    }

    #[test]
    fn a_token_says_whom_it_was_issued_for_until_it_ends() {
        let (key, clock) = (key("k1"), clock());
        let principal = principal();
        let token = issue(&key, &clock, &principal);
        let verifier = verifier(&[&key], &clock);
        assert_eq!(verifier.verify(&token), Ok(principal));
        clock.advance(SignedDuration::from_secs(304));
        assert!(verifier.verify(&token).is_ok(), "clocks may differ a little");
        clock.advance(SignedDuration::from_secs(1));
        assert_eq!(verifier.verify(&token), Err(TokenError::Expired));
    }

    #[test]
    fn keys_are_rotated_with_overlap() {
        let (old, new, clock) = (key("old"), key("new"), clock());
        let [by_old, by_new] = [&old, &new].map(|key| issue(key, &clock, &principal()));
        let both = verifier(&[&old, &new], &clock);
        assert!(both.verify(&by_old).is_ok() && both.verify(&by_new).is_ok());
        let after = verifier(&[&new], &clock);
        assert_eq!(after.verify(&by_old), Err(TokenError::UnknownKey));
        assert!(after.verify(&by_new).is_ok());
        let none = Verifier::new(VerificationKeys::default(), clock);
        assert_eq!(none.verify(&by_new), Err(TokenError::UnknownKey));
    }

    fn part(value: &Value) -> String {
        URL_SAFE_NO_PAD.encode(value.to_string())
    }

    #[test]
    fn what_is_forged_does_not_hold() {
        let (key, stranger, clock) = (key("k1"), key("k1"), clock());
        let verifier = verifier(&[&key], &clock);
        // Another's key under our key's id.
        let forged = issue(&stranger, &clock, &principal());
        assert_eq!(verifier.verify(&forged), Err(TokenError::InvalidSignature));
        // Another's claims under our signature.
        let token = issue(&key, &clock, &principal());
        let [header, claims, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
        let mut altered: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        altered["merchant"] = json!(MerchantId::new().to_string());
        let altered = format!("{header}.{}.{signature}", part(&altered));
        assert_eq!(verifier.verify(&altered), Err(TokenError::InvalidSignature));
        // No signature, or one by the public key taken for a shared secret.
        for alg in ["none", "HS256"] {
            let header = part(&json!({ "alg": alg, "typ": TYPE, "kid": "k1" }));
            assert_eq!(verifier.verify(&format!("{header}.{claims}.")), Err(TokenError::Malformed));
        }
        // A token of another kind by the same key.
        let other = Header { kid: Some("k1".to_owned()), ..Header::new(Algorithm::EdDSA) };
        let claims =
            json!({ "iss": ISSUER, "sub": "x", "iat": 0, "exp": i64::from(u32::MAX), "kind": "service" });
        let other = encode(&other, &claims, &key.key).unwrap();
        assert_eq!(verifier.verify(&other), Err(TokenError::Malformed));
        for text in ["", "a.b", "a.b.c", &"x".repeat(5000)] {
            assert_eq!(verifier.verify(text), Err(TokenError::Malformed), "{text}");
        }
    }

    #[test]
    fn a_program_acts_for_a_merchant() {
        let (key, clock) = (key("k1"), clock());
        let unbound = Principal { merchant: None, ..principal() };
        let verifier = verifier(&[&key], &clock);
        assert_eq!(verifier.verify(&issue(&key, &clock, &unbound)), Err(TokenError::Malformed));
        let service = Principal { kind: Kind::Service, ..unbound };
        assert_eq!(verifier.verify(&issue(&key, &clock, &service)), Ok(service));
    }
}

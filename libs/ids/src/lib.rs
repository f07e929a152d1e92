//! Identifiers: one type per kind, a UUIDv7 inside, a prefixed lower-case base32 text outside.
//!
//! `ord_01jd2m…` is 30 characters: a three-letter prefix, an underscore, and the UUID's 128 bits as 26 characters of
//! Crockford's base32 (<https://www.crockford.com/base32.html>), whose order is that of the bits, so that ids sort
//! by time as texts, too. Without its underscore an id is also the number given to a channel (29 letters and
//! digits: WeChat Pay allows 32 characters, UnionPay letters and digits only).

mod base32;

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// Why a text is no id of the wanted kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdError {
    /// The text does not begin with the kind's prefix.
    #[error("must begin with \"{0}\"")]
    Prefix(&'static str),
    /// What follows the prefix is not 26 characters of base32 that fit 128 bits.
    #[error("must be a prefix and 26 characters of lower-case base32")]
    Malformed,
}

/// Defines one kind of id. The only macro of its sort in the project.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// The prefix of this kind, with its underscore.
            pub const PREFIX: &str = concat!($prefix, "_");

            /// Makes a new id, larger than those made before by this process.
            #[expect(clippy::new_without_default, reason = "a new id is a new value each time")]
            pub fn new() -> Self {
                Self(new_uuid())
            }

            /// Takes an id as it is stored.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// Returns the id as it is stored.
            pub const fn uuid(self) -> Uuid {
                self.0
            }

            /// Returns the number under which a channel knows this thing: the id without its underscore.
            pub fn channel_number(self) -> String {
                format!(concat!($prefix, "{}"), base32::encode(self.0.as_u128()))
            }

            /// Reads a number that was given to a channel.
            pub fn from_channel_number(text: &str) -> Result<Self, ParseIdError> {
                let digits = text.strip_prefix($prefix).ok_or(ParseIdError::Prefix($prefix))?;
                parse_digits(digits).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), base32::encode(self.0.as_u128()))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let digits = text.strip_prefix(Self::PREFIX).ok_or(ParseIdError::Prefix(Self::PREFIX))?;
                parse_digits(digits).map(Self)
            }
        }
    };
}

id!(/** A merchant. */ MerchantId, "mer");
id!(/** A merchant's API key (not its secret). */ ApiKeyId, "key");
id!(/** An order. */ OrderId, "ord");
id!(/** A line of an order. */ LineId, "lin");
id!(/** A promotion. */ PromotionId, "pro");
id!(/** A voucher (not its code). */ VoucherId, "vou");
id!(/** One redemption of a voucher. */ RedemptionId, "red");
id!(/** A payment. */ PaymentId, "pay");
id!(/** One attempt of a payment at one channel. */ AttemptId, "att");
id!(/** A merchant's account at a channel. */ ChannelAccountId, "cha");
id!(/** A message of a channel that contradicts our record. */ IntegrityAlertId, "alm");
id!(/** The keys of a merchant's account at a channel (not the keys themselves). */ ChannelCredentialId, "crd");
id!(/** What people decided of an attempt. */ AttemptDecisionId, "adc");
id!(/** A refund. */ RefundId, "ref");
id!(/** A ledger account. */ AccountId, "acc");
id!(/** A transfer between ledger accounts. */ TransferId, "trf");
id!(/** A settlement batch. */ BatchId, "bat");
id!(/** A comparison of a channel's bill with the ledger. */ ReconciliationId, "rec");
id!(/** A webhook endpoint. */ WebhookEndpointId, "whe");
id!(/** A delivery of one event to one endpoint. */ DeliveryId, "dlv");
id!(/** One try of a delivery. */ DeliveryAttemptId, "dla");
id!(/** An event in a service's log. */ EventId, "evt");

fn parse_digits(digits: &str) -> Result<Uuid, ParseIdError> {
    base32::decode(digits).map(Uuid::from_u128).ok_or(ParseIdError::Malformed)
}

#[expect(clippy::disallowed_methods, reason = "this is where ids are made")]
fn new_uuid() -> Uuid {
    Uuid::now_v7()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_reads_back_from_its_text_and_its_channel_number() {
        let id = OrderId::new();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(OrderId::from_channel_number(&id.channel_number()), Ok(id));
        assert_eq!(id.to_string().len(), 30);
        assert!(id.channel_number().bytes().all(|b| b.is_ascii_alphanumeric()));
    }

    #[test]
    fn ids_sort_by_the_time_they_were_made() {
        let ids: Vec<PaymentId> = (0..1000).map(|_| PaymentId::new()).collect();
        let mut texts: Vec<String> = ids.iter().map(ToString::to_string).collect();
        texts.sort();
        assert_eq!(texts, ids.iter().map(ToString::to_string).collect::<Vec<_>>());
    }

    #[test]
    fn another_kind_is_refused() {
        let order = OrderId::new().to_string();
        assert_eq!(order.parse::<PaymentId>(), Err(ParseIdError::Prefix("pay_")));
    }

    #[test]
    fn malformed_texts_are_refused() {
        for text in [
            "ord_",
            "ord_0",
            "ord_8zzzzzzzzzzzzzzzzzzzzzzzzz",  // more than 128 bits
            "ord_0000000000000000000000000u",  // no such digit
            "ord_0000000000000000000000000A",  // upper case: an id has one text only
            "ord_000000000000000000000000000", // too long
            "ord_ü000000000000000000000000",
        ] {
            assert_eq!(text.parse::<OrderId>(), Err(ParseIdError::Malformed), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_uuid_has_one_text(bits: u128) {
            let id = RefundId::from_uuid(Uuid::from_u128(bits));
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }

        #[test]
        fn parsing_never_panics(text: String) {
            let _ = text.parse::<OrderId>();
            let _ = OrderId::from_channel_number(&text);
        }
    }
}

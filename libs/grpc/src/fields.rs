//! Requests become domain values; bad fields are named, as many as an error has room for in one answer.
//!
//! ```
//! # use tael_grpc::fields::Fields;
//! # use tael_ids::{OrderId, PaymentId};
//! # use tael_proto::payment::v1::RefundPaymentRequest;
//! # let request = RefundPaymentRequest { payment_id: OrderId::new().to_string(), ..Default::default() };
//! let mut fields = Fields::default();
//! let payment_id = fields.id::<PaymentId>("payment_id", &request.payment_id);
//! let amount = fields.positive_money("amount", request.amount.as_ref());
//! let refused = fields.finish(|| Some((payment_id?, amount?))).unwrap_err();
//! assert_eq!(refused.message(), "payment_id must begin with \"pay_\", and 1 more field is bad");
//! ```

use std::ops::RangeInclusive;
use std::str::FromStr;

use tael_ids::ParseIdError;
use tael_money::{Currency, Money};
use tael_proto::r#type::v1 as wire;
use tonic::Status;
use tonic_types::FieldViolation;

/// Collects what is wrong with a request.
#[derive(Debug, Default)]
pub struct Fields {
    violations: Vec<FieldViolation>,
}

impl Fields {
    /// Notes that a field is bad: `description` completes the sentence "the field …".
    pub fn bad<T>(&mut self, field: impl Into<String>, description: impl Into<String>) -> Option<T> {
        self.violations.push(FieldViolation::new(field, description));
        None
    }

    /// Ends the reading: the built value, or an `INVALID_ARGUMENT` that names the bad fields. `build` returns none
    /// only when a field was noted as bad.
    pub fn finish<T>(self, build: impl FnOnce() -> Option<T>) -> Result<T, Status> {
        if !self.violations.is_empty() {
            return Err(crate::status::invalid(self.violations));
        }
        build().ok_or_else(|| crate::status::invalid_field("request", "is incomplete"))
    }

    /// Reads an id. One that says what the call is about becomes an attribute of the call's span.
    pub fn id<T: FromStr<Err = ParseIdError>>(&mut self, field: &str, text: &str) -> Option<T> {
        if text.is_empty() {
            return self.bad(field, "is missing");
        }
        match text.parse() {
            Ok(id) => {
                if let Some(attribute) = attribute(field) {
                    tael_telemetry::record(attribute, text);
                }
                Some(id)
            }
            Err(e) => self.bad(field, e.to_string()),
        }
    }

    /// Reads an id that may be absent (empty): the outer option is none when the field is bad.
    pub fn optional_id<T: FromStr<Err = ParseIdError>>(
        &mut self,
        field: &str,
        text: &str,
    ) -> Option<Option<T>> {
        if text.is_empty() { Some(None) } else { self.id(field, text).map(Some) }
    }

    /// Reads a text whose length in characters is within `length`. White space around it, and control
    /// and invisible characters in it are refused: they would look like another text to a person.
    pub fn text(&mut self, field: &str, text: &str, length: RangeInclusive<usize>) -> Option<String> {
        let count = text.chars().count();
        if count == 0 && *length.start() > 0 {
            return self.bad(field, "is missing");
        }
        if !length.contains(&count) {
            return self.bad(field, format!("must have {} to {} characters", length.start(), length.end()));
        }
        if text.trim() != text {
            return self.bad(field, "must not begin or end with white space");
        }
        if text.chars().any(|c| c.is_control() || is_invisible(c)) {
            return self.bad(field, "must not contain control or invisible characters");
        }
        Some(text.to_owned())
    }

    /// Reads a currency's code.
    pub fn currency(&mut self, field: &str, code: &str) -> Option<Currency> {
        if code.is_empty() {
            return self.bad(field, "is missing");
        }
        Currency::parse(code).map_or_else(|e| self.bad(field, e.to_string()), Some)
    }

    /// Reads an amount of any sign.
    pub fn money(&mut self, field: &str, money: Option<&wire::Money>) -> Option<Money> {
        let Some(money) = money else {
            return self.bad(field, "is missing");
        };
        let currency = self.currency(&format!("{field}.currency"), &money.currency)?;
        Some(Money::new(money.minor, currency))
    }

    /// Reads an amount above zero.
    pub fn positive_money(&mut self, field: &str, money: Option<&wire::Money>) -> Option<Money> {
        let money = self.money(field, money)?;
        if money.is_positive() {
            Some(money)
        } else {
            self.bad(format!("{field}.minor"), "must be above zero")
        }
    }

    /// Reads an amount of zero or more.
    pub fn money_not_negative(&mut self, field: &str, money: Option<&wire::Money>) -> Option<Money> {
        let money = self.money(field, money)?;
        if money.is_negative() {
            self.bad(format!("{field}.minor"), "must not be negative")
        } else {
            Some(money)
        }
    }

    /// Reads a whole number within `range`.
    pub fn number(&mut self, field: &str, value: u32, range: RangeInclusive<u32>) -> Option<u32> {
        if range.contains(&value) {
            return Some(value);
        }
        self.bad(field, format!("must be {} to {}", range.start(), range.end()))
    }

    /// Reads an enum value that must be given: zero and unknown numbers are refused.
    pub fn choice<T: TryFrom<i32>>(&mut self, field: &str, value: i32) -> Option<T> {
        if value == 0 {
            return self.bad(field, "is missing");
        }
        T::try_from(value).map_or_else(|_| self.bad(field, "is not a known value"), Some)
    }

    /// Reads an instant.
    pub fn timestamp(
        &mut self,
        field: &str,
        time: Option<&prost_types::Timestamp>,
    ) -> Option<jiff::Timestamp> {
        let Some(time) = time else {
            return self.bad(field, "is missing");
        };
        // jiff would take nanoseconds that count backward; on the wire they never do.
        let instant = if time.nanos < 0 { None } else { jiff::Timestamp::new(time.seconds, time.nanos).ok() };
        instant.map_or_else(|| self.bad(field, "is not a valid time"), Some)
    }
}

/// The attribute of a call's span that an id in its request becomes.
fn attribute(field: &str) -> Option<&'static str> {
    match field {
        "merchant_id" => Some("tael.merchant_id"),
        "order_id" => Some("tael.order_id"),
        "payment_id" => Some("tael.payment_id"),
        "refund_id" => Some("tael.refund_id"),
        "channel_account_id" => Some("tael.channel_account_id"),
        _ => None,
    }
}

/// Characters without a shape of their own that change how others read: zero-width spaces, line separators, and what
/// turns the direction of writing. The zero-width joiners are not among them: some scripts and emoji need them.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

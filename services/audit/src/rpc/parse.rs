//! Fields of requests that only this service has.

use jiff::civil::Date;
use tael_grpc::fields::Fields;

/// Reads a day that may be absent: the outer option is none when it is bad.
#[expect(clippy::option_option, reason = "bad, absent and given are three cases")]
pub(super) fn optional_date(fields: &mut Fields, field: &str, text: &str) -> Option<Option<Date>> {
    if text.is_empty() {
        return Some(None);
    }
    match text.parse() {
        Ok(date) => Some(Some(date)),
        Err(_) => fields.bad(field, "must be a day such as 2026-11-21"),
    }
}

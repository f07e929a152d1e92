//! Money and times on the wire.

use tael_money::Money;
use tael_proto::r#type::v1 as wire;

/// Writes an amount.
pub fn money(money: Money) -> wire::Money {
    wire::Money { currency: money.currency().code().to_owned(), minor: money.minor() }
}

/// Writes an instant.
pub fn timestamp(time: jiff::Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() }
}

//! Money and times on the wire.

use tael_money::Money;
use tael_proto::r#type::v1 as wire;

/// Writes an amount.
pub fn money(money: Money) -> wire::Money {
    wire::Money { currency: money.currency().code().to_owned(), minor: money.minor() }
}

/// Writes an instant.
pub fn timestamp(time: jiff::Timestamp) -> prost_types::Timestamp {
    // Before 1970 jiff counts both parts down from there; on the wire the nanoseconds always count forward.
    let (seconds, nanos) = (time.as_second(), time.subsec_nanosecond());
    if nanos < 0 {
        prost_types::Timestamp { seconds: seconds - 1, nanos: nanos + 1_000_000_000 }
    } else {
        prost_types::Timestamp { seconds, nanos }
    }
}

//! Where a crash leaves one effect without the next.
//!
//! Each is a `tael_fault::crash_point`: nothing in a release build. In a debug build a test stops the process there and
//! shows that it recovers.

/// The names of all crash points, `order.<flow>.<step>`.
pub const CRASH_POINTS: &[&str] = &[
    // An order is stored.
    "order.create.committed",
    // Its payment was closed, so that it can be given up; and it was.
    "order.cancel.closed",
    "order.cancel.committed",
    "order.expire.closed",
    "order.expire.committed",
    // A voucher was redeemed.
    "order.redeem.committed",
    // An unapplied payment: a person has decided; a worker took its refund, the payment service has answered, and that is recorded.
    "order.resolve_unapplied.committed",
    "order.refund_unapplied.claimed",
    "order.refund_unapplied.called",
    "order.refund_unapplied.recorded",
];

#[cfg(test)]
mod tests {
    #[test]
    fn each_is_in_the_source_once_and_none_is_missing() {
        tael_testkit::assert_crash_points(env!("CARGO_MANIFEST_DIR"), super::CRASH_POINTS);
    }
}

//! Where a crash leaves one effect without the next.
//!
//! Each is a `tael_fault::crash_point`: nothing in a release build. In a debug build a test stops the process there and
//! shows that it recovers. "committed" comes right after a commit; "called" and "sent" after another party has answered
//! and before that is recorded.

/// The names of all crash points, `refund.<flow>.<step>`.
pub const CRASH_POINTS: &[&str] = &[
    // A refund that was asked for: it is stored with its reservation.
    "refund.create.committed",
    // The order service has set aside what it takes of vouchers, and this is recorded.
    "refund.reserve.called",
    "refund.reserve.committed",
    // The payment service has answered, and what it said is recorded.
    "refund.execute.called",
    "refund.execute.committed",
    // A person has approved or rejected.
    "refund.approve.committed",
    "refund.reject.committed",
];

#[cfg(test)]
mod tests {
    #[test]
    fn each_is_in_the_source_once_and_none_is_missing() {
        tael_testkit::assert_crash_points(env!("CARGO_MANIFEST_DIR"), super::CRASH_POINTS);
    }
}

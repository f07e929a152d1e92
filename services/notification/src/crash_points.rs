//! Where a crash leaves one effect without the next.
//!
//! Each is a `tael_fault::crash_point`: nothing in a release build. In a debug build a test stops the process there and
//! shows that it recovers. "committed" comes right after a commit; "called" and "sent" after another party has answered
//! and before that is recorded.

/// The names of all crash points, `notification.<flow>.<step>`.
pub const CRASH_POINTS: &[&str] = &[
    // Deliveries were taken, the endpoint has answered, and that is recorded.
    "notification.deliver.claimed",
    "notification.deliver.sent",
    "notification.deliver.recorded",
];

#[cfg(test)]
mod tests {
    #[test]
    fn each_is_in_the_source_once_and_none_is_missing() {
        tael_testkit::assert_crash_points(env!("CARGO_MANIFEST_DIR"), super::CRASH_POINTS);
    }
}

//! Where a crash leaves one effect without the next.
//!
//! Each is a `tael_fault::crash_point`: nothing in a release build. In a debug build a test stops the process there and
//! shows that it recovers.

/// The names of all crash points, `settlement.<flow>.<step>`.
pub const CRASH_POINTS: &[&str] = &[
    // A batch was closed.
    "settlement.batch.committed",
    // A bill was read whole, and compared.
    "settlement.reconcile.read",
    "settlement.reconcile.committed",
];

#[cfg(test)]
mod tests {
    #[test]
    fn each_is_in_the_source_once_and_none_is_missing() {
        tael_testkit::assert_crash_points(env!("CARGO_MANIFEST_DIR"), super::CRASH_POINTS);
    }
}

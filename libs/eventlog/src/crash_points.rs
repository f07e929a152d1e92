//! Where a crash leaves one effect without the next.
//!
//! Each is a `tael_fault::crash_point`: nothing in a release build. In a debug build a test stops a consuming process
//! there and shows that it recovers.

/// The names of all crash points.
pub const CRASH_POINTS: &[&str] = &[
    // A batch is applied and its cursor moved, but not committed; and right after the commit.
    "eventlog.consume.applied",
    "eventlog.consume.committed",
];

#[cfg(test)]
mod tests {
    #[test]
    fn each_is_in_the_source_once_and_none_is_missing() {
        tael_testkit::assert_crash_points(env!("CARGO_MANIFEST_DIR"), super::CRASH_POINTS);
    }
}

//! Where a crash leaves one effect without the next.
//!
//! Each is a `tael_fault::crash_point` in the use cases: nothing in a release build. In a debug build a test stops the
//! process there and shows that it recovers. "committed" comes after a commit and before the log is woken or the channel
//! called; "called" after the channel has answered and before the answer is recorded.

/// The names of all crash points, `payment.<flow>.<step>`.
pub const CRASH_POINTS: &[&str] = &[
    // A payment: the intent is committed, the channel lets the payer pay, and that is recorded.
    "payment.create.committed",
    "payment.create.called",
    "payment.create.initiated",
    // The poller: a lease was taken, the channel was asked.
    "payment.poll.claimed",
    "payment.poll.called",
    // Closing: a lease was taken, the channel was told to close.
    "payment.close.leased",
    "payment.close.called",
    // A callback: it was verified, and what it says is committed but not acknowledged.
    "payment.callback.verified",
    "payment.callback.recorded",
    // Evidence of any kind, in a transaction that is about to commit, and after it.
    "payment.evidence.written",
    "payment.evidence.committed",
    // A refund: the amount is reserved, the channel was asked what became of it, the channel was told to refund, the
    // answer is written, and committed.
    "payment.refund.reserved",
    "payment.refund.queried",
    "payment.refund.called",
    "payment.refund.written",
    "payment.refund.committed",
];

#[cfg(test)]
mod tests {
    #[test]
    fn each_is_in_the_source_once_and_none_is_missing() {
        tael_testkit::assert_crash_points(env!("CARGO_MANIFEST_DIR"), super::CRASH_POINTS);
    }
}

//! Where on the page a moment of a trace is.
//!
//! A payment's trace is a few busy moments with long waits between them: for the payer to pay, for a refund to be
//! asked for. On an even axis the work would be too small to see, so long waits are folded to a narrow strip.

/// The whole width. A position is a part of it; a thousand are a percent.
pub(super) const WIDTH: u64 = 100_000;

/// The width of a folded wait.
const FOLD: u64 = 4_000;
/// How many waits are folded at most, the longest: there must be room left for the rest.
const MOST_FOLDS: usize = 10;
/// The shortest wait that is folded: half a second.
const SHORTEST_WAIT_NS: u64 = 500_000_000;

/// A stretch of time in which something is done, in nanoseconds since the trace began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    pub(super) from_ns: u64,
    pub(super) to_ns: u64,
    /// Whether it is the work itself: a span that nothing stands under. What stands above others may just wait.
    pub(super) is_work: bool,
}

/// From moments to positions.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    /// One after the other, from the beginning to the end.
    parts: Vec<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) from_ns: u64,
    pub(super) to_ns: u64,
    /// Where it begins and ends.
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) is_folded: bool,
}

impl Axis {
    /// An axis for a trace of this length.
    pub(super) fn new(stretches: &[Stretch], total_ns: u64) -> Self {
        let waits = waits(stretches, total_ns);
        let waited: u64 = waits.iter().map(|(from, to)| to - from).sum();
        let busy = total_ns - waited;
        // Waits that do not crowd the work out are shown as long as they are.
        let mut folded: Vec<(u64, u64)> =
            waits.into_iter().filter(|(from, to)| to - from >= busy / 4).collect();
        folded.sort_by_key(|(from, to)| std::cmp::Reverse(to - from));
        folded.truncate(MOST_FOLDS);
        folded.sort_unstable();
        let shown = total_ns - folded.iter().map(|(from, to)| to - from).sum::<u64>();
        let room = WIDTH - FOLD * folded.len() as u64;

        let mut parts = Vec::with_capacity(2 * folded.len() + 1);
        let (mut at_ns, mut at, mut passed) = (0, 0, 0);
        for (from_ns, to_ns) in folded {
            passed += from_ns - at_ns;
            let from = parts.len() as u64 / 2 * FOLD + scaled(passed, room, shown);
            parts.push(Part { from_ns: at_ns, to_ns: from_ns, from: at, to: from, is_folded: false });
            parts.push(Part { from_ns, to_ns, from, to: from + FOLD, is_folded: true });
            (at_ns, at) = (to_ns, from + FOLD);
        }
        parts.push(Part { from_ns: at_ns, to_ns: total_ns, from: at, to: WIDTH, is_folded: false });
        Self { parts }
    }

    /// Returns where a moment is.
    pub(super) fn at(&self, ns: u64) -> u64 {
        let part = self.parts.iter().find(|part| ns <= part.to_ns);
        part.map_or(WIDTH, |part| {
            part.from + scaled(ns - part.from_ns, part.to - part.from, part.to_ns - part.from_ns)
        })
    }

    /// Returns which moment is at a position.
    pub(super) fn moment(&self, position: u64) -> u64 {
        let part = self.parts.iter().find(|part| position <= part.to);
        part.map_or(0, |part| {
            part.from_ns + scaled(position - part.from, part.to_ns - part.from_ns, part.to - part.from)
        })
    }

    /// Returns the waits that are folded.
    pub(super) fn folds(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| part.is_folded)
    }
}

/// Returns when nothing begins, ends or is worked on for long.
fn waits(stretches: &[Stretch], total_ns: u64) -> Vec<(u64, u64)> {
    // Every moment at which something changes, and by how much what is worked on changes there.
    let mut changes: Vec<(u64, i64)> = vec![(0, 0), (total_ns, 0)];
    for stretch in stretches {
        let work = i64::from(stretch.is_work);
        changes.extend([(stretch.from_ns, work), (stretch.to_ns, -work)]);
    }
    changes.sort_unstable_by_key(|(at, _)| *at);
    let mut working = 0;
    let mut waits = Vec::new();
    for pair in changes.windows(2) {
        let [(from, change), (to, _)] = pair else { continue };
        working += change;
        if working == 0 && to - from >= SHORTEST_WAIT_NS {
            waits.push((*from, *to));
        }
    }
    waits
}

/// `value` × `to` ÷ `of`, and 0 of nothing.
fn scaled(value: u64, to: u64, of: u64) -> u64 {
    if of == 0 {
        return 0;
    }
    let scaled = u128::from(value) * u128::from(to) / u128::from(of);
    u64::try_from(scaled).expect("`value` is a part of `of`, so this is a part of `to`")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn work(from_ns: u64, to_ns: u64) -> Stretch {
        Stretch { from_ns, to_ns, is_work: true }
    }

    fn above(from_ns: u64, to_ns: u64) -> Stretch {
        Stretch { from_ns, to_ns, is_work: false }
    }

    #[test]
    fn an_axis_without_waits_is_even() {
        let axis = Axis::new(&[above(0, 100), work(20, 90)], 100);
        assert_eq!([0, 20, 50, 100].map(|ns| axis.at(ns)), [0, 20_000, 50_000, 100_000]);
        assert_eq!([0, 20_000, 100_000].map(|at| axis.moment(at)), [0, 20, 100]);
        assert_eq!(axis.folds().count(), 0);
    }

    #[test]
    fn a_trace_of_no_length_is_at_the_beginning() {
        let axis = Axis::new(&[work(0, 0)], 0);
        assert_eq!(axis.at(0), 0);
        assert_eq!(axis.moment(WIDTH), 0);
    }

    #[test]
    fn a_long_wait_is_folded_though_a_span_above_goes_through_it() {
        // 100 ms of work, half a minute until the payer pays, 300 ms of work.
        let paid = 30 * SECOND;
        let end = paid + 300_000_000;
        let axis = Axis::new(&[above(0, end), work(0, 100_000_000), work(paid, end)], end);
        let fold = *axis.folds().next().unwrap();
        assert_eq!((fold.from_ns, fold.to_ns), (100_000_000, paid));
        assert_eq!((fold.from, fold.to), (24_000, 28_000));
        assert_eq!(axis.at(50_000_000), 12_000);
        assert_eq!(axis.at(end), WIDTH);
        assert_eq!(axis.moment(12_000), 50_000_000);
        assert_eq!(axis.moment(26_000), 100_000_000 + (paid - 100_000_000) / 2);
    }

    #[test]
    fn a_call_that_hangs_is_no_wait() {
        let axis = Axis::new(&[above(0, 40 * SECOND), work(SECOND, 40 * SECOND)], 40 * SECOND);
        assert_eq!(axis.at(20 * SECOND), 50_000);
        assert_eq!(axis.folds().count(), 0);
    }

    #[test]
    fn of_many_waits_the_longest_are_folded_and_positions_never_go_back() {
        // Waits of 1, 2, … 29 s.
        let begins = (0..30).scan(0, |at, n| {
            *at += n * SECOND;
            Some(*at)
        });
        let spans: Vec<Stretch> = begins.map(|at| work(at, at + 1_000_000)).collect();
        let total = spans.last().unwrap().to_ns;
        let axis = Axis::new(&spans, total);
        let folded: Vec<u64> = axis.folds().map(|fold| (fold.to_ns - fold.from_ns) / SECOND + 1).collect();
        assert_eq!(folded, (20..30).collect::<Vec<_>>());
        let positions: Vec<u64> = (0..=1_000).map(|n| axis.at(total / 1_000 * n)).collect();
        assert!(positions.is_sorted());
        assert!(*positions.last().unwrap() <= WIDTH);
        assert_eq!(axis.at(total), WIDTH);
    }
}

//! Lengths of time and amounts of memory as a person reads them.

/// Writes a length of time: "0.8 ms", "1.24 s", "3 min 20 s", "5 h 2 min".
pub(super) fn duration(ns: u64) -> String {
    let seconds = ns / 1_000_000_000;
    if seconds < 1 {
        format!("{}.{} ms", ns / 1_000_000, ns / 100_000 % 10)
    } else if seconds < 120 {
        format!("{seconds}.{:02} s", ns / 10_000_000 % 100)
    } else if seconds < 7_200 {
        format!("{} min {} s", seconds / 60, seconds % 60)
    } else {
        format!("{} h {} min", seconds / 3_600, seconds / 60 % 60)
    }
}

/// Writes a number of bytes in MiB with one decimal place.
pub(super) fn mebibytes(bytes: usize) -> String {
    let tenths = bytes / ((1 << 20) / 10);
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// Writes a whole number with commas between thousands.
pub(super) fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_as_exact_as_a_person_wants() {
        for (ns, text) in [
            (0, "0.0 ms"),
            (49_999, "0.0 ms"),
            (850_000, "0.8 ms"),
            (588_800_000, "588.8 ms"),
            (999_999_999, "999.9 ms"),
            (1_240_000_000, "1.24 s"),
            (119_999_999_999, "119.99 s"),
            (200_000_000_000, "3 min 20 s"),
            (18_120_000_000_000, "5 h 2 min"),
        ] {
            assert_eq!(duration(ns), text);
        }
    }

    #[test]
    fn numbers_and_sizes() {
        assert_eq!(
            [0, 999, 1_000, 50_000, 1_234_567].map(count),
            ["0", "999", "1,000", "50,000", "1,234,567"]
        );
        assert_eq!([0, 1 << 19, 64 << 20].map(mebibytes), ["0.0", "0.5", "64.0"]);
    }
}

//! Quantities of CPU and memory, in Kubernetes's grammar.
//!
//! <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>: a signed decimal number, then
//! a binary suffix (`Ki` … `Ei`), a decimal one (`n`, `u`, `m`, none, `k` … `E`) or a decimal exponent.

/// The value in billionths, the grammar's smallest unit; `None` when the text is no quantity, is negative, or is too
/// large to be one of a pod's.
pub fn nanos(text: &str) -> Option<u128> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || fraction.len() > 9 || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = 10_u128.pow(fraction.len().try_into().ok()?);
    let factor = match suffix {
        "n" => 1,
        "u" => 1_000,
        "m" => 1_000_000,
        "" => 1_000_000_000,
        "k" => 10_u128.pow(12),
        "M" => 10_u128.pow(15),
        "G" => 10_u128.pow(18),
        "T" => 10_u128.pow(21),
        "P" => 10_u128.pow(24),
        "E" => 10_u128.pow(27),
        "Ki" => 1_000_000_000 << 10,
        "Mi" => 1_000_000_000 << 20,
        "Gi" => 1_000_000_000 << 30,
        "Ti" => 1_000_000_000 << 40,
        "Pi" => 1_000_000_000 << 50,
        "Ei" => 1_000_000_000 << 60,
        exponent => {
            10_u128.checked_pow(exponent.strip_prefix(['e', 'E'])?.parse::<u32>().ok()?.checked_add(9)?)?
        }
    };
    // The API server rounds what is smaller than a billionth up.
    Some(digits.checked_mul(factor)?.div_ceil(scale))
}

#[cfg(test)]
mod tests {
    use super::nanos;

    #[test]
    fn quantities_have_the_values_that_kubernetes_gives_them() {
        let rows = [
            ("1", Some(1_000_000_000)),
            ("+1", Some(1_000_000_000)),
            ("100m", Some(100_000_000)),
            ("0.1", Some(100_000_000)),
            (".5", Some(500_000_000)),
            ("1.", Some(1_000_000_000)),
            ("1e3", Some(1_000_000_000_000)),
            ("1E3", Some(1_000_000_000_000)),
            ("1k", Some(1_000_000_000_000)),
            ("1Ki", Some(1_024_000_000_000)),
            ("1.5Gi", Some(1_610_612_736_000_000_000)),
            ("3n", Some(3)),
            ("0.5n", Some(1)),
            ("", None),
            (".", None),
            ("1.2.3", None),
            ("-1", None),
            ("1K", None),
            ("1ki", None),
            ("1 Gi", None),
            ("1GB", None),
            ("1mi", None),
            ("e3", None),
            ("1e", None),
            ("1e99", None),
            ("lots", None),
        ];
        for (text, expected) in rows {
            assert_eq!(nanos(text), expected, "{text:?}");
        }
    }
}

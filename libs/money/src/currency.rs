//! The currencies of ISO 4217 and how many decimals each has.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A currency in circulation, by its ISO 4217 alphabetic code.
///
/// Only the currencies in the table of this module exist as values, so whoever holds one need not check it again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency {
    code: &'static str,
    exponent: u8,
}

/// A text that is not the ISO 4217 code of a currency in circulation.
///
/// The text itself is not kept: it came from outside, and may be anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("is not the ISO 4217 code of a currency in circulation")]
pub struct UnknownCurrency;

impl Currency {
    /// United Arab Emirates dirham.
    pub const AED: Self = known("AED");
    /// Australian dollar.
    pub const AUD: Self = known("AUD");
    /// Bahraini dinar, 1000 fils.
    pub const BHD: Self = known("BHD");
    /// Canadian dollar.
    pub const CAD: Self = known("CAD");
    /// Swiss franc.
    pub const CHF: Self = known("CHF");
    /// Chinese yuan (renminbi), 100 fen.
    pub const CNY: Self = known("CNY");
    /// Euro.
    pub const EUR: Self = known("EUR");
    /// Pound sterling.
    pub const GBP: Self = known("GBP");
    /// Hong Kong dollar.
    pub const HKD: Self = known("HKD");
    /// Japanese yen, which has no minor unit.
    pub const JPY: Self = known("JPY");
    /// South Korean won, which has no minor unit.
    pub const KRW: Self = known("KRW");
    /// Kuwaiti dinar, 1000 fils.
    pub const KWD: Self = known("KWD");
    /// Macanese pataca.
    pub const MOP: Self = known("MOP");
    /// Singapore dollar.
    pub const SGD: Self = known("SGD");
    /// New Taiwan dollar.
    pub const TWD: Self = known("TWD");
    /// United States dollar.
    pub const USD: Self = known("USD");

    /// Finds a currency by its code, which must be three capital letters, exactly as ISO 4217 writes it.
    pub fn parse(code: &str) -> Result<Self, UnknownCurrency> {
        TABLE
            .iter()
            .find_map(|&(exponent, codes)| {
                codes.binary_search(&code).ok().map(|at| Self { code: codes[at], exponent })
            })
            .ok_or(UnknownCurrency)
    }

    /// Every currency of the table, by exponent and then by code.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().flat_map(|&(exponent, codes)| codes.iter().map(move |&code| Self { code, exponent }))
    }

    /// The ISO 4217 alphabetic code, such as `CNY`.
    pub const fn code(self) -> &'static str {
        self.code
    }

    /// How many decimals the major unit has: 2 for CNY (1 yuan is 100 fen), 0 for JPY, 3 for KWD.
    pub const fn exponent(self) -> u32 {
        self.exponent as u32
    }

    /// How many minor units make one major unit: 100 for CNY, 1 for JPY, 1000 for KWD.
    pub const fn minor_per_major(self) -> i64 {
        10_i64.pow(self.exponent())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code)
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code)
    }
}

impl FromStr for Currency {
    type Err = UnknownCurrency;

    fn from_str(code: &str) -> Result<Self, UnknownCurrency> {
        Self::parse(code)
    }
}

// ISO 4217 "List One" as in force in 2026: the Caribbean guilder (XCG) has replaced ANG, the Zimbabwe gold (ZWG) has
// replaced ZWL, and Bulgaria pays in EUR. Left out are metals, units of account and funds codes, in which nobody
// pays, among them all codes with four decimals (CLF, UYW). Codes are sorted: `parse` searches them by bisection.
const TABLE: [(u8, &[&str]); 3] = [(0, NO_DECIMALS), (2, TWO_DECIMALS), (3, THREE_DECIMALS)];

const NO_DECIMALS: &[&str] = &[
    "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF",
    "XPF",
];

const TWO_DECIMALS: &[&str] = &[
    "AED", "AFN", "ALL", "AMD", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT", "BMD", "BND", "BOB",
    "BRL", "BSD", "BTN", "BWP", "BYN", "BZD", "CAD", "CDF", "CHF", "CNY", "COP", "CRC", "CUP", "CVE", "CZK",
    "DKK", "DOP", "DZD", "EGP", "ERN", "ETB", "EUR", "FJD", "FKP", "GBP", "GEL", "GHS", "GIP", "GMD", "GTQ",
    "GYD", "HKD", "HNL", "HTG", "HUF", "IDR", "ILS", "INR", "IRR", "JMD", "KES", "KGS", "KHR", "KPW", "KYD",
    "KZT", "LAK", "LBP", "LKR", "LRD", "LSL", "MAD", "MDL", "MGA", "MKD", "MMK", "MNT", "MOP", "MRU", "MUR",
    "MVR", "MWK", "MXN", "MYR", "MZN", "NAD", "NGN", "NIO", "NOK", "NPR", "NZD", "PAB", "PEN", "PGK", "PHP",
    "PKR", "PLN", "QAR", "RON", "RSD", "RUB", "SAR", "SBD", "SCR", "SDG", "SEK", "SGD", "SHP", "SLE", "SOS",
    "SRD", "SSP", "STN", "SVC", "SYP", "SZL", "THB", "TJS", "TMT", "TOP", "TRY", "TTD", "TWD", "TZS", "UAH",
    "USD", "UYU", "UZS", "VED", "VES", "WST", "XCD", "XCG", "YER", "ZAR", "ZMW", "ZWG",
];

const THREE_DECIMALS: &[&str] = &["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"];

/// Finds a currency of the table at compile time; a code that is not there does not compile.
const fn known(code: &'static str) -> Currency {
    let mut row = 0;
    while row < TABLE.len() {
        let (exponent, codes) = TABLE[row];
        let mut at = 0;
        while at < codes.len() {
            if same(codes[at], code) {
                return Currency { code: codes[at], exponent };
            }
            at += 1;
        }
        row += 1;
    }
    panic!("not in the table of currencies")
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    a.len() == 3 && b.len() == 3 && a[0] == b[0] && a[1] == b[1] && a[2] == b[2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_three_capitals_sorted_and_in_one_list_only() {
        let mut seen = std::collections::BTreeSet::new();
        for (_, codes) in TABLE {
            assert!(codes.is_sorted());
            for code in codes {
                assert!(code.len() == 3 && code.bytes().all(|b| b.is_ascii_uppercase()), "{code}");
                assert!(seen.insert(code), "{code} twice");
            }
        }
    }
}

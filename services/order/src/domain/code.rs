//! Voucher codes: unguessable, and checkable without a network.
//!
//! A code is 16 symbols of Crockford's base32 (<https://www.crockford.com/base32.html>): 14 random ones (70 bits) and
//! two that check them. The 16 symbols are a codeword of a shortened Reed–Solomon code over GF(2⁵) with two check
//! symbols (I. S. Reed, G. Solomon, "Polynomial Codes over Certain Finite Fields", 1960): read as coefficients of a
//! polynomial, first symbol at the highest power, they are divisible by g(x) = (x − α)(x − α²). Two codewords differ
//! in at least three symbols, so every code with one or two wrong symbols is found out, and with it every exchange of
//! two symbols, neighbours or not. Of codes that are wrong in any other way, one in 1024 passes.
//!
//! A terminal checks a code offline as [`VoucherCode::parse`] does: drop spaces and hyphens, read the symbols (upper
//! or lower case; O as 0, I and L as 1) as numbers below 32, and divide as in [`remainder`]: the code is good when
//! nothing remains. GF(2⁵) is built with the primitive polynomial x⁵ + x² + 1, and α is x, the number 2.

use std::fmt;

use aws_lc_rs::rand;

const SYMBOLS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const LEN: usize = 16;
const RANDOM: usize = 14;
const GROUP: usize = 4;
/// Longer texts are not looked at: a code with its spaces and hyphens is far shorter.
const MAX_TEXT: usize = 64;

/// A voucher's code, correct in itself. Whether such a voucher exists is another question.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct VoucherCode([u8; LEN]);

/// Why a text is not a voucher code. The text is not kept: it may be a code with one slip of the finger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// It does not have 16 symbols, or has one that codes don't have.
    #[error("must be 16 letters and digits")]
    Malformed,
    /// Its checksum is wrong: it was mistyped or made up.
    #[error("is mistyped: its checksum is wrong")]
    Checksum,
}

/// The randomness of the machine failed.
#[derive(Debug, thiserror::Error)]
#[error("no randomness to be had")]
pub(crate) struct NoRandomness;

impl VoucherCode {
    /// Makes a code that nobody can guess.
    pub(crate) fn generate() -> Result<Self, NoRandomness> {
        let mut random = [0; RANDOM];
        rand::fill(&mut random).map_err(|_| NoRandomness)?;
        Ok(Self::with_checksum(random.map(|byte| byte & 31)))
    }

    fn with_checksum(random: [u8; RANDOM]) -> Self {
        let mut symbols = [0; LEN];
        symbols[..RANDOM].copy_from_slice(&random);
        // Subtracting what remains makes the word divisible; in GF(2⁵) to subtract is to add, and these are zero.
        let (high, low) = remainder(&symbols);
        symbols[RANDOM..].copy_from_slice(&[high, low]);
        Self(symbols)
    }

    /// Reads a code as a person types it: case, spaces and hyphens do not matter, and O, I and L are taken for the
    /// digits they look like. Needs nothing but the text, so a terminal can do the same offline.
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        if text.len() > MAX_TEXT {
            return Err(CodeError::Malformed);
        }
        let mut symbols = [0; LEN];
        let mut count = 0;
        for typed in text.chars().filter(|&c| c != ' ' && c != '-') {
            let place = symbols.get_mut(count).ok_or(CodeError::Malformed)?;
            *place = symbol(typed).ok_or(CodeError::Malformed)?;
            count += 1;
        }
        if count != LEN {
            return Err(CodeError::Malformed);
        }
        if remainder(&symbols) == (0, 0) { Ok(Self(symbols)) } else { Err(CodeError::Checksum) }
    }

    /// The 16 symbols without hyphens, as they are stored.
    pub(crate) fn compact(self) -> String {
        self.0.iter().map(|&value| char::from(SYMBOLS[usize::from(value)])).collect()
    }
}

/// As it is shown to the buyer: `7Q2M-X0KD-93TV-AB5R`.
impl fmt::Display for VoucherCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, symbol) in self.compact().chars().enumerate() {
            if at > 0 && at % GROUP == 0 {
                f.write_str("-")?;
            }
            write!(f, "{symbol}")?;
        }
        Ok(())
    }
}

/// A code is worth money, so it does not show itself in logs.
impl fmt::Debug for VoucherCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VoucherCode(…)")
    }
}

fn symbol(typed: char) -> Option<u8> {
    let digit = match typed.to_ascii_uppercase() {
        'O' => b'0',
        'I' | 'L' => b'1',
        other => u8::try_from(other).ok()?,
    };
    SYMBOLS.iter().position(|&s| s == digit).and_then(|at| u8::try_from(at).ok())
}

/// Divides the word by g(x) = x² + 6x + 8, which is (x − α)(x − α²) with α = 2, and returns the coefficients of x
/// and 1 of what remains.
fn remainder(symbols: &[u8; LEN]) -> (u8, u8) {
    symbols.iter().fold((0, 0), |(high, low), &symbol| (low ^ multiply(high, 6), symbol ^ multiply(high, 8)))
}

/// Multiplies in GF(2⁵): as polynomials over GF(2), modulo x⁵ + x² + 1.
fn multiply(a: u8, b: u8) -> u8 {
    let mut product = 0_u16;
    for bit in 0..5 {
        if b >> bit & 1 == 1 {
            product ^= u16::from(a) << bit;
        }
    }
    for bit in (5..9).rev() {
        if product >> bit & 1 == 1 {
            product ^= 0b10_0101 << (bit - 5);
        }
    }
    u8::try_from(product).expect("five bits remain")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn code() -> impl Strategy<Value = VoucherCode> {
        prop::array::uniform14(0_u8..32).prop_map(VoucherCode::with_checksum)
    }

    /// Writes symbols that need not be a code.
    fn text(symbols: [u8; LEN]) -> String {
        VoucherCode(symbols).to_string()
    }

    #[test]
    fn the_field_is_a_field_and_two_generates_it() {
        let mut seen = std::collections::BTreeSet::new();
        let mut power = 1;
        for _ in 0..31 {
            assert!(seen.insert(power));
            power = multiply(power, 2);
        }
        assert_eq!((power, seen.len()), (1, 31));
        assert!((0..32).all(|a| multiply(a, 1) == a && multiply(a, 0) == 0));
        assert!((0..32).all(|a| (0..32).all(|b| multiply(a, b) == multiply(b, a))));
    }

    #[test]
    fn the_divisor_has_the_two_roots_it_was_made_of() {
        for root in [2, 4] {
            assert_eq!(multiply(root, root) ^ multiply(root, 6) ^ 8, 0);
        }
    }

    #[test]
    fn codes_differ_and_read_as_shown() {
        let (a, b) = (VoucherCode::generate().unwrap(), VoucherCode::generate().unwrap());
        assert_ne!(a, b);
        assert_eq!(VoucherCode::parse(&a.to_string()), Ok(a));
        assert_eq!(a.to_string().len(), 19);
        assert!(!format!("{a:?}").contains(&a.compact()));
    }

    #[test]
    fn a_terminal_made_by_others_computes_the_same() {
        // 1 at the place of x²: the remainder of x² divided by x² + 6x + 8 is 6x + 8.
        let mut random = [0; RANDOM];
        random[RANDOM - 1] = 1;
        assert_eq!(VoucherCode::with_checksum(random).to_string(), "0000-0000-0000-0168");
    }

    #[test]
    fn texts_that_are_no_codes_are_refused() {
        for bad in
            ["", "0000-0000-0000-016", "0000-0000-0000-01688", "0000-0000-0000-016U", "0000_0000_0000_0168"]
        {
            assert_eq!(VoucherCode::parse(bad), Err(CodeError::Malformed), "{bad}");
        }
        assert_eq!(VoucherCode::parse(&"-".repeat(65)), Err(CodeError::Malformed));
        assert_eq!(VoucherCode::parse("0000-0000-0000-0169"), Err(CodeError::Checksum));
    }

    proptest! {
        #[test]
        fn typing_habits_do_not_matter(code in code(), lower: bool, gap in "[ -]{0,2}") {
            let mut typed = code.to_string().replace('-', &gap).replace('0', "O").replace('1', "l");
            if lower {
                typed = typed.to_lowercase();
            }
            prop_assert_eq!(VoucherCode::parse(&typed), Ok(code));
        }

        #[test]
        fn one_or_two_wrong_symbols_are_found_out(
            code in code(), at in 0..LEN, by in 1_u8..32, second in 0..LEN, second_by in 0_u8..32,
        ) {
            let mut symbols = code.0;
            symbols[at] ^= by;
            if second != at {
                symbols[second] ^= second_by;
            }
            prop_assert_eq!(VoucherCode::parse(&text(symbols)), Err(CodeError::Checksum));
        }

        #[test]
        fn every_exchange_of_two_symbols_is_found_out(code in code(), a in 0..LEN, b in 0..LEN) {
            let mut symbols = code.0;
            symbols.swap(a, b);
            if symbols != code.0 {
                prop_assert_eq!(VoucherCode::parse(&text(symbols)), Err(CodeError::Checksum));
            }
        }

        #[test]
        fn reading_never_panics(text: String) {
            let _ = VoucherCode::parse(&text);
        }
    }
}

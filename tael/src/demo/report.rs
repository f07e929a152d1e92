//! What the demo prints.

use tael_money::{Currency, Money};
use tael_proto::r#type::v1 as wire;

/// Prints steps and checks, and remembers whether all checks passed.
#[derive(Default)]
pub(crate) struct Report {
    step: u32,
    passed: u32,
    failed: u32,
}

impl Report {
    /// Begins the next step.
    pub(crate) fn step(&mut self, title: &str) {
        self.step += 1;
        crate::say!("\n{}. {title}", self.step);
    }

    /// Prints whether something that must hold does.
    pub(crate) fn check(&mut self, what: &str, holds: bool) {
        if holds {
            self.passed += 1;
            crate::say!("   ✓ {what}");
        } else {
            self.failed += 1;
            crate::say!("   ✗ FAILED: {what}");
        }
    }

    /// Prints the sum of all checks and says whether all passed.
    pub(crate) fn close(self) -> bool {
        crate::say!("\n{} checks passed, {} failed.", self.passed, self.failed);
        self.failed == 0 && self.passed > 0
    }
}

/// Prints a figure.
pub(crate) fn show(name: &str, value: impl std::fmt::Display) {
    crate::say!("   {name:<34} {value}");
}

/// Prints an amount, right-aligned.
pub(crate) fn show_amount(name: &str, amount: Option<&wire::Money>) {
    crate::say!("   {name:<34} {:>16}", display(amount));
}

/// Writes an amount as a person reads it.
pub(crate) fn display(amount: Option<&wire::Money>) -> String {
    let Some(amount) = amount else { return "-".to_owned() };
    match Currency::parse(&amount.currency) {
        Ok(currency) => Money::new(amount.minor, currency).to_string(),
        Err(_) => format!("{} {}", amount.minor, amount.currency),
    }
}

/// The minor units of an amount that must be there.
pub(crate) fn minor(amount: Option<&wire::Money>) -> i64 {
    amount.map_or(i64::MIN, |amount| amount.minor)
}

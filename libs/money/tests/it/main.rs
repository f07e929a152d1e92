//! What `tael-money` promises, as examples and as properties.

mod amount;
mod currency;
mod rate;
mod split;

use proptest::prelude::*;
use tael_money::Currency;

/// Any currency of the table, so that exponents 0, 2 and 3 all come up.
fn any_currency() -> impl Strategy<Value = Currency> {
    proptest::sample::select(Currency::all().collect::<Vec<_>>())
}

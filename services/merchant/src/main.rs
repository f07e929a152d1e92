//! The merchant service as a process.

use std::process::ExitCode;

fn main() -> ExitCode {
    tael_runtime::main::<tael_merchant::App>(option_env!("TAEL_COMMIT"))
}

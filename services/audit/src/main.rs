//! The audit service as a process.

use std::process::ExitCode;

fn main() -> ExitCode {
    tael_runtime::main::<tael_audit::App>(option_env!("TAEL_COMMIT"))
}

//! The gateway as a process.

use std::process::ExitCode;

fn main() -> ExitCode {
    tael_runtime::main::<tael_gateway::App>(option_env!("TAEL_COMMIT"))
}

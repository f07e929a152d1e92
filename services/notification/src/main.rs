//! The notification service in a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    tael_runtime::main::<tael_notification::App>(option_env!("TAEL_COMMIT"))
}

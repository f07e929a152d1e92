//! What the command line prints. Who reads it may go away before the end, as `head` does: the program then ends as others
//! do that a broken pipe stops, without a word. (`println!` panics.)

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write as _};
use std::process;

/// What a shell reports of a program that SIGPIPE has ended: 128 and the signal's number.
const BROKEN_PIPE: i32 = 141;

/// Prints to standard output; [`say!`](crate::say) is the way to call it.
pub fn print(text: Arguments<'_>) {
    ended_by(io::stdout().lock().write_fmt(text));
}

/// Prints to standard error; [`complain!`](crate::complain) is the way to call it.
pub fn print_error(text: Arguments<'_>) {
    ended_by(io::stderr().lock().write_fmt(text));
}

/// Ends the process when nobody reads any more. Other errors are dropped: there is nowhere left to tell them.
fn ended_by(written: io::Result<()>) {
    if written.is_err_and(|error| error.kind() == ErrorKind::BrokenPipe) {
        process::exit(BROKEN_PIPE);
    }
}

/// Prints a line to standard output, as `println!` does, but ends the process when nobody reads it any more.
#[macro_export]
macro_rules! say {
    () => { $crate::output::print(format_args!("\n")) };
    ($($text:tt)*) => { $crate::output::print(format_args!("{}\n", format_args!($($text)*))) };
}

/// Prints a line to standard error, as `eprintln!` does, but ends the process when nobody reads it any more.
#[macro_export]
macro_rules! complain {
    ($($text:tt)*) => { $crate::output::print_error(format_args!("{}\n", format_args!($($text)*))) };
}

//! Lines on standard output.

use std::fmt::Arguments;
use std::io::{self, Write as _};

use anyhow::Context as _;

/// Writes a line. A reader that has seen enough and left is no failure, and no reason to stop what
/// the command does beside printing; anything else is.
pub fn line(text: Arguments<'_>) -> anyhow::Result<()> {
    drop(crate::progress::clear());
    let mut out = io::stdout().lock();
    match out.write_fmt(text).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("standard output cannot be written"),
    }
}

/// [`line`] with the arguments of `format!`.
macro_rules! say {
    ($($text:tt)*) => { $crate::commands::output::line(format_args!($($text)*)) };
}
pub(crate) use say;

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

/// Writes a line to standard error. An error is ignored: a closed standard error must not stop the command, and
/// there is no other place to report it.
pub fn note_line(text: Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// [`note_line`] with the arguments of `format!`.
macro_rules! note {
    ($($text:tt)*) => { $crate::commands::output::note_line(format_args!($($text)*)) };
}
pub(crate) use {note, say};

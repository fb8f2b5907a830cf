//! The documents say what the program does: figures, metrics, configuration keys, report columns,
//! HTTP paths, flags, places in the code. What can be made is compared with what is made;
//! `UPDATE_GOLDEN=1` writes it into the document.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod api;
mod commands;
mod example;
mod figures;
mod keys;
mod links;
mod metrics;
mod modules;
mod paths;
mod report;
mod simulator;
mod tables;

use std::fs;
use std::path::{Path, PathBuf};

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(at(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Compares a document with what it should be, or writes it.
#[expect(clippy::disallowed_methods, reason = "the flag that rewrites what is made")]
fn hold(path: &str, wanted: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(at(path), wanted).unwrap();
    }
    let found = read(path);
    for (number, (found, wanted)) in found.lines().zip(wanted.lines()).enumerate() {
        assert_eq!(found, wanted, "{path}, line {}; UPDATE_GOLDEN=1 writes it", number + 1);
    }
    assert_eq!(found.lines().count(), wanted.lines().count(), "{path}; UPDATE_GOLDEN=1 writes it");
}

/// The cells of a Markdown table's rows whose first cell begins with code, all tables of the text.
fn rows(text: &str) -> Vec<Vec<String>> {
    let lines = text.lines().filter(|line| line.starts_with("| `"));
    lines.map(cells).collect()
}

/// The cells of one row; `\|` is no border.
fn cells(line: &str) -> Vec<String> {
    let inner = line.trim().trim_start_matches('|').trim_end_matches('|').replace("\\|", "\u{0}");
    inner.split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect()
}

/// What stands in backticks, in its order.
fn code(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The text below a heading, down to the next one of the same depth or above.
fn section<'t>(text: &'t str, heading: &str) -> &'t str {
    let start = text.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading:?}"));
    let body = &text[start + heading.len() + 2..];
    let depth = heading.find(' ').unwrap();
    let end = (1..=depth).filter_map(|depth| body.find(&format!("\n{} ", "#".repeat(depth)))).min();
    &body[..end.unwrap_or(body.len())]
}

//! What `check --online` saw, for people. Pure.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::Checked;
use super::look::{PageSizeSeen, Row, TenantSeen};
use super::missing::{Missing, What};

/// Columns; the numbers are set to the right.
const HEADER: [&str; 7] = ["endpoint", "result", "status", "time", "rows", "pages", "page size"];
const RIGHT: [bool; 7] = [false, false, true, true, true, true, false];

pub fn of(checked: &Checked) -> String {
    let mut text = String::new();
    for tenant in &checked.tenants {
        text += &section(tenant);
        text += "\n";
    }
    text += "On this machine:\n";
    for tried in &checked.storage {
        let what = match tried.what {
            What::ReportDirectory => "report directory",
            _ => "ledger",
        };
        let result = match tried.result {
            "absent" => "does not exist yet, can be created",
            result => result,
        };
        let _ = writeln!(text, "  {what:<16}  {result:<6}  {}", tried.path.display());
    }
    text = checked.missing.iter().fold(text, |text, it| text + "    - " + &it.text + "\n");
    text.trim_end().to_owned()
}

fn section(seen: &TenantSeen) -> String {
    let mut text = format!("{}  {}\n\n", seen.tenant, seen.base_url);
    if let Some(error) = &seen.error {
        let _ = writeln!(text, "  cannot be asked: {error}");
    }
    text += &rows(&seen.endpoints);
    if let Some(month) = &seen.tag_coverage {
        let so_far = if month.ended { "" } else { " so far" };
        let _ = writeln!(
            text,
            "\n  {}{so_far}: {} VMs, {} h\n{}",
            month.month,
            month.coverage.vms,
            month.coverage.vm_hours,
            month.coverage.to_string().trim_end()
        );
    }
    if let Some(month) = &seen.newest_closed_month {
        let _ = writeln!(text, "\n  newest closed month: {month}");
    }
    if !seen.missing.is_empty() {
        text += "\n";
        text += &list("  missing for full use", &seen.missing);
    } else if seen.error.is_none() {
        text += "\n  nothing is missing for full use\n";
    }
    text
}

fn list(title: &str, missing: &[Missing]) -> String {
    missing.iter().fold(format!("{title}:\n"), |list, it| list + "    - " + &it.text + "\n")
}

fn rows(endpoints: &[Row]) -> String {
    if endpoints.is_empty() {
        return String::new();
    }
    // What is wrong with several of them is said once.
    let mut said = BTreeSet::new();
    let notes: Vec<(String, Vec<String>)> = endpoints.iter().map(|row| notes(row, &mut said)).collect();
    let lines = endpoints.iter().zip(&notes).map(|(row, (last, _))| cells(row, last));
    let cells: Vec<[String; 7]> = std::iter::once(HEADER.map(str::to_owned)).chain(lines).collect();
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; 7] = std::array::from_fn(width);
    let below = std::iter::once(&[][..]).chain(notes.iter().map(|(_, below)| &below[..]));
    let mut text = String::new();
    for (row, below) in cells.iter().zip(below) {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let _ = if RIGHT[column] {
                write!(line, "  {cell:>width$}")
            } else {
                write!(line, "  {cell:<width$}")
            };
        }
        let _ = writeln!(text, "{}", line.trim_end());
        for note in below {
            let _ = writeln!(text, "      {note}");
        }
    }
    text
}

fn cells(row: &Row, last: &str) -> [String; 7] {
    let counted = |count: u64| if row.pages > 0 { count.to_string() } else { String::new() };
    [
        row.endpoint.to_owned(),
        row.result.to_owned(),
        row.http_status.map(|status| status.to_string()).unwrap_or_default(),
        if row.requests > 0 { time(row.milliseconds) } else { String::new() },
        counted(row.rows),
        counted(row.pages),
        last.to_owned(),
    ]
}

fn time(milliseconds: u128) -> String {
    match milliseconds {
        0..1000 => format!("{milliseconds} ms"),
        _ => format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100),
    }
}

fn page_size(seen: &PageSizeSeen) -> String {
    let PageSizeSeen { kind, rows, asked } = seen;
    match *kind {
        "as_asked" => format!("{rows}, as asked"),
        "clamped" => format!("{rows} (clamped, asked {asked})"),
        "header_ignored" => "ignores the header, gives the whole list".to_owned(),
        _ if *rows == 0 => "unknown (empty list)".to_owned(),
        _ => format!("≥ {rows} (whole list in one page, unknown)"),
    }
}

/// The words in a row's last cell, and the sentences below it.
fn notes(row: &Row, said: &mut BTreeSet<String>) -> (String, Vec<String>) {
    let mut last = row.page_size.as_ref().map(page_size).or(row.skipped.map(str::to_owned));
    let mut below = Vec::new();
    if let Some(error) = &row.error {
        let prefix = format!("{}: ", row.endpoint);
        let error = error.strip_prefix(&prefix).unwrap_or(error);
        if said.insert(error.to_owned()) {
            below.push(error.to_owned());
        } else {
            last = Some("as above".to_owned());
        }
    }
    if !row.unknown_fields.is_empty() {
        below.push(format!("fields that are not documented: {}", row.unknown_fields.join(", ")));
    }
    (last.unwrap_or_default(), below)
}

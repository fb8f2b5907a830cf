//! What differs between two revisions of a month: `changes.csv`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::Path;

use jiff::Timestamp;

use super::Frame;
use super::columns::{FRAME, Table};
use super::storage;
use crate::snapshot::{ReportVm, Text};

const COLUMNS: [&str; 6] = ["scope", "key", "change", "column", "before", "after"];

/// Columns that may differ without anything that counts having changed.
const DRIFTS: [&str; 1] = ["status_at_fetch"];

/// What counts of a row in a month that ended at `end`; status and the like drift without meaning
/// anything for it, and so does a release after it: whoever lived on is gone one day.
pub(super) fn counts(
    vm: &ReportVm,
    end: Timestamp,
) -> (Timestamp, Option<Timestamp>, u64, &str, &str, &[Text]) {
    let released = vm.released_at.filter(|at| *at < end);
    (vm.created_at, released, vm.vm_hours, &vm.instance_type, &vm.cloud_id, &vm.tags)
}

/// A kind of row that is compared: the file that holds it and the columns that name it.
struct Scope {
    name: &'static str,
    file: &'static str,
    keys: fn(&str) -> bool,
}

const SCOPES: [Scope; 2] = [
    Scope { name: "vm", file: "by-vm.csv", keys: |column| column == "vm_id" },
    Scope {
        name: "group",
        file: "by-group.csv",
        // The kind, since a value may look like the word for no value.
        keys: |column| column == "group_kind" || column == "tags" || column.starts_with("tag:"),
    },
];

/// Writes `changes.csv`: a row for each cell that differs, from the revision in `before` to the one
/// in `after`; `names` are the beginnings of their files' names.
pub fn write<W: Write>(
    out: W,
    frame: &Frame<'_>,
    before: (&Path, &str),
    after: (&Path, &str),
) -> io::Result<(W, u64)> {
    let mut table = Table::new(out, frame, COLUMNS)?;
    for scope in &SCOPES {
        let old = rows(&before.0.join(format!("{}{}", before.1, scope.file)), scope)?;
        let new = rows(&after.0.join(format!("{}{}", after.1, scope.file)), scope)?;
        let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        let none = Row::new();
        for key in keys {
            let (change, old, new) = match (old.get(key), new.get(key)) {
                (Some(old), Some(new)) => ("changed", old, new),
                (Some(old), None) => ("removed", old, &none),
                (None, Some(new)) => ("added", &none, new),
                (None, None) => continue,
            };
            let columns = if new.is_empty() { old.keys() } else { new.keys() };
            for column in columns {
                let cell = |row: &Row| row.get(column).cloned().unwrap_or_default();
                let (old, new) = (cell(old), cell(new));
                if old != new {
                    table.begin()?;
                    // The cells come from files that are guarded already.
                    for cell in [scope.name, key, change, &column.1, &old, &new] {
                        table.word(cell)?;
                    }
                    table.end()?;
                }
            }
        }
    }
    table.finish()
}

/// Cells by their column, in the order of columns.
type Row = BTreeMap<(usize, String), String>;

/// The rows of a file by their key: the cell that names it, or several as a JSON array.
fn rows(path: &Path, scope: &Scope) -> io::Result<BTreeMap<String, Row>> {
    let file = storage::open_file(path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    let mut csv = csv::ReaderBuilder::new().has_headers(false).from_reader(io::BufReader::new(file));
    let mut header: Vec<String> = Vec::new();
    let mut rows = BTreeMap::new();
    for record in csv.records() {
        let record = record?;
        if header.is_empty() {
            header = record.iter().map(|cell| cell.trim_start_matches('\u{feff}').to_owned()).collect();
            continue;
        }
        let cells = header.iter().zip(&record).enumerate();
        let names: Vec<&str> = cells
            .clone()
            .filter(|(_, (column, _))| (scope.keys)(column))
            .map(|(_, (_, cell))| cell)
            .collect();
        let key = match names.as_slice() {
            [one] => (*one).to_owned(),
            several => serde_json::to_string(several)?,
        };
        let compared = cells.filter(|(_, (column, _))| {
            !FRAME.contains(&column.as_str()) && !DRIFTS.contains(&column.as_str()) && !(scope.keys)(column)
        });
        rows.insert(
            key,
            compared.map(|(at, (column, cell))| ((at, column.clone()), cell.to_owned())).collect(),
        );
    }
    Ok(rows)
}

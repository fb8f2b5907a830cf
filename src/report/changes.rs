//! What differs between two revisions of a month: `changes.csv`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use csv::StringRecord;

use super::columns::{FRAME, MEASURES, Table};
use super::{Frame, old_layout, storage};
use crate::text::normal_id;

const COLUMNS: [&str; 6] = ["scope", "key", "change", "column", "before", "after"];

/// Columns that may differ without anything that counts having changed.
const DRIFTS: [&str; 1] = ["status_at_fetch"];

/// Columns of numbers besides [`MEASURES`]: their cells are bare.
const NUMBERS: [&str; 12] = [
    "vcpus",
    "memory_mib",
    "gpus",
    "unit_price",
    "share_of_seconds",
    "share_of_cost",
    "internal_cost",
    "stopped_cost",
    "amount",
    "unpriced_vm_hours",
    "budget",
    "allocated_node_cost",
];

/// A column that version 0.1.0 rounded by another method.
const SHARE: &str = "share_of_seconds";

/// A column that the files of version 0.1.0 lack.
const UNSIZED: &str = "unsized_vm_seconds";

/// A kind of row that is compared: the file with the rows, and the columns that identify a row.
struct Scope {
    name: &'static str,
    file: &'static str,
    keys: fn(&str) -> bool,
}

const VMS: Scope = Scope { name: "vm", file: "by-vm.csv", keys: |column| column == "vm_id" };

const GROUPS: Scope = Scope {
    name: "group",
    file: "by-group.csv",
    // The kind separates a reserved text from a value of the same text.
    keys: |column| column == KIND || column == TAGS || column.starts_with("tag:"),
};

const KIND: &str = "group_kind";

const TAGS: &str = "tags";

/// Writes `changes.csv`: one row for each cell that differs between the revision in `before` and the
/// revision in `after`. The second part of each is the prefix of its file names. Cells are compared
/// by the names of their columns; a column that only one revision has is not a change.
pub fn write<W: Write>(
    out: W,
    frame: &Frame<'_>,
    before: (&Path, &str),
    after: (&Path, &str),
) -> io::Result<(W, u64)> {
    let mut table = Table::new(out, frame, COLUMNS)?;
    for scope in [&VMS, &GROUPS] {
        let file = |of: (&Path, &str)| File::read(&of.0.join(format!("{}{}", of.1, scope.file)), scope);
        let (mut old, new) = (file(before)?, file(after)?);
        let is_old_layout = !old.has(UNSIZED) && new.has(UNSIZED) && scope.name == GROUPS.name;
        if is_old_layout {
            old.modernise(&new);
        }
        compare(&mut table, scope, [&old, &new], is_old_layout)?;
    }
    table.finish()
}

fn compare<W: Write>(
    table: &mut Table<W>,
    scope: &Scope,
    [old, new]: [&File; 2],
    is_old_layout: bool,
) -> io::Result<()> {
    let shared: Vec<(&str, usize, usize)> = new
        .columns
        .iter()
        .enumerate()
        .filter(|(_, column)| is_compared(column, scope))
        .filter_map(|(at, column)| Some((column.as_str(), old.position(column)?, at)))
        .collect();
    // Groups by different keys are different groups, although their cells can be equal.
    let same_keys = old.key_columns == new.key_columns;
    let mut pairs: BTreeMap<(&Key, bool), [Option<&StringRecord>; 2]> = BTreeMap::new();
    for (side, rows) in [&old.rows, &new.rows].into_iter().enumerate() {
        for (key, row) in rows {
            pairs.entry((key, !same_keys && side == 1)).or_default()[side] = Some(row);
        }
    }
    for ((key, _), [old, new]) in pairs {
        let change = match (old, new) {
            (Some(_), Some(_)) => "changed",
            (Some(_), None) => "removed",
            _ => "added",
        };
        let key = match key.as_slice() {
            [one] => one.clone(),
            several => serde_json::to_string(several)?,
        };
        for (column, in_old, in_new) in &shared {
            let cell = |row: Option<&StringRecord>, at: usize| {
                row.and_then(|row| row.get(at)).unwrap_or_default().to_owned()
            };
            let (old, new) = (cell(old, *in_old), cell(new, *in_new));
            let is_other_spelling = match *column {
                "cloud_id" => normal_id(&old) == normal_id(&new),
                SHARE => is_old_layout && old_layout::is_same_share(&old, &new),
                _ => false,
            };
            if old == new || is_other_spelling {
                continue;
            }
            table.begin();
            // The cells come from files that are guarded already.
            for word in [scope.name, &key, change, column] {
                table.word(word);
            }
            for cell in [&old, &new] {
                if MEASURES.contains(column) || NUMBERS.contains(column) {
                    table.digits(cell);
                } else {
                    table.word(cell);
                }
            }
            table.end()?;
        }
    }
    Ok(())
}

fn is_compared(column: &str, scope: &Scope) -> bool {
    !FRAME.contains(&column) && !DRIFTS.contains(&column) && !(scope.keys)(column)
}

/// Cells that identify a row.
type Key = Vec<String>;

/// A CSV file of one revision.
struct File {
    columns: Vec<String>,
    key_columns: Vec<String>,
    rows: BTreeMap<Key, StringRecord>,
}

impl File {
    fn read(path: &Path, scope: &Scope) -> io::Result<Self> {
        let file = storage::open_file(path)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        let mut csv = csv::Reader::from_reader(io::BufReader::new(file));
        let columns: Vec<String> = csv.headers()?.iter().map(str::to_owned).collect();
        let keys: Vec<usize> = (0..columns.len()).filter(|at| (scope.keys)(&columns[*at])).collect();
        // Older versions wrote UUIDs in the provider's spelling.
        let is_id = scope.name == VMS.name;
        let mut rows = BTreeMap::new();
        for row in csv.into_records() {
            let row = row?;
            let cell = |at: &usize| row.get(*at).unwrap_or_default().to_owned();
            let key = keys.iter().map(cell).map(|key| if is_id { normal_id(&key).into_owned() } else { key });
            rows.insert(key.collect(), row);
        }
        let key_columns = keys.into_iter().map(|at| columns[at].clone()).collect();
        Ok(Self { columns, key_columns, rows })
    }

    fn position(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|name| name == column)
    }

    fn has(&self, column: &str) -> bool {
        self.position(column).is_some()
    }

    /// Rewrites the keys of groups that version 0.1.0 wrote. Of several readings, the one that `new`
    /// has is right.
    fn modernise(&mut self, new: &Self) {
        let is_tag_set = self.has(TAGS);
        let rows = std::mem::take(&mut self.rows).into_iter().map(|(key, row)| {
            let Some((kind, cells)) = key.split_first() else { return (key, row) };
            let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
            let mut keys: Vec<Key> = old_layout::readings(kind, &cells, is_tag_set)
                .into_iter()
                .map(|cells| std::iter::once(kind.clone()).chain(cells).collect())
                .collect();
            let right = keys.iter().position(|key| new.rows.contains_key(key)).unwrap_or_default();
            (keys.swap_remove(right), row)
        });
        self.rows = rows.collect();
    }
}

//! `index.csv` of a tenant's folder: the closed months, their current revision, totals and paths.
//!
//! Made anew from the manifests on disk each time, so it can be lost without loss.

use std::io;

use super::columns::{BOM, FRAME, MEASURES, Table};
use super::publish::Folder;
use super::storage::{read_file, write_whole};
use super::{Frame, Published, ReportError, Revision};

/// Column of the seconds of the open difference.
const OPEN_DIFFERENCE: &str = "open_difference_seconds";

/// Name of the file.
const INDEX: &str = "index.csv";

const MONTH_COLUMNS: [&str; 2] = ["month", "vms_at_start"];

const STATE_COLUMNS: [&str; 6] =
    ["internal_cost", "currency", "unpriced_vm_hours", "verdict", "reason", "open_difference_seconds"];

/// Columns of paths relative to the tenant's folder: the report's own, and its files by the end of
/// their names.
const PATH_COLUMNS: [(&str, &str); 6] = [
    ("folder", ""),
    ("by_tag", "by-tag.csv"),
    ("by_group", "by-group.csv"),
    ("by_vm", "by-vm.csv"),
    ("control", "control.csv"),
    ("manifest", "manifest.json"),
];

/// Writes the index. Months that are damaged are left out and logged: they have no totals.
pub fn rewrite(folder: &Folder) -> Result<(), ReportError> {
    let mut months = Vec::new();
    for month in folder.list()? {
        match month {
            Ok(published) => months.push(published),
            Err(error) => tracing::error!(tenant = folder.tenant(), %error, "not in the index"),
        }
    }
    let path = folder.path().join(INDEX);
    let bytes = csv(folder, &months).map_err(ReportError::at(&path))?;
    if read_file(&path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    write_whole(&path, &bytes)
}

/// Whether the index has the current columns, and lists exactly these directories with these seconds of
/// open differences.
pub fn lists(folder: &Folder, expected: &[(String, u64)]) -> bool {
    let Ok(bytes) = read_file(&folder.path().join(INDEX)) else {
        return expected.is_empty();
    };
    let mut csv = csv::Reader::from_reader(bytes.strip_prefix(BOM).unwrap_or(&bytes));
    let wanted: Vec<&str> = FRAME.into_iter().chain(columns()).collect();
    if csv.headers().ok().is_none_or(|header| header != wanted) {
        return false;
    }
    let column = |name: &str| wanted.iter().position(|column| *column == name).unwrap_or_default();
    let (directory, difference) = (column(PATH_COLUMNS[0].0), column(OPEN_DIFFERENCE));
    let row = |row: csv::StringRecord| {
        let cell = |at: usize| row.get(at).unwrap_or_default();
        (cell(directory).to_owned(), cell(difference).parse().unwrap_or_default())
    };
    let listed: Result<Vec<(String, u64)>, csv::Error> = csv.records().map(|it| it.map(row)).collect();
    listed.is_ok_and(|listed| listed == expected)
}

/// Returns the columns that follow the shared ones.
fn columns() -> impl Iterator<Item = &'static str> {
    let paths = PATH_COLUMNS.into_iter().map(|(column, _)| column);
    MONTH_COLUMNS.into_iter().chain(MEASURES).chain(STATE_COLUMNS).chain(paths)
}

/// The index's bytes, with a byte-order mark if the newest month's files have one.
fn csv(folder: &Folder, months: &[Published]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if months.last().is_some_and(|newest| newest.excel_bom) {
        bytes.extend(BOM);
    }
    let mut table = Table::headed(bytes, FRAME.into_iter().chain(columns()))?;
    for published in months {
        let totals = &published.totals;
        let revision = Revision::Final(published.revision);
        let frame = Frame { tenant: folder.tenant(), month: published.month, revision, excel_bom: false };
        table.begin_with(&frame);
        table.word(&published.month.to_string());
        for count in [
            totals.vms_at_start,
            totals.vms,
            totals.vms_created,
            totals.vms_released,
            totals.vms_at_end,
            totals.vm_hours,
            totals.vm_seconds,
            totals.running_seconds,
            totals.stopped_seconds,
            totals.failed_seconds,
            totals.other_seconds,
            totals.unobserved_seconds,
        ] {
            table.count(count);
        }
        for hours in [&totals.vcpu_hours, &totals.memory_gib_hours, &totals.gpu_hours] {
            table.digits(hours.as_deref().unwrap_or_default());
        }
        table.maybe(totals.unsized_vm_seconds);
        table.money(totals.internal_cost);
        table.text(totals.currency.as_deref().unwrap_or_default());
        table.count(totals.unpriced_vm_hours);
        table.word(published.verdict().as_str());
        table.text(published.reason.as_deref().unwrap_or_default());
        table.count(folder.open_difference(published.month));
        let of = format!("{}/{}", published.month, revision.folder());
        for (_, end) in PATH_COLUMNS {
            let file = if end.is_empty() { String::new() } else { format!("/{}{end}", frame.prefix()) };
            table.text(&format!("{of}{file}"));
        }
        table.end()?;
    }
    Ok(table.finish()?.0)
}

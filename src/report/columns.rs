//! The format of the CSV files of a report: RFC 4180 with CRLF, quotes around everything that is not
//! a number, the columns that all files share, and the guard against formulas.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use std::io::{self, Write};

use jiff::Timestamp;

use super::Frame;
use super::decimal::{Hundredths, Money};
use super::tally::{SizeHours, Sums};
use crate::period::{rfc3339, write_rfc3339};
use crate::snapshot::Text;
use crate::usage::{Use, UseSeconds};

/// Byte-order mark, from which Excel recognises UTF-8.
pub const BOM: &[u8] = "\u{feff}".as_bytes();

/// Bytes that are collected before they are written to the file.
const BUFFER: usize = 1 << 16;

/// First columns of every file.
pub const FRAME: [&str; 5] = ["tenant", "period_start", "period_end", "revision", "status"];

/// Columns of exact seconds.
pub const SECONDS: [&str; 6] = [
    "vm_seconds",
    "running_seconds",
    "stopped_seconds",
    "failed_seconds",
    "other_seconds",
    "unobserved_seconds",
];

/// Columns of sums over VMs.
pub const MEASURES: [&str; 15] = [
    "vms",
    "vms_created",
    "vms_released",
    "vms_at_end",
    "vm_hours",
    SECONDS[0],
    SECONDS[1],
    SECONDS[2],
    SECONDS[3],
    SECONDS[4],
    SECONDS[5],
    "vcpu_hours",
    "memory_gib_hours",
    "gpu_hours",
    "unsized_vm_seconds",
];

/// A CSV file that is being written.
pub struct Table<W: Write> {
    out: W,
    /// Complete rows that are not in `out` yet, and the current row.
    bytes: Vec<u8>,
    /// The shared cells, as they are written.
    frame: Vec<u8>,
    cell: String,
    /// Whether the current row has no cell yet.
    is_row_empty: bool,
    rows: u64,
}

impl<W: Write> Table<W> {
    /// Writes the header: the shared columns, then `columns`.
    pub fn new<'c>(
        mut out: W,
        frame: &Frame<'_>,
        columns: impl IntoIterator<Item = &'c str>,
    ) -> io::Result<Self> {
        if frame.excel_bom {
            out.write_all(BOM)?;
        }
        let mut table = Self::headed(out, FRAME.into_iter().chain(columns))?;
        table.frame = frame.cells();
        Ok(table)
    }

    /// Writes a header of these columns alone.
    pub fn headed<'c>(out: W, columns: impl IntoIterator<Item = &'c str>) -> io::Result<Self> {
        let bytes = Vec::with_capacity(2 * BUFFER);
        let mut table =
            Self { out, bytes, frame: Vec::new(), cell: String::new(), is_row_empty: true, rows: 0 };
        columns.into_iter().for_each(|column| table.word(column));
        table.end()?;
        Ok(table)
    }

    /// Begins a row with the shared cells.
    pub fn begin(&mut self) {
        self.rows += 1;
        self.bytes.extend_from_slice(&self.frame);
        self.is_row_empty = self.frame.is_empty();
    }

    /// Begins a row with the shared cells of another report than the previous row.
    pub fn begin_with(&mut self, frame: &Frame<'_>) {
        self.frame = frame.cells();
        self.begin();
    }

    /// Ends a row.
    pub fn end(&mut self) -> io::Result<()> {
        self.bytes.extend_from_slice(b"\r\n");
        self.is_row_empty = true;
        if self.bytes.len() >= BUFFER {
            self.out.write_all(&self.bytes)?;
            self.bytes.clear();
        }
        Ok(())
    }

    /// Writes a cell with text from outside, guarded.
    pub fn text(&mut self, text: &str) {
        if is_formula(text) {
            self.quoted("'", text);
        } else {
            self.word(text);
        }
    }

    /// Writes a cell with text of this program, or text that is guarded already.
    pub fn word(&mut self, word: &str) {
        if word.is_empty() {
            self.bare("");
        } else {
            self.quoted("", word);
        }
    }

    /// Writes a cell with a number.
    pub fn number(&mut self, number: impl Display) {
        let mut cell = std::mem::take(&mut self.cell);
        cell.clear();
        // Writing to a `String` cannot fail.
        let _ = write!(cell, "{number}");
        self.bare(&cell);
        self.cell = cell;
    }

    /// Writes a cell with a whole number. Most cells of a large month are such cells.
    pub fn count(&mut self, count: u64) {
        self.bare(itoa::Buffer::new().format(count));
    }

    /// Writes a cell with text that is expected to be a number. Any other text is quoted.
    pub fn digits(&mut self, text: &str) {
        if is_number(text) {
            self.bare(text);
        } else {
            self.word(text);
        }
    }

    /// Writes a cell with a time.
    pub fn time(&mut self, at: Timestamp) {
        let mut cell = std::mem::take(&mut self.cell);
        cell.clear();
        write_rfc3339(&mut cell, at);
        self.quoted("", &cell);
        self.cell = cell;
    }

    /// Writes a cell with a number, or an empty cell.
    pub fn maybe(&mut self, number: Option<impl Display>) {
        match number {
            Some(number) => self.number(number),
            None => self.empty(),
        }
    }

    /// Writes an empty cell.
    pub fn empty(&mut self) {
        self.bare("");
    }

    /// Writes a cell with a JSON array of texts.
    pub fn json(&mut self, texts: &[Text]) -> io::Result<()> {
        let mut cell = std::mem::take(&mut self.cell).into_bytes();
        cell.clear();
        serde_json::to_writer(&mut cell, texts)?;
        self.cell = String::from_utf8(cell).unwrap_or_default();
        let cell = std::mem::take(&mut self.cell);
        self.quoted("", &cell);
        self.cell = cell;
        Ok(())
    }

    /// Writes cells of exact seconds: [`SECONDS`].
    pub fn seconds(&mut self, seconds: &UseSeconds) {
        self.count(seconds.total());
        for of in Use::ALL {
            self.count(seconds.get(of));
        }
    }

    /// Writes cells of size × time: `vcpu_hours`, `memory_gib_hours`, `gpu_hours`.
    pub fn hours(&mut self, hours: Option<SizeHours>) {
        let of = |hour: fn(SizeHours) -> Hundredths| hours.map(hour);
        self.maybe(of(|hours| hours.vcpu));
        self.maybe(of(|hours| hours.memory_gib));
        self.maybe(of(|hours| hours.gpu));
    }

    /// Writes cells of sums: [`MEASURES`].
    pub fn measures(&mut self, sums: &Sums) {
        let totals = &sums.totals;
        for count in [totals.vms, totals.vms_created, totals.vms_released, totals.vms_at_end, totals.vm_hours]
        {
            self.count(count);
        }
        self.seconds(&totals.seconds);
        self.hours(sums.hours());
        self.count(sums.unsized_seconds);
    }

    /// Writes a cell with an exact amount of money.
    pub fn money(&mut self, amount: Option<rust_decimal::Decimal>) {
        self.maybe(amount.map(Money));
    }

    /// Writes everything to the file; returns it and the number of rows below the header.
    pub fn finish(mut self) -> io::Result<(W, u64)> {
        self.out.write_all(&self.bytes)?;
        Ok((self.out, self.rows))
    }

    /// Writes a cell without quotes: a number, or an empty cell.
    fn bare(&mut self, cell: &str) {
        self.separate();
        self.bytes.extend_from_slice(cell.as_bytes());
    }

    /// Writes a cell with quotes: `prefix`, then `text`.
    fn quoted(&mut self, prefix: &str, text: &str) {
        self.separate();
        quote(&mut self.bytes, prefix, text);
    }

    fn separate(&mut self) {
        if !std::mem::replace(&mut self.is_row_empty, false) {
            self.bytes.push(b',');
        }
    }
}

/// Writes `prefix` and `text` in quotes; a quote inside `text` is doubled.
fn quote(bytes: &mut Vec<u8>, prefix: &str, text: &str) {
    bytes.push(b'"');
    bytes.extend_from_slice(prefix.as_bytes());
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'"') {
        bytes.extend_from_slice(&rest[..=at]);
        bytes.push(b'"');
        rest = &rest[at + 1..];
    }
    bytes.extend_from_slice(rest);
    bytes.push(b'"');
}

/// Whether `text` is a decimal number as this program writes it.
fn is_number(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    text.split_once('.').map_or_else(|| digits(text), |(whole, decimals)| digits(whole) && digits(decimals))
}

/// Returns `text` with a leading `'` if a spreadsheet would execute it.
pub fn guarded(text: &str) -> Cow<'_, str> {
    if is_formula(text) { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

/// Whether a spreadsheet would execute `text` as a formula, or hide its first character `'`.
fn is_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '\''])
}

/// A text as it was before the guard against formulas.
pub fn unguarded(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|text| is_formula(text)).unwrap_or(cell)
}

/// Returns the names of the group columns.
pub fn group_columns(group_by: &[String]) -> Vec<String> {
    if group_by.is_empty() {
        return vec!["tags".to_owned()];
    }
    group_by.iter().map(|key| format!("tag:{key}")).collect()
}

impl Frame<'_> {
    /// Returns the shared cells, [`FRAME`], as they are written. None needs the guard: the name of a
    /// tenant begins with a letter or digit.
    fn cells(&self) -> Vec<u8> {
        let period = self.month.period();
        let mut cells = Vec::new();
        for text in [self.tenant, &rfc3339(period.start), &rfc3339(period.end)] {
            quote(&mut cells, "", text);
            cells.push(b',');
        }
        cells.extend_from_slice(format!("{},", self.revision.number()).as_bytes());
        quote(&mut cells, "", self.revision.status().as_str());
        cells
    }

    /// How every file's name begins.
    pub fn prefix(&self) -> String {
        format!("flexvm-usage_{}_{}_{}_", self.tenant, self.month, self.revision.folder())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(write: impl FnOnce(&mut Table<Vec<u8>>)) -> String {
        let mut table = Table::headed(Vec::new(), ["a"]).unwrap();
        table.begin();
        write(&mut table);
        table.end().unwrap();
        let (bytes, rows) = table.finish().unwrap();
        assert_eq!(rows, 1);
        let text = String::from_utf8(bytes).unwrap();
        text.strip_prefix("\"a\"\r\n").and_then(|text| text.strip_suffix("\r\n")).unwrap().to_owned()
    }

    #[test]
    fn only_numbers_and_empty_cells_are_bare() {
        let cells = row(|table| {
            table.text("123");
            table.text("");
            table.text("a \"b\", c");
            table.text("=1+1");
            table.text("'x");
            table.word("true");
            table.number(-3);
            table.count(7);
            table.maybe(None::<u64>);
            table.time(Timestamp::UNIX_EPOCH);
        });
        let wanted = "\"123\",,\"a \"\"b\"\", c\",\"'=1+1\",\"''x\",\"true\",-3,7,,\"1970-01-01T00:00:00Z\"";
        assert_eq!(cells, wanted);
        assert_eq!(row(|table| table.json(&["a".into(), "\"".into()]).unwrap()), r#""[""a"",""\""""]""#);
    }

    #[test]
    fn text_that_should_be_a_number_is_checked() {
        for (text, wanted) in
            [("-1.50", "-1.50"), ("7", "7"), ("", ""), ("1.", "\"1.\""), ("1,2", "\"1,2\""), ("-", "\"-\"")]
        {
            assert_eq!(row(|table| table.digits(text)), wanted, "{text}");
        }
    }
}

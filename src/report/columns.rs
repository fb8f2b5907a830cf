//! How a CSV file of a report is written: RFC 4180, CRLF, the columns that all files share, and the
//! guard that keeps a spreadsheet from running text as a formula.

use std::fmt::{Display, Write as _};
use std::io::{self, Write};

use jiff::Timestamp;

use super::Frame;
use super::decimal::{Hundredths, Money};
use super::tally::{SizeHours, Sums};
use crate::period::{rfc3339, write_rfc3339};
use crate::snapshot::Text;
use crate::usage::{Use, UseSeconds};

/// What Excel wants to see before it believes in UTF-8.
pub const BOM: &[u8] = "\u{feff}".as_bytes();

/// Bytes that are gathered before they go on to the file.
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
pub const MEASURES: [&str; 14] = [
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
];

/// A CSV file that is being written.
pub struct Table<W: Write> {
    csv: csv::Writer<W>,
    frame: [String; FRAME.len()],
    cell: String,
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
        let mut csv = csv::WriterBuilder::new();
        let csv = csv.terminator(csv::Terminator::CRLF).buffer_capacity(BUFFER).from_writer(out);
        let mut table = Self { csv, frame: Default::default(), cell: String::new(), rows: 0 };
        columns.into_iter().try_for_each(|column| table.word(column))?;
        table.end()?;
        Ok(table)
    }

    /// Begins a row with the shared cells.
    pub fn begin(&mut self) -> io::Result<()> {
        self.rows += 1;
        for cell in &self.frame {
            self.csv.write_field(cell)?;
        }
        Ok(())
    }

    /// Begins a row with the shared cells of another report than the row before.
    pub fn begin_with(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        self.frame = frame.cells();
        self.begin()
    }

    /// Ends a row.
    pub fn end(&mut self) -> io::Result<()> {
        self.csv.write_record(None::<&[u8]>)?;
        Ok(())
    }

    /// A cell of text from outside, guarded.
    pub fn text(&mut self, text: &str) -> io::Result<()> {
        if !runs(text) {
            return self.word(text);
        }
        self.cell.clear();
        self.cell.push('\'');
        self.cell.push_str(text);
        Ok(self.csv.write_field(&self.cell)?)
    }

    /// A cell with one of our own words.
    pub fn word(&mut self, word: &str) -> io::Result<()> {
        Ok(self.csv.write_field(word)?)
    }

    /// A cell with a number: never guarded.
    pub fn number(&mut self, number: impl Display) -> io::Result<()> {
        self.cell.clear();
        // Writing to a `String` cannot fail.
        let _ = write!(self.cell, "{number}");
        Ok(self.csv.write_field(&self.cell)?)
    }

    /// A whole number, quickly: most cells of a large month are one.
    pub fn count(&mut self, count: u64) -> io::Result<()> {
        Ok(self.csv.write_field(itoa::Buffer::new().format(count))?)
    }

    /// A time: never guarded.
    pub fn time(&mut self, at: Timestamp) -> io::Result<()> {
        self.cell.clear();
        write_rfc3339(&mut self.cell, at);
        Ok(self.csv.write_field(&self.cell)?)
    }

    /// A number, or an empty cell.
    pub fn maybe(&mut self, number: Option<impl Display>) -> io::Result<()> {
        match number {
            Some(number) => self.number(number),
            None => self.word(""),
        }
    }

    /// A cell with a JSON array of texts.
    pub fn json(&mut self, texts: &[Text]) -> io::Result<()> {
        let mut cell = std::mem::take(&mut self.cell).into_bytes();
        cell.clear();
        serde_json::to_writer(&mut cell, texts)?;
        self.csv.write_field(&cell)?;
        self.cell = String::from_utf8(cell).unwrap_or_default();
        Ok(())
    }

    /// Cells of exact seconds: [`SECONDS`].
    pub fn seconds(&mut self, seconds: &UseSeconds) -> io::Result<()> {
        self.count(seconds.total())?;
        Use::ALL.into_iter().try_for_each(|of| self.count(seconds.get(of)))
    }

    /// Cells of size × time: the last three of [`MEASURES`].
    pub fn hours(&mut self, hours: Option<SizeHours>) -> io::Result<()> {
        let of = |hour: fn(SizeHours) -> Hundredths| hours.map(hour);
        self.maybe(of(|hours| hours.vcpu))?;
        self.maybe(of(|hours| hours.memory_gib))?;
        self.maybe(of(|hours| hours.gpu))
    }

    /// Cells of sums: [`MEASURES`].
    pub fn measures(&mut self, sums: &Sums) -> io::Result<()> {
        let totals = &sums.totals;
        for count in [totals.vms, totals.vms_created, totals.vms_released, totals.vms_at_end, totals.vm_hours]
        {
            self.count(count)?;
        }
        self.seconds(&totals.seconds)?;
        self.hours(sums.hours())
    }

    /// A cell of money.
    pub fn money(&mut self, amount: Option<rust_decimal::Decimal>) -> io::Result<()> {
        self.maybe(amount.map(Money))
    }

    /// Hands everything to the file; returns it and the number of rows below the header.
    pub fn finish(self) -> io::Result<(W, u64)> {
        let rows = self.rows;
        let out = self.csv.into_inner().map_err(csv::IntoInnerError::into_error)?;
        Ok((out, rows))
    }
}

/// Whether a spreadsheet would run `text` as a formula (or hide its first character, a `'`).
fn runs(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '\''])
}

/// A text as it was before the guard against formulas.
pub fn unguarded(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|text| runs(text)).unwrap_or(cell)
}

/// The name of the column for a key that groups are made of.
pub fn group_columns(group_by: &[String]) -> Vec<String> {
    if group_by.is_empty() {
        return vec!["tags".to_owned()];
    }
    group_by.iter().map(|key| format!("tag:{key}")).collect()
}

impl Frame<'_> {
    /// The shared cells, [`FRAME`]. None needs the guard: a tenant's name begins with a letter or digit.
    fn cells(&self) -> [String; FRAME.len()] {
        let period = self.month.period();
        [
            self.tenant.to_owned(),
            rfc3339(period.start),
            rfc3339(period.end),
            self.revision.number().to_string(),
            self.revision.status().as_str().to_owned(),
        ]
    }

    /// How every file's name begins.
    pub fn prefix(&self) -> String {
        format!("flexvm-usage_{}_{}_{}_", self.tenant, self.month, self.revision.folder())
    }
}

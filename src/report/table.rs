//! CSV as spreadsheets and databases read it alike: RFC 4180, CRLF, and no cell that would run.

use std::borrow::Cow;
use std::io::Write as _;

use csv::{Terminator, Writer, WriterBuilder};
use rust_decimal::Decimal;

use super::ReportError;
use super::files::{Hashed, Written};

/// UTF-8's byte-order mark, by which Excel knows the encoding.
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// A CSV file that is being written, cell by cell.
pub struct Table {
    writer: Writer<Hashed>,
    rows: u64,
    number: itoa::Buffer,
}

impl Table {
    /// Begins a file with its header.
    pub fn create<'a>(
        mut file: Hashed,
        bom: bool,
        columns: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, ReportError> {
        if bom {
            file.write_all(BOM).map_err(|error| file.failed(error))?;
        }
        let writer = WriterBuilder::new().terminator(Terminator::CRLF).flexible(false).from_writer(file);
        let mut table = Self { writer, rows: 0, number: itoa::Buffer::new() };
        for column in columns {
            table.text(column)?;
        }
        table.end_record()?;
        Ok(table)
    }

    /// Text from outside, which a spreadsheet must show and never run.
    pub fn text(&mut self, text: &str) -> Result<(), ReportError> {
        let guarded = guard(text);
        self.cell(&guarded)
    }

    /// A cell that this program itself made: a word, a number, a time.
    pub fn cell(&mut self, text: &str) -> Result<(), ReportError> {
        let written = self.writer.write_field(text);
        self.check(written)
    }

    pub fn number(&mut self, number: u64) -> Result<(), ReportError> {
        let written = self.writer.write_field(self.number.format(number));
        self.check(written)
    }

    pub fn signed(&mut self, number: i64) -> Result<(), ReportError> {
        let written = self.writer.write_field(self.number.format(number));
        self.check(written)
    }

    /// A number or nothing.
    pub fn optional(&mut self, number: Option<u64>) -> Result<(), ReportError> {
        match number {
            Some(number) => self.number(number),
            None => self.cell(""),
        }
    }

    /// Hundredths as a number with two decimals, or nothing.
    pub fn hundredths(&mut self, hundredths: Option<u64>) -> Result<(), ReportError> {
        match hundredths {
            Some(number) => self.cell(&format!("{}.{:02}", number / 100, number % 100)),
            None => self.cell(""),
        }
    }

    /// An exact amount of money, or nothing.
    pub fn money(&mut self, amount: Option<Decimal>) -> Result<(), ReportError> {
        self.cell(&amount.map(money).unwrap_or_default())
    }

    /// Ends a row.
    pub fn end(&mut self) -> Result<(), ReportError> {
        self.rows += 1;
        self.end_record()
    }

    /// Brings the file to the disk; with the number of rows below the header.
    pub fn finish(self) -> Result<(Written, u64), ReportError> {
        let rows = self.rows;
        let file = self.writer.into_inner().map_err(|error| {
            let source = std::io::Error::new(error.error().kind(), error.error().to_string());
            ReportError::storage(std::path::Path::new("the report's files"), source)
        })?;
        Ok((file.finish()?, rows))
    }

    fn end_record(&mut self) -> Result<(), ReportError> {
        let written = self.writer.write_record(None::<&[u8]>);
        self.check(written)
    }

    fn check(&self, written: csv::Result<()>) -> Result<(), ReportError> {
        written.map_err(|error| match error.into_kind() {
            csv::ErrorKind::Io(error) => self.writer.get_ref().failed(error),
            other => self.writer.get_ref().failed(std::io::Error::other(format!("{other:?}"))),
        })
    }
}

/// `text` as a spreadsheet shows it literally: one that begins like a formula (or with the guard
/// itself) gets a leading `'`.
pub fn guard(text: &str) -> Cow<'_, str> {
    match text.bytes().next() {
        Some(b'=' | b'+' | b'-' | b'@' | b'\t' | b'\r' | b'\n' | b'\'') => Cow::Owned(format!("'{text}")),
        _ => Cow::Borrowed(text),
    }
}

/// An amount with all its decimals, at least two, no exponent.
pub fn money(amount: Decimal) -> String {
    let mut amount = amount.normalize();
    if amount.scale() < 2 {
        amount.rescale(2);
    }
    amount.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_would_run_stays_as_it_is() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'=1"] {
            assert_eq!(guard(text), format!("'{text}"));
        }
        for text in ["", "a=1", " =1", "1", "ü"] {
            assert_eq!(guard(text), text);
        }
    }

    #[test]
    fn money_is_exact_and_has_at_least_two_decimals() {
        for (amount, text) in
            [("0", "0.00"), ("1.5", "1.50"), ("1.2500", "1.25"), ("0.123456", "0.123456"), ("100", "100.00")]
        {
            assert_eq!(money(amount.parse().unwrap()), text);
        }
    }
}

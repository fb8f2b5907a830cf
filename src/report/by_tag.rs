//! `by-tag.csv`: one row a raw tag, and always a last one for VMs without tags. A VM with two tags
//! is in two rows, so no row is additive.

use std::io::{self, Write};

use super::Frame;
use super::columns::{MEASURES, Table};
use super::tally::{Sums, Tally};
use crate::snapshot::split_tag;

const COLUMNS: [&str; 5] = ["kind", "additive", "tag", "tag_key", "tag_value"];

pub fn write<W: Write>(out: W, frame: &Frame<'_>, tally: &Tally<'_>) -> io::Result<(W, u64)> {
    let mut table = Table::new(out, frame, COLUMNS.into_iter().chain(MEASURES))?;
    for (tag, sums) in &tally.tags {
        let (key, value) = split_tag(tag);
        row(&mut table, "tag", [tag, key, value.unwrap_or_default()], sums)?;
    }
    row(&mut table, "untagged", [""; 3], &tally.untagged)?;
    table.finish()
}

fn row<W: Write>(table: &mut Table<W>, kind: &str, tag: [&str; 3], sums: &Sums) -> io::Result<()> {
    table.begin()?;
    table.word(kind)?;
    table.word("false")?;
    tag.into_iter().try_for_each(|text| table.text(text))?;
    table.measures(sums)?;
    table.end()
}

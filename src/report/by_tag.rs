//! `by-tag.csv`: one row per raw tag, and always a last row for VMs without tags. A VM with two tags
//! is in two rows, so no row is additive.

use std::io::{self, Write};

use super::Frame;
use super::columns::{MEASURES, Table};
use super::tally::{Sums, Tally};
use crate::snapshot::split_tag;

const COLUMNS: [&str; 5] = ["kind", "additive", "tag", "tag_key", "tag_value"];

const COST_COLUMNS: [&str; 3] = ["internal_cost", "currency", "unpriced_vm_hours"];

pub fn write<W: Write>(out: W, frame: &Frame<'_>, tally: &Tally<'_>) -> io::Result<(W, u64)> {
    let mut table = Table::new(out, frame, COLUMNS.into_iter().chain(MEASURES).chain(COST_COLUMNS))?;
    let currency = tally.currency().unwrap_or_default();
    for (tag, sums) in &tally.tags {
        let (key, value) = split_tag(tag);
        row(&mut table, "tag", [tag, key, value.unwrap_or_default()], sums, currency)?;
    }
    row(&mut table, "untagged", [""; 3], &tally.untagged, currency)?;
    table.finish()
}

fn row<W: Write>(
    table: &mut Table<W>,
    kind: &str,
    tag: [&str; 3],
    sums: &Sums,
    currency: &str,
) -> io::Result<()> {
    table.begin();
    table.word(kind);
    table.word("false");
    for text in tag {
        table.text(text);
    }
    table.measures(sums);
    table.money(sums.cost);
    table.word(currency);
    table.count(sums.unpriced_hours);
    table.end()
}

//! `by-group.csv`: every VM is in exactly one row, so rows sum to the totals.

use std::io::{self, Write};

use super::Frame;
use super::columns::{MEASURES, Table, group_columns};
use super::decimal::Share;
use super::tally::Tally;

const COST_COLUMNS: [&str; 4] = ["share_of_seconds", "internal_cost", "currency", "unpriced_vm_hours"];

pub fn write<W: Write>(
    out: W,
    frame: &Frame<'_>,
    tally: &Tally<'_>,
    group_by: &[String],
) -> io::Result<(W, u64)> {
    let groups = group_columns(group_by);
    let columns = ["additive", "group_kind"].into_iter().chain(groups.iter().map(String::as_str));
    let mut table = Table::new(out, frame, columns.chain(MEASURES).chain(COST_COLUMNS))?;
    for (group, sums) in &tally.groups {
        table.begin()?;
        table.word("true")?;
        table.word(group.kind.as_str())?;
        group.cells.iter().try_for_each(|cell| table.text(cell))?;
        table.measures(sums)?;
        table.number(Share::of(sums.seconds(), tally.total.seconds()))?;
        table.money(sums.cost)?;
        table.word(tally.currency().unwrap_or_default())?;
        table.number(sums.unpriced_hours)?;
        table.end()?;
    }
    table.finish()
}

//! `by-group.csv`: every VM is in exactly one row, so rows sum to the totals.

use std::io::{self, Write};

use rust_decimal::Decimal;

use super::Frame;
use super::apportion::{amounts, shares, weights};
use super::columns::{MEASURES, Table, group_columns};
use super::tally::Tally;

const COST_COLUMNS: [&str; 9] = [
    "share_of_seconds",
    "share_of_cost",
    "internal_cost",
    "stopped_cost",
    "amount",
    "currency",
    "unpriced_vm_hours",
    "budget",
    "allocated_node_cost",
];

pub fn write<W: Write>(
    out: W,
    frame: &Frame<'_>,
    tally: &Tally<'_>,
    group_by: &[String],
) -> io::Result<(W, u64)> {
    let groups = group_columns(group_by);
    let columns = ["additive", "group_kind"].into_iter().chain(groups.iter().map(String::as_str));
    let mut table = Table::new(out, frame, columns.chain(MEASURES).chain(COST_COLUMNS))?;
    let seconds: Vec<u128> = tally.groups.iter().map(|(_, sums)| sums.seconds().into()).collect();
    let shares_of_seconds = shares(&seconds);
    let costs: Vec<Decimal> = tally.groups.iter().map(|(_, sums)| sums.cost.unwrap_or_default()).collect();
    let shares_of_cost = shares(&weights(&costs, 0).0);
    // A group without a price counts as 0 here, so it never receives a minor unit.
    let amounts = tally.minor_unit().map(|minor_unit| amounts(&costs, minor_unit));
    let of = |list: &Option<Vec<Decimal>>, index: usize| list.as_ref().map(|list| list[index]);
    for (index, (group, sums)) in tally.groups.iter().enumerate() {
        table.begin();
        table.word("true");
        table.word(group.kind.as_str());
        group.cells.iter().for_each(|cell| table.text(cell));
        table.measures(sums);
        table.maybe(of(&shares_of_seconds, index));
        table.maybe(of(&shares_of_cost, index));
        table.money(sums.cost);
        table.maybe(sums.stopped_cost);
        table.maybe(of(&amounts, index).filter(|_| sums.cost.is_some()));
        table.word(tally.currency().unwrap_or_default());
        table.count(sums.unpriced_hours);
        // Columns of budgets and node cost, which do not exist yet.
        table.empty();
        table.empty();
        table.end()?;
    }
    table.finish()
}

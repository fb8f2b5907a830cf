//! `control.csv`: one row per cloud and a total. VMs at the start + created − released = VMs at the
//! end, and our sums next to the provider's.

use std::io::{self, Write};

use rust_decimal::Decimal;

use super::columns::Table;
use super::reconcile::{Compared, Reconciliation};
use super::tally::{Sums, Tally};
use super::{Account, Frame};

const COLUMNS: [&str; 15] = [
    "scope",
    "cloud_id",
    "cloud",
    "vms_at_start",
    "vms_created",
    "vms_released",
    "vms_at_end",
    "vm_hours",
    "vm_seconds",
    "provider_vm_hours",
    "difference_hours",
    "rounding",
    "vms_observed_only",
    "internal_cost",
    "currency",
];

pub fn write<W: Write>(
    out: W,
    frame: &Frame<'_>,
    tally: &Tally<'_>,
    reconciliation: &Reconciliation<'_>,
    account: Option<&Account>,
) -> io::Result<(W, u64)> {
    let mut table = Table::new(out, frame, COLUMNS)?;
    // A VM that only polls observed has no row in the response, and so no cloud here.
    let observed_only =
        account.filter(|account| account.polls > 0).map(|account| account.only_observed.len());
    let currency = tally.currency();
    for (id, sums) in &tally.clouds {
        row(&mut table, "cloud", [*id, tally.names(id).name], sums, &reconciliation.cloud(id, sums));
        end(&mut table, None, sums.cost, currency)?;
    }
    row(&mut table, "total", [""; 2], &tally.total, &reconciliation.total());
    end(&mut table, observed_only, tally.cost(), currency)?;
    table.finish()
}

/// Writes all cells but the last three.
fn row<W: Write>(table: &mut Table<W>, scope: &str, cloud: [&str; 2], sums: &Sums, compared: &Compared) {
    let totals = &sums.totals;
    table.begin();
    table.word(scope);
    for text in cloud {
        table.text(text);
    }
    for count in [sums.at_start, totals.vms_created, totals.vms_released, totals.vms_at_end, totals.vm_hours]
    {
        table.count(count);
    }
    table.count(sums.seconds());
    let provider = compared.provider.as_ref();
    table.maybe(provider.map(|provider| provider.vm_hours));
    table.maybe(provider.map(|provider| provider.difference_hours));
    table.word(provider.map_or("", |provider| provider.rounding.as_str()));
}

fn end<W: Write>(
    table: &mut Table<W>,
    observed_only: Option<usize>,
    cost: Option<Decimal>,
    currency: Option<&str>,
) -> io::Result<()> {
    table.maybe(observed_only);
    table.money(cost);
    table.word(currency.unwrap_or_default());
    table.end()
}

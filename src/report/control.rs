//! `control.csv`: what an auditor adds up first. One row a cloud and a total: VMs at the start +
//! created − released = VMs at the end, and our sums beside the provider's.

use std::io::{self, Write};

use super::Frame;
use super::columns::Table;
use super::reconcile::{Compared, Reconciliation};
use super::tally::{Sums, Tally};

const COLUMNS: [&str; 12] = [
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
];

pub fn write<W: Write>(
    out: W,
    frame: &Frame<'_>,
    tally: &Tally<'_>,
    reconciliation: &Reconciliation<'_>,
) -> io::Result<(W, u64)> {
    let mut table = Table::new(out, frame, COLUMNS)?;
    for (id, sums) in &tally.clouds {
        let cloud = [*id, tally.names(id).name];
        row(&mut table, "cloud", cloud, sums, &reconciliation.cloud(id, sums))?;
    }
    row(&mut table, "total", [""; 2], &tally.total, &reconciliation.total())?;
    table.finish()
}

fn row<W: Write>(
    table: &mut Table<W>,
    scope: &str,
    cloud: [&str; 2],
    sums: &Sums,
    compared: &Compared,
) -> io::Result<()> {
    let totals = &sums.totals;
    table.begin()?;
    table.word(scope)?;
    cloud.into_iter().try_for_each(|text| table.text(text))?;
    for count in [sums.at_start, totals.vms_created, totals.vms_released, totals.vms_at_end, totals.vm_hours]
    {
        table.number(count)?;
    }
    table.number(sums.seconds())?;
    let provider = compared.provider.as_ref();
    table.maybe(provider.map(|provider| provider.vm_hours))?;
    table.maybe(provider.map(|provider| provider.difference_hours))?;
    table.word(provider.map_or("", |provider| provider.rounding.as_str()))?;
    table.end()
}

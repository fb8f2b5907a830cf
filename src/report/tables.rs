//! The four tables of a month, column by column as the contract with their readers says.

use std::collections::{BTreeMap, HashMap};

use super::analysis::{Analysis, Cost};
use super::files::Hashed;
use super::measure::{MEASURES, SECONDS_COLUMNS, write_seconds};
use super::reconcile::{Reconciliation, Sums};
use super::table::Table;
use super::{ReportError, Stamp};
use crate::period::rfc3339;
use crate::snapshot::{Cloud, split_tag};

/// The columns that every table begins with.
const COMMON: [&str; 5] = ["tenant", "period_start", "period_end", "revision", "status"];

/// The column of groups that are made by the exact set of tags.
const TAGS: &str = "tags";

fn begin(stamp: &Stamp<'_>, table: &mut Table) -> Result<(), ReportError> {
    let period = stamp.month.period();
    table.text(stamp.tenant)?;
    table.cell(&rfc3339(period.start))?;
    table.cell(&rfc3339(period.end))?;
    table.number(stamp.revision.into())?;
    table.cell(stamp.status.as_str())
}

/// One row per raw tag in bytewise order, and last one for VMs without any.
pub fn by_tag(analysis: &Analysis<'_>, stamp: &Stamp<'_>, file: Hashed) -> Result<Table, ReportError> {
    let own = ["kind", "additive", "tag", "tag_key", "tag_value"];
    let columns = COMMON.into_iter().chain(own).chain(MEASURES);
    let mut table = Table::create(file, analysis.inputs.excel_bom, columns)?;
    for (tag, measures) in &analysis.tags {
        begin(stamp, &mut table)?;
        table.cell("tag")?;
        table.cell("false")?;
        table.text(tag)?;
        let (key, value) = split_tag(tag);
        table.text(key)?;
        table.text(value.unwrap_or_default())?;
        measures.write(&mut table)?;
        table.end()?;
    }
    begin(stamp, &mut table)?;
    for cell in ["untagged", "false", "", "", ""] {
        table.cell(cell)?;
    }
    analysis.untagged.write(&mut table)?;
    table.end()?;
    Ok(table)
}

/// One row per group: every VM is in exactly one.
pub fn by_group(analysis: &Analysis<'_>, stamp: &Stamp<'_>, file: Hashed) -> Result<Table, ReportError> {
    let keys: Vec<String> = analysis.inputs.group_by.iter().map(|key| format!("tag:{key}")).collect();
    let group_columns = if keys.is_empty() { vec![TAGS] } else { keys.iter().map(String::as_str).collect() };
    let columns = COMMON
        .into_iter()
        .chain(["additive", "group_kind"])
        .chain(group_columns)
        .chain(MEASURES)
        .chain(["share_of_seconds", "internal_cost", "currency", "unpriced_vm_hours"]);
    let mut table = Table::create(file, analysis.inputs.excel_bom, columns)?;
    let all = analysis.total.totals.seconds.total();
    for (group, (measures, cost)) in &analysis.groups {
        begin(stamp, &mut table)?;
        table.cell("true")?;
        table.cell(group.kind.as_str())?;
        for cell in &group.cells {
            table.text(cell)?;
        }
        measures.write(&mut table)?;
        table.cell(&share(measures.totals.seconds.total(), all))?;
        money(cost, analysis, &mut table)?;
        table.end()?;
    }
    Ok(table)
}

fn money(cost: &Cost, analysis: &Analysis<'_>, table: &mut Table) -> Result<(), ReportError> {
    table.money(cost.internal)?;
    table.cell(analysis.currency())?;
    table.number(cost.unpriced_vm_hours)
}

/// `part ÷ all` with six decimals, rounded half up.
fn share(part: u64, all: u64) -> String {
    let millionths = match u128::from(all) {
        0 => 0,
        all => (u128::from(part) * 1_000_000 + all / 2) / all,
    };
    format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000)
}

/// One row per VM, by id.
pub fn by_vm(analysis: &Analysis<'_>, stamp: &Stamp<'_>, file: Hashed) -> Result<Table, ReportError> {
    let before = [
        "vm_id",
        "vm",
        "cloud_id",
        "cloud",
        "site",
        "instance_type",
        "image",
        "tags",
        "status_at_fetch",
        "created_at",
        "released_at",
        "usage_start",
        "usage_end",
        "vm_hours",
    ];
    let behind = [
        "vcpus",
        "memory_mib",
        "gpus",
        "vcpu_hours",
        "memory_gib_hours",
        "gpu_hours",
        "unit_price",
        "internal_cost",
        "currency",
        "flags",
    ];
    let columns = COMMON.into_iter().chain(before).chain(SECONDS_COLUMNS).chain(behind);
    let mut table = Table::create(file, analysis.inputs.excel_bom, columns)?;
    let clouds: HashMap<&str, &Cloud> =
        analysis.inputs.clouds.iter().map(|cloud| (&*cloud.id, cloud)).collect();
    for line in &analysis.lines {
        let vm = line.vm;
        begin(stamp, &mut table)?;
        let cloud = clouds.get(&*vm.cloud_id).map_or("", |cloud| &*cloud.name);
        for text in [&*vm.id, &vm.name, &vm.cloud_id, cloud, &vm.site, &vm.instance_type, &vm.image] {
            table.text(text)?;
        }
        // A JSON array begins with a bracket, so it needs no guard.
        table.cell(&serde_json::to_string(&vm.tags).unwrap_or_default())?;
        table.text(vm.status.as_str())?;
        table.cell(&rfc3339(vm.created_at))?;
        table.cell(&vm.released_at.map(rfc3339).unwrap_or_default())?;
        table.cell(&rfc3339(line.life.start))?;
        table.cell(&rfc3339(line.life.end))?;
        table.number(vm.vm_hours)?;
        write_seconds(&line.seconds, &mut table)?;
        let size = analysis.sizes.get(&*vm.instance_type);
        table.optional(size.map(|size| size.vcpus))?;
        table.optional(size.map(|size| size.memory_mib))?;
        table.optional(size.map(|size| size.gpus))?;
        let hours = analysis.measures(line).size_hours;
        table.hundredths(hours.map(|hours| hours.vcpu))?;
        table.hundredths(hours.map(|hours| hours.memory_gib))?;
        table.hundredths(hours.map(|hours| hours.gpu))?;
        table.money(analysis.price(line))?;
        table.money(analysis.cost_of(line))?;
        table.cell(analysis.currency())?;
        let flags: Vec<_> = analysis.flags(line).iter().map(crate::usage::Flag::as_str).collect();
        table.cell(&flags.join(";"))?;
        table.end()?;
    }
    Ok(table)
}

/// Opening + created − released = closing, and our sums beside the provider's: a row per cloud, then
/// the total.
pub fn control(
    analysis: &Analysis<'_>,
    reconciliation: &Reconciliation,
    stamp: &Stamp<'_>,
    file: Hashed,
) -> Result<Table, ReportError> {
    let own = [
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
    let mut table = Table::create(file, analysis.inputs.excel_bom, COMMON.into_iter().chain(own))?;
    let mut at_start: BTreeMap<&str, u64> = BTreeMap::new();
    for line in &analysis.lines {
        *at_start.entry(&line.vm.cloud_id).or_default() += u64::from(line.at_start);
    }
    let names: HashMap<&str, &str> =
        analysis.inputs.clouds.iter().map(|cloud| (&*cloud.id, &*cloud.name)).collect();
    for (id, sums) in &reconciliation.clouds {
        begin(stamp, &mut table)?;
        table.cell("cloud")?;
        table.text(id)?;
        table.text(names.get(id.as_str()).copied().unwrap_or_default())?;
        figures(sums, at_start.get(id.as_str()).copied().unwrap_or_default(), &mut table)?;
    }
    begin(stamp, &mut table)?;
    for cell in ["total", "", ""] {
        table.cell(cell)?;
    }
    figures(&reconciliation.total, analysis.at_start, &mut table)?;
    Ok(table)
}

fn figures(sums: &Sums, at_start: u64, table: &mut Table) -> Result<(), ReportError> {
    let numbers =
        [at_start, sums.vms_created, sums.vms_released, sums.vms_at_end, sums.vm_hours, sums.vm_seconds];
    numbers.into_iter().try_for_each(|number| table.number(number))?;
    match &sums.provider {
        Some(provider) => {
            table.number(provider.vm_hours)?;
            table.signed(provider.difference_hours)?;
            table.cell(provider.rounding.as_str())?;
        }
        None => ["", "", ""].into_iter().try_for_each(|cell| table.cell(cell))?,
    }
    table.end()
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn shares_have_six_decimals_half_up() {
        assert_eq!(share(1, 3), "0.333333");
        assert_eq!(share(2, 3), "0.666667");
        assert_eq!(share(1, 1), "1.000000");
        assert_eq!(share(0, 0), "0.000000");
        assert_eq!(share(1, 2_000_000), "0.000001");
    }
}

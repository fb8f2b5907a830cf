//! `by-vm.csv`: one row per VM in the provider's response, by id. No VM is omitted; irregular rows
//! have flags.

use std::io::{self, Write};

use super::Frame;
use super::columns::{SECONDS, Table, group_columns};
use super::tally::Tally;

const VM_COLUMNS: [&str; 8] = ["vm_id", "vm", "cloud_id", "cloud", "site", "instance_type", "image", "tags"];

const LIFE_COLUMNS: [&str; 7] =
    ["group_kind", "status_at_fetch", "created_at", "released_at", "usage_start", "usage_end", "vm_hours"];

const SIZE_COLUMNS: [&str; 11] = [
    "vcpus",
    "memory_mib",
    "gpus",
    "vcpu_hours",
    "memory_gib_hours",
    "gpu_hours",
    "unit_price",
    "internal_cost",
    "stopped_cost",
    "currency",
    "flags",
];

pub fn write<W: Write>(
    out: W,
    frame: &Frame<'_>,
    tally: &Tally<'_>,
    group_by: &[String],
) -> io::Result<(W, u64)> {
    // Without keys, the column `tags` is the group: a second column of that name would be ambiguous.
    let groups = if group_by.is_empty() { Vec::new() } else { group_columns(group_by) };
    let columns = VM_COLUMNS.into_iter().chain(groups.iter().map(String::as_str));
    let columns = columns.chain(LIFE_COLUMNS).chain(SECONDS).chain(SIZE_COLUMNS);
    let mut table = Table::new(out, frame, columns)?;
    let mut flags = String::new();
    for line in &tally.lines {
        let (vm, names) = (line.vm, tally.names(&line.vm.cloud_id));
        table.begin();
        let place = names.site.filter(|site| !site.is_empty()).unwrap_or(&vm.site);
        for text in [&*vm.id, &*vm.name, &*vm.cloud_id, names.name, place, &*vm.instance_type, &*vm.image] {
            table.text(text);
        }
        table.json(&vm.tags)?;
        let group = tally.group(line);
        for index in 0..groups.len() {
            table.text(group.map_or("", |group| &group.cells[index]));
        }
        table.word(group.map_or("", |group| group.kind.as_str()));
        table.text(vm.status.as_str());
        table.time(vm.created_at);
        match vm.released_at {
            Some(at) => table.time(at),
            None => table.empty(),
        }
        table.time(line.life.start);
        table.time(line.life.end);
        table.count(vm.vm_hours);
        table.seconds(&line.seconds);
        let (size, sums) = (tally.size(line), tally.sums_of(line));
        table.maybe(size.map(|size| size.vcpus));
        table.maybe(size.map(|size| size.memory_mib));
        table.maybe(size.map(|size| size.gpus));
        table.hours(sums.hours());
        table.money(tally.price(line));
        table.money(sums.cost);
        table.maybe(sums.stopped_cost);
        table.word(tally.currency().unwrap_or_default());
        flags.clear();
        for flag in tally.flags(line).iter() {
            if !flags.is_empty() {
                flags.push(';');
            }
            flags.push_str(flag.as_str());
        }
        table.word(&flags);
        table.end()?;
    }
    table.finish()
}

//! Series of single VMs: the hot path, where 100,000 VMs take milliseconds.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::inventory::{Inventory, seconds};
use super::writer::{Labels, Writer};
use crate::config::Metrics;
use crate::config::load::label_of;
use crate::snapshot::{Text, Vm, split_tag};

/// The value of a label for a tag that has no value.
const VALUELESS: &str = "true";

pub fn write(inventories: &[Inventory<'_>], options: &Metrics, writer: &mut Writer) {
    // The labels that all of a VM's series begin with are escaped once, not once per family.
    let rows: Vec<(&Vm, Labels)> = inventories
        .iter()
        .flat_map(|each| each.vms.iter().take(options.max_vms).map(|vm| (*vm, ids(each.tenant.name, vm))))
        .collect();
    let mut family = writer.family(
        "flexvm_vm_info",
        "Constant 1 for each VM that is not deleted, with its name, instance type, image and node \
         (empty until it is placed).",
    );
    for (vm, ids) in &rows {
        let labels = [
            ("vm", &*vm.name),
            ("instance_type", &*vm.instance_type),
            ("image", &*vm.image),
            ("node_id", vm.node_id.as_deref().unwrap_or_default()),
        ];
        family.prefixed(ids, &labels, 1);
    }
    let mut family = writer.family(
        "flexvm_vm_status",
        "1 for the VM's status as of the newest poll; other statuses are absent.",
    );
    for (vm, ids) in &rows {
        family.prefixed(ids, &[("status", vm.status.as_str())], 1);
    }
    let mut family = writer.family(
        "flexvm_vm_created_timestamp_seconds",
        "When the VM was created, Unix time in seconds; absent where the API does not say.",
    );
    for (vm, ids) in &rows {
        if let Some(at) = vm.created_at {
            family.prefixed(ids, &[], seconds(at));
        }
    }
    tags(&rows, &options.tag_keys, writer);
}

/// Without keys there is no family: it would say nothing about any VM.
fn tags(rows: &[(&Vm, Labels)], keys: &[String], writer: &mut Writer) {
    if keys.is_empty() {
        return;
    }
    let mut met = BTreeSet::new();
    let names: Vec<(&String, String)> = keys
        .iter()
        .map(|key| (key, format!("tag_{}", label_of(key))))
        .filter(|(_, name)| met.insert(name.clone()))
        .collect();
    let mut family = writer.family(
        "flexvm_vm_tags",
        "Constant 1 for each VM, with its tags whose keys are in metrics.tag_keys: true for a tag without value, \
         several values joined by a semicolon, no label where there is no such tag.",
    );
    for (vm, ids) in rows {
        let values: Vec<(&str, Cow<'_, str>)> =
            names.iter().filter_map(|(key, name)| Some((name.as_str(), value(&vm.tags, key)?))).collect();
        let labels: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, &**value)).collect();
        family.prefixed(ids, &labels, 1);
    }
}

/// The distinct values of the tags with `key`, sorted; `None` where there is no such tag.
fn value<'a>(tags: &'a [Text], key: &str) -> Option<Cow<'a, str>> {
    let of_key = tags.iter().map(|tag| split_tag(tag)).filter(|(name, _)| *name == key);
    let mut values = of_key.map(|(_, value)| value.unwrap_or(VALUELESS));
    let first = values.next()?;
    let Some(second) = values.next() else { return Some(first.into()) };
    let all: BTreeSet<&str> = [first, second].into_iter().chain(values).collect();
    Some(all.into_iter().collect::<Vec<_>>().join(";").into())
}

fn ids(tenant: &str, vm: &Vm) -> Labels {
    Labels::of(&[("tenant", tenant), ("cloud_id", &vm.cloud_id), ("vm_id", &vm.id)])
}

//! Series of single VMs: the hot path, 100,000 VMs of which take milliseconds.

use super::TenantView;
use super::inventory::{inventories, seconds};
use super::writer::{Labels, Writer};
use crate::config::Metrics;
use crate::config::load::label_of;
use crate::snapshot::{Text, Vm, split_tag};

/// The value of a label for a tag that has no value.
const VALUELESS: &str = "true";

pub fn write(tenants: &[TenantView<'_>], options: &Metrics, writer: &mut Writer) {
    let vms = || {
        inventories(tenants)
            .flat_map(|(tenant, data)| data.vms.iter().take(options.max_vms).map(move |vm| (tenant, vm)))
    };
    let mut prefix = Labels::default();
    let mut family = writer.family(
        "flexvm_vm_info",
        "Constant 1 for each VM that is not deleted, with its name, instance type, image and node (empty until it is placed).",
    );
    for (tenant, vm) in vms() {
        prefix.set(&ids(tenant, vm));
        let labels = [
            ("vm", &*vm.name),
            ("instance_type", &vm.instance_type),
            ("image", &vm.image),
            ("node_id", vm.node_id.as_deref().unwrap_or_default()),
        ];
        family.prefixed(&prefix, &labels, 1);
    }
    let mut family = writer.family("flexvm_vm_status", "1 for the VM's current status.");
    for (tenant, vm) in vms() {
        prefix.set(&ids(tenant, vm));
        family.prefixed(&prefix, &[("status", vm.status.as_str())], 1);
    }
    let mut family =
        writer.family("flexvm_vm_created_timestamp_seconds", "When the VM was created, Unix time.");
    for (tenant, vm) in vms() {
        if let Some(at) = vm.created_at {
            prefix.set(&ids(tenant, vm));
            family.prefixed(&prefix, &[], seconds(at));
        }
    }
    if !options.tag_keys.is_empty() {
        tags(vms(), options, writer);
    }
}

fn tags<'a>(vms: impl Iterator<Item = (&'a str, &'a Vm)>, options: &Metrics, writer: &mut Writer) {
    let names: Vec<String> = options.tag_keys.iter().map(|key| format!("tag_{}", label_of(key))).collect();
    let mut family = writer.family(
        "flexvm_vm_tags",
        "Constant 1 for each VM, with the tags of the keys in metrics.tag_keys: true for a tag without value, several values joined by a semicolon.",
    );
    for (tenant, vm) in vms {
        let values: Vec<Option<String>> = options.tag_keys.iter().map(|key| value(&vm.tags, key)).collect();
        let tags =
            names.iter().zip(&values).filter_map(|(name, value)| Some((name.as_str(), value.as_deref()?)));
        let labels: Vec<_> = ids(tenant, vm).into_iter().chain(tags).collect();
        family.sample(&labels, 1);
    }
}

/// The values of the tags with `key`, in their order; `None` where there is no such tag.
fn value(tags: &[Text], key: &str) -> Option<String> {
    let values = tags.iter().map(|tag| split_tag(tag)).filter(|(name, _)| *name == key);
    values
        .map(|(_, value)| value.unwrap_or(VALUELESS).to_owned())
        .reduce(|all, value| format!("{all};{value}"))
}

fn ids<'a>(tenant: &'a str, vm: &'a Vm) -> [(&'a str, &'a str); 3] {
    [("tenant", tenant), ("cloud_id", &vm.cloud_id), ("vm_id", &vm.id)]
}

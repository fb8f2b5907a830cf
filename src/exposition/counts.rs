//! How many VMs are alike: counted in one pass, added up by text afterwards.
//!
//! Text that repeats is shared between rows, so rows are counted by the addresses of their texts,
//! which reads none of it. Equal texts at two addresses only give two rows to add up.

use std::collections::{BTreeMap, HashMap};

use crate::snapshot::{Text, Vm, VmStatus};

/// VMs by cloud, instance type and status.
pub type ByType<'a> = BTreeMap<(&'a str, &'a str, &'a VmStatus), u64>;

/// VMs by tag and status.
pub type ByTag<'a> = BTreeMap<&'a Text, BTreeMap<&'a VmStatus, u64>>;

pub fn by_type<'a>(vms: &[&'a Vm]) -> ByType<'a> {
    let mut sums = ByType::new();
    for (vm, count) in alike(vms, |vm| (vm.cloud_id.as_ptr(), vm.instance_type.as_ptr())) {
        *sums.entry((&vm.cloud_id, &vm.instance_type, &vm.status)).or_default() += count;
    }
    sums
}

pub fn by_tag<'a>(vms: &[&'a Vm]) -> ByTag<'a> {
    let mut sums = ByTag::new();
    for (vm, count) in alike(vms, |vm| vm.tags.as_ptr()) {
        for tag in vm.tags.iter() {
            *sums.entry(tag).or_default().entry(&vm.status).or_default() += count;
        }
    }
    sums
}

/// One VM for all that have the same `address` and status, and how many there are.
fn alike<'a, K: std::hash::Hash + Eq>(
    vms: &[&'a Vm],
    address: impl Fn(&Vm) -> K,
) -> impl Iterator<Item = (&'a Vm, u64)> {
    let mut counts: HashMap<(K, &VmStatus), (&Vm, u64)> = HashMap::new();
    for vm in vms {
        counts.entry((address(vm), &vm.status)).or_insert((vm, 0)).1 += 1;
    }
    counts.into_values()
}

//! What the nodes hold, what is taken, and how many more VMs may fit.

use std::collections::BTreeMap;

use super::catalogue::instance_types;
use super::writer::Writer;
use super::{MIB, TenantView, distinct};
use crate::snapshot::{Capacity, Resource};

/// One of the three figures of a resource. An unknown figure has no series.
type Figure = fn(&Resource) -> Option<u64>;

pub fn write(tenant: &TenantView<'_>, writer: &mut Writer) {
    let mut totals = Vec::new();
    let mut clouds = Vec::new();
    if let Some(section) = &tenant.snapshot.capacity {
        totals.push((vec![("tenant", tenant.name)], &section.data.total));
        for row in distinct(&section.data.clouds, |row| &row.cloud.id) {
            clouds.push((vec![("tenant", tenant.name), ("cloud_id", &*row.cloud.id)], &row.capacity));
        }
    }
    families(&ORGANISATION, &totals, writer);
    families(&CLOUD, &clouds, writer);
    headroom(tenant, writer);
}

/// Names and HELP of the families of one scope.
struct Scope {
    nodes: (&'static str, &'static str),
    node_groups: (&'static str, &'static str),
    vcpus: [(&'static str, &'static str); 3],
    memory: [(&'static str, &'static str); 3],
    devices: [(&'static str, &'static str); 3],
}

const ORGANISATION: Scope = Scope {
    nodes: ("flexvm_capacity_nodes", "Bare-metal nodes of the organisation as of the newest poll."),
    node_groups: (
        "flexvm_capacity_node_group_nodes",
        "Bare-metal nodes of the organisation by bare-metal type as of the newest poll.",
    ),
    vcpus: [
        ("flexvm_capacity_vcpus", "Virtual CPUs of the organisation's nodes."),
        ("flexvm_capacity_vcpus_in_use", "Virtual CPUs taken by the organisation's VMs."),
        ("flexvm_capacity_vcpus_available", "Virtual CPUs of the organisation that are free."),
    ],
    memory: [
        (
            "flexvm_capacity_memory_bytes",
            "Memory of the organisation's nodes in bytes; the MB of the API are read as MiB.",
        ),
        (
            "flexvm_capacity_memory_in_use_bytes",
            "Memory taken by the organisation's VMs in bytes; the MB of the API are read as MiB.",
        ),
        (
            "flexvm_capacity_memory_available_bytes",
            "Memory of the organisation that is free in bytes; the MB of the API are read as MiB.",
        ),
    ],
    devices: [
        (
            "flexvm_capacity_pci_devices",
            "Pass-through devices of the organisation's nodes by class, such as gpu.",
        ),
        (
            "flexvm_capacity_pci_devices_in_use",
            "Pass-through devices taken by the organisation's VMs, stopped ones included, by class, such as gpu.",
        ),
        (
            "flexvm_capacity_pci_devices_available",
            "Pass-through devices of the organisation that are free, by class, such as gpu.",
        ),
    ],
};

const CLOUD: Scope = Scope {
    nodes: ("flexvm_cloud_nodes", "Bare-metal nodes of the cloud as of the newest poll."),
    node_groups: (
        "flexvm_cloud_node_group_nodes",
        "Bare-metal nodes of the cloud by bare-metal type as of the newest poll.",
    ),
    vcpus: [
        ("flexvm_cloud_vcpus", "Virtual CPUs of the cloud's nodes."),
        ("flexvm_cloud_vcpus_in_use", "Virtual CPUs taken by the cloud's VMs."),
        ("flexvm_cloud_vcpus_available", "Virtual CPUs of the cloud that are free."),
    ],
    memory: [
        (
            "flexvm_cloud_memory_bytes",
            "Memory of the cloud's nodes in bytes; the MB of the API are read as MiB.",
        ),
        (
            "flexvm_cloud_memory_in_use_bytes",
            "Memory taken by the cloud's VMs in bytes; the MB of the API are read as MiB.",
        ),
        (
            "flexvm_cloud_memory_available_bytes",
            "Memory of the cloud that is free in bytes; the MB of the API are read as MiB.",
        ),
    ],
    devices: [
        ("flexvm_cloud_pci_devices", "Pass-through devices of the cloud's nodes by class, such as gpu."),
        (
            "flexvm_cloud_pci_devices_in_use",
            "Pass-through devices taken by the cloud's VMs, stopped ones included, by class, such as gpu.",
        ),
        (
            "flexvm_cloud_pci_devices_available",
            "Pass-through devices of the cloud that are free, by class, such as gpu.",
        ),
    ],
};

const FIGURES: [Figure; 3] =
    [|resource| resource.total, |resource| resource.in_use, |resource| resource.available];

fn families(scope: &Scope, rows: &[(Vec<(&str, &str)>, &Capacity)], writer: &mut Writer) {
    let mut nodes = writer.family(scope.nodes.0, scope.nodes.1);
    for (labels, capacity) in rows {
        if let Some(count) = capacity.nodes {
            nodes.sample(labels, count);
        }
    }
    let mut groups = writer.family(scope.node_groups.0, scope.node_groups.1);
    for (labels, capacity) in rows {
        // Two rows of one type are one group.
        for (node_type, count) in
            merged(capacity.node_groups.iter().map(|(name, count)| (&**name, Some(*count))))
        {
            groups.sample(&with(labels, "node_type", node_type), count);
        }
    }
    for ((name, help), figure) in scope.vcpus.into_iter().zip(FIGURES) {
        let mut family = writer.family(name, help);
        for (labels, capacity) in rows {
            if let Some(count) = figure(&capacity.vcpus) {
                family.sample(labels, count);
            }
        }
    }
    for ((name, help), figure) in scope.memory.into_iter().zip(FIGURES) {
        let mut family = writer.family(name, help);
        for (labels, capacity) in rows {
            if let Some(mib) = figure(&capacity.memory_mib) {
                family.sample(labels, mib.saturating_mul(MIB));
            }
        }
    }
    for ((name, help), figure) in scope.devices.into_iter().zip(FIGURES) {
        let mut family = writer.family(name, help);
        for (labels, capacity) in rows {
            for (class, count) in
                merged(capacity.pci_devices.iter().map(|(class, each)| (&**class, figure(each))))
            {
                family.sample(&with(labels, "device", class), count);
            }
        }
    }
}

/// Returns the sum of the figures by name. A name with an unknown figure is omitted.
fn merged<'a>(rows: impl Iterator<Item = (&'a str, Option<u64>)>) -> BTreeMap<&'a str, u64> {
    let mut sums: BTreeMap<_, Option<u64>> = BTreeMap::new();
    for (name, count) in rows {
        let sum = sums.entry(name).or_insert(Some(0));
        *sum = sum.zip(count).and_then(|(sum, count)| sum.checked_add(count));
    }
    sums.into_iter().filter_map(|(name, sum)| Some((name, sum?))).collect()
}

fn with<'a>(labels: &[(&'a str, &'a str)], name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut labels = labels.to_vec();
    labels.push((name, value));
    labels
}

fn headroom(tenant: &TenantView<'_>, writer: &mut Writer) {
    let mut family = writer.family(
        "flexvm_cloud_headroom_upper_bound_vms",
        "VMs of the instance type that the cloud's free vCPUs, memory and devices would hold (the scarcest decides); \
         an upper bound, since what is free may be spread over nodes.",
    );
    let (Some(capacity), Some(catalogue)) = (&tenant.snapshot.capacity, &tenant.snapshot.catalogue) else {
        return;
    };
    for row in distinct(&capacity.data.clouds, |row| &row.cloud.id) {
        for size in instance_types(&catalogue.data) {
            if let Some(vms) = row.capacity.fits(size) {
                let labels =
                    [("tenant", tenant.name), ("cloud_id", &*row.cloud.id), ("instance_type", &*size.name)];
                family.sample(&labels, vms);
            }
        }
    }
}

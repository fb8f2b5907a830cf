//! Clouds, nodes, and VMs by status.

use std::collections::{BTreeMap, BTreeSet};

use super::writer::Writer;
use super::{TenantView, tags};
use crate::config::Metrics;
use crate::snapshot::{Cloud, InventoryData, NODE_STATUSES, Node, VmStatus, split_tag};

pub fn write(tenants: &[TenantView<'_>], options: &Metrics, writer: &mut Writer) {
    clouds(tenants, writer);
    nodes(tenants, writer);
    by_cloud(tenants, writer);
    by_tag(tenants, options, writer);
    if options.per_vm {
        super::per_vm::write(tenants, options, writer);
    }
    let mut omitted = writer.family(
        "flexvm_exporter_vms_omitted",
        "VMs beyond metrics.max_vms that have no series of their own; they count in all sums.",
    );
    for (tenant, data) in inventories(tenants) {
        let most = if options.per_vm { options.max_vms } else { usize::MAX };
        omitted.sample(&[("tenant", tenant)], data.vms.len().saturating_sub(most) as u64);
    }
}

/// The inventory of each tenant that has one.
pub fn inventories<'a>(tenants: &'a [TenantView<'_>]) -> impl Iterator<Item = (&'a str, &'a InventoryData)> {
    tenants.iter().filter_map(|tenant| Some((tenant.name, &*tenant.snapshot.inventory.as_ref()?.data)))
}

fn clouds(tenants: &[TenantView<'_>], writer: &mut Writer) {
    let mut info = writer
        .family("flexvm_cloud_info", "Constant 1 for each cloud, with its name, site and bare-metal type.");
    for (tenant, data) in inventories(tenants) {
        for cloud in distinct_clouds(data) {
            let labels = [
                ("tenant", tenant),
                ("cloud_id", &*cloud.id),
                ("cloud", &cloud.name),
                ("site", &cloud.site),
                ("node_type", &cloud.node_type),
            ];
            info.sample(&labels, 1);
        }
    }
    let mut created =
        writer.family("flexvm_cloud_created_timestamp_seconds", "When the cloud was created, Unix time.");
    for (tenant, data) in inventories(tenants) {
        for cloud in distinct_clouds(data) {
            if let Some(at) = cloud.created_at {
                created.sample(&[("tenant", tenant), ("cloud_id", &cloud.id)], seconds(at));
            }
        }
    }
}

fn distinct_clouds(data: &InventoryData) -> impl Iterator<Item = &Cloud> {
    let mut seen = BTreeSet::new();
    data.clouds.iter().filter(move |cloud| seen.insert(&cloud.id))
}

fn distinct_nodes(data: &InventoryData) -> impl Iterator<Item = &Node> {
    let mut seen = BTreeSet::new();
    data.nodes.iter().filter(move |node| seen.insert((&node.cloud_id, &node.id)))
}

fn nodes(tenants: &[TenantView<'_>], writer: &mut Writer) {
    let mut info = writer
        .family("flexvm_node_info", "Constant 1 for each bare-metal node, with its name and serial number.");
    for (tenant, data) in inventories(tenants) {
        for node in distinct_nodes(data) {
            let labels = [
                ("tenant", tenant),
                ("cloud_id", &*node.cloud_id),
                ("node_id", &node.id),
                ("node", &node.name),
                ("serial", &node.serial),
            ];
            info.sample(&labels, 1);
        }
    }
    let mut status = writer.family(
        "flexvm_node_status",
        "1 for the node's current status, 0 for every other that is documented; a status that is not documented shows as 1 too.",
    );
    for (tenant, data) in inventories(tenants) {
        for node in distinct_nodes(data) {
            let known = NODE_STATUSES.iter().copied();
            let unknown = Some(&*node.status).filter(|status| !NODE_STATUSES.contains(status));
            for each in known.chain(unknown) {
                let labels = [
                    ("tenant", tenant),
                    ("cloud_id", &*node.cloud_id),
                    ("node_id", &node.id),
                    ("status", each),
                ];
                status.sample(&labels, (each == &*node.status).into());
            }
        }
    }
}

fn by_cloud(tenants: &[TenantView<'_>], writer: &mut Writer) {
    let mut family = writer.family(
        "flexvm_cloud_vms",
        "VMs of the cloud by status: every documented status of a VM that is not deleted, and those met that are not documented.",
    );
    for (tenant, data) in inventories(tenants) {
        let mut counts: BTreeMap<(&str, &VmStatus), u64> = BTreeMap::new();
        for cloud in &data.clouds {
            for status in &VmStatus::LIVING {
                counts.insert((&cloud.id, status), 0);
            }
        }
        for vm in &data.vms {
            *counts.entry((&vm.cloud_id, &vm.status)).or_default() += 1;
        }
        for ((cloud_id, status), count) in counts {
            family.sample(&[("tenant", tenant), ("cloud_id", cloud_id), ("status", status.as_str())], count);
        }
    }
    let mut family =
        writer.family("flexvm_cloud_instance_type_vms", "VMs of the cloud by instance type and status.");
    for (tenant, data) in inventories(tenants) {
        let mut counts: BTreeMap<(&str, &str, &VmStatus), u64> = BTreeMap::new();
        for vm in &data.vms {
            *counts.entry((&vm.cloud_id, &vm.instance_type, &vm.status)).or_default() += 1;
        }
        for ((cloud_id, instance_type, status), count) in counts {
            let labels = [
                ("tenant", tenant),
                ("cloud_id", cloud_id),
                ("instance_type", instance_type),
                ("status", status.as_str()),
            ];
            family.sample(&labels, count);
        }
    }
}

fn by_tag(tenants: &[TenantView<'_>], options: &Metrics, writer: &mut Writer) {
    let mut family = writer.family(
        "flexvm_tag_vms",
        "VMs by tag and status; a VM with two tags counts under both, so tags must not be added up.",
    );
    for tenant in tenants {
        let Some(section) = &tenant.snapshot.inventory else { continue };
        let chosen = tags::choose(tenant, options.max_tags).tags;
        let mut counts: BTreeMap<(&str, &VmStatus), u64> = BTreeMap::new();
        for vm in &section.data.vms {
            for tag in vm.tags.iter().filter(|tag| chosen.contains(*tag)) {
                *counts.entry((tag, &vm.status)).or_default() += 1;
            }
        }
        for ((tag, status), count) in counts {
            let labels = [
                ("tenant", tenant.name),
                ("tag", tag),
                ("tag_key", split_tag(tag).0),
                ("status", status.as_str()),
            ];
            family.sample(&labels, count);
        }
    }
}

/// Unix time in whole seconds; what lies before 1970 is no date of this API.
pub fn seconds(at: jiff::Timestamp) -> u64 {
    u64::try_from(at.as_second()).unwrap_or(0)
}

//! Clouds, nodes, and VMs by status; the series of single VMs are in `per_vm`.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::choice::Choice;
use super::writer::Writer;
use super::{TenantView, counts, distinct};
use crate::snapshot::{Cloud, InventoryData, NODE_STATUSES, Node, Vm, VmStatus, split_tag};

/// A tenant's inventory in which every id is met once, so that no series is written twice.
struct Inventory<'a> {
    tenant: &'a TenantView<'a>,
    clouds: Vec<&'a Cloud>,
    nodes: Vec<&'a Node>,
    /// See [`living`].
    vms: Vec<&'a Vm>,
    by_type: counts::ByType<'a>,
}

impl<'a> Inventory<'a> {
    fn of(tenant: &'a TenantView<'a>, data: &'a InventoryData) -> Self {
        let (vms, _) = living(data);
        Self {
            tenant,
            clouds: distinct(&data.clouds, |cloud| &cloud.id).collect(),
            nodes: distinct(&data.nodes, |node| &node.id).map(|node| &**node).collect(),
            by_type: counts::by_type(&vms),
            vms,
        }
    }
}

/// The VMs that are not deleted, each once, in the order of their ids, and since when each has been
/// seen in its status.
pub fn living(data: &InventoryData) -> (Vec<&Vm>, Vec<Option<Timestamp>>) {
    let since = data.status_since.iter().copied().chain(std::iter::repeat(None));
    let all = data.vms.iter().map(|vm| &**vm).zip(since);
    let mut vms: Vec<_> = all.filter(|(vm, _)| vm.status != VmStatus::Deleted).collect();
    // They come like this; but a wrong order must not decide whom `max_vms` leaves out.
    if !vms.is_sorted_by(|(a, _), (b, _)| a.id < b.id) {
        vms.sort_by(|(a, _), (b, _)| a.id.cmp(&b.id));
        vms.dedup_by(|(a, _), (b, _)| a.id == b.id);
    }
    vms.into_iter().unzip()
}

pub fn write(tenant: &TenantView<'_>, choice: &Choice, writer: &mut Writer) {
    let inventory = tenant.snapshot.inventory.as_ref();
    let inventory = inventory.map(|section| Inventory::of(tenant, &section.data));
    let inventories = inventory.as_slice();
    clouds(inventories, writer);
    nodes(inventories, writer);
    by_cloud(inventories, writer);
    by_tag(inventories, choice, writer);
}

fn clouds(inventories: &[Inventory<'_>], writer: &mut Writer) {
    let mut info = writer.family(
        "flexvm_cloud_info",
        "Constant 1 for each cloud, with its name, site and bare-metal type; to be joined on cloud_id.",
    );
    for each in inventories {
        for cloud in &each.clouds {
            let labels = [
                ("tenant", each.tenant.name),
                ("cloud_id", &*cloud.id),
                ("cloud", &*cloud.name),
                ("site", &*cloud.site),
                ("node_type", &*cloud.node_type),
            ];
            info.sample(&labels, 1);
        }
    }
    let mut created = writer.family(
        "flexvm_cloud_created_timestamp_seconds",
        "When the cloud was created, Unix time in seconds; absent where the API does not say.",
    );
    for each in inventories {
        for cloud in &each.clouds {
            if let Some(at) = cloud.created_at {
                created.sample(&[("tenant", each.tenant.name), ("cloud_id", &*cloud.id)], seconds(at));
            }
        }
    }
}

fn nodes(inventories: &[Inventory<'_>], writer: &mut Writer) {
    let mut info = writer.family(
        "flexvm_node_info",
        "Constant 1 for each bare-metal node, with its name and serial number; to be joined on node_id.",
    );
    for each in inventories {
        for node in &each.nodes {
            let labels = [
                ("tenant", each.tenant.name),
                ("cloud_id", &*node.cloud_id),
                ("node_id", &*node.id),
                ("node", &*node.name),
                ("serial", &*node.serial),
            ];
            info.sample(&labels, 1);
        }
    }
    let mut status = writer.family(
        "flexvm_node_status",
        "1 for the node's status as of the newest poll, 0 for every other documented one; \
         a status that is not documented is 1 beside seven times 0.",
    );
    for each in inventories {
        for node in &each.nodes {
            let now = &*node.status;
            let unknown = Some(now).filter(|now| !NODE_STATUSES.contains(now));
            for name in NODE_STATUSES.into_iter().chain(unknown) {
                let labels = [
                    ("tenant", each.tenant.name),
                    ("cloud_id", &*node.cloud_id),
                    ("node_id", &*node.id),
                    ("status", name),
                ];
                status.sample(&labels, (name == now).into());
            }
        }
    }
}

fn by_cloud(inventories: &[Inventory<'_>], writer: &mut Writer) {
    let mut family = writer.family(
        "flexvm_cloud_vms",
        "VMs of the cloud by status as of the newest poll: every documented status of a VM that is not deleted, \
         0 included, and those met that are not documented.",
    );
    for each in inventories {
        let mut counts: BTreeMap<(&str, &VmStatus), u64> = BTreeMap::new();
        for cloud in &each.clouds {
            counts.extend(VmStatus::LIVING.iter().map(|status| ((&*cloud.id, status), 0)));
        }
        for ((cloud_id, _, status), count) in &each.by_type {
            *counts.entry((*cloud_id, *status)).or_default() += count;
        }
        for ((cloud_id, status), count) in counts {
            let labels = [("tenant", each.tenant.name), ("cloud_id", cloud_id), ("status", status.as_str())];
            family.sample(&labels, count);
        }
    }
    let mut family = writer.family(
        "flexvm_cloud_instance_type_vms",
        "VMs of the cloud by instance type and status as of the newest poll; only combinations that exist.",
    );
    for each in inventories {
        for ((cloud_id, instance_type, status), count) in &each.by_type {
            let labels = [
                ("tenant", each.tenant.name),
                ("cloud_id", cloud_id),
                ("instance_type", instance_type),
                ("status", status.as_str()),
            ];
            family.sample(&labels, *count);
        }
    }
}

fn by_tag(inventories: &[Inventory<'_>], choice: &Choice, writer: &mut Writer) {
    let mut family = writer.family(
        "flexvm_tag_vms",
        "VMs by tag and status as of the newest poll; a VM with two tags counts under both, so tags must not be \
         added up. At most metrics.max_tags tags.",
    );
    for each in inventories {
        let by_tag = counts::by_tag(&each.vms);
        for (tag, statuses) in by_tag.iter().filter(|(tag, _)| choice.tags.keys.contains(**tag)) {
            for (status, count) in statuses {
                let labels = [
                    ("tenant", each.tenant.name),
                    ("tag", &***tag),
                    ("tag_key", split_tag(tag).0),
                    ("status", status.as_str()),
                ];
                family.sample(&labels, *count);
            }
        }
    }
}

/// Unix time in whole seconds; what lies before 1970 is no date of this API.
pub fn seconds(at: Timestamp) -> u64 {
    u64::try_from(at.as_second()).unwrap_or(0)
}

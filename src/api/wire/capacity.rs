//! Capacity and the catalogue: what there is and what can be made of it.
//!
//! A capacity figure that is out of range or unreadable is a defect: the figure is replaced or omitted,
//! and the rest of the response is used.

use std::collections::BTreeMap;

use super::compound::{List, Object};
use super::inventory::{cloud, identifier, present};
use super::row::row;
use super::time::Time;
use super::value::{Count, Str};
use super::{Context, Row};
use crate::snapshot::{Capacity, CloudCapacity, Image, InstanceType, Resource, Text};

/// Maximum number of MiB or GiB. The number of bytes of a larger size does not fit into 64 bits.
pub(super) const MAX_SIZE: u64 = u64::MAX >> 30;

row! {
    /// Capacity of the organisation.
    pub(super) struct CapacityRow {
        nodes: Count = "nodes",
        node_groups: List<Object<NodeGroup<'a>>> = "node_groups",
        resources: Object<Resources<'a>> = "resources",
    }
    skip {}
}

impl<'a> Row<'a, ()> for CapacityRow<'a> {
    type Domain = Capacity;

    const KIND: &'static str = "capacity";

    fn key(&self) -> Result<&str, String> {
        Ok("")
    }

    fn convert(&self, _: &str, (): &(), context: &mut Context<'_>) -> Result<Capacity, String> {
        let capacity = capacity("organisation", &self.nodes, &self.node_groups, &self.resources, context);
        let has_figures = |of: &Resource| of.total.or(of.in_use).or(of.available).is_some();
        // A body such as {"error": …} is not a capacity with defects.
        if capacity.nodes.is_none() && !has_figures(&capacity.vcpus) && !has_figures(&capacity.memory_mib) {
            return Err("nodes and resources cannot be read".to_owned());
        }
        Ok(capacity)
    }
}

/// Reads the capacity of `of`, which is the organisation or a cloud.
fn capacity(
    of: &str,
    nodes: &Count,
    node_groups: &List<Object<NodeGroup<'_>>>,
    resources: &Object<Resources<'_>>,
    context: &mut Context<'_>,
) -> Capacity {
    let absent = Resources::default();
    let mut has_unknown_devices = false;
    let resources = resources.needed("resources").unwrap_or_else(|what| {
        context.defect("resources", format_args!("{of}: {what}"));
        has_unknown_devices = true;
        &absent
    });
    let vcpu = ["resources.vcpu.total", "resources.vcpu.in_use", "resources.vcpu.available"];
    let memory = ["resources.memory.total", "resources.memory.in_use", "resources.memory.available"];
    Capacity {
        nodes: figure(of, "nodes", nodes, context),
        node_groups: groups(of, node_groups, context),
        vcpus: resource(of, "resources.vcpu", vcpu, &resources.vcpu, context),
        memory_mib: resource(of, "resources.memory", memory, &resources.memory, context),
        pci_devices: devices_by_class(of, resources, &mut has_unknown_devices, context),
        has_unknown_devices,
    }
}

/// Returns the number of nodes by type. Rows of the same type are summed, because a type has only one
/// series. A type with an unreadable number is omitted.
fn groups(of: &str, rows: &List<Object<NodeGroup<'_>>>, context: &mut Context<'_>) -> Vec<(Text, u64)> {
    let rows = rows.get("node_groups").unwrap_or_else(|what| {
        context.defect("node_groups", format_args!("{of}: {what}"));
        &[]
    });
    let mut groups: BTreeMap<Text, Option<u64>> = BTreeMap::new();
    for row in rows {
        let name = row
            .needed("node_groups")
            .and_then(|row| Ok((row, present(&row.instance_type, "instance_type")?)));
        let (row, node_type) = match name {
            Ok(read) => read,
            Err(what) => {
                context.defect("node_groups", format_args!("{of}: {what}"));
                continue;
            }
        };
        let quantity = figure(of, "node_groups.quantity", &row.quantity, context);
        let sum = groups.entry(context.word(node_type)).or_insert(Some(0));
        *sum = sum.zip(quantity).and_then(|(sum, quantity)| sum.checked_add(quantity));
    }
    groups.into_iter().filter_map(|(node_type, sum)| Some((node_type, sum?))).collect()
}

/// Returns the devices by class. A row without a readable class is omitted and sets `has_unknown`.
fn devices_by_class(
    of: &str,
    resources: &Resources<'_>,
    has_unknown: &mut bool,
    context: &mut Context<'_>,
) -> Vec<(Text, Resource)> {
    const FIELD: &str = "resources.pci_devices";
    const FIGURES: [&str; 3] =
        ["resources.pci_devices.total", "resources.pci_devices.in_use", "resources.pci_devices.available"];
    let mut devices: BTreeMap<Text, Resource> = BTreeMap::new();
    for list in [&resources.pci_devices, &resources.pci_devices_camel] {
        let rows = list.get(FIELD).unwrap_or_else(|what| {
            context.defect(FIELD, format_args!("{of}: {what}"));
            *has_unknown = true;
            &[]
        });
        for row in rows {
            let class = row.needed(FIELD).and_then(|row| Ok((row, present(&row.kind, "type")?)));
            let (row, class) = match class {
                Ok(read) => read,
                Err(what) => {
                    context.defect(FIELD, format_args!("{of}: {what}"));
                    *has_unknown = true;
                    continue;
                }
            };
            let row = amounts(of, FIGURES, [&row.total, &row.in_use, &row.available], context);
            devices.entry(context.word(class)).and_modify(|sum| *sum = sum.plus(row)).or_insert(row);
        }
    }
    devices.into_iter().collect()
}

fn resource(
    of: &str,
    field: &'static str,
    figures: [&'static str; 3],
    row: &Object<Amounts<'_>>,
    context: &mut Context<'_>,
) -> Resource {
    match row.needed(field) {
        Ok(row) => amounts(of, figures, [&row.total, &row.in_use, &row.available], context),
        Err(what) => {
            context.defect(field, format_args!("{of}: {what}"));
            Resource::default()
        }
    }
}

/// Reads the total, used and available amounts of a resource. After a node is lost, the used amount can
/// exceed the total. Then nothing is available, and some versions of the API report a negative
/// available amount. An available amount that exceeds the total contradicts the total, so it is
/// omitted.
fn amounts(
    of: &str,
    fields: [&'static str; 3],
    [total, in_use, available]: [&Count; 3],
    context: &mut Context<'_>,
) -> Resource {
    let [total_field, in_use_field, available_field] = fields;
    let total = figure(of, total_field, total, context);
    let in_use = figure(of, in_use_field, in_use, context);
    let available = if let Count::Negative(sent) = available {
        context.defect(available_field, format_args!("{of}: {available_field}: {sent} is negative"));
        Some(0)
    } else {
        figure(of, available_field, available, context)
    };
    let excess = available.zip(total).filter(|(available, total)| available > total);
    if let Some((sent, total)) = excess {
        context.defect(available_field, format_args!("{of}: {available_field}: {sent} of {total}"));
    }
    Resource { total, in_use, available: available.filter(|_| excess.is_none()) }
}

/// Returns a figure. If the figure is absent, not a whole number of 0 or more, or too large, counts a
/// defect and returns `None`.
fn figure(of: &str, field: &'static str, count: &Count, context: &mut Context<'_>) -> Option<u64> {
    match count.at_most(MAX_SIZE, field) {
        Ok(number) => Some(number),
        Err(what) => {
            context.defect(field, format_args!("{of}: {what}"));
            None
        }
    }
}

row! {
    struct NodeGroup {
        instance_type: Str<'a> = "instance_type",
        quantity: Count = "quantity",
    }
    skip {}
}

row! {
    struct Resources {
        vcpu: Object<Amounts<'a>> = "vcpu",
        memory: Object<Amounts<'a>> = "memory",
        pci_devices: List<Object<Device<'a>>> = "pci_devices",
        pci_devices_camel: List<Object<Device<'a>>> = "pciDevices",
    }
    skip {}
}

row! {
    struct Amounts {
        total: Count = "total",
        in_use: Count = "in_use",
        available: Count = "available",
    }
    skip {}
}

row! {
    struct Device {
        kind: Str<'a> = "type",
        total: Count = "total",
        in_use: Count = "in_use",
        available: Count = "available",
    }
    skip {}
}

row! {
    /// A cloud with its capacity, in one flat object.
    pub(super) struct CloudCapacityRow {
        id: Str<'a> = "id",
        name: Str<'a> = "name",
        site: Str<'a> = "site",
        instance_type: Str<'a> = "instance_type",
        created_at: Time = "created_at",
        created_at_camel: Time = "createdAt",
        nodes: Count = "nodes",
        node_groups: List<Object<NodeGroup<'a>>> = "node_groups",
        resources: Object<Resources<'a>> = "resources",
    }
    skip { "description" }
}

impl<'a> Row<'a, ()> for CloudCapacityRow<'a> {
    type Domain = CloudCapacity;

    const KIND: &'static str = "cloud";

    fn key(&self) -> Result<&str, String> {
        identifier(&self.id, "id")
    }

    fn convert(&self, id: &str, (): &(), context: &mut Context<'_>) -> Result<CloudCapacity, String> {
        let created = (&self.created_at, &self.created_at_camel);
        Ok(CloudCapacity {
            cloud: cloud(id, [&self.name, &self.site, &self.instance_type], created, context),
            capacity: capacity(
                &format!("cloud {id}"),
                &self.nodes,
                &self.node_groups,
                &self.resources,
                context,
            ),
        })
    }
}

row! {
    /// A VM size.
    pub(super) struct InstanceTypeRow {
        name: Str<'a> = "name",
        vcpu: Count = "vcpu",
        memory: Count = "memory",
        disk: Count = "disk",
        pci_devices: List<Object<DeviceSpec<'a>>> = "pciDevices",
        pci_devices_snake: List<Object<DeviceSpec<'a>>> = "pci_devices",
    }
    skip { "id" }
}

impl<'a> Row<'a, ()> for InstanceTypeRow<'a> {
    /// `None` if any figure of the size cannot be read, because a partly known size cannot be used.
    type Domain = Option<InstanceType>;

    const KIND: &'static str = "instance type";

    fn key(&self) -> Result<&str, String> {
        present(&self.name, "name")
    }

    fn convert(&self, name: &str, (): &(), context: &mut Context<'_>) -> Result<Self::Domain, String> {
        let of = format!("instance type {name}");
        let vcpus = figure(&of, "vcpu", &self.vcpu, context);
        let memory_mib = figure(&of, "memory", &self.memory, context);
        let disk_gib = figure(&of, "disk", &self.disk, context);
        let devices = match devices([&self.pci_devices, &self.pci_devices_snake]) {
            Ok(devices) => devices,
            Err(what) => {
                context.defect("pciDevices", format_args!("{of}: {what}"));
                return Ok(None);
            }
        };
        let (Some(vcpus), Some(memory_mib), Some(disk_gib)) = (vcpus, memory_mib, disk_gib) else {
            return Ok(None);
        };
        let shared = |(class, specification)| (context.word(class), context.word(specification));
        let pci_devices = devices.into_iter().map(shared).collect();
        Ok(Some(InstanceType { name: context.word(name), vcpus, memory_mib, disk_gib, pci_devices }))
    }
}

/// The class and the specification of each pass-through device, from the list under either of its names.
pub(super) fn devices<'a>(
    lists: [&'a List<Object<DeviceSpec<'a>>>; 2],
) -> Result<Vec<(&'a str, &'a str)>, String> {
    let [camel, snake] = lists.map(|list| list.get("pciDevices"));
    let (camel, snake) = (camel?, snake?);
    let device = |device: &'a Object<DeviceSpec<'a>>| {
        let device = device.needed("pciDevices")?;
        Ok((device.kind.get("type in pciDevices")?, device.spec.get("spec in pciDevices")?))
    };
    (if camel.is_empty() { snake } else { camel }).iter().map(device).collect()
}

row! {
    pub(super) struct DeviceSpec {
        kind: Str<'a> = "type",
        spec: Str<'a> = "spec",
    }
    skip {}
}

row! {
    /// An image.
    pub(super) struct ImageRow {
        name: Str<'a> = "name",
        os: Str<'a> = "os",
        os_type: Str<'a> = "os_type",
    }
    skip {}
}

impl<'a> Row<'a, ()> for ImageRow<'a> {
    type Domain = Image;

    const KIND: &'static str = "image";

    fn key(&self) -> Result<&str, String> {
        present(&self.name, "name")
    }

    fn convert(&self, name: &str, (): &(), context: &mut Context<'_>) -> Result<Image, String> {
        let of = format_args!("image {name}");
        Ok(Image {
            os: context.text(of, "os", &self.os),
            os_type: context.text(of, "os_type", &self.os_type),
            name: context.word(name),
        })
    }
}

//! Capacity and the catalogue: what there is and what can be made of it.

use std::collections::BTreeMap;

use super::compound::{List, Object};
use super::inventory::{cloud, identifier, present};
use super::row::row;
use super::time::Time;
use super::value::{Count, Str};
use super::{Context, Row};
use crate::snapshot::{Capacity, CloudCapacity, Image, InstanceType, Resource, Text};

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
        capacity(&self.nodes, &self.node_groups, &self.resources, context)
    }
}

fn capacity(
    nodes: &Count,
    node_groups: &List<Object<NodeGroup<'_>>>,
    resources: &Object<Resources<'_>>,
    context: &mut Context<'_>,
) -> Result<Capacity, String> {
    let resources = resources.needed("resources")?;
    // A kind that comes in two rows would be two series of one name: it is added up.
    let mut groups: BTreeMap<Text, u64> = BTreeMap::new();
    for group in node_groups.get("node_groups")? {
        let group = group.needed("node_groups")?;
        let node_type = context.word(present(&group.instance_type, "instance_type in node_groups")?);
        let sum = groups.entry(node_type).or_default();
        *sum = sum.saturating_add(group.quantity.get("quantity in node_groups")?);
    }
    let mut devices: BTreeMap<Text, Resource> = BTreeMap::new();
    let [snake, camel] =
        [&resources.pci_devices, &resources.pci_devices_camel].map(|list| list.get("pci_devices"));
    for device in snake?.iter().chain(camel?) {
        let device = device.needed("pci_devices")?;
        let class = context.word(present(&device.kind, "type in pci_devices")?);
        let sum = devices.entry(class).or_default();
        let row = amounts(&device.total, &device.in_use, &device.available)
            .map_err(|what| format!("pci_devices: {what}"))?;
        sum.total = sum.total.saturating_add(row.total);
        sum.in_use = sum.in_use.saturating_add(row.in_use);
        sum.available = sum.available.saturating_add(row.available);
    }
    let resource = |of: &Object<Amounts<'_>>, field: &str| {
        let of = of.needed(&format!("{field} in resources"))?;
        amounts(&of.total, &of.in_use, &of.available).map_err(|what| format!("{field}: {what}"))
    };
    Ok(Capacity {
        nodes: nodes.get("nodes")?,
        node_groups: groups.into_iter().collect(),
        vcpus: resource(&resources.vcpu, "vcpu")?,
        memory_mib: resource(&resources.memory, "memory")?,
        pci_devices: devices.into_iter().collect(),
    })
}

fn amounts(total: &Count, in_use: &Count, available: &Count) -> Result<Resource, String> {
    Ok(Resource {
        total: total.get("total")?,
        in_use: in_use.get("in_use")?,
        available: available.get("available")?,
    })
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
            cloud: cloud(id, [&self.name, &self.site, &self.instance_type], created, context)?,
            capacity: capacity(&self.nodes, &self.node_groups, &self.resources, context)?,
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
    type Domain = InstanceType;

    const KIND: &'static str = "instance type";

    fn key(&self) -> Result<&str, String> {
        present(&self.name, "name")
    }

    fn convert(&self, name: &str, (): &(), context: &mut Context<'_>) -> Result<InstanceType, String> {
        let devices = devices([&self.pci_devices, &self.pci_devices_snake])?;
        let shared = |(class, specification)| (context.word(class), context.word(specification));
        Ok(InstanceType {
            name: context.word(name),
            vcpus: self.vcpu.get("vcpu")?,
            memory_mib: self.memory.get("memory")?,
            disk_gib: self.disk.get("disk")?,
            pci_devices: devices.into_iter().map(shared).collect(),
        })
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
        Ok(Image {
            name: context.word(name),
            os: context.word(self.os.get("os")?),
            os_type: context.word(self.os_type.get("os_type")?),
        })
    }
}

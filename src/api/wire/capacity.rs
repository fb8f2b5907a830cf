//! Capacity and the catalogue: what there is and what can be made of it.

use std::collections::BTreeMap;

use super::inventory::{cloud, present};
use super::row::row;
use super::value::{Count, List, Str, Time};
use super::{Context, Row};
use crate::snapshot::{Capacity, CloudCapacity, Image, InstanceType, Resource, Text};

row! {
    /// Capacity of the organisation.
    pub(super) struct CapacityRow {
        nodes: Count = "nodes",
        node_groups: List<NodeGroup<'a>> = "node_groups",
        resources: Option<Resources<'a>> = "resources",
    }
    skip {}
}

impl<'a> Row<'a, ()> for CapacityRow<'a> {
    type Domain = Capacity;

    fn convert(self, (): &(), context: &mut Context<'_>) -> Result<Capacity, String> {
        capacity(self.nodes, self.node_groups, self.resources, context)
    }
}

fn capacity(
    nodes: Count,
    node_groups: List<NodeGroup<'_>>,
    resources: Option<Resources<'_>>,
    context: &mut Context<'_>,
) -> Result<Capacity, String> {
    let resources = resources.ok_or("no resources")?;
    // A kind that comes in two rows would be two series of one name: it is added up.
    let mut groups: BTreeMap<Text, u64> = BTreeMap::new();
    for group in node_groups.0 {
        let node_type = context.word(present(&group.instance_type, "instance_type in node_groups")?);
        let sum = groups.entry(node_type).or_default();
        *sum = sum.saturating_add(group.quantity.get("quantity in node_groups")?);
    }
    let mut devices: BTreeMap<Text, Resource> = BTreeMap::new();
    for device in resources.pci_devices.0.into_iter().chain(resources.pci_devices_camel.0) {
        let class = context.word(present(&device.kind, "type in pci_devices")?);
        let sum = devices.entry(class).or_default();
        let row = Amounts {
            total: device.total,
            in_use: device.in_use,
            available: device.available,
            ..Amounts::default()
        }
        .convert()?;
        sum.total = sum.total.saturating_add(row.total);
        sum.in_use = sum.in_use.saturating_add(row.in_use);
        sum.available = sum.available.saturating_add(row.available);
    }
    Ok(Capacity {
        nodes: nodes.get("nodes")?,
        node_groups: groups.into_iter().collect(),
        vcpus: resources.vcpu.ok_or("no vcpu in resources")?.convert()?,
        memory_mib: resources.memory.ok_or("no memory in resources")?.convert()?,
        pci_devices: devices.into_iter().collect(),
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
        vcpu: Option<Amounts<'a>> = "vcpu",
        memory: Option<Amounts<'a>> = "memory",
        pci_devices: List<Device<'a>> = "pci_devices",
        pci_devices_camel: List<Device<'a>> = "pciDevices",
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

impl Amounts<'_> {
    fn convert(self) -> Result<Resource, String> {
        Ok(Resource {
            total: self.total.get("total")?,
            in_use: self.in_use.get("in_use")?,
            available: self.available.get("available")?,
        })
    }
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
        node_groups: List<NodeGroup<'a>> = "node_groups",
        resources: Option<Resources<'a>> = "resources",
    }
    skip { "description" }
}

impl<'a> Row<'a, ()> for CloudCapacityRow<'a> {
    type Domain = CloudCapacity;

    fn convert(self, (): &(), context: &mut Context<'_>) -> Result<CloudCapacity, String> {
        let created = (self.created_at, self.created_at_camel);
        Ok(CloudCapacity {
            cloud: cloud([&self.id, &self.name, &self.site, &self.instance_type], created, context)?,
            capacity: capacity(self.nodes, self.node_groups, self.resources, context)?,
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
        pci_devices: List<DeviceSpec<'a>> = "pciDevices",
        pci_devices_snake: List<DeviceSpec<'a>> = "pci_devices",
    }
    skip { "id" }
}

impl<'a> Row<'a, ()> for InstanceTypeRow<'a> {
    type Domain = InstanceType;

    fn convert(self, (): &(), context: &mut Context<'_>) -> Result<InstanceType, String> {
        let devices = if self.pci_devices.0.is_empty() { self.pci_devices_snake } else { self.pci_devices };
        Ok(InstanceType {
            name: context.word(present(&self.name, "name")?),
            vcpus: self.vcpu.get("vcpu")?,
            memory_mib: self.memory.get("memory")?,
            disk_gib: self.disk.get("disk")?,
            pci_devices: devices
                .0
                .iter()
                .map(|device| (context.word(&device.kind), context.word(&device.spec)))
                .collect(),
        })
    }
}

row! {
    struct DeviceSpec {
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

    fn convert(self, (): &(), context: &mut Context<'_>) -> Result<Image, String> {
        Ok(Image {
            name: context.word(present(&self.name, "name")?),
            os: context.word(&self.os),
            os_type: context.word(&self.os_type),
        })
    }
}

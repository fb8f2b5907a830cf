//! Capacity and the catalogue: what there is and what can be made of it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::inventory::{CloudRow, present};
use super::value::{Count, List, Skim, Str, Time};
use super::{Context, Row};
use crate::snapshot::{Capacity, CloudCapacity, Image, InstanceType, Resource, Text};

/// Capacity of the organisation.
#[derive(Deserialize)]
pub(super) struct CapacityRow<'a> {
    nodes: Count,
    #[serde(borrow, default)]
    node_groups: List<NodeGroup<'a>>,
    #[serde(borrow)]
    resources: Resources<'a>,
}

impl<'de: 'a, 'a> Row<'de, ()> for CapacityRow<'a> {
    type Domain = Capacity;

    fn convert(self, (): &(), context: &mut Context<'_>) -> Result<Capacity, String> {
        // A kind that comes in two rows would be two series of one name: it is added up.
        let mut groups: BTreeMap<Text, u64> = BTreeMap::new();
        for group in self.node_groups.0 {
            let node_type = context.word(present(&group.instance_type, "instance_type in node_groups")?);
            let nodes = groups.entry(node_type).or_default();
            *nodes = nodes.saturating_add(group.quantity.0);
        }
        let mut devices: BTreeMap<Text, Resource> = BTreeMap::new();
        for device in self.resources.pci_devices.0.into_iter().chain(self.resources.pci_devices_camel.0) {
            let class = context.word(present(&device.kind, "type in pci_devices")?);
            let sum = devices.entry(class).or_default();
            sum.total = sum.total.saturating_add(device.total.0);
            sum.in_use = sum.in_use.saturating_add(device.in_use.0);
            sum.available = sum.available.saturating_add(device.available.0);
        }
        Ok(Capacity {
            nodes: self.nodes.0,
            node_groups: groups.into_iter().collect(),
            vcpus: self.resources.vcpu.into(),
            memory_mib: self.resources.memory.into(),
            pci_devices: devices.into_iter().collect(),
        })
    }
}

#[derive(Deserialize)]
struct NodeGroup<'a> {
    #[serde(borrow, default)]
    instance_type: Str<'a>,
    quantity: Count,
}

#[derive(Deserialize)]
struct Resources<'a> {
    vcpu: Amounts,
    memory: Amounts,
    #[serde(borrow, default)]
    pci_devices: List<Device<'a>>,
    #[serde(borrow, default, rename = "pciDevices")]
    pci_devices_camel: List<Device<'a>>,
}

#[derive(Deserialize)]
struct Amounts {
    total: Count,
    in_use: Count,
    available: Count,
}

impl From<Amounts> for Resource {
    fn from(Amounts { total, in_use, available }: Amounts) -> Self {
        Self { total: total.0, in_use: in_use.0, available: available.0 }
    }
}

#[derive(Deserialize)]
struct Device<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Str<'a>,
    total: Count,
    in_use: Count,
    available: Count,
}

/// A cloud with its capacity, in one flat object.
#[derive(Deserialize)]
pub(super) struct CloudCapacityRow<'a> {
    #[serde(borrow, default)]
    id: Str<'a>,
    #[serde(borrow, default)]
    name: Str<'a>,
    #[serde(borrow, default)]
    site: Str<'a>,
    #[serde(borrow, default)]
    instance_type: Str<'a>,
    #[serde(default)]
    created_at: Time,
    #[serde(default, rename = "createdAt")]
    created_at_camel: Time,
    #[serde(default, rename = "description")]
    _description: Skim,
    nodes: Count,
    #[serde(borrow, default)]
    node_groups: List<NodeGroup<'a>>,
    #[serde(borrow)]
    resources: Resources<'a>,
}

impl<'de: 'a, 'a> Row<'de, ()> for CloudCapacityRow<'a> {
    type Domain = CloudCapacity;

    fn convert(self, (): &(), context: &mut Context<'_>) -> Result<CloudCapacity, String> {
        let cloud = CloudRow {
            id: self.id,
            name: self.name,
            site: self.site,
            instance_type: self.instance_type,
            created_at: self.created_at,
            created_at_camel: self.created_at_camel,
            _description: Skim,
        };
        let capacity =
            CapacityRow { nodes: self.nodes, node_groups: self.node_groups, resources: self.resources };
        Ok(CloudCapacity { cloud: cloud.convert(&(), context)?, capacity: capacity.convert(&(), context)? })
    }
}

/// A VM size.
#[derive(Deserialize)]
pub(super) struct InstanceTypeRow<'a> {
    #[serde(borrow, default)]
    name: Str<'a>,
    vcpu: Count,
    memory: Count,
    disk: Count,
    #[serde(borrow, default, rename = "pciDevices")]
    pci_devices: List<DeviceSpec<'a>>,
    #[serde(borrow, default, rename = "pci_devices")]
    pci_devices_snake: List<DeviceSpec<'a>>,
    #[serde(default, rename = "id")]
    _id: Skim,
}

impl<'de: 'a, 'a> Row<'de, ()> for InstanceTypeRow<'a> {
    type Domain = InstanceType;

    fn convert(self, (): &(), context: &mut Context<'_>) -> Result<InstanceType, String> {
        let devices = if self.pci_devices.0.is_empty() { self.pci_devices_snake } else { self.pci_devices };
        Ok(InstanceType {
            name: context.word(present(&self.name, "name")?),
            vcpus: self.vcpu.0,
            memory_mib: self.memory.0,
            disk_gib: self.disk.0,
            pci_devices: devices
                .0
                .iter()
                .map(|device| (context.word(&device.kind), context.word(&device.spec)))
                .collect(),
        })
    }
}

#[derive(Deserialize)]
struct DeviceSpec<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Str<'a>,
    #[serde(borrow, default)]
    spec: Str<'a>,
}

/// An image.
#[derive(Deserialize)]
pub(super) struct ImageRow<'a> {
    #[serde(borrow, default)]
    name: Str<'a>,
    #[serde(borrow, default)]
    os: Str<'a>,
    #[serde(borrow, default)]
    os_type: Str<'a>,
}

impl<'de: 'a, 'a> Row<'de, ()> for ImageRow<'a> {
    type Domain = Image;

    fn convert(self, (): &(), context: &mut Context<'_>) -> Result<Image, String> {
        Ok(Image {
            name: context.word(present(&self.name, "name")?),
            os: context.word(&self.os),
            os_type: context.word(&self.os_type),
        })
    }
}

//! The JSON of the simulated API, written from its documentation, and how the world becomes it.
//!
//! Deliberately apart from the client's types: the two must be able to disagree. Absent values are omitted,
//! because the vendor's OpenAPI file allows null nowhere; the fault `null-values` sends null instead.

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::catalogue::{Amount, Image, Size};
use super::timeline::{NodeStatus, Second, VmStatus};
use super::world::{Vm, World};

/// A time as the API writes it, `2026-06-01T12:45:14Z`.
pub(super) fn time(at: Second) -> String {
    Timestamp::from_second(at).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

#[derive(Serialize)]
pub(super) struct Cloud<'a> {
    id: Uuid,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    site: &'a str,
    instance_type: &'a str,
    created_at: String,
}

#[derive(Serialize)]
pub(super) struct Node<'a> {
    cloud: Cloud<'a>,
    id: Uuid,
    name: &'a str,
    serial: &'a str,
    status: &'a str,
}

#[derive(Serialize)]
pub(super) struct Device<'a> {
    r#type: &'a str,
    spec: &'a str,
}

#[derive(Serialize)]
pub(super) struct InstanceType<'a> {
    id: &'a str,
    name: &'a str,
    vcpu: u64,
    memory: u64,
    disk: u64,
    #[serde(rename = "pciDevices")]
    pci_devices: Vec<Device<'a>>,
}

#[derive(Serialize)]
pub(super) struct ImageOut<'a> {
    name: &'a str,
    os: &'a str,
    os_type: &'a str,
}

#[derive(Serialize)]
pub(super) struct Address {
    address: String,
    public: bool,
}

#[derive(Serialize)]
pub(super) struct VmOut<'a> {
    id: Uuid,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    instance_type: InstanceType<'a>,
    image: ImageOut<'a>,
    status: &'a str,
    ips: Vec<Address>,
    cloud: Cloud<'a>,
    /// The documentation requires it for every VM.
    node: Node<'a>,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<String>,
    tags: &'a [String],
}

#[derive(Serialize)]
pub(super) struct Resource {
    total: u64,
    in_use: u64,
    available: u64,
}

#[derive(Serialize)]
pub(super) struct Devices {
    r#type: &'static str,
    #[serde(flatten)]
    count: Resource,
}

#[derive(Serialize)]
pub(super) struct Resources {
    vcpu: Resource,
    memory: Resource,
    pci_devices: Vec<Devices>,
}

#[derive(Serialize)]
pub(super) struct NodeGroup {
    instance_type: &'static str,
    quantity: usize,
}

#[derive(Serialize)]
pub(super) struct Capacity {
    nodes: usize,
    node_groups: Vec<NodeGroup>,
    resources: Resources,
}

#[derive(Serialize)]
pub(super) struct CloudCapacity<'a> {
    #[serde(flatten)]
    cloud: Cloud<'a>,
    #[serde(flatten)]
    capacity: Capacity,
}

impl Resource {
    fn new(total: u64, in_use: u64) -> Self {
        Self { total, in_use, available: total - in_use }
    }
}

impl<'a> From<&'a Size> for InstanceType<'a> {
    fn from(size: &'a Size) -> Self {
        let pci_devices = size.devices.iter().map(|(kind, spec)| Device { r#type: kind, spec }).collect();
        let (vcpu, memory) = (size.need.vcpu, size.need.memory_mb);
        Self { id: size.id, name: size.name, vcpu, memory, disk: size.disk_gb, pci_devices }
    }
}

impl<'a> From<&'a Image> for ImageOut<'a> {
    fn from(image: &'a Image) -> Self {
        Self { name: image.name, os: image.os, os_type: image.os_type }
    }
}

impl World {
    pub(super) fn cloud_out(&self, cloud: usize) -> Cloud<'_> {
        let cloud = &self.clouds[cloud];
        Cloud {
            id: cloud.id,
            name: &cloud.name,
            description: cloud.description.as_deref(),
            site: cloud.site,
            instance_type: cloud.hardware().name,
            created_at: time(cloud.created),
        }
    }

    pub(super) fn node_out(&self, node: usize) -> Node<'_> {
        let status = self.node_status(node).word();
        let node = &self.nodes[node];
        Node {
            cloud: self.cloud_out(node.cloud),
            id: node.id,
            name: &node.name,
            serial: &node.serial,
            status,
        }
    }

    pub(super) fn vm_out(&self, index: usize) -> VmOut<'_> {
        let (vm, status) = (&self.vms[index], self.vm_status(index));
        let has_no_address = matches!(status, VmStatus::Provisioning | VmStatus::Deleted);
        VmOut {
            id: vm.id,
            name: &vm.name,
            description: vm.description.as_deref(),
            instance_type: vm.size().into(),
            image: vm.image().into(),
            status: status.word(),
            ips: if has_no_address { Vec::new() } else { addresses(index, vm) },
            cloud: self.cloud_out(vm.cloud),
            node: self.node_out(vm.node),
            created_at: time(vm.created),
            deleted_at: vm.deleted.filter(|_| status == VmStatus::Deleted).map(time),
            tags: &vm.tags,
        }
    }

    /// What `clouds` have together. Only running nodes count as capacity; all count as nodes.
    pub(super) fn capacity_of(&self, clouds: &[usize]) -> Capacity {
        let (mut total, mut used) = (Amount::default(), Amount::default());
        let mut node_groups: Vec<NodeGroup> = Vec::new();
        for cloud in clouds {
            let hardware = self.clouds[*cloud].hardware();
            let quantity = self.nodes_of(*cloud).count();
            match node_groups.iter_mut().find(|group| group.instance_type == hardware.name) {
                Some(group) => group.quantity += quantity,
                None if quantity > 0 => {
                    node_groups.push(NodeGroup { instance_type: hardware.name, quantity });
                }
                None => {}
            }
            for node in self.nodes_of(*cloud).filter(|node| self.node_status(*node) == NodeStatus::Running) {
                total += hardware.total;
                used += self.nodes[node].used;
            }
        }
        let devices = [("gpu", total.gpu, used.gpu), ("nvme", total.nvme, used.nvme)];
        Capacity {
            nodes: node_groups.iter().map(|group| group.quantity).sum(),
            node_groups,
            resources: Resources {
                vcpu: Resource::new(total.vcpu, used.vcpu),
                memory: Resource::new(total.memory_mb, used.memory_mb),
                pci_devices: devices
                    .into_iter()
                    .filter(|(_, total, _)| *total > 0)
                    .map(|(r#type, total, used)| Devices { r#type, count: Resource::new(total, used) })
                    .collect(),
            },
        }
    }

    pub(super) fn cloud_capacity_out(&self, cloud: usize) -> CloudCapacity<'_> {
        CloudCapacity { cloud: self.cloud_out(cloud), capacity: self.capacity_of(&[cloud]) }
    }
}

/// A private address for every VM; a public one (of the range kept for benchmarks) for every third
/// one, and one of IPv6 (of the range kept for documentation) for every fifth.
fn addresses(index: usize, vm: &Vm) -> Vec<Address> {
    let [.., c, b, a] = index.to_be_bytes();
    let mut addresses = vec![Address { address: format!("10.{c}.{b}.{a}"), public: false }];
    if index.is_multiple_of(3) {
        addresses.push(Address { address: format!("198.{}.{b}.{a}", 18 + (c & 1)), public: true });
    }
    if index.is_multiple_of(5) {
        addresses.push(Address { address: format!("2001:db8:{:x}::{index:x}", vm.cloud), public: true });
    }
    addresses
}

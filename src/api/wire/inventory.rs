//! Clouds, nodes and VMs.

use super::row::row;
use super::size::{GpuCount, SoftCount};
use super::value::{Alone, Flag, List, Nested, Str, Tags, Time};
use super::{Context, Row};
use crate::snapshot::{Cloud, IpAddress, Node, Text, Vm, VmSize, VmStatus};

row! {
    /// A cloud.
    pub(super) struct CloudRow {
        id: Str<'a> = "id",
        name: Str<'a> = "name",
        site: Str<'a> = "site",
        instance_type: Str<'a> = "instance_type",
        created_at: Time = "created_at",
        created_at_camel: Time = "createdAt",
    }
    skip { "description" }
}

impl<'a> Row<'a, ()> for CloudRow<'a> {
    type Domain = Cloud;

    fn convert(self, (): &(), context: &mut Context<'_>) -> Result<Cloud, String> {
        let created = (self.created_at, self.created_at_camel);
        cloud([&self.id, &self.name, &self.site, &self.instance_type], created, context)
    }
}

/// A cloud from its id, name, site and instance type, and its creation under either name.
pub(super) fn cloud(
    [id, name, site, node_type]: [&str; 4],
    created: (Time, Time),
    context: &mut Context<'_>,
) -> Result<Cloud, String> {
    let id = present(id, "id")?;
    Ok(Cloud {
        created_at: context.time(&format_args!("cloud {id}, created_at"), created.0, created.1),
        id: context.word(id),
        name: context.word(name),
        site: context.word(site),
        node_type: context.word(node_type),
    })
}

row! {
    /// A node. The cloud in it is only skimmed: it is the one that was asked.
    pub(super) struct NodeRow {
        id: Str<'a> = "id",
        name: Str<'a> = "name",
        serial: Str<'a> = "serial",
        status: Str<'a> = "status",
        cloud: Nested<SkimmedCloud<'a>> = "cloud",
    }
    skip {}
}

impl<'a> Row<'a, Text> for NodeRow<'a> {
    type Domain = Node;

    fn convert(self, cloud_id: &Text, context: &mut Context<'_>) -> Result<Node, String> {
        Ok(Node {
            id: context.word(present(&self.id, "id")?),
            cloud_id: cloud_id.clone(),
            name: context.word(&self.name),
            serial: context.word(&self.serial),
            status: context.word(if self.status.is_empty() { "unknown" } else { &self.status }),
        })
    }
}

row! {
    /// A VM.
    pub(super) struct VmRow {
        id: Str<'a> = "id",
        name: Str<'a> = "name",
        instance_type: Nested<NamedType<'a>> = "instance_type",
        image: Nested<NamedImage<'a>> = "image",
        status: Str<'a> = "status",
        ips: List<Ip<'a>> = "ips",
        node: Nested<HostNode<'a>> = "node",
        created_at: Time = "created_at",
        created_at_camel: Time = "createdAt",
        deleted_at: Time = "deleted_at",
        deleted_at_camel: Time = "deletedAt",
        tags: Tags<'a> = "tags",
        cloud: Nested<SkimmedCloud<'a>> = "cloud",
    }
    skip { "description" }
}

/// Known: the cloud, and the status that was asked for, if VMs were asked for by status.
impl<'a> Row<'a, (Text, Option<VmStatus>)> for VmRow<'a> {
    type Domain = Vm;

    fn convert(self, known: &(Text, Option<VmStatus>), context: &mut Context<'_>) -> Result<Vm, String> {
        let id = present(&self.id, "id")?;
        let (cloud_id, asked) = known;
        let status = match asked {
            Some(asked) if self.status.is_empty() || asked.as_str() == &*self.status => asked.clone(),
            _ => VmStatus::from_api(present(&self.status, "status")?),
        };
        let instance_type = self.instance_type.0.unwrap_or_default();
        let ips = self.ips.0.into_iter().filter(|ip| !ip.address.is_empty());
        Ok(Vm {
            created_at: context.time(
                &format_args!("VM {id}, created_at"),
                self.created_at,
                self.created_at_camel,
            ),
            deleted_at: context.time(
                &format_args!("VM {id}, deleted_at"),
                self.deleted_at,
                self.deleted_at_camel,
            ),
            id: id.into(),
            cloud_id: cloud_id.clone(),
            name: (&*self.name).into(),
            size: instance_type.size(),
            instance_type: context.word(&instance_type.name),
            image: context.word(&self.image.0.unwrap_or_default().name),
            status,
            node_id: self.node.0.filter(|node| !node.id.is_empty()).map(|node| context.word(&node.id)),
            ips: ips.map(|ip| IpAddress { address: (&*ip.address).into(), public: ip.public.0 }).collect(),
            tags: context.texts.tags(&self.tags),
        })
    }
}

/// A key that no row can be without.
pub(super) fn present<'a>(text: &'a str, field: &str) -> Result<&'a str, String> {
    if text.is_empty() { Err(format!("no {field}")) } else { Ok(text) }
}

row! {
    /// An instance type within a VM: its name and its size.
    struct NamedType {
        name: Str<'a> = "name",
        vcpu: SoftCount = "vcpu",
        memory: SoftCount = "memory",
        gpus: GpuCount = "pciDevices",
        gpus_snake: GpuCount = "pci_devices",
    }
    skip { "id", "disk" }
}

impl NamedType<'_> {
    /// The size; `None` if the object lacks a part of it, or a part cannot be read.
    fn size(&self) -> Option<VmSize> {
        let gpus = self.gpus.0?.max(self.gpus_snake.0?);
        Some(VmSize { vcpus: self.vcpu.0?, memory_mib: self.memory.0?, gpus })
    }
}

impl Alone for NamedType<'_> {
    fn alone(text: String) -> Self {
        Self { name: Str(text.into()), ..Self::default() }
    }
}

row! {
    /// An image within a VM.
    struct NamedImage {
        name: Str<'a> = "name",
    }
    skip { "os", "os_type" }
}

impl Alone for NamedImage<'_> {
    fn alone(text: String) -> Self {
        Self { name: Str(text.into()), ..Self::default() }
    }
}

row! {
    /// The node that hosts a VM.
    struct HostNode {
        id: Str<'a> = "id",
        cloud: Nested<SkimmedCloud<'a>> = "cloud",
    }
    skip { "name", "serial", "status" }
}

impl Alone for HostNode<'_> {
    fn alone(text: String) -> Self {
        Self { id: Str(text.into()), ..Self::default() }
    }
}

row! {
    /// A cloud within a node or VM.
    struct SkimmedCloud {
    }
    skip { "id", "name", "description", "site", "instance_type", "created_at", "createdAt" }
}

impl Alone for SkimmedCloud<'_> {
    fn alone(_: String) -> Self {
        Self::default()
    }
}

row! {
    /// An address; written alone it is not known to be public.
    struct Ip {
        address: Str<'a> = "address",
        public: Flag = "public",
    }
    skip {}
}

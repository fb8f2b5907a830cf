//! Clouds, nodes and VMs.
//!
//! A row without a readable id or status is an error, because the id identifies the object and the
//! status determines its use. Any other value that cannot be read is a defect: the value is omitted,
//! and the row is used.

use std::fmt;
use std::sync::Arc;

use super::capacity::{DeviceSpec, MAX_SIZE, devices};
use super::compound::{Alone, List, Nested, Object};
use super::row::row;
use super::time::Time;
use super::value::{Count, Flag, Str};
use super::{Context, MAX_KEY, Row};
use crate::snapshot::{Cloud, GPU, IpAddress, Node, Text, Vm, VmSize, VmStatus};
use crate::text::{has_replacement, one_line};

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

    const KIND: &'static str = "cloud";

    fn key(&self) -> Result<&str, String> {
        identifier(&self.id, "id")
    }

    fn convert(&self, id: &str, (): &(), context: &mut Context<'_>) -> Result<Cloud, String> {
        let created = (&self.created_at, &self.created_at_camel);
        Ok(cloud(id, [&self.name, &self.site, &self.instance_type], created, context))
    }
}

/// A cloud from its id, its name, site and instance type, and its creation under either name.
pub(super) fn cloud(
    id: &str,
    [name, site, node_type]: [&Str<'_>; 3],
    created: (&Time, &Time),
    context: &mut Context<'_>,
) -> Cloud {
    let of = format_args!("cloud {id}");
    Cloud {
        created_at: context.time(of, "created_at", [created.0, created.1]),
        id: context.own_id(id),
        name: context.text(of, "name", name),
        site: context.text(of, "site", site),
        node_type: context.text(of, "instance_type", node_type),
    }
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

    const KIND: &'static str = "node";

    fn key(&self) -> Result<&str, String> {
        identifier(&self.id, "id")
    }

    fn convert(&self, id: &str, cloud_id: &Text, context: &mut Context<'_>) -> Result<Node, String> {
        let of = format_args!("node {id}");
        let status = context.text(of, "status", &self.status);
        Ok(Node {
            id: context.own_id(id),
            cloud_id: cloud_id.clone(),
            name: context.text(of, "name", &self.name),
            serial: context.text(of, "serial", &self.serial),
            status: if status.is_empty() { context.word("unknown") } else { status },
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
        ips: List<Object<Ip<'a>>> = "ips",
        node: Nested<HostNode<'a>> = "node",
        created_at: Time = "created_at",
        created_at_camel: Time = "createdAt",
        deleted_at: Time = "deleted_at",
        deleted_at_camel: Time = "deletedAt",
        tags: List<Str<'a>> = "tags",
        cloud: Nested<SkimmedCloud<'a>> = "cloud",
    }
    skip { "description" }
}

/// Known: the cloud, and the status that was asked for, if VMs were asked for by status.
impl<'a> Row<'a, (Text, Option<VmStatus>)> for VmRow<'a> {
    type Domain = Vm;

    const KIND: &'static str = "VM";

    fn key(&self) -> Result<&str, String> {
        identifier(&self.id, "id")
    }

    fn convert(
        &self,
        id: &str,
        (cloud_id, asked): &(Text, Option<VmStatus>),
        context: &mut Context<'_>,
    ) -> Result<Vm, String> {
        let of = format_args!("VM {id}");
        let status = match (asked, context.plain(of, "status", &self.status)) {
            (Some(asked), status) if status.is_empty() || asked.as_str() == status => asked.clone(),
            (_, "") => return Err("no status that can be read".to_owned()),
            (_, status) => VmStatus::from_api(status),
        };
        let instance_type = context.optional(of, self.instance_type.0.get("instance_type"), "instance_type");
        let image = context.optional(of, self.image.0.get("image"), "image");
        let node_id = context.optional(of, self.node_id(), "node");
        let absent = Str::default();
        let type_name = instance_type.map_or(&absent, |of| &of.name);
        let image_name = image.map_or(&absent, |image| &image.name);
        Ok(Vm {
            created_at: context.time(of, "created_at", [&self.created_at, &self.created_at_camel]),
            deleted_at: context.time(of, "deleted_at", [&self.deleted_at, &self.deleted_at_camel]),
            id: context.own_id(id),
            cloud_id: cloud_id.clone(),
            name: context.plain(of, "name", &self.name).into(),
            size: instance_type.and_then(NamedType::size),
            instance_type: context.text(of, "instance_type", type_name),
            image: context.text(of, "image", image_name),
            status,
            node_id: node_id.map(|id| context.word(&context.id(id))),
            ips: addresses(of, &self.ips, context),
            tags: tags(of, &self.tags, context),
        })
    }
}

impl VmRow<'_> {
    /// Returns the id of the node that hosts the VM; `None` if no node hosts it.
    fn node_id(&self) -> Result<Option<&str>, String> {
        let Some(node) = self.node.0.get("node")? else { return Ok(None) };
        let id = valid(node.id.get("id in node")?, "id in node")?;
        Ok((!id.is_empty()).then_some(id))
    }
}

/// Returns the addresses of a VM, without empty ones. An address is omitted if it cannot be read, or if
/// it is unknown whether the address is public.
fn addresses<C: FromIterator<IpAddress>>(
    of: fmt::Arguments<'_>,
    ips: &List<Object<Ip<'_>>>,
    context: &mut Context<'_>,
) -> C {
    let address = |ip: &Object<Ip<'_>>| {
        let ip = ip.needed("ips")?;
        let address = ip.address.get("address in ips")?;
        let public = ip.public.get("public in ips")?;
        Ok((!address.is_empty()).then(|| IpAddress { address: address.into(), public }))
    };
    let ips = context.optional(of, ips.get("ips").map(Some), "ips").unwrap_or_default();
    ips.iter().filter_map(|ip| context.optional(of, address(ip), "ips")).collect()
}

/// Returns the tags of a VM. A tag that cannot be read is omitted.
fn tags(of: fmt::Arguments<'_>, tags: &List<Str<'_>>, context: &mut Context<'_>) -> Arc<[Text]> {
    let tags = context.optional(of, tags.get("tags").map(Some), "tags").unwrap_or_default();
    let mut readable = Vec::with_capacity(tags.len());
    for tag in tags {
        readable.extend(context.optional(of, tag.get("tags").map(Some), "tags"));
    }
    context.texts.tags(readable.into_iter())
}

/// A text that no row can be without.
pub(super) fn present<'a>(text: &'a Str<'_>, field: &str) -> Result<&'a str, String> {
    match text.get(field)? {
        "" => Err(format!("no {field}")),
        text => Ok(text),
    }
}

/// An id that no row can be without.
pub(super) fn identifier<'a>(id: &'a Str<'_>, field: &str) -> Result<&'a str, String> {
    valid(present(id, field)?, field)
}

/// An id as it is. An id with U+FFFD is refused: it could stand for another id.
pub(super) fn valid<'a>(id: &'a str, field: &str) -> Result<&'a str, String> {
    if has_replacement(id) {
        return Err(format!("{field}: {:?} is not valid Unicode", one_line(id, MAX_KEY)));
    }
    Ok(id)
}

row! {
    /// An instance type within a VM: its name and its size.
    struct NamedType {
        name: Str<'a> = "name",
        vcpu: Count = "vcpu",
        memory: Count = "memory",
        pci_devices: List<Object<DeviceSpec<'a>>> = "pciDevices",
        pci_devices_snake: List<Object<DeviceSpec<'a>>> = "pci_devices",
    }
    skip { "id", "disk" }
}

impl NamedType<'_> {
    /// The size; `None` if the object lacks a part of it, or a part cannot be read. The list of VMs does
    /// not depend on it.
    fn size(&self) -> Option<VmSize> {
        let mut gpus = 0;
        for (class, _) in devices([&self.pci_devices, &self.pci_devices_snake]).ok()? {
            match class {
                "" => return None,
                GPU => gpus += 1,
                _ => {}
            }
        }
        let [vcpus, memory_mib] =
            [self.vcpu.at_most(MAX_SIZE, "vcpu").ok()?, self.memory.at_most(MAX_SIZE, "memory").ok()?];
        Some(VmSize { vcpus, memory_mib, gpus })
    }
}

impl<'a> Alone<'a> for NamedType<'a> {
    fn alone(text: Str<'a>) -> Self {
        Self { name: text, ..Self::default() }
    }
}

row! {
    /// An image within a VM.
    struct NamedImage {
        name: Str<'a> = "name",
    }
    skip { "os", "os_type" }
}

impl<'a> Alone<'a> for NamedImage<'a> {
    fn alone(text: Str<'a>) -> Self {
        Self { name: text, ..Self::default() }
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

impl<'a> Alone<'a> for HostNode<'a> {
    fn alone(text: Str<'a>) -> Self {
        Self { id: text, ..Self::default() }
    }
}

row! {
    /// A cloud within a node or VM.
    struct SkimmedCloud {
    }
    skip { "id", "name", "description", "site", "instance_type", "created_at", "createdAt" }
}

impl<'a> Alone<'a> for SkimmedCloud<'a> {
    fn alone(_: Str<'a>) -> Self {
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

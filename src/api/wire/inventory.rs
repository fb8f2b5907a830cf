//! Clouds, nodes and VMs.

use serde::Deserialize;

use super::value::{Alone, Flag, List, Nested, Skim, Str, Tags, Time};
use super::{Context, Row};
use crate::snapshot::{Cloud, IpAddress, Node, Text, Vm, VmStatus};

/// A cloud.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
pub(super) struct CloudRow<'a> {
    #[serde(borrow)]
    pub id: Str<'a>,
    #[serde(borrow)]
    pub name: Str<'a>,
    #[serde(borrow)]
    pub site: Str<'a>,
    #[serde(borrow)]
    pub instance_type: Str<'a>,
    pub created_at: Time,
    #[serde(rename = "createdAt")]
    pub created_at_camel: Time,
    #[serde(rename = "description")]
    pub _description: Skim,
}

impl<'de: 'a, 'a> Row<'de, ()> for CloudRow<'a> {
    type Domain = Cloud;

    fn convert(self, (): &(), context: &mut Context<'_>) -> Result<Cloud, String> {
        let id = present(&self.id, "id")?;
        Ok(Cloud {
            created_at: context.time(
                &format_args!("cloud {id}, created_at"),
                self.created_at,
                self.created_at_camel,
            ),
            id: context.word(id),
            name: context.word(&self.name),
            site: context.word(&self.site),
            node_type: context.word(&self.instance_type),
        })
    }
}

/// A node. The cloud in it is only skimmed: it is the one that was asked.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct NodeRow<'a> {
    #[serde(borrow)]
    id: Str<'a>,
    #[serde(borrow)]
    name: Str<'a>,
    #[serde(borrow)]
    serial: Str<'a>,
    #[serde(borrow)]
    status: Str<'a>,
    #[serde(rename = "cloud")]
    _cloud: Nested<SkimmedCloud>,
}

impl<'de: 'a, 'a> Row<'de, Text> for NodeRow<'a> {
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

/// A VM.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct VmRow<'a> {
    #[serde(borrow)]
    id: Str<'a>,
    #[serde(borrow)]
    name: Str<'a>,
    #[serde(borrow)]
    instance_type: Nested<NamedType<'a>>,
    #[serde(borrow)]
    image: Nested<NamedImage<'a>>,
    #[serde(borrow)]
    status: Str<'a>,
    #[serde(borrow)]
    ips: List<Ip<'a>>,
    #[serde(borrow)]
    node: Nested<HostNode<'a>>,
    created_at: Time,
    #[serde(rename = "createdAt")]
    created_at_camel: Time,
    deleted_at: Time,
    #[serde(rename = "deletedAt")]
    deleted_at_camel: Time,
    #[serde(borrow)]
    tags: Tags<'a>,
    #[serde(rename = "cloud")]
    _cloud: Nested<SkimmedCloud>,
    #[serde(rename = "description")]
    _description: Skim,
}

/// Known: the cloud, and the status that was asked for, if VMs were asked for by status.
impl<'de: 'a, 'a> Row<'de, (Text, Option<VmStatus>)> for VmRow<'a> {
    type Domain = Vm;

    fn convert(self, known: &(Text, Option<VmStatus>), context: &mut Context<'_>) -> Result<Vm, String> {
        let id = present(&self.id, "id")?;
        let (cloud_id, asked) = known;
        let status = match asked {
            Some(asked) if self.status.is_empty() || asked.as_str() == &*self.status => asked.clone(),
            _ => VmStatus::from_api(present(&self.status, "status")?),
        };
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
            instance_type: context.word(&self.instance_type.0.unwrap_or_default().name),
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

/// An instance type within a VM: only its name counts here.
#[derive(Default, Deserialize)]
#[serde(default)]
struct NamedType<'a> {
    #[serde(borrow)]
    name: Str<'a>,
    #[serde(rename = "id")]
    _id: Skim,
    #[serde(rename = "vcpu")]
    _vcpu: Skim,
    #[serde(rename = "memory")]
    _memory: Skim,
    #[serde(rename = "disk")]
    _disk: Skim,
    #[serde(rename = "pciDevices")]
    _pci_devices: Skim,
    #[serde(rename = "pci_devices")]
    _pci_devices_snake: Skim,
}

impl Alone for NamedType<'_> {
    fn alone(text: String) -> Self {
        Self { name: Str(text.into()), ..Self::default() }
    }
}

/// An image within a VM.
#[derive(Default, Deserialize)]
#[serde(default)]
struct NamedImage<'a> {
    #[serde(borrow)]
    name: Str<'a>,
    #[serde(rename = "os")]
    _os: Skim,
    #[serde(rename = "os_type")]
    _os_type: Skim,
}

impl Alone for NamedImage<'_> {
    fn alone(text: String) -> Self {
        Self { name: Str(text.into()), ..Self::default() }
    }
}

/// The node that hosts a VM.
#[derive(Default, Deserialize)]
#[serde(default)]
struct HostNode<'a> {
    #[serde(borrow)]
    id: Str<'a>,
    #[serde(rename = "name")]
    _name: Skim,
    #[serde(rename = "serial")]
    _serial: Skim,
    #[serde(rename = "status")]
    _status: Skim,
    #[serde(rename = "cloud")]
    _cloud: Nested<SkimmedCloud>,
}

impl Alone for HostNode<'_> {
    fn alone(text: String) -> Self {
        Self { id: Str(text.into()), ..Self::default() }
    }
}

/// A cloud within a node or VM.
#[derive(Default, Deserialize)]
#[serde(default)]
struct SkimmedCloud {
    #[serde(rename = "id")]
    _id: Skim,
    #[serde(rename = "name")]
    _name: Skim,
    #[serde(rename = "description")]
    _description: Skim,
    #[serde(rename = "site")]
    _site: Skim,
    #[serde(rename = "instance_type")]
    _instance_type: Skim,
    #[serde(rename = "created_at")]
    _created_at: Skim,
    #[serde(rename = "createdAt")]
    _created_at_camel: Skim,
}

impl Alone for SkimmedCloud {
    fn alone(_: String) -> Self {
        Self::default()
    }
}

/// An address; written alone it is not known to be public.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Ip<'a> {
    #[serde(borrow)]
    address: Str<'a>,
    public: Flag,
}

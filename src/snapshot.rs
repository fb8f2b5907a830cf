//! The domain: what one tenant's FlexVM organisation looked like when it was last read.
//!
//! Filled by `poll` from what `api` returns; read by `exposition`, `report` and the pages. Pure:
//! no I/O and no clock. Text that repeats (ids of clouds, instance types, images, tags) is shared.

mod monthly;

pub use monthly::{MonthlyReport, ProviderTotals, ReportCloud, ReportTag, ReportVm};

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::usage::PeriodUsage;

/// Text shared between the many rows that repeat it.
pub type Text = Arc<str>;

/// A pool of bare-metal nodes at one site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cloud {
    /// Cloud UUID.
    pub id: Text,
    /// Free-form name.
    pub name: Text,
    /// Site code, such as `frmtl1`; an open set.
    pub site: Text,
    /// Bare-metal type that all nodes of the cloud share (the API's `instance_type` of a cloud).
    pub node_type: Text,
    /// When it was created, if the API said so.
    pub created_at: Option<Timestamp>,
}

/// A physical host of a cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Node UUID.
    pub id: Text,
    /// The cloud that was asked for its nodes.
    pub cloud_id: Text,
    /// Name.
    pub name: Text,
    /// Serial number of the machine.
    pub serial: Text,
    /// One of [`NODE_STATUSES`], or one that nobody documented.
    pub status: Text,
}

/// The node statuses that the API documents.
pub const NODE_STATUSES: [&str; 7] =
    ["created", "requested", "bootstrapping", "running", "failed", "deleting", "deleted"];

/// Status of a VM. The set is open: a status that nobody documented is kept as it came.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the variants are the API's own words")]
pub enum VmStatus {
    Provisioning,
    Created,
    Starting,
    Running,
    Stopping,
    Stopped,
    Paused,
    Failed,
    Deleting,
    Deleted,
    Unknown(Text),
}

impl VmStatus {
    /// The nine statuses of a VM that has not been deleted, in the order of a VM's life: lists are
    /// read in this order, so that a VM that moves on while they are read is met twice, not missed.
    pub const LIVING: [Self; 9] = [
        Self::Provisioning,
        Self::Created,
        Self::Starting,
        Self::Running,
        Self::Stopping,
        Self::Stopped,
        Self::Paused,
        Self::Failed,
        Self::Deleting,
    ];

    /// The API's word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Provisioning => "provisioning",
            Self::Created => "created",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Paused => "paused",
            Self::Failed => "failed",
            Self::Deleting => "deleting",
            Self::Deleted => "deleted",
            Self::Unknown(text) => text,
        }
    }

    /// Reads the API's word; whatever is not documented is [`VmStatus::Unknown`].
    #[must_use]
    pub fn from_api(text: &str) -> Self {
        Self::LIVING
            .into_iter()
            .chain([Self::Deleted])
            .find(|status| status.as_str() == text)
            .unwrap_or_else(|| Self::Unknown(text.into()))
    }
}

/// An address of a VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpAddress {
    /// As the API wrote it, v4 or v6.
    pub address: Text,
    /// Whether the API calls it public.
    pub public: bool,
}

/// The size of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct VmSize {
    /// Virtual CPUs.
    pub vcpus: u64,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Pass-through devices of class `gpu`.
    pub gpus: u64,
}

/// Class of the devices that count as GPUs.
pub const GPU: &str = "gpu";

impl InstanceType {
    /// The size of its VMs.
    #[must_use]
    pub fn size(&self) -> VmSize {
        let gpus = self.pci_devices.iter().filter(|(class, _)| &**class == GPU).count() as u64;
        VmSize { vcpus: self.vcpus, memory_mib: self.memory_mib, gpus }
    }
}

/// A virtual machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vm {
    /// VM UUID.
    pub id: Text,
    /// The cloud that was asked for its VMs.
    pub cloud_id: Text,
    /// Name.
    pub name: Text,
    /// Instance type (VM size) by name.
    pub instance_type: Text,
    /// The size that the VM's own row states; `None` if it states none that can be read.
    pub size: Option<VmSize>,
    /// Image by name.
    pub image: Text,
    /// Current status.
    pub status: VmStatus,
    /// The node that hosts it, once the API knows.
    pub node_id: Option<Text>,
    /// When it was created, if the API said so.
    pub created_at: Option<Timestamp>,
    /// When it was deleted, for deleted VMs.
    pub deleted_at: Option<Timestamp>,
    /// Its addresses; may be empty.
    pub ips: Box<[IpAddress]>,
    /// Its tags, sorted, distinct, none empty.
    pub tags: Arc<[Text]>,
}

/// Splits a tag at its first `:` into key and value. A tag without `:` or with nothing behind it
/// is a key alone.
///
/// ```
/// use flexvm_exporter::snapshot::split_tag;
/// assert_eq!(split_tag("a:b:c"), ("a", Some("b:c")));
/// assert_eq!(split_tag("gpu-farm"), ("gpu-farm", None));
/// assert_eq!(split_tag("env:"), ("env", None));
/// ```
#[must_use]
pub fn split_tag(tag: &str) -> (&str, Option<&str>) {
    match tag.split_once(':') {
        Some((key, "")) => (key, None),
        Some((key, value)) => (key, Some(value)),
        None => (tag, None),
    }
}

/// The figures of one resource. The API documents that `total = in_use + available`. After a node is
/// lost, `in_use` can exceed `total`. A figure that the API did not send, or that cannot be read, is
/// `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    /// All there is.
    pub total: Option<u64>,
    /// Taken.
    pub in_use: Option<u64>,
    /// Free.
    pub available: Option<u64>,
}

impl Resource {
    /// Adds each figure of `other` to that of `self`. A sum is `None` if either figure is unknown or
    /// the sum is too large.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let sum = |one: Option<u64>, other: Option<u64>| one?.checked_add(other?);
        Self {
            total: sum(self.total, other.total),
            in_use: sum(self.in_use, other.in_use),
            available: sum(self.available, other.available),
        }
    }
}

/// Capacity of an organisation or of one cloud. Memory is in MiB (the API says MB; its examples
/// are powers of two).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Number of nodes; `None` if it cannot be read.
    pub nodes: Option<u64>,
    /// Nodes by bare-metal type, without types whose number cannot be read.
    pub node_groups: Vec<(Text, u64)>,
    /// Virtual CPUs.
    pub vcpus: Resource,
    /// Memory in MiB.
    pub memory_mib: Resource,
    /// Pass-through devices by class (`gpu`, `nvme`; an open set).
    pub pci_devices: Vec<(Text, Resource)>,
    /// Whether there are devices of an unreadable class. If so, any class may have more devices than
    /// listed.
    pub has_unknown_devices: bool,
}

impl Capacity {
    /// Returns the minimum of available ÷ needed over vCPUs, memory and each class of devices. `None`
    /// if the type needs no resources, or if the available amount of a needed resource is unknown.
    #[must_use]
    pub fn fits(&self, size: &InstanceType) -> Option<u64> {
        let available = |class: &str| -> Option<u64> {
            let mut of_class = self.pci_devices.iter().filter(|(name, _)| **name == *class);
            let sum = of_class.try_fold(0_u64, |sum, (_, each)| sum.checked_add(each.available?));
            sum.filter(|_| !self.has_unknown_devices)
        };
        let mut devices: BTreeMap<&str, u64> = BTreeMap::new();
        for (class, _) in &size.pci_devices {
            *devices.entry(class).or_default() += 1;
        }
        let needs = devices.into_iter().map(|(class, needed)| (available(class), needed));
        let mut vms = None;
        for (available, needed) in
            [(self.vcpus.available, size.vcpus), (self.memory_mib.available, size.memory_mib)]
                .into_iter()
                .chain(needs)
                .filter(|(_, needed)| *needed > 0)
        {
            let fitting = available? / needed;
            vms = Some(vms.map_or(fitting, |vms: u64| vms.min(fitting)));
        }
        vms
    }
}

/// Capacity of one cloud: a row of `/v3/flexVM/capacity`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudCapacity {
    /// The cloud.
    pub cloud: Cloud,
    /// Its capacity.
    pub capacity: Capacity,
}

/// A VM size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceType {
    /// Name, such as `vm.4c.8g`; the key by which VMs and prices refer to it.
    pub name: Text,
    /// Virtual CPUs.
    pub vcpus: u64,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// OS disk in GiB.
    pub disk_gib: u64,
    /// Pass-through devices as (class, specification), one entry a device.
    pub pci_devices: Vec<(Text, Text)>,
}

/// An image that VMs are made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Name.
    pub name: Text,
    /// Operating system, in words.
    pub os: Text,
    /// `linux` or `windows`; an open set.
    pub os_type: Text,
}

/// A section of the snapshot with the time at which its data was complete.
#[derive(Clone, Debug)]
pub struct Section<T> {
    /// When the run that fetched it ended.
    pub at: Timestamp,
    /// The data.
    pub data: Arc<T>,
}

/// Data of the collector `capacity`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CapacityData {
    /// Organisation-wide.
    pub total: Capacity,
    /// By cloud, in the order of their ids.
    pub clouds: Vec<CloudCapacity>,
}

/// Data of the collector `inventory`, each list in the order of its ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InventoryData {
    /// Clouds.
    pub clouds: Vec<Cloud>,
    /// Nodes of all clouds.
    pub nodes: Vec<Arc<Node>>,
    /// Living VMs of all clouds. Those that look as they did a poll before are shared with it.
    pub vms: Arc<[Arc<Vm>]>,
    /// Of each of `vms`, in the same order: when our polls first saw it in its status, if the ledger
    /// knows. Empty before the ledger was asked.
    pub status_since: Vec<Option<Timestamp>>,
    /// The lists that were read. A reading that is given the very same ones again has the same VMs.
    pub lists: Vec<Arc<[Arc<Vm>]>>,
    /// Ids of those that were in no list, but answered when asked for.
    pub by_id: Vec<Text>,
    /// Ids of VMs that were in no list and could not be asked for: they are as they were before, or,
    /// if only the ledger knew them, not among `vms`.
    pub unresolved: Vec<Text>,
}

/// Data of the collector `deleted_vms`: how many deleted VMs each cloud still lists, by cloud id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeletedVmsData {
    /// (cloud id, number of VMs), in the order of cloud ids.
    pub clouds: Vec<(Text, u64)>,
}

/// Data of the collector `catalogue`, each list in the order of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CatalogueData {
    /// VM sizes.
    pub instance_types: Vec<InstanceType>,
    /// Images.
    pub images: Vec<Image>,
}

/// Data of the collector `usage`.
#[derive(Clone, Debug)]
pub struct UsageData {
    /// The running month.
    pub current: PeriodUsage,
    /// The month before.
    pub previous: Option<Arc<PeriodUsage>>,
}

/// All that is known of one tenant. Immutable; a new one replaces it whole.
///
/// A section is `None` before its collector's first success and again once it is stale: a missing
/// section is never an empty one.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// See [`CapacityData`].
    pub capacity: Option<Section<CapacityData>>,
    /// See [`InventoryData`].
    pub inventory: Option<Section<InventoryData>>,
    /// See [`DeletedVmsData`].
    pub deleted_vms: Option<Section<DeletedVmsData>>,
    /// See [`CatalogueData`].
    pub catalogue: Option<Section<CatalogueData>>,
    /// See [`UsageData`].
    pub usage: Option<Section<UsageData>>,
}

/// The parts of a snapshot, each with a task, an interval and a section of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "named like the sections of `Snapshot`")]
pub enum Collector {
    Capacity,
    Inventory,
    DeletedVms,
    Usage,
    Catalogue,
}

impl Collector {
    /// Every collector.
    pub const ALL: [Self; 5] =
        [Self::Capacity, Self::Inventory, Self::DeletedVms, Self::Usage, Self::Catalogue];

    /// The value of the label `collector` and of `?collect[]=`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Capacity => "capacity",
            Self::Inventory => "inventory",
            Self::DeletedVms => "deleted_vms",
            Self::Usage => "usage",
            Self::Catalogue => "catalogue",
        }
    }

    /// Whether readiness and `flexvm_up` depend on it.
    #[must_use]
    pub fn required(self) -> bool {
        matches!(self, Self::Capacity | Self::Inventory | Self::Usage)
    }
}

/// The newest closed month of a tenant, as its series show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedMonth {
    /// Which month.
    pub month: crate::period::Month,
    /// The current revision, from 1.
    pub revision: u32,
    /// The provider's whole hours of each VM, summed.
    pub reported_vm_hours: u64,
    /// Exact VM seconds.
    pub vm_seconds: u64,
    /// With its currency, if there are prices.
    pub internal_cost: Option<(rust_decimal::Decimal, Text)>,
    /// The provider's whole hours of VMs without a price; none if there are no prices.
    pub unpriced_vm_hours: Option<u64>,
    /// How its sums compare with the provider's, as a word.
    pub verdict: &'static str,
}

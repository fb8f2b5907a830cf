//! Two tenants written by hand: one with everything that text and lists can do wrong, one of which
//! little is known.

use std::collections::BTreeMap;
use std::sync::Arc;

use flexvm_exporter::config::Metrics;
use flexvm_exporter::exposition::{ClosedMonth, TenantView};
use flexvm_exporter::period::Month;
use flexvm_exporter::snapshot::*;
use flexvm_exporter::usage::{GroupKind, GroupTotals, PeriodUsage, Totals, Use, UseSeconds};
use jiff::Timestamp;
use rust_decimal::Decimal;

/// Everything that the formats escape, and what they must leave alone.
pub const HOSTILE: &str = "a\"b\\c\nd\re\tf{g=\"h\",} # é 🦀 \\n \u{7f}";

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "the sections of a snapshot are optional")]
pub fn section<T>(data: T) -> Option<Section<T>> {
    Some(Section { at: at("2026-10-11T00:00:00Z"), data: Arc::new(data) })
}

/// What both tenants' views borrow from.
pub struct World {
    pub full: Snapshot,
    pub sparse: Snapshot,
    pub closed: [ClosedMonth; 2],
}

impl World {
    pub fn new() -> Self {
        let full = Snapshot {
            capacity: section(capacity()),
            inventory: section(inventory()),
            deleted_vms: section(DeletedVmsData {
                clouds: vec![("c1".into(), 7), ("c2".into(), 0), ("c1".into(), 8)],
            }),
            catalogue: section(catalogue()),
            usage: section(UsageData { current: october(), previous: Some(Arc::new(september())) }),
        };
        let empty_cloud = Cloud { created_at: None, ..cloud("c9", "idle") };
        let sparse = Snapshot {
            inventory: section(InventoryData {
                clouds: vec![empty_cloud],
                nodes: vec![],
                vms: std::sync::Arc::default(),
                ..InventoryData::default()
            }),
            ..Snapshot::default()
        };
        let closed = ClosedMonth {
            month: "2026-09".parse::<Month>().unwrap(),
            revision: 2,
            reported_vm_hours: 12,
            vm_seconds: 41_234,
            internal_cost: Some((decimal("1.440"), "EUR".into())),
            unpriced_vm_hours: Some(3),
            verdict: "rounding",
        };
        let older = ClosedMonth {
            month: "2026-08".parse::<Month>().unwrap(),
            revision: 1,
            reported_vm_hours: 7,
            vm_seconds: 25_200,
            internal_cost: None,
            unpriced_vm_hours: None,
            verdict: "agrees",
        };
        Self { full, sparse, closed: [closed, older] }
    }

    /// Both tenants, not in the order of their names.
    pub fn tenants(&self) -> [TenantView<'_>; 2] {
        let full = TenantView { name: "k12345", snapshot: &self.full, up: Some(true), closed: &self.closed };
        [full, TenantView { name: "k00001", snapshot: &self.sparse, up: Some(false), closed: &[] }]
    }
}

pub fn options() -> Metrics {
    let tag_keys = ["project", "team-name", "gpu", "unused"].map(str::to_owned).to_vec();
    Metrics { tag_keys, ..Metrics::default() }
}

fn cloud(id: &str, name: &str) -> Cloud {
    Cloud {
        id: id.into(),
        name: name.into(),
        site: "frmtl1".into(),
        node_type: "bm9.hmm.gpu.4rtx4000.64".into(),
        created_at: Some(at("2026-01-02T03:04:05.678Z")),
    }
}

fn node(id: &str, cloud_id: &str, status: &str) -> Node {
    let (name, serial) = (format!("node-{id}").into(), "SN\\1".into());
    Node { id: id.into(), cloud_id: cloud_id.into(), name, serial, status: status.into() }
}

pub fn vm(id: &str, cloud_id: &str, status: &str, tags: &[&str]) -> Vm {
    Vm {
        id: id.into(),
        cloud_id: cloud_id.into(),
        name: format!("vm-{id}").into(),
        instance_type: "vm.4c.8g".into(),
        size: None,
        image: "ubuntu-2404".into(),
        status: VmStatus::from_api(status),
        node_id: Some("n1".into()),
        created_at: Some(at("2026-10-01T00:00:00.999Z")),
        deleted_at: None,
        ips: Box::new([]),
        tags: tags.iter().map(|tag| Text::from(*tag)).collect(),
    }
}

fn inventory() -> InventoryData {
    let mut vms = vec![
        vm("v1", "c1", "running", &["project:odyssey"]),
        Vm { node_id: None, ..vm("v2", "c1", "provisioning", &[]) },
        vm("v3", "c2", "running", &["gpu", "project:b", "project:a", "team-name:x y"]),
        vm("v4", "c2", "hibernating", &[HOSTILE, "gpu:", "project"]),
        Vm { name: HOSTILE.into(), image: HOSTILE.into(), created_at: None, ..vm("v5", "c2", "failed", &[]) },
        vm("v6", "c2", "deleted", &["gone"]),
    ];
    vms.push(vm("v1", "c1", "stopping", &["seen-twice"]));
    InventoryData {
        clouds: vec![cloud("c1", HOSTILE), cloud("c2", "second"), cloud("c1", "again")],
        nodes: [node("n1", "c1", "running"), node("n2", "c2", "melting"), node("n1", "c1", "failed")]
            .map(Arc::new)
            .into(),
        status_since: vms
            .iter()
            .map(|vm| (vm.status == VmStatus::Running).then(|| at("2026-10-02T00:00:00Z")))
            .collect(),
        vms: vms.into_iter().map(Arc::new).collect(),
        ..InventoryData::default()
    }
}

fn resource(total: u64, in_use: u64) -> Resource {
    Resource { total: Some(total), in_use: Some(in_use), available: Some(total - in_use) }
}

fn capacity() -> CapacityData {
    let of = |nodes, vcpus, memory_mib, gpus| Capacity {
        nodes: Some(nodes),
        node_groups: vec![("bm9".into(), nodes), (HOSTILE.into(), 1), ("bm9".into(), 1)],
        vcpus,
        memory_mib,
        pci_devices: vec![("gpu".into(), gpus), ("nvme".into(), resource(4, 4))],
        has_unknown_devices: false,
    };
    let c1 = of(2, resource(128, 28), resource(253_952, 200_000), resource(8, 3));
    let c2 = of(1, resource(64, 63), resource(u64::MAX, 0), resource(0, 0));
    let total = of(3, resource(192, 91), resource(380_928, 200_000), resource(8, 3));
    let row =
        |id: &str, capacity: &Capacity| CloudCapacity { cloud: cloud(id, "c"), capacity: capacity.clone() };
    CapacityData { total, clouds: vec![row("c1", &c1), row("c2", &c2), row("c1", &c2)] }
}

pub fn size(name: &str, vcpus: u64, memory_mib: u64, devices: &[(&str, &str)]) -> InstanceType {
    let pci_devices = devices.iter().map(|(class, spec)| (Text::from(*class), Text::from(*spec))).collect();
    InstanceType { name: name.into(), vcpus, memory_mib, disk_gib: 40, pci_devices }
}

fn catalogue() -> CatalogueData {
    let gpu = ("gpu", "RTX 4000 \"Ada\"");
    CatalogueData {
        instance_types: vec![
            size("vm.16c.gpu2", 16, 32_768, &[gpu, gpu, ("nvme", "3.84 TB")]),
            size("vm.1c.gpu2", 1, 1024, &[gpu, gpu]),
            size("vm.4c.8g", 4, 8192, &[]),
            size("vm.4c.8g", 5, 8192, &[]),
            size("vm.nothing", 0, 0, &[]),
        ],
        images: ["ubuntu-2404", HOSTILE, "ubuntu-2404"].map(image).to_vec(),
    }
}

fn image(name: &str) -> Image {
    Image { name: name.into(), os: "Ubuntu 24.04 LTS".into(), os_type: "linux".into() }
}

pub fn seconds(running: u64, unobserved: u64) -> UseSeconds {
    let mut seconds = UseSeconds::default();
    seconds.add(Use::Running, running);
    seconds.add(Use::Unobserved, unobserved);
    seconds
}

pub fn totals(vms: u64, vm_hours: u64, running: u64, unobserved: u64) -> Totals {
    let seconds = seconds(running, unobserved);
    Totals { vms, vms_created: vms, vms_released: 1, vms_at_end: vms - 1, vm_hours, seconds }
}

/// A month fetched ten days after its start.
pub fn october() -> PeriodUsage {
    let month: Month = "2026-10".parse().unwrap();
    let provider = |vm_hours| ProviderTotals { vms_created: 2, vms_released: 1, vm_hours };
    let tags: [(&str, Totals); 3] = [
        ("project:odyssey", totals(2, 6, 10_000, 5_000)),
        (HOSTILE, totals(1, 1, 0, 15_000)),
        ("gpu", totals(1, 1, 0, 1)),
    ];
    let group = |totals, cost: Option<&str>| GroupTotals { totals, internal_cost: cost.map(decimal) };
    PeriodUsage {
        period: month.period(),
        unpriced_hours: 0,
        fetched_at: at("2026-10-11T00:00:00.5Z"),
        total_nodes: 3,
        total_active_vms: 5,
        provider_clouds: BTreeMap::from([("c1".into(), (2, provider(7))), ("gone".into(), (0, provider(1)))]),
        provider_tags: BTreeMap::from([
            ("project:odyssey".into(), provider(5)),
            (HOSTILE.into(), provider(1)),
        ]),
        total: totals(3, 8, 10_000, 20_000),
        clouds: BTreeMap::from([("c1".into(), totals(3, 8, 10_000, 20_000))]),
        tags: tags.into_iter().map(|(tag, totals)| (tag.into(), totals)).collect(),
        untagged: Totals::default(),
        groups: BTreeMap::from([
            (("project=odyssey".into(), GroupKind::Value), group(totals(2, 6, 10_000, 5_000), Some("0.720"))),
            ((HOSTILE.into(), GroupKind::Several), group(totals(1, 2, 0, 15_000), None)),
        ]),
        instance_types: BTreeMap::from([("vm.4c.8g".into(), totals(3, 8, 10_000, 20_000))]),
        internal_cost: Some(decimal("0.720")),
        currency: Some("EUR".into()),
    }
}

/// The month before: nothing existed, and there were no prices.
pub fn september() -> PeriodUsage {
    let month: Month = "2026-09".parse().unwrap();
    PeriodUsage {
        period: month.period(),
        unpriced_hours: 0,
        fetched_at: month.period().end,
        total: Totals::default(),
        total_nodes: 0,
        total_active_vms: 0,
        provider_clouds: BTreeMap::new(),
        provider_tags: BTreeMap::new(),
        clouds: BTreeMap::new(),
        tags: BTreeMap::new(),
        untagged: Totals::default(),
        groups: BTreeMap::new(),
        instance_types: BTreeMap::new(),
        internal_cost: None,
        currency: None,
    }
}

//! A month made by hand, with everything that is odd in it.

use std::collections::BTreeMap;
use std::path::Path;

use flexvm_exporter::config::{Prices, TagRule};
use flexvm_exporter::period::{Month, Period};
use flexvm_exporter::report::{Folder, Inputs, Outcome, ReportError, Source, Terms};
use flexvm_exporter::snapshot::{
    Cloud, InstanceType, MonthlyReport, ProviderTotals, ReportCloud, ReportTag, ReportVm, Text, VmSize,
    VmStatus,
};
use flexvm_exporter::usage::{Use, UseSeconds, Witness};
use jiff::Timestamp;
use rust_decimal::Decimal;

pub const A: &str = "0198aaaa-0000-7000-8000-00000000000a";
pub const B: &str = "0198bbbb-0000-7000-8000-00000000000b";
/// Has VMs, but is neither listed nor in the provider's totals.
pub const GONE: &str = "0198cccc-0000-7000-8000-00000000000c";
/// Is listed, but has nothing.
pub const IDLE: &str = "0198dddd-0000-7000-8000-00000000000d";

pub fn at(text: &str) -> Timestamp {
    text.parse().expect("a timestamp")
}

/// Closes a month by its folder alone, in the steps that the program takes around its ledger.
pub trait Publish {
    fn publish(&self, inputs: &Inputs<'_>) -> Result<Outcome, ReportError>;
}

impl Publish for Folder {
    fn publish(&self, inputs: &Inputs<'_>) -> Result<Outcome, ReportError> {
        let turn = self.turn()?;
        if let Some(published) = self.current(inputs.month)? {
            return Ok(Outcome::Already(published));
        }
        turn.publish(turn.prepare(inputs, 1, None)?)
    }
}

/// What a report is made from, owned.
pub struct World {
    pub tenant: String,
    pub month: Month,
    pub monthly: MonthlyReport,
    pub body: Vec<u8>,
    pub clouds: Vec<Cloud>,
    pub instance_types: Vec<InstanceType>,
    pub prices: Option<Prices>,
    pub group_by: Vec<String>,
    pub tag_rules: Vec<TagRule>,
    pub excel_bom: bool,
    pub fetched_at: Timestamp,
    pub witness: Box<dyn Witness>,
}

/// No VM has a size of its own.
static NO_SIZES: BTreeMap<Text, VmSize> = BTreeMap::new();

/// The terms of a month that the daemon closes.
static TERMS: Terms = Terms {
    source: Source::Api,
    reason: None,
    accepted_incomplete: None,
    configuration_changes: Vec::new(),
    notes: Vec::new(),
};

impl World {
    pub fn inputs(&self) -> Inputs<'_> {
        Inputs {
            tenant: &self.tenant,
            month: self.month,
            monthly: &self.monthly,
            body: &self.body,
            clouds: &self.clouds,
            instance_types: &self.instance_types,
            prices: self.prices.as_ref(),
            group_by: &self.group_by,
            tag_rules: &self.tag_rules,
            excel_bom: self.excel_bom,
            fetched_at: self.fetched_at,
            witness: &*self.witness,
            account: None,
            terms: &TERMS,
            vm_sizes: &NO_SIZES,
            supersedes: None,
        }
    }

    /// The folder of the first revision.
    pub fn revision(&self, directory: &Path) -> std::path::PathBuf {
        directory.join(&self.tenant).join(self.month.to_string()).join("r01")
    }
}

/// Sees the VM that spans the month for some of its time, the GPU VM for more than it lived.
struct Polls;

impl Witness for Polls {
    fn observed(&self, vm_id: &str, _: Period) -> Option<UseSeconds> {
        let mut seen = UseSeconds::default();
        match vm_id {
            "vm-01" => {
                seen.add(Use::Running, 2_000_000);
                seen.add(Use::Stopped, 600_000);
                seen.add(Use::Failed, 60);
                seen.add(Use::Other, 40);
            }
            "vm-04" => seen.add(Use::Running, 999_999_999),
            _ => return None,
        }
        Some(seen)
    }
}

/// One VM's row; sorted, distinct tags.
pub fn vm(id: &str, cloud: &str, life: [&str; 2], tags: &[&str], vm_hours: u64) -> ReportVm {
    let mut tags: Vec<Text> = tags.iter().map(|tag| Text::from(*tag)).collect();
    tags.sort();
    tags.dedup();
    ReportVm {
        id: id.into(),
        name: format!("agent {id}").into(),
        status: if life[1].is_empty() { VmStatus::Running } else { VmStatus::Deleted },
        instance_type: "vm.4c.8g".into(),
        image: "debian-12".into(),
        cloud_id: cloud.into(),
        site: "frmtl1".into(),
        tags: tags.into(),
        created_at: at(life[0]),
        released_at: (!life[1].is_empty()).then(|| at(life[1])),
        vm_hours,
    }
}

fn cloud(id: &str, name: &str, site: &str) -> Cloud {
    Cloud {
        id: id.into(),
        name: name.into(),
        site: site.into(),
        node_type: "bm.gpu".into(),
        created_at: Some(at("2025-01-02T03:04:05Z")),
    }
}

fn instance_type(name: &str, vcpus: u64, memory_mib: u64, devices: &[(&str, &str)]) -> InstanceType {
    let pci_devices = devices.iter().map(|(class, spec)| ((*class).into(), (*spec).into())).collect();
    InstanceType { name: name.into(), vcpus, memory_mib, disk_gib: 40, pci_devices }
}

fn provider(vms_created: u64, vms_released: u64, vm_hours: u64) -> ProviderTotals {
    ProviderTotals { vms_created, vms_released, vm_hours }
}

pub fn odd_vms() -> Vec<ReportVm> {
    let mut vms = vec![
        // Lives before, through and after the month.
        vm("vm-01", A, ["2026-09-15T08:00:00Z", ""], &["env:prod", "team:core"], 744),
        // Over the first border; the key needs the tag rule.
        vm("vm-02", A, ["2026-09-30T23:30:00Z", "2026-10-01T00:30:00Z"], &["Team: Core "], 1),
        // Over the last border, by a fraction of a second.
        vm("vm-03", A, ["2026-10-31T23:59:59.9Z", "2026-11-01T00:10:00Z"], &[], 1),
        // Several values for a key, with the characters that join them.
        vm("vm-04", A, ["2026-10-10T00:00:00Z", "2026-10-11T12:00:01Z"], &["team:a;b", "team:c\\d"], 37),
        // Tags without a value.
        vm("vm-05", A, ["2026-10-12T00:00:00Z", "2026-10-12T01:00:00Z"], &["gpu-farm", "team:"], 1),
        // No tag, no known type.
        vm("vm-06", A, ["2026-10-12T00:00:00Z", "2026-10-12T01:30:00Z"], &[], 2),
        // Everything that a spreadsheet or a careless reader trips over.
        vm(
            "vm-07",
            A,
            ["2026-10-13T00:00:00Z", "2026-10-13T00:00:01Z"],
            &["=SUM(A1)", "-x:+y", "'quoted", "line\nbreak", "say \"hi\", a:c,d", "\tt", "team:@home"],
            1,
        ),
        vm("vm-08", A, ["2026-10-05T10:00:00Z", "2026-10-05T09:00:00Z"], &["team:core"], 0),
        vm("vm-09", A, ["2026-11-02T00:00:00Z", ""], &["team:core"], 0),
        vm("vm-10", A, ["2026-09-01T00:00:00Z", "2026-09-20T00:00:00Z"], &["team:core"], 5),
        // Five minutes each: the provider rounds this cloud's sum.
        vm("vm-11", B, ["2026-10-20T00:00:00Z", "2026-10-20T00:05:00Z"], &["ci", "team:ci"], 1),
        vm("vm-12", B, ["2026-10-20T01:00:00Z", "2026-10-20T01:05:00Z"], &["ci", "team:ci"], 1),
        vm("vm-13", B, ["2026-10-20T02:00:00Z", "2026-10-20T02:05:00Z"], &["ci", "team:ci"], 1),
        // A value that looks like the word for no value.
        vm("vm-14", GONE, ["2026-10-20T02:00:00Z", "2026-10-20T03:00:01Z"], &["team:(no value)"], 2),
        // The whole month and not a second more.
        vm("vm-15", B, ["2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z"], &["team:ci"], 744),
        // Released in the month's first instant.
        vm("vm-16", B, ["2026-09-01T00:00:00Z", "2026-10-01T00:00:00Z"], &["team:ci"], 0),
    ];
    vms[3].instance_type = "vm.gpu".into();
    vms[5].instance_type = "vm.nobody.knows".into();
    vms[5].image = "@img".into();
    vms[5].name = "=cmd|' /C calc'!A0".into();
    vms[6].name = "\"quoted\", with comma\r\nand newline; Zoë".into();
    vms[6].status = VmStatus::Unknown("+odd".into());
    vms[14].instance_type = "vm.8c.32g".into();
    // The same row twice, word for word.
    vms.push(vms[10].clone());
    vms
}

/// October 2026 with everything that is odd.
pub fn odd() -> World {
    let month: Month = "2026-10".parse().expect("a month");
    let row = |id: &str, site: &str, usage| ReportCloud {
        id: id.into(),
        site: site.into(),
        node_type: "bm.gpu".into(),
        nodes: 2,
        active_vms: 1,
        usage,
    };
    let tag = |tag: &str, usage| ReportTag { tag: tag.into(), active_vms: 0, usage };
    let monthly = MonthlyReport {
        period: month.period(),
        total_nodes: 4,
        total_active_vms: 2,
        clouds: vec![row(B, "camtr6", provider(4, 4, 745)), row(A, "frmtl1", provider(6, 6, 787))],
        by_tag: vec![
            tag("ci", provider(3, 3, 1)),
            tag("env:prod", provider(0, 0, 744)),
            tag("team:core", provider(2, 1, 750)),
            tag("nobody:has-it", provider(0, 0, 7)),
        ],
        vms: odd_vms(),
    };
    World {
        tenant: "k12345".into(),
        month,
        monthly,
        body: b"{\"period\": \"kept as it came\",\r\n \"odd\":\"\\u00eb\"}".to_vec(),
        clouds: vec![
            cloud(IDLE, "idle", "nlrtm1"),
            cloud(A, "=1+1", "frmtl1"),
            cloud(B, "Build, farm \"B\"", "camtr6"),
        ],
        instance_types: vec![
            instance_type("vm.gpu", 16, 65_536, &[("gpu", "L40S"), ("gpu", "L40S"), ("nvme", "3.8T")]),
            instance_type("vm.4c.8g", 4, 8192, &[]),
            instance_type("vm.8c.32g", 8, 32_768, &[]),
        ],
        prices: Some(prices()),
        group_by: vec!["team".into(), "env".into()],
        tag_rules: vec![TagRule {
            key: "Team".into(),
            rename: Some("team".into()),
            lowercase: true,
            trim: true,
            values: BTreeMap::new(),
            ..TagRule::default()
        }],
        excel_bom: false,
        fetched_at: at("2026-11-01T00:45:10.5Z"),
        witness: Box::new(Polls),
    }
}

fn prices() -> Prices {
    let price = |text: &str| Decimal::from_str_exact(text).expect("a price");
    let from = |text: &str| Some(text.parse::<Month>().expect("a month"));
    let vm_hour = [
        ("vm.4c.8g".to_owned(), vec![(None, price("0.12345"))]),
        (
            "vm.8c.32g".to_owned(),
            vec![
                (from("2026-01"), price("0.20")),
                (from("2026-10"), price("0.21")),
                (from("2026-11"), price("9")),
            ],
        ),
    ];
    Prices { currency: "EUR".into(), vm_hour: vm_hour.into() }
}

/// A month in which nothing was, without prices, for Excel.
pub fn empty() -> World {
    let mut world = odd();
    world.month = "2026-02".parse().expect("a month");
    world.monthly = MonthlyReport {
        period: world.month.period(),
        total_nodes: 0,
        total_active_vms: 0,
        clouds: Vec::new(),
        by_tag: Vec::new(),
        vms: Vec::new(),
    };
    world.clouds.clear();
    world.prices = None;
    world.group_by.clear();
    world.tag_rules.clear();
    world.excel_bom = true;
    world
}

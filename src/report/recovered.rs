//! The inputs of a revision, read back from its own files: for a revision whose record in the ledger
//! is lost.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use super::columns::unguarded;
use super::files::MANIFEST;
use super::manifest::RecordedPrices;
use super::storage;
use super::{Account, Header, Observed, Published, ReportError, Terms};
use crate::config::TagRule;
use crate::snapshot::{Cloud, InstanceType, MonthlyReport, Text, VmSize};
use crate::text::normal_id;
use crate::usage::Flag;

/// End of the name of the file with one row per VM.
const BY_VM: &str = "by-vm.csv";

/// Columns of observed seconds, in the order of [`Observed`].
const SECONDS: [&str; 4] = ["running_seconds", "stopped_seconds", "failed_seconds", "other_seconds"];

#[derive(Deserialize)]
struct Manifest {
    tenant: String,
    fetched_at: Timestamp,
    grouping: Grouping,
    tag_rules: Vec<TagRule>,
    excel_bom: bool,
    prices: Option<RecordedPrices>,
    catalogue: Catalogue,
    coverage: Coverage,
    reconciliation: Reconciliation,
}

#[derive(Deserialize)]
struct Grouping {
    group_by: Vec<String>,
}

#[derive(Deserialize)]
struct Catalogue {
    clouds: Vec<Cloud>,
    instance_types: Vec<RecordedType>,
}

#[derive(Deserialize)]
struct RecordedType {
    name: Text,
    vcpus: u64,
    memory_mib: u64,
    disk_gib: u64,
    pci_devices: Vec<Device>,
}

#[derive(Deserialize)]
struct Device {
    class: Text,
    specification: Text,
}

#[derive(Deserialize)]
struct Coverage {
    polls: u64,
    first_poll: Option<Timestamp>,
    last_poll: Option<Timestamp>,
    longest_gap_seconds: Option<u64>,
}

#[derive(Deserialize)]
struct Reconciliation {
    observations: Option<Lists>,
}

#[derive(Deserialize)]
struct Lists {
    only_observed: Vec<Text>,
    #[serde(default)]
    only_observed_other: Vec<Text>,
    #[serde(default)]
    creations_differ: Vec<Text>,
    releases_differ: Vec<super::ReleaseDiffers>,
}

impl Header {
    /// Reads the inputs of a revision from its manifest and its rows per VM; `report` is its provider
    /// report. Blocks.
    ///
    /// # Errors
    /// A file cannot be read, or is damaged.
    pub fn from_files(published: &Published, report: &MonthlyReport) -> Result<Self, ReportError> {
        let manifest: Manifest = {
            let path = published.file(MANIFEST)?;
            let bytes = storage::read_file(path).map_err(ReportError::at(path))?;
            serde_json::from_slice(&bytes).map_err(|error| ReportError::damaged(path, &error))?
        };
        let account = account(&manifest);
        let (observed, vm_sizes) = observed(published)?;
        let types = manifest.catalogue.instance_types.into_iter().map(|of| InstanceType {
            name: of.name,
            vcpus: of.vcpus,
            memory_mib: of.memory_mib,
            disk_gib: of.disk_gib,
            pci_devices: of.pci_devices.into_iter().map(|it| (it.class, it.specification)).collect(),
        });
        let mut header = Self {
            tenant: manifest.tenant,
            month: published.month,
            fetched_at: manifest.fetched_at,
            clouds: manifest.catalogue.clouds,
            instance_types: types.collect(),
            vm_sizes,
            prices: manifest.prices.map(RecordedPrices::into_prices),
            group_by: manifest.grouping.group_by,
            tag_rules: manifest.tag_rules,
            excel_bom: manifest.excel_bom,
            observed,
            account,
            terms: Terms::default(),
            supersedes: None,
        };
        header.drop_sizes_of_types(report);
        Ok(header)
    }
}

fn account(manifest: &Manifest) -> Account {
    let Coverage { polls, first_poll, last_poll, longest_gap_seconds } = manifest.coverage;
    let counted = Account {
        polls,
        first_poll,
        last_poll,
        longest_gap_seconds: longest_gap_seconds.unwrap_or_default(),
        ..Account::default()
    };
    match &manifest.reconciliation.observations {
        None => counted,
        Some(lists) => Account {
            only_observed: lists.only_observed.clone(),
            only_observed_other: lists.only_observed_other.clone(),
            creations_differ: lists.creations_differ.clone(),
            releases_differ: lists.releases_differ.clone(),
            ..counted
        },
    }
}

/// The size of each VM whose size is known, by VM id.
type Sizes = BTreeMap<Text, VmSize>;

/// The observed seconds of each VM that a poll observed, and the sizes of all VMs.
fn observed(published: &Published) -> Result<(Observed, Sizes), ReportError> {
    let path = published.file(BY_VM)?;
    let damaged = |problem: &dyn std::fmt::Display| ReportError::damaged(path, problem);
    let bytes = storage::read_file(path).map_err(ReportError::at(path))?;
    let bytes = bytes.strip_prefix(super::columns::BOM).unwrap_or(&bytes);
    let mut csv = csv::Reader::from_reader(bytes);
    let header = csv.headers().map_err(|error| damaged(&error))?.clone();
    let column = |name: &str| {
        header.iter().position(|column| column == name).ok_or_else(|| damaged(&format!("no column {name}")))
    };
    let (vm_id, flags) = (column("vm_id")?, column("flags")?);
    let size = [column("vcpus")?, column("memory_mib")?, column("gpus")?];
    let mut columns = [0; SECONDS.len()];
    for (at, name) in columns.iter_mut().zip(SECONDS) {
        *at = column(name)?;
    }
    let (mut observed, mut sizes) = (Observed::default(), Sizes::new());
    for row in csv.records() {
        let row = row.map_err(|error| damaged(&error))?;
        let cell = |at: usize| row.get(at).unwrap_or_default();
        let id: Text = (&*normal_id(unguarded(cell(vm_id)))).into();
        if let [Ok(vcpus), Ok(memory_mib), Ok(gpus)] = size.map(|at| cell(at).parse()) {
            sizes.insert(id.clone(), VmSize { vcpus, memory_mib, gpus });
        }
        if cell(flags).split(';').any(|flag| flag == Flag::NeverObserved.as_str()) {
            continue;
        }
        let mut seconds = [0; SECONDS.len()];
        for (part, at) in seconds.iter_mut().zip(columns) {
            *part = cell(at).parse().map_err(|error| damaged(&error))?;
        }
        observed.set(id, Some(seconds));
    }
    Ok((observed, sizes))
}

//! `manifest.json`: what a report was made from, by whom, with which result; and the record, on
//! disk, that a month is closed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::de::IgnoredAny;
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};

use super::columns::group_columns;
use super::decimal::{Money, Share};
use super::reconcile::{Compared, Differences, Reconciliation};
use super::tally::Tally;
use super::totals::MonthTotals;
use super::{Account, Disagreements, Frame, Inputs, Source, Status, Verdict, warnings};
use crate::config::{Prices, TagRule};
use crate::period::rfc3339;
use crate::usage::{Flag, Line, Use};

/// Version of the manifest's own shape.
pub const SCHEMA_VERSION: u32 = 2;

/// A file of the report, in the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    pub name: String,
    /// Lower-case hexadecimal.
    pub sha256: String,
    pub bytes: u64,
    /// Rows below the header; none for a file that is not CSV.
    pub rows: Option<u64>,
}

/// What is read back from a manifest.
#[derive(Debug, Deserialize)]
pub struct Record {
    pub schema_version: u32,
    pub tenant: String,
    pub month: String,
    pub status: Status,
    pub revision: u32,
    /// Why an operator closed or restated it.
    #[serde(default)]
    pub reason: Option<String>,
    #[serde(default)]
    pub accepted_incomplete: Option<String>,
    pub prices: Option<RecordedPrices>,
    pub fetched_at: Timestamp,
    pub excel_bom: bool,
    pub files: Vec<FileEntry>,
    pub totals: MonthTotals,
    pub reconciliation: RecordedReconciliation,
    pub warnings: Vec<String>,
}

/// The part of the reconciliation that is read back.
#[derive(Debug, Deserialize)]
pub struct RecordedReconciliation {
    pub total: Compared,
    pub differences: Differences,
    /// Absent in manifests that are older than the ledger.
    #[serde(default)]
    pub observations: Option<RecordedObservations>,
}

/// How many VMs there are in each list; the lists themselves are for people.
#[derive(Debug, Deserialize)]
pub struct RecordedObservations {
    pub only_observed: Vec<IgnoredAny>,
    pub never_observed: Vec<IgnoredAny>,
    pub releases_differ: Vec<IgnoredAny>,
    /// Absent in manifests of version 1.
    #[serde(default)]
    pub only_observed_other: Vec<IgnoredAny>,
    /// Absent in manifests of version 1.
    #[serde(default)]
    pub creations_differ: Vec<IgnoredAny>,
}

/// The price list that is read back.
#[derive(Debug, Deserialize)]
pub struct RecordedPrices {
    currency: String,
    vm_hour: BTreeMap<String, Vec<RecordedRate>>,
}

#[derive(Debug, Deserialize)]
struct RecordedRate {
    from: Option<String>,
    price: Decimal,
}

impl RecordedPrices {
    /// The price list; a rate whose month cannot be read is from ever, as no other is written.
    pub fn into_prices(self) -> Prices {
        let month = |from: String| from.get(..7)?.parse().ok();
        let rates = |rates: Vec<RecordedRate>| {
            rates.into_iter().map(|rate| (rate.from.and_then(month), rate.price)).collect()
        };
        Prices {
            currency: self.currency,
            vm_hour: self.vm_hour.into_iter().map(|(name, of_type)| (name, rates(of_type))).collect(),
        }
    }
}

#[derive(Serialize)]
struct Manifest<'a> {
    schema_version: u32,
    tenant: &'a str,
    month: String,
    period: PeriodJson,
    status: Status,
    revision: u32,
    supersedes: Option<u32>,
    reason: Option<&'a str>,
    source: Source,
    verdict: Verdict,
    /// Why a response without VMs that polls observed in use was accepted.
    accepted_incomplete: Option<&'a str>,
    /// Keys of the configuration that differ from those of the superseded revision.
    configuration_changes: &'a [String],
    generator: Generator,
    fetched_at: String,
    grouping: GroupingJson<'a>,
    tag_rules: &'a [TagRule],
    excel_bom: bool,
    prices: Option<PricesJson<'a>>,
    catalogue: Catalogue<'a>,
    files: &'a [FileEntry],
    totals: MonthTotals,
    reconciliation: ReconciliationJson<'a>,
    coverage: Coverage,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct PeriodJson {
    start: String,
    end: String,
}

#[derive(Serialize)]
struct Generator {
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
struct GroupingJson<'a> {
    group_by: &'a [String],
    columns: Vec<String>,
}

#[derive(Serialize)]
struct PricesJson<'a> {
    currency: &'a str,
    vm_hour: BTreeMap<&'a str, Vec<RateJson>>,
}

#[derive(Serialize)]
struct RateJson {
    /// First day of the first month; none is from ever.
    from: Option<String>,
    price: String,
}

#[derive(Serialize)]
struct Catalogue<'a> {
    clouds: Vec<CloudJson<'a>>,
    instance_types: Vec<InstanceTypeJson<'a>>,
}

#[derive(Serialize)]
struct CloudJson<'a> {
    id: &'a str,
    name: &'a str,
    site: &'a str,
    node_type: &'a str,
    created_at: Option<String>,
}

#[derive(Serialize)]
struct InstanceTypeJson<'a> {
    name: &'a str,
    vcpus: u64,
    memory_mib: u64,
    disk_gib: u64,
    pci_devices: Vec<DeviceJson<'a>>,
}

#[derive(Serialize)]
struct DeviceJson<'a> {
    class: &'a str,
    specification: &'a str,
}

#[derive(Serialize)]
struct Coverage {
    vm_seconds: u64,
    unobserved_seconds: u64,
    /// Observed ÷ all, six decimals; none when there was nothing to observe.
    observed_ratio: Option<String>,
    /// Complete polls of ours within the month.
    polls: u64,
    first_poll: Option<String>,
    last_poll: Option<String>,
    /// Longest time within the month without a poll; the whole month when there was none.
    longest_gap_seconds: Option<u64>,
}

struct ReconciliationJson<'a> {
    sums: &'a Reconciliation<'a>,
    account: Option<&'a Account>,
    tally: &'a Tally<'a>,
}

impl Serialize for ReconciliationJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { sums, account, tally } = self;
        let mut all = serializer.serialize_struct("Reconciliation", 5)?;
        all.serialize_field("differences", &sums.differences())?;
        all.serialize_field("total", &sums.total())?;
        all.serialize_field(
            "clouds",
            &Rows(|| sums.clouds().map(|(cloud_id, row)| CloudRow { cloud_id, row })),
        )?;
        all.serialize_field("tags", &Rows(|| sums.tags().map(|(tag, row)| TagRow { tag, row })))?;
        let observed = account.filter(|account| account.polls > 0);
        all.serialize_field("observations", &observed.map(|account| ObservationsJson { account, tally }))?;
        all.end()
    }
}

/// Rows written one after the other: there can be as many tags as VMs.
struct Rows<F>(F);

impl<F: Fn() -> I, I: Iterator<Item: Serialize>> Serialize for Rows<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

/// Where our polls and the provider disagree, by VM id.
struct ObservationsJson<'a> {
    account: &'a Account,
    tally: &'a Tally<'a>,
}

impl Serialize for ObservationsJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = serializer.serialize_struct("Observations", 5)?;
        all.serialize_field("only_observed", &self.account.only_observed)?;
        all.serialize_field("only_observed_other", &self.account.only_observed_other)?;
        all.serialize_field("creations_differ", &self.account.creations_differ)?;
        all.serialize_field(
            "never_observed",
            &Rows(|| self.tally.lines.iter().filter(|line| never_observed(line)).map(|line| &*line.vm.id)),
        )?;
        let releases = self.account.releases_differ.iter().map(|it| ReleaseRow {
            vm_id: &it.vm_id,
            released_at: it.released_at.map(rfc3339),
            last_seen: rfc3339(it.last_seen),
            gone_at: it.gone_at.map(rfc3339),
        });
        all.serialize_field("releases_differ", &Rows(|| releases.clone()))?;
        all.end()
    }
}

/// Whether no poll observed the line's VM.
fn never_observed(line: &Line<'_>) -> bool {
    line.flags.iter().any(|flag| flag == Flag::NeverObserved)
}

impl Disagreements {
    /// The numbers of VMs in the lists of the manifest.
    fn of(account: &Account, tally: &Tally<'_>) -> Self {
        Self {
            only_observed: account.only_observed.len() as u64,
            only_observed_other: account.only_observed_other.len() as u64,
            never_observed: tally.lines.iter().filter(|line| never_observed(line)).count() as u64,
            releases_differ: account.releases_differ.len() as u64,
            creations_differ: account.creations_differ.len() as u64,
        }
    }
}

#[derive(Serialize)]
struct ReleaseRow<'a> {
    vm_id: &'a str,
    /// The provider's word.
    released_at: Option<String>,
    /// Ours.
    last_seen: String,
    gone_at: Option<String>,
}

#[derive(Serialize)]
struct CloudRow<'a> {
    cloud_id: &'a str,
    #[serde(flatten)]
    row: Compared,
}

#[derive(Serialize)]
struct TagRow<'a> {
    tag: &'a str,
    #[serde(flatten)]
    row: Compared,
}

/// Writes the manifest of a report whose other files are `files`.
pub fn write(
    out: impl std::io::Write,
    inputs: &Inputs<'_>,
    frame: &Frame<'_>,
    tally: &Tally<'_>,
    reconciliation: &Reconciliation<'_>,
    files: &[FileEntry],
) -> std::io::Result<()> {
    let period = inputs.month.period();
    let manifest = Manifest {
        schema_version: SCHEMA_VERSION,
        tenant: inputs.tenant,
        month: inputs.month.to_string(),
        period: PeriodJson { start: rfc3339(period.start), end: rfc3339(period.end) },
        status: frame.revision.status(),
        revision: frame.revision.number(),
        supersedes: inputs.supersedes.map(|it| it.revision),
        reason: inputs.reason(),
        source: inputs.terms.source,
        verdict: Verdict::of(
            &reconciliation.total(),
            reconciliation.differences(),
            inputs.account.map(|account| Disagreements::of(account, tally)),
        ),
        accepted_incomplete: inputs.terms.accepted_incomplete.as_deref(),
        configuration_changes: &inputs.terms.configuration_changes,
        generator: Generator { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") },
        fetched_at: rfc3339(inputs.fetched_at),
        grouping: GroupingJson { group_by: inputs.group_by, columns: group_columns(inputs.group_by) },
        tag_rules: inputs.tag_rules,
        excel_bom: inputs.excel_bom,
        prices: inputs.prices.map(prices),
        catalogue: catalogue(inputs),
        files,
        totals: MonthTotals::of(tally),
        reconciliation: ReconciliationJson { sums: reconciliation, account: inputs.account, tally },
        coverage: coverage(inputs, tally),
        warnings: warnings::of(inputs, tally, reconciliation),
    };
    serde_json::to_writer_pretty(out, &manifest)?;
    Ok(())
}

fn prices(prices: &Prices) -> PricesJson<'_> {
    let rates = |rates: &Vec<(Option<crate::period::Month>, rust_decimal::Decimal)>| {
        let rate = |(from, price): &(Option<crate::period::Month>, _)| RateJson {
            from: from.map(|month| format!("{month}-01")),
            price: Money(*price).to_string(),
        };
        rates.iter().map(rate).collect()
    };
    PricesJson {
        currency: &prices.currency,
        vm_hour: prices.vm_hour.iter().map(|(name, of_type)| (name.as_str(), rates(of_type))).collect(),
    }
}

/// Clouds and instance types in the order of their keys, whatever the order they came in.
fn catalogue<'a>(inputs: &Inputs<'a>) -> Catalogue<'a> {
    let mut clouds: Vec<_> = inputs
        .clouds
        .iter()
        .map(|cloud| CloudJson {
            id: &cloud.id,
            name: &cloud.name,
            site: &cloud.site,
            node_type: &cloud.node_type,
            created_at: cloud.created_at.map(rfc3339),
        })
        .collect();
    clouds.sort_by_key(|cloud| cloud.id);
    let mut instance_types: Vec<_> = inputs
        .instance_types
        .iter()
        .map(|of| InstanceTypeJson {
            name: &of.name,
            vcpus: of.vcpus,
            memory_mib: of.memory_mib,
            disk_gib: of.disk_gib,
            pci_devices: of
                .pci_devices
                .iter()
                .map(|(class, specification)| DeviceJson { class, specification })
                .collect(),
        })
        .collect();
    instance_types.sort_by_key(|of| of.name);
    Catalogue { clouds, instance_types }
}

fn coverage(inputs: &Inputs<'_>, tally: &Tally<'_>) -> Coverage {
    let seconds = tally.total.totals.seconds;
    let (all, unobserved) = (seconds.total(), seconds.get(Use::Unobserved));
    let account = inputs.account;
    Coverage {
        vm_seconds: all,
        unobserved_seconds: unobserved,
        observed_ratio: (all > 0).then(|| Share::of(all - unobserved, all).to_string()),
        polls: account.map_or(0, |account| account.polls),
        first_poll: account.and_then(|account| account.first_poll).map(rfc3339),
        last_poll: account.and_then(|account| account.last_poll).map(rfc3339),
        longest_gap_seconds: account.map(|account| account.longest_gap_seconds),
    }
}

//! The manifest: where a month's figures come from, and what they add up to, for an auditor and for
//! this program, which reads it back.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::analysis::Analysis;
use super::reconcile::Reconciliation;
use super::table::money;
use super::{Stamp, Status};
use crate::config::{Prices, TagRule};
use crate::period::rfc3339;
use crate::usage::{Flag, Use};

/// Changes when a reader of manifests must change.
const SCHEMA: u32 = 1;

/// Everything that is known of how a month was closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are documented where they come from")]
pub struct Manifest {
    pub schema: u32,
    pub tenant: String,
    pub month: String,
    pub period_start: String,
    pub period_end: String,
    pub status: Status,
    pub revision: u32,
    pub supersedes: Option<u32>,
    pub reason: Option<String>,
    pub generator: Generator,
    pub fetched_at: String,
    pub group_by: Vec<String>,
    pub tag_rules: Vec<Rule>,
    pub prices: Option<PriceList>,
    pub instance_types: Vec<Type>,
    pub clouds: Vec<CloudName>,
    pub files: Vec<FileEntry>,
    pub totals: ReportTotals,
    pub reconciliation: Reconciliation,
    pub coverage: Coverage,
    pub warnings: Vec<String>,
}

/// The program that made the files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the words say it")]
pub struct Generator {
    pub name: String,
    pub version: String,
}

/// A tag rule as it was configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the configuration")]
pub struct Rule {
    pub key: String,
    pub rename: Option<String>,
    pub lowercase: bool,
    pub trim: bool,
    pub values: BTreeMap<String, String>,
}

impl From<&TagRule> for Rule {
    fn from(rule: &TagRule) -> Self {
        let TagRule { key, rename, lowercase, trim, values } = rule.clone();
        Self { key, rename, lowercase, trim, values }
    }
}

/// The price list as it was configured, prices as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the configuration")]
pub struct PriceList {
    pub currency: String,
    pub vm_hour: BTreeMap<String, Vec<PriceFrom>>,
}

/// A price and the first month that it holds for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the configuration")]
pub struct PriceFrom {
    pub from: Option<String>,
    pub price: String,
}

impl From<&Prices> for PriceList {
    fn from(prices: &Prices) -> Self {
        let list = |rates: &Vec<(Option<crate::period::Month>, Decimal)>| {
            let entry = |(from, price): &(Option<crate::period::Month>, Decimal)| PriceFrom {
                from: from.map(|month| format!("{month}-01")),
                price: price.to_string(),
            };
            rates.iter().map(entry).collect()
        };
        let vm_hour = prices.vm_hour.iter().map(|(name, rates)| (name.clone(), list(rates))).collect();
        Self { currency: prices.currency.clone(), vm_hour }
    }
}

/// A VM size of the catalogue as it was when the month was closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the catalogue")]
pub struct Type {
    pub instance_type: String,
    pub vcpus: u64,
    pub memory_mib: u64,
    pub disk_gib: u64,
    pub pci_devices: Vec<(String, String)>,
}

/// A cloud's name and site as they were when the month was closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the list of clouds")]
pub struct CloudName {
    pub cloud_id: String,
    pub cloud: String,
    pub site: String,
    pub node_type: String,
}

/// A file of the revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name, without a folder.
    pub name: String,
    /// Its digest, in hexadecimal.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
    /// Rows below the header, for tables.
    pub rows: Option<u64>,
}

/// What the additive tables add up to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named like the columns")]
pub struct ReportTotals {
    pub vms: u64,
    pub vms_at_start: u64,
    pub vms_created: u64,
    pub vms_released: u64,
    pub vms_at_end: u64,
    pub vm_hours: u64,
    pub vm_seconds: u64,
    pub running_seconds: u64,
    pub stopped_seconds: u64,
    pub failed_seconds: u64,
    pub other_seconds: u64,
    pub unobserved_seconds: u64,
    pub untagged_vms: u64,
    pub untagged_vm_seconds: u64,
    pub internal_cost: Option<String>,
    pub currency: Option<String>,
    pub unpriced_vm_hours: u64,
}

/// How much of the month our own polls saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Seconds whose use a poll can tell.
    pub observed_seconds: u64,
    /// All seconds.
    pub vm_seconds: u64,
    /// Where the observations come from.
    pub note: String,
}

impl Manifest {
    pub(super) fn of(
        analysis: &Analysis<'_>,
        reconciliation: Reconciliation,
        stamp: &Stamp<'_>,
        files: Vec<FileEntry>,
    ) -> Self {
        let inputs = analysis.inputs;
        let period = stamp.month.period();
        let seconds = analysis.total.totals.seconds;
        let warnings = warnings(analysis, &reconciliation);
        Self {
            schema: SCHEMA,
            tenant: stamp.tenant.to_owned(),
            month: stamp.month.to_string(),
            period_start: rfc3339(period.start),
            period_end: rfc3339(period.end),
            status: stamp.status,
            revision: stamp.revision,
            supersedes: None,
            reason: None,
            generator: Generator {
                name: env!("CARGO_PKG_NAME").to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            fetched_at: rfc3339(inputs.fetched_at),
            group_by: inputs.group_by.to_vec(),
            tag_rules: inputs.tag_rules.iter().map(Rule::from).collect(),
            prices: inputs.prices.map(PriceList::from),
            instance_types: types(analysis),
            clouds: clouds(analysis),
            files,
            totals: totals(analysis),
            reconciliation,
            coverage: Coverage {
                observed_seconds: seconds.total() - seconds.get(Use::Unobserved),
                vm_seconds: seconds.total(),
                note: "This version keeps no observations of its own: what VMs were used for is not known."
                    .to_owned(),
            },
            warnings,
        }
    }
}

pub(super) fn totals(analysis: &Analysis<'_>) -> ReportTotals {
    let totals = analysis.total.totals;
    let seconds = |each| totals.seconds.get(each);
    ReportTotals {
        vms: totals.vms,
        vms_at_start: analysis.at_start,
        vms_created: totals.vms_created,
        vms_released: totals.vms_released,
        vms_at_end: totals.vms_at_end,
        vm_hours: totals.vm_hours,
        vm_seconds: totals.seconds.total(),
        running_seconds: seconds(Use::Running),
        stopped_seconds: seconds(Use::Stopped),
        failed_seconds: seconds(Use::Failed),
        other_seconds: seconds(Use::Other),
        unobserved_seconds: seconds(Use::Unobserved),
        untagged_vms: analysis.untagged.totals.vms,
        untagged_vm_seconds: analysis.untagged.totals.seconds.total(),
        internal_cost: analysis.cost.internal.map(money),
        currency: analysis.inputs.prices.map(|prices| prices.currency.clone()),
        unpriced_vm_hours: analysis.cost.unpriced_vm_hours,
    }
}

fn types(analysis: &Analysis<'_>) -> Vec<Type> {
    let mut types: Vec<_> = analysis
        .inputs
        .instance_types
        .iter()
        .map(|each| Type {
            instance_type: each.name.to_string(),
            vcpus: each.vcpus,
            memory_mib: each.memory_mib,
            disk_gib: each.disk_gib,
            pci_devices: each.pci_devices.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect(),
        })
        .collect();
    types.sort_by(|a, b| a.instance_type.cmp(&b.instance_type));
    types
}

fn clouds(analysis: &Analysis<'_>) -> Vec<CloudName> {
    let mut clouds: Vec<_> = analysis
        .inputs
        .clouds
        .iter()
        .map(|cloud| CloudName {
            cloud_id: cloud.id.to_string(),
            cloud: cloud.name.to_string(),
            site: cloud.site.to_string(),
            node_type: cloud.node_type.to_string(),
        })
        .collect();
    clouds.sort_by(|a, b| a.cloud_id.cmp(&b.cloud_id));
    clouds
}

/// What a reader should know before signing, in words.
fn warnings(analysis: &Analysis<'_>, reconciliation: &Reconciliation) -> Vec<String> {
    let mut counts: BTreeMap<Flag, u64> = BTreeMap::new();
    for line in &analysis.lines {
        for flag in analysis.flags(line).iter() {
            *counts.entry(flag).or_default() += 1;
        }
    }
    let mut warnings = Vec::new();
    let rows = analysis.inputs.monthly.vms.len() as u64;
    let distinct = analysis.lines.len() as u64;
    if rows > distinct {
        warnings
            .push(format!("{} rows of the provider's report repeat a VM and count once.", rows - distinct));
    }
    for (flag, what) in [
        (Flag::HoursDiffer, "VMs have provider's hours that are not their exact seconds rounded up."),
        (Flag::NoPrice, "VMs have an instance type without a price; their hours are in unpriced_vm_hours."),
        (Flag::OutsidePeriod, "VMs are listed although they did not exist within the month."),
        (
            Flag::ReleasedBeforeCreated,
            "VMs were released before they were created; they count as released at once.",
        ),
        (Flag::UnknownType, "VMs have an instance type that is not in the catalogue; sizes leave them out."),
        (Flag::ZeroLength, "VMs existed for no whole second of the month."),
    ] {
        if let Some(count) = counts.get(&flag) {
            warnings.push(format!("{count} {what}"));
        }
    }
    for scope in reconciliation.unexplained() {
        warnings.push(format!("The provider's total of {scope} is explained by neither way of rounding."));
    }
    let without_row =
        reconciliation.clouds.iter().filter(|(_, sums)| sums.provider.is_none() && sums.vm_seconds > 0);
    for (id, _) in without_row {
        warnings.push(format!("The provider lists VMs of the cloud {id}, but gives no total for it."));
    }
    warnings
}

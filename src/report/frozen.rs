//! Everything that a report is made from, owned: what the ledger keeps of a closed month, so that
//! the same bytes can be made again whatever has changed since.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Account, Inputs, Supersedes, Terms};
use crate::api;
use crate::config::{Prices, TagRule};
use crate::observe::Observations;
use crate::period::{Month, Period};
use crate::snapshot::{Cloud, InstanceType, MonthlyReport, Text, VmSize};
use crate::text::normal_id;
use crate::usage::{self, Use, UseSeconds, Witness};

/// Version of the packed form.
const PACKED_VERSION: u32 = 3;

/// From this version on, ids in files and headers are in their normal form.
const NORMAL_IDS: u32 = 3;

/// The oldest version that is still read: a header without the fields that have defaults.
const OLDEST_VERSION: u32 = 1;

/// The uses that polls can prove, in the order in which their seconds are kept.
const OBSERVED: [Use; 4] = [Use::Running, Use::Stopped, Use::Failed, Use::Other];

/// What a report is made from, owned.
#[derive(Clone, Debug)]
pub struct Frozen {
    /// All but the provider's answer.
    pub header: Header,
    /// The provider's answer, as it came and as it was understood.
    pub monthly: api::Monthly,
}

/// What a report is made from beside the provider's answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header {
    /// Name of the tenant.
    pub tenant: String,
    /// The month.
    pub month: Month,
    /// When the provider answered.
    pub fetched_at: Timestamp,
    /// The clouds that existed.
    pub clouds: Vec<Cloud>,
    /// The catalogue.
    pub instance_types: Vec<InstanceType>,
    /// Sizes of VMs, by their own rows, that differ from the size of their type in the catalogue.
    #[serde(default)]
    pub vm_sizes: BTreeMap<Text, VmSize>,
    /// The price list.
    pub prices: Option<Prices>,
    /// Tag keys that groups are made of.
    pub group_by: Vec<String>,
    /// Normalising of tags.
    pub tag_rules: Vec<TagRule>,
    /// Whether CSV files begin with a byte-order mark.
    pub excel_bom: bool,
    /// What polls saw of each VM, in seconds of its life in the month.
    pub observed: Observed,
    /// What polls say about the report.
    pub account: Account,
    /// The terms on which the month is closed.
    #[serde(default)]
    pub terms: Terms,
    /// The revision that this one replaces.
    pub supersedes: Option<Supersedes>,
}

/// Observed seconds by VM id, in the order running, stopped, failed, other; VMs that no poll saw are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed(BTreeMap<Text, [u64; OBSERVED.len()]>);

impl Observed {
    /// The seconds that `observations` prove of every VM in the report.
    #[must_use]
    pub fn of(observations: &Observations, monthly: &api::Monthly, fetched_at: Timestamp) -> Self {
        let report = &monthly.report;
        let vms = usage::by_id(report);
        let seen = observations.histories.keys().filter_map(|id| {
            let vm = vms[vms.binary_search_by(|vm| vm.id.cmp(id)).ok()?];
            let seconds = observations.observed(id, usage::life(vm, report.period, fetched_at))?;
            Some((id.clone(), OBSERVED.map(|of| seconds.get(of))))
        });
        Self(seen.collect())
    }
}

impl Observed {
    /// The observed seconds of a VM, in the order running, stopped, failed, other.
    #[must_use]
    pub fn get(&self, vm_id: &Text) -> Option<&[u64; OBSERVED.len()]> {
        self.0.get(vm_id)
    }

    /// Replaces the observed seconds of a VM; `None`: no poll observed it.
    pub fn set(&mut self, vm_id: Text, seconds: Option<[u64; OBSERVED.len()]>) {
        match seconds {
            Some(seconds) => drop(self.0.insert(vm_id, seconds)),
            None => drop(self.0.remove(&vm_id)),
        }
    }

    /// The VMs that were observed running or stopped, by id.
    pub fn in_use(&self) -> impl Iterator<Item = &Text> {
        self.0.iter().filter(|(_, [running, stopped, ..])| running + stopped > 0).map(|(id, _)| id)
    }
}

impl Witness for Observed {
    fn observed(&self, vm_id: &str, _: Period) -> Option<UseSeconds> {
        let mut seconds = UseSeconds::default();
        for (of, proved) in OBSERVED.into_iter().zip(self.0.get(vm_id)?) {
            seconds.add(of, *proved);
        }
        Some(seconds)
    }
}

impl Header {
    /// Converts all ids to their normal form, for comparisons with a report that has ids in their
    /// normal form.
    pub fn normalise_ids(&mut self) {
        let normal = |id: &mut Text| {
            if let Cow::Owned(normal) = normal_id(id) {
                *id = normal.as_str().into();
            }
        };
        let key = |mut id: Text| {
            normal(&mut id);
            id
        };
        self.clouds.iter_mut().for_each(|cloud| normal(&mut cloud.id));
        self.vm_sizes =
            std::mem::take(&mut self.vm_sizes).into_iter().map(|(id, of)| (key(id), of)).collect();
        self.observed.0 =
            std::mem::take(&mut self.observed.0).into_iter().map(|(id, of)| (key(id), of)).collect();
        let account = &mut self.account;
        for list in
            [&mut account.only_observed, &mut account.only_observed_other, &mut account.creations_differ]
        {
            list.iter_mut().for_each(normal);
            list.sort();
        }
        account.releases_differ.iter_mut().for_each(|it| normal(&mut it.vm_id));
        account.releases_differ.sort_by(|a, b| a.vm_id.cmp(&b.vm_id));
    }

    /// Drops the size of each VM that has the size of its type: the catalogue states it for all of them.
    pub fn drop_sizes_of_types(&mut self, report: &MonthlyReport) {
        if self.vm_sizes.is_empty() {
            return;
        }
        let types: BTreeMap<&Text, VmSize> =
            self.instance_types.iter().map(|of| (&of.name, of.size())).collect();
        let of_type: BTreeMap<&Text, VmSize> =
            report.vms.iter().filter_map(|vm| Some((&vm.id, *types.get(&vm.instance_type)?))).collect();
        self.vm_sizes.retain(|id, size| of_type.get(id) != Some(size));
    }
}

impl Frozen {
    /// The inputs, borrowed.
    #[must_use]
    pub fn inputs(&self) -> Inputs<'_> {
        let header = &self.header;
        Inputs {
            tenant: &header.tenant,
            month: header.month,
            monthly: &self.monthly.report,
            body: &self.monthly.body,
            clouds: &header.clouds,
            instance_types: &header.instance_types,
            vm_sizes: &header.vm_sizes,
            prices: header.prices.as_ref(),
            group_by: &header.group_by,
            tag_rules: &header.tag_rules,
            excel_bom: header.excel_bom,
            fetched_at: header.fetched_at,
            witness: &header.observed,
            account: Some(&header.account),
            terms: &header.terms,
            supersedes: header.supersedes.as_ref(),
        }
    }

    /// As bytes for the ledger: gzip over a line with the version, a line of JSON and the
    /// provider's answer as it came.
    pub fn pack(&self) -> io::Result<Vec<u8>> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        writeln!(gzip, "{PACKED_VERSION}")?;
        serde_json::to_writer(&mut gzip, &self.header)?;
        gzip.write_all(b"\n")?;
        gzip.write_all(&self.monthly.body)?;
        gzip.finish()
    }

    /// Reads what [`Frozen::pack`] wrote. The error says what is wrong with it.
    pub fn unpack(packed: &[u8]) -> Result<Self, String> {
        let mut plain = Vec::new();
        GzDecoder::new(packed).read_to_end(&mut plain).map_err(|error| error.to_string())?;
        let plain = Bytes::from(plain);
        let (version, rest) = line(&plain).ok_or("it has no version")?;
        let is = |number: &u32| *version == *number.to_string().as_bytes();
        let number = (OLDEST_VERSION..=PACKED_VERSION)
            .find(is)
            .ok_or_else(|| format!("it has version {}", version.escape_ascii()))?;
        let (header, body) = line(&rest).ok_or("it has no header")?;
        let header = serde_json::from_slice(&header).map_err(|error| error.to_string())?;
        // Files that were written with other spellings are generated again with these spellings.
        let monthly =
            if number < NORMAL_IDS { api::Monthly::read_verbatim(body) } else { api::Monthly::read(body) };
        let monthly = monthly.map_err(|error| error.to_string())?;
        Ok(Self { header, monthly })
    }
}

/// The first line without its end, and what follows it.
fn line(bytes: &Bytes) -> Option<(Bytes, Bytes)> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    Some((bytes.slice(..end), bytes.slice(end + 1..)))
}

//! Our sums beside the provider's own totals: in all, by cloud, by tag. Differences are reported,
//! never adjusted. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::decimal::difference;
use super::tally::{Sums, Tally};
use crate::snapshot::{ProviderTotals, ReportTag};
use crate::usage::Line;

/// Seconds in an hour.
const HOUR: i64 = 3600;

/// How the provider rounded a total, if that explains its figure exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rounding {
    /// Each VM's time up to a whole hour, then summed.
    SumOfCeils,
    /// Summed, then up to a whole hour (in a total over clouds also: each cloud's sum).
    CeilOfSum,
    /// Neither gives the provider's figure.
    Unexplained,
}

impl Rounding {
    /// The word in the column `rounding`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SumOfCeils => "sum_of_ceils",
            Self::CeilOfSum => "ceil_of_sum",
            Self::Unexplained => "unexplained",
        }
    }
}

/// Our figures and the provider's for the same VMs. Differences are ours − the provider's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// Ours.
    pub ours: Ours,
    /// The provider's; `None` if it has no row.
    pub provider: Option<Provider>,
}

/// What we make of the provider's rows for VMs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ours {
    /// VMs created within the period.
    pub vms_created: u64,
    /// VMs released within the period.
    pub vms_released: u64,
    /// The provider's hours of its VMs, summed.
    pub vm_hours: u64,
    /// Exact seconds.
    pub vm_seconds: u64,
    /// Each VM's whole seconds rounded up to hours, summed.
    pub sum_of_ceils: u64,
    /// All seconds, rounded up to hours once.
    pub ceil_of_sum: u64,
}

/// The provider's own totals, and how far ours are from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    /// VMs created within the period.
    pub vms_created: u64,
    /// VMs released within the period.
    pub vms_released: u64,
    /// Hours.
    pub vm_hours: u64,
    /// How they were rounded.
    pub rounding: Rounding,
    /// Of the VMs created.
    pub difference_vms_created: i64,
    /// Of the VMs released.
    pub difference_vms_released: i64,
    /// The hours of its VMs, summed − its total.
    pub difference_hours: i64,
    /// Exact seconds − its total in seconds; rounding alone makes this negative.
    pub difference_seconds: i64,
    /// 0 if a rounding explains its total, else the nearest rounding − its total, in seconds.
    pub unexplained_seconds: i64,
}

/// The differences that matter, in short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Differences {
    /// VMs created, ours − the provider's, over all clouds.
    pub vms_created: i64,
    /// VMs released, ours − the provider's, over all clouds.
    pub vms_released: i64,
    /// The largest of `difference_seconds` by absolute value; a row that the provider lacks counts as 0.
    pub seconds: Scopes,
    /// The largest of `unexplained_seconds` by absolute value, likewise.
    pub unexplained_seconds: Scopes,
    /// Sum of the absolute hours of VMs that no rounding of their times explains. Absent in manifests
    /// of version 1.
    #[serde(default)]
    pub unexplained_vm_hours: u64,
}

/// A signed figure by scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scopes {
    /// Over everything.
    pub total: i64,
    /// The largest among clouds.
    pub clouds: i64,
    /// The largest among tags.
    pub tags: i64,
}

/// A tally beside the provider's totals.
#[derive(Debug)]
pub struct Reconciliation<'a> {
    tally: &'a Tally<'a>,
    /// The provider's rows by raw tag, without repeated rows. If a tag has several rows, they
    /// contradict each other.
    tags: BTreeMap<&'a str, Vec<ProviderTotals>>,
}

impl<'a> Reconciliation<'a> {
    pub fn new(tally: &'a Tally<'a>, by_tag: &'a [ReportTag]) -> Self {
        let mut tags: BTreeMap<&str, Vec<ProviderTotals>> = BTreeMap::new();
        for row in by_tag {
            let rows = tags.entry(&row.tag).or_default();
            if !rows.contains(&row.usage) {
                rows.push(row.usage);
            }
        }
        Self { tally, tags }
    }

    /// Returns the total over all clouds. The provider's total is the sum of its rows for clouds; it is
    /// absent if there is no such row.
    pub fn total(&self) -> Compared {
        let mut sum = ProviderTotals::default();
        for row in self.tally.provider_clouds.values() {
            sum.vms_created = sum.vms_created.saturating_add(row.usage.vms_created);
            sum.vms_released = sum.vms_released.saturating_add(row.usage.vms_released);
            sum.vm_hours = sum.vm_hours.saturating_add(row.usage.vm_hours);
        }
        let by_cloud = |ceil: fn(&Sums) -> u64| self.tally.clouds.values().map(ceil).sum();
        let by_cloud = [by_cloud(Sums::ceil_of_sum), by_cloud(Sums::exact_ceil_of_sum)];
        let has_rows = !self.tally.provider_clouds.is_empty();
        compare(&self.tally.total, has_rows.then_some(sum), by_cloud)
    }

    /// A cloud and its sums.
    pub fn cloud(&self, id: &str, sums: &Sums) -> Compared {
        let provider = self.tally.provider_clouds.get(id).map(|row| row.usage);
        compare(sums, provider, [])
    }

    /// Every cloud, by id.
    pub fn clouds(&self) -> impl Iterator<Item = (&'a str, Compared)> {
        self.tally.clouds.iter().map(|(id, sums)| (*id, self.cloud(id, sums)))
    }

    /// Every tag that VMs or the provider's totals have, bytewise.
    pub fn tags(&self) -> impl Iterator<Item = (&'a str, Compared)> {
        let theirs_alone = self.tags.keys().filter(|tag| !self.tally.tags.contains_key(*tag));
        let mut tags: Vec<&str> = self.tally.tags.keys().chain(theirs_alone).copied().collect();
        tags.sort_unstable();
        tags.into_iter().map(|tag| {
            let row = match self.tags.get(tag).map(Vec::as_slice) {
                Some([row]) => Some(*row),
                _ => None,
            };
            (tag, compare(&self.sums(tag), row, []))
        })
    }

    /// The sums of the VMs with a tag.
    fn sums(&self, tag: &str) -> Sums {
        self.tally.tags.get(tag).copied().unwrap_or_default()
    }

    /// Compares a tag with each of the provider's rows for the tag, or with no row if none exists.
    fn with_each_row(&self, tag: &str) -> impl Iterator<Item = Compared> {
        let rows = self.tags.get(tag).map(Vec::as_slice).unwrap_or_default();
        let no_row = rows.is_empty().then_some(None);
        let sums = self.sums(tag);
        rows.iter().copied().map(Some).chain(no_row).map(move |row| compare(&sums, row, []))
    }

    /// Tags for which the provider has rows that differ.
    pub fn ambiguous_tags(&self) -> impl Iterator<Item = &'a str> {
        self.tags.iter().filter(|(_, rows)| rows.len() > 1).map(|(tag, _)| *tag)
    }

    /// Returns a summary of the differences. Clouds are compared only if the provider gave rows for
    /// clouds, and tags only if it gave any rows.
    pub fn differences(&self) -> Differences {
        let total = self.total();
        let hours = self.tally.lines.iter().map(Line::unexplained_hours);
        let mut short = Differences {
            unexplained_vm_hours: hours.fold(0, u64::saturating_add),
            ..Differences::default()
        };
        if let Some(provider) = total.provider {
            short.vms_created = provider.difference_vms_created;
            short.vms_released = provider.difference_vms_released;
            short.seconds.total = provider.difference_seconds;
            short.unexplained_seconds.total = provider.unexplained_seconds;
        }
        let (seconds, unexplained) = (&mut short.seconds, &mut short.unexplained_seconds);
        let (has_clouds, has_tags) = (total.provider.is_some(), !self.tags.is_empty());
        for (_, cloud) in self.clouds().filter(|_| has_clouds) {
            larger(&mut seconds.clouds, cloud.seconds());
            larger(&mut unexplained.clouds, cloud.unexplained());
        }
        let tags = self.tags().filter(|_| has_clouds || has_tags);
        for compared in tags.flat_map(|(tag, _)| self.with_each_row(tag)) {
            larger(&mut seconds.tags, compared.seconds());
            larger(&mut unexplained.tags, compared.unexplained());
        }
        short
    }
}

impl Compared {
    fn seconds(&self) -> i64 {
        self.provider.map_or_else(|| difference(self.ours.vm_seconds, 0), |theirs| theirs.difference_seconds)
    }

    fn unexplained(&self) -> i64 {
        self.provider.map_or_else(|| difference(self.ours.vm_seconds, 0), |theirs| theirs.unexplained_seconds)
    }
}

/// Keeps whichever is larger without its sign.
fn larger(kept: &mut i64, other: i64) {
    if other.unsigned_abs() > kept.unsigned_abs() {
        *kept = other;
    }
}

/// Compares our sums with the provider's. `parts` are further ways of rounding up sums: once for each
/// part that the provider can have rounded separately.
///
/// The provider's hours are explained by VMs' whole seconds or by their exact times, because the API
/// does not document which of both it rounds up (see [`Line::explained_hours`](crate::usage::Line)).
fn compare<const N: usize>(sums: &Sums, provider: Option<ProviderTotals>, parts: [u64; N]) -> Compared {
    let totals = &sums.totals;
    let ours = Ours {
        vms_created: totals.vms_created,
        vms_released: totals.vms_released,
        vm_hours: totals.vm_hours,
        vm_seconds: sums.seconds(),
        sum_of_ceils: sums.sum_of_ceils,
        ceil_of_sum: sums.ceil_of_sum(),
    };
    let provider = provider.map(|theirs| {
        let each = [ours.sum_of_ceils, sums.exact_sum_of_ceils];
        let once = [ours.ceil_of_sum, sums.exact_ceil_of_sum()];
        let once = || once.into_iter().chain(parts);
        let rounding = if each.contains(&theirs.vm_hours) {
            Rounding::SumOfCeils
        } else if once().any(|hours| hours == theirs.vm_hours) {
            Rounding::CeilOfSum
        } else {
            Rounding::Unexplained
        };
        let away = each.into_iter().chain(once()).map(|hours| difference(hours, theirs.vm_hours));
        let nearest = away.min_by_key(|hours| hours.unsigned_abs()).unwrap_or_default();
        Provider {
            vms_created: theirs.vms_created,
            vms_released: theirs.vms_released,
            vm_hours: theirs.vm_hours,
            rounding,
            difference_vms_created: difference(ours.vms_created, theirs.vms_created),
            difference_vms_released: difference(ours.vms_released, theirs.vms_released),
            difference_hours: difference(ours.vm_hours, theirs.vm_hours),
            difference_seconds: difference(
                ours.vm_seconds,
                theirs.vm_hours.saturating_mul(HOUR.unsigned_abs()),
            ),
            unexplained_seconds: nearest.saturating_mul(HOUR),
        }
    });
    Compared { ours, provider }
}

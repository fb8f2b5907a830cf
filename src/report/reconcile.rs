//! Our sums beside the provider's. Differences are told, never adjusted.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::analysis::Analysis;
use crate::snapshot::ProviderTotals;
use crate::usage::Totals;

/// How the provider's figure comes about from ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoundingUsed {
    /// Each VM's seconds rounded up to hours, then summed.
    SumOfCeils,
    /// The sum of seconds rounded up to hours.
    CeilOfSum,
    /// Neither gives the provider's figure.
    Unexplained,
}

impl RoundingUsed {
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

/// Ours for a set of VMs, and the provider's if it gives a figure for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// VMs created within the month.
    pub vms_created: u64,
    /// VMs released within the month.
    pub vms_released: u64,
    /// VMs alive at its end.
    pub vms_at_end: u64,
    /// The provider's hours of each VM, summed.
    pub vm_hours: u64,
    /// Exact seconds.
    pub vm_seconds: u64,
    /// Each VM's seconds rounded up to hours, summed.
    pub sum_of_ceils: u64,
    /// The sum of seconds rounded up to hours.
    pub ceil_of_sum: u64,
    /// The provider's own total.
    pub provider: Option<Provider>,
}

/// The provider's own total, and how ours differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    /// Its hours.
    pub vm_hours: u64,
    /// VMs that it counts as created.
    pub vms_created: u64,
    /// VMs that it counts as released.
    pub vms_released: u64,
    /// Hours summed over VMs − its own total.
    pub difference_hours: i64,
    /// Exact seconds − its hours in seconds.
    pub difference_seconds: i64,
    /// What explains it.
    pub rounding: RoundingUsed,
}

/// All comparisons of a month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconciliation {
    /// All VMs beside the sum of the provider's clouds.
    pub total: Sums,
    /// By cloud id.
    pub clouds: BTreeMap<String, Sums>,
    /// By raw tag; tags overlap.
    pub tags: BTreeMap<String, Sums>,
}

impl Reconciliation {
    pub(super) fn of(analysis: &Analysis<'_>) -> Self {
        let monthly = analysis.inputs.monthly;
        let mut total = (Totals::default(), 0);
        let mut clouds: BTreeMap<&str, (Totals, u64)> = BTreeMap::new();
        let mut tags: BTreeMap<&str, (Totals, u64)> = BTreeMap::new();
        let listed = analysis.inputs.clouds.iter().map(|cloud| &cloud.id);
        for id in listed.chain(monthly.clouds.iter().map(|cloud| &cloud.id)) {
            clouds.entry(id).or_default();
        }
        for row in &monthly.by_tag {
            tags.entry(&row.tag).or_default();
        }
        for line in &analysis.lines {
            let add = |(totals, ceils): &mut (Totals, u64)| {
                *totals += line.totals();
                *ceils += line.seconds.total().div_ceil(3600);
            };
            add(&mut total);
            add(clouds.entry(&line.vm.cloud_id).or_default());
            line.vm.tags.iter().for_each(|tag| add(tags.entry(tag).or_default()));
        }
        let provider_clouds: BTreeMap<&str, ProviderTotals> =
            monthly.clouds.iter().map(|row| (&*row.id, row.usage)).collect();
        let provider_tags: BTreeMap<&str, ProviderTotals> =
            monthly.by_tag.iter().map(|row| (&*row.tag, row.usage)).collect();
        // Without any row of a cloud the provider gives no total; an empty organisation's is nothing.
        let provider_total = provider_clouds.values().copied().reduce(|a, b| ProviderTotals {
            vms_created: a.vms_created + b.vms_created,
            vms_released: a.vms_released + b.vms_released,
            vm_hours: a.vm_hours + b.vm_hours,
        });
        let compare = |ours: BTreeMap<&str, (Totals, u64)>, theirs: &BTreeMap<&str, ProviderTotals>| {
            let sums = ours
                .into_iter()
                .map(|(name, sums)| (name.to_owned(), compare(sums, theirs.get(name).copied())));
            sums.collect()
        };
        Self {
            total: self::compare(total, provider_total),
            clouds: compare(clouds, &provider_clouds),
            tags: compare(tags, &provider_tags),
        }
    }

    /// Ours − the provider's in seconds, the largest absolute within `total`, `clouds` and `tags`.
    #[must_use]
    pub fn largest_seconds(&self) -> BTreeMap<&'static str, i64> {
        let largest = |sums: &mut dyn Iterator<Item = &Sums>| {
            sums.filter_map(|sums| Some(sums.provider.as_ref()?.difference_seconds))
                .max_by_key(|s| s.unsigned_abs())
        };
        let scopes = [
            ("total", largest(&mut std::iter::once(&self.total))),
            ("clouds", largest(&mut self.clouds.values())),
            ("tags", largest(&mut self.tags.values())),
        ];
        scopes.into_iter().filter_map(|(scope, seconds)| Some((scope, seconds?))).collect()
    }

    /// VMs by which counts of created and released differ, summed over clouds.
    #[must_use]
    pub fn vms(&self) -> BTreeMap<&'static str, u64> {
        let sum = |ours: fn(&Sums) -> u64, theirs: fn(&Provider) -> u64| {
            let rows = self.clouds.values();
            rows.filter_map(|sums| Some(ours(sums).abs_diff(theirs(sums.provider.as_ref()?)))).sum()
        };
        BTreeMap::from([
            ("created", sum(|sums| sums.vms_created, |provider| provider.vms_created)),
            ("released", sum(|sums| sums.vms_released, |provider| provider.vms_released)),
        ])
    }

    /// Scopes whose figure neither rounding explains.
    #[must_use]
    pub fn unexplained(&self) -> BTreeSet<String> {
        let unexplained = |sums: &Sums| {
            sums.provider.as_ref().is_some_and(|provider| provider.rounding == RoundingUsed::Unexplained)
        };
        let clouds =
            self.clouds.iter().filter(|(_, sums)| unexplained(sums)).map(|(id, _)| format!("cloud {id}"));
        let tags =
            self.tags.iter().filter(|(_, sums)| unexplained(sums)).map(|(tag, _)| format!("tag {tag}"));
        let total = unexplained(&self.total).then(|| "total".to_owned());
        total.into_iter().chain(clouds).chain(tags).collect()
    }
}

fn compare((totals, sum_of_ceils): (Totals, u64), provider: Option<ProviderTotals>) -> Sums {
    let vm_seconds = totals.seconds.total();
    let ceil_of_sum = vm_seconds.div_ceil(3600);
    let provider = provider.map(|theirs| Provider {
        vm_hours: theirs.vm_hours,
        vms_created: theirs.vms_created,
        vms_released: theirs.vms_released,
        difference_hours: difference(totals.vm_hours, theirs.vm_hours),
        difference_seconds: difference(vm_seconds, theirs.vm_hours.saturating_mul(3600)),
        rounding: match theirs.vm_hours {
            hours if hours == sum_of_ceils => RoundingUsed::SumOfCeils,
            hours if hours == ceil_of_sum => RoundingUsed::CeilOfSum,
            _ => RoundingUsed::Unexplained,
        },
    });
    Sums {
        vms_created: totals.vms_created,
        vms_released: totals.vms_released,
        vms_at_end: totals.vms_at_end,
        vm_hours: totals.vm_hours,
        vm_seconds,
        sum_of_ceils,
        ceil_of_sum,
        provider,
    }
}

fn difference(ours: u64, theirs: u64) -> i64 {
    i64::try_from(i128::from(ours) - i128::from(theirs)).unwrap_or(if ours > theirs {
        i64::MAX
    } else {
        i64::MIN
    })
}

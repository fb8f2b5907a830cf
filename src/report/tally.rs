//! One pass over a month's lines: every sum that the files show. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use foldhash::fast::RandomState;
use rust_decimal::Decimal;

use super::decimal::Hundredths;
use super::{Account, Inputs, ReportError};
use crate::config::Prices;
use crate::period::Month;
use crate::snapshot::{ReportCloud, Text, VmSize};
use crate::usage::{
    self, Flag, Flags, Group, Grouping, HOUR_NANOSECONDS, Line, STOPPED_COST_DECIMALS, Totals, add_cost,
};

/// More hours than any month can hold. Up to here every sum of hours × price is exact.
const MOST_HOURS: u128 = 1_000_000_000_000;

/// Size × time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SizeHours {
    pub vcpu: Hundredths,
    pub memory_gib: Hundredths,
    pub gpu: Hundredths,
}

/// A size times `seconds`.
pub fn size_hours(size: VmSize, seconds: u64) -> SizeHours {
    SizeHours {
        vcpu: Hundredths::unit_hours(size.vcpus, seconds),
        memory_gib: Hundredths::gib_hours(size.memory_mib, seconds),
        gpu: Hundredths::unit_hours(size.gpus, seconds),
    }
}

/// Sums over a set of VMs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    pub totals: Totals,
    /// VMs alive when the month began.
    pub at_start: u64,
    /// Each VM's whole seconds rounded up to hours, summed.
    pub sum_of_ceils: u64,
    /// Each VM's exact time rounded up to hours, summed.
    pub exact_sum_of_ceils: u64,
    /// All exact time.
    exact_nanoseconds: u128,
    /// VMs whose size is known.
    sized: u64,
    hours: SizeHours,
    /// Exact seconds of VMs whose size is unknown.
    pub unsized_seconds: u64,
    /// Price × the provider's hours; `None` until a VM has a price.
    pub cost: Option<Decimal>,
    /// Part of `cost` for the observed stopped time: the rounded cells of the VMs, summed.
    pub stopped_cost: Option<Decimal>,
    /// The provider's hours of VMs without a price.
    pub unpriced_hours: u64,
}

impl Sums {
    /// Size × time of the VMs whose size is known; `None` if there are VMs and none is known.
    pub fn hours(&self) -> Option<SizeHours> {
        (self.sized > 0 || self.totals.vms == 0).then_some(self.hours)
    }

    /// All seconds.
    pub fn seconds(&self) -> u64 {
        self.totals.seconds.total()
    }

    /// All seconds, rounded up to hours once.
    pub fn ceil_of_sum(&self) -> u64 {
        self.seconds().div_ceil(3600)
    }

    /// All exact time, rounded up to hours once.
    pub fn exact_ceil_of_sum(&self) -> u64 {
        u64::try_from(self.exact_nanoseconds.div_ceil(HOUR_NANOSECONDS.into())).unwrap_or(u64::MAX)
    }

    fn add(&mut self, vm: &Self) {
        self.totals += vm.totals;
        self.at_start += vm.at_start;
        self.sum_of_ceils += vm.sum_of_ceils;
        self.exact_sum_of_ceils += vm.exact_sum_of_ceils;
        self.exact_nanoseconds += vm.exact_nanoseconds;
        self.sized += vm.sized;
        self.hours.vcpu += vm.hours.vcpu;
        self.hours.memory_gib += vm.hours.memory_gib;
        self.hours.gpu += vm.hours.gpu;
        self.unsized_seconds += vm.unsized_seconds;
        add_cost(&mut self.cost, vm.cost);
        add_cost(&mut self.stopped_cost, vm.stopped_cost);
        self.unpriced_hours += vm.unpriced_hours;
    }
}

/// What a cloud is called and where it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct CloudNames<'a> {
    pub name: &'a str,
    pub site: Option<&'a str>,
}

/// A month's lines and every sum over them.
#[derive(Debug)]
pub struct Tally<'a> {
    /// One a VM, by id.
    pub lines: Vec<Line<'a>>,
    pub total: Sums,
    /// By raw tag, bytewise; overlapping.
    pub tags: BTreeMap<&'a str, Sums>,
    pub untagged: Sums,
    /// Groups in the order of their cells, with their sums: a partition.
    pub groups: Vec<(Group, Sums)>,
    /// By cloud id, bytewise: every cloud that any source names. A partition.
    pub clouds: BTreeMap<&'a str, Sums>,
    /// The provider's rows by cloud id.
    pub provider_clouds: BTreeMap<&'a str, &'a ReportCloud>,
    /// Index in `groups` of each set of raw tags.
    group_of: HashMap<&'a [Text], usize, RandomState>,
    names: HashMap<&'a str, CloudNames<'a>, RandomState>,
    sizes: HashMap<&'a str, VmSize, RandomState>,
    /// By VM id; these take precedence over the sizes of types.
    vm_sizes: &'a BTreeMap<Text, VmSize>,
    /// Ids of the VMs whose release polls contradict.
    releases_differ: BTreeSet<&'a str>,
    prices: Option<&'a Prices>,
    /// Decimals of the currency's minor unit; 0 without prices.
    minor_unit: u32,
    month: Month,
}

impl<'a> Tally<'a> {
    /// Checks the provider's report and sums it up.
    pub fn of(inputs: &Inputs<'a>) -> Result<Self, ReportError> {
        usage::check(inputs.monthly, inputs.month.period())?;
        let vms = &inputs.monthly.vms;
        let sum: u128 = vms.iter().map(|vm| u128::from(vm.vm_hours)).sum();
        if sum > MOST_HOURS
            && let Some(most) = vms.iter().max_by_key(|vm| vm.vm_hours)
        {
            return Err(ReportError::Hours { sum, vm_id: most.id.clone(), most: most.vm_hours });
        }
        let provider_clouds = provider_clouds(&inputs.monthly.clouds, inputs.month)?;
        let mut names: HashMap<_, _, _> = provider_clouds
            .iter()
            .map(|(id, row)| (*id, CloudNames { name: "", site: Some(&*row.site) }))
            .collect();
        names.extend(
            inputs
                .clouds
                .iter()
                .map(|cloud| (&*cloud.id, CloudNames { name: &cloud.name, site: Some(&cloud.site) })),
        );
        let mut tally = Self {
            lines: usage::lines(inputs.monthly, inputs.fetched_at, inputs.witness).collect(),
            total: Sums::default(),
            tags: BTreeMap::new(),
            untagged: Sums::default(),
            groups: Vec::new(),
            group_of: HashMap::default(),
            clouds: names.keys().map(|id| (*id, Sums::default())).collect(),
            provider_clouds,
            names,
            sizes: inputs.instance_types.iter().map(|it| (&*it.name, it.size())).collect(),
            vm_sizes: inputs.vm_sizes,
            releases_differ: releases_differ(inputs.account),
            prices: inputs.prices,
            minor_unit: inputs.prices.map(Prices::minor_unit).unwrap_or_default(),
            month: inputs.month,
        };
        tally.sum_up(&Grouping { group_by: inputs.group_by, tag_rules: inputs.tag_rules });
        Ok(tally)
    }

    fn sum_up(&mut self, grouping: &Grouping<'_>) {
        let lines = std::mem::take(&mut self.lines);
        // Build farms make thousands of VMs with one set of tags: each set is grouped once.
        let mut sets: HashMap<&'a [Text], Sums, RandomState> = HashMap::default();
        for line in &lines {
            let (vm, sums) = (line.vm, self.sums_of(line));
            self.total.add(&sums);
            self.clouds.entry(&vm.cloud_id).or_default().add(&sums);
            for tag in vm.tags.iter() {
                self.tags.entry(tag).or_default().add(&sums);
            }
            if vm.tags.is_empty() {
                self.untagged.add(&sums);
            }
            sets.entry(&vm.tags).or_default().add(&sums);
        }
        let mut groups: BTreeMap<Group, (Sums, Vec<&'a [Text]>)> = BTreeMap::new();
        for (tags, sums) in sets {
            let (group, of_group) = groups.entry(grouping.group(tags)).or_default();
            group.add(&sums);
            of_group.push(tags);
        }
        for (group, (sums, sets)) in groups {
            let index = self.groups.len();
            self.group_of.extend(sets.into_iter().map(|tags| (tags, index)));
            self.groups.push((group, sums));
        }
        self.lines = lines;
    }

    /// Returns the group of the line's VM.
    pub fn group(&self, line: &Line<'_>) -> Option<&Group> {
        self.group_of.get(&*line.vm.tags).map(|index| &self.groups[*index].0)
    }

    /// A line as sums over one VM.
    pub fn sums_of(&self, line: &Line<'_>) -> Sums {
        let (seconds, size) = (line.seconds.total(), self.size(line));
        let cost = line.internal_cost(self.prices, self.month);
        let [sum_of_ceils, exact_sum_of_ceils] = line.explained_hours();
        Sums {
            totals: line.totals(),
            at_start: line.at_start.into(),
            sum_of_ceils,
            exact_sum_of_ceils,
            exact_nanoseconds: line.exact_nanoseconds.into(),
            sized: size.is_some().into(),
            hours: size.map(|size| size_hours(size, seconds)).unwrap_or_default(),
            unsized_seconds: if size.is_none() { seconds } else { 0 },
            cost,
            stopped_cost: cost.map(|cost| line.stopped_cost(cost, self.minor_unit)),
            unpriced_hours: if cost.is_none() { line.vm.vm_hours } else { 0 },
        }
    }

    /// The size of the line's VM: its own, else that of its type; `None` if neither is known.
    pub fn size(&self, line: &Line<'_>) -> Option<VmSize> {
        let own = self.vm_sizes.get(&line.vm.id).copied();
        own.or_else(|| self.sizes.get(&*line.vm.instance_type).copied())
    }

    /// The price of an hour of the line's VM.
    pub fn price(&self, line: &Line<'_>) -> Option<Decimal> {
        self.prices?.at(&line.vm.instance_type, self.month)
    }

    /// All flags of a line, those that depend on price list and catalogue included.
    pub fn flags(&self, line: &Line<'_>) -> Flags {
        let mut flags = line.flags;
        flags.set(Flag::NoPrice, self.prices.is_some() && self.price(line).is_none());
        flags.set(Flag::UnknownType, self.size(line).is_none());
        flags.set(Flag::ReleasesDiffer, self.releases_differ.contains(&&*line.vm.id));
        flags
    }

    /// Name and site of a cloud: from the list of clouds, else (without a name) from the report.
    pub fn names(&self, cloud_id: &str) -> CloudNames<'a> {
        self.names.get(cloud_id).copied().unwrap_or_default()
    }

    /// The currency of the price list.
    pub fn currency(&self) -> Option<&'a str> {
        self.prices.map(|prices| prices.currency.as_str())
    }

    /// Returns the number of decimals of the currency's minor unit; `None` without a price list.
    pub fn minor_unit(&self) -> Option<u32> {
        self.prices.map(|_| self.minor_unit)
    }

    /// Cost of everything that has a price; `None` without a price list.
    pub fn cost(&self) -> Option<Decimal> {
        self.prices.map(|_| self.total.cost.unwrap_or_default())
    }

    /// Returns the part of the cost for the observed stopped time; `None` without a price list.
    pub fn stopped_cost(&self) -> Option<Decimal> {
        let none = Decimal::new(0, self.minor_unit + STOPPED_COST_DECIMALS);
        self.prices.map(|_| self.total.stopped_cost.unwrap_or(none))
    }
}

fn releases_differ(account: Option<&Account>) -> BTreeSet<&str> {
    account.into_iter().flat_map(|account| &account.releases_differ).map(|it| &*it.vm_id).collect()
}

/// The provider's rows by cloud id. Of rows with the same totals, the last one is used: the other
/// fields (nodes, VMs, site) drift.
fn provider_clouds(rows: &[ReportCloud], month: Month) -> Result<BTreeMap<&str, &ReportCloud>, ReportError> {
    let mut clouds: BTreeMap<&str, &ReportCloud> = BTreeMap::new();
    for row in rows {
        if let Some(other) = clouds.insert(&*row.id, row)
            && other.usage != row.usage
        {
            let rows = Box::new([other.usage, row.usage]);
            return Err(ReportError::Clouds { cloud_id: row.id.clone(), month, rows });
        }
    }
    Ok(clouds)
}

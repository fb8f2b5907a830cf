//! One pass over a month's lines: every sum that the files show. Pure.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use rust_decimal::Decimal;

use super::decimal::Hundredths;
use super::{Inputs, ReportError};
use crate::config::Prices;
use crate::period::Month;
use crate::snapshot::{ReportCloud, Text, VmSize};
use crate::usage::{self, Flag, Flags, Group, Grouping, Line, Totals, add_cost};

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
    /// Each VM's seconds rounded up to hours, summed.
    pub sum_of_ceils: u64,
    /// VMs whose size is known.
    sized: u64,
    hours: SizeHours,
    /// Price × the provider's hours; `None` until a VM has a price.
    pub cost: Option<Decimal>,
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

    fn add(&mut self, vm: &Self) {
        self.totals += vm.totals;
        self.at_start += vm.at_start;
        self.sum_of_ceils += vm.sum_of_ceils;
        self.sized += vm.sized;
        self.hours.vcpu += vm.hours.vcpu;
        self.hours.memory_gib += vm.hours.memory_gib;
        self.hours.gpu += vm.hours.gpu;
        add_cost(&mut self.cost, vm.cost);
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
    /// By group: a partition.
    pub groups: BTreeMap<Group, Sums>,
    /// By cloud id, bytewise: every cloud that any source names. A partition.
    pub clouds: BTreeMap<&'a str, Sums>,
    /// The provider's rows by cloud id.
    pub provider_clouds: BTreeMap<&'a str, &'a ReportCloud>,
    names: HashMap<&'a str, CloudNames<'a>, RandomState>,
    sizes: HashMap<&'a str, VmSize, RandomState>,
    /// By VM id; these take precedence over the sizes of types.
    vm_sizes: &'a BTreeMap<Text, VmSize>,
    prices: Option<&'a Prices>,
    month: Month,
}

impl<'a> Tally<'a> {
    /// Checks the provider's report and sums it up.
    pub fn of(inputs: &Inputs<'a>) -> Result<Self, ReportError> {
        usage::check(inputs.monthly, inputs.month.period())?;
        let hours: u128 = inputs.monthly.vms.iter().map(|vm| u128::from(vm.vm_hours)).sum();
        if hours > MOST_HOURS {
            return Err(ReportError::Hours(hours));
        }
        let provider_clouds = provider_clouds(&inputs.monthly.clouds)?;
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
            groups: BTreeMap::new(),
            clouds: names.keys().map(|id| (*id, Sums::default())).collect(),
            provider_clouds,
            names,
            sizes: inputs.instance_types.iter().map(|it| (&*it.name, it.size())).collect(),
            vm_sizes: inputs.vm_sizes,
            prices: inputs.prices,
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
        for (tags, sums) in sets {
            self.groups.entry(grouping.group(tags)).or_default().add(&sums);
        }
        self.lines = lines;
    }

    /// A line as sums over one VM.
    pub fn sums_of(&self, line: &Line<'_>) -> Sums {
        let (seconds, size) = (line.seconds.total(), self.size(line));
        let cost = line.internal_cost(self.prices, self.month);
        Sums {
            totals: line.totals(),
            at_start: line.at_start.into(),
            sum_of_ceils: seconds.div_ceil(3600),
            sized: size.is_some().into(),
            hours: size.map(|size| size_hours(size, seconds)).unwrap_or_default(),
            cost,
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

    /// Cost of everything that has a price; `None` without a price list.
    pub fn cost(&self) -> Option<Decimal> {
        self.prices.map(|_| self.total.cost.unwrap_or_default())
    }
}

/// The provider's rows by cloud id; rows that say the same twice count once.
fn provider_clouds(rows: &[ReportCloud]) -> Result<BTreeMap<&str, &ReportCloud>, ReportError> {
    let mut clouds = BTreeMap::new();
    for row in rows {
        if clouds.insert(&*row.id, row).is_some_and(|other| other != row) {
            return Err(ReportError::Clouds(row.id.clone()));
        }
    }
    Ok(clouds)
}

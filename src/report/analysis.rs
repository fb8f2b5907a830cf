//! A month taken apart once, for all files that are made from it. Pure.

use std::collections::{BTreeMap, HashMap};

use rust_decimal::Decimal;

use super::Inputs;
use super::measure::{Measures, Size, SizeHours, sizes};
use crate::snapshot::Text;
use crate::usage::{Flag, Flags, Group, Grouping, Line, add_cost, lines};

/// Everything that the files of a month say.
pub struct Analysis<'a> {
    pub inputs: &'a Inputs<'a>,
    /// One a VM, by id.
    pub lines: Vec<Line<'a>>,
    pub sizes: HashMap<&'a str, Size>,
    pub total: Measures,
    pub cost: Cost,
    pub at_start: u64,
    /// By group: every VM is in one.
    pub groups: BTreeMap<Group, (Measures, Cost)>,
    /// By raw tag: a VM is in as many as it has.
    pub tags: BTreeMap<Text, Measures>,
    pub untagged: Measures,
}

/// Unit price × the provider's hours.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// `None` until something has a price.
    pub internal: Option<Decimal>,
    /// The provider's hours of VMs without a price.
    pub unpriced_vm_hours: u64,
}

impl Cost {
    fn add(&mut self, cost: Option<Decimal>, vm_hours: u64) {
        add_cost(&mut self.internal, cost);
        if cost.is_none() {
            self.unpriced_vm_hours += vm_hours;
        }
    }
}

impl<'a> Analysis<'a> {
    pub fn of(inputs: &'a Inputs<'a>) -> Self {
        let lines = lines(inputs.monthly, inputs.fetched_at, inputs.witness);
        let mut analysis = Self {
            inputs,
            sizes: sizes(inputs.instance_types),
            total: Measures::default(),
            cost: Cost::default(),
            at_start: 0,
            groups: BTreeMap::new(),
            tags: BTreeMap::new(),
            untagged: Measures::default(),
            lines: Vec::new(),
        };
        let grouping = Grouping { group_by: inputs.group_by, tag_rules: inputs.tag_rules };
        // Build farms make thousands of VMs with one set of tags: each set is grouped once.
        let mut known: HashMap<&[Text], Group> = HashMap::new();
        for line in &lines {
            let (measures, cost) = (analysis.measures(line), analysis.cost_of(line));
            let (tags, vm_hours) = (&line.vm.tags, line.vm.vm_hours);
            analysis.total += measures;
            analysis.cost.add(cost, vm_hours);
            analysis.at_start += u64::from(line.at_start);
            let group = known.entry(tags).or_insert_with(|| grouping.group(tags)).clone();
            let (sums, group_cost) = analysis.groups.entry(group).or_default();
            *sums += measures;
            group_cost.add(cost, vm_hours);
            for tag in tags.iter() {
                *analysis.tags.entry(tag.clone()).or_default() += measures;
            }
            if tags.is_empty() {
                analysis.untagged += measures;
            }
        }
        analysis.lines = lines;
        analysis
    }

    pub fn measures(&self, line: &Line<'_>) -> Measures {
        let size = self.sizes.get(&*line.vm.instance_type);
        let size_hours = size.map(|size| SizeHours::of(*size, line.seconds.total()));
        Measures { totals: line.totals(), size_hours }
    }

    pub fn price(&self, line: &Line<'_>) -> Option<Decimal> {
        self.inputs.prices?.at(&line.vm.instance_type, self.inputs.month)
    }

    pub fn cost_of(&self, line: &Line<'_>) -> Option<Decimal> {
        line.internal_cost(self.inputs.prices, self.inputs.month)
    }

    /// The line's flags with those that depend on price list and catalogue.
    pub fn flags(&self, line: &Line<'_>) -> Flags {
        let mut flags = line.flags;
        flags.set(Flag::NoPrice, self.inputs.prices.is_some() && self.price(line).is_none());
        flags.set(Flag::UnknownType, !self.sizes.contains_key(&*line.vm.instance_type));
        flags
    }

    /// ISO 4217 code, or nothing without a price list.
    pub fn currency(&self) -> &str {
        self.inputs.prices.map_or("", |prices| &prices.currency)
    }
}

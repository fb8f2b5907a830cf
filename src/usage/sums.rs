//! Sums over lines, for gauges and pages.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use jiff::Timestamp;
use rust_decimal::Decimal;

use super::{GroupKind, GroupTotals, Grouping, Line, PeriodUsage, Totals, Use, Witness, lines};
use crate::config::Prices;
use crate::period::Month;
use crate::snapshot::{MonthlyReport, Text};

/// Decimals of the cost of stopped time beyond those of the currency's minor unit.
pub const STOPPED_COST_DECIMALS: u32 = 2;

impl Line<'_> {
    /// This line as sums over one VM.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals {
            vms: 1,
            vms_created: self.created.into(),
            vms_released: self.released.into(),
            vms_at_end: self.at_end.into(),
            vm_hours: self.vm.vm_hours,
            seconds: self.seconds,
        }
    }

    /// Unit price × the provider's hours, exact; `None` without a price.
    #[must_use]
    pub fn internal_cost(&self, prices: Option<&Prices>, month: Month) -> Option<Decimal> {
        let price = prices?.at(&self.vm.instance_type, month)?;
        price.checked_mul(Decimal::from(self.vm.vm_hours))
    }

    /// Returns the part of `cost` for the observed stopped time: `cost` × stopped seconds ÷ all
    /// seconds, rounded half up to the minor unit plus two decimals; 0 if there are no seconds.
    #[must_use]
    pub fn stopped_cost(&self, cost: Decimal, minor_unit: u32) -> Decimal {
        let decimals = minor_unit + STOPPED_COST_DECIMALS;
        let (stopped, all) = (self.seconds.get(Use::Stopped), self.seconds.total());
        if stopped == 0 {
            return Decimal::new(0, decimals);
        }
        let part = cost.mantissa().unsigned_abs() * u128::from(stopped);
        // Prices, hours and seconds are bounded, so no product here exceeds 128 bits.
        let (part, whole) = match decimals.checked_sub(cost.scale()) {
            Some(more) => (part * 10_u128.pow(more), u128::from(all)),
            None => (part, u128::from(all) * 10_u128.pow(cost.scale() - decimals)),
        };
        let units = (2 * part + whole) / (2 * whole);
        Decimal::from_i128_with_scale(i128::try_from(units).unwrap_or(i128::MAX), decimals)
    }
}

/// Adds a cost to a sum that is `None` until something has a cost.
pub fn add_cost(sum: &mut Option<Decimal>, cost: Option<Decimal>) {
    if let Some(cost) = cost {
        *sum = Some(sum.unwrap_or_default().saturating_add(cost));
    }
}

impl PeriodUsage {
    /// Sums up a report that has been [checked](super::check).
    #[must_use]
    pub fn of(
        report: &MonthlyReport,
        fetched_at: Timestamp,
        grouping: &Grouping<'_>,
        prices: Option<&Prices>,
        witness: &dyn Witness,
    ) -> Self {
        let month = Month::of(report.period.start);
        let mut usage = Self {
            period: report.period,
            fetched_at,
            unpriced_hours: 0,
            total_nodes: report.total_nodes,
            total_active_vms: report.total_active_vms,
            provider_clouds: report
                .clouds
                .iter()
                .map(|row| (row.id.clone(), (row.active_vms, row.usage)))
                .collect(),
            provider_tags: report.by_tag.iter().map(|row| (row.tag.clone(), row.usage)).collect(),
            total: Totals::default(),
            clouds: BTreeMap::new(),
            tags: BTreeMap::new(),
            untagged: Totals::default(),
            groups: BTreeMap::new(),
            instance_types: BTreeMap::new(),
            internal_cost: prices.map(|_| Decimal::ZERO),
            currency: prices.map(|prices| prices.currency.as_str().into()),
        };
        // Build farms make thousands of VMs with one set of tags: each set is grouped once.
        let mut labels: HashMap<&[Text], (Text, GroupKind), RandomState> = HashMap::default();
        for line in lines(report, fetched_at, witness) {
            let (totals, vm) = (line.totals(), line.vm);
            let cost = line.internal_cost(prices, month);
            usage.total += totals;
            usage.unpriced_hours += if cost.is_none() { vm.vm_hours } else { 0 };
            *usage.clouds.entry(vm.cloud_id.clone()).or_default() += totals;
            *usage.instance_types.entry(vm.instance_type.clone()).or_default() += totals;
            for tag in vm.tags.iter() {
                *usage.tags.entry(tag.clone()).or_default() += totals;
            }
            if vm.tags.is_empty() {
                usage.untagged += totals;
            }
            let label = labels.entry(&vm.tags).or_insert_with(|| {
                let group = grouping.group(&vm.tags);
                (group.label().into(), group.kind)
            });
            let group: &mut GroupTotals = usage.groups.entry(label.clone()).or_default();
            group.totals += totals;
            add_cost(&mut group.internal_cost, cost);
            add_cost(&mut usage.internal_cost, cost);
        }
        usage
    }
}

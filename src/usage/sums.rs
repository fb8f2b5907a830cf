//! Sums over lines, for gauges and pages.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use jiff::Timestamp;
use rust_decimal::Decimal;

use super::{GroupTotals, Grouping, Line, PeriodUsage, Totals, Witness, lines};
use crate::config::Prices;
use crate::period::Month;
use crate::snapshot::{MonthlyReport, Text};

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
        let mut labels: HashMap<&[Text], Text, RandomState> = HashMap::default();
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
            let label = labels.entry(&vm.tags).or_insert_with(|| grouping.group(&vm.tags).label().into());
            let group: &mut GroupTotals = usage.groups.entry(label.clone()).or_default();
            group.totals += totals;
            add_cost(&mut group.internal_cost, cost);
            add_cost(&mut usage.internal_cost, cost);
        }
        usage
    }
}

//! The groups of a month as series: those that are kept, and one for all others.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::Tenant;
use crate::exposition::TenantView;
use crate::snapshot::Text;
use crate::usage::{GroupKind, GroupTotals, PeriodUsage, add_cost};

/// The label and the kind of a group.
pub type Key = (Text, GroupKind);

/// The labels of a group, and its sums.
pub type Row<'a> = (Vec<(&'static str, &'a str)>, Cow<'a, GroupTotals>);

/// The labels of the series for all groups that are not kept.
const OTHER: [(&str, &str); 2] = [("group", ""), ("group_kind", "other")];

/// The groups of both months, by seconds of the running one.
pub fn weights<'a>(tenant: &TenantView<'a>) -> BTreeMap<&'a Key, u64> {
    let Some(usage) = &tenant.snapshot.usage else { return BTreeMap::new() };
    let previous = usage.data.previous.as_deref().into_iter().flat_map(|usage| usage.groups.keys());
    let mut weights: BTreeMap<&Key, u64> = previous.map(|group| (group, 0)).collect();
    let current = &usage.data.current.groups;
    weights.extend(current.iter().map(|(group, sums)| (group, sums.totals.seconds.total())));
    weights
}

/// The kept groups of a month, then the sum of the others if there are any: the rows sum to the month.
pub fn rows<'a>(tenant: &'a Tenant<'_>, usage: &'a PeriodUsage) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    let mut others: Option<GroupTotals> = None;
    for (group, sums) in &usage.groups {
        if tenant.choice.groups.keys.contains(group) {
            rows.push((labels(group).to_vec(), Cow::Borrowed(sums)));
        } else {
            add(others.get_or_insert_default(), sums);
        }
    }
    rows.extend(others.map(|sums| (OTHER.to_vec(), Cow::Owned(sums))));
    rows
}

fn labels((group, kind): &Key) -> [(&'static str, &str); 2] {
    [("group", group), ("group_kind", kind.as_str())]
}

fn add(sum: &mut GroupTotals, group: &GroupTotals) {
    sum.totals += group.totals;
    add_cost(&mut sum.internal_cost, group.internal_cost);
}

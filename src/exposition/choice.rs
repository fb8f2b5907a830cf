//! Which tags and groups of a tenant get series, so that a tenant with endless tags stays readable.
//!
//! Those with the most time are kept. One that is kept leaves only when it falls below [`STAYS`] of the
//! smallest kept one, so that two of nearly the same size do not take turns.

use std::collections::{BTreeMap, BTreeSet};

use super::TenantView;
use super::counts;
use super::inventory::living;
use super::usage::groups;
use crate::config::Metrics;
use crate::snapshot::Text;

/// Ratio to the smallest kept weight at which a kept object leaves.
const STAYS: (u128, u128) = (9, 10);

/// The kept objects of one kind, and how many were left out.
#[derive(Clone, Debug)]
pub struct Kept<K> {
    pub keys: BTreeSet<K>,
    pub omitted: u64,
}

/// What is kept of a tenant.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    pub tags: Kept<Text>,
    pub groups: Kept<groups::Key>,
}

impl<K> Default for Kept<K> {
    fn default() -> Self {
        Self { keys: BTreeSet::new(), omitted: 0 }
    }
}

impl Choice {
    /// Chooses from the newest data; `self` is the choice before.
    pub fn next(&self, tenant: &TenantView<'_>, options: &Metrics) -> Self {
        Self {
            tags: self.tags.next(tag_weights(tenant), options.max_tags),
            groups: self.groups.next(groups::weights(tenant), options.max_groups),
        }
    }
}

impl<K: Ord + Clone> Kept<K> {
    /// Keeps the `max` keys of the greatest weight; ties go by key. `self` is what was kept before.
    fn next(&self, weights: BTreeMap<&K, u64>, max: usize) -> Self {
        let omitted = weights.len().saturating_sub(max) as u64;
        let mut ranked: Vec<_> = weights.into_iter().collect();
        // A stable sort of what the map holds by key.
        ranked.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
        let beyond = ranked.split_off(max.min(ranked.len()));
        if let Some((_, smallest)) = ranked.last() {
            let limit = u128::from(*smallest) * STAYS.0;
            let stays = |(key, weight): &(&K, u64)| {
                self.keys.contains(*key) && u128::from(*weight) * STAYS.1 >= limit
            };
            let mut staying = beyond.into_iter().filter(stays).peekable();
            // Each takes the place of a new one, the smallest first.
            for place in ranked.iter_mut().rev().filter(|(key, _)| !self.keys.contains(*key)) {
                let Some(stays) = staying.next() else { break };
                *place = stays;
            }
        }
        Self { keys: ranked.into_iter().map(|(key, _)| key.clone()).collect(), omitted }
    }
}

/// The tags of VMs and of both months, by seconds of the running month. While no usage is known, by the
/// number of VMs that have them. Inventory and usage show the same tags.
fn tag_weights<'a>(tenant: &TenantView<'a>) -> BTreeMap<&'a Text, u64> {
    let usage = tenant.snapshot.usage.as_ref();
    let vms = tenant.snapshot.inventory.iter().flat_map(|section| living(&section.data).0);
    let by_tag = counts::by_tag(&vms.collect::<Vec<_>>());
    let on_vms = |statuses: BTreeMap<_, u64>| if usage.is_some() { 0 } else { statuses.values().sum() };
    let mut weights: BTreeMap<&Text, u64> =
        by_tag.into_iter().map(|(tag, statuses)| (tag, on_vms(statuses))).collect();
    if let Some(usage) = usage {
        let current = &usage.data.current;
        for month in std::iter::once(current).chain(usage.data.previous.as_deref()) {
            for tag in month.tags.keys().chain(month.provider_tags.keys()) {
                weights.entry(tag).or_default();
            }
        }
        for (tag, totals) in &current.tags {
            weights.insert(tag, totals.seconds.total());
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(
        before: &[&'static str],
        weights: &[(&'static str, u64)],
        max: usize,
    ) -> (Vec<&'static str>, u64) {
        let before = Kept { keys: before.iter().copied().collect(), omitted: 0 };
        let weights = weights.iter().map(|(key, weight)| (key, *weight)).collect();
        let kept = before.next(weights, max);
        (kept.keys.into_iter().collect(), kept.omitted)
    }

    #[test]
    fn the_greatest_are_kept_and_ties_go_by_name() {
        assert_eq!(kept(&[], &[("a", 1), ("b", 3), ("c", 3), ("d", 2)], 2), (vec!["b", "c"], 2));
        assert_eq!(kept(&[], &[("b", 1), ("a", 1)], 1), (vec!["a"], 1));
        assert_eq!(kept(&[], &[("a", 1)], 0), (vec![], 1));
        assert_eq!(kept(&["gone"], &[("a", 1)], 3), (vec!["a"], 0));
    }

    #[test]
    fn a_kept_one_leaves_below_nine_tenths_of_the_smallest() {
        let weights = |old| [("big", 1000), ("new", 100), ("old", old)];
        assert_eq!(kept(&["big", "old"], &weights(90), 2).0, ["big", "old"]);
        assert_eq!(kept(&["big", "old"], &weights(89), 2).0, ["big", "new"]);
        assert_eq!(kept(&["big", "new"], &weights(109), 2).0, ["big", "new"]);
        assert_eq!(kept(&["big", "new"], &weights(112), 2).0, ["big", "old"]);
    }

    #[test]
    fn a_lower_limit_holds_at_once() {
        let weights = [("a", 100), ("b", 99), ("c", 98)];
        assert_eq!(kept(&["a", "b", "c"], &weights, 2), (vec!["a", "b"], 1));
    }
}

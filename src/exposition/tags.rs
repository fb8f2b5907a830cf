//! Which tags get series: those with most time, so that a tenant with endless tags stays readable.

use std::collections::{BTreeMap, BTreeSet};

use super::TenantView;
use super::counts::ByTag;
use crate::snapshot::Text;

/// The chosen tags of a tenant, and how many were left out.
#[derive(Debug, Default)]
pub struct Chosen {
    pub tags: BTreeSet<Text>,
    pub omitted: u64,
}

/// Chooses the `max_tags` tags with most seconds of the running month; while no usage is known,
/// those on most of the `vms`. Ties go by name. Inventory and usage choose from the same tags, so that a tag
/// has series in both or in none.
pub fn choose(tenant: &TenantView<'_>, vms: &ByTag<'_>, max_tags: usize) -> Chosen {
    let usage = tenant.snapshot.usage.as_ref();
    let on_vms = |statuses: &BTreeMap<_, u64>| if usage.is_some() { 0 } else { statuses.values().sum() };
    let mut weights: BTreeMap<&Text, u64> =
        vms.iter().map(|(tag, statuses)| (*tag, on_vms(statuses))).collect();
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
    let mut ranked: Vec<_> = weights.into_iter().collect();
    // A stable sort of what the map holds by name.
    ranked.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
    let omitted = ranked.len().saturating_sub(max_tags) as u64;
    Chosen { tags: ranked.into_iter().take(max_tags).map(|(tag, _)| tag.clone()).collect(), omitted }
}

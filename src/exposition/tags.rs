//! Which tags get series: those with most time, so that a tenant with endless tags stays readable.

use std::collections::{BTreeMap, BTreeSet};

use super::TenantView;
use super::inventory::living;
use crate::snapshot::Text;

/// The chosen tags of a tenant, and how many were left out.
#[derive(Debug, Default)]
pub struct Chosen {
    pub tags: BTreeSet<Text>,
    pub omitted: u64,
}

/// Chooses the `max_tags` tags with most seconds of the running month; while no usage is known,
/// those on most VMs. Ties go by name. Inventory and usage choose from the same tags, so that a tag
/// has series in both or in none.
pub fn choose(tenant: &TenantView<'_>, max_tags: usize) -> Chosen {
    let mut weights: BTreeMap<&Text, u64> = BTreeMap::new();
    let usage = tenant.snapshot.usage.as_ref();
    let a_vm = u64::from(usage.is_none());
    for vm in tenant.snapshot.inventory.iter().flat_map(|section| living(&section.data)) {
        for tag in vm.tags.iter() {
            *weights.entry(tag).or_default() += a_vm;
        }
    }
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

//! Which tags get series: those with most time, so that a tenant with endless tags stays readable.

use std::collections::{BTreeMap, BTreeSet};

use super::TenantView;
use crate::snapshot::Text;

/// The chosen tags of a tenant, and how many were left out.
#[derive(Debug, Default)]
pub struct Chosen {
    pub tags: BTreeSet<Text>,
    pub omitted: u64,
}

/// Chooses the `max_tags` tags with most seconds of both months; where no usage is known, or it is
/// the same, those on most VMs, then by name.
pub fn choose(tenant: &TenantView<'_>, max_tags: usize) -> Chosen {
    let mut weights: BTreeMap<&Text, (u64, u64)> = BTreeMap::new();
    if let Some(usage) = &tenant.snapshot.usage {
        let data = &usage.data;
        for month in std::iter::once(&data.current).chain(data.previous.as_deref()) {
            for (tag, totals) in &month.tags {
                weights.entry(tag).or_default().0 += totals.seconds.total();
            }
            for tag in month.provider_tags.keys() {
                weights.entry(tag).or_default();
            }
        }
    }
    for vm in tenant.snapshot.inventory.iter().flat_map(|section| &section.data.vms) {
        for tag in vm.tags.iter() {
            weights.entry(tag).or_default().1 += 1;
        }
    }
    let mut ranked: Vec<_> = weights.into_iter().collect();
    ranked.sort_by(|(a, a_weight), (b, b_weight)| b_weight.cmp(a_weight).then_with(|| a.cmp(b)));
    let omitted = ranked.len().saturating_sub(max_tags) as u64;
    Chosen { tags: ranked.into_iter().take(max_tags).map(|(tag, _)| tag.clone()).collect(), omitted }
}

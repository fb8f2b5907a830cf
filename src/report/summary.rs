//! A report's totals as a person reads them on a terminal.

use std::collections::BTreeMap;
use std::fmt;

use super::analysis::Analysis;
use super::manifest::{Manifest, ReportTotals, totals};
use super::reconcile::Reconciliation;
use super::{Inputs, ReportError};
use crate::snapshot::split_tag;
use crate::usage::check;

/// Most tag keys that are listed.
const MOST_KEYS: usize = 10;

/// Totals, how they compare with the provider's, and which tags could group them.
#[derive(Clone, Debug)]
pub struct Summary {
    totals: ReportTotals,
    reconciliation: Reconciliation,
    /// Seconds of VMs that carry the key, by tag key.
    tag_keys: BTreeMap<String, u64>,
}

impl Summary {
    pub(super) fn of_manifest(manifest: &Manifest) -> Self {
        Self {
            totals: manifest.totals.clone(),
            reconciliation: manifest.reconciliation.clone(),
            tag_keys: BTreeMap::new(),
        }
    }
}

/// What a report would say, without writing it.
///
/// # Errors
/// [`ReportError::Refused`].
pub fn dry_run(inputs: &Inputs<'_>) -> Result<Summary, ReportError> {
    check(inputs.monthly, inputs.month.period())?;
    let analysis = Analysis::of(inputs);
    let mut tag_keys: BTreeMap<String, u64> = BTreeMap::new();
    for line in &analysis.lines {
        let mut keys: Vec<&str> = line.vm.tags.iter().map(|tag| split_tag(tag).0).collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            *tag_keys.entry(key.to_owned()).or_default() += line.seconds.total();
        }
    }
    Ok(Summary { totals: totals(&analysis), reconciliation: Reconciliation::of(&analysis), tag_keys })
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let totals = &self.totals;
        writeln!(
            f,
            "  VMs           {} ({} at the start + {} created − {} released = {} at the end)",
            totals.vms, totals.vms_at_start, totals.vms_created, totals.vms_released, totals.vms_at_end
        )?;
        writeln!(f, "  VM hours      {} (the provider's, each VM rounded up)", totals.vm_hours)?;
        let seconds = totals.vm_seconds;
        writeln!(f, "  VM seconds    {seconds} (exact; {}.{:02} h)", seconds / 3600, seconds % 3600 / 36)?;
        writeln!(
            f,
            "  Untagged      {} VMs, {}",
            totals.untagged_vms,
            percent(totals.untagged_vm_seconds, seconds)
        )?;
        match (&totals.internal_cost, &totals.currency) {
            (Some(cost), Some(currency)) => {
                let unpriced = totals.unpriced_vm_hours;
                writeln!(f, "  Internal cost {cost} {currency} ({unpriced} VM hours have no price)")?;
            }
            _ => writeln!(f, "  Internal cost none: no price list is configured")?,
        }
        match &self.reconciliation.total.provider {
            Some(provider) => write!(
                f,
                "  Provider      {} h, a difference of {} h ({})",
                provider.vm_hours,
                provider.difference_hours,
                provider.rounding.as_str()
            )?,
            None => write!(f, "  Provider      gives no total of its own")?,
        }
        let unexplained = self.reconciliation.unexplained();
        if !unexplained.is_empty() {
            let scopes: Vec<_> = unexplained.into_iter().collect();
            write!(f, "\n  Unexplained   {}", scopes.join(", "))?;
        }
        let mut keys: Vec<_> = self.tag_keys.iter().collect();
        keys.sort_by(|(a, a_seconds), (b, b_seconds)| b_seconds.cmp(a_seconds).then_with(|| a.cmp(b)));
        if !keys.is_empty() {
            write!(f, "\n  Tag keys by the share of VM seconds that they cover, for report.group_by:")?;
        }
        for (key, covered) in keys.into_iter().take(MOST_KEYS) {
            write!(f, "\n    {:>7} {key:?}", percent(*covered, seconds))?;
        }
        Ok(())
    }
}

/// `part ÷ all` in per cent with one decimal.
fn percent(part: u64, all: u64) -> String {
    let thousandths = u128::from(part) * 1000 / u128::from(all.max(1));
    format!("{}.{} %", thousandths / 10, thousandths % 10)
}

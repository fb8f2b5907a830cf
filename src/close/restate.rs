//! A closed month is written again as its next revision. Files of earlier revisions never change.

use std::fmt;

use super::{CloseError, CloseOptions, Closer};
use crate::api::Monthly;
use crate::period::Month;
use crate::report::{Changed, MonthTotals, Outcome, Published, ReportError, Source, Summary, dry_run};
use crate::snapshot::Text;

/// What a restatement would change.
#[derive(Clone, Debug)]
pub struct Restatement {
    /// The current revision.
    pub before: Published,
    /// The totals of the next revision.
    pub after: Summary,
    /// What the provider reports differently.
    pub changed: Changed,
    /// The keys of the configuration that differ.
    pub configuration_changes: Vec<String>,
    /// Whether nothing that counts differs, so that only `--force` writes the revision.
    pub is_refused: bool,
}

/// Maximum number of ids in a sentence.
const MAX_NAMES: usize = 10;

impl fmt::Display for Restatement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = (&self.before.totals, &self.after.totals);
        writeln!(f, "{}", self.after)?;
        writeln!(f, "Compared with revision {}:", self.before.revision)?;
        for (name, before, after) in [
            ("VMs", before.vms, after.vms),
            ("created", before.vms_created, after.vms_created),
            ("released", before.vms_released, after.vms_released),
            ("VM hours", before.vm_hours, after.vm_hours),
            ("VM seconds", before.vm_seconds, after.vm_seconds),
            ("unpriced VM hours", before.unpriced_vm_hours, after.unpriced_vm_hours),
        ] {
            let difference = i128::from(after) - i128::from(before);
            writeln!(f, "  {name:<18} {before} -> {after} ({difference:+})")?;
        }
        let cost = |totals: &MonthTotals| match (totals.internal_cost, &totals.currency) {
            (Some(cost), Some(currency)) => format!("{} {currency}", cost.normalize()),
            _ => "none".to_owned(),
        };
        let more = match (before.internal_cost, after.internal_cost) {
            (Some(before), Some(after)) if before != after => {
                let difference = (after - before).normalize();
                format!(" ({}{difference})", if difference.is_sign_negative() { "" } else { "+" })
            }
            _ => String::new(),
        };
        writeln!(f, "  {:<18} {} -> {}{more}", "internal cost", cost(before), cost(after))?;
        if !self.configuration_changes.is_empty() {
            writeln!(f, "  Changed configuration: {}.", self.configuration_changes.join(", "))?;
        }
        if self.changed.is_empty() {
            write!(f, "  The provider reports the same as when the month was closed.")?;
            if self.is_refused {
                write!(f, "\n  Nothing that counts differs: without --force no revision is written.")?;
            }
            return Ok(());
        }
        let Changed { vms, clouds, tags, seconds } = &self.changed;
        let scopes =
            [("VMs", vms, seconds.vms), ("clouds", clouds, seconds.clouds), ("tags", tags, seconds.tags)];
        let mut lines = scopes.into_iter().filter(|(_, ids, _)| !ids.is_empty()).peekable();
        while let Some((what, ids, seconds)) = lines.next() {
            let (count, names) = (ids.len(), names(ids));
            write!(f, "  The provider reports {count} {what} differently, by {seconds} s: {names}")?;
            if lines.peek().is_some() {
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

fn names(ids: &[Text]) -> String {
    let named = ids.iter().take(MAX_NAMES).map(|id| &**id).collect::<Vec<_>>().join(", ");
    if ids.len() > MAX_NAMES { format!("{named} …") } else { named }
}

/// What the provider reports differently in two responses on a month.
fn changed(before: &Monthly, after: &Monthly) -> Result<Changed, CloseError> {
    Ok(Changed::between(&*before.for_comparison()?, &*after.for_comparison()?))
}

impl Closer {
    /// Writes the next revision of a closed month from the provider's current response, with the
    /// current prices, grouping and tag rules. Names, sizes and observed seconds stay frozen.
    ///
    /// # Errors
    /// [`ReportError::NoDifference`] if nothing that counts differs, unless `options.force`.
    pub async fn restate(&self, month: Month, options: &CloseOptions) -> Result<Outcome, CloseError> {
        let before = self.current(month).await?;
        let (response, options) = (self.response(month, options).await?, options.clone());
        self.blocking(move |closer| {
            let previous = closer.previous(&before)?;
            let reason = options.reason.clone().unwrap_or_default();
            let (source, received_at) = (response.source, response.received_at);
            let mut frozen = closer.freeze_after(month, response, &options, Some((&previous, &reason)))?;
            let (keys, counts) = previous.configuration_changes(&frozen.header);
            frozen.header.terms.configuration_changes = keys;
            let changed = changed(&previous.monthly, &frozen.monthly)?;
            if changed.is_empty() && !counts && !options.force {
                return Err(ReportError::NoDifference { month, revision: before.revision }.into());
            }
            let outcome = closer.record(before.revision + 1, &frozen)?;
            // A saved response says nothing about the provider's current report.
            if source == Source::Api {
                closer.record_match(&outcome, received_at)?;
            }
            Ok(outcome)
        })
        .await
    }

    /// What [`Closer::restate`] would change; nothing is written.
    pub async fn dry_restatement(
        &self,
        month: Month,
        options: &CloseOptions,
    ) -> Result<Restatement, CloseError> {
        let Some(before) = self.closed(month).await? else {
            return Err(ReportError::NotClosed(month).into());
        };
        let options = CloseOptions { preview: true, ..options.clone() };
        let response = self.response(month, &options).await?;
        self.blocking(move |closer| {
            let previous = closer.previous(&before)?;
            let reason = options.reason.clone().unwrap_or_default();
            let frozen = closer.freeze_after(month, response, &options, Some((&previous, &reason)))?;
            let (configuration_changes, counts) = previous.configuration_changes(&frozen.header);
            let changed = changed(&previous.monthly, &frozen.monthly)?;
            let is_refused = changed.is_empty() && !counts;
            let after = dry_run(&frozen.inputs())?;
            Ok(Restatement { before, after, changed, configuration_changes, is_refused })
        })
        .await
    }

    /// The current revision, completed if a crash interrupted its writing.
    pub(super) async fn current(&self, month: Month) -> Result<Published, CloseError> {
        match self.settle_or_import(month).await? {
            Some(outcome) => Ok(outcome.published().clone()),
            None => Err(ReportError::NotClosed(month).into()),
        }
    }
}

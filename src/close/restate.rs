//! What happens to a month after it was closed: compared with what the provider says now, and, when
//! somebody says so, written again as its next revision. Old files are never touched.

use std::collections::BTreeMap;
use std::fmt;

use super::{CloseError, Closer, DEADLINE};
use crate::ledger::LedgerError;
use crate::period::Month;
use crate::report::{
    Changed, Frozen, Header, MonthTotals, Outcome, Published, ReportError, Summary, Supersedes, changed,
    dry_run,
};
use crate::usage;

/// What a restated month would be, beside what it is.
#[derive(Clone, Debug)]
pub struct Restatement {
    /// The current revision.
    pub before: Published,
    /// What its next would say.
    pub after: Summary,
    /// What the provider says differently.
    pub changed: Changed,
    /// What the configuration says differently, by key; `None` if what it said is not kept.
    pub configured: Option<Vec<String>>,
}

/// What would be made otherwise though the provider said the same, by key of the configuration.
fn configured(before: &Header, after: &Header) -> Vec<String> {
    let list = |keys: &[String]| if keys.is_empty() { "the exact tags".to_owned() } else { keys.join(", ") };
    let prices = |header: &Header| {
        let prices = header.prices.as_ref()?;
        let types =
            prices.vm_hour.keys().filter_map(|name| Some((name.clone(), prices.at(name, header.month)?)));
        Some((prices.currency.clone(), types.collect::<BTreeMap<_, _>>()))
    };
    let mut keys = Vec::new();
    if before.group_by != after.group_by {
        keys.push(format!("report.group_by ({} -> {})", list(&before.group_by), list(&after.group_by)));
    }
    let others = [
        ("report.tag_rules", before.tag_rules != after.tag_rules),
        ("prices", prices(before) != prices(after)),
        ("report.excel_bom", before.excel_bom != after.excel_bom),
    ];
    keys.extend(others.into_iter().filter(|(_, differ)| *differ).map(|(key, _)| key.to_owned()));
    keys
}

/// Most VMs that are named.
const MOST_NAMES: usize = 10;

impl fmt::Display for Restatement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = (&self.before.totals, &self.after.totals);
        writeln!(f, "{}", self.after)?;
        writeln!(f, "Beside revision {}:", self.before.revision)?;
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
        match self.configured.as_deref() {
            Some([]) => {}
            Some(keys) => writeln!(f, "  The configuration is not that of then: {}.", keys.join(", "))?,
            None => writeln!(
                f,
                "  Whether the configuration is that of then is not known: what the revision was made from is not kept."
            )?,
        }
        let ids = &self.changed.vms;
        let named = ids.iter().take(MOST_NAMES).map(|id| &**id).collect::<Vec<_>>().join(", ");
        match ids.len() {
            0 => write!(f, "  Of every VM the provider says what it said when the month was closed."),
            count => write!(
                f,
                "  The provider reports {count} VMs ({} s) differently: {named}{}",
                self.changed.seconds,
                if count > MOST_NAMES { " …" } else { "" }
            ),
        }
    }
}

impl Closer {
    /// Asks the provider for a closed month again: what counts and is different now.
    pub async fn compare(&self, month: Month) -> Result<Changed, CloseError> {
        let before = self.current(month).await?;
        let after = self.client.run(DEADLINE).monthly(Some(month.period())).await?;
        usage::check(&after.report, month.period()).map_err(ReportError::from)?;
        self.blocking(move |_| Ok(changed(&before.provider_report()?.report, &after.report))).await
    }

    /// Writes the next revision of a closed month, made from what the provider says now and from the
    /// configuration of now.
    pub async fn restate(&self, month: Month, reason: &str) -> Result<Outcome, CloseError> {
        let (before, frozen) = self.next(month, reason).await?;
        self.blocking(move |closer| closer.record(before.revision + 1, &frozen)).await
    }

    /// Likewise, but with the prices, groups and tag rules with which the month was closed, so that
    /// nothing changes but what the provider changed.
    pub async fn follow_provider(&self, month: Month, reason: &str) -> Result<Outcome, CloseError> {
        let (before, mut frozen) = self.next(month, reason).await?;
        self.blocking(move |closer| {
            if let Some(old) = closer.kept(month, before.revision)? {
                frozen.header.prices = old.prices;
                frozen.header.group_by = old.group_by;
                frozen.header.tag_rules = old.tag_rules;
                frozen.header.excel_bom = old.excel_bom;
            }
            closer.record(before.revision + 1, &frozen)
        })
        .await
    }

    /// What [`Closer::restate`] would change; nothing is written.
    pub async fn dry_restatement(&self, month: Month) -> Result<Restatement, CloseError> {
        let Some(before) = self.closed(month).await? else {
            return Err(ReportError::NotClosed(month).into());
        };
        let frozen = self.freeze(month, None).await?;
        self.blocking(move |closer| {
            let changed = changed(&before.provider_report()?.report, &frozen.monthly.report);
            let kept = closer.kept(month, before.revision)?;
            let configured = kept.map(|kept| configured(&kept, &frozen.header));
            Ok(Restatement { after: dry_run(&frozen.inputs())?, before, changed, configured })
        })
        .await
    }

    /// The current revision, and what the next is made from.
    async fn next(&self, month: Month, reason: &str) -> Result<(Published, Frozen), CloseError> {
        let before = self.current(month).await?;
        let supersedes = Supersedes { revision: before.revision, reason: reason.to_owned() };
        let mut frozen = self.freeze(month, Some(supersedes)).await?;
        // Events of long ago may have been dropped; what they proved was kept with the revision.
        if frozen.header.account.polls == 0 {
            let revision = before.revision;
            if let Some(old) = self.blocking(move |closer| closer.kept(month, revision)).await? {
                frozen.header.observed = old.observed;
                frozen.header.account = old.account;
            }
        }
        Ok((before, frozen))
    }

    /// What a revision was made from beside the provider's answer, if that is kept.
    fn kept(&self, month: Month, revision: u32) -> Result<Option<Header>, CloseError> {
        let row = match self.ledger.revision_at(self.tenant(), month, revision) {
            // A dry run makes no ledger.
            Err(LedgerError::Missing(_)) => None,
            row => row?,
        };
        let Some(packed) = row.and_then(|row| row.inputs) else { return Ok(None) };
        Ok(Some(Frozen::unpack(&packed).map_err(CloseError::Inputs)?.header))
    }

    /// The current revision, brought to its end if a crash came between.
    async fn current(&self, month: Month) -> Result<Published, CloseError> {
        match self.blocking(move |closer| closer.settle(month)).await? {
            Some(outcome) => Ok(outcome.published().clone()),
            None => Err(ReportError::NotClosed(month).into()),
        }
    }
}

//! What a report would say, for the command line: nothing is written.

use std::fmt;

use super::coverage::Coverage;
use super::decimal::Money;
use super::manifest::verdict;
use super::reconcile::{Compared, Differences, Reconciliation};
use super::tally::Tally;
use super::totals::MonthTotals;
use super::{Inputs, ReportError, Status, Verdict, warnings};
use crate::period::Month;

/// What a report would say.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The tenant.
    pub tenant: String,
    /// The month.
    pub month: Month,
    /// What the report would be.
    pub status: Status,
    /// What it sums up to.
    pub totals: MonthTotals,
    /// Its totals beside the provider's.
    pub total: Compared,
    /// How far our sums are from the provider's.
    pub differences: Differences,
    /// The verdict that the report would have.
    pub verdict: Verdict,
    /// Which tag keys cover how much.
    pub coverage: Coverage,
    /// What its manifest would warn of.
    pub warnings: Vec<String>,
}

/// Sums a month up without writing anything.
pub fn dry_run(inputs: &Inputs<'_>) -> Result<Summary, ReportError> {
    let tally = Tally::of(inputs)?;
    let reconciliation = Reconciliation::new(&tally, &inputs.monthly.by_tag);
    let ended = inputs.fetched_at >= inputs.month.period().end;
    Ok(Summary {
        tenant: inputs.tenant.to_owned(),
        month: inputs.month,
        status: if ended { Status::Final } else { Status::Provisional },
        totals: MonthTotals::of(&tally),
        total: reconciliation.total(),
        differences: reconciliation.differences(),
        verdict: verdict(inputs, &tally, &reconciliation),
        coverage: Coverage::of(&tally.lines),
        warnings: warnings::of(inputs, &tally, &reconciliation),
    })
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {} ({})", self.tenant, self.month, self.status.as_str())?;
        write!(f, "{}", self.totals)?;
        write!(f, "{}", self.total)?;
        writeln!(f, "  verdict            {}", self.verdict.as_str())?;
        write!(f, "{}", self.coverage)?;
        for warning in &self.warnings {
            writeln!(f, "  note: {warning}")?;
        }
        Ok(())
    }
}

/// A line, or nothing where the provider has no total.
impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(theirs) = self.provider else { return Ok(()) };
        writeln!(
            f,
            "  provider's total   {} h, ours − provider's {:+} h ({})",
            theirs.vm_hours,
            theirs.difference_hours,
            theirs.rounding.as_str()
        )
    }
}

impl fmt::Display for MonthTotals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  VMs                {} ({} at the start + {} created − {} released = {} at the end)",
            self.vms, self.vms_at_start, self.vms_created, self.vms_released, self.vms_at_end
        )?;
        writeln!(f, "  VM hours           {} h, in exact seconds {} s", self.vm_hours, self.vm_seconds)?;
        for (name, hours) in [
            ("vCPU hours", &self.vcpu_hours),
            ("GiB hours", &self.memory_gib_hours),
            ("GPU hours", &self.gpu_hours),
        ] {
            if let Some(hours) = hours {
                writeln!(f, "  {name:<18} {hours}")?;
            }
        }
        if let (Some(cost), Some(currency)) = (self.internal_cost, &self.currency) {
            writeln!(
                f,
                "  internal cost      {} {currency}, without the {} h that have no price",
                Money(cost),
                self.unpriced_vm_hours
            )?;
        }
        Ok(())
    }
}

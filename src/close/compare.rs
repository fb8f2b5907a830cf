//! A closed month compared with the provider's current report: differences open, are followed by a
//! restatement, or are waived.

use jiff::Timestamp;
use rust_decimal::Decimal;

use super::response::{DEADLINE, Undated};
use super::{CloseError, CloseOptions, Closer};
use crate::api::Monthly;
use crate::ledger::{Compared, Reading};
use crate::period::Month;
use crate::report::{Changed, Outcome, Published, ReportError, Source, dry_run, fingerprint};
use crate::usage;

/// The reason of an automatic restatement.
const REASON: &str = "the provider changed its figures (report.restate: auto)";

/// The provider's current report on a closed month, compared with its current revision.
#[derive(Debug)]
pub struct CurrentReport {
    /// What differs.
    pub changed: Changed,
    /// Of everything that counts in the response.
    fingerprint: String,
    before: Published,
    monthly: Monthly,
    received_at: Timestamp,
    /// What a report that is made from the response must say about its time.
    time_note: Option<String>,
}

/// What a waiver covers.
#[derive(Debug)]
pub struct Waived {
    /// The current revision, which stays.
    pub published: Published,
    /// The difference that the provider's current report shows.
    pub reading: Option<Reading>,
    /// Why the current report is not available; the differences that the ledger knew are waived.
    pub unavailable: Option<CloseError>,
}

/// The result of an automatic restatement.
#[derive(Debug)]
pub enum Followed {
    /// The next revision was written.
    Restated(Box<Outcome>),
    /// Nothing was written, for this reason; the difference stays open.
    Kept(String),
}

impl CurrentReport {
    /// The difference as the ledger records it; `None` if nothing that counts differs.
    fn reading(&self) -> Option<Reading> {
        // A cache may return one response twice. A clock that is ahead does not make a response newer.
        let generated_at = self.monthly.time.generated_at(self.received_at).unwrap_or(self.received_at);
        (!self.changed.is_empty()).then(|| Reading {
            read_at: generated_at.min(self.received_at),
            fingerprint: self.fingerprint.clone(),
            vms: self.changed.vms.len() as u64,
            seconds: self.changed.seconds,
        })
    }
}

impl Closer {
    /// Requests the provider's current report on a closed month and compares it.
    ///
    /// # Errors
    /// The month is not closed, the request fails, the local clock differs from the API's, or the
    /// response is for another period, contradicts itself, or was generated before the month could be
    /// closed.
    pub async fn compare(&self, month: Month) -> Result<CurrentReport, CloseError> {
        let before = self.current(month).await?;
        let run = self.client.run(DEADLINE).without_caches();
        let monthly = run.monthly(Some(month.period())).await?;
        let received_at = self.clock.now();
        self.require_clock(received_at).await?;
        let time_note = self.prove_time(month, &monthly, Source::Api, received_at, Undated::Accept)?;
        self.blocking(move |_| {
            usage::check(&monthly.report, month.period()).map_err(ReportError::from)?;
            let closed = before.provider_report()?;
            let theirs = monthly.for_comparison()?;
            let changed = Changed::between(&*closed.for_comparison()?, &theirs);
            let fingerprint = fingerprint(&theirs);
            drop(theirs);
            Ok(CurrentReport { changed, fingerprint, before, monthly, received_at, time_note })
        })
        .await
    }

    /// Records a comparison in the ledger.
    pub async fn record_comparison(
        &self,
        month: Month,
        current: &CurrentReport,
    ) -> Result<Compared, CloseError> {
        let (revision, at, reading) = (current.before.revision, current.received_at, current.reading());
        self.blocking(move |closer| {
            Ok(closer.ledger.record_comparison(closer.tenant(), month, revision, at, reading)?)
        })
        .await
    }

    /// Writes the next revision of a month from a response that a comparison has confirmed, with the
    /// prices, the grouping and the tag rules of the current revision. Nothing is written from an
    /// incomplete response, or if `vm_seconds` would fall by more than `report.restate_max_decrease`.
    pub async fn follow_provider(
        &self,
        month: Month,
        current: CurrentReport,
    ) -> Result<Followed, CloseError> {
        let CurrentReport { before, monthly, received_at, time_note, .. } = current;
        let mut response = self.with_lists(monthly, received_at).await?;
        response.notes.extend(time_note);
        self.blocking(move |closer| {
            let previous = closer.previous(&before)?;
            let options = CloseOptions::preview();
            let mut frozen = closer.freeze_after(month, response, &options, Some((&previous, REASON)))?;
            previous.keep_configuration(&mut frozen.header);
            let missing = frozen.header.account.only_observed.len();
            if missing > 0 {
                return Ok(Followed::Kept(format!(
                    "the response lacks {missing} VMs that polls observed running or stopped"
                )));
            }
            let (old, new) = (before.totals.vm_seconds, dry_run(&frozen.inputs())?.totals.vm_seconds);
            let most = closer.config.report.restate_max_decrease;
            if decrease(old, new) > most {
                return Ok(Followed::Kept(format!(
                    "vm_seconds would fall from {old} to {new}, by more than report.restate_max_decrease ({most})"
                )));
            }
            let outcome = closer.record(before.revision + 1, &frozen)?;
            closer.record_match(&outcome, received_at)?;
            Ok(Followed::Restated(Box::new(outcome)))
        })
        .await
    }

    /// Records that a revision that was written now matches the response of `at`. Blocks.
    pub(super) fn record_match(&self, outcome: &Outcome, at: Timestamp) -> Result<(), CloseError> {
        if let Outcome::Written(Published { month, revision, .. }) = outcome {
            self.ledger.record_comparison(self.tenant(), *month, *revision, at, None)?;
        }
        Ok(())
    }

    /// Waives the difference that the provider's current report shows. If the report is not available,
    /// waives the differences that the ledger knows.
    ///
    /// # Errors
    /// [`ReportError::NothingToWaive`] if the current report shows no difference, the error of the
    /// request if the ledger knows none, or [`ReportError::Clock`].
    pub async fn waive(&self, month: Month, reason: &str) -> Result<Waived, CloseError> {
        let published = self.current(month).await?;
        let (current, unavailable) = match self.compare(month).await {
            Ok(current) => (Some(current), None),
            Err(error @ CloseError::Report(ReportError::Clock { .. })) => return Err(error),
            Err(error) => (None, Some(error)),
        };
        let (revision, reason) = (published.revision, reason.to_owned());
        self.blocking(move |closer| {
            let (tenant, at) = (closer.tenant(), closer.clock.now());
            let reading = current.as_ref().and_then(CurrentReport::reading);
            let is_waived = if current.is_some() && reading.is_none() {
                closer.ledger.record_comparison(tenant, month, revision, at, None)?;
                false
            } else {
                closer.ledger.waive(tenant, month, revision, at, &reason, reading.clone())?
            };
            // The index lists open differences.
            closer.folder()?;
            match unavailable {
                Some(error) if !is_waived => Err(error),
                None if !is_waived => Err(ReportError::NothingToWaive(month).into()),
                unavailable => Ok(Waived { published, reading, unavailable }),
            }
        })
        .await
    }
}

/// The ratio by which `new` is lower than `old`; 0 if it is not.
fn decrease(old: u64, new: u64) -> Decimal {
    Decimal::from(old.saturating_sub(new)).checked_div(Decimal::from(old)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decrease_is_a_ratio_of_the_old_figure() {
        assert_eq!(decrease(100, 95), Decimal::new(5, 2));
        assert_eq!(decrease(100, 200), Decimal::ZERO);
        assert_eq!(decrease(0, 0), Decimal::ZERO);
        assert_eq!(decrease(10, 0), Decimal::ONE);
    }
}

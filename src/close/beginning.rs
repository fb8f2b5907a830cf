//! The first month that is never missed: known from the ledger or from older reports, recorded by a trusted
//! clock, and corrected if only a wrong clock can have given it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{CloseError, Closer, FirstMonth, Moment};
use crate::ledger::Beginning;
use crate::period::Month;
use crate::report::{Folder, ReportError};

/// Name of the file, in the tenant's folder, in which versions before the ledger kept the month of
/// the first start.
const SINCE: &str = ".since";

/// A first month before this year was recorded by a clock that was never set.
const FIRST_YEAR: &str = "2020-01";

impl Closer {
    /// When the tenant's months begin; `None` if that is not known. A first month that is not known
    /// yet, or that only a wrong clock can have given, is recorded if the clock is trusted.
    pub(super) fn beginning(
        &self,
        folder: &Folder,
        closed: &BTreeMap<Month, Timestamp>,
        moment: Moment,
    ) -> Result<Option<Beginning>, CloseError> {
        if let Some(known) = self.ledger.beginning(self.tenant())? {
            return self.corrected(known, closed, moment).map(Some);
        }
        let file = folder.path().join(SINCE);
        let new = match std::fs::read_to_string(&file) {
            Ok(text) => {
                let since = text.trim().parse().map_err(|error| ReportError::damaged(&file, &error))?;
                Beginning { since, beside_reports: false }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // Reports that the ledger does not know: it was lost, and months after them are due.
                let unknown = folder.closed()?.into_iter().rfind(|month| !closed.contains_key(month));
                match (unknown, moment.first) {
                    (Some(newest), _) => {
                        let since = newest.next();
                        tracing::warn!(tenant = self.tenant(), %newest, %since, "the ledger is new although reports of earlier months exist: observations of the past are lost; restore a backup of the ledger if there is one");
                        Beginning { since, beside_reports: true }
                    }
                    (None, FirstMonth::Trusted(since)) => Beginning { since, beside_reports: false },
                    (None, FirstMonth::Provisional(since)) => {
                        return Ok(Some(Beginning { since, beside_reports: false }));
                    }
                    (None, FirstMonth::Unknown) => return Ok(None),
                }
            }
            Err(error) => return Err(ReportError::storage(&file, error).into()),
        };
        Ok(Some(self.ledger.begin(self.tenant(), new)?))
    }

    /// Corrects a first month that only a wrong clock can have given: it is later than the current month,
    /// or earlier than any usage. It never moves past a month that was closed since [`FIRST_YEAR`].
    fn corrected(
        &self,
        known: Beginning,
        closed: &BTreeMap<Month, Timestamp>,
        moment: Moment,
    ) -> Result<Beginning, CloseError> {
        let FirstMonth::Trusted(_) = moment.first else { return Ok(known) };
        let current = Month::of(moment.now);
        let earliest: Month = FIRST_YEAR.parse().unwrap_or(current);
        let since = if known.since > current {
            // Months after the latest closed one were not closed because they seemed to be too early.
            closed.keys().rfind(|month| **month < current).map_or(current, |month| month.next())
        } else if known.since < earliest {
            closed.keys().find(|month| **month >= earliest).map_or(current, |month| current.min(*month))
        } else {
            return Ok(known);
        };
        tracing::warn!(tenant = self.tenant(), recorded = %known.since, %since, "the first month of the ledger was recorded by a wrong clock; it is corrected");
        Ok(self.ledger.correct_beginning(self.tenant(), known.since, since)?)
    }
}

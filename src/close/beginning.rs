//! The first month that is never missed: known from the ledger or from older reports, recorded by a trusted
//! clock, and corrected if only a wrong clock can have given it. What recorded polls prove of the time is
//! here as well.

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

/// Polls prove each other's time if at most this many months without polls are between them: a longer gap
/// is taken for a jump of a clock that was not verified.
const MAX_EMPTY_MONTHS: u32 = 1;

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
                    // Without a `Date`, an earlier process may have ended before it could record the month.
                    (None, FirstMonth::Trusted(since)) => {
                        Beginning { since: self.polled_since(since)?, beside_reports: false }
                    }
                    (None, FirstMonth::Provisional(since)) => {
                        let since = self.polled_since(since)?;
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
            match closed.keys().rfind(|month| **month < current) {
                Some(month) => month.next(),
                None => self.polled_since(current)?,
            }
        } else if known.since < earliest {
            closed.keys().find(|month| **month >= earliest).map_or(current, |month| current.min(*month))
        } else {
            return Ok(known);
        };
        tracing::warn!(tenant = self.tenant(), recorded = %known.since, %since, "the first month of the ledger was recorded by a wrong clock; it is corrected");
        Ok(self.ledger.correct_beginning(self.tenant(), known.since, since)?)
    }

    /// The month since which polls were recorded without a long gap up to `month`; `month` if there are none
    /// before.
    fn polled_since(&self, month: Month) -> Result<Month, CloseError> {
        Ok(chain_start(&self.ledger.polled_months(self.tenant())?, month))
    }

    /// The latest recorded poll whose time earlier facts support: polls continue without a long gap from
    /// the first month or the latest closed one, which a trusted clock recorded. `None` if there is none.
    pub(super) fn polled_until(
        &self,
        since: Month,
        closed: &BTreeMap<Month, Timestamp>,
    ) -> Result<Option<Timestamp>, CloseError> {
        let trusted = closed.keys().next_back().map_or(since, |month| since.max(month.next()));
        Ok(chain_end(&self.ledger.polled_months(self.tenant())?, trusted))
    }
}

/// The first month of the chain of polled months that ends with `month`.
fn chain_start(polled: &BTreeMap<Month, Timestamp>, month: Month) -> Month {
    let mut start = month;
    for earlier in polled.range(..month).rev().map(|(month, _)| *month) {
        if earlier < start.earlier_by(MAX_EMPTY_MONTHS + 1) {
            break;
        }
        start = earlier;
    }
    start
}

/// The time of the latest poll in the chain of polled months that begins with `month`.
fn chain_end(polled: &BTreeMap<Month, Timestamp>, month: Month) -> Option<Timestamp> {
    let (mut reached, mut latest) = (month, None);
    for (later, at) in polled.range(month..) {
        if later.earlier_by(MAX_EMPTY_MONTHS + 1) > reached {
            break;
        }
        (reached, latest) = (*later, Some(*at));
    }
    latest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_prove_each_other_until_a_long_gap() {
        let month = |text: &str| text.parse::<Month>().unwrap();
        let months = ["2021-05", "2026-07", "2026-08", "2026-10", "2026-11", "2029-12"].map(month);
        let polled: BTreeMap<_, _> = months.into_iter().map(|month| (month, month.period().start)).collect();
        for (from, start, end) in [
            ("2026-11", "2026-07", Some("2026-11")),
            ("2026-12", "2026-07", None),
            ("2027-02", "2027-02", None),
            ("2026-09", "2026-07", Some("2026-11")),
            ("2026-05", "2026-05", Some("2026-11")),
            ("2026-01", "2026-01", None),
            ("2021-05", "2021-05", Some("2021-05")),
        ] {
            assert_eq!(chain_start(&polled, month(from)), month(start), "{from}");
            assert_eq!(chain_end(&polled, month(from)).map(Month::of), end.map(month), "{from}");
        }
        assert_eq!(chain_start(&BTreeMap::new(), month("2026-11")), month("2026-11"));
        assert_eq!(chain_end(&BTreeMap::new(), month("2026-11")), None);
    }
}

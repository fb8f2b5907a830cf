//! Which times a closer trusts: permanent facts are recorded only while the local clock agrees with the
//! `Date` of the tenant's API.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{CloseError, Closer};
use crate::api::{CLOCK_TOLERANCE, ClockState};
use crate::period::Month;
use crate::report::ReportError;

/// Longest time of the request that compares the clocks.
const DEADLINE: Duration = Duration::from_secs(30);

/// Longest time between a response and its use: the deadlines of the requests for one month.
const MAX_WORK: SignedDuration = SignedDuration::from_hours(1);

/// The first month that is never missed, if the ledger does not know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstMonth {
    /// By a trusted clock: it is recorded.
    Trusted(Month),
    /// By a clock that is not verified yet: it counts as long as the clock does not jump.
    Provisional(Month),
    /// The clock is wrong, or was not compared: no month is due.
    Unknown,
}

/// The time for which the state of months is determined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Months that ended before are due if the time is proven.
    pub now: Timestamp,
    /// Whether the `Date` of a response, or 24 h without a jump, proves that it is `now` or later. If not,
    /// the latest recorded poll decides what is due.
    pub is_proven: bool,
    /// The first month of a new ledger.
    pub first: FirstMonth,
}

impl Moment {
    /// `now` by a clock that is trusted.
    #[must_use]
    pub fn trusted(now: Timestamp) -> Self {
        Self { now, is_proven: true, first: FirstMonth::Trusted(Month::of(now)) }
    }

    /// Whether permanent facts may be recorded.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        matches!(self.first, FirstMonth::Trusted(_))
    }
}

impl Closer {
    /// Compares `now`, which was just read from the local clock, with the latest `Date` of the API.
    #[must_use]
    pub fn clock_state(&self, now: Timestamp) -> ClockState {
        self.client.clock_state(now)
    }

    /// The API's clock now; `None` if no response showed it.
    #[must_use]
    pub fn server_time(&self) -> Option<Timestamp> {
        self.client.server_time()
    }

    /// Compares the local clock with the API's. If they differ, or no response was received yet, a
    /// request that bypasses caches decides: the clock may have been corrected, or the machine suspended.
    pub async fn check_clock(&self) -> ClockState {
        let known = self.clock_state(self.clock.now());
        if matches!(known, ClockState::Agrees | ClockState::Undated) {
            return known;
        }
        // Only the header counts. After an error the state is as before.
        let _ = self.client.run(DEADLINE).without_caches().capacity().await;
        self.clock_state(self.clock.now())
    }

    /// Makes sure that the local clock agrees with the API's, and that it did at `received_at`, when a
    /// response was received during the current work.
    ///
    /// # Errors
    /// [`ReportError::Clock`].
    pub(super) async fn require_clock(&self, received_at: Timestamp) -> Result<(), CloseError> {
        agreeing(self.check_clock().await)?;
        // The clock may have jumped back since.
        let ahead = received_at.duration_since(self.clock.now());
        if ahead > CLOCK_TOLERANCE || ahead < -(CLOCK_TOLERANCE + MAX_WORK) {
            return Err(ReportError::Clock { ahead_seconds: ahead.as_secs() }.into());
        }
        Ok(())
    }

    /// The time of an import; `None` if the clock is not trusted: it was not compared, differs from the
    /// API's, or is not verified.
    pub(super) fn now_for_import(&self) -> Option<Timestamp> {
        let now = self.clock.now();
        match self.clock_state(now) {
            ClockState::Agrees => Some(now),
            ClockState::Undated => self.imports_undated.then_some(now),
            ClockState::Unknown | ClockState::Differs { .. } => None,
        }
    }

    /// The local time, for a permanent record.
    ///
    /// # Errors
    /// [`ReportError::Clock`] if the clock differs from the API's.
    pub(super) fn now_for_record(&self) -> Result<Timestamp, CloseError> {
        let now = self.clock.now();
        agreeing(self.clock_state(now))?;
        Ok(now)
    }
}

fn agreeing(state: ClockState) -> Result<(), CloseError> {
    match state {
        ClockState::Differs { ahead_seconds } => Err(ReportError::Clock { ahead_seconds }.into()),
        ClockState::Agrees | ClockState::Undated | ClockState::Unknown => Ok(()),
    }
}

//! When each month was first seen as ended, by the monotonic clock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::period::Month;

/// Monotonic time at which each month was first seen as ended. Clones share it, so that a reload of
/// the configuration does not begin the time anew.
#[derive(Clone, Debug, Default)]
pub struct EndedMonths(Arc<Mutex<BTreeMap<Month, Duration>>>);

impl EndedMonths {
    /// Notes that the month before `now` has ended, and forgets months that have not: the clock was set
    /// back.
    pub(super) fn note(&self, now: Timestamp, monotonic: Duration) {
        let mut months = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        months.retain(|month, _| month.period().end <= now);
        months.entry(Month::of(now).previous()).or_insert(monotonic);
    }

    /// Returns how long the month has been seen as ended; zero if it was not seen before.
    pub(super) fn seen_for(&self, month: Month, monotonic: Duration) -> Duration {
        let mut months = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        monotonic.saturating_sub(*months.entry(month).or_insert(monotonic))
    }
}

//! The monotonic clock as a witness of the wall clock: when each month was first seen as ended, when each
//! tenant was first seen, and how long the wall clock has not jumped. If the API sends no `Date`, only
//! this proves a time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::api::CLOCK_TOLERANCE;
use crate::close::{FirstMonth, Moment};
use crate::period::Month;

/// How long the daemon waits, by the monotonic clock, before it trusts a time that no `Date` proves.
pub(super) const UNDATED_WAIT: Duration = Duration::from_hours(24);

/// Clones share it, so that a reload of the configuration does not begin the time anew.
#[derive(Clone, Debug, Default)]
pub struct EndedMonths(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Monotonic time at which each month was first seen as ended.
    ended: BTreeMap<Month, Duration>,
    /// A reading of both clocks since which the wall clock has not jumped.
    steady_since: Option<Reading>,
    /// The latest reading that [`UNDATED_WAIT`] without a jump preceded.
    accepted: Option<Reading>,
    /// Monotonic time at which each tenant was first seen.
    tenants: BTreeMap<String, Duration>,
}

/// Both clocks, read at the same time.
#[derive(Clone, Copy, Debug)]
struct Reading {
    wall: Timestamp,
    monotonic: Duration,
}

impl Reading {
    /// What the wall clock shows at a monotonic time if it does not jump.
    fn wall_at(self, monotonic: Duration) -> Timestamp {
        self.wall.checked_add(monotonic.saturating_sub(self.monotonic)).unwrap_or(Timestamp::MAX)
    }

    fn is_steady_at(self, other: Self) -> bool {
        other.wall.duration_since(self.wall_at(other.monotonic)).abs() <= CLOCK_TOLERANCE
    }
}

impl EndedMonths {
    /// Notes that the month before `now` has ended, and forgets months that have not: the clock was set
    /// back.
    pub(super) fn note(&self, now: Timestamp, monotonic: Duration) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.ended.retain(|month, _| month.period().end <= now);
        state.ended.entry(Month::of(now).previous()).or_insert(monotonic);
    }

    /// Returns how long the month has been seen as ended; zero if it was not seen before.
    pub(super) fn seen_for(&self, month: Month, monotonic: Duration) -> Duration {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        monotonic.saturating_sub(*state.ended.entry(month).or_insert(monotonic))
    }

    /// Returns the month in which the tenant was first seen, if the wall clock shows `now`. What it showed
    /// then does not count, because it may have been wrong.
    pub(super) fn first_month(&self, tenant: &str, now: Timestamp, monotonic: Duration) -> Month {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first_seen = *state.tenants.entry(tenant.to_owned()).or_insert(monotonic);
        Month::of(now.checked_sub(monotonic.saturating_sub(first_seen)).unwrap_or(now))
    }

    /// The moment to use for a tenant whose API sends no `Date`: after a jump, the time before it
    /// continues until the clock has not jumped again for [`UNDATED_WAIT`].
    pub(super) fn unverified(&self, tenant: &str, now: Timestamp, monotonic: Duration) -> Moment {
        let first = self.first_month(tenant, now, monotonic);
        let reading = Reading { wall: now, monotonic };
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = state.steady_since.filter(|since| since.is_steady_at(reading)).unwrap_or(reading);
        state.steady_since = Some(since);
        let is_accepted = monotonic.saturating_sub(since.monotonic) >= UNDATED_WAIT;
        if is_accepted {
            state.accepted = Some(reading);
        }
        Moment {
            now: state.accepted.map_or(now, |accepted| now.min(accepted.wall_at(monotonic))),
            is_proven: state.accepted.is_some(),
            first: if is_accepted { FirstMonth::Trusted(first) } else { FirstMonth::Provisional(first) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unverified_clock_is_trusted_after_a_day_without_jump() {
        let months = EndedMonths::default();
        let month = |text: &str| text.parse::<Month>().unwrap();
        let moment =
            |now: &str, hours| months.unverified("k1", now.parse().unwrap(), Duration::from_hours(hours));
        // The machine starts with a clock that was never set.
        let first = moment("2000-01-01T00:00:00Z", 0).first;
        assert_eq!(first, FirstMonth::Provisional(month("2000-01")));
        let first = moment("2026-10-31T10:00:00Z", 1).first;
        assert_eq!(first, FirstMonth::Provisional(month("2026-10")), "a jump begins the wait again");
        assert_eq!(moment("2026-11-01T09:00:00Z", 24).first, FirstMonth::Provisional(month("2026-10")));
        let trusted = moment("2026-11-01T10:00:00Z", 25);
        assert_eq!(trusted.first, FirstMonth::Trusted(month("2026-10")), "the month before the wait");
        // A jump ahead makes no month due before a day has passed.
        let jumped = moment("2030-01-01T00:00:00Z", 26);
        assert_eq!(jumped.now, "2026-11-01T11:00:00Z".parse().unwrap());
        assert_eq!(moment("2030-01-01T23:00:00Z", 49).now, "2026-11-02T10:00:00Z".parse().unwrap());
        // Back in time: the earlier of both.
        assert_eq!(moment("2026-11-02T11:00:00Z", 50).now, "2026-11-02T11:00:00Z".parse().unwrap());
        assert_eq!(moment("2026-10-01T00:00:00Z", 51).now, "2026-10-01T00:00:00Z".parse().unwrap());
    }
}

//! The clock of a tenant's API, as the `Date` of its responses shows it, compared with the local clock.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::ResponseTime;

/// Largest difference between the local clock and `Date` that counts as agreement, besides the duration
/// of the request. Clocks that follow a time server differ by less than 1 s. `report.settle` and the
/// checks of completeness tolerate as much.
pub const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(120);

/// `Date` is cut to whole seconds.
const RESOLUTION: Duration = Duration::from_secs(1);

/// Age from which a `Date` no longer counts if later responses have none.
const MAX_AGE: Duration = Duration::from_hours(1);

/// The local clock in comparison with the API's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockState {
    /// No response has been received.
    #[default]
    Unknown,
    /// Responses are received, but none has a `Date` that shows the time: the clock is unverified.
    Undated,
    /// The local clock agrees with the latest `Date`.
    Agrees,
    /// The local clock differs by more than [`CLOCK_TOLERANCE`].
    Differs {
        /// The local clock − the API's, in seconds.
        ahead_seconds: i64,
    },
}

impl ClockState {
    /// Whether both are the same apart from the number of seconds.
    #[must_use]
    pub fn is_like(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

/// What the responses of a tenant's API show of its clock.
#[derive(Debug, Default)]
pub(super) struct ServerTime(Mutex<Seen>);

#[derive(Clone, Copy, Debug, Default)]
enum Seen {
    #[default]
    Nothing,
    Undated,
    Dated(Reading),
}

/// A `Date` and when it was received.
#[derive(Clone, Copy, Debug)]
struct Reading {
    date: Timestamp,
    /// Duration of the request: the server may have read its clock at any time within it.
    took: Duration,
    received: Instant,
}

impl Reading {
    /// The server's clock now, at the earliest.
    fn now(self) -> Timestamp {
        self.date.checked_add(self.received.elapsed()).unwrap_or(Timestamp::MAX)
    }
}

impl ServerTime {
    /// Records a response that was just received. A response that a cache stored does not show the time.
    pub fn record(&self, time: ResponseTime, took: Duration) {
        let date = time.date.filter(|_| time.age.unwrap_or_default().is_zero());
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = match (date, *seen) {
            (Some(date), _) => Seen::Dated(Reading { date, took, received: Instant::now() }),
            (None, Seen::Dated(reading)) if reading.received.elapsed() < MAX_AGE => return,
            (None, _) => Seen::Undated,
        };
    }

    /// Compares `now`, which was just read from the local clock, with the server's clock.
    pub fn compare(&self, now: Timestamp) -> ClockState {
        let reading = match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Seen::Nothing => return ClockState::Unknown,
            Seen::Undated => return ClockState::Undated,
            Seen::Dated(reading) => reading,
        };
        let earliest = reading.now();
        let latest = earliest.checked_add(reading.took + RESOLUTION).unwrap_or(Timestamp::MAX);
        if earliest.duration_since(now) > CLOCK_TOLERANCE || now.duration_since(latest) > CLOCK_TOLERANCE {
            return ClockState::Differs { ahead_seconds: now.duration_since(earliest).as_secs() };
        }
        ClockState::Agrees
    }

    /// The server's clock now; `None` if no response showed it.
    pub fn now(&self) -> Option<Timestamp> {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Seen::Dated(reading) => Some(reading.now()),
            Seen::Nothing | Seen::Undated => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    fn response(date: Option<i64>, age: Option<u64>) -> ResponseTime {
        ResponseTime { date: date.map(at), age: age.map(Duration::from_secs) }
    }

    #[test]
    fn duration_of_the_request_widens_the_tolerance() {
        let server = ServerTime::default();
        server.record(response(Some(0), None), Duration::from_secs(30));
        for (now, ahead) in [(-119, None), (0, None), (149, None), (-125, Some(-125)), (155, Some(155))] {
            match (server.compare(at(now)), ahead) {
                (ClockState::Agrees, None) => {}
                // The test itself may take a second.
                (ClockState::Differs { ahead_seconds }, Some(ahead)) => {
                    assert!((ahead - 2..=ahead).contains(&ahead_seconds), "{now}: {ahead_seconds}");
                }
                (state, _) => panic!("{now}: {state:?}"),
            }
        }
    }

    #[test]
    fn stored_response_is_not_a_clock() {
        let server = ServerTime::default();
        assert_eq!(server.compare(at(0)), ClockState::Unknown);
        server.record(response(Some(0), Some(60)), Duration::ZERO);
        assert_eq!(server.compare(at(0)), ClockState::Undated);
        server.record(response(None, None), Duration::ZERO);
        assert_eq!((server.compare(at(0)), server.now()), (ClockState::Undated, None));
        server.record(response(Some(1000), Some(0)), Duration::ZERO);
        assert!(matches!(server.compare(at(0)), ClockState::Differs { .. }));
        for later in [response(None, None), response(Some(0), Some(1000))] {
            server.record(later, Duration::ZERO);
            assert_eq!(server.compare(at(1000)), ClockState::Agrees, "the reading stays");
        }
    }
}

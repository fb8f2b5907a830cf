//! When the months of a tenant are tried again after a failure. Pure: the monotonic time is passed in.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::api::Reason;
use crate::period::Month;

/// First pause after a failure; it doubles up to [`MAX_PAUSE`].
const MIN_PAUSE: Duration = Duration::from_mins(1);

/// Longest pause between two attempts at a month.
const MAX_PAUSE: Duration = Duration::from_hours(1);

/// Pause between two attempts at a month that has been incomplete for [`INCOMPLETE_FOR`]: the provider
/// or an operator has to act.
const INCOMPLETE_PAUSE: Duration = Duration::from_hours(6);

/// How long a month is tried with the usual pauses although its response is incomplete.
const INCOMPLETE_FOR: Duration = Duration::from_hours(24);

/// The failed attempts of one month.
#[derive(Clone, Debug)]
struct Attempt {
    /// Monotonic time of the next attempt.
    next: Duration,
    pause: Duration,
    /// Monotonic time of the first of consecutive incomplete responses.
    incomplete_since: Option<Duration>,
    error: String,
}

/// The months that failed and when each is tried again.
#[derive(Debug, Default)]
pub struct Attempts(BTreeMap<Month, Attempt>);

impl Attempts {
    /// Whether a month that failed is to be tried at `now`.
    pub fn is_due(&self, month: Month, now: Duration) -> bool {
        self.0.get(&month).is_some_and(|attempt| attempt.next <= now)
    }

    /// Whether an attempt at this month has failed and none has succeeded since.
    pub fn has_failed(&self, month: Month) -> bool {
        self.0.contains_key(&month)
    }

    /// Whether a month is kept back even from the schedule: it is incomplete for a long time.
    pub fn is_paused(&self, month: Month, now: Duration) -> bool {
        self.0.get(&month).is_some_and(|attempt| attempt.pause >= INCOMPLETE_PAUSE && attempt.next > now)
    }

    /// Records a failed attempt; the pause until the next.
    pub fn failed(&mut self, month: Month, now: Duration, reason: Reason, error: String) -> Duration {
        let before = self.0.get(&month);
        let incomplete_since = (reason == Reason::Incomplete)
            .then(|| before.and_then(|attempt| attempt.incomplete_since).unwrap_or(now));
        let usual = before.map_or(Duration::ZERO, |attempt| attempt.pause) * 2;
        let pause = match incomplete_since {
            Some(since) if now.saturating_sub(since) >= INCOMPLETE_FOR => INCOMPLETE_PAUSE,
            _ => usual.clamp(MIN_PAUSE, MAX_PAUSE),
        };
        self.0.insert(month, Attempt { next: now + pause, pause, incomplete_since, error });
        pause
    }

    /// Forgets the failures of a month that was closed.
    pub fn succeeded(&mut self, month: Month) {
        self.0.remove(&month);
    }

    /// Forgets the failures of months that are no longer due.
    pub fn retain(&mut self, due: &[Month]) {
        self.0.retain(|month, _| due.contains(month));
    }

    /// Why the latest attempt at a month failed.
    pub fn error(&self, month: Month) -> Option<&str> {
        self.0.get(&month).map(|attempt| attempt.error.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_incomplete_months_wait_longer() {
        let month: Month = "2026-10".parse().unwrap();
        let minutes = |count: u64| Duration::from_mins(count);
        let mut attempts = Attempts::default();
        let mut now = Duration::ZERO;
        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            let pause = attempts.failed(month, now, Reason::Incomplete, String::new());
            assert_eq!(pause, minutes(expected));
            assert!(!attempts.is_due(month, now) && attempts.is_due(month, now + pause));
            assert!(!attempts.is_paused(month, now));
            now += pause;
        }
        now = Duration::from_hours(24);
        assert_eq!(attempts.failed(month, now, Reason::Incomplete, String::new()), INCOMPLETE_PAUSE);
        assert!(attempts.is_paused(month, now));
        // Another failure is tried again with the usual pauses, and the 24 h begin anew.
        assert_eq!(attempts.failed(month, now, Reason::Server, String::new()), MAX_PAUSE);
        assert_eq!(attempts.failed(month, now, Reason::Incomplete, String::new()), MAX_PAUSE);
        attempts.succeeded(month);
        assert!(!attempts.has_failed(month) && attempts.error(month).is_none());
    }
}

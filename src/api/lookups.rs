//! Limits of the requests by id of one run.
//!
//! An inventory is mainly read from lists. Requests by id only check objects that the lists lack. If
//! hundreds of these requests hang, the run must still end before the observations in the ledger have a
//! gap, and the tenant's other collectors must still be able to send requests.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// The limits of one run: the permits for concurrent requests by id, and the time that is left for
/// them.
pub(super) struct Lookups {
    permits: Semaphore,
    time: Mutex<Time>,
}

/// The time that is left. It decreases only while a request by id is in progress.
struct Time {
    left: Duration,
    in_progress: usize,
    /// The time at which the first of the requests in progress began.
    since: Instant,
}

/// One request by id in progress.
pub(super) struct Lookup<'a> {
    lookups: &'a Lookups,
    /// Deadline of the request.
    pub until: Instant,
    _permit: SemaphorePermit<'a>,
}

impl Lookups {
    /// Allows requests by id for `time` in total, and at most half of `concurrency` (the tenant's limit
    /// of concurrent requests) at the same time.
    pub fn new(concurrency: usize, time: Duration) -> Self {
        Self {
            permits: Semaphore::new(concurrency.div_ceil(2).clamp(1, Semaphore::MAX_PERMITS)),
            time: Mutex::new(Time::new(time)),
        }
    }

    /// Waits until a request by id may begin; `None` if no time is left.
    pub async fn begin(&self) -> Option<Lookup<'_>> {
        // The semaphore is never closed.
        let permit = self.permits.acquire().await.ok()?;
        let until = self.time().begin(Instant::now())?;
        Some(Lookup { lookups: self, until, _permit: permit })
    }

    fn time(&self) -> MutexGuard<'_, Time> {
        self.time.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lookup<'_> {
    fn drop(&mut self) {
        self.lookups.time().end(Instant::now());
    }
}

impl Time {
    fn new(left: Duration) -> Self {
        Self { left, in_progress: 0, since: Instant::now() }
    }

    /// Begins a request. Returns its deadline; `None` if no time is left.
    fn begin(&mut self, now: Instant) -> Option<Instant> {
        if self.in_progress == 0 {
            self.since = now;
        }
        let left = self.left.saturating_sub(now.saturating_duration_since(self.since));
        if left.is_zero() {
            return None;
        }
        self.in_progress += 1;
        // If the time is too long for an `Instant`, the deadline is in thirty years, as for a run.
        Some(now.checked_add(left).unwrap_or(now + Duration::from_hours(262_800)))
    }

    /// Ends a request.
    fn end(&mut self, now: Instant) {
        self.in_progress -= 1;
        if self.in_progress == 0 {
            self.left = self.left.saturating_sub(now.saturating_duration_since(self.since));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn only_time_with_a_request_in_progress_counts() {
        let (mut time, start) = (Time::new(10 * SECOND), Instant::now());
        let at = |seconds| start + seconds * SECOND;
        assert_eq!(time.begin(start), Some(at(10)));
        assert_eq!(time.begin(at(4)), Some(at(10)), "together with the first one");
        time.end(at(4));
        time.end(at(6));
        // No request by id is in progress until second 100.
        assert_eq!(time.begin(at(100)), Some(at(104)));
        assert_eq!(time.begin(at(104)), None, "while the third one hangs");
        time.end(at(104));
        assert_eq!(time.begin(at(200)), None);
    }

    #[test]
    fn requests_by_id_use_half_of_the_concurrency() {
        for (concurrency, expected) in [(1, 1), (2, 1), (8, 4), (9, 5)] {
            assert_eq!(Lookups::new(concurrency, SECOND).permits.available_permits(), expected);
        }
    }
}

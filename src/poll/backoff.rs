//! The wait before a collector runs again after a failed run. The wait is shorter than the interval and
//! grows with each failed run. It never ends before the server's `Retry-After`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::Url;
use tokio::time::Instant;

use crate::api::Reason;
use crate::config::Tenant;
use crate::snapshot::Collector;

/// Wait after the first failed run. Each further wait is twice as long.
const FIRST: Duration = Duration::from_secs(5);

/// Longest wait without `Retry-After`, if the interval is longer than this. A collector with an
/// interval of an hour must not need an hour to detect that the API works again.
const LONGEST: Duration = Duration::from_mins(5);

/// Random spread of a wait, as a fraction of its length. Without a spread, all collectors of all
/// tenants would retry at the same time after an outage.
const SPREAD: f64 = 0.25;

/// Time after which a failed run is dropped. It is longer than any pause. The failed runs of removed
/// tenants are also dropped after this time.
const MEMORY: Duration = Duration::from_hours(24);

/// The failed runs of the collectors of all tenants. They are kept across reloads, so that a reload
/// does not shorten a `Retry-After`. If the `base_url` of a tenant changes, it is a different server,
/// so its earlier failed runs do not count.
#[derive(Clone, Debug, Default)]
pub struct Failures(Arc<Mutex<BTreeMap<Key, Failure>>>);

/// Tenant, its `base_url`, and collector.
type Key = (Arc<str>, Url, Collector);

/// The number of failed runs of a collector since its latest success, and the end of a `Retry-After`.
#[derive(Clone, Copy, Debug)]
struct Failure {
    runs: u32,
    reason: Reason,
    at: Instant,
    /// The end of the server's `Retry-After`.
    not_before: Option<Instant>,
}

impl Failures {
    /// Records a failed run. `pause` is the time left until the server accepts further requests.
    pub fn failed(
        &self,
        tenant: &Tenant,
        collector: Collector,
        reason: Reason,
        pause: Option<Duration>,
        now: Instant,
    ) {
        let not_before = pause.and_then(|pause| now.checked_add(pause));
        let mut failures = self.lock();
        failures.retain(|_, failure| now.saturating_duration_since(failure.at) < MEMORY);
        let failure = failures.entry(key(tenant, collector)).or_insert(Failure {
            runs: 0,
            reason,
            at: now,
            not_before,
        });
        *failure = Failure { runs: failure.runs.saturating_add(1), reason, at: now, not_before };
    }

    /// Records a successful run. `pause` is the time left until the server accepts further requests, if it
    /// limited optional requests of the run.
    pub fn succeeded(&self, tenant: &Tenant, collector: Collector, pause: Option<Duration>, now: Instant) {
        let mut failures = self.lock();
        match pause.and_then(|pause| now.checked_add(pause)) {
            None => drop(failures.remove(&key(tenant, collector))),
            not_before => {
                let limited = Failure { runs: 0, reason: Reason::RateLimited, at: now, not_before };
                failures.insert(key(tenant, collector), limited);
            }
        }
    }

    /// Returns the wait before the next run of a collector with this `interval`. `regular` is the wait
    /// after a successful run. `random` is from 0 to 1.
    pub fn wait(
        &self,
        tenant: &Tenant,
        collector: Collector,
        (regular, interval): (Duration, Duration),
        now: Instant,
        random: f64,
    ) -> Duration {
        let failure = self.lock().get(&key(tenant, collector)).copied();
        failure.map_or(regular, |failure| failure.wait(regular, interval, now, random))
    }

    /// Returns the remaining time of the server's `Retry-After`, for the first run of a task.
    pub fn remaining_pause(&self, tenant: &Tenant, collector: Collector, now: Instant) -> Duration {
        let failure = self.lock().get(&key(tenant, collector)).copied();
        let not_before = failure.and_then(|failure| failure.not_before);
        not_before.map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Failure>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failure {
    fn wait(self, regular: Duration, interval: Duration, now: Instant, random: f64) -> Duration {
        let own = if self.runs == 0 || self.reason == Reason::Credentials {
            // Only the operator can correct a token, and some servers lock out clients that repeatedly
            // send a wrong token.
            regular
        } else {
            let doubled = FIRST.saturating_mul(1 << self.runs.saturating_sub(1).min(16));
            doubled.min(LONGEST).mul_f64(1.0 - SPREAD + 2.0 * SPREAD * random)
        };
        let pause = self.not_before.map(|at| at.saturating_duration_since(now));
        // Collectors that received the same `Retry-After` must not all send requests in the same
        // second.
        let pause = pause.filter(|pause| !pause.is_zero()).map(|pause| pause + FIRST.mul_f64(random));
        // A run that fails after a timeout can take longer than its interval. Without a pause, a
        // hanging server would receive requests continuously.
        let longest = if self.runs == 0 { regular } else { regular.max(interval / 2) };
        own.min(longest).max(pause.unwrap_or_default())
    }
}

fn key(tenant: &Tenant, collector: Collector) -> Key {
    (Arc::clone(&tenant.name), tenant.base_url.clone(), collector)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Api, Secret, TokenSource};

    const MINUTE: Duration = Duration::from_mins(1);
    const HOUR: Duration = Duration::from_hours(1);

    fn tenant(url: &str) -> Tenant {
        Tenant {
            name: "k1".into(),
            base_url: url.parse().unwrap(),
            token: TokenSource::Fixed(Secret::new("token")),
            api: Api::default(),
            prices: None,
            group_by: Vec::new(),
        }
    }

    /// Returns the waits in seconds, without spread, after one, two and more failed runs.
    fn waits(reason: Reason, interval: Duration, runs: usize) -> Vec<u64> {
        let (failures, tenant, now) = (Failures::default(), tenant("https://a.example"), Instant::now());
        let wait = || {
            failures.failed(&tenant, Collector::Usage, reason, None, now);
            failures.wait(&tenant, Collector::Usage, (interval, interval), now, 0.5).as_secs()
        };
        std::iter::repeat_with(wait).take(runs).collect()
    }

    #[test]
    fn waits_double_up_to_the_interval_and_the_bound() {
        for reason in Reason::API {
            let minute = if reason == Reason::Credentials { [60; 6] } else { [5, 10, 20, 40, 60, 60] };
            assert_eq!(waits(reason, MINUTE, 6), minute, "{reason:?}");
        }
        assert_eq!(waits(Reason::Server, Duration::from_secs(1), 3), [1; 3]);
        assert_eq!(waits(Reason::Timeout, HOUR, 9)[5..], [160, 300, 300, 300]);
        assert_eq!(waits(Reason::Timeout, HOUR, 99).last(), Some(&300));
    }

    #[test]
    fn waits_are_spread_and_never_exceed_the_interval() {
        let (failures, tenant, now) = (Failures::default(), tenant("https://a.example"), Instant::now());
        failures.failed(&tenant, Collector::Capacity, Reason::Server, None, now);
        let wait =
            |regular, random| failures.wait(&tenant, Collector::Capacity, (regular, MINUTE), now, random);
        assert_eq!(wait(MINUTE, 0.0), Duration::from_millis(3_750));
        assert_eq!(wait(MINUTE, 1.0), Duration::from_millis(6_250));
        assert_eq!(wait(Duration::ZERO, 1.0), Duration::from_millis(6_250), "the run took an interval");
        let other = failures.wait(&tenant, Collector::Usage, (MINUTE, MINUTE), now, 0.5);
        assert_eq!(other, MINUTE, "another collector");
        failures.succeeded(&tenant, Collector::Capacity, None, now);
        assert_eq!(wait(MINUTE, 0.5), MINUTE);
        for _ in 0..9 {
            failures.failed(&tenant, Collector::Capacity, Reason::Timeout, None, now);
        }
        assert_eq!(wait(Duration::ZERO, 1.0), MINUTE / 2, "half an interval");
        assert_eq!(wait(MINUTE, 1.0), MINUTE);
    }

    #[test]
    fn limited_success_delays_next_run_but_counts_as_success() {
        let (failures, tenant, now) = (Failures::default(), tenant("https://a.example"), Instant::now());
        let wait = |regular| failures.wait(&tenant, Collector::Inventory, (regular, MINUTE), now, 0.0);
        failures.succeeded(&tenant, Collector::Inventory, Some(Duration::from_secs(90)), now);
        assert_eq!(wait(MINUTE), Duration::from_secs(90));
        failures.succeeded(&tenant, Collector::Inventory, Some(Duration::from_secs(2)), now);
        assert_eq!(wait(MINUTE), MINUTE);
        assert_eq!(wait(Duration::ZERO), Duration::from_secs(2));
    }

    #[test]
    fn retry_after_outlasts_interval_and_reload() {
        let (failures, moved, now) = (Failures::default(), tenant("https://b.example"), Instant::now());
        let tenant = tenant("https://a.example");
        for (pause, regular, least) in [(30, MINUTE, 30), (90, MINUTE, 90), (2, MINUTE, 3), (600, HOUR, 600)]
        {
            let asked = Some(Duration::from_secs(pause));
            for reason in [Reason::Server, Reason::RateLimited, Reason::Credentials] {
                failures.failed(&tenant, Collector::Usage, reason, asked, now);
                failures.succeeded(&tenant, Collector::Capacity, None, now);
                let wait = failures.wait(&tenant, Collector::Usage, (regular, regular), now, 0.0);
                assert!(wait >= Duration::from_secs(least), "{pause} {reason:?}: {wait:?}");
                let remaining = |tenant, later| {
                    failures.remaining_pause(tenant, Collector::Usage, now + Duration::from_secs(later))
                };
                assert_eq!(remaining(&tenant, 1), Duration::from_secs(pause - 1));
                assert_eq!(remaining(&tenant, pause), Duration::ZERO);
                assert_eq!(remaining(&moved, 1), Duration::ZERO, "another server");
                failures.succeeded(&tenant, Collector::Usage, None, now);
                assert_eq!(remaining(&tenant, 1), Duration::ZERO);
            }
        }
    }

    #[test]
    fn failed_runs_of_removed_tenants_are_dropped() {
        let (failures, now) = (Failures::default(), Instant::now());
        failures.failed(&tenant("https://a.example"), Collector::Usage, Reason::Server, None, now);
        let other = tenant("https://b.example");
        failures.failed(&other, Collector::Usage, Reason::Server, None, now + MEMORY);
        assert_eq!(failures.lock().len(), 1);
    }
}

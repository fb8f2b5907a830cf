//! When a failed request is sent again: the kinds of failure, the waits, the run's budget.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};

use super::Reason;
use super::transport::Failure;

/// First wait; each further one is twice as long, and jitter adds up to as much again.
const FIRST: Duration = Duration::from_millis(200);

/// Longest wait of our own.
const LONGEST: Duration = Duration::from_secs(10);

/// Longest time that a request waits because of `Retry-After`. If the server sets a longer time, the
/// request fails, because a waiting run counts as successful and a reload would shorten its wait.
pub(super) const LONGEST_ASKED: Duration = Duration::from_secs(10);

/// Longest time that `Retry-After` delays the next run after a failed run. A longer value counts as
/// this time, because a mistake of the server must not stop the polls of a tenant for days.
pub(super) const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// Retries of a run for each one of `api.retries`.
const BUDGET: u32 = 10;

/// The retries left to a run, over all its requests.
pub(super) struct Budget(AtomicU32);

impl Budget {
    pub fn new(retries: u32) -> Self {
        Self(AtomicU32::new(retries.saturating_mul(BUDGET)))
    }

    /// Takes one; `false` if none is left.
    pub fn take(&self) -> bool {
        self.0.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

/// The retries left to one request.
pub(super) struct Retries {
    waits: ExponentialBackoff,
    timed_out: bool,
}

impl Retries {
    pub fn new(retries: u32) -> Self {
        let waits = ExponentialBuilder::new()
            .with_jitter()
            .with_min_delay(FIRST)
            .with_max_delay(LONGEST)
            .with_max_times(retries as usize)
            .build();
        Self { waits, timed_out: false }
    }

    /// How long to wait before the request is sent again; `None` if it is not to be.
    ///
    /// A request that timed out is sent again only once: it may have met a connection that died
    /// without a sign, but a server that is too slow stays so, and each try takes `api.timeout`.
    pub fn after(&mut self, failure: &Failure) -> Option<Duration> {
        match failure.error.reason {
            Reason::Transport | Reason::RateLimited | Reason::Server => {}
            Reason::Timeout if !std::mem::replace(&mut self.timed_out, true) => {}
            _ => return None,
        }
        let asked = failure.retry_after.unwrap_or_default();
        if asked > LONGEST_ASKED {
            return None;
        }
        // The jittered wait is added, lest all that were told the same second come back at once.
        self.waits.next().map(|wait| asked + wait)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Endpoint, Error};
    use super::*;

    fn failure(reason: Reason, retry_after: Option<Duration>) -> Failure {
        Failure { retry_after, ..Error::new(Endpoint::Clouds, reason).into() }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for reason in Reason::API {
            let times = std::iter::from_fn({
                let mut retries = Retries::new(3);
                move || retries.after(&failure(reason, None))
            })
            .count();
            let expected = match reason {
                Reason::Transport | Reason::RateLimited | Reason::Server => 3,
                Reason::Timeout => 1,
                _ => 0,
            };
            assert_eq!(times, expected, "{reason:?}");
        }
    }

    #[test]
    fn waits_grow_with_jitter_and_never_shorten_retry_after() {
        let mut retries = Retries::new(3);
        let mut wait = |asked| retries.after(&failure(Reason::Server, asked)).unwrap();
        assert!((200..=400).contains(&wait(None).as_millis()));
        assert!((5_400..=5_800).contains(&wait(Some(Duration::from_secs(5))).as_millis()));
        assert!((10_800..=11_600).contains(&wait(Some(LONGEST_ASKED)).as_millis()));
        for reason in [Reason::Server, Reason::RateLimited] {
            let asked = failure(reason, Some(LONGEST_ASKED + Duration::from_secs(1)));
            assert_eq!(Retries::new(3).after(&asked), None, "{reason:?}");
        }
    }

    #[test]
    fn a_budget_ends() {
        let budget = Budget::new(1);
        assert_eq!(std::iter::repeat_with(|| budget.take()).take_while(|taken| *taken).take(99).count(), 10);
        assert!(!Budget::new(0).take());
    }
}

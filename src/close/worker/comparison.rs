//! Closed months, compared daily with the provider's current report.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::close::{CloseError, Closer, Followed, MonthStates};
use crate::config::Report;
use crate::config::Restate;
use crate::ledger::{CONFIRMED_AFTER, Comparison, DifferenceState};
use crate::period::Month;
use crate::poll::describe;
use crate::self_metrics::SelfMetrics;

/// Time between two comparisons of a month within `report.watch`.
const DAILY: SignedDuration = SignedDuration::from_hours(24);

/// Time between two comparisons of a month with an open difference after `report.watch`.
const WEEKLY: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Least time between two readings of a difference that is not confirmed yet.
const HOURLY: SignedDuration = SignedDuration::from_hours(1);

/// Time until a comparison that failed is made again, by the monotonic clock.
const RETRY: Duration = Duration::from_hours(1);

/// The comparisons of one tenant.
#[derive(Debug)]
pub struct Comparisons {
    restate: Restate,
    watch: Duration,
    /// Monotonic time of the next attempt at months whose comparison failed.
    retries: BTreeMap<Month, Duration>,
}

impl Comparisons {
    pub fn new(report: &Report) -> Self {
        Self { restate: report.restate, watch: report.watch, retries: BTreeMap::new() }
    }

    /// Compares the months whose time has come. Returns whether any was compared.
    pub async fn run_if_due(
        &mut self,
        closer: &Closer,
        states: &MonthStates,
        now: Timestamp,
        monotonic: Duration,
        self_metrics: &SelfMetrics,
    ) -> bool {
        let mut compared = false;
        for (month, closed_at) in &states.closed {
            // A failure is retried also if the comparison itself was recorded before it.
            let is_due = match self.retries.get(month) {
                Some(retry) => monotonic >= *retry,
                None => self.is_due(*closed_at, states.comparisons.get(month), now),
            };
            if !is_due {
                continue;
            }
            match compare(closer, *month, self.restate).await {
                Ok(()) => {
                    self.retries.remove(month);
                    compared = true;
                }
                Err(error) => {
                    let (tenant, reason) = (closer.tenant(), error.reason());
                    tracing::error!(tenant, %month, reason = reason.as_str(), error = describe(&error), "a closed month cannot be compared with the provider's current report; retrying in 1 h");
                    self_metrics.comparison_failed(tenant, reason);
                    self.retries.insert(*month, monotonic + RETRY);
                }
            }
        }
        compared
    }

    fn is_due(&self, closed_at: Timestamp, known: Option<&Comparison>, now: Timestamp) -> bool {
        let watched = after(closed_at, self.watch.try_into().unwrap_or(SignedDuration::MAX)) > now;
        let (last, next) = match known {
            // A cache may return the first response again, and the clock may have been ahead.
            Some(Comparison { at, first_read: Some(first_read), .. }) => {
                let confirmed = (*first_read).min(*at);
                (*at, after(confirmed, CONFIRMED_AFTER).max(after(*at, HOURLY)))
            }
            Some(Comparison { at, .. }) if watched => (*at, after(*at, DAILY)),
            Some(Comparison { at, open: true, .. }) => (*at, after(*at, WEEKLY)),
            None if watched => (closed_at, after(closed_at, DAILY)),
            _ => return false,
        };
        // A clock that was set back must not postpone the next comparison.
        now >= next || last > after(now, HOURLY)
    }
}

fn after(at: Timestamp, pause: SignedDuration) -> Timestamp {
    at.checked_add(pause).unwrap_or(Timestamp::MAX)
}

/// Compares one month, records what was found, and restates it if the configuration says so.
async fn compare(closer: &Closer, month: Month, restate: Restate) -> Result<(), CloseError> {
    let tenant = closer.tenant();
    let current = closer.compare(month).await?;
    let compared = closer.record_comparison(month, &current).await?;
    let changed = &current.changed;
    let Some(state) = compared.state else {
        tracing::debug!(tenant, %month, "closed month matches the provider's current report");
        return Ok(());
    };
    let (vms, clouds, tags) = (changed.vms.len(), changed.clouds.len(), changed.tags.len());
    let seconds = changed.seconds.max();
    let example = changed.vms.iter().chain(&changed.clouds).chain(&changed.tags).next().map(|id| &**id);
    match state {
        DifferenceState::Waived => {
            tracing::debug!(tenant, %month, "the difference from the provider's current report is waived");
            return Ok(());
        }
        DifferenceState::Read => {
            tracing::warn!(tenant, %month, vms, clouds, tags, seconds, example, "the provider's current report differs from the closed month; the reading is repeated after 6 h");
            return Ok(());
        }
        DifferenceState::Open if compared.opened => {
            tracing::warn!(tenant, %month, vms, clouds, tags, seconds, example, "the provider's current report differs from the closed month; two readings agree, so the difference is open");
        }
        DifferenceState::Open => {
            tracing::warn!(tenant, %month, vms, clouds, tags, seconds, example, "the difference from the provider's current report is still open");
        }
    }
    if restate == Restate::Flag {
        tracing::warn!(
            tenant,
            "show it with report --month {month} --restate --reason TEXT --dry-run; settle it without --dry-run, or with --waive --reason TEXT"
        );
        return Ok(());
    }
    if !compared.agrees_with_previous {
        tracing::warn!(tenant, %month, "the provider's latest two responses differ from each other, so the month is not restated automatically; the difference stays open");
        return Ok(());
    }
    match closer.follow_provider(month, current).await? {
        Followed::Restated(outcome) => {
            let published = outcome.published();
            tracing::warn!(tenant, %month, revision = published.revision, directory = %published.dir.display(), "month restated");
        }
        Followed::Kept(reason) => {
            tracing::warn!(tenant, %month, reason, "the month is not restated automatically; the difference stays open");
        }
    }
    Ok(())
}

//! Closed months, compared daily with what the provider says now.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::log_failure;
use crate::close::{CloseError, Closer};
use crate::config::Restate;
use crate::period::Month;
use crate::report::Changed;
use crate::self_metrics::SelfMetrics;

/// How often a closed month is compared.
const DAILY: SignedDuration = SignedDuration::from_hours(24);

/// How soon a comparison that failed is made again.
const RETRY: SignedDuration = SignedDuration::from_hours(1);

/// A next comparison further away than this was planned before the clock was set back.
const TOO_FAR: SignedDuration = SignedDuration::from_hours(25);

/// Why a month was restated without anybody saying so.
const REASON: &str = "the provider changed its figures (report.restate: auto)";

/// Watches the closed months of one tenant.
#[derive(Debug)]
pub struct Watch {
    restate: Restate,
    months: BTreeMap<Month, Watched>,
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    /// Time of the next comparison.
    next: Timestamp,
    /// What the newest found, in seconds; `None` before the first.
    changed: Option<u64>,
}

impl Watch {
    pub fn new(restate: Restate) -> Self {
        Self { restate, months: BTreeMap::new() }
    }

    /// Compares the months whose time has come; whether one was restated.
    pub async fn look(&mut self, closer: &Closer, now: Timestamp, self_metrics: &SelfMetrics) -> bool {
        let current = match closer.watched(now).await {
            Ok(current) => current,
            Err(error) => {
                log_failure(closer, None, &error, self_metrics);
                return false;
            }
        };
        self.months.retain(|month, _| current.contains_key(month));
        let mut restated = false;
        for (month, at) in current {
            let watched =
                self.months.entry(month).or_insert(Watched { next: after(at, DAILY), changed: None });
            if now < watched.next && watched.next < after(now, TOO_FAR) {
                continue;
            }
            let (pause, changed) = match compare(closer, month, self.restate).await {
                Ok((changed, done)) => {
                    restated |= done;
                    (DAILY, Some(changed))
                }
                Err(error) => {
                    log_failure(closer, Some(month), &error, self_metrics);
                    (RETRY, watched.changed)
                }
            };
            *watched = Watched { next: after(now, pause), changed };
        }
        self_metrics.report_changed(closer.tenant(), &self.changed());
        restated
    }

    /// Seconds that the newest comparison found changed, by month.
    pub fn changed(&self) -> BTreeMap<Month, u64> {
        self.months.iter().filter_map(|(month, watched)| Some((*month, watched.changed?))).collect()
    }
}

fn after(at: Timestamp, pause: SignedDuration) -> Timestamp {
    at.checked_add(pause).unwrap_or(Timestamp::MAX)
}

/// Seconds that the provider reports differently, and whether the month was restated for it.
async fn compare(closer: &Closer, month: Month, restate: Restate) -> Result<(u64, bool), CloseError> {
    let tenant = closer.tenant();
    let Changed { vms, seconds } = closer.compare(month).await?;
    if vms.is_empty() {
        tracing::debug!(tenant, %month, "the closed month is what the provider says");
        return Ok((0, false));
    }
    // A VM without time can change too; the series must not say that nothing did.
    let seconds = seconds.max(1);
    let example = &*vms[0];
    tracing::warn!(tenant, %month, vms = vms.len(), seconds, example, "the provider reports a closed month differently now");
    if restate == Restate::Flag {
        tracing::warn!(
            tenant,
            "see it with report --month {month} --restate --reason TEXT --dry-run; without --dry-run the next revision is written"
        );
        return Ok((seconds, false));
    }
    let outcome = closer.follow_provider(month, REASON).await?;
    let published = outcome.published();
    tracing::warn!(tenant, %month, revision = published.revision, folder = %published.dir.display(), "month restated");
    Ok((0, true))
}

//! Wakes `close_due`: by cron, at start, and to make up for what was missed.
//!
//! Cron only wakes; what is due decides. A minute's tick, by the monotonic clock, replays cron
//! times that passed unnoticed (a sleeping machine, a clock that was set) and repeats failures.

mod audit;
mod shown;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch as channel};
use tokio::time::Instant;
use tokio_cron_scheduler::{Job, JobScheduler};

use crate::clock::Clock;
use crate::close::{CloseError, Closer};
use crate::config::{Report, schedule::Schedule};
use crate::ledger::Dropped;
use crate::period::Month;
use crate::poll::describe;
use crate::report::Outcome;
use crate::self_metrics::SelfMetrics;
use crate::store::{Outlook, Store};

use audit::Audit;
use shown::Shown;
use watch::Watch;

/// The tick that makes up for what was missed.
const TICK: Duration = Duration::from_mins(1);

/// First pause after a failure; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_mins(1);

/// Longest pause between two attempts at a month.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// A difference between wall and monotonic clock from one wake to the next that is worth a line.
const CLOCK_JUMP: Duration = Duration::from_mins(1);

/// How often old events are looked for.
const DAILY: SignedDuration = SignedDuration::from_hours(24);

/// Closes months for all tenants until it is told to stop.
#[derive(Debug)]
pub struct Worker {
    closers: Vec<Charge>,
    /// When old events were last looked for.
    last_forgotten: Option<Timestamp>,
    schedule: Schedule,
    clock: Clock,
    store: Arc<Store>,
    self_metrics: Arc<SelfMetrics>,
    /// Wall and monotonic time of the newest wake.
    last_wake: Option<(Timestamp, Instant)>,
    /// When the schedule was last followed.
    last_scheduled: Option<Timestamp>,
}

/// A tenant's closer, and what is remembered of it.
type Charge = (Closer, Attempts, Audit, Watch, Shown);

/// When a tenant's months are tried again.
#[derive(Debug, Default)]
struct Attempts {
    at: Option<Instant>,
    pause: Duration,
    /// Why the newest attempt at each failed.
    failures: BTreeMap<Month, String>,
}

impl Worker {
    /// A worker for `closers`, one a tenant.
    #[must_use]
    pub fn new(
        closers: Vec<Closer>,
        report: &Report,
        clock: Clock,
        store: Arc<Store>,
        self_metrics: Arc<SelfMetrics>,
    ) -> Self {
        let charge = |closer| {
            let watch = Watch::new(report.restate);
            (closer, Attempts::default(), Audit::default(), watch, Shown::default())
        };
        let (closers, schedule) = (closers.into_iter().map(charge).collect(), report.schedule.clone());
        Self {
            closers,
            last_forgotten: None,
            schedule,
            clock,
            store,
            self_metrics,
            last_wake: None,
            last_scheduled: None,
        }
    }

    /// Runs until `shutdown` turns true. A month whose files are being written is finished first;
    /// a fetch is dropped.
    pub async fn run(mut self, mut shutdown: channel::Receiver<bool>) {
        let woken = Arc::new(Notify::new());
        let scheduler = start_cron(&self.schedule, &woken).await;
        if let Err(error) = &scheduler {
            tracing::error!(%error, "the scheduler does not start; the minute's tick stands in for it");
        }
        let mut cron = true;
        loop {
            tokio::select! {
                () = self.wake(cron) => {}
                _ = shutdown.wait_for(|stop| *stop) => break,
            }
            cron = tokio::select! {
                () = woken.notified() => true,
                () = tokio::time::sleep(TICK) => false,
                _ = shutdown.wait_for(|stop| *stop) => break,
            };
        }
        if let Ok(mut scheduler) = scheduler {
            // It waits for nothing; what matters has ended above.
            let _ = scheduler.shutdown().await;
        }
    }

    /// One look at what is due. `cron` is true when the schedule says so, and at start.
    pub async fn wake(&mut self, cron: bool) {
        let now = self.clock.now();
        self.self_metrics.woke(now);
        self.notice_clock_jumps(now);
        let missed = |last| self.schedule.next_after(last).is_some_and(|next| next <= now);
        let scheduled = cron || self.last_scheduled.is_none_or(missed);
        if scheduled {
            self.last_scheduled = Some(now);
        }
        let (store, self_metrics) = (&self.store, &self.self_metrics);
        for (closer, attempts, audit, watch, shown) in &mut self.closers {
            // Closing can take long when the API is slow; what is closed is there before.
            shown.refresh(closer, &audit.wrong, store, self_metrics).await;
            if scheduled || attempts.at.is_some_and(|at| at <= Instant::now()) {
                close_due(closer, attempts, now, self_metrics).await;
            }
            audit.look(closer, now, self_metrics).await;
            shown.refresh(closer, &audit.wrong, store, self_metrics).await;
            if watch.look(closer, now, self_metrics).await {
                shown.refresh(closer, &audit.wrong, store, self_metrics).await;
            }
            // By whoever closed it: also the command `report`, or the daemon before this start.
            if let Ok(Some(at)) = closer.last_closed().await {
                self_metrics.report_succeeded(closer.tenant(), at);
            }
            // Also between attempts: a month may have become due that the schedule has not reached.
            if let Ok(due) = closer.due(now).await {
                self_metrics.report_due(closer.tenant(), Some(due.len()));
                let failure = |month: Month| (month, attempts.failures.get(&month).cloned());
                store.outlook(
                    closer.tenant(),
                    Outlook {
                        due: due.into_iter().map(failure).collect(),
                        next: closer.next_due(now),
                        changed: watch.changed(),
                    },
                );
            } else {
                // No figure is better than an old one. The next tick tries, which counts the failure.
                self_metrics.report_due(closer.tenant(), None);
                attempts.at.get_or_insert_with(Instant::now);
            }
        }
        self.forget(now).await;
    }

    /// Drops old events, once a day.
    async fn forget(&mut self, now: Timestamp) {
        if self.last_forgotten.is_some_and(|at| now.duration_since(at).abs() < DAILY) {
            return;
        }
        self.last_forgotten = Some(now);
        for (closer, ..) in &self.closers {
            let tenant = closer.tenant();
            match closer.forget(now).await {
                Ok(Dropped { events: 0, vms: 0, polls: 0 }) => {}
                Ok(Dropped { events, vms, polls }) => {
                    tracing::info!(tenant, events, vms, polls, "old events of closed months were dropped");
                }
                Err(error) => {
                    tracing::error!(tenant, error = describe(&error), "old events cannot be dropped");
                }
            }
        }
    }

    fn notice_clock_jumps(&mut self, now: Timestamp) {
        let instant = Instant::now();
        if let Some((wall, monotonic)) = self.last_wake {
            let expected = wall.checked_add(instant - monotonic).unwrap_or(now);
            let jump = now.duration_since(expected);
            if jump.unsigned_abs() > CLOCK_JUMP {
                tracing::warn!(seconds = jump.as_secs(), "the clock jumped; what was missed is made up for");
            }
            // After a step back the schedule's next time must not lie a whole month away.
            self.last_scheduled = self.last_scheduled.map(|at| at.min(now));
        }
        self.last_wake = Some((now, instant));
    }
}

/// Closes every due month of a tenant, oldest first, and notes when to try again.
async fn close_due(closer: &Closer, attempts: &mut Attempts, now: Timestamp, self_metrics: &SelfMetrics) {
    let mut failed = false;
    attempts.failures.clear();
    match closer.due(now).await {
        Ok(due) => {
            for month in due {
                // A month that cannot be closed does not keep those after it open.
                if let Err(error) = close(closer, month, self_metrics).await {
                    failed = true;
                    attempts.failures.insert(month, describe(&error));
                }
            }
        }
        Err(error) => {
            failed = true;
            log_failure(closer, None, &error, self_metrics);
        }
    }
    if failed {
        attempts.pause = (attempts.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        attempts.at = Some(Instant::now() + attempts.pause);
        tracing::info!(tenant = closer.tenant(), pause = ?attempts.pause, "months that failed are tried again");
    } else {
        attempts.pause = Duration::ZERO;
        attempts.at = closer
            .settles_at(now)
            .map(|at| Instant::now() + Duration::try_from(at.duration_since(now)).unwrap_or_default());
    }
}

/// Closes one month.
async fn close(closer: &Closer, month: Month, self_metrics: &SelfMetrics) -> Result<(), CloseError> {
    let tenant = closer.tenant();
    match closer.close(month).await {
        Ok(Outcome::Written(published)) => {
            tracing::info!(tenant, %month, revision = published.revision, folder = %published.dir.display(), "month closed");
            Ok(())
        }
        Ok(Outcome::Already(_)) => {
            tracing::info!(tenant, %month, "month found closed; its files are there");
            Ok(())
        }
        Err(error) => {
            log_failure(closer, Some(month), &error, self_metrics);
            Err(error)
        }
    }
}

fn log_failure(closer: &Closer, month: Option<Month>, error: &CloseError, self_metrics: &SelfMetrics) {
    let (tenant, reason, month) = (closer.tenant(), error.reason(), month.map(tracing::field::display));
    tracing::error!(
        tenant,
        month,
        reason = reason.as_str(),
        error = describe(error),
        "months cannot be closed"
    );
    self_metrics.report_failed(tenant, reason);
}

async fn start_cron(
    schedule: &Schedule,
    woken: &Arc<Notify>,
) -> Result<JobScheduler, tokio_cron_scheduler::JobSchedulerError> {
    let scheduler = JobScheduler::new().await?;
    let woken = Arc::clone(woken);
    // The body only notifies: runs of one job may overlap, and a panic would silence it for good.
    let job = Job::new_async(schedule.as_str(), move |_, _| {
        let woken = Arc::clone(&woken);
        Box::pin(async move { woken.notify_one() })
    })?;
    scheduler.add(job).await?;
    scheduler.start().await?;
    Ok(scheduler)
}

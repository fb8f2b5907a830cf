//! The task of each collector: the times of its runs, and how a reload or a shutdown stops the task.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::{Poller, State};
use crate::period::Month;
use crate::snapshot::Collector;
use crate::store::interval;

/// Part of an interval by which runs are spread, so that tenants and daemons do not march in step.
const JITTER: f64 = 0.05;

/// How long after a month's beginning `usage` runs: the provider's clock may be a little behind.
const MONTH_BEGINS: Duration = Duration::from_secs(5);

/// Minimum time between a failed run and its repetition after a reload, so that frequent reloads cannot send
/// requests at any rate.
const RELOAD_WAIT: Duration = Duration::from_secs(2);

/// Request to stop the tasks of a tenant's collectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The tasks continue. If this value is sent again, collectors whose latest run failed begin a run after
    /// the remaining `Retry-After`, at least 2 s after the failed run.
    No,
    /// The tasks end after the run in progress. Runs of the collectors in `except` are dropped.
    AfterRun {
        /// Collectors that are switched off.
        except: Vec<Collector>,
    },
    /// The tasks end immediately. Runs in progress are dropped.
    Now,
}

impl Stop {
    /// Whether a run of `collector` in progress is dropped.
    fn drops(&self, collector: Collector) -> bool {
        match self {
            Self::No => false,
            Self::AfterRun { except } => except.contains(&collector),
            Self::Now => true,
        }
    }
}

impl Poller {
    /// Starts a task for each collector with an interval above zero. `stop` stops the tasks. Each task returns
    /// whether it ended because of `stop`.
    pub fn spawn(
        self: &Arc<Self>,
        tasks: &mut JoinSet<bool>,
        stop: &watch::Sender<Stop>,
    ) -> Vec<AbortHandle> {
        let mut handles = Vec::new();
        for collector in Collector::ALL {
            let every = interval(&self.config.poll, collector);
            if every.is_zero() {
                continue;
            }
            let (poller, mut stopped) = (Arc::clone(self), stop.subscribe());
            handles.push(tasks.spawn(async move {
                let told = stopped.clone();
                tokio::select! {
                    () = poller.repeat(collector, every, stopped.clone()) => {}
                    _ = stopped.wait_for(|stop| stop.drops(collector)) => {}
                }
                *told.borrow() != Stop::No
            }));
        }
        handles
    }

    /// Repeats the runs of a collector until `stop` has a value other than [`Stop::No`].
    async fn repeat(&self, collector: Collector, every: Duration, mut stop: watch::Receiver<Stop>) {
        let mut state = State::default();
        let (tenant, failures) = (&self.tenant, self.limits.failures());
        // A `Retry-After` that was received before a reload may still apply.
        let mut wait = failures.remaining_pause(tenant, collector, Instant::now());
        let run_lock = self.limits.run_lock(&tenant.name, collector);
        let mut ended = Instant::now();
        let mut reloaded = stop.clone();
        loop {
            // The run of an earlier configuration may still be in progress.
            let next_run = async {
                tokio::time::sleep(wait).await;
                run_lock.lock().await
            };
            let in_progress = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop != Stop::No) => return,
                guard = next_run => guard,
                // After a reload, a failed run is repeated, because the operator may have removed the cause.
                Ok(()) = reloaded.changed(), if state.failing => {
                    let now = Instant::now();
                    let pause = failures.remaining_pause(tenant, collector, now);
                    wait = pause.max((ended + RELOAD_WAIT).saturating_duration_since(now));
                    continue;
                }
            };
            reloaded.mark_unchanged();
            let started = Instant::now();
            state = self.run_once(collector, state).await;
            drop(in_progress);
            ended = Instant::now();
            let spread = every.mul_f64(1.0 + JITTER * (fastrand::f64() * 2.0 - 1.0));
            wait = spread.saturating_sub(started.elapsed());
            if collector == Collector::Usage {
                wait = wait.min(self.until_month_begins());
            }
            wait = failures.wait(tenant, collector, (wait, every), Instant::now(), fastrand::f64());
        }
    }

    fn until_month_begins(&self) -> Duration {
        let now = self.clock.now();
        let end = Month::of(now).period().end;
        Duration::try_from(end.duration_since(now)).unwrap_or_default() + MONTH_BEGINS
    }
}

//! Wakes the tenants' workers: by the cron schedule, at start, and every minute.
//!
//! Cron only wakes; each worker decides what is due. The minute's tick, by the monotonic clock, finds
//! times of the schedule that passed unnoticed (a suspended machine, a clock that was set).

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use crate::clock::Clock;
use crate::config::schedule::Schedule;
use crate::self_metrics::SelfMetrics;

/// Time between two ticks.
const TICK: Duration = Duration::from_mins(1);

/// Least difference between wall and monotonic clock from one wake to the next that is logged.
const CLOCK_JUMP: Duration = Duration::from_mins(1);

/// The latest wake of the scheduler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wake {
    /// Number of times that the schedule asked for closing.
    pub scheduled: u64,
    /// Number of wakes.
    pub wakes: u64,
}

/// Decides whether a wake is one of the schedule's, and keeps the heartbeat.
#[derive(Debug)]
pub struct Timetable {
    schedule: Schedule,
    clock: Clock,
    self_metrics: Arc<SelfMetrics>,
    /// Wall and monotonic time of the latest wake.
    last_wake: Option<(Timestamp, Duration)>,
    /// When the schedule was last followed.
    last_scheduled: Option<Timestamp>,
}

impl Timetable {
    /// A timetable that has not been looked at yet.
    #[must_use]
    pub fn new(schedule: Schedule, clock: Clock, self_metrics: Arc<SelfMetrics>) -> Self {
        Self { schedule, clock, self_metrics, last_wake: None, last_scheduled: None }
    }

    /// Records a wake. Returns whether months are to be closed: at start, if `cron` says so, or if a
    /// time of the schedule has passed since it was last followed.
    pub fn wake(&mut self, cron: bool) -> bool {
        let now = self.clock.now();
        self.self_metrics.woke(now);
        self.notice_clock_jump(now);
        let missed = |last| self.schedule.next_after(last).is_some_and(|next| next <= now);
        let scheduled = cron || self.last_scheduled.is_none_or(missed);
        if scheduled {
            self.last_scheduled = Some(now);
        }
        scheduled
    }

    fn notice_clock_jump(&mut self, now: Timestamp) {
        let monotonic = self.clock.monotonic();
        if let Some((wall, before)) = self.last_wake {
            let expected = wall.checked_add(monotonic.saturating_sub(before)).unwrap_or(now);
            let jump = now.duration_since(expected);
            if jump.unsigned_abs() > CLOCK_JUMP {
                tracing::warn!(
                    seconds = jump.as_secs(),
                    "the clock jumped; missed times of the schedule are caught up"
                );
            }
            // After a step back the schedule's next time must not be a month away.
            self.last_scheduled = self.last_scheduled.map(|at| at.min(now));
        }
        self.last_wake = Some((now, monotonic));
    }
}

/// Sends wakes until `shutdown` turns true. One scheduler serves the whole process: a new schedule
/// replaces its job, because a cron scheduler never gives back its memory.
pub async fn run(
    mut timetable: Timetable,
    mut schedules: watch::Receiver<Schedule>,
    wakes: watch::Sender<Wake>,
    mut shutdown: watch::Receiver<bool>,
) {
    let woken = Arc::new(Notify::new());
    let mut cron = Cron::start(Arc::clone(&woken)).await;
    cron.follow(&timetable.schedule).await;
    let mut by_cron = true;
    loop {
        let is_due = timetable.wake(by_cron);
        wakes.send_modify(|wake| {
            wake.scheduled += u64::from(is_due);
            wake.wakes += 1;
        });
        by_cron = tokio::select! {
            () = woken.notified() => true,
            () = tokio::time::sleep(TICK) => false,
            // After a reload, all months that are due are checked, as at start.
            Ok(()) = schedules.changed() => {
                schedules.mark_changed();
                true
            }
            () = stopped(&mut shutdown) => break,
        };
        if schedules.has_changed().unwrap_or(false) {
            let schedule = schedules.borrow_and_update().clone();
            if timetable.schedule != schedule {
                timetable.schedule = schedule;
                cron.follow(&timetable.schedule).await;
            }
        }
    }
    cron.stop().await;
}

async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    // Without a sender the process ends.
    let _ = shutdown.wait_for(|stop| *stop).await;
}

/// The process's cron scheduler with its one job.
struct Cron {
    scheduler: Option<JobScheduler>,
    job: Option<uuid::Uuid>,
    woken: Arc<Notify>,
}

impl Cron {
    async fn start(woken: Arc<Notify>) -> Self {
        let started = async {
            let scheduler = JobScheduler::new().await?;
            scheduler.start().await?;
            Ok::<_, JobSchedulerError>(scheduler)
        };
        let scheduler = started.await.inspect_err(log).ok();
        Self { scheduler, job: None, woken }
    }

    /// Replaces the job by one that follows `schedule`.
    async fn follow(&mut self, schedule: &Schedule) {
        let Some(scheduler) = &self.scheduler else { return };
        let replaced = async {
            if let Some(job) = self.job.take() {
                scheduler.remove(&job).await?;
            }
            let woken = Arc::clone(&self.woken);
            // The body only notifies: runs of one job may overlap, and a panic would end the job.
            let job = Job::new_async(schedule.as_str(), move |_, _| {
                let woken = Arc::clone(&woken);
                Box::pin(async move { woken.notify_one() })
            })?;
            scheduler.add(job).await
        };
        self.job = replaced.await.inspect_err(log).ok();
    }

    async fn stop(&mut self) {
        if let Some(scheduler) = &mut self.scheduler {
            // It waits for nothing; the workers have their own shutdown.
            let _ = scheduler.shutdown().await;
        }
    }
}

fn log(error: &JobSchedulerError) {
    tracing::error!(%error, "the cron scheduler failed; using the 60 s interval instead");
}

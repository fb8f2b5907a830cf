//! The worker of one tenant: closes its months, verifies and compares closed ones, drops old events,
//! and shows the state of all that. Tenants are independent: each worker has a task of its own.

mod attempts;
mod comparison;
mod ended;
mod reports;
pub mod scheduler;
mod verification;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use super::{CloseError, CloseOptions, Closer, FirstMonth, Moment, MonthStates, Undated};
use crate::api::ClockState;
use crate::clock::Clock;
use crate::config::Report;
use crate::ledger::Dropped;
use crate::period::Month;
use crate::poll::{self, describe};
use crate::report::Outcome;
use crate::self_metrics::SelfMetrics;
use crate::store::{DueMonth, Outlook, Store};

pub use ended::EndedMonths;

use attempts::Attempts;
use comparison::Comparisons;
use ended::UNDATED_WAIT;
use reports::ShownReports;
use scheduler::Wake;
use verification::Verification;

/// Time between two searches for old events.
const DAILY: SignedDuration = SignedDuration::from_hours(24);

/// Closes and watches the months of one tenant.
#[derive(Debug)]
pub struct TenantWorker {
    closer: Closer,
    clock: Clock,
    store: Arc<Store>,
    self_metrics: Arc<SelfMetrics>,
    attempts: Attempts,
    ended_months: EndedMonths,
    /// When the month that has ended can be closed, if it is still settling.
    settles_at: Option<Timestamp>,
    verification: Verification,
    comparisons: Comparisons,
    reports: ShownReports,
    /// When old events were last searched for.
    last_cleanup: Option<Timestamp>,
    /// Whether the time was not known at the latest wake, so that a time of the schedule may have passed
    /// without effect.
    is_behind_schedule: bool,
}

impl TenantWorker {
    /// Makes a worker; nothing runs before [`TenantWorker::run`] or [`TenantWorker::wake`].
    #[must_use]
    pub fn new(
        closer: Closer,
        report: &Report,
        clock: Clock,
        store: Arc<Store>,
        self_metrics: Arc<SelfMetrics>,
    ) -> Self {
        Self {
            closer,
            clock,
            store,
            self_metrics,
            attempts: Attempts::default(),
            ended_months: EndedMonths::default(),
            settles_at: None,
            verification: Verification::default(),
            comparisons: Comparisons::new(report),
            reports: ShownReports::default(),
            last_cleanup: None,
            is_behind_schedule: false,
        }
    }

    /// Continues with the months that the worker of an earlier configuration saw as ended.
    #[must_use]
    pub fn with_ended_months(self, ended_months: EndedMonths) -> Self {
        Self { ended_months, ..self }
    }

    /// Follows the scheduler's wakes until `shutdown` turns true. A month whose files are being written
    /// is finished first; a fetch is dropped.
    pub async fn run(mut self, mut wakes: watch::Receiver<Wake>, mut shutdown: watch::Receiver<bool>) {
        let mut followed = wakes.borrow_and_update().scheduled;
        let mut scheduled = true;
        loop {
            tokio::select! {
                () = self.wake(scheduled) => {}
                _ = shutdown.wait_for(|stop| *stop) => return,
            }
            tokio::select! {
                changed = wakes.changed() => if changed.is_err() { return },
                _ = shutdown.wait_for(|stop| *stop) => return,
            }
            let times = wakes.borrow_and_update().scheduled;
            scheduled = times != followed;
            followed = times;
        }
    }

    /// Does everything that is due. `scheduled` is true if the schedule says so, and at start.
    ///
    /// While the local clock differs from the API's, files are verified and the state is shown, and
    /// nothing is closed, imported, compared or dropped. Closing and importing also wait for the first
    /// response, and for 24 h if no response has a `Date`.
    pub async fn wake(&mut self, scheduled: bool) {
        let (now, monotonic) = (self.clock.now(), self.clock.monotonic());
        self.ended_months.note(now, monotonic);
        // Closed months are shown before anything that can take long.
        self.show_reports().await;
        let known = self.closer.clock_state(now);
        let moment = self.moment(known, now, monotonic);
        let Some(mut states) = self.month_states(moment).await else { return };
        // Open differences as well: a request may hang for minutes.
        self.show(&states, moment.now);
        let clock = self.closer.check_clock().await;
        poll::clock::note(self.closer.tenant(), clock, &self.store, &self.self_metrics);
        let (now, monotonic) = (self.clock.now(), self.clock.monotonic());
        let moment = self.moment(clock, now, monotonic);
        self.closer.import_undated(moment.is_trusted());
        if !clock.is_like(known) {
            let Some(after) = self.month_states(moment).await else { return };
            states = after;
            self.show(&states, moment.now);
        }
        let is_wrong = matches!(clock, ClockState::Differs { .. });
        let scheduled = scheduled || self.is_behind_schedule;
        self.is_behind_schedule = !moment.is_trusted();
        let closed = moment.is_trusted() && self.close_due(&states, scheduled, moment.now, monotonic).await;
        if closed {
            self.show_reports().await;
        }
        let verified =
            self.verification.run_if_due(&self.closer, now, moment.is_trusted(), &self.self_metrics).await;
        if verified {
            self.show_reports().await;
        }
        // Verification imports months that the ledger does not know.
        if closed || verified {
            let Some(after) = self.month_states(moment).await else { return };
            states = after;
        }
        if is_wrong {
            self.show(&states, moment.now);
            return;
        }
        if self.comparisons.run_if_due(&self.closer, &states, now, monotonic, &self.self_metrics).await {
            self.show_reports().await;
            let Some(after) = self.month_states(moment).await else { return };
            states = after;
        }
        self.show(&states, moment.now);
        if moment.is_trusted() {
            self.drop_old_events(moment.now).await;
        }
    }

    /// The time for which months are judged. A month is due only if it has ended by both clocks.
    fn moment(&self, clock: ClockState, now: Timestamp, monotonic: Duration) -> Moment {
        let tenant = self.closer.tenant();
        let first = self.ended_months.first_month(tenant, now, monotonic);
        match clock {
            ClockState::Agrees => Moment { now, is_proven: true, first: FirstMonth::Trusted(first) },
            ClockState::Undated => self.ended_months.unverified(tenant, now, monotonic),
            ClockState::Unknown | ClockState::Differs { .. } => {
                let theirs = self.closer.server_time();
                let earliest = theirs.map_or(now, |theirs| now.min(theirs));
                Moment { now: earliest, is_proven: theirs.is_some(), first: FirstMonth::Unknown }
            }
        }
    }

    /// The state of all months; if it cannot be determined, that is counted, logged and shown.
    async fn month_states(&mut self, moment: Moment) -> Option<MonthStates> {
        match self.closer.months_at(moment).await {
            Ok(states) => Some(states),
            Err(error) => {
                self.log_failure(None, &error);
                // No figure is better than an old one.
                self.self_metrics.report_due(self.closer.tenant(), None);
                None
            }
        }
    }

    async fn show_reports(&mut self) {
        let Self { reports, closer, verification, store, self_metrics, .. } = self;
        reports.refresh(closer, &verification.problems, store, self_metrics).await;
    }

    /// Closes the due months whose time has come, oldest first. Returns whether any was closed.
    async fn close_due(
        &mut self,
        states: &MonthStates,
        scheduled: bool,
        now: Timestamp,
        monotonic: Duration,
    ) -> bool {
        let settled = self.settles_at.is_some_and(|at| at <= now);
        self.settles_at = self.closer.settles_at(now);
        self.attempts.retain(&states.due);
        let mut closed = false;
        for month in &states.due {
            let is_new = !self.attempts.has_failed(*month);
            let wanted = (scheduled && !self.attempts.is_paused(*month, monotonic))
                || (settled && is_new)
                || self.attempts.is_due(*month, monotonic);
            // A month that cannot be closed does not keep the later months open.
            if wanted {
                closed |= self.close(*month, monotonic).await;
            }
        }
        closed
    }

    /// Closes one month. Returns whether it was closed.
    async fn close(&mut self, month: Month, monotonic: Duration) -> bool {
        let tenant = self.closer.tenant();
        let undated = match UNDATED_WAIT.saturating_sub(self.ended_months.seen_for(month, monotonic)) {
            Duration::ZERO => Undated::Accept,
            wait => Undated::Wait(wait),
        };
        match self.closer.close(month, &CloseOptions { undated, ..CloseOptions::default() }).await {
            Ok(outcome) => {
                if let Outcome::Written(published) = &outcome {
                    tracing::info!(tenant, %month, revision = published.revision, directory = %published.dir.display(), "month closed");
                } else {
                    tracing::info!(tenant, %month, "month is already closed; its files exist");
                }
                self.attempts.succeeded(month);
                true
            }
            Err(error) => {
                self.log_failure(Some(month), &error);
                let pause = self.attempts.failed(month, monotonic, error.reason(), describe(&error));
                tracing::info!(tenant = self.closer.tenant(), %month, ?pause, "the month is tried again after a pause");
                false
            }
        }
    }

    fn log_failure(&self, month: Option<Month>, error: &CloseError) {
        let (tenant, reason) = (self.closer.tenant(), error.reason());
        let month = month.map(tracing::field::display);
        tracing::error!(
            tenant,
            month,
            reason = reason.as_str(),
            error = describe(error),
            "months cannot be closed"
        );
        self.self_metrics.report_failed(tenant, reason);
    }

    /// Shows the state of the months in the metrics and on the status page.
    fn show(&self, states: &MonthStates, now: Timestamp) {
        let tenant = self.closer.tenant();
        // Whoever closed it: also the command `report`, or the daemon before this start.
        if let Some(at) = states.closed.values().max() {
            self.self_metrics.report_succeeded(tenant, *at);
        }
        self.self_metrics.report_due(tenant, Some(states.due.len()));
        self.self_metrics.compared(tenant, &states.comparisons);
        self.self_metrics.ledger_new_beside_reports(tenant, states.lost_ledger.is_some());
        let due =
            |month: &Month| (*month, DueMonth { error: self.attempts.error(*month).map(str::to_owned) });
        self.store.outlook(
            tenant,
            Outlook {
                due: states.due.iter().map(due).collect(),
                next: self.closer.next_due(now),
                comparisons: states.comparisons.clone(),
                lost_ledger: states.lost_ledger.clone(),
            },
        );
    }

    /// Drops old events, once a day.
    async fn drop_old_events(&mut self, now: Timestamp) {
        if self.last_cleanup.is_some_and(|at| now.duration_since(at).abs() < DAILY) {
            return;
        }
        self.last_cleanup = Some(now);
        let tenant = self.closer.tenant();
        match self.closer.drop_old_events(now).await {
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

//! The ledger's figures, as they are when they are scraped; of its files, as the newest look found them.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts};

use crate::ledger::Ledger;

/// The series `flexvm_exporter_ledger_…`.
pub struct Figures {
    ledger: Ledger,
    /// Two scrapes at once must not both catch up.
    gathering: Mutex<()>,
    events: IntCounter,
    polls: IntCounter,
    failures: IntCounterVec,
    size: IntGauge,
    free: IntGauge,
    last_commit: IntGauge,
    longest_gap: IntGauge,
}

impl Figures {
    #[expect(clippy::expect_used, reason = "names and labels are constants, which a test has seen work")]
    pub fn new(ledger: Ledger) -> Self {
        let opts = |name, help| Opts::new(format!("flexvm_exporter_ledger_{name}"), help);
        let counter = |name, help| IntCounter::with_opts(opts(name, help)).expect("a valid name");
        let gauge = |name, help| IntGauge::with_opts(opts(name, help)).expect("a valid name");
        Self {
            events: counter("events_total", "Changes of VMs recorded since the start."),
            polls: counter("polls_total", "Complete polls of the inventory recorded since the start."),
            failures: IntCounterVec::new(
                opts("failures_total", "Writes to the ledger that failed, by reason."),
                &["reason"],
            )
            .expect("a valid name"),
            size: gauge("size_bytes", "Size of the ledger's files."),
            free: gauge("free_bytes", "What the ledger's file system has left for the exporter."),
            last_commit: gauge(
                "last_commit_timestamp_seconds",
                "Time of the newest recorded poll, Unix time.",
            ),
            longest_gap: gauge(
                "longest_gap_seconds",
                "Longest time between two recorded polls of a tenant since the start, the one that ended at the first poll included. Beyond three intervals of poll.inventory the time between is unobserved.",
            ),
            gathering: Mutex::default(),
            ledger,
        }
    }
}

impl Collector for Figures {
    fn desc(&self) -> Vec<&Desc> {
        let all: [&dyn Collector; 7] = [
            &self.events,
            &self.polls,
            &self.failures,
            &self.size,
            &self.free,
            &self.last_commit,
            &self.longest_gap,
        ];
        all.into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let _one = self.gathering.lock().unwrap_or_else(PoisonError::into_inner);
        let statistics = self.ledger.statistics();
        let catch_up = |counter: &IntCounter, to: u64| counter.inc_by(to.saturating_sub(counter.get()));
        catch_up(&self.events, statistics.events.load(Ordering::Relaxed));
        catch_up(&self.polls, statistics.polls.load(Ordering::Relaxed));
        for (reason, count) in statistics.failures() {
            catch_up(&self.failures.with_label_values(&[reason]), count);
        }
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let mut shown: Vec<&dyn Collector> = vec![&self.events, &self.polls, &self.failures];
        // What cannot be told is absent: a 0 would be a figure.
        let files = statistics.files();
        let bytes = [
            (&self.size, files.and_then(|files| files.size)),
            (&self.free, files.and_then(|files| files.free)),
        ];
        for (gauge, value) in bytes {
            if let Some(value) = value {
                gauge.set(signed(value));
                shown.push(gauge);
            }
        }
        let last = statistics.last_commit.load(Ordering::Relaxed);
        if last != 0 {
            self.last_commit.set(last);
            self.longest_gap.set(signed(statistics.longest_gap.load(Ordering::Relaxed)));
            shown.extend([&self.last_commit as &dyn Collector, &self.longest_gap]);
        }
        shown.into_iter().flat_map(Collector::collect).collect()
    }
}

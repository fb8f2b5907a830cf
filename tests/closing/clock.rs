//! A local clock that is wrong, jumps, or cannot be verified: permanent facts have a trusted time.

use std::sync::Arc;
use std::time::Duration;

use flexvm_exporter::api::ClockState;
use flexvm_exporter::close::worker::{EndedMonths, TenantWorker};
use flexvm_exporter::close::{CloseOptions, Closer};
use flexvm_exporter::ledger::Beginning;
use flexvm_exporter::simulator::{Fault, Operation};
use tokio::net::TcpListener;

use crate::support::{Hand, Stage, TENANT, closer, month, terms};

const TRUSTED: &str = "flexvm_exporter_clock_trusted";
const DUE: &str = "flexvm_exporter_report_due{tenant=\"k12345\"}";
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// A worker whose machine has a clock of its own. The clock of the stage is the API's.
struct Machine {
    stage: Stage,
    local: Hand,
    /// The worker's; both share one client.
    closer: Closer,
    worker: TenantWorker,
}

/// The address of a server that does not run.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

impl Machine {
    fn new(stage: Stage, local: &str) -> Self {
        let local = Hand::at(local);
        let closer = closer((*stage.config).clone(), stage.ledger.clone(), local.clock());
        let (store, metrics) = (Arc::clone(&stage.store), Arc::clone(&stage.metrics));
        let worker = TenantWorker::new(closer.clone(), &stage.config.report, local.clock(), store, metrics)
            .with_ended_months(EndedMonths::default());
        Self { stage, local, closer, worker }
    }

    /// The same with the API at another address.
    fn at(mut stage: Stage, local: &str, url: &str) -> Self {
        stage.configured(|config| {
            let mut tenant = (*config.tenants[0]).clone();
            tenant.base_url = url.parse().unwrap();
            config.tenants = vec![Arc::new(tenant)];
        });
        Self::new(stage, local)
    }

    fn pass(&self, time: Duration) {
        self.stage.hand.pass(time);
        self.local.pass(time);
    }

    /// Sets the local clock right.
    fn correct(&self) {
        self.local.set(&self.stage.hand.now().to_string());
    }

    /// Another process: the monotonic clock counts from zero, and no response was received.
    fn restarted(self) -> Self {
        let local = self.local.now().to_string();
        Self::new(self.stage, &local)
    }

    /// A complete poll at the time that the local clock shows.
    async fn poll(&self) {
        self.stage.poll(&self.local.now().to_string(), &[]).await;
    }

    fn since(&self) -> Option<String> {
        self.stage.ledger.beginning(TENANT).unwrap().map(|beginning| beginning.since.to_string())
    }

    fn closed(&self) -> Vec<String> {
        self.stage.ledger.closed_at(TENANT).unwrap().into_keys().map(|month| month.to_string()).collect()
    }

    fn has_report_failures(&self) -> bool {
        let text = String::from_utf8(self.stage.metrics.text()).unwrap();
        let mut series =
            text.lines().filter(|line| line.starts_with("flexvm_exporter_report_failures_total{"));
        series.any(|line| !line.ends_with(" 0"))
    }

    fn metric(&self, series: &str) -> Option<f64> {
        self.stage.metric(series)
    }
}

#[tokio::test]
async fn clock_ahead_at_the_first_start_stops_no_closing() {
    let stage = Stage::new("2026-10-31T23:58:00Z").await;
    let mut machine = Machine::new(stage, "2027-10-31T23:58:00Z");
    machine.worker.wake(true).await;
    assert_eq!((machine.since(), machine.metric(TRUSTED)), (None, Some(0.0)));
    assert_eq!(machine.metric(DUE), Some(0.0));
    // The clock is corrected after the month's end: the first start was before it, by the monotonic clock.
    machine.pass(33 * MINUTE);
    machine.correct();
    machine.worker.wake(false).await;
    assert_eq!(machine.since().as_deref(), Some("2026-10"));
    assert_eq!((machine.closed(), machine.metric(TRUSTED)), (vec!["2026-10".to_owned()], Some(1.0)));
    let closed_at = machine.stage.ledger.closed_at(TENANT).unwrap();
    assert_eq!(closed_at[&month("2026-10")], machine.stage.hand.now());
}

#[tokio::test]
async fn clock_behind_at_the_first_start_closes_no_old_month() {
    let stage = Stage::with("2026-10-20T00:00:00Z", |config| config.report.backfill = 1).await;
    let mut machine = Machine::new(stage, "2000-01-01T00:00:00Z");
    machine.worker.wake(true).await;
    assert_eq!((machine.since(), machine.metric(TRUSTED), machine.metric(DUE)), (None, Some(0.0), Some(0.0)));
    let clock = machine.stage.store.tenant(TENANT).unwrap().clock;
    assert!(
        matches!(clock, ClockState::Differs { ahead_seconds } if ahead_seconds < -800_000_000),
        "{clock:?}"
    );
    machine.pass(MINUTE);
    machine.correct();
    // The schedule asked for closing while the clock was wrong, and not since.
    machine.worker.wake(false).await;
    assert_eq!(machine.since().as_deref(), Some("2026-10"));
    assert_eq!((machine.closed(), machine.metric(DUE)), (vec!["2026-09".to_owned()], Some(0.0)));
}

#[tokio::test]
async fn jumps_make_no_month_due_and_delay_none() {
    let stage = Stage::new("2026-10-20T00:00:00Z").await;
    let mut machine = Machine::new(stage, "2026-10-20T00:00:00Z");
    machine.worker.wake(true).await;
    for jump in ["2036-10-20T00:00:00Z", "2026-11-20T00:00:00Z", "1996-10-20T00:00:00Z"] {
        machine.local.set(jump);
        machine.worker.wake(true).await;
        assert_eq!((machine.metric(DUE), machine.metric(TRUSTED)), (Some(0.0), Some(0.0)), "{jump}");
        assert!(machine.stage.files().is_empty() && machine.closed().is_empty(), "{jump}");
        machine.correct();
        machine.worker.wake(false).await;
        assert_eq!(machine.metric(TRUSTED), Some(1.0), "{jump}");
    }
    // A month ends while the clock is wrong.
    machine.local.set("2027-01-01T00:00:00Z");
    machine.pass(13 * 24 * HOUR);
    machine.worker.wake(true).await;
    assert_eq!((machine.metric(DUE), machine.closed()), (Some(1.0), vec![]));
    machine.correct();
    machine.worker.wake(false).await;
    assert_eq!((machine.since().as_deref(), machine.closed()), (Some("2026-10"), vec!["2026-10".to_owned()]));
}

#[tokio::test]
async fn jump_at_the_moment_of_closing_records_nothing() {
    let stage = Stage::with("2026-11-05T00:00:00Z", |config| config.report.backfill = 1).await;
    let machine = Machine::new(stage, "2026-11-05T00:00:00Z");
    let local = machine.local.clone();
    let jumps = Fault::edit(move |_| local.set("2027-11-05T00:00:00Z")).on(Operation::Monthly);
    machine.stage.simulator.faults().add(jumps);
    let Machine { stage, local, mut worker, .. } = machine;
    worker.wake(true).await;
    assert!(stage.files().is_empty());
    assert_eq!(stage.ledger.revision(TENANT, month("2026-10")).unwrap(), None);
    let error = stage.due_error(month("2026-10"));
    assert!(error.contains("this machine's clock is") && error.contains("ahead"), "{error}");
    stage.simulator.faults().clear();
    local.set("2026-11-05T00:02:00Z");
    stage.hand.pass(2 * MINUTE);
    worker.wake(true).await;
    assert!(stage.ledger.revision(TENANT, month("2026-10")).unwrap().is_some());
}

#[tokio::test]
async fn first_month_of_a_wrong_clock_is_corrected() {
    let august = ["2026-08"];
    for (recorded, closed, expected) in [
        ("2027-05", &[][..], "2026-11"),
        ("2027-05", &august, "2026-09"),
        ("2000-01", &[], "2026-11"),
        ("2000-01", &august, "2026-08"),
        ("2026-07", &august, "2026-07"),
        ("2026-11", &[], "2026-11"),
    ] {
        let stage = Stage::new("2026-11-05T00:00:00Z").await;
        for name in closed {
            stage.closer().close(month(name), &terms()).await.unwrap();
        }
        let (ledger, since) = (stage.ledger.clone(), month(recorded));
        let begin = move || ledger.begin(TENANT, Beginning { since, beside_reports: false });
        tokio::task::spawn_blocking(begin).await.unwrap().unwrap();
        let mut machine = Machine::new(stage, "2027-06-05T00:00:00Z");
        machine.worker.wake(false).await;
        assert_eq!(machine.since().as_deref(), Some(recorded), "a wrong clock corrects nothing");
        machine.correct();
        machine.worker.wake(false).await;
        assert_eq!(machine.since().as_deref(), Some(expected), "{recorded} {closed:?}");
    }
}

#[tokio::test]
async fn api_without_date_is_unverified_and_months_are_closed_after_24_h() {
    let stage = Stage::new("2026-10-31T20:00:00Z").await;
    stage.simulator.faults().add(Fault::header("date", &[]));
    let mut machine = Machine::new(stage, "2000-01-01T00:00:00Z");
    machine.worker.wake(true).await;
    assert_eq!((machine.since(), machine.metric(TRUSTED)), (None, None));
    assert_eq!(machine.stage.store.tenant(TENANT).unwrap().clock, ClockState::Undated);
    machine.poll().await;
    machine.pass(MINUTE);
    machine.correct();
    machine.worker.wake(false).await;
    machine.poll().await;
    machine.pass(5 * HOUR);
    machine.poll().await;
    let before = machine.stage.simulator.requests();
    machine.worker.wake(true).await;
    assert_eq!((machine.since(), machine.metric(DUE)), (None, Some(1.0)), "October is due");
    assert_eq!(machine.stage.due_error(month("2026-10")), "", "and not tried");
    assert_eq!(machine.stage.simulator.requests(), before);
    // The schedule asked for closing then, and not since.
    machine.pass(25 * HOUR);
    machine.worker.wake(false).await;
    assert_eq!((machine.since().as_deref(), machine.closed()), (Some("2026-10"), vec!["2026-10".to_owned()]));
    // A jump ahead makes no month due.
    machine.local.set("2036-10-31T20:00:00Z");
    machine.worker.wake(true).await;
    assert_eq!(machine.metric(DUE), Some(0.0));
}

#[tokio::test]
async fn first_month_without_date_outlives_restarts() {
    let stage = Stage::new("2026-11-29T00:00:00Z").await;
    stage.simulator.faults().add(Fault::header("date", &[]));
    let mut machine = Machine::new(stage, "2026-11-29T00:00:00Z");
    for _ in 0..2 {
        machine.worker.wake(true).await;
        machine.poll().await;
        machine.pass(20 * HOUR);
        machine.worker.wake(false).await;
        assert_eq!(machine.since(), None, "no process has run for 24 h");
        machine = machine.restarted();
    }
    // 30 November 16:00, then 1 December.
    machine.worker.wake(true).await;
    assert_eq!(machine.metric(DUE), Some(0.0));
    machine.pass(12 * HOUR);
    machine.poll().await;
    machine = machine.restarted();
    machine.worker.wake(true).await;
    assert_eq!((machine.since(), machine.metric(DUE)), (None, Some(1.0)), "November is due");
    machine.pass(24 * HOUR);
    machine.worker.wake(false).await;
    assert_eq!((machine.since().as_deref(), machine.closed()), (Some("2026-11"), vec!["2026-11".to_owned()]));
}

#[tokio::test]
async fn polls_before_the_first_trusted_time_give_the_first_month() {
    for (date, restarted_at) in [(true, "2026-12-01T01:00:00Z"), (false, "2026-12-05T00:00:00Z")] {
        let stage = Stage::new("2026-11-20T00:00:00Z").await;
        stage.simulator.faults().add(Fault::header("date", &[]));
        let mut machine = Machine::new(stage, "2021-05-01T00:00:00Z");
        machine.worker.wake(true).await;
        machine.poll().await;
        machine.correct();
        machine.worker.wake(false).await;
        machine.poll().await;
        if date {
            machine.stage.simulator.faults().clear();
        }
        machine.stage.hand.set(restarted_at);
        machine.correct();
        machine = machine.restarted();
        machine.worker.wake(true).await;
        if !date {
            machine.pass(24 * HOUR);
            machine.worker.wake(false).await;
        }
        // The poll of 2021 was recorded by a wrong clock: years without polls follow it.
        assert_eq!(machine.since().as_deref(), Some("2026-11"), "{date}");
        assert_eq!(
            (machine.closed(), machine.metric(DUE)),
            (vec!["2026-11".to_owned()], Some(0.0)),
            "{date}"
        );
    }
}

#[tokio::test]
async fn clock_ahead_makes_nothing_due_before_the_first_response() {
    let stage = Stage::new("2026-11-20T00:00:00Z").await;
    stage.worker().wake(true).await;
    assert_eq!(stage.ledger.beginning(TENANT).unwrap().unwrap().since, month("2026-11"));
    let url = stage.url.clone();
    let mut machine = Machine::at(stage, "2030-03-20T00:00:00Z", &nobody().await);
    for polled in ["", "2026-11-20T00:01:00Z"] {
        if !polled.is_empty() {
            machine.stage.poll(polled, &[]).await;
        }
        machine.worker.wake(true).await;
        assert_eq!((machine.metric(TRUSTED), machine.metric(DUE)), (None, Some(0.0)), "{polled}");
        assert!(!machine.has_report_failures(), "nothing was tried");
    }
    // November had ended by the latest poll: it is due also before the first response.
    machine.stage.poll("2026-12-01T00:40:00Z", &[]).await;
    machine.worker.wake(true).await;
    assert_eq!((machine.metric(DUE), machine.has_report_failures()), (Some(1.0), false));
    // A poll of an unverified clock that was years ahead makes nothing else due.
    machine.stage.poll("2029-12-01T00:40:00Z", &[]).await;
    machine.worker.wake(true).await;
    assert_eq!((machine.metric(DUE), machine.has_report_failures()), (Some(1.0), false));
    machine.stage.hand.set("2026-12-01T00:41:00Z");
    machine = Machine::at(machine.stage, "2026-12-01T00:41:00Z", &url);
    machine.worker.wake(true).await;
    assert_eq!((machine.closed(), machine.metric(DUE)), (vec!["2026-11".to_owned()], Some(0.0)));
}

#[tokio::test]
async fn unverified_clock_ahead_makes_nothing_due() {
    let stage = Stage::new("2026-11-20T00:00:00Z").await;
    stage.worker().wake(true).await;
    stage.poll("2026-11-20T00:00:00Z", &[]).await;
    stage.simulator.faults().add(Fault::header("date", &[]));
    let mut machine = Machine::new(stage, "2030-03-20T00:00:00Z");
    machine.worker.wake(true).await;
    machine.poll().await;
    machine.worker.wake(true).await;
    assert_eq!((machine.metric(DUE), machine.has_report_failures()), (Some(0.0), false));
}

#[tokio::test]
async fn unimported_reports_wait_for_a_trusted_clock() {
    for has_date_later in [false, true] {
        let mut stage = Stage::new("2026-11-05T00:00:00Z").await;
        stage.closer().close(month("2026-10"), &terms()).await.unwrap();
        stage.without_ledger();
        let url = stage.url.clone();
        let mut machine = Machine::at(stage, "2027-11-05T00:00:00Z", &nobody().await);
        machine.worker.wake(true).await;
        assert!(machine.closed().is_empty(), "before the first response");
        machine.stage.simulator.faults().add(Fault::header("date", &[]));
        machine = Machine::at(machine.stage, "2026-11-05T00:00:00Z", &url);
        machine.worker.wake(true).await;
        assert!(machine.closed().is_empty(), "nothing proves the time");
        if has_date_later {
            machine.stage.simulator.faults().clear();
            machine.pass(MINUTE);
            machine.closer.dry_run(month("2026-10"), &CloseOptions::preview()).await.unwrap();
        } else {
            machine.pass(24 * HOUR);
        }
        machine.worker.wake(false).await;
        let closed_at = machine.stage.ledger.closed_at(TENANT).unwrap();
        assert_eq!(closed_at[&month("2026-10")], machine.stage.hand.now(), "{has_date_later}");
    }
}

#[tokio::test]
async fn unimported_reports_wait_for_the_right_clock() {
    let mut stage = Stage::new("2026-11-05T00:00:00Z").await;
    stage.closer().close(month("2026-10"), &terms()).await.unwrap();
    stage.without_ledger();
    let mut machine = Machine::new(stage, "2027-11-05T00:00:00Z");
    machine.worker.wake(true).await;
    assert!(machine.closed().is_empty(), "the time of the import would be wrong");
    machine.correct();
    machine.worker.wake(false).await;
    assert_eq!(machine.closed(), ["2026-10"]);
    assert_eq!(machine.stage.ledger.closed_at(TENANT).unwrap()[&month("2026-10")], machine.stage.hand.now());
}

#[tokio::test]
async fn one_api_that_differs_is_not_hidden_by_others() {
    let stage = Stage::new("2026-10-20T00:00:00Z").await;
    let differs = ClockState::Differs { ahead_seconds: 600 };
    for (tenant, state, shown, is_new) in [
        ("a", ClockState::Unknown, None, false),
        ("a", ClockState::Undated, None, true),
        ("a", ClockState::Agrees, Some(1.0), true),
        ("b", differs, Some(0.0), true),
        ("a", ClockState::Agrees, Some(0.0), false),
        ("b", ClockState::Differs { ahead_seconds: 601 }, Some(0.0), false),
        ("b", ClockState::Undated, Some(1.0), true),
        ("b", differs, Some(0.0), true),
    ] {
        assert_eq!(stage.metrics.clock_compared(tenant, state).is_some(), is_new, "{tenant} {state:?}");
        assert_eq!(stage.metric(TRUSTED), shown, "{tenant} {state:?}");
    }
    stage.metrics.remove_tenant("b");
    assert_eq!(stage.metric(TRUSTED), Some(1.0));
}

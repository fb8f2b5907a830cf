//! A local clock that is wrong, jumps, or cannot be verified: permanent facts have a trusted time.

use std::sync::Arc;
use std::time::Duration;

use flexvm_exporter::api::ClockState;
use flexvm_exporter::close::worker::{EndedMonths, TenantWorker};
use flexvm_exporter::ledger::Beginning;
use flexvm_exporter::simulator::{Fault, Operation};

use crate::support::{Hand, Stage, TENANT, closer, month, terms};

const TRUSTED: &str = "flexvm_exporter_clock_trusted";
const DUE: &str = "flexvm_exporter_report_due{tenant=\"k12345\"}";
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// A worker whose machine has a clock of its own. The clock of the stage is the API's.
struct Machine {
    stage: Stage,
    local: Hand,
    worker: TenantWorker,
}

impl Machine {
    fn new(stage: Stage, local: &str) -> Self {
        let local = Hand::at(local);
        let closer = closer((*stage.config).clone(), stage.ledger.clone(), local.clock());
        let (store, metrics) = (Arc::clone(&stage.store), Arc::clone(&stage.metrics));
        let worker = TenantWorker::new(closer, &stage.config.report, local.clock(), store, metrics)
            .with_ended_months(EndedMonths::default());
        Self { stage, local, worker }
    }

    fn pass(&self, time: Duration) {
        self.stage.hand.pass(time);
        self.local.pass(time);
    }

    /// Sets the local clock right.
    fn correct(&self) {
        self.local.set(&self.stage.hand.now().to_string());
    }

    fn since(&self) -> Option<String> {
        self.stage.ledger.beginning(TENANT).unwrap().map(|beginning| beginning.since.to_string())
    }

    fn closed(&self) -> Vec<String> {
        self.stage.ledger.closed_at(TENANT).unwrap().into_keys().map(|month| month.to_string()).collect()
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
    let Machine { stage, local, mut worker } = machine;
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
    machine.pass(MINUTE);
    machine.correct();
    machine.worker.wake(false).await;
    machine.pass(5 * HOUR);
    machine.worker.wake(true).await;
    assert_eq!((machine.since(), machine.metric(DUE)), (None, Some(1.0)), "October is due");
    assert!(machine.stage.due_error(month("2026-10")).contains("no usable Date"));
    machine.pass(25 * HOUR);
    machine.worker.wake(false).await;
    assert_eq!((machine.since().as_deref(), machine.closed()), (Some("2026-10"), vec!["2026-10".to_owned()]));
    // A jump ahead makes no month due.
    machine.local.set("2036-10-31T20:00:00Z");
    machine.worker.wake(true).await;
    assert_eq!(machine.metric(DUE), Some(0.0));
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

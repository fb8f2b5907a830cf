//! Differences between closed months and the provider's current reports: they open after two
//! readings, stay until they are settled, and are shown all the time.

use std::fs;
use std::time::Duration;

use flexvm_exporter::config::{Config, Restate};
use flexvm_exporter::ledger::Ledger;
use flexvm_exporter::report::{Outcome, Published};
use flexvm_exporter::simulator::{Fault, FaultKind, Operation};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::support::{Stage, Worker, because, closer, forced, manifest, month, terms, texts};

pub const MONTH: &str = "2026-10";
pub const OPEN: &str = "flexvm_exporter_report_open_differences{tenant=\"k12345\"}";
pub const HOUR: Duration = Duration::from_hours(1);
pub const DAY: Duration = Duration::from_hours(24);

/// A tenant whose October is closed.
pub async fn october_is_closed(change: impl FnOnce(&mut Config)) -> (Stage, Worker) {
    let stage = Stage::with("2026-11-01T01:00:00Z", |config| {
        config.report.backfill = 1;
        change(config);
    })
    .await;
    let mut worker = stage.worker();
    worker.wake(true).await;
    assert_eq!(stage.current(month(MONTH)).await.unwrap().revision, 1);
    (stage, worker)
}

pub fn edit(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Fault {
    Fault::edit(change).on(Operation::Monthly)
}

fn add(number: &mut Value, more: u64) {
    *number = (number.as_u64().unwrap() + more).into();
}

/// The provider bills the first VM for so many hours more.
pub fn more_hours(hours: u64) -> Fault {
    edit(move |report| add(&mut report["vms"][0]["vm_hours"], hours))
}

/// Replaces all faults.
pub fn only(stage: &Stage, fault: Fault) {
    stage.simulator.faults().clear();
    stage.simulator.faults().add(fault);
}

/// The gauges of October's difference, by scope: VMs, clouds, tags.
pub fn changed(stage: &Stage) -> [Option<f64>; 3] {
    ["vms", "clouds", "tags"].map(|scope| {
        stage.metric(&format!(
            "flexvm_exporter_report_changed_seconds{{month=\"2026-10\",scope=\"{scope}\",tenant=\"k12345\"}}"
        ))
    })
}

/// The seconds of October's open difference in the index.
pub fn open_in_index(stage: &Stage) -> u32 {
    stage.index(month(MONTH))["open_difference_seconds"].parse().unwrap()
}

/// Sum of a counter over its reasons.
fn failures(stage: &Stage, of: &str) -> u64 {
    let text = String::from_utf8(stage.metrics.text()).unwrap();
    let family = format!("flexvm_exporter_report_{of}_total{{");
    let values = text.lines().filter(|line| line.starts_with(&family));
    values.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

fn requests(stage: &Stage) -> u64 {
    stage.simulator.requests()[&Operation::Monthly]
}

/// Two comparisons that see the difference.
pub async fn confirm(stage: &Stage, worker: &mut Worker) {
    stage.hand.pass(DAY);
    worker.wake(false).await;
    stage.hand.pass(6 * HOUR);
    worker.wake(false).await;
}

fn written(outcome: Outcome) -> Published {
    let Outcome::Written(published) = outcome else { panic!("not written") };
    published
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_alone_are_a_difference_of_their_scope() {
    type Case = (&'static str, fn(&mut Value), [f64; 3]);
    let cases: [Case; 6] = [
        (
            "hours of a cloud",
            |it| add(&mut it["clouds"][0]["period_usage"]["total_vm_hours"], 156),
            [0.0, 561_600.0, 0.0],
        ),
        (
            "VMs of a cloud",
            |it| add(&mut it["clouds"][1]["period_usage"]["total_vms_created"], 1),
            [0.0, 1.0, 0.0],
        ),
        ("hours of a tag", |it| add(&mut it["by_tag"][0]["total_vm_hours"], 2), [0.0, 0.0, 7200.0]),
        ("releases of a tag", |it| add(&mut it["by_tag"][0]["total_vms_released"], 1), [0.0, 0.0, 1.0]),
        (
            "another tag",
            |it| {
                let row = json!({"tag": "new:one", "active_vms": 0, "total_vms_created": 1,
                    "total_vms_released": 0, "total_vm_hours": 3});
                it["by_tag"].as_array_mut().unwrap().push(row);
            },
            [0.0, 0.0, 10_800.0],
        ),
        (
            "both",
            |it| {
                add(&mut it["clouds"][0]["period_usage"]["total_vm_hours"], 1);
                add(&mut it["by_tag"][0]["total_vm_hours"], 1);
            },
            [0.0, 3600.0, 3600.0],
        ),
    ];
    for (name, change, seconds) in cases {
        let (stage, mut worker) = october_is_closed(|_| ()).await;
        stage.hand.pass(DAY);
        only(&stage, edit(change));
        worker.wake(false).await;
        assert_eq!(changed(&stage), seconds.map(Some), "{name}");
        assert_eq!(stage.metric(OPEN), Some(0.0), "{name}: one reading opens nothing");
        assert_eq!(open_in_index(&stage), 0, "{name}");
        stage.hand.pass(6 * HOUR);
        worker.wake(false).await;
        assert_eq!((changed(&stage), stage.metric(OPEN)), (seconds.map(Some), Some(1.0)), "{name}");
        let largest = seconds.into_iter().fold(0.0, f64::max);
        assert_eq!(Some(f64::from(open_in_index(&stage))), Some(largest), "{name}");
        let dry = stage.closer().dry_restatement(month(MONTH), &terms()).await.unwrap();
        assert!(dry.changed.vms.is_empty() && !dry.changed.is_empty(), "{name}");
        assert!(dry.to_string().contains("differently, by"), "{name}: {dry}");
        // It counts: no force is needed, and the restatement settles it.
        let outcome = stage.closer().restate(month(MONTH), &because("the total was wrong")).await.unwrap();
        assert_eq!(written(outcome).revision, 2, "{name}");
        assert_eq!(open_in_index(&stage), 0, "{name}");
        worker.wake(false).await;
        assert_eq!((changed(&stage), stage.metric(OPEN)), ([Some(0.0); 3], Some(0.0)), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn open_difference_is_shown_after_a_restart_before_any_request() {
    let (mut stage, mut worker) = october_is_closed(|_| ()).await;
    stage.simulator.faults().add(more_hours(2));
    confirm(&stage, &mut worker).await;
    drop(worker);
    stage.restarted();
    assert_eq!((stage.metric(OPEN), changed(&stage)), (None, [None; 3]));
    // The API takes a request and never responds.
    only(&stage, Fault::new(FaultKind::Stall));
    stage.hand.pass(2 * DAY);
    let mut worker = stage.worker();
    let waking = tokio::spawn(async move { worker.wake(true).await });
    for _ in 0..1000 {
        if stage.metric(OPEN).is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!waking.is_finished(), "the comparison is waiting");
    waking.abort();
    assert_eq!(stage.metric(OPEN), Some(1.0));
    assert_eq!(changed(&stage), [Some(7200.0), Some(0.0), Some(0.0)]);
    let outlook = stage.store.view().tenants["k12345"].outlook.clone().unwrap();
    assert!(outlook.comparisons[&month(MONTH)].open);
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_is_repeated_after_a_restart() {
    let (mut stage, mut worker) = october_is_closed(|_| ()).await;
    stage.simulator.faults().add(more_hours(2));
    stage.hand.pass(DAY);
    worker.wake(false).await;
    stage.restarted();
    worker = stage.worker();
    stage.hand.pass(Duration::from_secs(6 * 3600 - 1));
    worker.wake(true).await;
    assert_eq!((changed(&stage)[0], stage.metric(OPEN)), (Some(7200.0), Some(0.0)));
    stage.hand.pass(Duration::from_secs(1));
    worker.wake(false).await;
    assert_eq!(stage.metric(OPEN), Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn open_difference_is_compared_weekly_after_watch() {
    let (stage, mut worker) = october_is_closed(|config| config.report.watch = 3 * DAY).await;
    stage.simulator.faults().add(more_hours(2));
    confirm(&stage, &mut worker).await;
    // The latest comparison within the watch is made 2 d 6 h after closing.
    stage.hand.pass(DAY);
    worker.wake(false).await;
    let before = requests(&stage);
    assert_eq!(before, 4, "closing, two readings, one day");
    for day in 1..=14 {
        stage.hand.pass(DAY);
        worker.wake(true).await;
        assert_eq!(requests(&stage), before + day / 7, "day {day}");
        assert_eq!(stage.metric(OPEN), Some(1.0));
        assert_eq!(changed(&stage)[0], Some(7200.0));
    }
    assert_eq!(open_in_index(&stage), 7200);
    // Once it has vanished, nothing is compared any more.
    stage.simulator.faults().clear();
    for _ in 0..12 {
        stage.hand.pass(DAY);
        worker.wake(true).await;
    }
    assert_eq!((requests(&stage), stage.metric(OPEN)), (before + 3, Some(0.0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn difference_read_at_the_end_of_watch_is_confirmed() {
    let (stage, mut worker) = october_is_closed(|config| config.report.watch = DAY + HOUR).await;
    stage.simulator.faults().add(more_hours(2));
    confirm(&stage, &mut worker).await;
    assert_eq!(stage.metric(OPEN), Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn months_without_difference_are_not_compared_after_watch() {
    let (stage, mut worker) = october_is_closed(|config| config.report.watch = 3 * DAY).await;
    for _ in 0..20 {
        stage.hand.pass(DAY);
        worker.wake(true).await;
    }
    assert_eq!(requests(&stage), 1 + 2, "closing, and two days of watching");
}

#[tokio::test(flavor = "multi_thread")]
async fn restatement_settles_a_difference_and_a_later_one_opens() {
    let (stage, mut worker) = october_is_closed(|_| ()).await;
    stage.simulator.faults().add(more_hours(2));
    confirm(&stage, &mut worker).await;
    written(stage.closer().restate(month(MONTH), &because("two hours")).await.unwrap());
    worker.wake(false).await;
    assert_eq!((stage.metric(OPEN), changed(&stage)[0]), (Some(0.0), Some(0.0)));
    // The provider takes it back.
    stage.simulator.faults().clear();
    confirm(&stage, &mut worker).await;
    assert_eq!((stage.metric(OPEN), changed(&stage)[0]), (Some(1.0), Some(7200.0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_comparisons_are_counted_as_such_and_retried_hourly() {
    let (stage, mut worker) = october_is_closed(|_| ()).await;
    stage.simulator.faults().add(more_hours(2));
    confirm(&stage, &mut worker).await;
    let last_month = |report: &mut Value| report["period"]["start"] = "2026-09-01T00:00:00Z".into();
    let mut expected = 0;
    for (fault, reason) in [
        (Fault::status(500), "server"),
        (Fault::status(401), "credentials"),
        (Fault::body(200, "application/json", "{"), "malformed"),
        (edit(last_month), "period"),
    ] {
        only(&stage, fault.on(Operation::Monthly));
        stage.hand.pass(DAY);
        worker.wake(false).await;
        expected += 1;
        let series = format!(
            "flexvm_exporter_report_comparison_failures_total{{reason=\"{reason}\",tenant=\"k12345\"}}"
        );
        assert_eq!(stage.metric(&series), Some(1.0), "{reason}");
        // What is open stays open, and nothing failed to close or to be verified.
        assert_eq!((stage.metric(OPEN), changed(&stage)[0]), (Some(1.0), Some(7200.0)), "{reason}");
        assert_eq!(failures(&stage, "failures"), 0, "{reason}");
        assert_eq!(failures(&stage, "verification_failures"), 0, "{reason}");
        assert_eq!(failures(&stage, "comparison_failures"), expected);
        stage.hand.pass(Duration::from_secs(3600 - 1));
        worker.wake(true).await;
        assert_eq!(failures(&stage, "comparison_failures"), expected, "not before an hour has passed");
        stage.simulator.faults().clear();
        stage.simulator.faults().add(more_hours(2));
        let before = requests(&stage);
        stage.hand.pass(Duration::from_secs(1));
        worker.wake(false).await;
        assert_eq!(requests(&stage), before + 1);
    }
    assert_eq!(failures(&stage, "comparison_failures"), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_verification_is_counted_as_such() {
    let (stage, mut worker) = october_is_closed(|_| ()).await;
    let file = stage.files().into_keys().find(|path| path.to_string_lossy().ends_with("by-tag.csv")).unwrap();
    fs::write(file, "altered").unwrap();
    stage.hand.pass(DAY);
    worker.wake(false).await;
    let series = "flexvm_exporter_report_verification_failures_total{reason=\"exists\",tenant=\"k12345\"}";
    assert_eq!(stage.metric(series), Some(1.0));
    assert_eq!(failures(&stage, "failures"), 0, "nothing failed to close");
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_ledger_does_not_clear_the_index() {
    let (stage, mut worker) = october_is_closed(|_| ()).await;
    stage.simulator.faults().add(more_hours(2));
    confirm(&stage, &mut worker).await;
    let files = stage.files();
    let damaged = stage.config.ledger.path.with_file_name("damaged.db");
    fs::write(&damaged, "not a database").unwrap();
    let closer = closer((*stage.config).clone(), Ledger::read_only(&damaged), stage.hand.clock());
    let error = closer.close(month(MONTH), &terms()).await.unwrap_err();
    assert_eq!(error.reason().as_str(), "storage", "{error}");
    assert_eq!((stage.files(), open_in_index(&stage)), (files, 7200));
}

#[tokio::test(flavor = "multi_thread")]
async fn automatic_restatement_needs_two_agreeing_responses() {
    let (stage, mut worker) = october_is_closed(|config| config.report.restate = Restate::Auto).await;
    let revision = async || stage.current(month(MONTH)).await.unwrap().revision;
    // Each response differs from the previous one, in what counts.
    for hours in 1..=4 {
        only(&stage, more_hours(hours));
        stage.hand.pass(DAY);
        worker.wake(false).await;
        assert_eq!((revision().await, stage.metric(OPEN)), (1, Some(0.0)), "{hours}");
    }
    // What drifts does not have to agree.
    only(
        &stage,
        edit(|report| {
            add(&mut report["vms"][0]["vm_hours"], 4);
            report["vms"][1]["status"] = "failed".into();
            report["vms"][1]["name"] = "renamed".into();
            add(&mut report["total_active_vms"], 1);
        }),
    );
    stage.hand.pass(Duration::from_secs(6 * 3600 - 1));
    worker.wake(true).await;
    assert_eq!(revision().await, 1, "less than 6 h");
    stage.hand.pass(Duration::from_secs(1));
    worker.wake(false).await;
    let restated = stage.current(month(MONTH)).await.unwrap();
    assert_eq!((restated.revision, stage.metric(OPEN)), (2, Some(0.0)));
    assert_eq!(changed(&stage), [Some(0.0); 3]);
    let manifest = manifest(&restated);
    assert_eq!(manifest["reason"], "the provider changed its figures (report.restate: auto)");
    assert_eq!(manifest["configuration_changes"], json!([]));
    // Its own revision is no reason for another.
    for _ in 0..3 {
        stage.hand.pass(DAY);
        worker.wake(true).await;
    }
    assert_eq!(revision().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_respond_in_turn_open_a_difference_and_restate_nothing() {
    let (stage, mut worker) = october_is_closed(|config| config.report.restate = Restate::Auto).await;
    for (day, hours) in [2, 3, 2, 3, 2, 3].into_iter().enumerate() {
        only(&stage, more_hours(hours));
        stage.hand.pass(DAY);
        worker.wake(false).await;
        let is_open = f64::from(u8::from(day >= 2));
        assert_eq!(stage.metric(OPEN), Some(is_open), "day {day}");
        assert_eq!(stage.current(month(MONTH)).await.unwrap().revision, 1, "day {day}");
    }
    // Two responses in a row agree.
    only(&stage, more_hours(2));
    confirm(&stage, &mut worker).await;
    stage.hand.pass(DAY);
    worker.wake(false).await;
    assert_eq!((stage.current(month(MONTH)).await.unwrap().revision, stage.metric(OPEN)), (2, Some(0.0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn incomplete_response_is_never_restated_automatically() {
    let stage = Stage::with("2026-11-01T01:00:00Z", |config| {
        config.report.backfill = 1;
        config.report.restate = Restate::Auto;
        config.report.restate_max_decrease = Decimal::ONE;
        // Not even with this.
        config.report.completeness = flexvm_exporter::config::Completeness::Warn;
    })
    .await;
    let id = stage.monthly(month(MONTH))["vms"][0]["vm_id"].as_str().unwrap().to_owned();
    for minute in 0..3 {
        stage.poll(&format!("2026-10-15T12:0{minute}:00Z"), &[(&id, "running")]).await;
    }
    let mut worker = stage.worker();
    worker.wake(true).await;
    let files = stage.current(month(MONTH)).await.unwrap().files;
    stage.simulator.faults().add(edit(|report| drop(report["vms"].as_array_mut().unwrap().remove(0))));
    confirm(&stage, &mut worker).await;
    stage.hand.pass(DAY);
    worker.wake(false).await;
    assert_eq!(stage.current(month(MONTH)).await.unwrap().files, files);
    assert_eq!(stage.metric(OPEN), Some(1.0), "the difference stays open");
    assert!(changed(&stage)[0] > Some(0.0));
    assert_eq!(failures(&stage, "comparison_failures"), 0, "the comparison did not fail");
}

#[tokio::test(flavor = "multi_thread")]
async fn automatic_restatement_lowers_a_month_no_further_than_allowed() {
    /// The provider omits every second VM; no poll observed any.
    fn half() -> Fault {
        edit(|report| {
            let mut number = 0;
            report["vms"].as_array_mut().unwrap().retain(|_| {
                number += 1;
                number % 2 == 0
            });
        })
    }
    let (mut stage, mut worker) = october_is_closed(|config| config.report.restate = Restate::Auto).await;
    let before = stage.current(month(MONTH)).await.unwrap();
    stage.simulator.faults().add(half());
    confirm(&stage, &mut worker).await;
    assert_eq!(stage.current(month(MONTH)).await.unwrap().revision, 1);
    assert_eq!(stage.metric(OPEN), Some(1.0));
    // With the next comparison, another limit holds.
    stage.configured(|config| config.report.restate_max_decrease = Decimal::new(9, 1));
    worker = stage.worker();
    stage.hand.pass(DAY);
    worker.wake(true).await;
    let after = stage.current(month(MONTH)).await.unwrap();
    assert_eq!((after.revision, stage.metric(OPEN)), (2, Some(0.0)));
    assert!(after.totals.vm_seconds < before.totals.vm_seconds * 3 / 4);
    // More is never a decrease.
    stage.configured(|config| config.report.restate_max_decrease = Decimal::ZERO);
    worker = stage.worker();
    stage.simulator.faults().clear();
    confirm(&stage, &mut worker).await;
    assert_eq!(stage.current(month(MONTH)).await.unwrap().revision, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn automatic_restatement_without_lists_is_retried_in_an_hour() {
    let (stage, mut worker) = october_is_closed(|config| config.report.restate = Restate::Auto).await;
    stage.simulator.faults().add(more_hours(2));
    stage.hand.pass(DAY);
    worker.wake(false).await;
    stage.simulator.faults().add(Fault::status(503).on(Operation::Clouds));
    stage.hand.pass(6 * HOUR);
    worker.wake(false).await;
    let revision = async || stage.current(month(MONTH)).await.unwrap().revision;
    assert_eq!((revision().await, failures(&stage, "comparison_failures")), (1, 1));
    only(&stage, more_hours(2));
    stage.hand.pass(HOUR);
    worker.wake(false).await;
    assert_eq!((revision().await, stage.metric(OPEN)), (2, Some(0.0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn restatement_without_difference_is_refused() {
    let (stage, _) = october_is_closed(|_| ()).await;
    let closer = stage.closer();
    let drifts: [fn(&mut Value); 3] = [
        |_| (),
        |report| {
            report["vms"][0]["status"] = "failed".into();
            report["vms"][0]["name"] = "renamed".into();
            report["vms"][0]["image"] = "another".into();
            add(&mut report["total_nodes"], 1);
            add(&mut report["clouds"][0]["active_vms"], 1);
            add(&mut report["by_tag"][0]["active_vms"], 1);
        },
        |report| {
            for list in ["vms", "clouds", "by_tag"] {
                report[list].as_array_mut().unwrap().reverse();
            }
        },
    ];
    for drift in drifts {
        only(&stage, edit(drift));
        let error = closer.restate(month(MONTH), &because("late prices")).await.unwrap_err();
        assert!(
            error.to_string().contains("nothing that counts differs from revision 1 of 2026-10"),
            "{error}"
        );
        assert_eq!(stage.current(month(MONTH)).await.unwrap().revision, 1);
    }
    let published = written(closer.restate(month(MONTH), &forced("an auditor asked")).await.unwrap());
    assert_eq!((published.revision, texts(&manifest(&published)["configuration_changes"]).len()), (2, 0));
}

//! Which months are closed, when, and what failures do.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use flexvm_exporter::api::ClockState;
use flexvm_exporter::close::Standing;
use flexvm_exporter::ledger::Ledger;
use flexvm_exporter::period::Period;
use flexvm_exporter::report::Outcome;
use flexvm_exporter::simulator::{Fault, Operation};
use flexvm_exporter::snapshot::InventoryData;
use jiff::Timestamp;

use crate::support::{Hand, Stage, TENANT, closer, forced, month, terms};

#[tokio::test]
async fn a_month_is_closed_once_it_has_settled() {
    let stage = Stage::new("2026-10-20T00:00:00Z").await;
    let mut worker = stage.worker();
    worker.wake(true).await;
    assert!(stage.files().is_empty(), "no month has ended since the first start");
    stage.hand.set("2026-11-01T00:29:59Z");
    worker.wake(true).await;
    assert!(stage.files().is_empty());
    let now = stage.hand.now();
    assert!(matches!(stage.closer().standing(month("2026-10"), now), Standing::Settling(_)));
    stage.hand.set("2026-11-01T00:30:00Z");
    worker.wake(true).await;
    let files = stage.files();
    assert_eq!(files.keys().filter(|path| path.to_string_lossy().contains("/2026-10/r01/")).count(), 7);
    assert_eq!(stage.metric("flexvm_exporter_report_due{tenant=\"k12345\"}"), Some(0.0));
    assert_eq!(
        stage.metric("flexvm_exporter_report_last_success_timestamp_seconds{tenant=\"k12345\"}"),
        Some(f64::from(u32::try_from(stage.hand.now().as_second()).unwrap()))
    );
    // Woken again, nothing is fetched and nothing changes.
    let before = stage.simulator.requests();
    worker.wake(true).await;
    assert_eq!((stage.files(), stage.simulator.requests()), (files, before));
}

#[tokio::test]
async fn months_slept_through_and_before_the_first_start_are_closed() {
    let mut stage = Stage::with("2026-08-20T00:00:00Z", |config| config.report.backfill = 1).await;
    stage.worker().wake(true).await;
    let closed = |stage: &Stage| {
        let names = fs::read_dir(stage.reports()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut months: Vec<_> =
            names.filter_map(|name| name.into_string().ok()).filter(|name| name.starts_with("20")).collect();
        months.sort();
        months
    };
    assert_eq!(closed(&stage), ["2026-07"]);
    // Three months later, another process, another backfill: none since the first start is missed.
    stage.hand.set("2026-11-05T00:00:00Z");
    stage.configured(|config| config.report.backfill = 0);
    stage.worker().wake(true).await;
    assert_eq!(closed(&stage), ["2026-07", "2026-08", "2026-09", "2026-10"]);
}

#[tokio::test]
async fn the_first_start_of_versions_without_ledger_is_known() {
    let stage = Stage::new("2026-11-05T00:00:00Z").await;
    fs::create_dir_all(stage.reports()).unwrap();
    fs::write(stage.reports().join(".since"), "2026-09\n").unwrap();
    let due = stage.closer().due(stage.hand.now()).await.unwrap();
    assert_eq!(due, [month("2026-09"), month("2026-10")]);
}

#[tokio::test]
async fn while_the_api_fails_nothing_is_written_and_it_is_said() {
    let stage = Stage::with("2026-11-05T00:00:00Z", |config| config.report.backfill = 2).await;
    for (fault, reason) in [
        (Fault::status(500), "server"),
        (Fault::html(502), "server"),
        (Fault::status(401), "credentials"),
        (Fault::body(200, "application/json", "{\"period\":"), "malformed"),
        (Fault::new(flexvm_exporter::simulator::FaultKind::Truncate), "transport"),
        (Fault::edit(|report| report["period"]["start"] = "2026-01-01T00:00:00Z".into()), "period"),
        (
            Fault::edit(|report| {
                let mut row = report["vms"][0].clone();
                row["vm_hours"] = 1_000.into();
                report["vms"].as_array_mut().unwrap().push(row);
            }),
            "inconsistent",
        ),
    ] {
        stage.simulator.faults().clear();
        stage.simulator.faults().add(fault.on(Operation::Monthly));
        let series =
            format!("flexvm_exporter_report_failures_total{{reason=\"{reason}\",tenant=\"k12345\"}}");
        let before = stage.metric(&series).unwrap_or_default();
        stage.worker().wake(true).await;
        assert!(stage.files().is_empty(), "{reason}: {:?}", stage.files().keys());
        let after = stage.metric(&series);
        assert!(after > Some(before), "{reason}: {before} then {after:?}");
        assert_eq!(stage.metric("flexvm_exporter_report_due{tenant=\"k12345\"}"), Some(2.0));
    }
    stage.simulator.faults().clear();
    stage.worker().wake(true).await;
    assert_eq!(stage.metric("flexvm_exporter_report_due{tenant=\"k12345\"}"), Some(0.0));
}

#[tokio::test]
async fn a_month_that_cannot_be_closed_keeps_no_other_open() {
    let stage = Stage::with("2026-11-05T00:00:00Z", |config| config.report.backfill = 2).await;
    // Something that is no report stands where September's belongs.
    let foreign = stage.reports().join("2026-09/r01");
    fs::create_dir_all(&foreign).unwrap();
    fs::write(foreign.join("mine.txt"), "not yours").unwrap();
    stage.worker().wake(true).await;
    assert!(stage.reports().join("2026-10/r01").is_dir());
    assert_eq!(fs::read(foreign.join("mine.txt")).unwrap(), b"not yours");
    assert_eq!(stage.metric("flexvm_exporter_report_due{tenant=\"k12345\"}"), Some(1.0));
    assert!(
        stage.metric("flexvm_exporter_report_failures_total{reason=\"exists\",tenant=\"k12345\"}")
            > Some(0.0)
    );
    fs::remove_dir_all(&foreign).unwrap();
    stage.worker().wake(true).await;
    assert_eq!(stage.metric("flexvm_exporter_report_due{tenant=\"k12345\"}"), Some(0.0));
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_made_up_for() {
    let stage = Stage::with("2026-11-05T00:00:00Z", |config| config.report.backfill = 1).await;
    fs::write(&stage.config.report.directory, "a file where the folder should be").unwrap();
    stage.worker().wake(true).await;
    let failures =
        stage.metric("flexvm_exporter_report_failures_total{reason=\"storage\",tenant=\"k12345\"}");
    assert!(failures > Some(0.0));
    let due = || stage.metric("flexvm_exporter_report_due{tenant=\"k12345\"}");
    assert_eq!(due(), None, "nobody can tell");
    fs::remove_file(&stage.config.report.directory).unwrap();
    let mut worker = stage.worker();
    worker.wake(true).await;
    assert!(stage.reports().join("2026-10/r01").is_dir());
    assert_eq!(due(), Some(0.0));
    // Lost between two times of the schedule, it is a failure too, and no old figure stays.
    fs::remove_dir_all(&stage.config.report.directory).unwrap();
    fs::write(&stage.config.report.directory, "a file once more").unwrap();
    let failures =
        || stage.metric("flexvm_exporter_report_failures_total{reason=\"storage\",tenant=\"k12345\"}");
    let before = failures();
    for _ in 0..2 {
        worker.wake(false).await;
        assert_eq!(due(), None);
    }
    assert!(failures() > before, "{before:?}");
}

#[tokio::test]
async fn a_clock_that_steps_closes_nothing_twice_and_nothing_early() {
    let stage = Stage::new("2026-10-31T12:00:00Z").await;
    let mut worker = stage.worker();
    worker.wake(true).await;
    stage.hand.set("2026-11-01T12:00:00Z");
    worker.wake(false).await;
    let files = stage.files();
    assert!(!files.is_empty(), "the jump passed the schedule's time");
    stage.hand.set("2026-10-31T12:00:00Z");
    worker.wake(true).await;
    stage.hand.set("2026-11-01T12:00:00Z");
    worker.wake(true).await;
    assert_eq!(stage.files(), files);
    let Outcome::Already(published) = stage.closer().close(month("2026-10"), &terms()).await.unwrap() else {
        panic!("closed twice")
    };
    assert_eq!(published.revision, 1);
}

#[tokio::test]
async fn closed_months_are_verified_at_start_and_daily() {
    let stage = Stage::with("2026-11-05T00:00:00Z", |config| config.report.backfill = 1).await;
    let mut worker = stage.worker();
    worker.wake(true).await;
    let of = |family: &str| {
        stage.metric(&format!("flexvm_exporter_report_{family}_total{{reason=\"exists\",tenant=\"k12345\"}}"))
    };
    let failures = || of("verification_failures");
    assert_eq!(failures(), Some(0.0));
    let by_vm = stage.files().into_keys().find(|path| path.to_string_lossy().ends_with("by-vm.csv")).unwrap();
    let whole = fs::read(&by_vm).unwrap();
    fs::write(&by_vm, "altered").unwrap();
    // Not with every minute's tick, which would read every file each time.
    worker.wake(false).await;
    assert_eq!(failures(), Some(0.0));
    stage.hand.set("2026-11-06T00:00:00Z");
    worker.wake(false).await;
    let daily = failures();
    assert!(daily > Some(0.0), "{daily:?}");
    assert_eq!(of("failures"), Some(0.0), "nothing failed to close");
    let shown = stage.store.view().tenants[TENANT].reports.clone().unwrap();
    assert!(
        matches!(&shown.problems[..], [problem] if problem.contains("by-vm.csv")),
        "{:?}",
        shown.problems
    );
    // Where nobody can write, what is wrong is still what is told.
    let lock = stage.reports().join(".lock");
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    let wrong = stage.closer().audit().await.unwrap();
    assert!(wrong.len() == 1 && wrong[0].1.to_string().contains("by-vm.csv"), "{wrong:?}");
    fs::remove_dir(&lock).unwrap();
    stage.worker().wake(true).await;
    let at_start = failures();
    assert!(at_start > daily, "{at_start:?}");
    assert_eq!(fs::read(&by_vm).unwrap(), b"altered");
    // A file that is only lost is made again without a failure.
    fs::remove_file(&by_vm).unwrap();
    stage.worker().wake(true).await;
    assert_eq!((fs::read(&by_vm).unwrap(), failures()), (whole, at_start));
}

#[tokio::test]
async fn reports_whose_ledger_is_lost_are_taken_in_and_verified() {
    let stage = Stage::new("2026-11-05T00:00:00Z").await;
    stage.closer().close(month("2026-10"), &terms()).await.unwrap();
    let ledger = Ledger::open(&stage.reports().join("../other.db")).unwrap();
    let closer = closer((*stage.config).clone(), ledger.clone(), stage.hand.clock());
    assert_eq!(closer.check_clock().await, ClockState::Agrees);
    let files = stage.files();
    let by_vm = files.keys().find(|path| path.to_string_lossy().ends_with("by-vm.csv")).unwrap();
    fs::write(by_vm, "altered").unwrap();
    let wrong = closer.audit().await.unwrap();
    assert!(matches!(&wrong[..], [(wrong, _)] if *wrong == month("2026-10")), "{wrong:?}");
    assert_eq!(ledger.revision(TENANT, month("2026-10")).unwrap(), None);
    fs::write(by_vm, &files[by_vm]).unwrap();
    assert!(closer.audit().await.unwrap().is_empty());
    let row = ledger.revision(TENANT, month("2026-10")).unwrap().unwrap();
    assert!(row.published && row.inputs.is_none());
    assert_eq!(stage.files(), files);
    // What a newer one replaced is verified from the first look on, too.
    stage.closer().restate(month("2026-10"), &forced("a test")).await.unwrap();
    let ledger = Ledger::open(&stage.reports().join("../third.db")).unwrap();
    let closer = self::closer((*stage.config).clone(), ledger, stage.hand.clock());
    closer.check_clock().await;
    fs::write(by_vm, "altered").unwrap();
    let wrong = closer.audit().await.unwrap();
    assert!(wrong.len() == 1 && wrong[0].1.to_string().contains("by-vm.csv"), "{wrong:?}");
}

#[tokio::test]
async fn revisions_that_were_replaced_are_verified_too() {
    let stage = Stage::new("2026-11-05T00:00:00Z").await;
    stage.closer().close(month("2026-10"), &terms()).await.unwrap();
    let Outcome::Written(second) = stage.closer().restate(month("2026-10"), &forced("a test")).await.unwrap()
    else {
        panic!("not written")
    };
    assert_eq!(second.revision, 2);
    assert_eq!(stage.closer().audit().await.unwrap().len(), 0);
    let files = stage.files();
    for name in files.keys().filter(|path| path.to_string_lossy().contains("/r01/")) {
        fs::write(name, "altered").unwrap();
        let wrong = stage.closer().audit().await.unwrap();
        let [(wrong_month, error)] = &wrong[..] else { panic!("{wrong:?}") };
        assert_eq!((*wrong_month, error.reason().as_str()), (month("2026-10"), "exists"));
        assert!(error.to_string().contains("r01"), "{error}");
        assert_eq!(fs::read(name).unwrap(), b"altered");
        fs::remove_file(name).unwrap();
        assert_eq!(stage.closer().audit().await.unwrap().len(), 0);
        assert_eq!(stage.files(), files, "{}", name.display());
    }
    // The newer one is made from the one that it replaced, whatever is lost of both.
    let first = second.dir.with_file_name("r01");
    let of = |folder: &Path, end: &str| {
        files.keys().find(|path| path.starts_with(folder) && path.to_string_lossy().ends_with(end)).unwrap()
    };
    for (lost_first, lost_second) in [
        (of(&first, "manifest.json").as_path(), of(&second.dir, "by-tag.csv").as_path()),
        (of(&first, "by-vm.csv"), second.dir.as_path()),
        (first.as_path(), second.dir.as_path()),
    ] {
        for lost in [lost_first, lost_second] {
            if lost.is_dir() { fs::remove_dir_all(lost).unwrap() } else { fs::remove_file(lost).unwrap() }
        }
        assert_eq!(stage.closer().audit().await.unwrap().len(), 0, "{lost_first:?} {lost_second:?}");
        assert_eq!(stage.files(), files, "{lost_first:?} {lost_second:?}");
    }
    // What is wrong with one hides nothing of the other, and a pipe holds nobody up.
    let [one, other] = [of(&first, "by-vm.csv"), of(&second.dir, "by-tag.csv")];
    for path in [one, other] {
        fs::remove_file(path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
        assert!(made.success());
    }
    let wrong = stage.closer().audit().await.unwrap();
    let wrong: Vec<String> = wrong.iter().map(|(_, error)| error.to_string()).collect();
    assert!(
        wrong.len() == 2 && wrong[0].contains("by-vm.csv") && wrong[1].contains("by-tag.csv"),
        "{wrong:?}"
    );
    for path in [one, other] {
        fs::remove_file(path).unwrap();
    }
    // Nothing is made through a link.
    fs::remove_dir_all(&first).unwrap();
    std::os::unix::fs::symlink(&second.dir, &first).unwrap();
    let names = fs::read_dir(&second.dir).unwrap().count();
    assert_eq!(stage.closer().audit().await.unwrap().len(), 2);
    assert_eq!(fs::read_dir(&second.dir).unwrap().count(), names);
    fs::remove_file(&first).unwrap();
    assert_eq!(stage.closer().audit().await.unwrap().len(), 0);
    assert_eq!(stage.files(), files);
}

#[tokio::test]
async fn a_month_that_has_not_ended_by_the_apis_clock_is_not_closed() {
    // The stage's clock is the API's, too; this closer's is half a day ahead.
    let stage = Stage::new("2026-10-31T23:59:00Z").await;
    let ahead = Hand::at("2026-11-01T12:00:00Z").clock();
    let closer = closer((*stage.config).clone(), stage.ledger.clone(), ahead);
    let error = closer.close(month("2026-10"), &terms()).await.unwrap_err();
    assert_eq!(error.reason().as_str(), "period");
    let text = error.to_string();
    assert!(text.contains("this machine's clock is 432") && text.contains(" s ahead of the Date"), "{text}");
    assert!(stage.files().is_empty(), "{:?}", stage.files().keys());
    assert_eq!(stage.ledger.revision(TENANT, month("2026-10")).unwrap(), None);
    stage.hand.set("2026-11-01T00:29:59Z");
    assert_eq!(closer.close(month("2026-10"), &terms()).await.unwrap_err().reason().as_str(), "period");
    // The month has ended by both clocks, but the time of closing would be wrong.
    stage.hand.set("2026-11-01T00:30:00Z");
    assert_eq!(closer.close(month("2026-10"), &terms()).await.unwrap_err().reason().as_str(), "period");
    assert!(stage.files().is_empty());
    assert!(matches!(stage.closer().close(month("2026-10"), &terms()).await.unwrap(), Outcome::Written(_)));
}

thread_local! {
    /// What this thread has logged, once somebody listens.
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct Log;

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.with_borrow_mut(|log| log.write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_clock_that_jumps_is_said() {
    // For the whole process: what other threads logged first would else decide what is listened to.
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(|| Log);
    tracing::subscriber::set_global_default(subscriber.finish()).unwrap();
    let said = || String::from_utf8(LOG.take()).unwrap();
    let stage = Stage::new("2026-10-15T12:00:00Z").await;
    let mut worker = stage.worker();
    worker.wake(true).await;
    worker.wake(false).await;
    assert!(!said().contains("the clock jumped"));
    // The stage's clock stands otherwise, so a second may be missing.
    for (time, sign) in [("2026-10-16T12:00:00Z", "="), ("2026-10-15T12:00:00Z", "=-")] {
        stage.hand.set(time);
        worker.wake(false).await;
        let said = said();
        let jumped = said.lines().find(|line| line.contains("the clock jumped")).unwrap_or_default();
        let of_a_day = ["86400", "86399", "86398"].map(|seconds| format!("seconds{sign}{seconds}"));
        assert!(of_a_day.iter().any(|seconds| jumped.contains(seconds)), "{said}");
    }
}

#[tokio::test]
async fn old_events_go_when_nothing_needs_them_any_more() {
    let day = std::time::Duration::from_hours(24);
    let stage = Stage::with("2026-08-20T00:00:00Z", |config| {
        config.ledger.retention = Some(day);
        config.report.watch = 10 * day;
    })
    .await;
    stage.worker().wake(true).await;
    for time in
        ["2026-08-21T00:00:00Z", "2026-09-10T00:00:00Z", "2026-10-10T00:00:00Z", "2026-11-15T00:00:00Z"]
    {
        let empty = Arc::<InventoryData>::default();
        stage.ledger.observe(TENANT.into(), time.parse().unwrap(), day, empty).await.unwrap();
    }
    let polls = || {
        let all = Period { start: Timestamp::UNIX_EPOCH, end: Timestamp::MAX };
        let polls = stage.ledger.observations(TENANT, all, Timestamp::MAX).unwrap().polls;
        polls.iter().map(|at| at.to_string()[..7].to_owned()).collect::<Vec<_>>()
    };
    // The API does not answer: August is open, and what was seen of it stays.
    stage.hand.set("2026-11-20T00:00:00Z");
    stage.simulator.faults().add(Fault::status(500).on(Operation::Monthly));
    stage.worker().wake(true).await;
    assert_eq!(polls(), ["2026-08", "2026-09", "2026-10", "2026-11"]);
    // All are closed, but for ten days they may be restated.
    stage.simulator.faults().clear();
    stage.worker().wake(true).await;
    assert_eq!(stage.metric("flexvm_exporter_report_due{tenant=\"k12345\"}"), Some(0.0));
    assert_eq!(polls(), ["2026-08", "2026-09", "2026-10", "2026-11"]);
    // Then the running month and the one before it are left.
    stage.hand.set("2026-11-30T12:00:00Z");
    stage.worker().wake(true).await;
    assert_eq!(polls(), ["2026-10", "2026-11"]);
}

#[tokio::test]
async fn pages_are_told_what_is_due_why_and_what_was_closed() {
    let stage = Stage::with("2026-11-05T00:00:00Z", |config| config.report.backfill = 2).await;
    let mut worker = stage.worker();
    let shown = || (*stage.store.view().tenants[TENANT]).clone();
    assert!(shown().outlook.is_none() && shown().reports.is_none(), "nobody has looked yet");
    stage.simulator.faults().add(Fault::error(503, "not today").on(Operation::Monthly));
    worker.wake(true).await;
    let outlook = shown().outlook.unwrap();
    assert_eq!(outlook.due.keys().copied().collect::<Vec<_>>(), [month("2026-09"), month("2026-10")]);
    for why in outlook.due.values() {
        assert!(why.error.as_ref().unwrap().contains("not today"), "{why:?}");
    }
    assert_eq!(outlook.next, (month("2026-11"), "2026-12-01T00:30:00Z".parse().unwrap()));
    stage.simulator.faults().clear();
    worker.wake(true).await;
    assert!(shown().outlook.unwrap().due.is_empty());
    let listed = || {
        let reports = shown().reports.unwrap();
        assert!(reports.problems.is_empty(), "{:?}", reports.problems);
        let row = |it: &flexvm_exporter::report::Listed| {
            (it.published.month.to_string(), it.published.revision, it.current, it.files.len())
        };
        reports.reports.iter().map(row).collect::<Vec<_>>()
    };
    let row = |month: &str, revision, current, files| (month.to_owned(), revision, current, files);
    assert_eq!(listed(), [row("2026-10", 1, true, 7), row("2026-09", 1, true, 7)]);
    // What another process restates is seen without the schedule.
    stage.closer().restate(month("2026-10"), &forced("a test")).await.unwrap();
    worker.wake(false).await;
    assert_eq!(
        listed(),
        [row("2026-10", 2, true, 8), row("2026-10", 1, false, 7), row("2026-09", 1, true, 7)]
    );
    assert_eq!(shown().closed[0].revision, 2);
    assert_eq!(shown().reports.unwrap().reports[0].published.reason.as_deref(), Some("a test"));
    // A newest revision that is damaged makes the one before it no newer.
    let manifest = stage.reports().join("2026-10/r02/flexvm-usage_k12345_2026-10_r02_manifest.json");
    fs::write(manifest, "{}").unwrap();
    let mut worker = stage.worker();
    worker.wake(false).await;
    let reports = shown().reports.unwrap();
    assert_eq!(reports.problems.len(), 1, "{:?}", reports.problems);
    assert!(reports.reports.iter().all(|it| it.published.month != month("2026-10") || !it.current));
}

#[tokio::test]
async fn the_month_that_settles_is_the_next() {
    let stage = Stage::new("2026-11-01T00:10:00Z").await;
    let next = stage.closer().next_due(stage.hand.now());
    assert_eq!(next, (month("2026-10"), "2026-11-01T00:30:00Z".parse().unwrap()));
}

#[tokio::test]
async fn new_ledger_beside_reports_keeps_later_months_due() {
    let stage = Stage::new("2026-08-20T00:00:00Z").await;
    for (time, name) in [("2026-09-05T00:00:00Z", "2026-07"), ("2026-10-05T00:00:00Z", "2026-09")] {
        stage.hand.set(time);
        stage.closer().close(month(name), &terms()).await.unwrap();
    }
    // The ledger is lost, and the daemon starts with a new one after October has ended.
    stage.hand.set("2026-11-05T00:00:00Z");
    let ledger = Ledger::open(&stage.reports().join("../other.db")).unwrap();
    let closer = closer((*stage.config).clone(), ledger.clone(), stage.hand.clock());
    let states = closer.months(stage.hand.now()).await.unwrap();
    assert_eq!(states.due, [month("2026-10")]);
    assert_eq!(states.lost_ledger, Some(vec![month("2026-08")]), "an earlier hole is reported, not closed");
    let beginning = ledger.beginning(TENANT).unwrap().unwrap();
    assert_eq!((beginning.since, beginning.beside_reports), (month("2026-10"), true));
    // The worker of the stage has a ledger that recorded the reports.
    let states = stage.closer().months(stage.hand.now()).await.unwrap();
    assert_eq!((states.due, states.lost_ledger), (vec![], None));
}

//! Responses that lack VMs which polls observed: the VMs that block a month, those that do not, and
//! how an operator accepts such a response.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use flexvm_exporter::close::CloseOptions;
use flexvm_exporter::config::{Completeness, Config};
use flexvm_exporter::report::{Outcome, Published, Verdict};
use flexvm_exporter::simulator::{Fault, Operation};
use serde_json::{Value, json};

use crate::support::{Stage, TENANT, forced, manifest, month, rows, terms, text, texts};

const MONTH: &str = "2026-10";
const DUE: &str = "flexvm_exporter_report_due{tenant=\"k12345\"}";
const INCOMPLETE: &str = "flexvm_exporter_report_failures_total{reason=\"incomplete\",tenant=\"k12345\"}";

/// A tenant whose October has ended and is due.
async fn october_is_due(change: impl FnOnce(&mut Config)) -> Stage {
    Stage::with("2026-11-01T01:00:00Z", |config| {
        config.report.backfill = 1;
        change(config);
    })
    .await
}

/// Three polls in the middle of October that see these VMs in these statuses.
async fn observe(stage: &Stage, vms: &[(&str, &str)]) {
    for minute in 0..3 {
        stage.poll(&format!("2026-10-15T12:0{minute}:00Z"), vms).await;
    }
}

/// Ids of the VMs that the provider lists, those that lived through all of October first.
fn listed(stage: &Stage) -> Vec<String> {
    let mut rows = stage.monthly(month(MONTH))["vms"].as_array().unwrap().clone();
    let lives_through =
        |row: &Value| row["created_at"].as_str().unwrap() < "2026-10-01" && row["released_at"] == Value::Null;
    rows.sort_by_key(|row| !lives_through(row));
    assert!(lives_through(&rows[2]), "the first three VMs live through the month");
    rows.iter().map(|row| row["vm_id"].as_str().unwrap().to_owned()).collect()
}

/// The provider omits the rows of these VMs.
fn without(ids: &[&str]) -> Fault {
    let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    Fault::edit(move |report| {
        let rows = report["vms"].as_array_mut().unwrap();
        rows.retain(|row| !ids.iter().any(|id| row["vm_id"] == **id));
    })
    .on(Operation::Monthly)
}

/// A well-formed response without clouds, tags and VMs.
fn empty() -> Fault {
    Fault::edit(|report| {
        for list in ["clouds", "by_tag", "vms"] {
            report[list] = json!([]);
        }
    })
    .on(Operation::Monthly)
}

/// The terms on which an operator accepts an incomplete response.
fn accepting(reason: &str) -> CloseOptions {
    CloseOptions { accept_incomplete: true, reason: Some(reason.to_owned()), ..terms() }
}

/// The terms on which an operator closes from a saved response.
fn from_file(file: PathBuf) -> CloseOptions {
    CloseOptions { file: Some(file), reason: Some("saved".to_owned()), ..terms() }
}

/// Saves a response.
fn save(stage: &Stage, name: &str, response: &Value) -> PathBuf {
    let path = stage.config.report.directory.with_file_name(name);
    fs::write(&path, response.to_string()).unwrap();
    path
}

/// The list of VM ids in the manifest's part on polls.
fn observed_list(manifest: &Value, list: &str) -> Vec<String> {
    texts(&manifest["reconciliation"]["observations"][list]).into_iter().map(str::to_owned).collect()
}

fn written(outcome: Outcome) -> Published {
    let Outcome::Written(published) = outcome else { panic!("not written") };
    published
}

#[tokio::test(flavor = "multi_thread")]
async fn response_without_observed_vms_is_not_closed() {
    // The ledger has polls of October, so it is the first month.
    let stage = october_is_due(|config| config.report.backfill = 0).await;
    let ids: Vec<String> = (1..=7).map(|number| format!("vm-{number}")).collect();
    let vms: Vec<_> = ids.iter().map(|id| (&**id, "running")).collect();
    observe(&stage, &vms).await;
    stage.worker().wake(true).await;
    assert!(stage.files().is_empty(), "{:?}", stage.files().keys());
    assert_eq!(stage.ledger.revision(TENANT, month(MONTH)).unwrap(), None);
    assert_eq!((stage.metric(DUE), stage.metric(INCOMPLETE)), (Some(1.0), Some(1.0)));
    let shown = stage.due_error(month(MONTH));
    for part in [
        "lacks 7 VMs",
        "running or stopped in 2026-10",
        "(vm-1, vm-2, vm-3, vm-4, vm-5 and 2 more)",
        "report --month 2026-10 --accept-incomplete --reason TEXT",
        "--from-file FILE --reason TEXT",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let error = stage.closer().close(month(MONTH), &terms()).await.unwrap_err();
    assert_eq!((error.reason().as_str(), &error.to_string()), ("incomplete", &shown));
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_response_after_observed_use_is_not_closed() {
    // The ledger has polls of October, so it is the first month.
    let stage = october_is_due(|config| config.report.backfill = 0).await;
    observe(&stage, &[("vm-1", "running"), ("vm-2", "stopped"), ("vm-3", "provisioning")]).await;
    stage.simulator.faults().add(empty());
    stage.worker().wake(true).await;
    assert!(stage.files().is_empty());
    assert_eq!(stage.metric(INCOMPLETE), Some(1.0));
    assert!(stage.due_error(month(MONTH)).contains("lacks 2 VMs"), "{}", stage.due_error(month(MONTH)));
    // If it is accepted, its verdict states that.
    let published = written(stage.closer().close(month(MONTH), &accepting("a test tenant")).await.unwrap());
    assert_eq!((published.totals.vms, published.verdict()), (0, Verdict::Incomplete));
    assert_eq!(manifest(&published)["verdict"], "incomplete");
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_response_without_observed_use_is_closed() {
    let stage = october_is_due(|_| ()).await;
    observe(&stage, &[]).await;
    stage.simulator.faults().add(empty());
    stage.worker().wake(true).await;
    let published = stage.current(month(MONTH)).await.unwrap();
    assert_ne!(published.verdict(), Verdict::Incomplete);
    assert!(published.warnings.iter().any(|it| it == "The provider lists no VM in the month."));
}

#[tokio::test(flavor = "multi_thread")]
async fn vms_without_two_polls_in_use_do_not_block() {
    let stage = october_is_due(|_| ()).await;
    let other = [
        ("created", "created"),
        ("deleting", "deleting"),
        ("failed", "failed"),
        ("odd", "a new status"),
        ("provisioning", "provisioning"),
        ("starting", "starting"),
    ];
    let once = [&other[..], &[("once", "running")]].concat();
    stage.poll("2026-10-15T12:00:00Z", &other).await;
    stage.poll("2026-10-15T12:01:00Z", &once).await;
    stage.poll("2026-10-15T12:02:00Z", &other).await;
    // At the borders of the month clocks decide.
    stage.poll("2026-10-31T23:58:00Z", &[("late", "running")]).await;
    stage.poll("2026-10-31T23:59:00Z", &[("late", "running")]).await;
    stage.worker().wake(true).await;
    assert_eq!((stage.metric(DUE), stage.metric(INCOMPLETE)), (Some(0.0), Some(0.0)));
    let published = stage.current(month(MONTH)).await.unwrap();
    let manifest = manifest(&published);
    assert_eq!(observed_list(&manifest, "only_observed"), [""; 0]);
    let expected = ["created", "deleting", "failed", "odd", "once", "provisioning", "starting"];
    assert_eq!(observed_list(&manifest, "only_observed_other"), expected);
    let warning = texts(&manifest["warnings"]).into_iter().find(|it| it.contains("lacks 7 VMs")).unwrap();
    assert!(warning.contains(&expected.join(", ")), "{warning}");
    assert_eq!((&manifest["verdict"], published.verdict()), (&json!("agrees"), Verdict::Agrees));
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_after_a_release_are_a_difference_and_do_not_block() {
    let stage = october_is_due(|_| ()).await;
    let response = stage.monthly(month(MONTH));
    let released = response["vms"].as_array().unwrap().iter().find(|row| {
        let at = row["released_at"].as_str().unwrap_or_default();
        ("2026-10-05".."2026-10-25").contains(&at)
    });
    let (id, at) = (released.unwrap()["vm_id"].as_str().unwrap(), &released.unwrap()["released_at"]);
    let at: jiff::Timestamp = at.as_str().unwrap().parse().unwrap();
    for minute in [1, 5, 6] {
        let poll = at + jiff::SignedDuration::from_mins(minute);
        stage.poll(&poll.to_string(), &[(id, "running")]).await;
    }
    stage.worker().wake(true).await;
    let published = stage.current(month(MONTH)).await.unwrap();
    let manifest = manifest(&published);
    assert_eq!(manifest["reconciliation"]["observations"]["releases_differ"][0]["vm_id"], id);
    let warning = format!(
        "releases_differ on 1 VMs: polls contradict the time at which the provider ends them ({id})."
    );
    assert!(texts(&manifest["warnings"]).contains(&&*warning), "{}", manifest["warnings"]);
    assert_eq!((&manifest["verdict"], published.verdict()), (&json!("differs"), Verdict::Differs));
    assert_eq!(stage.index(month(MONTH))["verdict"], "differs");
    let flagged = rows(&text(&published, "_by-vm.csv"));
    let flagged = flagged.iter().filter(|row| row["flags"].split(';').any(|flag| flag == "releases_differ"));
    assert_eq!(flagged.map(|row| &*row["vm_id"]).collect::<Vec<_>>(), [id]);
    assert_eq!(rows(&text(&published, "_control.csv")).last().unwrap()["vms_observed_only"], "0");
    assert_eq!(published.verdict_in_words(), "Differs: 1 VMs released at a time that polls contradict.");
}

#[tokio::test(flavor = "multi_thread")]
async fn incomplete_month_is_tried_hourly_and_after_a_day_every_6_h() {
    let stage = october_is_due(|_| ()).await;
    let ids = listed(&stage);
    observe(&stage, &[(&ids[0], "running"), (&ids[1], "stopped")]).await;
    stage.simulator.faults().add(without(&[&ids[0], &ids[1]]));
    let mut worker = stage.worker();
    let half_hour = Duration::from_mins(30);
    let (mut attempts, mut failures) = (Vec::new(), 0.0);
    for half_hours in 0..100 {
        // The schedule does not shorten the pause of 6 h.
        worker.wake(half_hours == 52).await;
        let now = stage.metric(INCOMPLETE).unwrap();
        assert!(now - failures <= 1.0, "one attempt per wake");
        if now > failures {
            attempts.push(f64::from(half_hours) / 2.0);
        }
        failures = now;
        stage.hand.pass(half_hour);
    }
    let hourly: Vec<f64> = (3..=23).map(|hour| f64::from(hour) + 0.5).collect();
    let expected = [&[0.0, 0.5, 1.0, 1.5, 2.0, 2.5][..], &hourly, &[24.5, 30.5, 36.5, 42.5, 48.5]].concat();
    assert_eq!(attempts, expected);
    // With the next attempt after the correction it is closed.
    stage.simulator.faults().clear();
    for _ in 0..12 {
        worker.wake(false).await;
        stage.hand.pass(half_hour);
    }
    assert_eq!((stage.metric(DUE), stage.metric(INCOMPLETE)), (Some(0.0), Some(failures)));
    let published = stage.current(month(MONTH)).await.unwrap();
    assert_eq!(manifest(&published)["accepted_incomplete"], Value::Null);
    assert_ne!(published.verdict(), Verdict::Incomplete);
}

#[tokio::test(flavor = "multi_thread")]
async fn accepted_month_states_it_everywhere() {
    let stage = october_is_due(|_| ()).await;
    let ids = listed(&stage);
    observe(&stage, &[(&ids[0], "running"), (&ids[1], "stopped")]).await;
    stage.simulator.faults().add(without(&[&ids[0], &ids[1]]));
    let mut worker = stage.worker();
    worker.wake(true).await;
    assert_eq!(stage.metric(DUE), Some(1.0));
    let published = written(stage.closer().close(month(MONTH), &accepting("moved away")).await.unwrap());
    let manifest = manifest(&published);
    for (key, expected) in
        [("status", "final"), ("verdict", "incomplete"), ("reason", "moved away"), ("source", "api")]
    {
        assert_eq!(manifest[key], expected, "{key}");
    }
    assert_eq!(manifest["accepted_incomplete"], "moved away");
    let mut missing = [ids[0].clone(), ids[1].clone()];
    missing.sort();
    assert_eq!(observed_list(&manifest, "only_observed"), missing);
    let warning = texts(&manifest["warnings"]).into_iter().find(|it| it.starts_with("Incomplete:")).unwrap();
    for part in ["lacks 2 VMs", &missing.join(", "), "Accepted: moved away."] {
        assert!(warning.contains(part), "{part}: {warning}");
    }
    assert_eq!(
        published.verdict_in_words(),
        "Incomplete: the response lacks 2 VMs that polls observed. Accepted: moved away."
    );
    let control = rows(&text(&published, "_control.csv"));
    for row in &control {
        let expected = if row["scope"] == "total" { "2" } else { "" };
        assert_eq!(row["vms_observed_only"], expected, "{row:?}");
    }
    let index = stage.index(month(MONTH));
    assert_eq!((&*index["verdict"], &*index["reason"]), ("incomplete", "moved away"));
    // The daemon shows what another process closed, and tries no more.
    worker.wake(false).await;
    assert_eq!(stage.metric(DUE), Some(0.0));
    let shown = stage.store.view().tenants[TENANT].reports.clone().unwrap();
    let shown = &shown.reports[0].published;
    assert_eq!((shown.verdict(), shown.reason.as_deref()), (Verdict::Incomplete, Some("moved away")));
    let differences =
        "flexvm_exporter_report_difference_vms{kind=\"only_observed\",month=\"2026-10\",tenant=\"k12345\"}";
    assert_eq!(stage.metric(differences), Some(2.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn accepted_terms_do_not_mark_a_complete_response() {
    let stage = october_is_due(|_| ()).await;
    let ids = listed(&stage);
    observe(&stage, &[(&ids[0], "running")]).await;
    let published = written(stage.closer().close(month(MONTH), &accepting("just in case")).await.unwrap());
    assert_eq!(manifest(&published)["accepted_incomplete"], Value::Null);
    assert_eq!(manifest(&published)["reason"], "just in case");
    assert_ne!(published.verdict(), Verdict::Incomplete);
}

#[tokio::test(flavor = "multi_thread")]
async fn completeness_warn_closes_and_states_it() {
    let stage = october_is_due(|config| config.report.completeness = Completeness::Warn).await;
    observe(&stage, &[("vm-1", "paused")]).await;
    stage.worker().wake(true).await;
    let published = stage.current(month(MONTH)).await.unwrap();
    assert_eq!(published.verdict(), Verdict::Incomplete);
    let manifest = manifest(&published);
    assert_eq!((&manifest["verdict"], &manifest["status"]), (&json!("incomplete"), &json!("final")));
    assert_eq!(manifest["accepted_incomplete"], "report.completeness: warn");
    let warning = texts(&manifest["warnings"]).into_iter().find(|it| it.starts_with("Incomplete:")).unwrap();
    assert!(
        warning.contains("(vm-1)") && warning.ends_with("Accepted: report.completeness: warn."),
        "{warning}"
    );
    assert_eq!(stage.metric(INCOMPLETE), Some(0.0));
    let index = stage.index(month(MONTH));
    assert_eq!((&*index["verdict"], &*index["reason"]), ("incomplete", "report.completeness: warn"));
    let control = rows(&text(&published, "_control.csv"));
    assert_eq!(control.last().unwrap()["vms_observed_only"], "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_that_close_nothing_show_missing_vms() {
    let stage = october_is_due(|_| ()).await;
    observe(&stage, &[("vm-1", "running")]).await;
    let dry = stage.closer().dry_run(month(MONTH), &terms()).await.unwrap();
    assert!(dry.warnings.iter().any(|it| it.contains("lacks 1 VMs") && it.contains("(vm-1)")));
    let out = stage.config.report.directory.with_file_name("copy");
    let copy = stage.closer().copy(month(MONTH), out).await.unwrap();
    assert_eq!(manifest(&copy)["verdict"], "incomplete");
    assert_eq!(
        copy.verdict_in_words(),
        "Incomplete: the response lacks 1 VMs that polls observed.",
        "nothing was accepted"
    );
    assert!(stage.files().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn restatement_from_an_incomplete_response_needs_acceptance() {
    let stage = october_is_due(|_| ()).await;
    let ids = listed(&stage);
    observe(&stage, &[(&ids[0], "running")]).await;
    let closer = stage.closer();
    closer.close(month(MONTH), &terms()).await.unwrap();
    let files = stage.files();
    stage.simulator.faults().add(without(&[&ids[0]]));
    let error = closer.restate(month(MONTH), &forced("a correction")).await.unwrap_err();
    assert_eq!(error.reason().as_str(), "incomplete");
    assert!(error.to_string().contains(&ids[0]), "{error}");
    assert_eq!(stage.files(), files);
    let second = written(closer.restate(month(MONTH), &accepting("it never ran")).await.unwrap());
    let second = manifest(&second);
    assert_eq!((&second["revision"], &second["verdict"]), (&json!(2), &json!("incomplete")));
    assert_eq!(second["accepted_incomplete"], "it never ran");
    // A complete response makes the next revision whole again.
    stage.simulator.faults().clear();
    let reason = CloseOptions { reason: Some("the VM is back".to_owned()), ..terms() };
    let third = written(closer.restate(month(MONTH), &reason).await.unwrap());
    assert_eq!((third.revision, third.verdict()), (3, Verdict::Agrees));
    assert_eq!(manifest(&third)["accepted_incomplete"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn saved_response_is_checked_like_a_response() {
    let stage = october_is_due(|_| ()).await;
    let ids = listed(&stage);
    observe(&stage, &[(&ids[0], "running")]).await;
    let whole = stage.monthly(month(MONTH));
    let mut lacking = whole.clone();
    lacking["vms"].as_array_mut().unwrap().retain(|row| row["vm_id"] != *ids[0]);
    let closer = stage.closer();
    for (name, response, reason, word) in [
        ("september.json", &stage.monthly(month("2026-09")), "period", "2026-09-01T00:00:00Z"),
        ("lacking.json", &lacking, "incomplete", &*ids[0]),
        ("damaged.json", &json!({"period": 1}), "storage", "damaged.json is damaged"),
    ] {
        let error = closer.close(month(MONTH), &from_file(save(&stage, name, response))).await.unwrap_err();
        assert_eq!(error.reason().as_str(), reason, "{name}: {error}");
        assert!(error.to_string().contains(word), "{name}: {error}");
    }
    let missing = stage.config.report.directory.with_file_name("missing.json");
    let error = closer.close(month(MONTH), &from_file(missing)).await.unwrap_err();
    assert!(error.to_string().contains("missing.json"), "{error}");
    assert!(stage.files().is_empty());
    // The saved response is closed, and not the current one of the API.
    stage.simulator.faults().add(empty());
    let before = stage.simulator.requests().get(&Operation::Monthly).copied();
    let file = save(&stage, "whole.json", &whole);
    let published = written(closer.close(month(MONTH), &from_file(file.clone())).await.unwrap());
    assert_eq!(stage.simulator.requests().get(&Operation::Monthly).copied(), before);
    assert_eq!(published.totals.vms, whole["vms"].as_array().unwrap().len() as u64);
    let of_file = manifest(&published);
    assert_eq!((&of_file["source"], &of_file["reason"]), (&json!("file"), &json!("saved")));
    let note = "The provider's response was read from a file at 2026-11-01T01:00:00Z.";
    assert!(texts(&of_file["warnings"]).contains(&note), "{}", of_file["warnings"]);
    let saved = published.files.iter().find(|it| it.to_string_lossy().ends_with("provider-report.json"));
    assert_eq!(fs::read(saved.unwrap()).unwrap(), fs::read(file).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn saved_response_restates_without_the_api() {
    let stage = october_is_due(|_| ()).await;
    let closer = stage.closer();
    let first = written(closer.close(month(MONTH), &terms()).await.unwrap());
    let whole = stage.monthly(month(MONTH));
    stage.simulator.faults().add(Fault::status(503));
    let same = from_file(save(&stage, "same.json", &whole));
    let error = closer.restate(month(MONTH), &same).await.unwrap_err();
    assert!(error.to_string().contains("nothing that counts differs"), "{error}");
    let mut corrected = whole.clone();
    corrected["vms"][0]["vm_hours"] = (whole["vms"][0]["vm_hours"].as_u64().unwrap() + 5).into();
    let corrected = from_file(save(&stage, "corrected.json", &corrected));
    let second = written(closer.restate(month(MONTH), &corrected).await.unwrap());
    assert_eq!(second.totals.vm_hours, first.totals.vm_hours + 5);
    let manifest = manifest(&second);
    assert_eq!((&manifest["source"], &manifest["supersedes"]), (&json!("file"), &json!(1)));
    let note = texts(&manifest["warnings"]).into_iter().find(|it| it.contains("no lists of clouds")).unwrap();
    assert!(note.contains("503"), "{note}");
    // Names and sizes are frozen: the lists are not needed.
    assert_eq!(second.totals.vcpu_hours, first.totals.vcpu_hours);
    let names = |published: &Published| {
        rows(&text(published, "_control.csv")).into_iter().map(|row| row["cloud"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&second), names(&first));
}

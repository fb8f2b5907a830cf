//! A closed month stays closed: it is compared, flagged, and only restated when somebody says so.

use std::fs;

use flexvm_exporter::config::Restate;
use flexvm_exporter::report::Outcome;
use flexvm_exporter::simulator::{Fault, Operation, Simulator};

use crate::support::{Stage, because, forced, month, terms};

const CHANGED: &str =
    "flexvm_exporter_report_changed_seconds{month=\"2026-10\",scope=\"vms\",tenant=\"k12345\"}";
const OPEN: &str = "flexvm_exporter_report_open_differences{tenant=\"k12345\"}";

/// The provider takes the first VM's tags away and books two hours more on the second.
fn correction() -> Fault {
    Fault::edit(|report| {
        report["vms"][0]["tags"] = serde_json::json!([]);
        let hours = report["vms"][1]["vm_hours"].as_u64().unwrap();
        report["vms"][1]["vm_hours"] = (hours + 2).into();
        // Statuses drift; that is no change.
        report["vms"][2]["status"] = "failed".into();
    })
    .on(Operation::Monthly)
}

/// Deletes all running VMs; how many.
fn delete_running_vms(simulator: &Simulator) -> usize {
    let call = |method: &str, path: &str| {
        let answer = simulator.call(method, &format!("/v3/flexVM/{path}"), Some("start=0,results=100"), "");
        assert!(answer.status < 300, "{method} {path}: {}", answer.status);
        serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap_or_default()
    };
    let ids = |list: serde_json::Value| {
        let ids = list.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    let mut deleted = 0;
    for cloud in ids(call("GET", "clouds")) {
        for vm in ids(call("GET", &format!("clouds/{cloud}/vms?status=running"))) {
            call("DELETE", &format!("clouds/{cloud}/vms/{vm}"));
            deleted += 1;
        }
    }
    deleted
}

fn cells(text: &str) -> Vec<Vec<String>> {
    let mut csv = csv::Reader::from_reader(text.as_bytes());
    csv.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_flagged_and_changes_nothing() {
    let stage = Stage::with("2026-11-01T01:00:00Z", |config| config.report.backfill = 1).await;
    let mut worker = stage.worker();
    worker.wake(true).await;
    let files = stage.files();
    assert_eq!(stage.metric(CHANGED), None, "not compared yet");
    // What becomes of VMs after the month is no change of it.
    assert!(delete_running_vms(&stage.simulator) > 5);
    stage.hand.set("2026-11-02T01:00:01Z");
    worker.wake(false).await;
    assert_eq!(stage.metric(CHANGED), Some(0.0));
    stage.simulator.faults().add(correction());
    stage.hand.set("2026-11-02T20:00:00Z");
    worker.wake(false).await;
    assert_eq!(stage.metric(CHANGED), Some(0.0), "compared daily, not with every wake");
    stage.hand.set("2026-11-03T01:00:02Z");
    worker.wake(false).await;
    assert!(stage.metric(CHANGED) >= Some(7200.0), "{:?}", stage.metric(CHANGED));
    assert_eq!(stage.metric(OPEN), Some(0.0), "one reading opens nothing");
    stage.hand.set("2026-11-03T07:00:01Z");
    worker.wake(false).await;
    assert_eq!(stage.metric(OPEN), Some(0.0), "less than 6 h apart");
    stage.hand.set("2026-11-03T07:00:02Z");
    worker.wake(false).await;
    assert_eq!(stage.metric(OPEN), Some(1.0));
    // Only the index shows it; the month's own files never change.
    let closed = |mut files: std::collections::BTreeMap<std::path::PathBuf, Vec<u8>>| {
        files.retain(|path, _| !path.ends_with("index.csv"));
        files
    };
    assert_eq!(closed(stage.files()), closed(files));
    // Another process knows of it.
    worker = stage.worker();
    worker.wake(false).await;
    assert_eq!(stage.metric(OPEN), Some(1.0));
    // A failed comparison keeps what was found.
    stage.simulator.faults().add(Fault::status(500));
    stage.hand.set("2026-11-04T07:00:03Z");
    worker.wake(false).await;
    assert!(stage.metric(CHANGED) >= Some(7200.0));
    let failures = "flexvm_exporter_report_comparison_failures_total{reason=\"server\",tenant=\"k12345\"}";
    assert_eq!(stage.metric(failures), Some(1.0));
    let to_close = "flexvm_exporter_report_failures_total{reason=\"server\",tenant=\"k12345\"}";
    assert_eq!(stage.metric(to_close), Some(0.0), "nothing failed to close");
    // A later comparison that finds none closes the difference.
    stage.simulator.faults().clear();
    worker = stage.worker();
    worker.wake(false).await;
    assert_eq!((stage.metric(CHANGED), stage.metric(OPEN)), (Some(0.0), Some(0.0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn restating_writes_the_next_revision_with_what_changed() {
    let stage = Stage::new("2026-11-05T10:00:00Z").await;
    let closer = stage.closer();
    let error = closer.restate(month("2026-10"), &forced("too early")).await.unwrap_err();
    assert!(error.to_string().contains("not closed"), "{error}");
    let first = closer.close(month("2026-10"), &terms()).await.unwrap();
    let before = stage.files();
    stage.simulator.faults().add(correction());
    let dry = closer.dry_restatement(month("2026-10"), &forced("a look")).await.unwrap();
    assert_eq!(dry.changed.vms.len(), 2);
    assert_eq!(dry.after.totals.vm_hours, dry.before.totals.vm_hours + 2);
    assert_eq!(stage.files(), before, "a dry run writes nothing");

    let Outcome::Written(second) =
        closer.restate(month("2026-10"), &forced("two hours, a tag")).await.unwrap()
    else {
        panic!("not written")
    };
    assert_eq!(second.revision, 2);
    assert_eq!(second.totals.vm_hours, first.published().totals.vm_hours + 2);
    let after = stage.files();
    for (path, bytes) in before.iter().filter(|(path, _)| !path.ends_with("index.csv")) {
        assert_eq!(after.get(path), Some(bytes), "{}", path.display());
    }
    let manifest =
        second.files.iter().find(|file| file.to_string_lossy().ends_with("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(manifest).unwrap()).unwrap();
    assert_eq!((&manifest["supersedes"], &manifest["reason"]), (&1.into(), &"two hours, a tag".into()));
    let listed = manifest["files"].as_array().unwrap().iter();
    assert!(listed.filter_map(|file| file["name"].as_str()).any(|name| name.ends_with("_r02_changes.csv")));
    let changes = second.files.iter().find(|file| file.to_string_lossy().ends_with("_changes.csv")).unwrap();
    let rows = cells(&fs::read_to_string(changes).unwrap());
    let of_vms: std::collections::BTreeSet<&str> =
        rows.iter().filter(|row| row[5] == "vm").map(|row| row[6].as_str()).collect();
    assert_eq!(of_vms, dry.changed.vms.iter().map(|id| &**id).collect());
    assert!(rows.iter().any(|row| row[5] == "group"));
    let hours = rows.iter().find(|row| row[5] == "vm" && row[8] == "vm_hours").unwrap();
    assert_eq!(hours[10].parse::<u64>().unwrap(), hours[9].parse::<u64>().unwrap() + 2);
    let index = fs::read_to_string(stage.reports().join("index.csv")).unwrap();
    assert!(index.contains("2026-10/r02/") && !index.contains("2026-10/r01"), "{index}");
    second.verify().unwrap();
    assert!(
        matches!(closer.close(month("2026-10"), &terms()).await.unwrap(), Outcome::Already(it) if it.revision == 2)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn restate_auto_follows_the_provider_and_nothing_else() {
    let mut stage = Stage::with("2026-11-01T01:00:00Z", |config| {
        config.report.backfill = 1;
        config.report.restate = Restate::Auto;
    })
    .await;
    stage.worker().wake(true).await;
    stage.simulator.faults().add(correction());
    // Grouping changed since; a correction of the provider's is no occasion to regroup.
    stage.configured(|config| {
        let mut tenant = (*config.tenants[0]).clone();
        tenant.group_by = vec!["project".to_owned()];
        config.tenants = vec![tenant.into()];
    });
    stage.hand.set("2026-11-02T01:00:01Z");
    stage.worker().wake(false).await;
    let current = stage.closer().closed(month("2026-10")).await.unwrap().unwrap();
    assert_eq!(current.revision, 1, "one reading restates nothing");
    stage.hand.set("2026-11-02T07:00:01Z");
    stage.worker().wake(false).await;
    let published = stage.closer().closed(month("2026-10")).await.unwrap().unwrap();
    assert_eq!(published.revision, 2);
    let group = published.files.iter().find(|file| file.to_string_lossy().ends_with("by-group.csv")).unwrap();
    assert!(fs::read_to_string(group).unwrap().lines().next().unwrap().contains(",\"tags\","));
    assert_eq!(stage.metric(CHANGED), Some(0.0));
    let revision = stage.store.view().tenants["k12345"].closed[0].revision;
    assert_eq!(revision, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_text_of_another_vm_does_not_change_a_tag() {
    let stage = Stage::with("2026-11-01T01:00:00Z", |config| config.report.backfill = 1).await;
    let october = month("2026-10");
    let respond = |tag: &str, name: &str| {
        let mut report = stage.monthly(october);
        report["vms"][0]["tags"] = serde_json::json!(["team:a<unit>"]);
        report["vms"][1]["name"] = "n<name>".into();
        let body = report.to_string().replace("<unit>", tag).replace("<name>", name);
        stage.simulator.faults().clear();
        stage.simulator.faults().add(Fault::body(200, "application/json", body).on(Operation::Monthly));
    };
    respond("\\ud800", "");
    stage.closer().close(october, &terms()).await.unwrap();
    // The body has two different units now, so the texts of the tag and the name get marks.
    respond("\\ud800", "\\udc01");
    let error = stage.closer().restate(october, &because("a name")).await.unwrap_err();
    assert!(error.to_string().contains("nothing that counts differs"), "{error}");
    // Both bodies have one unit, which is read as U+FFFD without a mark.
    respond("\\ud801", "");
    let dry = stage.closer().dry_restatement(october, &because("a tag")).await.unwrap();
    assert_eq!(dry.changed.vms.len(), 1);
}

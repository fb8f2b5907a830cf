//! What a restatement keeps: names, sizes, observed seconds and what polls knew, also without the
//! ledger.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flexvm_exporter::close::CloseOptions;
use flexvm_exporter::config::{Config, Prices, Restate};
use flexvm_exporter::report::{Outcome, Published, Verdict};
use flexvm_exporter::simulator::{Fault, Operation};
use serde_json::{Value, json};

use crate::support::{Stage, TENANT, forced, manifest, month, rows, terms, text, texts};

const MONTH: &str = "2026-10";
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
/// Seconds in an hour.
const HOUR_SECONDS: u64 = 3600;
/// Columns of observed seconds.
const OBSERVED: [&str; 4] = ["running_seconds", "stopped_seconds", "failed_seconds", "other_seconds"];

/// Ids of VMs that live through October.
struct Vms {
    first: String,
    second: String,
    third: String,
}

/// A tenant whose October is due. On October 15 polls saw the first VM for an hour each running,
/// stopped, failed and provisioning from 12:00 on, and running at 16:00; the second one running.
async fn october_was_observed(change: impl FnOnce(&mut Config)) -> (Stage, Vms) {
    let stage = Stage::with("2026-11-01T01:00:00Z", |config| {
        config.report.backfill = 1;
        change(config);
    })
    .await;
    let response = stage.monthly(month(MONTH));
    let mut through = response["vms"].as_array().unwrap().iter().filter(|row| {
        row["created_at"].as_str().unwrap() < "2026-10-01" && row["released_at"] == Value::Null
    });
    let mut id = || through.next().unwrap()["vm_id"].as_str().unwrap().to_owned();
    let vms = Vms { first: id(), second: id(), third: id() };
    for (hour, status) in
        [(12, "running"), (13, "stopped"), (14, "failed"), (15, "provisioning"), (16, "running")]
    {
        let seen = [(&*vms.first, status), (&*vms.second, "running")];
        stage.poll(&format!("2026-10-15T{hour}:00:00Z"), &seen).await;
    }
    (stage, vms)
}

fn edit(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Fault {
    Fault::edit(change).on(Operation::Monthly)
}

/// The provider gives a VM these times.
fn lives(id: &str, created: &'static str, released: &'static str) -> Fault {
    let id = id.to_owned();
    edit(move |report| {
        let row = report["vms"].as_array_mut().unwrap().iter_mut().find(|row| row["vm_id"] == *id);
        let row = row.unwrap();
        row["created_at"] = created.into();
        row["released_at"] = released.into();
    })
}

/// The provider omits a VM.
fn without(id: &str) -> Fault {
    let id = id.to_owned();
    edit(move |report| report["vms"].as_array_mut().unwrap().retain(|row| row["vm_id"] != *id))
}

async fn close(stage: &Stage) -> Published {
    stage.closer().close(month(MONTH), &terms()).await.unwrap().published().clone()
}

async fn restate(stage: &Stage, options: &CloseOptions) -> Published {
    match stage.closer().restate(month(MONTH), options).await.unwrap() {
        Outcome::Written(published) => published,
        Outcome::Already(_) => panic!("not written"),
    }
}

/// The rows per VM, by id, without the columns that name the revision.
fn by_vm(published: &Published) -> BTreeMap<String, BTreeMap<String, String>> {
    let rows = rows(&text(published, "_by-vm.csv")).into_iter().map(|mut row| {
        row.remove("revision");
        // It drifts.
        row.remove("status_at_fetch");
        (row["vm_id"].clone(), row)
    });
    rows.collect()
}

/// The observed seconds of a VM.
fn observed(published: &Published, id: &str) -> [u64; 4] {
    let rows = by_vm(published);
    OBSERVED.map(|column| rows[id][column].parse().unwrap())
}

fn warns(published: &Published, part: &str) -> bool {
    texts(&manifest(published)["warnings"]).iter().any(|it| it.contains(part))
}

#[expect(clippy::unnecessary_wraps, reason = "the type of the configuration's field")]
fn priced(vm_hour: &[(&str, i64)]) -> Option<Arc<Prices>> {
    let rate = |(name, cents): &(&str, i64)| {
        ((*name).to_owned(), vec![(None, rust_decimal::Decimal::new(*cents, 2))])
    };
    Some(Arc::new(Prices { currency: "EUR".to_owned(), vm_hour: vm_hour.iter().map(rate).collect() }))
}

fn tenant(config: &mut Config, change: impl FnOnce(&mut flexvm_exporter::config::Tenant)) {
    let mut tenant = (*config.tenants[0]).clone();
    change(&mut tenant);
    config.tenants = vec![tenant.into()];
}

/// The most common instance type of the closed month.
fn common_type(published: &Published) -> String {
    let mut counts = BTreeMap::<String, usize>::new();
    for row in by_vm(published).into_values() {
        *counts.entry(row["instance_type"].clone()).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_life_is_recomputed_from_the_ledger() {
    let (stage, vms) = october_was_observed(|_| ()).await;
    let first = close(&stage).await;
    let hour = HOUR_SECONDS;
    assert_eq!(observed(&first, &vms.first), [hour, hour, hour, hour]);
    assert_eq!(observed(&first, &vms.second), [4 * hour, 0, 0, 0]);
    stage.simulator.faults().add(lives(&vms.first, "2026-10-15T12:30:00Z", "2026-10-15T14:30:00Z"));
    let second = restate(&stage, &forced("other times")).await;
    assert_eq!(observed(&second, &vms.first), [hour / 2, hour, hour / 2, 0]);
    assert_eq!(observed(&second, &vms.second), [4 * hour, 0, 0, 0]);
    assert!(!warns(&second, "were cut"), "{:?}", second.warnings);
    // A life that grows again is recomputed as well.
    stage.simulator.faults().clear();
    let third = restate(&stage, &forced("the old times")).await;
    assert_eq!(by_vm(&third), by_vm(&first));
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_life_without_events_is_cut_in_order() {
    for (created, released, expected) in [
        // 2 h 30 min: other is dropped, failed is cut.
        ("2026-10-15T12:00:00Z", "2026-10-15T14:30:00Z", [3600, 3600, 1800, 0]),
        ("2026-10-15T12:00:00Z", "2026-10-15T13:15:00Z", [3600, 900, 0, 0]),
        ("2026-10-20T00:00:00Z", "2026-10-20T00:10:00Z", [600, 0, 0, 0]),
        ("2026-10-20T00:00:00Z", "2026-10-20T00:00:00Z", [0, 0, 0, 0]),
    ] {
        let (mut stage, vms) = october_was_observed(|_| ()).await;
        let first = close(&stage).await;
        stage.without_ledger();
        stage.simulator.faults().add(lives(&vms.first, created, released));
        let second = restate(&stage, &forced("other times")).await;
        assert_eq!(observed(&second, &vms.first), expected, "{released}");
        let row = &by_vm(&second)[&vms.first];
        let sum: u64 = expected.iter().sum();
        assert_eq!((&*row["unobserved_seconds"], &row["vm_seconds"]), ("0", &sum.to_string()), "{row:?}");
        assert!(
            warns(
                &second,
                "The observations of 1 VMs whose life changed are gone: their observed seconds were cut to the new life, first other, then failed, stopped and running."
            ),
            "{:?}",
            second.warnings
        );
        assert_eq!(observed(&second, &vms.second), observed(&first, &vms.second));
    }
    // A longer life keeps what was observed; the rest is unobserved, and nothing was cut.
    let (mut stage, vms) = october_was_observed(|_| ()).await;
    stage.simulator.faults().add(lives(&vms.first, "2026-10-15T12:00:00Z", "2026-10-15T16:00:00Z"));
    let first = close(&stage).await;
    stage.without_ledger();
    stage.simulator.faults().clear();
    let second = restate(&stage, &forced("it lives on")).await;
    assert_eq!(observed(&second, &vms.first), observed(&first, &vms.first));
    assert_ne!(by_vm(&second)[&vms.first]["unobserved_seconds"], "0");
    assert!(!warns(&second, "were cut"));
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_ledger_loses_no_observation() {
    let (mut stage, _) = october_was_observed(|config| tenant(config, |it| it.prices = priced(&[]))).await;
    let first = close(&stage).await;
    assert!(first.totals.running_seconds > 0);
    stage.without_ledger();
    let price = common_type(&first);
    stage.configured(|config| tenant(config, |it| it.prices = priced(&[(&price, 10)])));
    let second = restate(&stage, &CloseOptions { reason: Some("late prices".to_owned()), ..terms() }).await;
    assert_eq!(second.totals.running_seconds, first.totals.running_seconds);
    let [before, after] = [&first, &second].map(|published| {
        let cost =
            |column: &str| column.contains("cost") || ["unit_price", "currency", "flags"].contains(&column);
        let mut rows = by_vm(published);
        for row in rows.values_mut() {
            row.retain(|column, _| !cost(column));
        }
        rows
    });
    assert_eq!(before, after);
    let note = "The ledger does not have the inputs of revision 1: observed seconds, names and sizes are those of its files by-vm.csv and manifest.json.";
    assert!(warns(&second, note), "{:?}", second.warnings);
    let [one, two] = [manifest(&first), manifest(&second)];
    assert_eq!((&one["coverage"], &one["catalogue"]), (&two["coverage"], &two["catalogue"]));
    let lists = |manifest: &Value| manifest["reconciliation"]["observations"].clone();
    assert_eq!(lists(&one), lists(&two));
    // The new ledger has them from now on: the note is about the revision that was read from files.
    let third = restate(&stage, &forced("again")).await;
    assert_eq!(third.totals.running_seconds, first.totals.running_seconds);
    assert!(!warns(&third, "does not have the inputs"), "{:?}", third.warnings);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_ledger_still_knows_vms_that_were_in_use() {
    let (mut stage, vms) = october_was_observed(|config| config.report.restate = Restate::Auto).await;
    close(&stage).await;
    stage.without_ledger();
    stage.simulator.faults().add(without(&vms.second));
    let error = stage.closer().restate(month(MONTH), &forced("one less")).await.unwrap_err();
    assert_eq!(error.reason().as_str(), "incomplete");
    assert!(error.to_string().contains(&vms.second), "{error}");
    // Nor does the daemon follow it.
    let mut worker = stage.worker();
    for pause in [DAY, 6 * HOUR, DAY] {
        stage.hand.pass(pause);
        worker.wake(true).await;
    }
    assert_eq!(stage.current(month(MONTH)).await.unwrap().revision, 1);
    assert_eq!(stage.metric("flexvm_exporter_report_open_differences{tenant=\"k12345\"}"), Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn accepted_incompleteness_outlives_the_ledger() {
    let (mut stage, vms) = october_was_observed(|_| ()).await;
    stage.simulator.faults().add(without(&vms.second));
    let accepting = |reason: &str| CloseOptions {
        accept_incomplete: true,
        force: true,
        reason: Some(reason.to_owned()),
        ..terms()
    };
    let first = stage.closer().close(month(MONTH), &accepting("moved")).await.unwrap().published().clone();
    assert_eq!(first.verdict(), Verdict::Incomplete);
    stage.without_ledger();
    let error = stage.closer().restate(month(MONTH), &forced("again")).await.unwrap_err();
    assert!(error.reason().as_str() == "incomplete" && error.to_string().contains(&vms.second), "{error}");
    let second = restate(&stage, &accepting("still moved")).await;
    assert_eq!((second.revision, second.verdict()), (2, Verdict::Incomplete));
    assert_eq!(manifest(&second)["accepted_incomplete"], "still moved");
    stage.simulator.faults().clear();
    let third = restate(&stage, &forced("it is back")).await;
    assert_ne!(third.verdict(), Verdict::Incomplete);
    assert_eq!(observed(&third, &vms.second), [0, 0, 0, 0], "its events are gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn ledger_that_lost_a_part_of_the_month_changes_nothing() {
    let (stage, vms) = october_was_observed(|_| ()).await;
    stage.poll("2026-10-25T00:00:00Z", &[(&vms.second, "running")]).await;
    stage.poll("2026-10-25T01:00:00Z", &[(&vms.second, "running")]).await;
    let first = close(&stage).await;
    let ledger = stage.ledger.clone();
    let dropping = tokio::task::spawn_blocking(move || {
        ledger.drop_before(TENANT, "2026-10-20T00:00:00Z".parse().unwrap())
    });
    assert!(dropping.await.unwrap().unwrap().polls > 0);
    // Its remaining events tell only a part of its life.
    stage.simulator.faults().add(lives(&vms.second, "2026-10-01T00:00:00Z", "2026-10-31T00:00:00Z"));
    let second = restate(&stage, &forced("other times")).await;
    for id in [&vms.first, &vms.second] {
        assert_eq!(observed(&second, id), observed(&first, id));
    }
    let [one, two] = [&first, &second].map(|published| manifest(published)["coverage"]["polls"].clone());
    assert_eq!((&one, &two), (&json!(7), &json!(7)));
    // The first VM is gone from the ledger, and not from what the month knew.
    stage.simulator.faults().add(without(&vms.first));
    let error = stage.closer().restate(month(MONTH), &forced("one less")).await.unwrap_err();
    assert!(error.reason().as_str() == "incomplete" && error.to_string().contains(&vms.first), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn vm_that_one_poll_saw_in_use_may_be_removed() {
    let (stage, vms) = october_was_observed(|_| ()).await;
    let id = vms.third;
    stage.poll("2026-10-16T12:00:00Z", &[(&id, "running")]).await;
    stage.poll("2026-10-16T12:01:00Z", &[]).await;
    let first = close(&stage).await;
    assert_eq!(observed(&first, &id)[0], 60, "its one minute counts");
    stage.simulator.faults().add(without(&id));
    let second = restate(&stage, &forced("it never was")).await;
    assert_eq!(texts(&manifest(&second)["reconciliation"]["observations"]["only_observed_other"]), [id]);
    assert_ne!(second.verdict(), Verdict::Incomplete);
}

#[tokio::test(flavor = "multi_thread")]
async fn automatic_restatement_reuses_everything_frozen() {
    let (mut stage, vms) = october_was_observed(|config| {
        config.report.restate = Restate::Auto;
        config.report.excel_bom = false;
    })
    .await;
    let first = close(&stage).await;
    let type_name = common_type(&first);
    // Since then the types and clouds were deleted or changed, and so was the configuration.
    stage.simulator.faults().add(Fault::edit(|list| *list = json!([])).on(Operation::InstanceTypes));
    stage.simulator.faults().add(Fault::set("name", "renamed".into()).on(Operation::Clouds));
    stage.configured(|config| {
        config.report.excel_bom = true;
        tenant(config, |it| {
            it.prices = priced(&[(&type_name, 10)]);
            it.group_by = vec!["project".to_owned()];
        });
    });
    let changed = vms.second.clone();
    stage.simulator.faults().add(edit(move |report| {
        let row = report["vms"].as_array_mut().unwrap().iter_mut().find(|row| row["vm_id"] == *changed);
        row.unwrap()["vm_hours"] = 700.into();
    }));
    let mut worker = stage.worker();
    for pause in [DAY, 6 * HOUR] {
        stage.hand.pass(pause);
        worker.wake(true).await;
    }
    let second = stage.current(month(MONTH)).await.unwrap();
    assert_eq!(second.revision, 2);
    let (mut before, mut after) = (by_vm(&first), by_vm(&second));
    let (old, new) = (before.remove(&vms.second).unwrap(), after.remove(&vms.second).unwrap());
    assert_eq!(before, after, "names, sizes, groups and costs of unchanged VMs");
    let differ: Vec<_> = old.keys().filter(|column| old[*column] != new[*column]).collect();
    assert_eq!(differ, ["flags", "vm_hours"]);
    let [one, two] = [manifest(&first), manifest(&second)];
    for key in ["catalogue", "grouping", "tag_rules", "prices", "excel_bom"] {
        assert_eq!(one[key], two[key], "{key}");
    }
    assert_eq!(two["configuration_changes"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn restatement_applies_the_configuration_and_names_each_key() {
    let (mut stage, _) = october_was_observed(|config| {
        tenant(config, |it| it.prices = priced(&[("kept", 7), ("gone", 5)]));
    })
    .await;
    let first = close(&stage).await;
    let type_name = common_type(&first);
    stage.simulator.faults().add(Fault::set("vcpu", 1.into()).on(Operation::InstanceTypes));
    stage.simulator.faults().add(Fault::set("name", "renamed".into()).on(Operation::Clouds));
    stage.configured(|config| {
        config.report.excel_bom = true;
        config.report.tag_rules = vec![flexvm_exporter::config::TagRule {
            key: "project".to_owned(),
            trim: true,
            ..flexvm_exporter::config::TagRule::default()
        }];
        tenant(config, |it| {
            it.prices = priced(&[("kept", 7), (&type_name, 12)]);
            it.group_by = vec!["project".to_owned(), "env".to_owned()];
        });
    });
    let reason = CloseOptions { reason: Some("new prices".to_owned()), ..terms() };
    let dry = stage.closer().dry_restatement(month(MONTH), &reason).await.unwrap();
    let second = restate(&stage, &reason).await;
    let manifest = manifest(&second);
    let expected = [
        "report.group_by (exact tag set -> project, env)",
        "report.tag_rules",
        "prices.vm_hour.gone (0.05 -> none)",
        &format!("prices.vm_hour.{type_name} (none -> 0.12)"),
        "report.excel_bom",
    ];
    assert_eq!(texts(&manifest["configuration_changes"]), expected);
    assert_eq!(dry.configuration_changes, expected);
    assert!(second.totals.internal_cost > first.totals.internal_cost);
    // Sizes, names and observed seconds stay.
    assert_eq!(second.totals.vcpu_hours, first.totals.vcpu_hours);
    assert_eq!(second.totals.running_seconds, first.totals.running_seconds);
    let [before, after] = [&first, &second].map(|published| {
        by_vm(published)
            .into_values()
            .map(|row| (row["cloud"].clone(), row["vcpus"].clone()))
            .collect::<Vec<_>>()
    });
    assert_eq!(before, after);
    // The same configuration once more is no difference.
    let error = stage.closer().restate(month(MONTH), &reason).await.unwrap_err();
    assert!(error.to_string().contains("nothing that counts differs from revision 2"), "{error}");
}

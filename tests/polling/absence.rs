//! Tests for clouds, nodes and VMs that lists lack: objects that the API returns by id, and deleted
//! objects.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flexvm_exporter::ledger::Ledger;
use flexvm_exporter::observe::Seen;
use flexvm_exporter::period::Month;
use flexvm_exporter::simulator::{Fault, FaultKind, NamedFault, Operation};
use jiff::Timestamp;

use crate::rig::{Rig, failures, lines, running_from, success, value, vm_ids};

const DAY: Duration = Duration::from_hours(24);

/// Series that must not change while a list contradicts requests by id.
const FLEET: [&str; 6] = [
    "flexvm_cloud_info{",
    "flexvm_cloud_vms{",
    "flexvm_cloud_nodes{",
    "flexvm_node_info{",
    "flexvm_vm_info{",
    "flexvm_cloud_deleted_vms{",
];

/// Hides an object from the lists of an operation.
fn hide(id: &str, operation: Operation) -> Fault {
    let id = id.to_owned();
    Fault::edit(move |list| {
        if let Some(rows) = list.as_array_mut() {
            rows.retain(|row| row["id"] != id.as_str());
        }
    })
    .on(operation)
}

/// Lists that contain nothing.
fn empty(operation: Operation) -> Fault {
    Fault::body(200, "application/json", "[]").on(operation)
}

fn defects(text: &str, endpoint: &str) -> f64 {
    let series = "flexvm_exporter_api_defects";
    let endpoint = format!("{series}{{endpoint=\"{endpoint}\",field=\"id\",tenant=\"one\"}}");
    value(text, &endpoint).unwrap_or_default()
}

/// Returns the values of a label of a family.
fn labels(text: &str, family: &str, label: &str) -> Vec<String> {
    let of = |line: &str| {
        line.split_once(&format!("{label}=\"")).map(|(_, rest)| rest.split('"').next().unwrap().to_owned())
    };
    lines(text, &[family]).into_iter().filter_map(of).collect()
}

fn clouds(text: &str) -> Vec<String> {
    labels(text, "flexvm_cloud_info{", "cloud_id")
}

fn nodes(text: &str) -> Vec<String> {
    labels(text, "flexvm_node_info{", "node_id")
}

async fn rig() -> Rig {
    Rig::with(|config| config.poll.deleted_vms = Duration::from_millis(100)).await
}

/// Waits until all clouds, nodes and VMs are served.
async fn well(rig: &Rig) -> String {
    rig.well().await;
    rig.until("deleted VMs", |text| FLEET.iter().all(|family| text.contains(family))).await
}

/// Waits for several complete polls of the inventory.
async fn polls(rig: &Rig) -> String {
    let polls = || rig.simulator.requests().get(&Operation::Clouds).copied().unwrap_or_default();
    let from = polls();
    rig.until("polls", |text| polls() > from + 8 && success(text, "inventory") == Some(1.0)).await
}

/// The number of targets in `/sd/vms`.
async fn targets(rig: &Rig) -> usize {
    let (status, list) = rig.get("/sd/vms").await;
    assert_eq!(status, 200);
    list.matches("__meta_flexvm_vm_id").count()
}

/// Asserts that the ledger has recorded each VM as seen once, and no VM as lost.
fn assert_seen_once(rig: &Rig) {
    let month = "2026-10".parse::<Month>().unwrap().period();
    let ledger = Ledger::read_only(&rig.config.ledger.path);
    let observations = ledger.observations("one", month, Timestamp::MAX).unwrap();
    assert_eq!(observations.histories.len(), 60);
    for (vm, history) in observations.histories {
        assert!(history.iter().all(|(_, seen)| matches!(seen, Seen::As(_))), "{vm}: {history:?}");
        assert_eq!(history.len(), 1, "{vm}: {history:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clouds_that_no_list_contains_are_requested_by_id() {
    let rig = rig().await;
    let good = well(&rig).await;
    let (fleet, running) = (lines(&good, &FLEET), targets(&rig).await);
    let faults = rig.simulator.faults();
    let hidden = &clouds(&good)[0];
    for (lists, missing) in [
        (vec![hide(hidden, Operation::Clouds), hide(hidden, Operation::CloudCapacity)], 1.0),
        (vec![empty(Operation::Clouds), empty(Operation::CloudCapacity)], 2.0),
    ] {
        for list in lists {
            faults.add(list);
        }
        let is_counted =
            |text: &str| defects(text, "clouds") >= missing && defects(text, "cloud_capacity") >= missing;
        rig.until("the contradictions to be counted", is_counted).await;
        let text = polls(&rig).await;
        assert_eq!(lines(&text, &FLEET), fleet);
        assert_eq!(targets(&rig).await, running);
        // The requests by id do not show whether the clouds exist, but their lists do.
        faults.add(Fault::status(500).on(Operation::Cloud).times(4));
        faults.add(Fault::html(404).on(Operation::Cloud).after(4));
        let text = polls(&rig).await;
        assert_eq!(lines(&text, &FLEET), fleet);
        assert_eq!(targets(&rig).await, running);
        faults.clear();
        rig.until("no contradiction", |text| defects(text, "clouds") < 1.0).await;
    }
    assert_seen_once(&rig);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_fails_if_the_lists_of_an_unlisted_cloud_fail() {
    let rig = Rig::new().await;
    let ids = vm_ids(&rig.well().await);
    let faults = rig.simulator.faults();
    for (by_id, list, reason) in [
        (None, Fault::status(500), "inconsistent"),
        (None, Fault::html(404), "inconsistent"),
        (Some(Fault::status(500)), Fault::error(400, "no"), "client"),
        (Some(Fault::html(404)), Fault::html(404), "not_found"),
        (Some(Fault::new(FaultKind::Drop)), Fault::new(FaultKind::Drop), "transport"),
    ] {
        faults.add(empty(Operation::Clouds));
        if let Some(fault) = by_id {
            faults.add(fault.on(Operation::Cloud));
        }
        faults.add(list.on(Operation::Vms));
        let before = failures(&rig.text().await, "inventory", reason);
        let text = rig.until(reason, |text| failures(text, "inventory", reason) > before + 1.0).await;
        assert_eq!(vm_ids(&text), ids, "{reason}");
        faults.clear();
        rig.well().await;
    }
    assert_seen_once(&rig);
}

#[tokio::test(flavor = "multi_thread")]
async fn cloud_is_deleted_after_404_of_the_api() {
    let rig = rig().await;
    let text = well(&rig).await;
    let ids = clouds(&text);
    let faults = rig.simulator.faults();
    faults.add(hide(&ids[0], Operation::Clouds));
    faults.add(hide(&ids[0], Operation::CloudCapacity));
    // Only the hidden cloud is requested by its id.
    faults.add(Fault::error(404, "Entity not found").on(Operation::Cloud));
    let is_gone = |text: &str| !text.contains(&format!("cloud_id=\"{}\"", ids[0]));
    let text =
        rig.until("the cloud to be removed", |text| lines(text, &FLEET).into_iter().all(is_gone)).await;
    assert_eq!(clouds(&text), ids[1..]);
    assert!(!vm_ids(&text).is_empty());
    assert!(failures(&text, "inventory", "not_found") < 1.0);
    assert!(defects(&text, "clouds") < 1.0, "the list was right");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_no_list_contains_are_requested_by_id() {
    let rig = Rig::new().await;
    let ids = nodes(&rig.well().await);
    let count = u32::try_from(ids.len()).unwrap();
    assert!(count > 2);
    let faults = rig.simulator.faults();
    faults.add(empty(Operation::Nodes));
    let text = rig
        .until("the contradictions to be counted", |text| defects(text, "nodes") >= f64::from(count))
        .await;
    assert_eq!(nodes(&text), ids);
    faults.clear();
    rig.until("no contradiction", |text| defects(text, "nodes") < 1.0).await;
    for unknown in [Fault::html(404), Fault::status(404), Fault::status(500), Fault::new(FaultKind::Drop)] {
        faults.add(empty(Operation::Nodes));
        faults.add(unknown.on(Operation::Node));
        assert_eq!(
            nodes(&polls(&rig).await),
            ids,
            "the requests do not show whether the nodes exist, so they are kept"
        );
        faults.clear();
        rig.well().await;
    }
    // The status of the node, or an error of the API itself, confirms that a node is deleted.
    for deleted in [Fault::set("status", "deleted".into()), Fault::error(404, "Entity not found")] {
        faults.add(hide(&ids[0], Operation::Nodes));
        faults.add(deleted.on(Operation::Node));
        rig.until("the node to be removed", |text| nodes(text) == ids[1..]).await;
        faults.clear();
        rig.until("the node to be served again", |text| nodes(text) == ids).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_apis_own_404_deletes_a_vm() {
    let rig = Rig::new().await;
    let ids = vm_ids(&rig.well().await);
    let faults = rig.simulator.faults();
    for unknown in [Fault::html(404), Fault::status(404), Fault::body(404, "application/json", "{}")] {
        faults.add(empty(Operation::Vms));
        faults.add(unknown.on(Operation::Vm));
        assert_eq!(vm_ids(&polls(&rig).await), ids);
        faults.clear();
        rig.well().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn first_poll_requests_clouds_that_only_the_capacity_lists() {
    let rig = Rig::faulty(running_from("2026-10-15T12:00:00Z"), NamedFault::EmptyClouds).await;
    let text = rig.until("the VMs", |text| !vm_ids(text).is_empty()).await;
    let found = u32::try_from(clouds(&text).len()).unwrap();
    assert!(found > 1, "{found} clouds");
    assert!((defects(&text, "clouds") - f64::from(found)).abs() < 0.5, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_clouds_and_vms_are_requested_after_a_restart() {
    let mut rig = Rig::new().await;
    let good = rig.well().await;
    let names = lines(&good, &["flexvm_cloud_info{"]);
    rig.until("a recorded poll", |text| value(text, "flexvm_exporter_ledger_polls_total") > Some(0.0)).await;
    for by_id in [None, Some(Fault::status(500))] {
        rig.restart(|rig| {
            rig.simulator.faults().clear();
            rig.simulator.faults().add(empty(Operation::Clouds));
            if let Some(fault) = by_id {
                rig.simulator.faults().add(fault.on(Operation::Cloud));
            }
        })
        .await;
        let text = rig.well().await;
        assert_eq!(vm_ids(&text), vm_ids(&good));
        assert_eq!(lines(&text, &["flexvm_cloud_info{"]), names);
        let polls = "flexvm_exporter_ledger_polls_total";
        rig.until("a recorded poll", |text| value(text, polls) > Some(0.0)).await;
    }
    assert_seen_once(&rig);
}

/// Returns a rig, and the number of seconds by which its monotonic clock is ahead.
async fn rig_ahead() -> (Rig, Arc<AtomicU64>) {
    let (began, ahead) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let monotonic = {
        let ahead = Arc::clone(&ahead);
        move || began.elapsed() + Duration::from_secs(ahead.load(Ordering::SeqCst))
    };
    let clock = running_from("2026-10-15T12:00:00Z").with_monotonic(monotonic);
    (Rig::at(clock, |_| ()).await, ahead)
}

/// If an API sends no error bodies, polls must not fail forever after a cloud is deleted.
#[tokio::test(flavor = "multi_thread")]
async fn unlisted_cloud_is_deleted_after_a_day_of_404() {
    let (rig, ahead) = rig_ahead().await;
    let ids = vm_ids(&rig.well().await);
    let faults = rig.simulator.faults();
    faults.add(empty(Operation::Clouds));
    for operation in [Operation::Cloud, Operation::Nodes, Operation::Vms, Operation::Vm] {
        faults.add(Fault::status(404).on(operation));
    }
    let failed = |text: &str| failures(text, "inventory", "not_found");
    ahead.fetch_add(DAY.as_secs(), Ordering::SeqCst);
    let text = rig.until("failures", |text| failed(text) > 3.0).await;
    assert_eq!(vm_ids(&text), ids, "the day begins with the first of these polls");
    ahead.fetch_add(DAY.as_secs(), Ordering::SeqCst);
    rig.until("the clouds to be removed", |text| {
        success(text, "inventory") == Some(1.0) && vm_ids(text).is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_objects_are_deleted_after_a_day() {
    let (rig, ahead) = rig_ahead().await;
    let ids = clouds(&rig.well().await);
    let body = r#"{"name": "spare", "site": "frmtl1", "instance_type": "bm9.hmm.gpu.4rtx4000.64"}"#;
    assert_eq!(rig.call("POST", "clouds", body), 201);
    let text = rig.until("the new cloud", |text| clouds(text).len() == 3).await;
    let new = clouds(&text).into_iter().find(|id| !ids.contains(id)).unwrap();
    let (node, vm) = (nodes(&text)[0].clone(), vm_ids(&text).into_iter().next().unwrap());
    let faults = rig.simulator.faults();
    faults.add(empty(Operation::Clouds));
    faults.add(empty(Operation::CloudCapacity));
    faults.add(hide(&node, Operation::Nodes));
    faults.add(Fault::html(404).on(Operation::Node));
    faults.add(hide(&vm, Operation::Vms));
    faults.add(Fault::status(404).on(Operation::Vm));
    let text = polls(&rig).await;
    assert_eq!(clouds(&text).len(), 3, "all respond by their ids");
    assert!(text.contains("flexvm_cloud_nodes{"), "the rows of clouds with nodes stay");
    assert!(nodes(&text).contains(&node) && vm_ids(&text).contains(&vm));
    ahead.fetch_add(DAY.as_secs() - 3600, Ordering::SeqCst);
    let text = polls(&rig).await;
    assert!(clouds(&text).contains(&new), "it is too early");
    let has_old_rows = |text: &str| text.contains("flexvm_cloud_nodes{");
    rig.until("outdated capacity to be removed", |text| !has_old_rows(text)).await;
    ahead.fetch_add(3600, Ordering::SeqCst);
    let is_gone = |text: &str| !clouds(text).contains(&new) && !nodes(text).contains(&node);
    let text =
        rig.until("absent objects to be removed", |text| is_gone(text) && !vm_ids(text).contains(&vm)).await;
    assert_eq!(clouds(&text), ids, "clouds with nodes and VMs stay");
    assert_eq!(vm_ids(&text).len(), 59);
    // The lists contain the objects again.
    faults.clear();
    rig.until("all objects to be served again", |text| clouds(text).len() == 3 && vm_ids(text).len() == 60)
        .await;
}

/// The time limit of a request is 90 s, which is longer than the test waits.
#[tokio::test(flavor = "multi_thread")]
async fn requests_by_id_that_hang_delay_no_poll() {
    let rig = Rig::with(|config| {
        for tenant in &mut config.tenants {
            Arc::make_mut(tenant).api.timeout = Duration::from_secs(90);
        }
    })
    .await;
    let good = rig.well().await;
    let fleet = lines(&good, &FLEET);
    rig.simulator.faults().add(empty(Operation::Vms));
    rig.simulator.faults().add(Fault::new(FaultKind::Stall).on(Operation::Vm));
    let lookups = || rig.simulator.requests().get(&Operation::Vm).copied().unwrap_or_default();
    let recorded = |text: &str| value(text, "flexvm_exporter_ledger_polls_total").unwrap_or_default();
    let text = rig.until("requests by id", |_| lookups() > 0).await;
    let before = recorded(&text);
    let text = rig.until("complete polls", |text| recorded(text) >= before + 2.0).await;
    assert_eq!(success(&text, "inventory"), Some(1.0));
    assert_eq!(lines(&text, &FLEET), fleet, "each VM stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn rate_limited_requests_by_id_delay_the_next_poll() {
    let rig = rig().await;
    well(&rig).await;
    let limited = Fault::status(429).with_header("retry-after", "100").on(Operation::Vm);
    rig.simulator.faults().add(empty(Operation::Vms));
    rig.simulator.faults().add(limited);
    let requests = || rig.simulator.requests().get(&Operation::Vm).copied().unwrap_or_default();
    rig.until("requests by id", |_| requests() > 0).await;
    // The capacity is polled every 100 ms, and so is the inventory unless it is delayed.
    let capacity = || rig.simulator.requests()[&Operation::CloudCapacity];
    let from = capacity();
    let text = rig.until("further polls of the capacity", |_| capacity() > from + 10).await;
    assert_eq!(success(&text, "inventory"), Some(1.0));
    // The limit is the number of requests that were in progress when the first response arrived.
    assert!(requests() <= 4, "{} requests after the limit", requests());
}

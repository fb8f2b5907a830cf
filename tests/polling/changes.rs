//! A world that changes: while it is read, between polls, and down to nothing.

use flexvm_exporter::ledger::Ledger;
use flexvm_exporter::observe::Seen;
use flexvm_exporter::period::Month;
use flexvm_exporter::simulator::{Fault, FaultKind, Operation};
use flexvm_exporter::usage::Use;
use jiff::Timestamp;

use crate::rig::{Rig, failures, lines, success, value, vm_ids};

/// A VM that `/metrics` shows, with its cloud: both ids.
fn some_running_vm(text: &str) -> (String, String) {
    let line = lines(text, &["flexvm_vm_status{"])
        .into_iter()
        .find(|line| line.contains("status=\"running\""))
        .unwrap();
    let label =
        |name: &str| line.split_once(&format!("{name}=\"")).unwrap().1.split('"').next().unwrap().to_owned();
    (label("cloud_id"), label("vm_id"))
}

/// Hides a VM from every list.
fn hide(id: &str) -> Fault {
    let id = id.to_owned();
    Fault::edit(move |list| {
        if let Some(rows) = list.as_array_mut() {
            rows.retain(|row| row["id"] != id.as_str());
        }
    })
    .on(Operation::Vms)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_that_is_in_no_list_is_asked_for() {
    let rig = Rig::new().await;
    let (cloud, vm) = some_running_vm(&rig.well().await);
    let faults = rig.simulator.faults();
    // It answers: its state is what it says.
    faults.add(hide(&vm));
    let before = rig.simulator.requests().get(&Operation::Vm).copied().unwrap_or_default();
    let asked = |rig: &Rig| rig.simulator.requests().get(&Operation::Vm).copied().unwrap_or_default();
    let text = rig.until("it to be asked for", |_| asked(&rig) > before + 1).await;
    assert!(vm_ids(&text).contains(&vm));
    faults.add(Fault::set("status", "stopped".into()).on(Operation::Vm));
    let status = format!(
        "flexvm_vm_status{{cloud_id=\"{cloud}\",status=\"stopped\",tenant=\"one\",vm_id=\"{vm}\"}} 1"
    );
    let has = |text: &str| {
        lines(text, &["flexvm_vm_status{"])
            .iter()
            .any(|line| line.contains(&vm) && line.contains("status=\"stopped\""))
    };
    rig.until(&status, has).await;
    // It cannot be asked: it stays as it was, and the poll is a success.
    faults.clear();
    faults.add(hide(&vm));
    faults.add(Fault::status(500).on(Operation::Vm));
    let from = asked(&rig);
    let text = rig.until("a failed answer", |_| asked(&rig) > from + 2).await;
    assert!(vm_ids(&text).contains(&vm) && success(&text, "inventory") == Some(1.0));
    // It is not there: it is gone.
    faults.clear();
    faults.add(hide(&vm));
    faults.add(Fault::error(404, "Entity not found").on(Operation::Vm));
    let text = rig.until("it to go", |text| !vm_ids(text).contains(&vm)).await;
    assert!(!text.contains(&vm), "no series of it is left");
    assert_eq!(success(&text, "inventory"), Some(1.0));
    faults.clear();
    rig.until("it to come back", |text| vm_ids(text).contains(&vm)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_that_left_the_lists_during_a_restart_is_asked_for() {
    let mut rig = Rig::new().await;
    let (_, vm) = some_running_vm(&rig.well().await);
    // It answers: it never was gone.
    rig.restart(|rig| rig.simulator.faults().add(hide(&vm))).await;
    assert!(vm_ids(&rig.well().await).contains(&vm));
    // It cannot be asked: nothing is known of it, which is not that it is gone.
    rig.restart(|rig| rig.simulator.faults().add(Fault::status(500).on(Operation::Vm))).await;
    assert!(!vm_ids(&rig.well().await).contains(&vm));
    until_recorded(&rig, &vm, Seen::Unknown).await;
    // As soon as it can be asked, it is there again.
    rig.simulator.faults().clear();
    rig.simulator.faults().add(hide(&vm));
    rig.until("it to be asked for again", |text| vm_ids(text).contains(&vm)).await;
    until_recorded(&rig, &vm, Seen::As(Use::Running)).await;
    assert!(!recorded(&rig, &vm).contains(&Seen::Gone));
    // It is not there: now it is gone.
    let deleted = Fault::error(404, "Entity not found").on(Operation::Vm);
    rig.restart(|rig| rig.simulator.faults().add(deleted)).await;
    assert!(!vm_ids(&rig.well().await).contains(&vm));
    until_recorded(&rig, &vm, Seen::Gone).await;
}

/// Waits until this is what the ledger knows of a VM: it records one poll a second.
async fn until_recorded(rig: &Rig, vm: &str, wanted: Seen) {
    rig.until("the ledger to know", |_| recorded(rig, vm).last() == Some(&wanted)).await;
}

/// What the ledger knows of a VM.
fn recorded(rig: &Rig, vm: &str) -> Vec<Seen> {
    let month = "2026-10".parse::<Month>().unwrap().period();
    let ledger = Ledger::read_only(&rig.config.ledger.path);
    let observations = ledger.observations("one", month, Timestamp::MAX).unwrap();
    observations.histories[vm].iter().map(|(_, seen)| *seen).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_shift_between_pages_lose_and_double_nothing() {
    let rig = Rig::new().await;
    let ids = vm_ids(&rig.well().await);
    for rows in [1, -1, 3] {
        rig.simulator.faults().add(Fault::new(FaultKind::Shift(rows)).on(Operation::Vms));
        let from = rig.simulator.requests()[&Operation::Clouds];
        let text = rig.until("some polls", |_| rig.simulator.requests()[&Operation::Clouds] > from + 6).await;
        assert_eq!(vm_ids(&text), ids, "{rows}");
        let infos = lines(&text, &["flexvm_vm_info{"]);
        assert_eq!(infos.len(), ids.len(), "{rows}: no series twice");
        assert!(failures(&text, "inventory", "paging") < 1.0, "{rows}");
        rig.simulator.faults().clear();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_that_vanishes_while_it_is_read_is_a_change() {
    let rig = Rig::new().await;
    let text = rig.well().await;
    let (cloud, _) = some_running_vm(&text);
    // Listed, but the API says that neither its content nor itself is there any more.
    for operation in [Operation::Vms, Operation::Nodes, Operation::Cloud, Operation::CloudCapacity] {
        rig.simulator.faults().add(Fault::error(404, "Entity not found").on(operation));
    }
    let text = rig
        .until("it to go", |text| !text.contains(&format!("flexvm_cloud_vms{{cloud_id=\"{cloud}\"")))
        .await;
    assert_eq!(success(&text, "inventory"), Some(1.0));
    assert!(failures(&text, "inventory", "not_found") < 1.0);
    rig.simulator.faults().clear();
    rig.well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_finds_nothing_empties_no_fleet() {
    let rig = Rig::new().await;
    let ids = vm_ids(&rig.well().await);
    for operation in [Operation::Vms, Operation::Vm, Operation::Nodes, Operation::Cloud] {
        rig.simulator.faults().add(Fault::html(404).on(operation));
    }
    let failed = |text: &str| failures(text, "inventory", "not_found") > 0.0;
    let text_before = rig.until("the inventory to fail", failed).await;
    assert_eq!(vm_ids(&text_before), ids, "the list of clouds still contains the clouds");
    // A list without the clouds does not confirm that they are deleted either.
    rig.simulator.faults().add(Fault::body(200, "application/json", "[]").on(Operation::Clouds));
    let failed = |text: &str| {
        failures(text, "inventory", "not_found") > failures(&text_before, "inventory", "not_found") + 2.0
    };
    let text = rig.until("the inventory to fail again", failed).await;
    assert_eq!(vm_ids(&text), ids);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_shown_as_nothing_only_when_the_api_says_so() {
    let rig = Rig::new().await;
    let ids = vm_ids(&rig.well().await);
    let (cloud, vm) = some_running_vm(&rig.text().await);
    // A VM deleted through the API goes with every series that it had.
    assert!(ids.contains(&vm));
    let status = rig.call("DELETE", &format!("clouds/{cloud}/vms/{vm}"), "");
    assert!((200..300).contains(&status), "{status}");
    let text = rig.until("a deleted VM to go", |text| !vm_ids(text).contains(&vm)).await;
    assert!(!text.contains(&vm));
    assert_eq!(vm_ids(&text).len(), ids.len() - 1);
    // All lists empty and every VM gone when asked for: that is zero, and shown as zero.
    rig.simulator.faults().add(Fault::body(200, "application/json", "[]").on(Operation::Vms));
    rig.simulator.faults().add(Fault::error(404, "Entity not found").on(Operation::Vm));
    let text = rig.until("no VMs", |text| vm_ids(text).is_empty()).await;
    let counts = lines(&text, &["flexvm_cloud_vms{"]);
    assert_eq!(counts.len(), 2 * 9, "the nine living statuses of both clouds");
    assert!(counts.iter().all(|line| line.ends_with(" 0")), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_in_another_case_are_the_same_objects() {
    let rig = Rig::new().await;
    let events = "flexvm_exporter_ledger_events_total";
    rig.until("recorded polls", |text| value(text, events) == Some(60.0)).await;
    let well = rig
        .until("all VMs", |text| {
            text.contains("flexvm_usage_cloud_reported_vm_seconds{") && vm_ids(text).len() == 60
        })
        .await;
    let faults = rig.simulator.faults();
    for operation in [Operation::Clouds, Operation::Nodes, Operation::Vms, Operation::Monthly] {
        let upper = |row: &mut serde_json::Value, key: &str| {
            if let Some(id) = row.get_mut(key)
                && let Some(text) = id.as_str()
            {
                *id = text.to_uppercase().into();
            }
        };
        let change = move |row: &mut serde_json::Value| {
            for list in ["clouds", "vms"] {
                for row in row.get_mut(list).and_then(|list| list.as_array_mut()).into_iter().flatten() {
                    for key in ["id", "vm_id", "cloud_id"] {
                        upper(row, key);
                    }
                }
            }
            upper(row, "id");
        };
        faults.add(Fault::edit_rows(change).on(operation));
    }
    // A VM that no list contains is requested with the spelling that the API sent.
    let (_, vm) = some_running_vm(&well);
    faults.add(hide(&vm.to_uppercase()));
    let polls = value(&well, "flexvm_exporter_ledger_polls_total");
    let text = rig
        .until("further polls", |text| {
            value(text, "flexvm_exporter_ledger_polls_total") > polls.map(|polls| polls + 2.0)
        })
        .await;
    assert_eq!((value(&text, events), vm_ids(&text)), (Some(60.0), vm_ids(&well)));
    let usage = ["flexvm_usage_cloud_reported_vm_seconds{", "flexvm_cloud_info{", "flexvm_node_info{"];
    let labels = |text: &str| -> Vec<String> {
        lines(text, &usage).into_iter().map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
    };
    assert_eq!(labels(&text), labels(&well));
}

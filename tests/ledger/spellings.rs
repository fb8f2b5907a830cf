//! Tests that UUIDs which an older version recorded in another spelling identify the same objects.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use flexvm_exporter::ledger::Ledger;
use flexvm_exporter::period::Period;
use flexvm_exporter::snapshot::{Cloud, InventoryData, Vm, VmSize, VmStatus};
use flexvm_exporter::usage::{Use, Witness as _};
use jiff::Timestamp;

use super::{at, vm};

const LOWER: &str = "0192a000-0000-7000-8000-00000000abcd";
const UPPER: &str = "0192A000-0000-7000-8000-00000000ABCD";
const GAP: Duration = Duration::from_mins(3);

/// Returns a poll that observed one cloud and VMs with these ids. The ids must be sorted.
fn poll(cloud_id: &str, vms: &[&str]) -> Arc<InventoryData> {
    let cloud = Cloud {
        id: cloud_id.into(),
        name: "one".into(),
        site: "nlrtm1".into(),
        node_type: "bm7".into(),
        created_at: None,
    };
    let size = Some(VmSize { vcpus: 4, memory_mib: 8192, gpus: 0 });
    let vm = |id: &&str| Arc::new(Vm { cloud_id: cloud_id.into(), size, ..vm(id, VmStatus::Running) });
    let vms = vms.iter().map(vm).collect();
    Arc::new(InventoryData { clouds: vec![cloud], vms, ..InventoryData::default() })
}

async fn observe(ledger: &Ledger, seconds: i64, data: Arc<InventoryData>) {
    ledger.observe("t".into(), at(seconds), GAP, data).await.unwrap();
}

fn count(path: &Path, rows: &str) -> i64 {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.query_row(&format!("SELECT count(*) FROM {rows}"), [], |row| row.get(0)).unwrap()
}

fn running(ledger: &Ledger) -> u64 {
    let period = Period { start: at(0), end: at(1000) };
    let observations = ledger.observations("t", period, Timestamp::MAX).unwrap();
    observations.observed(LOWER, period).unwrap().get(Use::Running)
}

#[tokio::test]
async fn recorded_ids_in_another_case_cause_no_events() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = Ledger::open(&path).unwrap();
    observe(&ledger, 0, poll(UPPER, &[UPPER, "VM-1"])).await;
    observe(&ledger, 60, poll(UPPER, &[UPPER, "VM-1"])).await;
    drop(ledger);

    let ledger = Ledger::open(&path).unwrap();
    // A report can use the recorded data before the first poll.
    assert_eq!(running(&ledger), 60);
    let period = Period { start: at(0), end: at(1000) };
    let known = ledger.names_and_sizes("t", period).unwrap();
    assert_eq!((&*known.clouds[0].id, known.vm_sizes.contains_key(LOWER)), (LOWER, true));
    observe(&ledger, 120, poll(LOWER, &[LOWER, "VM-1"])).await;
    assert_eq!(
        ledger.statistics().events.load(Ordering::Relaxed),
        0,
        "no event `seen` or `gone` was recorded"
    );
    assert_eq!(running(&ledger), 120);
    assert_eq!((count(&path, "event"), count(&path, "vm"), count(&path, "cloud")), (2, 2, 1));
    let spelled = format!("vm WHERE vm_id = '{LOWER}' AND cloud_id = '{LOWER}' AND gone IS NULL");
    assert_eq!((count(&path, &spelled), count(&path, "vm WHERE vm_id = 'VM-1'")), (1, 1));
}

#[tokio::test]
async fn rows_of_one_vm_with_two_spellings_are_merged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = Ledger::open(&path).unwrap();
    // The API changed its spelling while an older version was running, so that version recorded one VM
    // as gone and another as seen.
    observe(&ledger, 0, poll(UPPER, &[UPPER])).await;
    observe(&ledger, 60, poll(LOWER, &[LOWER])).await;
    observe(&ledger, 120, poll(LOWER, &[LOWER])).await;
    assert_eq!(count(&path, "vm"), 2);
    drop(ledger);

    let ledger = Ledger::open(&path).unwrap();
    assert_eq!(running(&ledger), 120);
    observe(&ledger, 180, poll(LOWER, &[LOWER])).await;
    assert_eq!(ledger.statistics().events.load(Ordering::Relaxed), 0);
    assert_eq!((count(&path, "vm"), count(&path, "cloud WHERE valid_until IS NULL")), (1, 1));
    assert_eq!(running(&ledger), 180);
}

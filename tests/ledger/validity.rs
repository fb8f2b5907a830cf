//! Names and sizes with their validity: what a month's report finds in the ledger.

use std::collections::BTreeMap;
use std::path::Path;
use std::slice::from_ref;
use std::sync::Arc;
use std::time::Duration;

use flexvm_exporter::ledger::{Ledger, LedgerError, NamesAndSizes};
use flexvm_exporter::period::Period;
use flexvm_exporter::snapshot::{Cloud, InstanceType, InventoryData, Text, Vm, VmSize, VmStatus};
use jiff::Timestamp;
use proptest::prelude::*;

use super::{at, vm};

const GAP: Duration = Duration::from_mins(3);
const DAY: i64 = 86_400;

fn of_type(name: &str, vcpus: u64) -> InstanceType {
    let pci_devices = vec![("gpu".into(), "L40S; \"rev 2\"".into())];
    InstanceType { name: name.into(), vcpus, memory_mib: 1024, disk_gib: 80, pci_devices }
}

fn cloud(id: &str, name: &str, created_at: Option<&str>) -> Cloud {
    let created_at = created_at.map(|at| at.parse().unwrap());
    Cloud { id: id.into(), name: name.into(), site: "nlrtm1".into(), node_type: "bm7".into(), created_at }
}

fn size(vcpus: u64) -> VmSize {
    VmSize { vcpus, memory_mib: 1024, gpus: 0 }
}

fn sized(id: &str, instance_type: &str, size: Option<VmSize>) -> Vm {
    Vm { instance_type: instance_type.into(), size, ..vm(id, VmStatus::Running) }
}

fn data(clouds: &[Cloud], mut vms: Vec<Vm>) -> InventoryData {
    vms.sort_by(|a, b| a.id.cmp(&b.id));
    let vms = vms.into_iter().map(Arc::new).collect();
    InventoryData { clouds: clouds.to_vec(), vms, ..InventoryData::default() }
}

async fn observe(ledger: &Ledger, tenant: &str, seconds: i64, data: InventoryData) {
    ledger.observe(tenant.into(), at(seconds), GAP, Arc::new(data)).await.unwrap();
}

async fn catalogue(ledger: &Ledger, seconds: i64, types: &[InstanceType]) -> Result<(), LedgerError> {
    ledger.record_catalogue("t".into(), at(seconds), types.to_vec()).await
}

/// What is known of the time from `from` until `until`.
fn known(ledger: &Ledger, from: i64, until: i64) -> NamesAndSizes {
    ledger.names_and_sizes("t", Period { start: at(from), end: at(until) }).unwrap()
}

fn rows(path: &Path, table: &str) -> i64 {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn types_keep_the_latest_entry_of_each_period() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = Ledger::open(&path).unwrap();
    let (first, changed, other) = (of_type("vm.a", 4), of_type("vm.a", 8), of_type("vm.b", 2));
    catalogue(&ledger, 100, &[first.clone(), other.clone()]).await.unwrap();
    catalogue(&ledger, 200, &[first.clone(), other.clone()]).await.unwrap();
    assert_eq!(rows(&path, "instance_type"), 2, "nothing changed");
    catalogue(&ledger, 300, from_ref(&changed)).await.unwrap();
    catalogue(&ledger, 400, &[]).await.unwrap();
    let types = |until| known(&ledger, 0, until).instance_types;
    assert_eq!(types(100), [], "not yet observed");
    assert_eq!(types(101), [first.clone(), other.clone()]);
    assert_eq!(types(300), [first.clone(), other.clone()]);
    // A deleted type, and a catalogue without types, keep what was known.
    assert_eq!(types(301), [changed.clone(), other.clone()]);
    assert_eq!(types(1_000), [changed.clone(), other.clone()]);
    assert_eq!(rows(&path, "instance_type WHERE valid_until IS NULL"), 0);
    // It is offered again, as before.
    catalogue(&ledger, 500, from_ref(&other)).await.unwrap();
    assert_eq!(rows(&path, "instance_type WHERE valid_until IS NULL"), 1);
    assert_eq!(types(1_000), [changed, other]);
    assert_eq!(rows(&path, "instance_type"), 4);
    let elsewhere = ledger.names_and_sizes("other", Period { start: at(0), end: at(1_000) }).unwrap();
    assert_eq!(elsewhere, NamesAndSizes::default());
}

#[tokio::test]
async fn catalogue_of_an_earlier_time_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&folder.path().join("ledger.db")).unwrap();
    let (small, large) = (of_type("vm.a", 4), of_type("vm.a", 8));
    catalogue(&ledger, DAY, from_ref(&small)).await.unwrap();
    // The clock was a day ahead. As long as nothing changes, nothing is wrong.
    catalogue(&ledger, 60, from_ref(&small)).await.unwrap();
    for types in [vec![large.clone()], Vec::new(), vec![small.clone(), of_type("vm.b", 1)]] {
        let error = catalogue(&ledger, 120, &types).await.unwrap_err();
        assert_eq!(error.reason(), "clock", "{error}");
    }
    assert_eq!(known(&ledger, 0, 10 * DAY).instance_types, [small]);
    let failures = ledger.statistics().failures().find(|(reason, _)| *reason == "clock").unwrap().1;
    assert_eq!(failures, 3);
    // Two changes within a second: the later one holds.
    catalogue(&ledger, DAY, &[]).await.unwrap();
    catalogue(&ledger, DAY, from_ref(&large)).await.unwrap();
    assert_eq!(known(&ledger, 0, 10 * DAY).instance_types, [large]);
}

#[tokio::test]
async fn clouds_keep_the_latest_name_of_each_period() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let mut ledger = Ledger::open(&path).unwrap();
    let created = Some("2026-01-05T09:00:00.25Z");
    let old = [cloud("a", "old", created), cloud("b", "deleted later", None)];
    let new = [cloud("a", "new", created)];
    for (seconds, clouds) in [(100, &old[..]), (160, &old[..]), (220, &new[..]), (280, &new[..])] {
        observe(&ledger, "t", seconds, data(clouds, Vec::new())).await;
        // A restart reads the clouds from the ledger, which has whole seconds.
        drop(ledger);
        ledger = Ledger::open(&path).unwrap();
    }
    assert_eq!(rows(&path, "cloud"), 3, "one row per change");
    let names = |until| {
        let clouds = known(&ledger, 0, until).clouds;
        clouds.into_iter().map(|cloud| (cloud.id.to_string(), cloud.name.to_string())).collect::<Vec<_>>()
    };
    let pairs = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(id, name)| ((*id).to_owned(), (*name).to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(names(100), []);
    assert_eq!(names(220), pairs(&[("a", "old"), ("b", "deleted later")]));
    assert_eq!(names(221), pairs(&[("a", "new"), ("b", "deleted later")]));
    let found = &known(&ledger, 0, 500).clouds[0];
    assert_eq!(found, &Cloud { created_at: Some("2026-01-05T09:00:00Z".parse().unwrap()), ..new[0].clone() });
    // A poll that is not recorded records no clouds.
    observe(&ledger, "t", 10, data(&[], Vec::new())).await;
    assert_eq!(rows(&path, "cloud WHERE valid_until IS NULL"), 1);
}

#[tokio::test]
async fn vm_that_a_poll_missed_just_before_the_month_keeps_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&folder.path().join("ledger.db")).unwrap();
    observe(&ledger, "t", 0, data(&[], vec![sized("a", "vm.a", Some(size(4)))])).await;
    observe(&ledger, "t", 60, data(&[], Vec::new())).await;
    let of = |from| known(&ledger, from, 31 * DAY).vm_sizes;
    // The provider may date the deletion a little later, and so into the month.
    assert_eq!(of(120), BTreeMap::from([("a".into(), ("vm.a".into(), size(4)))]));
    assert_eq!(of(10 * DAY), BTreeMap::new(), "it was gone long before");
}

#[tokio::test]
async fn dropped_vms_leave_no_sizes_and_others_keep_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = Ledger::open(&path).unwrap();
    let old = || vec![sized("gone", "vm.a", Some(size(4))), sized("stays", "vm.a", Some(size(4)))];
    observe(&ledger, "t", 0, data(&[cloud("c", "name", None)], old())).await;
    observe(&ledger, "other", 0, data(&[], old())).await;
    catalogue(&ledger, 0, &[of_type("vm.a", 4)]).await.unwrap();
    let stays = || vec![sized("stays", "vm.a", Some(size(8)))];
    observe(&ledger, "t", 60, data(&[cloud("c", "name", None)], stays())).await;
    observe(&ledger, "t", 20 * DAY, data(&[cloud("c", "name", None)], stays())).await;
    let before = known(&ledger, 15 * DAY, 31 * DAY);
    let (of_test, cut) = (ledger.clone(), at(10 * DAY));
    let dropped = tokio::task::spawn_blocking(move || of_test.drop_before("t", cut)).await.unwrap().unwrap();
    assert_eq!(dropped.vms, 1);
    assert_eq!(rows(&path, "vm_size"), 2 + 2, "two of the VM that stays, two of the other tenant");
    assert_eq!(known(&ledger, 15 * DAY, 31 * DAY), before);
    assert_eq!(before.vm_sizes, BTreeMap::from([("stays".into(), ("vm.a".into(), size(8)))]));
    assert_eq!((before.clouds.len(), before.instance_types.len()), (1, 1));
    let dangling = rusqlite::Connection::open(&path).unwrap();
    assert!(!dangling.prepare("PRAGMA foreign_key_check").unwrap().exists([]).unwrap());
}

const NAMES: [&str; 3] = ["a", "b", "c"];
const TYPES: [&str; 2] = ["vm.a", "vm.b"];

/// What a poll sees of each VM: its type and the size that its row states. After some polls the program
/// starts again.
type Polls = Vec<(BTreeMap<usize, (usize, Option<u64>)>, bool)>;

fn polls() -> impl Strategy<Value = Polls> {
    let row = (0..TYPES.len(), prop::option::weighted(0.7, 1..4_u64));
    let met = prop::collection::btree_map(0..NAMES.len(), row, 0..=NAMES.len());
    prop::collection::vec((met, prop::bool::weighted(0.2)), 1..20)
}

proptest! {
    // Each case opens a ledger, which waits for the disk.
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The size of a VM in a period is that of its last row before the period's end that stated one.
    /// Rows are written only when a size is new.
    #[test]
    fn sizes_are_those_of_a_plain_model(polls in polls(), until in 0..25_i64) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut ledger = Ledger::open(&path).unwrap();
        let mut model: BTreeMap<Text, (Text, VmSize)> = BTreeMap::new();
        // The last size of each VM since it was first seen, or seen again, and the number of changes.
        let (mut current, mut changes) = (BTreeMap::<usize, (usize, u64)>::new(), 0);
        for (minute, (met, is_restarted)) in polls.iter().enumerate() {
            let minute = i64::try_from(minute).unwrap();
            current.retain(|vm, _| met.contains_key(vm));
            let rows = met.iter().map(|(vm, (of, vcpus))| sized(NAMES[*vm], TYPES[*of], vcpus.map(size)));
            runtime.block_on(observe(&ledger, "t", minute * 60, data(&[], rows.collect())));
            for (vm, (of, vcpus)) in met {
                let Some(vcpus) = vcpus else { continue };
                changes += i64::from(current.insert(*vm, (*of, *vcpus)) != Some((*of, *vcpus)));
                if minute < until {
                    model.insert(NAMES[*vm].into(), (TYPES[*of].into(), size(*vcpus)));
                }
            }
            if *is_restarted {
                drop(ledger);
                ledger = Ledger::open(&path).unwrap();
            }
        }
        prop_assert_eq!(known(&ledger, 0, until * 60).vm_sizes, model);
        // After a restart, a VM that came back has its earlier size again.
        prop_assert!(rows(&path, "vm_size") <= changes);
    }
}

#[test]
fn missing_ledger_is_an_error_and_not_empty() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::read_only(&folder.path().join("ledger.db"));
    let found = ledger.names_and_sizes("t", Period { start: Timestamp::UNIX_EPOCH, end: at(0) });
    assert!(matches!(found, Err(LedgerError::Missing(_))), "{found:?}");
}

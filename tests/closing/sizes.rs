//! Sizes and names are those of the month: observed while it ran, and frozen when it is closed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flexvm_exporter::ledger::Ledger;
use flexvm_exporter::report::{Outcome, Published};
use flexvm_exporter::simulator::{Fault, Operation};
use flexvm_exporter::snapshot::{Cloud, InstanceType, InventoryData, Vm, VmSize, VmStatus};
use serde_json::{Value, json};

use crate::support::{Stage, TENANT, closer, forced, manifest, month, rows, terms, text};

const TIME: &str = "2026-11-05T00:00:00Z";
const MONTH: &str = "2026-10";

fn size(vcpus: u64, memory_mib: u64, gpus: u64) -> VmSize {
    VmSize { vcpus, memory_mib, gpus }
}

fn of_type(name: &str, size: VmSize) -> InstanceType {
    let device = ("gpu".into(), "L40S".into());
    let pci_devices = vec![device; usize::try_from(size.gpus).unwrap()];
    let VmSize { vcpus, memory_mib, .. } = size;
    InstanceType { name: name.into(), vcpus, memory_mib, disk_gib: 80, pci_devices }
}

fn cloud(id: &str, name: &str) -> Cloud {
    Cloud {
        id: id.into(),
        name: name.into(),
        site: "nlrtm1".into(),
        node_type: "bm7".into(),
        created_at: None,
    }
}

/// A VM as a list gives it.
fn vm(id: &str, instance_type: &str, size: Option<VmSize>) -> Vm {
    Vm {
        id: id.into(),
        cloud_id: "c1".into(),
        name: id.into(),
        instance_type: instance_type.into(),
        size,
        image: "debian".into(),
        status: VmStatus::Running,
        node_id: None,
        created_at: None,
        deleted_at: None,
        ips: Box::default(),
        tags: [].into(),
    }
}

async fn poll(ledger: &Ledger, at: &str, clouds: Vec<Cloud>, vms: Vec<Vm>) {
    let vms = vms.into_iter().map(Arc::new).collect();
    let data = InventoryData { clouds, vms, ..InventoryData::default() };
    let gap = Duration::from_mins(3);
    ledger.observe(TENANT.into(), at.parse().unwrap(), gap, Arc::new(data)).await.unwrap();
}

async fn catalogue(ledger: &Ledger, at: &str, types: Vec<InstanceType>) {
    ledger.record_catalogue(TENANT.into(), at.parse().unwrap(), types).await.unwrap();
}

/// Sets what the API reports at closing: rows of VMs as (id, type, cloud), and its two lists.
fn serve(stage: &Stage, vms: &[(&str, &str, &str)], types: &[InstanceType], clouds: &[Cloud]) {
    let row = |(id, plan, cloud): &(&str, &str, &str)| {
        json!({
            "vm_id": id, "name": id, "status": "running", "plan": plan, "image": "debian", "cloud_id": cloud,
            "site": "nlrtm1", "tags": [], "created_at": "2026-09-01T00:00:00Z", "vm_hours": 744,
        })
    };
    let report = json!({
        "period": { "start": "2026-10-01T00:00:00Z", "end": "2026-11-01T00:00:00Z" },
        "total_nodes": 1, "total_active_vms": 1, "clouds": [], "by_tag": [],
        "vms": vms.iter().map(row).collect::<Vec<_>>(),
    });
    let devices = |of: &InstanceType| -> Vec<Value> {
        of.pci_devices.iter().map(|(class, spec)| json!({ "type": class, "spec": spec })).collect()
    };
    let types = types.iter().map(|of| {
        json!({
            "id": of.name, "name": of.name, "vcpu": of.vcpus, "memory": of.memory_mib, "disk": of.disk_gib,
            "pciDevices": devices(of),
        })
    });
    let clouds = clouds
        .iter()
        .map(|of| json!({ "id": of.id, "name": of.name, "site": of.site, "instance_type": of.node_type }));
    stage.simulator.faults().clear();
    for (operation, body) in [
        (Operation::Monthly, report),
        (Operation::InstanceTypes, types.collect()),
        (Operation::Clouds, clouds.collect()),
    ] {
        stage.simulator.faults().add(Fault::body(200, "application/json", body.to_string()).on(operation));
    }
}

/// The cells of the named columns, for each VM of a revision.
fn cells<const N: usize>(published: &Published, columns: [&str; N]) -> BTreeMap<String, [String; N]> {
    let rows = rows(&text(published, "_by-vm.csv"));
    rows.into_iter().map(|row| (row["vm_id"].clone(), columns.map(|name| row[name].clone()))).collect()
}

fn sizes(published: &Published) -> BTreeMap<String, [String; 3]> {
    cells(published, ["vcpus", "memory_mib", "gpus"])
}

fn flags(published: &Published, vm: &str) -> String {
    cells(published, ["flags"])[vm][0].clone()
}

fn expected(sizes: &[(&str, &str, &str, &str)]) -> BTreeMap<String, [String; 3]> {
    sizes
        .iter()
        .map(|(id, vcpus, memory, gpus)| ((*id).to_owned(), [vcpus, memory, gpus].map(|it| (*it).to_owned())))
        .collect()
}

fn written(outcome: Outcome) -> Published {
    let Outcome::Written(published) = outcome else { panic!("{outcome:?} was not written") };
    published.verify().unwrap();
    published
}

/// Each VM of the month, with the source of its size.
const VMS: [(&str, &str, &str); 9] = [
    ("by-row", "vm.resized", "c1"),
    ("by-row-alone", "vm.unlisted", "c2"),
    ("by-row-again-later", "vm.resized", "c1"),
    ("by-catalogue", "vm.resized", "c1"),
    ("by-catalogue-deleted", "vm.deleted", "c2"),
    ("by-catalogue-not-by-row-of-another-type", "vm.kept", "c1"),
    ("by-row-of-the-next-month", "vm.resized", "c1"),
    ("by-closing", "vm.new", "c3"),
    ("unknown", "vm.nowhere", "c4"),
];

/// What the ledger observes before, in and after the month.
async fn observe(ledger: &Ledger) {
    let (kept, deleted) = (of_type("vm.kept", size(4, 8192, 0)), of_type("vm.deleted", size(2, 4096, 1)));
    let resized = |vcpus| of_type("vm.resized", size(vcpus, 16384, 0));
    catalogue(ledger, "2026-09-02T00:00:00Z", vec![kept.clone(), resized(6)]).await;
    catalogue(ledger, "2026-10-10T00:00:00Z", vec![deleted, kept.clone(), resized(8)]).await;
    let own = |vcpus| Some(size(vcpus, 16384, 0));
    let vms = |vcpus, later| {
        let mut vms = vec![
            vm("by-catalogue-not-by-row-of-another-type", "vm.resized", own(9)),
            vm("by-row", "vm.resized", own(vcpus)),
            vm("by-row-alone", "vm.unlisted", Some(size(3, 1024, 2))),
            vm("by-row-again-later", "vm.resized", later),
        ];
        vms.sort_by(|a, b| a.id.cmp(&b.id));
        vms
    };
    let clouds = || vec![cloud("c1", "old name"), cloud("c2", "deleted")];
    poll(ledger, "2026-10-12T00:00:00Z", clouds(), vms(8, own(10))).await;
    // A row without a size states nothing new.
    poll(ledger, "2026-10-20T00:00:00Z", clouds(), vms(12, None)).await;
    let next_month = "2026-11-01T00:00:00Z";
    let mut after = vms(16, own(16));
    after.push(vm("by-row-of-the-next-month", "vm.resized", own(99)));
    after.sort_by(|a, b| a.id.cmp(&b.id));
    poll(ledger, next_month, vec![cloud("c1", "new name")], after).await;
    catalogue(ledger, next_month, vec![kept, resized(16)]).await;
}

fn lists() -> (Vec<InstanceType>, Vec<Cloud>) {
    let types = vec![
        of_type("vm.kept", size(4, 8192, 0)),
        of_type("vm.new", size(1, 512, 0)),
        of_type("vm.resized", size(16, 16384, 0)),
    ];
    (types, vec![cloud("c1", "new name"), cloud("c3", "late")])
}

fn of_the_month() -> BTreeMap<String, [String; 3]> {
    expected(&[
        ("by-row", "12", "16384", "0"),
        ("by-row-alone", "3", "1024", "2"),
        ("by-row-again-later", "10", "16384", "0"),
        ("by-catalogue", "8", "16384", "0"),
        ("by-catalogue-deleted", "2", "4096", "1"),
        ("by-catalogue-not-by-row-of-another-type", "4", "8192", "0"),
        ("by-row-of-the-next-month", "8", "16384", "0"),
        ("by-closing", "1", "512", "0"),
        ("unknown", "", "", ""),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_and_names_are_those_of_the_month() {
    let stage = Stage::new(TIME).await;
    observe(&stage.ledger).await;
    let (types, clouds) = lists();
    serve(&stage, &VMS, &types, &clouds);
    let published = written(stage.closer().close(month(MONTH), &terms()).await.unwrap());
    assert_eq!(sizes(&published), of_the_month());
    let names = cells(&published, ["cloud"]);
    for (vm, name) in
        [("by-row", "old name"), ("by-row-alone", "deleted"), ("by-closing", "late"), ("unknown", "")]
    {
        assert_eq!(names[vm], [name], "{vm}");
    }
    for (vm, ..) in VMS {
        assert_eq!(flags(&published, vm).contains("unknown_type"), vm == "unknown", "{vm}");
    }
    // The manifest shows what the report used: the types of the month, and those known at closing alone.
    let manifest = manifest(&published);
    let types = manifest["catalogue"]["instance_types"].as_array().unwrap();
    let types: Vec<_> =
        types.iter().map(|of| (of["name"].as_str().unwrap(), of["vcpus"].as_u64().unwrap())).collect();
    assert_eq!(types, [("vm.deleted", 2), ("vm.kept", 4), ("vm.new", 1), ("vm.resized", 8)]);
    // A lost file is recreated from what is frozen, whatever the lists are now.
    let by_vm = published.files.iter().find(|path| path.to_string_lossy().ends_with("_by-vm.csv")).unwrap();
    let bytes = std::fs::read(by_vm).unwrap();
    std::fs::remove_file(by_vm).unwrap();
    serve(&stage, &VMS, &[], &[]);
    assert!(stage.closer().audit().await.unwrap().is_empty());
    assert_eq!(std::fs::read(by_vm).unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn restatements_keep_sizes_and_names_without_lists_or_ledger() {
    let stage = Stage::new(TIME).await;
    observe(&stage.ledger).await;
    let (types, clouds) = lists();
    serve(&stage, &VMS, &types, &clouds);
    let closer_of_stage = stage.closer();
    let first = written(closer_of_stage.close(month(MONTH), &terms()).await.unwrap());
    serve(&stage, &VMS, &[], &[]);
    let second = written(closer_of_stage.restate(month(MONTH), &forced("again")).await.unwrap());
    assert_eq!(cells(&second, ["cloud"]), cells(&first, ["cloud"]));
    assert_eq!(sizes(&second), of_the_month());
    // With a new ledger, the files of the revision are all that is known.
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&folder.path().join("ledger.db")).unwrap();
    let without = closer((*stage.config).clone(), ledger, stage.hand.clock());
    let third = written(without.restate(month(MONTH), &forced("the ledger was lost")).await.unwrap());
    assert_eq!(third.revision, 3);
    assert_eq!(cells(&third, ["cloud"]), cells(&first, ["cloud"]));
    assert_eq!(sizes(&third), of_the_month());
}

#[tokio::test(flavor = "multi_thread")]
async fn restatement_adds_only_sizes_that_were_unknown() {
    let stage = Stage::new(TIME).await;
    let old = [of_type("vm.kept", size(4, 8192, 0))];
    serve(&stage, &[("known", "vm.kept", "c1"), ("unknown", "vm.lost", "c1")], &old, &[]);
    let closer = stage.closer();
    let first = written(closer.close(month(MONTH), &terms()).await.unwrap());
    assert_eq!(sizes(&first), expected(&[("known", "4", "8192", "0"), ("unknown", "", "", "")]));
    // A restored ledger knows more of the month, and describes the type of the frozen catalogue differently.
    let other = size(5, 8192, 0);
    catalogue(&stage.ledger, "2026-10-10T00:00:00Z", vec![of_type("vm.kept", other)]).await;
    let vms = vec![
        vm("added", "vm.kept", Some(other)),
        vm("known", "vm.kept", Some(other)),
        vm("unknown", "vm.lost", Some(size(7, 512, 1))),
    ];
    poll(&stage.ledger, "2026-10-12T00:00:00Z", vec![cloud("c1", "found")], vms).await;
    let rows = [
        ("added", "vm.kept", "c1"),
        ("known", "vm.kept", "c1"),
        ("listed", "vm.kept", "c1"),
        ("unknown", "vm.lost", "c1"),
    ];
    serve(&stage, &rows, &[], &[]);
    let second = written(closer.restate(month(MONTH), &forced("the ledger was restored")).await.unwrap());
    let found = expected(&[
        ("added", "5", "8192", "0"),
        ("known", "4", "8192", "0"),
        ("listed", "4", "8192", "0"),
        ("unknown", "7", "512", "1"),
    ]);
    assert_eq!(sizes(&second), found);
    assert_eq!(cells(&second, ["cloud"])["known"], ["found"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn months_before_the_first_observation_use_the_lists_at_closing() {
    let stage = Stage::new(TIME).await;
    // As after an upgrade in November: everything that is observed is of a later month.
    let (types, clouds) = lists();
    catalogue(&stage.ledger, "2026-11-01T00:00:00Z", vec![of_type("vm.resized", size(1, 1, 1))]).await;
    let vms = vec![vm("by-row", "vm.resized", Some(size(2, 2, 2)))];
    poll(&stage.ledger, "2026-11-01T00:00:00Z", vec![cloud("c1", "later")], vms).await;
    serve(&stage, &VMS, &types, &clouds);
    let published = written(stage.closer().close(month(MONTH), &terms()).await.unwrap());
    assert_eq!(sizes(&published)["by-row"], ["16", "16384", "0"]);
    assert_eq!(cells(&published, ["cloud"])["by-row"], ["new name"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_lists_at_closing_lose_no_size_that_was_known() {
    let stage = Stage::new(TIME).await;
    observe(&stage.ledger).await;
    // The catalogue is empty in a poll before the closing, too.
    catalogue(&stage.ledger, "2026-11-02T00:00:00Z", Vec::new()).await;
    serve(&stage, &VMS, &[], &[]);
    let published = written(stage.closer().close(month(MONTH), &terms()).await.unwrap());
    let mut known = of_the_month();
    known.insert("by-closing".to_owned(), Default::default());
    assert_eq!(sizes(&published), known);
    assert_eq!(cells(&published, ["cloud"])["by-row"], ["old name"]);
}

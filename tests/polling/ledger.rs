//! A ledger that cannot write stops nothing else.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use flexvm_exporter::ledger::Ledger;
use flexvm_exporter::period::Month;

use crate::rig::{Rig, value};

const FAILURES: &str = "flexvm_exporter_ledger_failures_total{reason=\"full\"}";
const POLLS: &str = "flexvm_exporter_ledger_polls_total";

/// A file system in memory that is small, until this is dropped.
struct Small(tempfile::TempDir);

impl Small {
    /// `None` where mounting is not allowed.
    fn mounted() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(folder.path()).stderr(Stdio::null());
        if mount.status().is_ok_and(|status| status.success()) {
            return Some(Self(folder));
        }
        println!("SKIPPED: not allowed to mount a small file system");
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: a daemon of the test may still have the ledger open.
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_counted_and_everything_else_goes_on() {
    let Some(disk) = Small::mounted() else { return };
    let rig = Rig::with(|config| config.ledger.path = disk.path().join("ledger.db")).await;
    rig.until("recorded polls", |text| value(text, POLLS) > Some(1.0)).await;
    let ballast = disk.path().join("ballast");
    let mut file = File::create(&ballast).unwrap();
    while file.write_all(&[0; 512]).is_ok() {}
    drop(file);
    let text = rig.until("a full disk", |text| value(text, FAILURES) > Some(1.0)).await;
    let last = |text: &str| {
        let series = "flexvm_exporter_collector_last_success_timestamp_seconds";
        value(text, &format!("{series}{{collector=\"inventory\",tenant=\"one\"}}"))
    };
    let (recorded, fetched) = (value(&text, POLLS), last(&text));
    let text = rig.until("further polls", |text| last(text) > fetched).await;
    assert_eq!(value(&text, "flexvm_up{tenant=\"one\"}"), Some(1.0));
    assert!(text.contains("flexvm_vm_status{"), "{text}");
    assert_eq!(value(&text, POLLS), recorded, "a poll that failed counts as recorded");
    // Room again: it goes on by itself, and what was there is whole.
    fs::remove_file(&ballast).unwrap();
    rig.until("polls to be recorded again", |text| value(text, POLLS) > recorded).await;
    let found = flexvm_exporter::ledger::inspect(&disk.path().join("ledger.db")).unwrap();
    assert_eq!(found.check, "ok");
    assert!(found.tenants["one"].polls >= 3, "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_sizes_of_polls_are_recorded() {
    let rig = Rig::new().await;
    let catalogue = "flexvm_exporter_collector_success{collector=\"catalogue\",tenant=\"one\"}";
    rig.until("recorded polls and a catalogue", |text| {
        value(text, POLLS) > Some(0.0) && value(text, catalogue) == Some(1.0)
    })
    .await;
    let month: Month = "2026-10".parse().unwrap();
    let ledger = Ledger::read_only(&rig.config.ledger.path);
    let known = ledger.names_and_sizes("one", month.period()).unwrap();
    assert_eq!(known.clouds.len(), 2);
    assert!(known.clouds.iter().all(|cloud| !cloud.name.is_empty()), "{:?}", known.clouds);
    let catalogue: BTreeMap<_, _> =
        known.instance_types.iter().map(|of| (of.name.clone(), of.size())).collect();
    assert!(catalogue.len() > 3 && catalogue.values().any(|size| size.gpus > 0), "{catalogue:?}");
    // The simulator states the size of the type in each row.
    assert_eq!(known.vm_sizes.len(), 60);
    for (vm, (name, size)) in &known.vm_sizes {
        assert_eq!(catalogue.get(name), Some(size), "{vm}");
    }
}

//! A ledger that cannot write stops nothing else.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

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

//! The file: what it keeps, and what it refuses.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use flexvm_exporter::ledger::{Beginning, Ledger, LedgerError, RevisionRow, Since};
use flexvm_exporter::period::{Month, Period};
use flexvm_exporter::snapshot::{InventoryData, VmStatus};
use flexvm_exporter::usage::{Use, UseSeconds, Witness as _};
use jiff::Timestamp;

use super::{at, poll};

const GAP: Duration = Duration::from_mins(3);

async fn observe(ledger: &Ledger, tenant: &str, seconds: i64, data: InventoryData) -> Since {
    ledger.observe(tenant.into(), at(seconds), GAP, Arc::new(data)).await.unwrap()
}

fn seconds(ledger: &Ledger, tenant: &str, vm: &str, until: i64) -> Option<UseSeconds> {
    let period = Period { start: at(0), end: at(until) };
    ledger.observations(tenant, period, Timestamp::MAX).unwrap().observed(vm, period)
}

fn uses(parts: &[(Use, u64)]) -> UseSeconds {
    let mut seconds = UseSeconds::default();
    for (of, count) in parts {
        seconds.add(*of, *count);
    }
    seconds
}

#[tokio::test]
async fn what_polls_saw_outlives_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = Ledger::open(&path).unwrap();
    observe(&ledger, "t", 0, poll([("a", VmStatus::Running), ("b", VmStatus::Stopped)])).await;
    observe(&ledger, "other", 0, poll([("a", VmStatus::Failed)])).await;
    let since = observe(&ledger, "t", 60, poll([("a", VmStatus::Running), ("b", VmStatus::Running)])).await;
    assert_eq!(since, [Some(at(0)), Some(at(60))]);
    drop(ledger);

    let ledger = Ledger::open(&path).unwrap();
    let since = observe(&ledger, "t", 120, poll([("b", VmStatus::Running), ("c", VmStatus::Paused)])).await;
    assert_eq!(since, [Some(at(60)), Some(at(120))]);
    // Too late to prove what was between.
    observe(&ledger, "t", 400, poll([("b", VmStatus::Running)])).await;
    observe(&ledger, "t", 410, poll([("b", VmStatus::Running)])).await;
    assert_eq!(seconds(&ledger, "t", "a", 1000), Some(uses(&[(Use::Running, 120)])));
    assert_eq!(seconds(&ledger, "t", "b", 1000), Some(uses(&[(Use::Stopped, 60), (Use::Running, 70)])));
    assert_eq!(seconds(&ledger, "t", "c", 1000), Some(uses(&[])));
    assert_eq!(seconds(&ledger, "t", "never", 1000), None);
    assert_eq!(seconds(&ledger, "other", "a", 1000), Some(uses(&[])));
    assert_eq!(seconds(&ledger, "nobody", "a", 1000), None);
    assert_eq!(ledger.statistics().longest_gap.load(std::sync::atomic::Ordering::Relaxed), 280);
}

#[tokio::test]
async fn what_did_not_change_is_not_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&folder.path().join("ledger.db")).unwrap();
    for time in 0..10 {
        observe(&ledger, "t", time * 60, poll([("a", VmStatus::Running)])).await;
    }
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!((count(&ledger.statistics().polls), count(&ledger.statistics().events)), (10, 1));
}

#[tokio::test]
async fn a_poll_before_the_newest_recorded_one_counts_as_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&folder.path().join("ledger.db")).unwrap();
    let failures = || ledger.statistics().failures().find(|(reason, _)| *reason == "clock").unwrap().1;
    let polls = || ledger.statistics().polls.load(std::sync::atomic::Ordering::Relaxed);
    let running = || poll([("a", VmStatus::Running)]);
    observe(&ledger, "t", 86_400, running()).await;
    // Twice within a second loses nothing.
    observe(&ledger, "t", 86_400, running()).await;
    assert_eq!((failures(), polls()), (0, 1));
    // The clock was a day ahead then, and is right now; what is known of the VM is told all the same.
    for (time, count) in [(60, 1), (120, 2)] {
        let since = observe(&ledger, "t", time, running()).await;
        assert_eq!(since, [Some(at(86_400))]);
        assert_eq!((failures(), polls()), (count, 1));
    }
    observe(&ledger, "t", 86_460, running()).await;
    assert_eq!((failures(), polls()), (2, 2));
}

#[tokio::test]
async fn a_vm_that_comes_back_is_itself() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&folder.path().join("ledger.db")).unwrap();
    observe(&ledger, "t", 0, poll([("a", VmStatus::Running)])).await;
    observe(&ledger, "t", 60, poll([])).await;
    let since = observe(&ledger, "t", 120, poll([("a", VmStatus::Running)])).await;
    assert_eq!(since, [Some(at(120))]);
    observe(&ledger, "t", 150, poll([("a", VmStatus::Running)])).await;
    assert_eq!(seconds(&ledger, "t", "a", 1000), Some(uses(&[(Use::Running, 90)])));
}

#[tokio::test]
async fn polls_after_a_time_do_not_count_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&folder.path().join("ledger.db")).unwrap();
    for time in [0, 60, 120] {
        observe(&ledger, "t", time, poll([("a", VmStatus::Running)])).await;
    }
    let period = Period { start: at(0), end: at(1000) };
    let observed = |until| ledger.observations("t", period, at(until)).unwrap().observed("a", period);
    assert_eq!(observed(60), Some(uses(&[(Use::Running, 60)])));
    assert_eq!(observed(119), Some(uses(&[(Use::Running, 60)])));
    assert_eq!(observed(120), Some(uses(&[(Use::Running, 120)])));
}

#[test]
fn revisions_are_recorded_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = Ledger::open(&path).unwrap();
    // Beside the daemon, as the command `report` does it.
    let second = Ledger::beside(&path).unwrap();
    let month: Month = "2026-10".parse().unwrap();
    let row = |digest: &str| RevisionRow {
        revision: 1,
        published: false,
        digest: digest.to_owned(),
        closed_at: at(0),
        inputs: Some(vec![1, 2, 3]),
    };
    assert_eq!(ledger.revision("t", month).unwrap(), None);
    assert_eq!(ledger.record_revision("t", month, row("first")).unwrap(), row("first"));
    assert_eq!(second.record_revision("t", month, row("second")).unwrap(), row("first"));
    second.published("t", month, 1).unwrap();
    let published = RevisionRow { published: true, ..row("first") };
    assert_eq!(ledger.revision("t", month).unwrap(), Some(published));
    let since = |month: &str| {
        let new = Beginning { since: month.parse().unwrap(), beside_reports: false };
        ledger.begin("t", new).unwrap().since.to_string()
    };
    assert_eq!((since("2026-09"), since("2026-11")), ("2026-09".to_owned(), "2026-09".to_owned()));
}

#[test]
fn one_daemon_a_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let first = Ledger::open(&path).unwrap();
    assert!(matches!(Ledger::open(&path), Err(LedgerError::Locked(_))));
    drop(first);
    Ledger::open(&path).unwrap();
}

fn refused(path: &Path) -> String {
    Ledger::open(path).unwrap_err().to_string()
}

#[test]
fn what_is_not_a_ledger_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.db");
    std::fs::write(&text, "Dear diary, today I am not a database. ".repeat(100)).unwrap();
    assert!(refused(&text).contains("text.db is not a ledger"), "{}", refused(&text));
    assert!(std::fs::read_to_string(&text).unwrap().starts_with("Dear diary"));

    let foreign = folder.path().join("foreign.db");
    let connection = rusqlite::Connection::open(&foreign).unwrap();
    connection.execute_batch("CREATE TABLE accounts (id INTEGER)").unwrap();
    drop(connection);
    assert!(refused(&foreign).contains("foreign.db is not a ledger"), "{}", refused(&foreign));

    let newer = folder.path().join("newer.db");
    drop(Ledger::open(&newer).unwrap());
    let connection = rusqlite::Connection::open(&newer).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    assert!(refused(&newer).contains("has schema 99"), "{}", refused(&newer));

    let nowhere = folder.path().join("no/such/folder/ledger.db");
    assert!(matches!(Ledger::open(&nowhere), Err(LedgerError::File { .. })));
    assert!(matches!(Ledger::beside(&nowhere), Err(LedgerError::File { .. })));
}

#[tokio::test]
async fn a_damaged_file_is_named_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = Ledger::open(&path).unwrap();
    observe(&ledger, "t", 0, poll([("a", VmStatus::Running)])).await;
    drop(ledger);
    // The header stays, and everything behind the first page is gone.
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..4096]).unwrap();
    let period = Period { start: at(0), end: at(60) };
    let read = Ledger::read_only(&path).observations("t", period, Timestamp::MAX).map(drop);
    let exported = flexvm_exporter::ledger::export(&path, std::io::sink()).map(drop);
    let opened = Ledger::open(&path).and_then(|ledger| ledger.beginning("t")).map(drop);
    for result in [read, exported, opened] {
        let error = result.unwrap_err();
        assert_eq!(error.reason(), "corrupt");
        let said = format!("{:#}", anyhow::Error::from(error));
        assert!(said.starts_with(&format!("the ledger {} is damaged: ", path.display())), "{said}");
        assert!(said.contains("backup") && !said.contains("malformed"), "{said}");
    }
}

#[test]
fn empty_file_beside_a_lock_or_log_is_refused() {
    for end in [".lock", "-wal"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        std::fs::write(&path, "").unwrap();
        let mut other = path.clone().into_os_string();
        other.push(end);
        std::fs::write(&other, "").unwrap();
        for opened in [Ledger::open(&path).map(drop), Ledger::beside(&path).map(drop)] {
            let error = opened.unwrap_err();
            assert_eq!(error.reason(), "corrupt");
            assert!(error.to_string().contains("0 bytes") && error.to_string().contains(end), "{error}");
        }
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0, "nothing is created");
    }
    // Without them it is a first start.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    std::fs::write(&path, "").unwrap();
    Ledger::open(&path).unwrap();
}

#[tokio::test]
async fn deleted_ledger_fails_and_is_reopened_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = Ledger::open(&path).unwrap();
    let vms = || std::sync::Arc::new(poll([("a", VmStatus::Running)]));
    let gap = std::time::Duration::from_mins(3);
    let observe = |second| ledger.observe("t".into(), at(second), gap, vms());
    observe(0).await.unwrap();
    let aside = folder.path().join("aside");
    std::fs::create_dir(&aside).unwrap();
    let move_all = |from: &std::path::Path, to: &std::path::Path| {
        for end in ["", "-wal", "-shm"] {
            let name = format!("ledger.db{end}");
            if from.join(&name).exists() {
                std::fs::rename(from.join(&name), to.join(&name)).unwrap();
            }
        }
    };
    move_all(folder.path(), &aside);
    for second in [60, 120] {
        let error = observe(second).await.unwrap_err();
        assert_eq!(error.reason(), "unavailable");
        assert!(matches!(error, LedgerError::Deleted(_)), "{error}");
        assert!(!path.exists(), "a running daemon creates no ledger");
    }
    let failures = |ledger: &Ledger| {
        ledger.statistics().failures().find(|(reason, _)| *reason == "unavailable").unwrap().1
    };
    assert_eq!(failures(&ledger), 2);
    move_all(&aside, folder.path());
    observe(180).await.unwrap();
    let period = Period { start: at(0), end: at(3600) };
    let polls = ledger.observations("t", period, Timestamp::MAX).unwrap().polls;
    assert_eq!(polls, [at(0), at(180)]);
}

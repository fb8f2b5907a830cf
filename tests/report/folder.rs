//! How a month appears in its folder: once, whole, durable, and never over another.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Barrier;

use flexvm_exporter::api::Reason;
use flexvm_exporter::period::Month;
use flexvm_exporter::report::{Folder, Outcome, ReportError, Status, write_copy, write_whole};
use rust_decimal::Decimal;

use crate::month::{Publish as _, World, at, empty, odd};

/// Every path below `folder` with its bytes, but for the lock.
fn tree(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.push((path.clone(), Vec::new()));
            found.extend(tree(&path));
        } else if entry.file_name() != ".lock" {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

fn temporaries(folder: &Path) -> Vec<PathBuf> {
    let hidden = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(".tmp");
    tree(folder).into_iter().map(|(path, _)| path).filter(hidden).collect()
}

fn open(directory: &Path) -> Folder {
    Folder::open(directory, "k12345").unwrap()
}

fn month(text: &str) -> Month {
    text.parse().unwrap()
}

#[test]
fn a_month_is_closed_once() {
    let (directory, world) = (tempfile::tempdir().unwrap(), odd());
    let folder = open(directory.path());
    assert!(folder.current(world.month).unwrap().is_none());
    assert!(folder.newest().unwrap().is_none());
    let Outcome::Written(written) = folder.publish(&world.inputs()).unwrap() else { panic!("not written") };
    assert_eq!((written.revision, written.status), (1, Status::Final));
    assert_eq!(written.files.len(), 7);
    assert!(written.files.iter().all(|file| file.is_file()));
    let before = tree(directory.path());

    let mut changed = odd();
    changed.monthly.vms.truncate(3);
    let Outcome::Already(found) = folder.publish(&changed.inputs()).unwrap() else { panic!("written twice") };
    assert_eq!(found.totals, written.totals);
    assert_eq!(tree(directory.path()), before, "nothing changed");
    assert!(temporaries(directory.path()).is_empty());

    let closed = found.closed_month();
    assert_eq!((closed.month, closed.revision), (world.month, 1));
    assert_eq!((closed.reported_vm_hours, closed.vm_seconds), (1541, 5_501_704));
    let cost = Decimal::from_str_exact("249.8151").unwrap();
    assert_eq!(closed.internal_cost, Some((cost, "EUR".into())));
    assert_eq!(found.reconciliation.vms_released, 1);
    assert_eq!(found.reconciliation.seconds.total, 5_501_704 - 1532 * 3600);
}

#[test]
fn every_byte_is_readable_by_all() {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let (directory, world) = (tempfile::tempdir().unwrap(), odd());
        let outcome = open(directory.path()).publish(&world.inputs()).unwrap();
        for file in &outcome.published().files {
            assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o644, "{}", file.display());
        }
    }
}

#[test]
fn a_provisional_report_is_replaced_and_closes_nothing() {
    let (directory, mut world) = (tempfile::tempdir().unwrap(), odd());
    let folder = open(directory.path());
    world.fetched_at = at("2026-10-15T12:00:00Z");
    let first = folder.provisional(&world.inputs()).unwrap();
    assert_eq!((first.revision, first.status), (0, Status::Provisional));
    world.monthly.vms.truncate(2);
    let second = folder.provisional(&world.inputs()).unwrap();
    assert_eq!((first.dir.clone(), first.files.clone()), (second.dir.clone(), second.files));
    assert_eq!(second.totals.vms, 2);
    assert_eq!(second.dir, folder.path().join("2026-10/provisional"));
    let by_vm =
        fs::read_to_string(second.dir.join("flexvm-usage_k12345_2026-10_provisional_by-vm.csv")).unwrap();
    let row = by_vm.lines().nth(1).unwrap();
    assert!(
        row.starts_with(
            "\"k12345\",\"2026-10-01T00:00:00Z\",\"2026-11-01T00:00:00Z\",0,\"provisional\",\"vm-01\","
        ),
        "{row}"
    );
    // The VM that lives is counted up to the fetch: two weeks and a half day.
    assert_eq!(second.totals.vm_seconds, (14 * 24 + 12) * 3600 + 1800);
    assert!(second.warnings[0].contains("2026-10-15T12:00:00Z"), "{:?}", second.warnings);
    assert!(folder.current(world.month).unwrap().is_none());
    assert!(temporaries(directory.path()).is_empty());
    assert!(!folder.path().join("index.csv").exists());
}

#[test]
fn threads_that_race_write_one_report() {
    const THREADS: usize = 8;
    let (directory, world) = (tempfile::tempdir().unwrap(), odd());
    // A witness is not `Send`, so each thread makes the same world for itself.
    let barrier = Barrier::new(THREADS);
    let written: usize = std::thread::scope(|scope| {
        let race = || {
            let world = odd();
            let folder = open(directory.path());
            barrier.wait();
            usize::from(matches!(folder.publish(&world.inputs()).unwrap(), Outcome::Written(_)))
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(race)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(written, 1);
    assert!(temporaries(directory.path()).is_empty());
    let alone = tempfile::tempdir().unwrap();
    open(alone.path()).publish(&world.inputs()).unwrap();
    let bytes = |directory: &Path| tree(directory).into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>();
    assert!(bytes(directory.path()) == bytes(alone.path()));
}

/// The other side of tests with several processes: closes the month in the folder that it is told.
#[test]
#[ignore = "run by other tests, as a process of its own"]
fn child() {
    #[expect(clippy::disallowed_methods, reason = "how the parent tells it")]
    let Some(directory) = std::env::var_os("REPORT_TEST_DIRECTORY") else { return };
    let outcome = Folder::open(Path::new(&directory), "k12345").and_then(|it| it.publish(&odd().inputs()));
    println!();
    match outcome {
        Ok(Outcome::Written(_)) => println!("outcome=written"),
        Ok(Outcome::Already(_)) => println!("outcome=already"),
        Err(error) => println!("outcome={}", error.reason().as_str()),
    }
}

/// A command that runs [`child`] on a folder, after `before` in a shell.
fn child_process(directory: &Path, before: &str) -> Command {
    let mut command = Command::new("sh");
    let this = std::env::current_exe().unwrap();
    command
        .arg("-c")
        .arg(format!("{before}\nexec \"$0\" --exact folder::child --ignored --nocapture"))
        .arg(this);
    command.env("REPORT_TEST_DIRECTORY", directory).stdout(Stdio::piped());
    command
}

fn outcome(output: &std::process::Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("outcome=").map(str::to_owned));
    line.unwrap_or_else(|| panic!("no outcome in {text}"))
}

#[test]
fn processes_that_race_write_one_report() {
    let directory = tempfile::tempdir().unwrap();
    let children: Vec<_> = (0..4).map(|_| child_process(directory.path(), ":").spawn().unwrap()).collect();
    let mut outcomes: Vec<_> =
        children.into_iter().map(|child| outcome(&child.wait_with_output().unwrap())).collect();
    outcomes.sort();
    assert_eq!(outcomes, ["already", "already", "already", "written"]);
    assert!(temporaries(directory.path()).is_empty());
}

#[test]
fn a_full_disk_leaves_nothing_and_succeeds_once_there_is_room() {
    // A limit on the size of files stands in for a disk: writing past it fails in the same way.
    for blocks in [0, 1, 2, 4, 8] {
        let directory = tempfile::tempdir().unwrap();
        let folder = open(directory.path());
        let output = child_process(directory.path(), &format!("trap '' XFSZ; ulimit -f {blocks} || exit 9"));
        assert_eq!(outcome(&{ output }.output().unwrap()), "storage", "{blocks} blocks");
        let left = tree(folder.path());
        assert!(left.iter().all(|(path, _)| path.ends_with("2026-10")), "{blocks} blocks: {left:?}");
        assert!(folder.current(month("2026-10")).unwrap().is_none());
        assert!(matches!(folder.publish(&odd().inputs()).unwrap(), Outcome::Written(_)));
    }
}

#[test]
fn a_really_full_disk_is_no_different() {
    let directory = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(directory.path())
        .stderr(Stdio::null())
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        println!("SKIPPED: not allowed to mount a small file system");
        return;
    }
    let tried = std::panic::catch_unwind(|| {
        let folder = open(directory.path());
        let ballast = directory.path().join("ballast");
        let mut file = File::create(&ballast).unwrap();
        while file.write_all(&[0; 512]).is_ok() {}
        drop(file);
        let error = folder.publish(&odd().inputs()).unwrap_err();
        assert_eq!(error.reason(), Reason::Storage, "{error}");
        assert!(temporaries(directory.path()).is_empty());
        assert!(folder.current(month("2026-10")).unwrap().is_none());
        fs::remove_file(&ballast).unwrap();
        assert!(matches!(folder.publish(&odd().inputs()).unwrap(), Outcome::Written(_)));
    });
    assert!(Command::new("umount").arg(directory.path()).status().unwrap().success());
    tried.unwrap();
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error_of_storage() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("k12345"), "a file").unwrap();
    assert_eq!(Folder::open(directory.path(), "k12345").unwrap_err().reason(), Reason::Storage);
    let world = odd();
    let below = directory.path().join("k12345/deeper");
    assert_eq!(Folder::open(&below, "k12345").unwrap_err().reason(), Reason::Storage);
    assert_eq!(write_copy(&world.inputs(), &below).unwrap_err().reason(), Reason::Storage);
    for tenant in ["..", ".", "", "a/b", "/tmp"] {
        assert!(Folder::open(directory.path(), tenant).is_err(), "{tenant:?}");
    }
    // A month whose folder is taken by a file.
    let other = tempfile::tempdir().unwrap();
    let folder = open(other.path());
    fs::write(folder.path().join("2026-10"), "a file").unwrap();
    assert_eq!(folder.publish(&world.inputs()).unwrap_err().reason(), Reason::Storage);
    assert!(temporaries(other.path()).is_empty());
}

#[test]
#[cfg(unix)]
fn a_read_only_folder_can_be_read_but_not_written() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let folder = open(directory.path());
    folder.publish(&odd().inputs()).unwrap();
    let mode = |mode| fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
    mode(0o555);
    if File::create(folder.path().join("probe")).is_ok() {
        println!("SKIPPED: this user may write to folders that are read-only");
    } else {
        assert!(open(directory.path()).current(month("2026-10")).unwrap().is_some());
        assert_eq!(folder.publish(&empty().inputs()).unwrap_err().reason(), Reason::Storage);
    }
    mode(0o755);
}

#[test]
fn what_a_crash_left_goes_unless_somebody_writes() {
    let directory = tempfile::tempdir().unwrap();
    let folder = open(directory.path());
    let half = folder.path().join("2026-10/.tmp-r01-4711-0");
    let leave = || {
        fs::create_dir_all(&half).unwrap();
        fs::write(half.join("flexvm-usage_k12345_2026-10_r01_by-tag.csv"), "half a li").unwrap();
        fs::write(folder.path().join(".tmp-index.csv-4711-1"), "half").unwrap();
    };
    leave();
    let lock = File::open(folder.path().join(".lock")).unwrap();
    lock.lock().unwrap();
    open(directory.path());
    assert!(half.exists(), "a process that writes keeps what it is writing");
    drop(lock);
    open(directory.path());
    assert!(temporaries(directory.path()).is_empty());
    leave();
    assert!(folder.current(month("2026-10")).unwrap().is_none(), "half a report is none");
    assert!(matches!(open(directory.path()).publish(&odd().inputs()).unwrap(), Outcome::Written(_)));
    assert!(temporaries(directory.path()).is_empty());
}

#[test]
fn a_lock_that_is_never_released_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let folder = open(directory.path());
    let lock = File::open(folder.path().join(".lock")).unwrap();
    lock.lock().unwrap();
    let error = folder.publish(&odd().inputs()).unwrap_err();
    assert!(matches!(error, ReportError::Locked(_)) && error.reason() == Reason::Storage, "{error}");
    drop(lock);
    assert!(matches!(folder.publish(&odd().inputs()).unwrap(), Outcome::Written(_)));
}

#[test]
fn a_revision_that_is_not_whole_is_named_and_left_alone() {
    type Harm = fn(&Path);
    let manifest = |revision: &Path| revision.join("flexvm-usage_k12345_2026-10_r01_manifest.json");
    let harms: [(&str, Harm); 5] = [
        ("no manifest", |revision| {
            fs::remove_file(revision.join("flexvm-usage_k12345_2026-10_r01_manifest.json")).unwrap();
        }),
        ("half a manifest", |revision| {
            let path = revision.join("flexvm-usage_k12345_2026-10_r01_manifest.json");
            let half = fs::read(&path).unwrap().split_off(100);
            fs::write(&path, half).unwrap();
        }),
        ("an empty folder", |revision| {
            fs::remove_dir_all(revision).unwrap();
            fs::create_dir(revision).unwrap();
        }),
        ("a file", |revision| {
            fs::remove_dir_all(revision).unwrap();
            fs::write(revision, "").unwrap();
        }),
        ("another tenant's", |revision| {
            let path = revision.join("flexvm-usage_k12345_2026-10_r01_manifest.json");
            let text = fs::read_to_string(&path).unwrap().replace("\"k12345\"", "\"k99999\"");
            fs::write(&path, text).unwrap();
        }),
    ];
    for (what, harm) in harms {
        let (directory, world) = (tempfile::tempdir().unwrap(), odd());
        let folder = open(directory.path());
        let written = folder.publish(&world.inputs()).unwrap().published().clone();
        assert!(manifest(&written.dir).exists());
        folder.publish(&empty().inputs()).unwrap();
        harm(&written.dir);
        let before = tree(folder.path().join("2026-10").as_path());
        for error in [folder.publish(&world.inputs()).unwrap_err(), folder.current(world.month).unwrap_err()]
        {
            assert_eq!(error.reason(), Reason::Exists, "{what}: {error}");
            assert!(error.to_string().contains("2026-10/r01"), "{what}: {error}");
        }
        assert_eq!(tree(folder.path().join("2026-10").as_path()), before, "{what}");
        let list = folder.list().unwrap();
        assert_eq!(
            list.iter().map(Result::is_ok).collect::<Vec<_>>(),
            [true, false],
            "{what} hides no other month"
        );
    }
}

fn index(folder: &Folder) -> Vec<String> {
    let text = fs::read_to_string(folder.path().join("index.csv")).unwrap();
    let mut csv = csv::Reader::from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let column = csv.headers().unwrap().iter().position(|name| name == "by_vm").unwrap();
    csv.records().map(|row| row.unwrap()[column].to_owned()).collect()
}

#[test]
fn the_index_lists_closed_months_and_heals() {
    let directory = tempfile::tempdir().unwrap();
    let folder = open(directory.path());
    folder.publish(&odd().inputs()).unwrap();
    folder.publish(&empty().inputs()).unwrap();
    let both = [
        "2026-02/r01/flexvm-usage_k12345_2026-02_r01_by-vm.csv",
        "2026-10/r01/flexvm-usage_k12345_2026-10_r01_by-vm.csv",
    ];
    assert_eq!(index(&folder), both);
    assert!(both.iter().all(|path| folder.path().join(path).is_file()));
    assert_eq!(folder.newest().unwrap().unwrap().month, month("2026-10"));

    let bytes = fs::read(folder.path().join("index.csv")).unwrap();
    fs::remove_file(folder.path().join("index.csv")).unwrap();
    open(directory.path());
    assert_eq!(fs::read(folder.path().join("index.csv")).unwrap(), bytes, "made anew");
    // A crash between closing a month and listing it.
    let lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    fs::write(folder.path().join("index.csv"), lines[..2].concat()).unwrap();
    open(directory.path());
    assert_eq!(fs::read(folder.path().join("index.csv")).unwrap(), bytes, "put right");
    // An index of version 0.1.0 has other columns.
    let old = String::from_utf8(bytes.clone()).unwrap().replace(",\"unsized_vm_seconds\"", "");
    fs::write(folder.path().join("index.csv"), old).unwrap();
    open(directory.path());
    assert_eq!(fs::read(folder.path().join("index.csv")).unwrap(), bytes, "the current columns");
    fs::remove_dir_all(folder.path().join("2026-02")).unwrap();
    open(directory.path());
    assert_eq!(index(&folder), both[1..]);
}

#[test]
fn figures_that_an_old_manifest_lacks_are_empty_in_the_index() {
    let directory = tempfile::tempdir().unwrap();
    let folder = open(directory.path());
    let published = folder.publish(&odd().inputs()).unwrap().published().clone();
    let path = published.dir.join("flexvm-usage_k12345_2026-10_r01_manifest.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let totals = manifest["totals"].as_object_mut().unwrap();
    assert!(totals.remove("unsized_vm_seconds").is_some() && totals.remove("stopped_cost").is_some());
    fs::write(&path, manifest.to_string()).unwrap();
    fs::remove_file(folder.path().join("index.csv")).unwrap();
    let folder = open(directory.path());
    assert_eq!(folder.newest().unwrap().unwrap().totals.stopped_cost, None);
    let mut csv = csv::Reader::from_path(folder.path().join("index.csv")).unwrap();
    let header = csv.headers().unwrap().clone();
    let row = csv.records().next().unwrap().unwrap();
    let cell = |name: &str| row[header.iter().position(|column| column == name).unwrap()].to_owned();
    let cells = ["unsized_vm_seconds", "gpu_hours", "verdict", "reason", "open_difference_seconds"].map(cell);
    assert_eq!(cells, ["", "72.00", "differs", "", "0"]);
}

#[test]
fn a_copy_never_overwrites_other_bytes() {
    let (directory, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let out = out.path().join("new/folder");
    let published = open(directory.path()).publish(&odd().inputs()).unwrap().published().clone();
    let copy = published.copy_to(&out).unwrap();
    assert_eq!((copy.dir.as_path(), copy.files.len()), (out.as_path(), 7));
    for (original, copy) in published.files.iter().zip(&copy.files) {
        assert_eq!(fs::read(original).unwrap(), fs::read(copy).unwrap());
    }
    assert_eq!(fs::read_dir(&out).unwrap().count(), 7);
    published.copy_to(&out).unwrap();

    fs::remove_file(&copy.files[0]).unwrap();
    fs::write(&copy.files[2], "somebody's notes").unwrap();
    let error = published.copy_to(&out).unwrap_err();
    assert_eq!(error.reason(), Reason::Exists, "{error}");
    assert!(!copy.files[0].exists(), "all or nothing");
    assert_eq!(fs::read_to_string(&copy.files[2]).unwrap(), "somebody's notes");

    fs::write(&published.files[1], "not what was signed").unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let error = published.copy_to(elsewhere.path()).unwrap_err();
    assert!(error.to_string().contains("checksum"), "{error}");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0, "nothing of it is handed on");
}

#[test]
fn a_copy_of_an_open_month_is_provisional_and_replaced() {
    let out = tempfile::tempdir().unwrap();
    let mut world: World = odd();
    let first = write_copy(&world.inputs(), out.path()).unwrap();
    assert_eq!((first.status, first.revision, first.files.len()), (Status::Provisional, 0, 7));
    world.monthly.vms.truncate(1);
    let second = write_copy(&world.inputs(), out.path()).unwrap();
    assert_eq!(second.totals.vms, 1);
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 7);
    assert!(second.files.iter().all(|file| file.is_file()));
}

#[test]
fn a_whole_file_replaces_and_leaves_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    write_whole(&path, b"one").unwrap();
    write_whole(&path, b"two").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
    fs::create_dir(directory.path().join("taken")).unwrap();
    assert!(write_whole(&directory.path().join("taken"), b"three").is_err());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

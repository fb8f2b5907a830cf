//! Mounts and users: directories that cannot be synced, `check --online` on disks, and files that root writes.
//!
//! Tests that need root print SKIPPED if they run without root.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use flexvm_exporter::clock::Clock;
use flexvm_exporter::period::Month;
use serde_json::Value;

use crate::place::{PATIENCE, Place, config, last_month, metric, until};
use crate::program::{run, tool};

/// A user and a group that own the state directory. They need not exist on the machine.
const USER: u32 = 65_532;
const OTHER: u32 = 65_531;
const GROUP: u32 = 65_532;

fn is_root() -> bool {
    let root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if !root {
        eprintln!("SKIPPED: this test needs root");
    }
    root
}

/// A directory `state` for ledger and reports, which belongs to [`USER`]; its configuration is in `l.yml`.
fn state(api: &str) -> (Place, String) {
    let place = Place::new();
    place.write("token", "simulator\n");
    // The directory of the test must let other users in.
    fs::set_permissions(place.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(place.path("token"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::create_dir(place.path("state")).unwrap();
    chown(place.path("state"), Some(USER), Some(GROUP)).unwrap();
    let more = "poll: {inventory: 1s}\nreport: {directory: state/reports, settle: 0s, backfill: 1}\n";
    let text = config(api, more).replace("sqlite:l.db", "sqlite:state/l.db");
    (place, text)
}

/// Owner of everything below a directory, by path.
fn owners(directory: &Path) -> BTreeMap<PathBuf, (u32, u32)> {
    let mut owners = BTreeMap::new();
    for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        let Ok(metadata) = path.symlink_metadata() else { continue };
        if metadata.is_dir() {
            owners.append(&mut self::owners(&path));
        }
        owners.insert(path, (metadata.uid(), metadata.gid()));
    }
    owners
}

#[test]
fn files_of_root_belong_to_the_owner_of_the_directory() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let (_simulator, api) = place.simulator(&["--vms", "5"]);
    let (place, text) = state(&api);
    let state = place.path("state");
    let all_are_the_users = |least: usize| {
        let owners = owners(&state);
        assert!(owners.len() >= least, "{owners:?}");
        assert!(owners.values().all(|owner| *owner == (USER, GROUP)), "{owners:?}");
    };
    let ended = place.run_with(&text, &["report", "--month", &last_month().to_string()]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    all_are_the_users(13);
    let (mut daemon, address) = place.serve("l", &text);
    until("a recorded poll", || {
        let polls = metric(&address, "flexvm_exporter_ledger_polls_total")?;
        (polls != "0").then_some(())
    });
    let names: Vec<_> = owners(&state).into_keys().map(|it| it.file_name().unwrap().to_owned()).collect();
    for name in ["l.db", "l.db-wal", "l.db-shm", "l.db.lock", ".lock", "index.csv"] {
        assert!(names.iter().any(|it| it == name), "{name}: {names:?}");
    }
    all_are_the_users(17);
    // A copy in a directory of root can be put in the place of the ledger.
    for to in ["state/copy.db", "copy.db"] {
        let ended = place.run(&["--config.file", "l.yml", "ledger", "backup", to]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let copy = fs::metadata(place.path(to)).unwrap();
        assert_eq!((copy.uid(), copy.gid()), (USER, GROUP), "{to}");
    }
    daemon.signal("TERM");
    assert_eq!(daemon.code(PATIENCE), Some(0));
    let running = Month::of(Clock::system().now()).to_string();
    for more in [
        &["--month", &running][..],
        &["--month", &last_month().to_string(), "--restate", "--force", "--reason", "x"],
    ] {
        let ended = place.run_with(&text, &[&["report"], more].concat());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
    all_are_the_users(30);
}

#[test]
fn any_other_user_needs_only_write_access() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let (_simulator, api) = place.simulator(&["--vms", "5"]);
    let (place, text) = state(&api);
    place.write("l.yml", &text);
    fs::set_permissions(place.path("l.yml"), fs::Permissions::from_mode(0o644)).unwrap();
    // Any user of the group may write; the sticky group makes new files the group's.
    fs::set_permissions(place.path("state"), fs::Permissions::from_mode(0o2770)).unwrap();
    // The program may be below a directory that other users cannot enter.
    let program = place.path("program");
    fs::copy(env!("CARGO_BIN_EXE_flexvm-exporter"), &program).unwrap();
    let as_user = |user: u32, month: &str| {
        let mut command = Command::new(&program);
        command.args(["--config.file", "l.yml", "report", "--month", month]).current_dir(place.path(""));
        run(command.uid(user).gid(GROUP))
    };
    let first = as_user(USER, &last_month().to_string());
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    // What the first user made is writable for the group: files of the ledger, and the tenant's directory.
    for (path, _) in owners(&place.path("state")) {
        let mode = if path.is_dir() { 0o2770 } else { 0o660 };
        let is_lock = path.file_name().is_some_and(|name| name == ".lock");
        fs::set_permissions(&path, fs::Permissions::from_mode(if is_lock { 0o640 } else { mode })).unwrap();
    }
    let before = Month::of(Clock::system().now()).earlier_by(2).to_string();
    let second = as_user(OTHER, &before);
    assert_eq!(second.code, Some(0), "{}", second.stderr);
    let month = place.path("state/reports/k1").join(before);
    assert_eq!(fs::metadata(month).unwrap().uid(), OTHER, "nothing is given away");
}

#[test]
fn existing_lock_file_keeps_its_owner() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let state = place.path("state");
    fs::create_dir(&state).unwrap();
    std::os::unix::fs::chown(&state, Some(USER), Some(GROUP)).unwrap();
    // The owner of the directory can move a secret of root to the name of the lock.
    let lock = state.join("l.db.lock");
    fs::write(&lock, "secret").unwrap();
    drop(flexvm_exporter::filesystem::open_lock(&lock).unwrap());
    assert_eq!(fs::metadata(&lock).unwrap().uid(), 0);
    let new = state.join("new.lock");
    drop(flexvm_exporter::filesystem::open_lock(&new).unwrap());
    assert_eq!(fs::metadata(&new).unwrap().uid(), USER);
}

/// The path of a library that makes `fsync` of directories fail with an error, built by the system's compiler.
fn library(place: &Place, error: &str) -> Option<PathBuf> {
    tool("cc")?;
    let source = format!(
        "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <errno.h>\n#include <sys/stat.h>\n\
         int fsync(int fd) {{\n  static int (*real)(int);\n  if (!real) real = dlsym(RTLD_NEXT, \"fsync\");\n\
         struct stat s;\n  if (!fstat(fd, &s) && S_ISDIR(s.st_mode)) {{ errno = {error}; return -1; }}\n\
         return real(fd);\n}}\n"
    );
    let (source, library) = (place.write("fsync.c", &source), place.path(&format!("{error}.so")));
    let compiled =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).arg("-ldl").status();
    assert!(compiled.unwrap().success());
    Some(library)
}

#[test]
fn unsupported_directory_sync_is_not_an_error() {
    let place = Place::new();
    place.write("token", "simulator\n");
    let (_simulator, api) = place.simulator(&["--vms", "5"]);
    place.write("l.yml", &config(&api, "report: {directory: out, settle: 0s}\n"));
    for (error, fails) in [("EINVAL", false), ("EOPNOTSUPP", false), ("EIO", true)] {
        let Some(library) = library(&place, error) else { return };
        let with = |arguments: &[&str]| {
            let mut command = place.command([&["--config.file", "l.yml"], arguments].concat());
            run(command.env("LD_PRELOAD", &library))
        };
        let expected = Some(i32::from(fails));
        let check = with(&["check", "--online"]);
        assert_eq!(check.code, expected, "{error}: {}", check.stderr);
        assert!(!fails || check.stdout.contains("cannot sync a directory in "), "{}", check.stdout);
        let restate =
            ["report", "--month", &last_month().to_string(), "--restate", "--force", "--reason", "x"];
        let report = if place.path("l.db").exists() { with(&restate) } else { with(&restate[..3]) };
        assert_eq!(report.code, expected, "{error}: {}", report.stderr);
        let backup = with(&["ledger", "backup", &format!("{error}.db")]);
        assert_eq!(backup.code, expected, "{error}: {}", backup.stderr);
    }
}

#[test]
fn check_online_tries_storage_and_leaves_nothing() {
    let place = Place::new();
    place.write("token", "simulator\n");
    let (_simulator, api) = place.simulator(&["--vms", "5"]);
    let text = config(&api, "report: {directory: out, settle: 0s}\n");
    let check = || {
        let ended = place.run_with(&text, &["check", "--online", "--output", "json"]);
        let checked: Value = serde_json::from_str(&ended.stdout).unwrap();
        let storage = checked["storage"].as_array().unwrap().iter();
        let tried: Vec<_> = storage
            .map(|it| format!("{} {}", it["what"].as_str().unwrap(), it["result"].as_str().unwrap()))
            .collect();
        (ended.code, tried, checked)
    };
    let (code, tried, _) = check();
    assert_eq!(code, Some(0));
    assert_eq!(tried, ["report_directory absent", "ledger absent"]);
    assert!(!place.path("out").exists() && !place.path("l.db").exists());

    assert_eq!(place.run_with(&text, &["report", "--month", &last_month().to_string()]).code, Some(0));
    let snapshot = || {
        let mut files = place.files("");
        files.retain(|path, _| !path.to_string_lossy().starts_with("simulator."));
        files
    };
    let before = snapshot();
    let (code, tried, checked) = check();
    assert_eq!(code, Some(0), "{checked}");
    assert_eq!(tried, ["report_directory ok", "report_directory ok", "ledger ok"]);
    let path = place.path("l.db").display().to_string();
    assert_eq!(checked["storage"][2]["path"], path.as_str());
    assert!(snapshot() == before, "nothing is created, changed or removed");

    // A file system that is read-only, a directory that is a file, and a ledger that is damaged.
    fs::rename(place.path("out/k1"), place.path("out/aside")).unwrap();
    place.write("out/k1", "a file");
    fs::write(place.path("l.db"), "not a ledger at all, but some text").unwrap();
    let (code, tried, checked) = check();
    assert_eq!(code, Some(1));
    assert_eq!(tried, ["report_directory ok", "report_directory failed", "ledger failed"], "{checked}");
    let what: Vec<_> = checked["missing"].as_array().unwrap().iter().map(|it| &it["what"]).collect();
    assert_eq!(what, ["report_directory", "ledger"]);
}

#[test]
fn check_online_does_not_migrate_an_old_ledger() {
    let place = Place::new();
    place.write("token", "simulator\n");
    let (_simulator, api) = place.simulator(&["--vms", "5"]);
    let text = config(&api, "");
    assert_eq!(place.run_with(&text, &["report", "--month", &last_month().to_string()]).code, Some(0));
    // A ledger of the first schema has its tables of that time; the version alone shows it.
    let connection = rusqlite::Connection::open(place.path("l.db")).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    connection.close().unwrap();
    let before = fs::read(place.path("l.db")).unwrap();
    let ended = place.run_with(&text, &["check", "--online"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(fs::read(place.path("l.db")).unwrap() == before);
    assert!(!place.path("l.db-wal").exists() && !place.path("l.db-shm").exists());
}

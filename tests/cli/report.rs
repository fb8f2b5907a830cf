//! `report`, and the simulator that it is tried on.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use flexvm_exporter::clock::Clock;
use flexvm_exporter::period::Month;

use super::at;
use super::program::{Program, exporter, get, run};

fn this_month() -> Month {
    Month::of(Clock::system().now())
}

fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(files(&path));
        } else if !path.ends_with(".lock") {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn the_simulator_says_where_it_listens_and_wants_its_token() {
    let mut simulator = Program::simulate(&["--vms", "5"]);
    let (host, port) = simulator.address.strip_prefix("http://").unwrap().split_once(':').unwrap();
    assert_eq!(host, "127.0.0.1");
    assert!(port.parse::<u16>().is_ok());
    let (status, _) = get(&simulator.address, "/v3/flexVM/clouds").unwrap();
    assert!(matches!(status, 401 | 403), "{status}");
    simulator.signal("TERM");
    assert_eq!(simulator.wait(Duration::from_secs(10)).code(), Some(0));
}

#[test]
fn months_that_cannot_be_closed_are_usage_errors() {
    let folder = tempfile::tempdir().unwrap();
    let next = this_month().next().to_string();
    for month in [&*next, "2999-01", "2026-13", "October", "2026-02..2026-01", "", "2026-1", "..", "1999-12"]
    {
        let ended = run(at(&folder, "http://127.0.0.1:9").args(["report", "--month", month]));
        assert_eq!(ended.code, Some(2), "{month:?}: {}", ended.stderr);
        assert!(ended.stderr.len() > 20 && !ended.stderr.contains("panicked"), "{month:?}: {}", ended.stderr);
    }
    let last = this_month().previous().to_string();
    let ended =
        run(at(&folder, "http://127.0.0.1:9").args(["report", "--month", &last, "--tenant", "nobody"]));
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("nobody") && ended.stderr.contains("default"), "{}", ended.stderr);
    assert!(files(&folder.path().join("reports")).is_empty());
    for wrong in [&["--restate"][..], &["--reason", "x"], &["--restate", "--reason", " "]] {
        let ended = run(at(&folder, "http://127.0.0.1:9").args(["report", "--month", &last]).args(wrong));
        assert_eq!(ended.code, Some(2), "{wrong:?}: {}", ended.stderr);
    }
}

#[test]
fn an_api_that_is_down_fails_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let last = this_month().previous().to_string();
    let ended = run(at(&folder, "http://127.0.0.1:9").args(["report", "--month", &last]));
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(files(&folder.path().join("reports")).is_empty());
}

#[test]
fn a_month_is_closed_copied_repeated_and_restated() {
    let simulator = Program::simulate(&["--vms", "20", "--months", "3"]);
    let folder = tempfile::tempdir().unwrap();
    let last = this_month().previous().to_string();
    let report = |arguments: &[&str]| {
        run(at(&folder, &simulator.address).args(["report", "--month", &last]).args(arguments))
    };
    let reports = folder.path().join("reports");

    let dry = report(&["--dry-run"]);
    assert_eq!(dry.code, Some(0), "{}", dry.stderr);
    assert!(dry.stdout.contains("VM hours"), "{}", dry.stdout);
    let out = folder.path().join("out");
    let copied = report(&["--out", out.to_str().unwrap()]);
    assert_eq!(copied.code, Some(0), "{}", copied.stderr);
    assert!(files(&out).keys().all(|path| path.to_string_lossy().contains("_provisional_")));
    assert_eq!(files(&out).len(), 7);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "neither reports nor a ledger were made");

    let closed = report(&[]);
    assert_eq!(closed.code, Some(0), "{}", closed.stderr);
    let before = files(&reports);
    assert_eq!(before.len(), 8);
    let revision = reports.join("default").join(&last).join("r01");
    for path in fs::read_dir(&revision).unwrap().map(|entry| entry.unwrap().path()) {
        assert!(closed.stdout.contains(path.file_name().unwrap().to_str().unwrap()), "{}", closed.stdout);
    }
    let sums = format!("flexvm-usage_default_{last}_r01_SHA256SUMS");
    let checked = Command::new("sha256sum").arg("-c").arg(&sums).current_dir(&revision).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");

    let again = report(&[]);
    assert_eq!((again.code, files(&reports)), (Some(0), before.clone()), "{}", again.stderr);
    assert!(again.stdout.contains("already"), "{}", again.stdout);
    let other = folder.path().join("copy");
    assert_eq!(report(&["--out", other.to_str().unwrap()]).code, Some(0));
    assert!(files(&other).keys().all(|path| path.to_string_lossy().contains("_r01_")));

    let restated = report(&["--restate", "--reason", "an auditor asked"]);
    assert_eq!(restated.code, Some(0), "{}", restated.stderr);
    let after = files(&reports);
    assert_eq!(after.len(), 16);
    for (path, bytes) in before.iter().filter(|(path, _)| !path.ends_with("index.csv")) {
        assert_eq!(after.get(path), Some(bytes), "{}", path.display());
    }
}

#[test]
fn a_running_month_is_provisional_and_a_range_goes_on() {
    let simulator = Program::simulate(&["--vms", "20", "--months", "3"]);
    let folder = tempfile::tempdir().unwrap();
    let range = format!("{}..{}", this_month().earlier_by(2), this_month());
    let ended = run(at(&folder, &simulator.address)
        .env("FLEXVM_REPORT_DIRECTORY", "elsewhere")
        .args(["report", "--month", &range]));
    // Just after a month's end, the month before is settling, which refuses the range.
    if ended.code == Some(2) && ended.stderr.contains("settling") {
        return;
    }
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let of = |month: Month| folder.path().join("elsewhere/default").join(month.to_string());
    assert!(
        of(this_month().earlier_by(2)).join("r01").is_dir()
            && of(this_month().previous()).join("r01").is_dir()
    );
    assert!(of(this_month()).join("provisional").is_dir() && !of(this_month()).join("r01").exists());
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error_until_it_can() {
    let simulator = Program::simulate(&["--vms", "5"]);
    let folder = tempfile::tempdir().unwrap();
    let last = this_month().previous().to_string();
    fs::write(folder.path().join("reports"), "in the way").unwrap();
    let report = || run(at(&folder, &simulator.address).args(["report", "--month", &last]));
    let ended = report();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("reports"), "{}", ended.stderr);
    fs::remove_file(folder.path().join("reports")).unwrap();
    assert_eq!(report().code, Some(0));
}

#[test]
fn check_online_calls_every_endpoint() {
    let simulator = Program::simulate(&["--vms", "20"]);
    let folder = tempfile::tempdir().unwrap();
    let table = run(at(&folder, &simulator.address).args(["check", "--online"]));
    assert_eq!(table.code, Some(0), "{}", table.stderr);
    let json = run(at(&folder, &simulator.address).args(["check", "--online", "--output", "json"]));
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    for endpoint in [
        "clouds",
        "cloud",
        "nodes",
        "node",
        "instance_types",
        "images",
        "vms",
        "vm",
        "cloud_capacity",
        "capacity",
        "monthly",
    ] {
        assert!(table.stdout.contains(endpoint), "{endpoint}: {}", table.stdout);
        let rows = json.as_array().unwrap();
        assert!(
            rows.iter().any(|row| row["endpoint"] == endpoint && row["result"] == "ok"),
            "{endpoint}: {json}"
        );
    }
    let wrong = run(at(&folder, &simulator.address)
        .env("FLEXVM_API_TOKEN", "wr0ng-t0k3n")
        .args(["check", "--online"]));
    assert_eq!(wrong.code, Some(1));
    assert!(!wrong.stdout.contains("wr0ng") && !wrong.stderr.contains("wr0ng"));
    assert_eq!(run(exporter().args(["simulate", "--vms", "5", "--clouds", "0"])).code, Some(2));
}

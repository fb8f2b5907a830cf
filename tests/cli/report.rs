//! `report`: months closed by hand, and what is refused.

use flexvm_exporter::clock::Clock;
use flexvm_exporter::period::Month;

use crate::place::{Place, config, last_month};
use crate::program::Ended;

/// The running month; a test that crosses a month's end does not mind.
fn running() -> Month {
    Month::of(Clock::system().now())
}

/// Nothing listens there.
const NOBODY: &str = "http://127.0.0.1:1";

fn with_token() -> Place {
    let place = Place::new();
    place.write("token", "simulator\n");
    place
}

/// A configuration whose months can be closed as soon as they have ended.
fn settled(api: &str) -> String {
    config(api, "report: {directory: out/reports, settle: 0s}\n")
}

fn refused(ended: &Ended, word: &str) {
    assert_eq!(ended.code, Some(2), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stderr.contains(word), "{word}: {}", ended.stderr);
    assert_eq!(ended.stdout, "");
}

#[test]
fn months_that_cannot_be_reported_are_usage_errors() {
    let place = with_token();
    let report = |month: &str| place.run_with(&settled(NOBODY), &["report", "--month", month]);
    let next = running().next().to_string();
    refused(&report(&next), &format!("{next} has not begun"));
    refused(&report(&format!("{}..{next}", last_month())), &format!("{next} has not begun"));
    refused(&report("2999-12"), "2999-12 has not begun");
    for month in
        ["", "x", "2026", "2026-13", "2026-00", "2026-1", "2026-01-01", "10000-01", "2026-01..", "..", "-1"]
    {
        let text = format!("--month={month}");
        let ended = place.run_with(&settled(NOBODY), &["report", &text]);
        refused(&ended, "--month");
    }
    refused(&report("2026-02..2026-01"), "2026-01 is before 2026-02");
    refused(&report("2000-01..2026-01"), "more than 120 months");
    let ended = place.run_with(&settled(NOBODY), &["report", "--month", "2026-01", "--tenant", "k9"]);
    refused(&ended, "unknown tenant \"k9\"; configured tenants: k1");
    assert!(!place.path("out").exists(), "nothing is written");
}

#[test]
fn a_month_that_settles_is_refused_until_then() {
    let place = with_token();
    let text = config(NOBODY, "report: {directory: out/reports, settle: 60d}\n");
    let ended = place.run_with(&text, &["report", "--month", &last_month().to_string()]);
    refused(&ended, "still settling");
    assert!(ended.stderr.contains("report.settle"), "{}", ended.stderr);
}

#[test]
fn a_closed_month_is_closed_once() {
    let place = with_token();
    let (simulator, api) = place.simulator(&["--vms", "20"]);
    let report = || place.run_with(&settled(&api), &["report", "--month", &last_month().to_string()]);
    let first = report();
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    let folder = format!("out/reports/k1/{}/r01/flexvm-usage_k1_{}_r01_", last_month(), last_month());
    assert!(first.stdout.contains(&format!("k1 {}: closed\n", last_month())), "{}", first.stdout);
    let names =
        ["by-tag.csv", "by-group.csv", "by-vm.csv", "control.csv", "provider-report.json", "manifest.json"];
    for name in names.iter().chain(&["SHA256SUMS"]) {
        let path = place.path(&format!("{folder}{name}"));
        assert!(first.stdout.contains(&format!("\n  {}\n", path.display())), "{name}: {}", first.stdout);
        assert!(place.path(&format!("{folder}{name}")).exists());
    }
    let ledger = format!("\n  ledger {}\n", place.path("l.db").display());
    assert!(first.stdout.contains(&ledger), "{}", first.stdout);
    for word in ["VMs  ", "VM hours", "vCPU hours"] {
        assert!(first.stdout.contains(word), "{word}: {}", first.stdout);
    }
    let files = place.files("out");
    let again = report();
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert!(again.stdout.contains("closed already"), "{}", again.stdout);
    assert_eq!(again.stdout.split_once('\n').unwrap().1, first.stdout.split_once('\n').unwrap().1);
    assert_eq!(place.files("out"), files, "the same bytes");
    // What is closed needs no API.
    drop(simulator);
    assert_eq!(report().code, Some(0));
    assert_eq!(place.files("out"), files);
}

#[test]
fn a_range_closes_every_month_of_each_tenant() {
    let place = with_token();
    let (_simulator, api) = place.simulator(&["--vms", "10"]);
    let text = settled(&api)
        .replace("api: {", &format!("  - {{name: k2, base_url: '{api}', token_file: token}}\napi: {{"));
    let range = format!("{}..{}", running().earlier_by(2), last_month());
    let one = place.run_with(&text, &["report", "--month", &range, "--tenant", "k2"]);
    assert_eq!(one.code, Some(0), "{}", one.stderr);
    assert!(!place.path("out/reports/k1").exists());
    assert_eq!(place.run_with(&text, &["report", "--month", &range]).code, Some(0));
    for tenant in ["k1", "k2"] {
        for month in [running().earlier_by(2).to_string(), last_month().to_string()] {
            assert!(place.path(&format!("out/reports/{tenant}/{month}/r01")).is_dir(), "{tenant} {month}");
        }
    }
}

#[test]
fn the_running_month_is_provisional() {
    let place = with_token();
    let (_simulator, api) = place.simulator(&["--vms", "10"]);
    let month = running().to_string();
    for _ in 0..2 {
        let ended = place.run_with(&settled(&api), &["report", "--month", &month]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.stdout.contains("provisional"), "{}", ended.stdout);
        let prefix = format!("out/reports/k1/{month}/provisional/flexvm-usage_k1_{month}_provisional_");
        let reports = place.reports("out");
        assert!(reports.contains(&format!("{prefix}by-group.csv")), "{reports:?}");
        assert!(reports.iter().filter(|path| path.contains(&month)).all(|path| path.starts_with(&prefix)));
    }
}

#[test]
fn without_the_api_nothing_is_written() {
    let place = with_token();
    let ended = place.run_with(&settled(NOBODY), &["report", "--month", &last_month().to_string()]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("k1") && ended.stderr.contains(&last_month().to_string()),
        "{}",
        ended.stderr
    );
    assert_eq!(place.reports("out"), [""; 0]);
    let ended = place.run_with(&settled(NOBODY), &["report", "--month", &running().to_string()]);
    assert_eq!((ended.code, place.reports("out").len()), (Some(1), 0), "{}", ended.stderr);
}

#[test]
fn a_dry_run_shows_totals_and_writes_nothing() {
    let place = with_token();
    let (_simulator, api) = place.simulator(&["--vms", "10"]);
    for month in [last_month().to_string(), running().to_string()] {
        let ended = place.run_with(&settled(&api), &["report", "--month", &month, "--dry-run"]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(
            ended.stdout.contains("nothing is written") && ended.stdout.contains("VM hours"),
            "{}",
            ended.stdout
        );
    }
    assert!(!place.path("out").exists() && !place.path("l.db").exists());
}

#[test]
fn a_copy_closes_nothing() {
    let place = with_token();
    let (_simulator, api) = place.simulator(&["--vms", "10"]);
    let copy =
        || place.run_with(&settled(&api), &["report", "--month", &last_month().to_string(), "--out", "copy"]);
    let ended = copy();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("nothing is closed") && ended.stdout.contains("copy/flexvm-usage_k1_"));
    assert!(place.reports("copy").len() >= 7, "{:?}", place.reports("copy"));
    assert_eq!(place.reports("out"), [""; 0]);
    // Of a closed month it is the closed files.
    assert_eq!(
        place.run_with(&settled(&api), &["report", "--month", &last_month().to_string()]).code,
        Some(0)
    );
    let before = place.files("out");
    assert_eq!(copy().code, Some(0));
    for (path, bytes) in before.iter().filter(|(path, _)| path.to_string_lossy().contains("/r01/")) {
        assert_eq!(std::fs::read(place.path("copy").join(path.file_name().unwrap())).unwrap(), *bytes);
    }
    assert_eq!(place.files("out"), before);
    // What was altered is not passed on, not even where the list of checksums was made to fit.
    std::fs::remove_dir_all(place.path("copy")).unwrap();
    for end in ["_by-tag.csv", "_SHA256SUMS"] {
        let ends = |path: &&std::path::PathBuf| path.to_string_lossy().ends_with(end);
        let (name, bytes) = before.iter().find(|(path, _)| ends(path)).unwrap();
        let file = place.path("").join(name);
        std::fs::write(&file, [&bytes[..], b"\n"].concat()).unwrap();
        let ended = copy();
        assert_eq!(ended.code, Some(1), "{end}: {}", ended.stdout);
        assert!(!place.path("copy").exists(), "{end}: {}", ended.stderr);
        std::fs::write(&file, bytes).unwrap();
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_a_failure_until_it_is_mended() {
    let place = with_token();
    let (_simulator, api) = place.simulator(&["--vms", "10"]);
    let report = || place.run_with(&settled(&api), &["report", "--month", &last_month().to_string()]);
    place.write("out", "a file where the folder should be");
    let ended = report();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let out = place.path("out");
    assert!(ended.stderr.contains(&format!("cannot use {}: ", out.display())), "{}", ended.stderr);
    assert_eq!(std::fs::read_to_string(place.path("out")).unwrap(), "a file where the folder should be");
    std::fs::remove_file(place.path("out")).unwrap();
    // And one level deeper, where the month belongs.
    std::fs::create_dir_all(place.path("out/reports/k1")).unwrap();
    let month = place.write(&format!("out/reports/k1/{}", last_month()), "another");
    let ended = report();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains(&last_month().to_string()), "{}", ended.stderr);
    std::fs::remove_file(month).unwrap();
    assert_eq!(report().code, Some(0));
    assert!(place.path(&format!("out/reports/k1/{}/r01", last_month())).is_dir());
}

#[test]
fn a_closed_month_is_restated_beside_what_it_was() {
    let place = with_token();
    let (_simulator, api) = place.simulator(&["--vms", "10"]);
    let report = |more: &[&str]| {
        place.run_with(&settled(&api), &[&["report", "--month", &last_month().to_string()], more].concat())
    };
    let early = report(&["--restate", "--reason", "too early"]);
    assert_eq!(early.code, Some(1));
    assert!(early.stderr.contains("is not closed: there is nothing to restate"), "{}", early.stderr);
    for wrong in [&["--restate"][..], &["--reason", "x"], &["--restate", "--reason", " "]] {
        assert_eq!(report(wrong).code, Some(2), "{wrong:?}");
    }
    assert_eq!(report(&[]).code, Some(0));
    let dry = report(&["--restate", "--reason", "x", "--dry-run"]);
    assert_eq!(dry.code, Some(0), "{}", dry.stderr);
    assert!(dry.stdout.contains("Compared with revision 1"), "{}", dry.stdout);
    assert!(!dry.stdout.contains("Changed configuration"), "{}", dry.stdout);
    assert!(dry.stdout.contains("reports the same as when the month was closed"), "{}", dry.stdout);
    let others = "report: {directory: out/reports, settle: 0s, group_by: [project, env], excel_bom: true}\n";
    let arguments =
        ["report", "--month", &last_month().to_string(), "--restate", "--reason", "x", "--dry-run"];
    let dry = place.run_with(&config(&api, others), &arguments);
    let changes =
        "Changed configuration: report.group_by (exact tag set -> project, env), report.excel_bom.\n";
    assert!(dry.stdout.contains(changes), "{}", dry.stdout);
    let month = place.path("out/reports/k1").join(last_month().to_string());
    assert!(!month.join("r02").exists(), "a dry run writes nothing");
    let same = report(&["--restate", "--reason", "an auditor asked"]);
    refused(&same, &format!("nothing that counts differs from revision 1 of {}", last_month()));
    assert!(same.stderr.contains("--force writes it anyway"), "{}", same.stderr);
    assert!(!month.join("r02").exists(), "nothing differs");
    let restated = report(&["--restate", "--force", "--reason", "an auditor asked"]);
    assert_eq!(restated.code, Some(0), "{}", restated.stderr);
    assert!(restated.stdout.contains("_r02_changes.csv"), "{}", restated.stdout);
    assert!(month.join("r01").is_dir() && month.join("r02").is_dir());
    // Without the ledger, the inputs are those of the revision's files.
    std::fs::remove_file(place.path("l.db")).unwrap();
    let dry = report(&["--restate", "--reason", "x", "--dry-run"]);
    assert_eq!(dry.code, Some(0), "{}", dry.stderr);
    assert!(dry.stdout.contains("The ledger does not have the inputs of revision 2"), "{}", dry.stdout);
    assert!(!place.path("l.db").exists(), "a dry run makes no ledger");
}

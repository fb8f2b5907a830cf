//! `ledger`: copies, descriptions and lists, beside a running daemon.

use std::fs;

use crate::place::{PATIENCE, Place, config, get, last_month, metric, until};

#[test]
fn a_running_daemons_ledger_is_copied_described_and_listed() {
    let place = Place::new();
    place.write("token", "simulator\n");
    let (_simulator, api) = place.simulator(&["--vms", "10"]);
    let text = config(&api, "poll: {inventory: 1s}\nreport: {backfill: 1, settle: 0s, directory: out}\n");
    let (mut daemon, address) = place.serve("daemon", &text);
    let ledger =
        |arguments: &[&str]| place.run(&[&["--config.file", "daemon.yml", "ledger"], arguments].concat());
    until("a closed month", || ledger(&["inspect"]).stdout.contains(" published, ").then_some(()));
    let json = ledger(&["inspect", "--output", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["check"], "ok");
    assert!(json["tenants"]["k1"]["polls"].as_i64().unwrap() >= 1, "{json}");
    assert!(json["tenants"]["k1"]["living_vms"].as_i64().unwrap() >= 5, "{json}");

    let listed = ledger(&["export"]);
    assert_eq!(listed.code, Some(0), "{}", listed.stderr);
    let mut csv = csv::Reader::from_reader(listed.stdout.as_bytes());
    assert_eq!(csv.headers().unwrap(), ["tenant", "at", "cloud_id", "vm_id", "event", "status"].as_slice());
    let rows: Vec<_> = csv.records().map(Result::unwrap).collect();
    assert!(rows.len() >= 10 && rows.iter().all(|row| &row[0] == "k1"));

    let copied = ledger(&["backup", "copy.db"]);
    assert_eq!(copied.code, Some(0), "{}", copied.stderr);
    assert_eq!(ledger(&["backup", "copy.db"]).code, Some(1), "a copy is not replaced");
    let names: Vec<_> = fs::read_dir(place.path(""))
        .unwrap()
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(!names.iter().any(|name| name.contains(".tmp")), "{names:?}");
    // A copy is read where there is neither a token nor a certificate.
    let copy = text.replace("sqlite:l.db", "sqlite:copy.db").replace("token_file: token", "token_file: none");
    let copy = copy.replace("api: {", "api: {ca_file: none.pem, ");
    let seen = place.run_with(&copy, &["ledger", "inspect"]);
    assert!(seen.stdout.contains(" published, ") && seen.stdout.contains("check: ok"), "{}", seen.stdout);
    assert_eq!(get(&address, "/-/healthy", "").0, 200);
    daemon.signal("TERM");
    assert_eq!(daemon.code(PATIENCE), Some(0), "{}", daemon.stderr());
}

/// The steps of the README, one by one.
#[test]
fn a_copy_is_restored_and_what_came_after_it_is_taken_in() {
    let place = Place::new();
    place.write("token", "simulator\n");
    let (_simulator, api) = place.simulator(&["--vms", "10"]);
    let text = |backfill| {
        let report = format!("report: {{backfill: {backfill}, settle: 0s, directory: out}}\n");
        config(&api, &format!("poll: {{inventory: 1s}}\n{report}"))
    };
    let inspect = || place.run(&["--config.file", "daemon.yml", "ledger", "inspect", "--output", "json"]);
    let described = || {
        let json = inspect();
        assert_eq!(json.code, Some(0), "{}", json.stderr);
        serde_json::from_str::<serde_json::Value>(&json.stdout).unwrap()["tenants"]["k1"].clone()
    };
    // The daemon listens before it creates the ledger.
    let polls =
        || if inspect().code == Some(0) { described()["polls"].as_i64().unwrap_or_default() } else { 0 };
    let (mut daemon, _) = place.serve("daemon", &text(0));
    until("a poll", || (polls() > 0).then_some(()));
    let copied = place.run(&["--config.file", "daemon.yml", "ledger", "backup", "copy.db"]);
    assert_eq!(copied.code, Some(0), "{}", copied.stderr);
    let at_copy = polls();
    // The daemon goes on: more polls, and a month is closed.
    let month = last_month().to_string();
    let closed = place.run(&["--config.file", "daemon.yml", "report", "--month", &month]);
    assert_eq!(closed.code, Some(0), "{}", closed.stderr);
    until("more polls", || (polls() > at_copy).then_some(()));
    let before = described();
    assert_eq!(before["revisions"][0]["month"], month.as_str(), "{before}");

    // Stop the daemon.
    daemon.signal("TERM");
    assert_eq!(daemon.code(PATIENCE), Some(0), "{}", daemon.stderr());
    let reports = place.files("out");
    // Put the copy in the ledger's place, remove the files beside it.
    fs::rename(place.path("copy.db"), place.path("l.db")).unwrap();
    for beside in ["l.db-wal", "l.db-shm"] {
        let _ = fs::remove_file(place.path(beside));
    }
    assert_eq!(described()["revisions"], serde_json::json!([]), "the copy is older than the report");
    // Start the daemon. It takes in the report that the copy does not know, and closes nothing anew.
    let (_daemon, address) = place.serve("restored", &text(1));
    until("nothing to be due", || {
        (metric(&address, "flexvm_exporter_report_due{tenant=\"k1\"}").as_deref() == Some("0")).then_some(())
    });
    until("a poll", || metric(&address, "flexvm_exporter_ledger_polls_total").filter(|polls| polls != "0"));
    let after = &described()["revisions"][0];
    assert_eq!((&after["state"], &after["digest"]), (&"published".into(), &before["revisions"][0]["digest"]));
    assert_eq!(place.files("out"), reports);
}

#[test]
fn what_is_no_ledger_is_said() {
    let place = Place::new();
    place.write("other.db", "SQLite format 3, or so they say");
    place.write("token", "t");
    for (file, words) in [("nothing.db", "there is no ledger"), ("other.db", "is not a ledger")] {
        let text = config("http://127.0.0.1:1", "").replace("sqlite:l.db", &format!("sqlite:{file}"));
        for arguments in [&["ledger", "inspect"][..], &["ledger", "export"], &["ledger", "backup", "copy.db"]]
        {
            let ended = place.run_with(&text, arguments);
            assert_eq!(ended.code, Some(1), "{arguments:?}");
            assert!(ended.stderr.contains(words), "{}", ended.stderr);
        }
        assert!(!place.path("copy.db").exists());
    }
    assert_eq!(fs::read(place.path("other.db")).unwrap(), b"SQLite format 3, or so they say");
}

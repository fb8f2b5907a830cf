//! `report` on an operator's terms: an incomplete response that is accepted, a saved response, a
//! waiver, a forced restatement, and a ledger that does not exist.

use std::sync::Arc;
use std::time::Duration;

use flexvm_exporter::clock::Clock;
use flexvm_exporter::ledger::{ChangedSeconds, Ledger, Reading};
use flexvm_exporter::period::Month;
use flexvm_exporter::simulator::{Fault, Operation, Options, Simulator};
use flexvm_exporter::snapshot::{InventoryData, Vm, VmStatus};
use jiff::SignedDuration;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::place::{Place, config};
use crate::program::Ended;

/// Nothing listens there.
const NOBODY: &str = "http://127.0.0.1:1";

/// A simulator in this process, whose faults a test injects.
struct Api {
    runtime: Runtime,
    simulator: Simulator,
    url: String,
}

impl Api {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let options = Options { vms: 10, clouds: 2, churn: false, ..Options::default() };
        let simulator = Simulator::new(options, Clock::system());
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = simulator.clone();
        runtime.spawn(async move { serving.serve(listener, std::future::pending()).await });
        Self { runtime, simulator, url }
    }

    /// The provider's response about a month.
    fn monthly(&self, month: Month) -> Value {
        let period = month.period();
        let target = format!("/v3/flexVM/reports/monthly?start={}&end={}", period.start, period.end);
        serde_json::from_slice(&self.simulator.call("GET", &target, None, "").body).unwrap()
    }

    /// The provider bills the first VM for an hour more.
    fn add_hour(&self) {
        let fault = Fault::edit(add_hour).on(Operation::Monthly);
        self.simulator.faults().add(fault);
    }

    /// Three polls in the middle of last month that see these VMs running.
    fn observe(&self, place: &Place, ids: &[&str]) {
        let ledger = Ledger::open(&place.path("l.db")).unwrap();
        let vms: Vec<_> = ids.iter().map(|id| Arc::new(running(id))).collect();
        let data = Arc::new(InventoryData { vms: vms.into(), ..InventoryData::default() });
        for hour in 0..3 {
            let at = last().period().start + SignedDuration::from_hours(15 * 24 + hour);
            let recorded = ledger.observe("k1".into(), at, Duration::from_hours(24), Arc::clone(&data));
            self.runtime.block_on(recorded).unwrap();
        }
    }
}

fn add_hour(report: &mut Value) {
    let hours = &mut report["vms"][0]["vm_hours"];
    *hours = (hours.as_u64().unwrap() + 1).into();
}

fn running(id: &str) -> Vm {
    Vm {
        id: id.into(),
        cloud_id: "cloud".into(),
        name: "".into(),
        instance_type: "".into(),
        size: None,
        image: "".into(),
        status: VmStatus::Running,
        node_id: None,
        created_at: None,
        deleted_at: None,
        ips: Box::default(),
        tags: Vec::new().into(),
    }
}

fn last() -> Month {
    Month::of(Clock::system().now()).previous()
}

fn place() -> Place {
    let place = Place::new();
    place.write("token", "simulator\n");
    place
}

/// Runs `report` on last month; it can be closed at once.
fn report(place: &Place, api: &str, more: &[&str]) -> Ended {
    let text = config(api, "report: {directory: out, settle: 0s}\n");
    place.run_with(&text, &[&["report", "--month", &last().to_string()], more].concat())
}

fn revision(place: &Place, number: u32) -> std::path::PathBuf {
    place.path(&format!("out/k1/{}/r{number:02}", last()))
}

fn manifest(place: &Place, number: u32) -> Value {
    let name = format!("flexvm-usage_k1_{}_r{number:02}_manifest.json", last());
    serde_json::from_slice(&std::fs::read(revision(place, number).join(name)).unwrap()).unwrap()
}

fn warns(manifest: &Value, part: &str) -> bool {
    manifest["warnings"].as_array().unwrap().iter().any(|it| it.as_str().unwrap().contains(part))
}

#[track_caller]
fn ends(ended: &Ended, code: i32, parts: &[&str]) {
    assert_eq!(ended.code, Some(code), "{}{}", ended.stdout, ended.stderr);
    let printed = format!("{}{}", ended.stdout, ended.stderr);
    for part in parts {
        assert!(printed.contains(part), "{part}: {printed}");
    }
}

#[test]
fn incomplete_month_is_closed_only_if_accepted() {
    let (place, api) = (place(), Api::new());
    api.observe(&place, &["vm-1", "vm-2"]);
    let accept = format!("report --month {} --accept-incomplete --reason TEXT", last());
    let parts = ["lacks 2 VMs", "(vm-1, vm-2)", &accept, "--from-file FILE --reason TEXT"];
    ends(&report(&place, &api.url, &[]), 1, &parts);
    assert_eq!(place.reports("out"), [""; 0]);
    let dry = report(&place, &api.url, &["--dry-run"]);
    ends(&dry, 0, &["lacks 2 VMs", "(vm-1, vm-2)", "nothing is written"]);
    let verdict =
        "incomplete: Incomplete: the response lacks 2 VMs that polls observed. Accepted: they were moved.";
    let accepted = ["--accept-incomplete", "--reason", "they were moved"];
    ends(&report(&place, &api.url, &accepted), 0, &[": closed\n", verdict, "note: Incomplete: "]);
    let manifest = manifest(&place, 1);
    assert_eq!((&manifest["verdict"], &manifest["status"]), (&"incomplete".into(), &"final".into()));
    assert_eq!(manifest["accepted_incomplete"], "they were moved");
    // The command shows it again for the closed month, without the API.
    ends(&report(&place, NOBODY, &[]), 0, &["closed already", verdict]);
}

#[test]
fn configuration_may_accept_incomplete_responses() {
    let (place, api) = (place(), Api::new());
    api.observe(&place, &["vm-1"]);
    let text = config(&api.url, "report: {directory: out, settle: 0s, completeness: warn}\n");
    let ended = place.run_with(&text, &["report", "--month", &last().to_string()]);
    ends(&ended, 0, &["incomplete: Incomplete: ", "Accepted: report.completeness: warn."]);
    assert_eq!(manifest(&place, 1)["verdict"], "incomplete");
}

#[test]
fn saved_response_closes_and_restates_without_the_api() {
    let (place, api) = (place(), Api::new());
    let response = api.monthly(last());
    let listed = response["vms"][0]["vm_id"].as_str().unwrap().to_owned();
    api.observe(&place, &[&listed]);
    let from = |name: &str, text: &str| {
        place.write(name, text);
        report(&place, NOBODY, &["--from-file", name, "--reason", "the API is down"])
    };
    let mut lacking = response.clone();
    lacking["vms"].as_array_mut().unwrap().retain(|row| row["vm_id"] != *listed);
    let before = api.monthly(last().previous());
    ends(&from("lacking.json", &lacking.to_string()), 1, &["lacks 1 VMs", &listed]);
    ends(&from("before.json", &before.to_string()), 1, &[&last().previous().period().start.to_string()]);
    ends(&from("damaged.json", "{\"period\":"), 1, &["damaged.json is damaged"]);
    ends(&report(&place, NOBODY, &["--from-file", "none.json", "--reason", "x"]), 1, &["none.json"]);
    ends(&report(&place, NOBODY, &["--from-file", ".", "--reason", "x"]), 1, &["it is not a regular file"]);
    // The file is larger than `api.max_body`.
    let large = std::fs::File::create(place.path("large.json")).unwrap();
    large.set_len((256 << 20) + 1).unwrap();
    let parts = ["it has 268435457 bytes, more than api.max_body"];
    ends(&report(&place, NOBODY, &["--from-file", "large.json", "--reason", "x"]), 1, &parts);
    assert_eq!(place.reports("out"), [""; 0]);
    let saved = response.to_string();
    let dry = ["--from-file", "saved.json", "--reason", "x", "--dry-run"];
    place.write("saved.json", &saved);
    ends(&report(&place, NOBODY, &dry), 0, &["nothing is written", "VM hours"]);
    let parts = [": closed\n", "read from a file at", "no lists of clouds and instance types"];
    // Windows editors write a byte order mark at the beginning of a file.
    ends(&from("saved.json", &format!("\u{feff}{saved}")), 0, &parts);
    assert_eq!(
        (&manifest(&place, 1)["source"], &manifest(&place, 1)["reason"]),
        (&"file".into(), &"the API is down".into())
    );
    // A closed month is restated, if anything that counts differs.
    ends(&from("saved.json", &saved), 2, &["nothing that counts differs from revision 1", "--force"]);
    let mut corrected = response;
    add_hour(&mut corrected);
    ends(&from("corrected.json", &corrected.to_string()), 0, &[": restated\n"]);
    let second = manifest(&place, 2);
    assert_eq!((&second["source"], &second["supersedes"]), (&"file".into(), &1.into()));
    let force = ["--from-file", "corrected.json", "--force", "--reason", "a copy"];
    ends(&report(&place, NOBODY, &force), 0, &[": restated\n"]);
    assert!(revision(&place, 3).is_dir());
}

#[test]
fn open_difference_is_waived_without_a_revision() {
    let (place, api) = (place(), Api::new());
    let waive = ["--waive", "--reason", "agreed with the provider"];
    ends(&report(&place, &api.url, &waive), 1, &["is not closed"]);
    ends(&report(&place, &api.url, &[]), 0, &[": closed\n"]);
    ends(&report(&place, &api.url, &waive), 2, &["nothing to waive"]);
    ends(&report(&place, NOBODY, &waive), 1, &["k1"]);
    // If the API does not respond, the command waives the difference that the daemon has found.
    let ledger = Ledger::open(&place.path("l.db")).unwrap();
    let now = Clock::system().now();
    for hours in [7, 1] {
        let read_at = now - SignedDuration::from_hours(hours);
        let seconds = ChangedSeconds { vms: 60, ..ChangedSeconds::default() };
        let reading = Reading { read_at, fingerprint: "of another response".to_owned(), vms: 1, seconds };
        ledger.record_comparison("k1", last(), 1, read_at, Some(reading)).unwrap();
    }
    assert_eq!(ledger.open_differences("k1").unwrap().len(), 1);
    drop(ledger);
    ends(
        &report(&place, NOBODY, &waive),
        0,
        &[
            "was not compared",
            "the difference that the ledger has recorded is waived; no revision is written",
        ],
    );
    assert!(!revision(&place, 2).exists());
    let ledger = Ledger::open(&place.path("l.db")).unwrap();
    assert_eq!(ledger.open_differences("k1").unwrap().len(), 0);
    drop(ledger);
    // Otherwise, the command waives the difference in the current report.
    api.add_hour();
    ends(&report(&place, &api.url, &waive), 0, &["the difference of 3600 s is waived"]);
}

#[test]
fn restatement_needs_a_difference_or_force() {
    let (place, api) = (place(), Api::new());
    ends(&report(&place, &api.url, &[]), 0, &[]);
    let restate = ["--restate", "--reason", "late prices"];
    let parts = ["nothing that counts differs from revision 1", "--force writes it anyway"];
    ends(&report(&place, &api.url, &restate), 2, &parts);
    assert!(!revision(&place, 2).exists());
    ends(&report(&place, &api.url, &[&restate[..], &["--force"]].concat()), 0, &[": restated\n"]);
    api.add_hour();
    ends(&report(&place, &api.url, &[&restate[..], &["--dry-run"]].concat()), 0, &["1 VMs differently"]);
    ends(&report(&place, &api.url, &restate), 0, &[": restated\n"]);
    assert_eq!(manifest(&place, 3)["reason"], "late prices");
    // New prices for the month count as a difference.
    let text = config(
        &api.url,
        "report: {directory: out, settle: 0s}\nprices: {currency: EUR, vm_hour: {vm.4c.8g: '0.10'}}\n",
    );
    let month = last().to_string();
    let arguments = [&["report", "--month", &month][..], &restate].concat();
    ends(&place.run_with(&text, &arguments), 0, &[": restated\n"]);
    let changes = &manifest(&place, 4)["configuration_changes"];
    let expected = ["prices.currency (none -> EUR)", "prices.vm_hour.vm.4c.8g (none -> 0.10)"];
    assert_eq!(*changes, serde_json::json!(expected));
}

#[test]
fn terms_are_for_one_month_and_one_tenant_with_a_reason() {
    let place = place();
    let months = format!("{}..{}", last().previous(), last());
    let (running, last) = (last().next().to_string(), last().to_string());
    let one = config(NOBODY, "report: {directory: out, settle: 0s}\n");
    let two =
        one.replace("api: {", &format!("  - {{name: k2, base_url: '{NOBODY}', token_file: token}}\napi: {{"));
    place.write("saved.json", "{}");
    for terms in [&["--accept-incomplete"][..], &["--from-file", "saved.json"], &["--waive"]] {
        let run = |text: &str, month: &str, more: &[&str]| {
            place.run_with(text, &[&["report", "--month", month], terms, more].concat())
        };
        let reason = ["--reason", "x"];
        ends(&run(&one, &last, &[]), 2, &["--reason"]);
        ends(&run(&one, &last, &["--reason", " "]), 2, &["--reason is empty"]);
        ends(&run(&one, &months, &reason), 2, &[terms[0], "exactly one month"]);
        ends(&run(&two, &last, &reason), 2, &[terms[0], "--tenant", "k1, k2"]);
        ends(&run(&one, &running, &reason), 2, &["has not ended"]);
        ends(&run(&one, "2999-01", &reason), 2, &["has not begun"]);
        ends(&run(&one, &last, &[&reason[..], &["--out", "copy"]].concat()), 2, &["--out"]);
        // Named, one of several tenants will do: it is the request that fails, or the month that is not closed.
        let named = run(&two, &last, &[&reason[..], &["--tenant", "k2"]].concat());
        assert!(!named.stderr.contains("--tenant"), "{}", named.stderr);
        assert!(named.stderr.contains(&format!("k2 {last}: ")), "{}", named.stderr);
    }
    let report = |more: &[&str]| place.run_with(&one, &[&["report", "--month", &last], more].concat());
    ends(&report(&["--reason", "x"]), 2, &["--reason needs"]);
    ends(&report(&["--force"]), 2, &["--force needs --restate"]);
    ends(&report(&["--waive", "--restate", "--reason", "x"]), 2, &["--waive"]);
    ends(&report(&["--waive", "--dry-run", "--reason", "x"]), 2, &["--waive"]);
    assert!(!place.path("out/k1").join(&last).exists());
}

#[test]
fn missing_ledger_is_named_with_its_path_and_in_the_manifest() {
    let (place, api) = (place(), Api::new());
    // The program sees its working directory without links.
    let path = place.path("").canonicalize().unwrap().join("l.db");
    let note = format!("There was no ledger at {}: all time is unobserved", path.display());
    let dry = report(&place, &api.url, &["--dry-run"]);
    ends(&dry, 0, &["warning: ", &note]);
    assert!(!path.exists(), "a dry run creates no ledger");
    let first = report(&place, &api.url, &[]);
    ends(&first, 0, &["note: "]);
    assert!(first.stderr.contains(&format!("warning: {note}")), "{}", first.stderr);
    assert!(path.exists(), "a new ledger is created");
    assert!(warns(&manifest(&place, 1), &note), "{}", manifest(&place, 1)["warnings"]);
    // The new ledger is known from now on.
    let again = report(&place, &api.url, &[]);
    assert_eq!((again.code, &*again.stderr), (Some(0), ""));
    let restate = ["--restate", "--force", "--reason", "x"];
    let second = report(&place, &api.url, &restate);
    ends(&second, 0, &[]);
    assert!(!warns(&manifest(&place, 2), "There was no ledger"));
    // Lost, it is named in the restatement as well.
    std::fs::remove_file(&path).unwrap();
    ends(&report(&place, &api.url, &restate), 0, &[&note]);
    let third = manifest(&place, 3);
    assert!(warns(&third, &note) && warns(&third, "does not have the inputs of revision 2"), "{third}");
}

#[test]
fn ledger_of_0_bytes_is_refused() {
    let (place, api) = (place(), Api::new());
    place.write("l.db", "");
    for more in [&["--dry-run"][..], &[]] {
        ends(&report(&place, &api.url, more), 1, &["l.db is not a ledger of this program; move it away"]);
        assert_eq!(std::fs::metadata(place.path("l.db")).unwrap().len(), 0);
    }
    assert_eq!(place.reports("out"), [""; 0]);
}

#[test]
fn reason_is_kept_on_one_line() {
    let (place, api) = (place(), Api::new());
    ends(&report(&place, &api.url, &[]), 0, &[]);
    let restate = |reason: &str| report(&place, &api.url, &["--restate", "--force", "--reason", reason]);
    ends(&restate(" \u{1b}\n"), 2, &["--reason is empty"]);
    ends(&restate(&"x".repeat(1001)), 2, &["--reason has more than 1000 characters"]);
    ends(&restate("credit note\n\u{1b}[31m4711\r"), 0, &[]);
    assert_eq!(manifest(&place, 2)["reason"], "credit note [31m4711");
}

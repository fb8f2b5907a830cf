//! `check`: the configuration, and with `--online` the API.

use flexvm_exporter::clock::Clock;
use flexvm_exporter::period::Month;
use flexvm_exporter::simulator::{Fault, FaultKind, Operation, Options, Simulator};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::place::{Place, config};
use crate::program::Ended;

const ENDPOINTS: [&str; 11] = [
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
];

fn with_token() -> Place {
    let place = Place::new();
    place.write("token", "simulator\n");
    place
}

fn json_of(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", ended.stdout))
}

/// The row of an endpoint of the first tenant.
fn row<'a>(checked: &'a Value, endpoint: &str) -> &'a Value {
    let rows = checked["tenants"][0]["endpoints"].as_array().unwrap();
    rows.iter().find(|row| row["endpoint"] == endpoint).unwrap()
}

/// What is missing of the first tenant: kinds and sentences.
fn missing(checked: &Value) -> Vec<(String, String)> {
    let list = checked["tenants"][0]["missing"].as_array().unwrap();
    let text = |it: &Value, name: &str| it[name].as_str().unwrap().to_owned();
    list.iter().map(|it| (text(it, "what"), text(it, "text"))).collect()
}

/// A simulator in this process, with faults; what `check --online` with `arguments` says of it.
async fn against(options: Options, faults: Vec<Fault>, more: &str, arguments: &[&str]) -> Ended {
    let simulator = Simulator::new(options, Clock::system());
    for fault in faults {
        simulator.faults().add(fault);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { simulator.serve(listener, std::future::pending()).await });
    let (text, arguments) = (config(&api, more), [&["check", "--online"], arguments].concat().join(" "));
    let check = move || {
        let place = with_token();
        let words: Vec<&str> = arguments.split(' ').collect();
        let ended = place.run_with(&text, &words);
        assert!(place.reports("reports").is_empty() && !place.path("l.db").exists(), "it only looks");
        ended
    };
    tokio::task::spawn_blocking(check).await.unwrap()
}

const JSON: [&str; 2] = ["--output", "json"];

#[tokio::test(flavor = "multi_thread")]
async fn online_every_endpoint_is_called_and_shown() {
    let options = Options { vms: 300, clouds: 1, page_cap: Some(25), ..Options::default() };
    let fault = Fault::edit_rows(|row| row["colour"] = json!("blue")).on(Operation::Clouds);
    let table = against(options.clone(), vec![fault.clone()], "", &[]).await;
    assert_eq!((table.code, table.stderr.as_str()), (Some(0), ""), "{}", table.stderr);
    let mut ends = Vec::new();
    for endpoint in ENDPOINTS {
        let line = |line: &&str| line.split_whitespace().take(3).eq([endpoint, "ok", "200"]);
        let lines: Vec<_> = table.stdout.lines().filter(line).collect();
        assert_eq!(lines.len(), 1, "{endpoint}: {}", table.stdout);
        ends.push(lines[0].find("200").unwrap() + 3);
    }
    ends.dedup();
    assert_eq!(ends.len(), 1, "columns stand below one another: {}", table.stdout);
    assert!(table.stdout.starts_with("k1  http://127.0.0.1:"), "{}", table.stdout);
    for part in [
        "25 (clamped, asked 100)",
        "≥ 1 (whole list in one page, unknown)",
        "fields that are not documented: colour",
        "hours by tag key",
        "\"project\"",
        "(untagged)",
        "there are no prices",
        "group_by: [\"project\"]",
    ] {
        assert!(table.stdout.contains(part), "{part}: {}", table.stdout);
    }

    let ended = against(options, vec![fault], "", &JSON).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let checked = json_of(&ended);
    let rows = checked["tenants"][0]["endpoints"].as_array().unwrap();
    let seen: Vec<_> = rows.iter().map(|row| row["endpoint"].as_str().unwrap()).collect();
    assert_eq!(seen, ENDPOINTS);
    for row in rows {
        let expected = (&Value::from("k1"), &Value::from("ok"), &Value::from(200), &Value::Null);
        assert_eq!((&row["tenant"], &row["result"], &row["http_status"], &row["error"]), expected);
    }
    let vms = row(&checked, "vms");
    assert_eq!(vms["page_size"], json!({"kind": "clamped", "rows": 25, "asked": 100}));
    assert!(vms["pages"].as_u64().unwrap() > 2 && vms["rows"].as_u64().unwrap() > 50, "{vms}");
    assert_eq!(row(&checked, "clouds")["unknown_fields"], json!(["colour"]));
    assert_eq!(row(&checked, "cloud")["page_size"], Value::Null);
    assert_eq!(checked["tenants"][0]["clock_ahead_seconds"].as_i64().unwrap().abs() / 5, 0);
    assert_eq!(checked["missing"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn page_sizes_are_told_honestly() {
    let options = Options { vms: 200, clouds: 1, ..Options::default() };
    let fault = Fault::new(FaultKind::IgnoreRange).on(Operation::Vms);
    let ended = against(options.clone(), vec![fault], "", &JSON).await;
    assert_eq!(row(&json_of(&ended), "vms")["page_size"]["kind"], "header_ignored", "{}", ended.stdout);
    let ended = against(options, Vec::new(), "", &JSON).await;
    assert_eq!(row(&json_of(&ended), "vms")["page_size"]["kind"], "as_asked", "{}", ended.stdout);
}

/// The same figures as the dry run and the closed month tell.
#[test]
fn tag_coverage_is_that_of_the_report() {
    let place = with_token();
    let (_simulator, api) = place.simulator(&["--vms", "20"]);
    let text = config(&api, "report: {directory: out, settle: 0s}\n");
    let last = Month::of(Clock::system().now()).previous().to_string();
    let checked = json_of(&place.run_with(&text, &[&["check", "--online"], &JSON[..]].concat()));
    let coverage = &checked["tenants"][0]["tag_coverage"];
    assert_eq!((&coverage["month"], &coverage["ended"]), (&json!(last), &json!(true)));
    assert_eq!(checked["tenants"][0]["newest_closed_month"], Value::Null);
    let part = |text: &str| -> Vec<String> {
        let lines = text.lines().skip_while(|line| !line.contains("hours by tag key"));
        let rows = lines.skip(1).take_while(|line| line.starts_with("    ") && line.contains(" h "));
        rows.map(str::to_owned).collect()
    };
    let shown = part(&place.run_with(&text, &["check", "--online"]).stdout);
    assert!(shown.len() > 3, "{shown:?}");
    let first = &coverage["keys"][0];
    let words: Vec<_> = shown[0].split_whitespace().collect();
    assert_eq!(words[0], first["key"].to_string());
    assert_eq!((words[3], words[5]), (&*first["vm_hours"].to_string(), &*first["vms"].to_string()));
    for arguments in [&["--dry-run"][..], &["--out", "copy"], &[], &[]] {
        let report = place.run_with(&text, &[&["report", "--month", &last], arguments].concat());
        assert_eq!((report.code, part(&report.stdout)), (Some(0), shown.clone()), "{}", report.stdout);
    }
    let restate = ["report", "--month", &last, "--restate", "--force", "--reason", "x"];
    assert_eq!(part(&place.run_with(&text, &restate).stdout), shown);
    let running = Month::of(Clock::system().now()).to_string();
    let provisional = place.run_with(&text, &["report", "--month", &running]);
    assert!(!part(&provisional.stdout).is_empty(), "{}", provisional.stdout);
    let checked = json_of(&place.run_with(&text, &[&["check", "--online"], &JSON[..]].concat()));
    assert_eq!(checked["tenants"][0]["newest_closed_month"], last);
    assert_eq!(checked["missing"], json!([]));
    let broken = text.replace("sqlite:l.db", "sqlite:token");
    let checked = json_of(&place.run_with(&broken, &[&["check", "--online"], &JSON[..]].concat()));
    assert_eq!(checked["missing"].as_array().unwrap().len(), 1);
    assert_eq!(checked["missing"][0]["what"], "ledger");
}

#[test]
fn a_wrong_token_is_said_once_with_the_way_out() {
    let place = Place::new();
    place.write("token", "wrong-one");
    let (_simulator, api) = place.simulator(&["--vms", "3"]);
    let ended = place.run_with(&config(&api, ""), &["check", "--online"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert_eq!(ended.stdout.matches("credentials").count(), 1, "{}", ended.stdout);
    let token = place.path("token").display().to_string();
    let way =
        format!("the API refuses the token from the file {token}: it is wrong, has expired, or is limited");
    assert_eq!(ended.stdout.matches(&way).count(), 1, "{}", ended.stdout);
    assert!(ended.stderr.contains("6 of 11 endpoints failed"), "{}", ended.stderr);
    let ended = place.run_with(&config(&api, ""), &[&["check", "--online"], &JSON[..]].concat());
    let checked = json_of(&ended);
    let what: Vec<_> = missing(&checked).into_iter().map(|(what, _)| what).collect();
    assert_eq!(what, ["credentials", "prices"]);
    assert_eq!(row(&checked, "clouds")["reason"], "credentials");
    assert_eq!(row(&checked, "vms")["skipped"], "the clouds are not known");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_said() {
    let faults = vec![
        Fault::error(403, "not for this key").on(Operation::Images),
        Fault::status(403).with_header("date", "Sun, 06 Nov 1994 08:49:37 GMT").on(Operation::Capacity),
    ];
    let more = "prices: {currency: EUR, vm_hour: {vm.none: '1'}}\n\
                report: {directory: token, group_by: [nobody-has-it]}\n";
    let options = Options { vms: 10, ..Options::default() };
    let ended = against(options, faults, more, &JSON).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let checked = json_of(&ended);
    let missing = missing(&checked);
    let has = |what: &str, text: &str| missing.iter().any(|it| it.0 == what && it.1.contains(text));
    assert!(has("endpoint", "images is refused for this token: no flexvm_instance_type_"), "{missing:?}");
    assert!(has("endpoint", "no series of capacity"), "{missing:?}");
    assert!(has("group_by", "nobody-has-it"), "{missing:?}");
    assert!(has("prices", " h of ") && has("prices", "have no price"), "{missing:?}");
    assert!(has("prices", "neither in the catalogue nor used then: \"vm.none\""), "{missing:?}");
    assert!(row(&checked, "images")["error"].as_str().unwrap().contains("not for this key"));
    let here = checked["missing"].as_array().unwrap();
    assert_eq!(here.len(), 1, "{here:?}");
    assert_eq!(here[0]["what"], "report_directory");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_is_said() {
    let long_ago = Fault::status(200).with_header("date", "Sun, 06 Nov 1994 08:49:37 GMT");
    let ended = against(Options::default(), vec![long_ago], "", &JSON).await;
    let checked = json_of(&ended);
    assert!(checked["tenants"][0]["clock_ahead_seconds"].as_i64().unwrap() > 1_000_000_000);
    assert!(missing(&checked).iter().any(|(what, text)| what == "clock" && text.contains("ahead of")));
}

#[test]
fn online_a_dead_api_is_a_failure_and_the_other_tenants_are_seen() {
    let place = with_token();
    let (_simulator, api) = place.simulator(&["--vms", "3"]);
    let long = format!("k2-{}", "x".repeat(60));
    let more = format!("  - {{name: {long}, base_url: '{api}', token_file: token}}\napi: {{");
    let text = config("http://127.0.0.1:1", "").replace("api: {", &more);
    let ended = place.run_with(&text, &[&["check", "--online"], &JSON[..]].concat());
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let checked = json_of(&ended);
    let results = |tenant: usize| -> Vec<&str> {
        let rows = checked["tenants"][tenant]["endpoints"].as_array().unwrap();
        rows.iter().map(|row| row["result"].as_str().unwrap()).collect()
    };
    assert_eq!(results(0).iter().filter(|result| **result == "failed").count(), 1);
    assert!(results(0).iter().all(|result| *result != "ok"));
    assert_eq!(missing(&checked)[0].0, "reachable");
    assert_eq!(results(1), ["ok"; 11]);
    assert!(ended.stderr.contains("1 of 22 endpoints failed"), "{}", ended.stderr);
    let table = place.run_with(&text, &["check", "--online"]).stdout;
    assert!(table.contains(&format!("\n{long}  http://")), "{table}");
}

#[test]
fn json_holds_the_tenants_or_the_problems() {
    let place = Place::new();
    place.write("token", "t");
    let fine = place.run_with(&config("https://api.example", ""), &["check", "--output", "json"]);
    assert_eq!(fine.code, Some(0), "{}", fine.stderr);
    let fine: Value = serde_json::from_str(&fine.stdout).unwrap();
    assert_eq!((&fine["tenants"][0], &fine["problems"]), (&Value::from("k1"), &serde_json::json!([])));
    let text = config("https://api.example", "web: {colour: blue}\n");
    let bad = place.run_with(&text, &["check", "--output", "json"]);
    assert_eq!(bad.code, Some(78));
    let bad: Value = serde_json::from_str(&bad.stdout).unwrap();
    assert_eq!(bad["problems"].as_array().unwrap().len(), 1);
    assert_eq!(bad["problems"][0]["key"], "web.colour");
    assert_eq!(bad["problems"][0]["line"], 7);
}

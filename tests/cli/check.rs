//! `check`: the configuration, and with `--online` the API.

use serde_json::Value;

use crate::place::{Place, config};

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

#[test]
fn online_every_endpoint_is_called_once_and_shown() {
    let place = Place::new();
    place.write("token", "simulator\n");
    let (_simulator, api) = place.simulator(&["--vms", "12"]);
    let table = place.run_with(&config(&api, ""), &["check", "--online"]);
    assert_eq!(table.code, Some(0), "{}", table.stderr);
    for endpoint in ENDPOINTS {
        let line = |line: &str| line.split_whitespace().take(4).eq(["k1", endpoint, "ok", "200"]);
        assert_eq!(table.stdout.lines().filter(|text| line(text)).count(), 1, "{endpoint}: {}", table.stdout);
    }
    assert!(table.stdout.lines().next().unwrap().starts_with("tenant "), "{}", table.stdout);

    let json = place.run_with(&config(&api, ""), &["check", "--online", "--output", "json"]);
    assert_eq!(json.code, Some(0), "{}", json.stderr);
    let rows: Value = serde_json::from_str(&json.stdout).unwrap();
    let seen: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["endpoint"].as_str().unwrap()).collect();
    assert!(
        ENDPOINTS.iter().all(|endpoint| seen.contains(endpoint)) && seen.len() == ENDPOINTS.len(),
        "{seen:?}"
    );
    for row in rows.as_array().unwrap() {
        let expected = (&Value::from("k1"), &Value::from("ok"), &Value::from(200), &Value::Null);
        assert_eq!((&row["tenant"], &row["result"], &row["http_status"], &row["error"]), expected);
    }
    assert!(place.reports("reports").is_empty() && !place.path("l.db").exists(), "it only looks");
}

#[test]
fn online_a_dead_api_is_a_failure_and_the_other_tenant_is_seen() {
    let place = Place::new();
    place.write("token", "simulator\n");
    let (_simulator, api) = place.simulator(&["--vms", "3"]);
    let text = config("http://127.0.0.1:1", "")
        .replace("api: {", &format!("  - {{name: k2, base_url: '{api}', token_file: token}}\napi: {{"));
    let ended = place.run_with(&text, &["check", "--online", "--output", "json"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let rows: Value = serde_json::from_str(&ended.stdout).unwrap();
    let results = |tenant: &str| -> Vec<String> {
        let rows = rows.as_array().unwrap().iter().filter(|row| row["tenant"] == tenant);
        rows.map(|row| row["result"].as_str().unwrap().to_owned()).collect()
    };
    assert!(
        results("k1").iter().all(|result| result != "ok") && results("k1").contains(&"failed".to_owned())
    );
    assert!(results("k2").iter().all(|result| result == "ok"), "{rows:#}");
    assert!(ended.stderr.contains("endpoints failed"), "{}", ended.stderr);
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

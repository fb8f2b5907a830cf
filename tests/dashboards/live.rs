//! Every expression, run by a real Prometheus that scrapes the program on the simulator.
//!
//! First all is well: every expression is answered, apart from a few that tell of trouble, and no
//! alert is even pending. Then the simulator misbehaves, and those few are answered too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use flexvm_exporter::clock::Clock;
use flexvm_exporter::period::Month;
use flexvm_exporter::simulator::{Fault, Operation, Options, Simulator};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::files::{Expression, asked, dashboards, panel_expressions, root, rules, text};
use super::program::{Program, free_port, tool};
use super::series::{SELF, family};

/// Prometheus scrapes first after 5 to 6 s, and a rate needs two scrapes; the rest is a slow machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// When a healthy exporter has nothing to answer an expression with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Empty {
    /// Until something goes wrong: the second half of the test makes it go wrong.
    UntilTrouble,
    /// In the first 24 hours of a month.
    OnAMonthsFirstDay,
    /// In this world, always.
    Here,
}

/// Part of an expression, when it has no answer, and why.
const EMPTY: [(&str, Empty, &str); 11] = [
    (
        "flexvm_exporter_api_unknown_fields",
        Empty::UntilTrouble,
        "the simulator sends documented fields alone",
    ),
    ("flexvm_exporter_api_retries_total", Empty::UntilTrouble, "nothing had to be sent again"),
    ("flexvm_exporter_collector_failures_total", Empty::UntilTrouble, "shows what is above 0"),
    (
        "flexvm_exporter_report_failures_total",
        Empty::Here,
        "shows what is above 0; the only month was closed",
    ),
    (
        "flexvm_exporter_report_changed_seconds",
        Empty::Here,
        "a closed month is first compared a day after it was closed",
    ),
    ("code!~\"2..|429\"", Empty::UntilTrouble, "no request has failed"),
    ("flexvm_exporter_api_request_errors", Empty::UntilTrouble, "no request has failed"),
    ("flexvm_usage_projected", Empty::OnAMonthsFirstDay, "projections are absent in the first 24 hours"),
    ("node_id=\"\"", Empty::Here, "the VM that is stuck without a node was deleted, to have a healthy world"),
    (
        "status=~\"failed|provisioning|created|starting|stopping|deleting\"",
        Empty::Here,
        "so were those that failed",
    ),
    (
        "flexvm_usage_untagged_vm_seconds:ratio",
        Empty::OnAMonthsFirstDay,
        "no use yet in a month's first seconds",
    ),
];

/// Families of the contract that this world's exporter need not serve, and why.
const NOT_SERVED: [(&str, &str); 2] = [
    ("up", "Prometheus's own"),
    ("flexvm_exporter_report_changed_seconds", "a closed month is first compared a day after it was closed"),
];

struct World {
    http: reqwest::Client,
    prometheus: String,
}

impl World {
    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Option<Value> {
        let mut url = reqwest::Url::parse(&format!("{}{path}", self.prometheus)).unwrap();
        url.query_pairs_mut().extend_pairs(query);
        let response = self.http.get(url).send().await.ok()?;
        serde_json::from_slice(&response.bytes().await.ok()?).ok()
    }

    /// Whether an expression has an answer; panics if it is an error.
    async fn answered(&self, expression: &Expression) -> bool {
        let query = [("query", expression.expr.as_str())];
        let Some(answer) = self.get("/api/v1/query", &query).await else { return false };
        assert_eq!(answer["status"], "success", "{}: {}: {answer}", expression.place, expression.expr);
        !answer["data"]["result"].as_array().unwrap().is_empty()
    }

    /// Waits until every expression has an answer; what has none in time.
    async fn unanswered(&self, mut expressions: Vec<Expression>) -> Vec<Expression> {
        let started = Instant::now();
        while !expressions.is_empty() && started.elapsed() < PATIENCE {
            let mut left = Vec::new();
            for expression in expressions {
                if !self.answered(&expression).await {
                    left.push(expression);
                }
            }
            expressions = left;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        expressions
    }

    /// The state of every alert, by name.
    async fn alerts(&self) -> BTreeMap<String, String> {
        let Some(answer) = self.get("/api/v1/rules", &[]).await else { return BTreeMap::new() };
        let mut states = BTreeMap::new();
        for group in answer["data"]["groups"].as_array().unwrap() {
            for rule in group["rules"].as_array().unwrap() {
                assert!(["ok", "unknown"].contains(&text(rule, "health")), "{rule}");
                if rule["type"] == "alerting" {
                    states.insert(text(rule, "name").to_owned(), text(rule, "state").to_owned());
                }
            }
        }
        states
    }
}

/// As Grafana would send it, with every variable at All.
fn filled_in(expr: &str) -> String {
    let mut expr = expr.replace("$__rate_interval", "1m").replace("$search", "");
    for variable in ["$job", "$instance", "$tenant", "$cloud"] {
        expr = expr.replace(&format!("=~\"{variable}\""), "=~\".+\"");
    }
    expr
}

fn all_expressions() -> Vec<Expression> {
    let mut all: Vec<_> = panel_expressions()
        .into_iter()
        .map(|expression| Expression { expr: filled_in(&expression.expr), ..expression })
        .collect();
    for rule in rules().iter().filter(|rule| rule.get("record").is_some()) {
        let place = format!("rule {}", text(rule, "record"));
        all.push(Expression { place: place.clone(), expr: text(rule, "expr").to_owned() });
        all.push(Expression { place, expr: text(rule, "record").to_owned() });
    }
    for (name, dashboard) in dashboards() {
        for variable in dashboard["templating"]["list"].as_array().unwrap() {
            let definition = filled_in(asked(variable));
            if let Some((function, inside)) = definition.split_once('(') {
                let inside = inside.strip_suffix(')').unwrap();
                let selector =
                    if function == "label_values" { inside.rsplit_once(", ").unwrap().0 } else { inside };
                let place = format!("{name}: variable {}", variable["name"]);
                all.push(Expression { place, expr: selector.to_owned() });
            }
        }
    }
    all
}

fn excuse(expression: &Expression) -> Option<Empty> {
    EMPTY.iter().find(|(part, _, _)| expression.expr.contains(part)).map(|(_, when, _)| *when)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_expression_is_answered_by_prometheus_2() {
    if let Some(prometheus) = tool("prometheus") {
        every_expression_is_answered(&prometheus).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_expression_is_answered_by_prometheus_3() {
    let prometheus = root().join("target/tools/prometheus3/prometheus");
    if prometheus.exists() {
        every_expression_is_answered(&prometheus).await;
    } else {
        eprintln!("SKIPPED: there is no Prometheus 3.x");
    }
}

async fn every_expression_is_answered(prometheus: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = format!("http://{}", listener.local_addr().unwrap());
    let simulator = Simulator::new(Options { churn: false, ..Options::default() }, Clock::system());
    make_healthy(&simulator);
    let serving = simulator.clone();
    tokio::spawn(async move { serving.serve(listener, std::future::pending()).await });
    let exporter = start_exporter(folder.path(), &api);
    let http = flexvm_exporter::api::plain_client(Duration::from_secs(10)).unwrap();
    until_ready(&http, &exporter.address).await;
    let (_prometheus, url) = start_prometheus(prometheus, folder.path(), &exporter.address);
    let world = World { http, prometheus: url };

    let first_day = Clock::system().now()
        < Month::of(Clock::system().now()).period().start + jiff::SignedDuration::from_hours(25);
    let needed = |expression: &Expression| match excuse(expression) {
        None => true,
        Some(Empty::OnAMonthsFirstDay) => !first_day,
        Some(Empty::UntilTrouble | Empty::Here) => false,
    };
    let (needed, others): (Vec<_>, Vec<_>) = all_expressions().into_iter().partition(needed);
    assert!(needed.len() > 150, "{}", needed.len());
    let unanswered = world.unanswered(needed).await;
    assert!(unanswered.is_empty(), "no answer: {unanswered:#?}");
    for expression in &others {
        // An error fails here too; an answer that is there after all is welcome.
        world.answered(expression).await;
    }
    no_alert_is_pending(&world).await;
    compare_with_what_is_served(&world.http, &exporter.address).await;

    simulator.faults().add(Fault::set("colour", json!("red")).on(Operation::Vms));
    simulator.faults().add(Fault::status(503).on(Operation::Images));
    let troubled =
        others.into_iter().filter(|expression| excuse(expression) == Some(Empty::UntilTrouble)).collect();
    let unanswered = world.unanswered(troubled).await;
    assert!(unanswered.is_empty(), "no answer in trouble: {unanswered:#?}");
    for name in ["FlexvmCollectorFailing", "FlexvmUnknownFields"] {
        becomes_pending(&world, name).await;
    }
}

/// Rules are looked at in turns, so an alert comes a moment after what it tells of.
async fn becomes_pending(world: &World, name: &str) {
    let started = Instant::now();
    loop {
        let states = world.alerts().await;
        if states.get(name).is_some_and(|state| state != "inactive") {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{name}: {states:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Deletes what the seed has on purpose to be looked at: nodes and VMs that failed, VMs that never get a node. And
/// makes one, so that a young VM is there.
fn make_healthy(simulator: &Simulator) {
    let call = |method: &str, path: &str, body: &str| {
        let answer = simulator.call(method, &format!("/v3/flexVM/{path}"), Some("start=0,results=100"), body);
        assert!(answer.status < 300, "{method} {path}: {}", answer.status);
        serde_json::from_slice::<Value>(&answer.body).unwrap_or_default()
    };
    let clouds = call("GET", "clouds", "");
    for cloud in clouds.as_array().unwrap() {
        let cloud = text(cloud, "id");
        for node in call("GET", &format!("clouds/{cloud}/nodes"), "").as_array().unwrap() {
            if text(node, "status") == "failed" {
                call("DELETE", &format!("clouds/{cloud}/nodes/{}", text(node, "id")), "");
            }
        }
        for status in ["failed", "provisioning"] {
            for vm in call("GET", &format!("clouds/{cloud}/vms?status={status}"), "").as_array().unwrap() {
                call("DELETE", &format!("clouds/{cloud}/vms/{}", text(vm, "id")), "");
            }
        }
    }
    let body = json!({"name": "young", "ssh_keys": ["ssh-ed25519 AAAA test"], "tags": ["project:odyssey"]});
    call("POST", &format!("clouds/{}/vms", text(&clouds[0], "id")), &body.to_string());
}

async fn until_ready(http: &reqwest::Client, address: &str) {
    let started = Instant::now();
    loop {
        let answer = http.get(format!("http://{address}/-/ready")).send().await;
        if answer.is_ok_and(|answer| answer.status() == 200) {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "the exporter is not ready");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// An alert may be pending while figures settle, such as when a VM is on its way.
async fn no_alert_is_pending(world: &World) {
    let started = Instant::now();
    loop {
        let states = world.alerts().await;
        assert!(states.values().all(|state| state != "firing"), "{states:?}");
        let pending: Vec<_> = states.iter().filter(|(_, state)| *state != "inactive").collect();
        if pending.is_empty() && states.len() >= 25 {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{pending:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// The list of series about the exporter itself is what it serves.
async fn compare_with_what_is_served(http: &reqwest::Client, address: &str) {
    let answer = http.get(format!("http://{address}/metrics")).send().await.unwrap().bytes().await.unwrap();
    let body = String::from_utf8(answer.to_vec()).unwrap();
    let families = body.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let domain = ["flexvm_exporter_tags_omitted", "flexvm_exporter_vms_omitted"];
    let served: BTreeSet<_> = families
        .filter(|name| {
            (name.starts_with("flexvm_exporter_") || name.starts_with("process_")) && !domain.contains(name)
        })
        .map(family)
        .collect();
    let listed: BTreeSet<_> = SELF.into_iter().collect();
    let unknown: Vec<_> = served.difference(&listed).collect();
    assert!(unknown.is_empty(), "in no list: {unknown:?}");
    for missing in listed.difference(&served) {
        let troubled =
            EMPTY.iter().any(|(part, when, _)| missing.contains(part) && *when == Empty::UntilTrouble);
        assert!(troubled || NOT_SERVED.iter().any(|(name, _)| name == missing), "{missing} is not served");
    }
}

fn start_exporter(folder: &Path, api: &str) -> Program {
    let config = format!(
        "tenants:\n  - name: live\n    base_url: {api}\n    token_file: {folder}/token\n\
         poll: {{capacity: 1s, inventory: 1s, usage: 1s, catalogue: 5s, deleted_vms: 5s}}\n\
         metrics: {{tag_keys: [project, env]}}\n\
         report: {{directory: {folder}/reports, settle: 0s, backfill: 1, group_by: [project]}}\n\
         ledger: {{url: \"sqlite:{folder}/ledger.db\"}}\n\
         prices: {{currency: EUR, vm_hour: {{vm.2c.4g: \"0.06\", vm.4c.8g: \"0.12\", vm.8c.32g: \"0.20\"}}}}\n",
        folder = folder.display(),
    );
    std::fs::write(folder.join("token"), "simulator\n").unwrap();
    std::fs::write(folder.join("exporter.yml"), config).unwrap();
    Program::serve(&folder.join("exporter.yml"))
}

fn start_prometheus(program: &Path, folder: &Path, exporter: &str) -> (Program, String) {
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}/config/rules/*.yml']\n\
         scrape_configs:\n  - job_name: flexvm\n    static_configs:\n      - targets: ['{exporter}']\n",
        root().display()
    );
    std::fs::write(folder.join("prometheus.yml"), config).unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new(program);
    command
        .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()))
        .arg(format!("--web.listen-address={address}"))
        .arg("--log.level=error");
    let url = format!("http://{address}");
    (Program::start(command, address), url)
}

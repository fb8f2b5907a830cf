//! The whole job with real parts: the program's own binary polls the simulator, a real Prometheus
//! scrapes it, and figures read back through Prometheus's query API are the simulator's world,
//! before and after a VM is created, stopped and deleted through the simulator's own API.
//!
//! Needs `prometheus` on the PATH (`tests/all.sh` installs it); without it the test says that it is
//! skipped, or fails where `FLEXVM_REQUIRE_TOOLS=1`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod program;

use std::path::Path;
use std::time::{Duration, Instant};

use flexvm_exporter::clock::Clock;
use flexvm_exporter::period::Month;
use flexvm_exporter::simulator::{Options, Simulator};
use program::{Program, tool};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The first scrape comes 5 to 6 s after Prometheus starts; the rest is a slow machine.
const PATIENCE: Duration = Duration::from_secs(90);

struct World {
    http: reqwest::Client,
    api: String,
    prometheus: String,
}

impl World {
    async fn api(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = format!("{}/v3/flexVM/{path}", self.api);
        let mut request = self.http.request(method, url).header("PRIVATE-TOKEN", "simulator");
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or(Value::Null))
    }

    async fn get(&self, path: &str) -> Value {
        let (status, value) = self.api(reqwest::Method::GET, path, None).await;
        assert_eq!(status, 200, "{path}");
        value
    }

    /// The values of a PromQL query; none while Prometheus is not up.
    async fn query(&self, query: &str) -> Vec<f64> {
        let mut url = reqwest::Url::parse(&format!("{}/api/v1/query", self.prometheus)).unwrap();
        url.query_pairs_mut().append_pair("query", query);
        let Ok(response) = self.http.get(url).send().await else { return Vec::new() };
        let answer: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default();
        let result = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        result.iter().map(|sample| sample["value"][1].as_str().unwrap().parse().unwrap()).collect()
    }

    /// Waits until the query gives exactly these values.
    async fn until(&self, query: &str, expected: &[f64]) {
        let started = Instant::now();
        loop {
            let values = self.query(query).await;
            if values == expected {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{query}: {values:?} instead of {expected:?}");
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn float(value: &Value) -> f64 {
    value.as_u64().unwrap() as f64
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_reads_the_simulators_world() {
    let Some(prometheus) = tool("prometheus") else { return };
    reads_the_simulators_world(&prometheus).await;
}

/// `tests/tools/prometheus3.sh` brings it where it can.
#[tokio::test(flavor = "multi_thread")]
async fn prometheus_3_reads_the_simulators_world() {
    let prometheus = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/prometheus3/prometheus"));
    if prometheus.exists() {
        reads_the_simulators_world(prometheus).await;
    } else {
        eprintln!("SKIPPED: there is no Prometheus 3.x");
    }
}

async fn reads_the_simulators_world(prometheus: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = format!("http://{}", listener.local_addr().unwrap());
    // Without churn the world only changes by what the test does.
    let options = Options { vms: 150, churn: false, page_cap: Some(25), ..Options::default() };
    let simulator = Simulator::new(options, Clock::system());
    let serving = simulator.clone();
    tokio::spawn(async move { serving.serve(listener, std::future::pending()).await });

    let exporter = exporter(folder.path(), &api);
    let (_prometheus, prometheus_url) = start_prometheus(prometheus, folder.path(), &exporter.address);
    let http = flexvm_exporter::api::plain_client(Duration::from_secs(10)).unwrap();
    let world = World { http, api, prometheus: prometheus_url };

    world.until("up", &[1.0]).await;
    world.until("flexvm_up", &[1.0]).await;
    compare(&world).await;
    life_of_a_vm(&world).await;
    compare(&world).await;
    nothing_was_lost(&world).await;
}

/// Prometheus has no complaint about any scrape so far.
async fn nothing_was_lost(world: &World) {
    let fewer = "max_over_time((scrape_samples_scraped != scrape_samples_post_metric_relabeling)[1h:1s])";
    assert_eq!(world.query(fewer).await, [0.0; 0]);
    let get = async |path: &str| {
        let answer = world.http.get(format!("{}{path}", world.prometheus)).send().await.unwrap();
        String::from_utf8(answer.bytes().await.unwrap().to_vec()).unwrap()
    };
    let targets: Value = serde_json::from_str(&get("/api/v1/targets").await).unwrap();
    let target = &targets["data"]["activeTargets"][0];
    assert_eq!((&target["health"], &target["lastError"]), (&json!("up"), &json!("")));
    let own = get("/metrics").await;
    let counts: Vec<_> = own
        .lines()
        .filter(|line| {
            line.starts_with("prometheus_target_scrape") && !line.starts_with("prometheus_target_scrape_pool")
        })
        .filter_map(|line| line.rsplit_once(' ').filter(|(name, _)| name.ends_with("_total")))
        .collect();
    // Duplicate, out of order, out of bounds, and what else they come to count.
    assert!(counts.iter().any(|(name, _)| name.contains("duplicate")) && counts.len() >= 4, "{counts:?}");
    assert!(counts.iter().all(|(_, count)| *count == "0"), "{counts:?}");
}

/// The standing figures of Prometheus are those of the simulator's own answers.
async fn compare(world: &World) {
    let capacity = world.get("reports/capacity").await;
    let vcpu = &capacity["resources"]["vcpu"];
    world.until("flexvm_capacity_nodes", &[float(&capacity["nodes"])]).await;
    world.until("flexvm_capacity_vcpus", &[float(&vcpu["total"])]).await;
    world.until("flexvm_capacity_vcpus_in_use", &[float(&vcpu["in_use"])]).await;
    let memory = float(&capacity["resources"]["memory"]["total"]) * 1_048_576.0;
    world.until("flexvm_capacity_memory_bytes", &[memory]).await;
    for row in world.get("capacity").await.as_array().unwrap() {
        let id = row["id"].as_str().unwrap();
        let available = float(&row["resources"]["vcpu"]["available"]);
        world.until(&format!("flexvm_cloud_vcpus_available{{cloud_id=\"{id}\"}}"), &[available]).await;
        for status in ["provisioning", "running", "stopped", "paused", "failed", "deleting"] {
            let vms = list(world, &format!("clouds/{id}/vms?status={status}")).await;
            let query = format!("flexvm_cloud_vms{{cloud_id=\"{id}\",status=\"{status}\"}}");
            world.until(&query, &[float(&json!(vms.len()))]).await;
        }
    }
    let month = Month::of(Clock::system().now()).previous().period();
    let report = world.get(&format!("reports/monthly?start={}&end={}", month.start, month.end)).await;
    let hours: u64 =
        report["vms"].as_array().unwrap().iter().map(|vm| vm["vm_hours"].as_u64().unwrap()).sum();
    let reported = float(&json!(hours * 3600));
    world.until("flexvm_usage_reported_vm_seconds{period=\"previous\"}", &[reported]).await;
    world.until("flexvm_report_reported_vm_seconds", &[reported]).await;
    world.until("sum(flexvm_usage_cloud_vm_seconds{period=\"previous\"}) - sum(flexvm_usage_vm_seconds{period=\"previous\"})", &[0.0]).await;
}

/// A whole list, although the simulator gives 25 rows a page.
async fn list(world: &World, path: &str) -> Vec<Value> {
    let mut rows: Vec<Value> = Vec::new();
    loop {
        let url = format!("{}/v3/flexVM/{path}", world.api);
        let request = world.http.get(url).header("PRIVATE-TOKEN", "simulator");
        let range = format!("start={},results=100", rows.len());
        let answer = request.header("RANGED-DATA", range).send().await.unwrap().bytes().await.unwrap();
        let page: Vec<Value> = serde_json::from_slice(&answer).unwrap();
        if page.is_empty() {
            return rows;
        }
        rows.extend(page);
    }
}

async fn life_of_a_vm(world: &World) {
    let cloud = world.get("clouds").await[0]["id"].as_str().unwrap().to_owned();
    // Quotes, backslashes, line feeds, UTF-8 and the longest text that the API takes.
    let name = "made \"by hand\",\nsec}ond\\n line, grüße 研究 🦀\\";
    let tag = format!("project:{}", "\"é\\\n".repeat(30));
    assert_eq!(tag.chars().count(), 128);
    let body = json!({"name": name, "ssh_keys": ["ssh-ed25519 AAAA test"], "tags": [tag]});
    let (status, vm) = world.api(reqwest::Method::POST, &format!("clouds/{cloud}/vms"), Some(body)).await;
    assert_eq!(status, 201, "{vm}");
    let path = format!("clouds/{cloud}/vms/{}", vm["id"].as_str().unwrap());
    let of_vm = |metric: &str, more: &str| format!("{metric}{{vm_id={}{more}}}", vm["id"]);
    world.until(&of_vm("flexvm_vm_status", ",status=\"running\""), &[1.0]).await;
    // PromQL's texts are escaped as JSON's.
    world.until(&of_vm("flexvm_vm_info", &format!(",vm={}", json!(name))), &[1.0]).await;
    let of_tag = format!("sum(flexvm_tag_vms{{tag={},tag_key=\"project\"}})", json!(tag));
    world.until(&of_tag, &[1.0]).await;
    let command = Some(json!({"command": "stop"}));
    assert_eq!(world.api(reqwest::Method::POST, &format!("{path}/commands"), command).await.0, 202);
    world.until(&of_vm("flexvm_vm_status", ",status=\"stopped\""), &[1.0]).await;
    assert_eq!(world.query(&of_vm("flexvm_vm_status", "")).await, [1.0], "the old status is gone");
    assert_eq!(world.api(reqwest::Method::DELETE, &path, None).await.0, 202);
    world.until(&of_vm("flexvm_vm_info", ""), &[]).await;
    world.until(&of_tag, &[]).await;
    world.until("flexvm_usage_vms_released{period=\"current\"} > 0", &[released(world).await]).await;
}

async fn released(world: &World) -> f64 {
    let report = world.get("reports/monthly").await;
    let start = report["period"]["start"].as_str().unwrap().to_owned();
    let vms = report["vms"].as_array().unwrap();
    let released = vms.iter().filter(|vm| vm["released_at"].as_str().is_some_and(|at| at >= start.as_str()));
    float(&json!(released.count()))
}

fn exporter(folder: &Path, api: &str) -> Program {
    let config = format!(
        "tenants:\n  - name: e2e\n    base_url: {api}\n    token_file: {token}\npoll: {{capacity: 1s, inventory: 1s, \
         usage: 1s, catalogue: 5s, deleted_vms: 5s}}\nreport: {{directory: {reports}, settle: 0s, backfill: 1}}\nledger: {{url: \"sqlite:{ledger}\"}}\n",
        ledger = folder.join("ledger.db").display(),
        token = folder.join("token").display(),
        reports = folder.join("reports").display(),
    );
    std::fs::write(folder.join("token"), "simulator\n").unwrap();
    std::fs::write(folder.join("exporter.yml"), config).unwrap();
    Program::serve(&folder.join("exporter.yml"))
}

fn start_prometheus(program: &Path, folder: &Path, exporter: &str) -> (Program, String) {
    let config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n  - job_name: flexvm\n    static_configs:\n      - targets: ['{exporter}']\n"
    );
    let prometheus = Program::prometheus(program, folder, &config);
    let url = format!("http://{}", prometheus.address);
    (prometheus, url)
}

//! `/sd/vms` with a real Prometheus: it discovers the simulator's VMs, keeps them while the API is
//! down, and drops those that go.
//!
//! Needs `prometheus` on the PATH (`tests/all.sh` installs it). It is told to scrape a closed port
//! of loopback in place of the VMs' addresses.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod program;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use flexvm_exporter::clock::Clock;
use flexvm_exporter::simulator::{Fault, Options, Simulator};
use program::{Program, free_port, tool, until};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What a target had before relabelling, by VM id and address.
type Targets = BTreeMap<(String, String), BTreeMap<String, String>>;

struct World {
    simulator: Simulator,
    exporter: Program,
    prometheus: Program,
    _folder: tempfile::TempDir,
}

impl World {
    async fn start(prometheus: &std::path::Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = format!("http://{}", listener.local_addr().unwrap());
        let options = Options { vms: 40, clouds: 2, churn: false, months: 1, ..Options::default() };
        let simulator = Simulator::new(options, Clock::system());
        let serving = simulator.clone();
        tokio::spawn(async move { serving.serve(listener, std::future::pending()).await });
        let config = format!(
            "tenants: [{{name: k1, base_url: '{api}', token_file: '{0}/token'}}]\napi: {{retries: 0}}\n\
             poll: {{capacity: 1s, inventory: 1s, usage: 1s, catalogue: 5s}}\nmetrics: {{stale_after: 2s}}\n\
             report: {{directory: '{0}/reports'}}\nledger: {{url: 'sqlite:{0}/ledger.db'}}\n",
            folder.path().display()
        );
        std::fs::write(folder.path().join("token"), "simulator").unwrap();
        let file = folder.path().join("exporter.yml");
        std::fs::write(&file, config).unwrap();
        let mut command = program::exporter();
        let address = format!("127.0.0.1:{}", free_port());
        command.arg("--config.file").arg(&file).args([
            "--web.listen-address",
            &address,
            "--log.level",
            "error",
        ]);
        let exporter = Program::start(command, address);
        let jobs = [("vms", "port=9999&tenant=k1"), ("public", "public=true")].map(|(job, query)| {
            format!(
                "  - job_name: {job}\n    http_sd_configs: [{{url: 'http://{}/sd/vms?{query}', refresh_interval: 1s}}]\n    \
                 relabel_configs: [{{source_labels: [__address__], target_label: instance}}, \
                 {{target_label: __address__, replacement: '127.0.0.1:1'}}]\n",
                exporter.address
            )
        });
        let config = format!("global: {{scrape_interval: 1h}}\nscrape_configs:\n{}", jobs.concat());
        let prometheus = Program::prometheus(prometheus, folder.path(), &config);
        Self { simulator, exporter, prometheus, _folder: folder }
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer =
            self.simulator.call(method, &format!("/v3/flexVM/{path}"), Some("start=0,results=100"), &body);
        assert!(answer.status < 300, "{method} {path}: {}", answer.status);
        serde_json::from_slice(&answer.body).unwrap_or_default()
    }

    /// The running VMs, as the API lists them, by cloud.
    fn running(&self) -> Vec<(String, Value)> {
        let clouds = self.call("GET", "clouds", &Value::Null);
        let of = |cloud: &Value| {
            let id = cloud["id"].as_str().unwrap().to_owned();
            let vms = self.call("GET", &format!("clouds/{id}/vms?status=running"), &Value::Null);
            vms.as_array().unwrap().iter().map(|vm| (id.clone(), vm.clone())).collect::<Vec<_>>()
        };
        clouds.as_array().unwrap().iter().flat_map(of).collect()
    }

    /// Prometheus's answer.
    fn ask(&self, path: &str) -> Option<String> {
        let http = flexvm_exporter::api::plain_client(Duration::from_secs(10)).unwrap();
        let request = http.get(format!("http://{}{path}", self.prometheus.address));
        let answer = async { request.send().await.ok()?.text().await.ok() };
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(answer))
    }

    /// What Prometheus has discovered for a job; none while it cannot be asked.
    fn targets(&self, job: &str) -> Targets {
        let Some(answer) = self.ask("/api/v1/targets?state=active") else { return Targets::new() };
        let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
        let targets = answer["data"]["activeTargets"].as_array().cloned().unwrap_or_default();
        let discovered = |target: &Value| {
            let labels: BTreeMap<String, String> =
                serde_json::from_value(target["discoveredLabels"].clone()).unwrap();
            let address = target["labels"]["instance"].as_str().unwrap().to_owned();
            ((labels["__meta_flexvm_vm_id"].clone(), address), labels)
        };
        targets.iter().filter(|it| it["scrapePool"] == job).map(discovered).collect()
    }

    /// Refreshes of Prometheus that failed.
    fn failures(&self) -> f64 {
        let answer = self.ask("/metrics").unwrap();
        let mut lines = answer.lines();
        let value = lines.find_map(|line| line.strip_prefix("prometheus_sd_http_failures_total "));
        value.unwrap().trim().parse().unwrap()
    }
}

/// What should be discovered with this port: each address of each running VM.
fn expected(running: &[(String, Value)], port: u16, public: Option<bool>) -> BTreeSet<(String, String)> {
    let mut all = BTreeSet::new();
    for (_, vm) in running {
        for ip in vm["ips"].as_array().unwrap() {
            if public.is_some_and(|public| ip["public"] != public) {
                continue;
            }
            let address = ip["address"].as_str().unwrap().split('/').next().unwrap();
            // IPv6 in brackets, as short as can be.
            let host =
                address.parse::<std::net::Ipv6Addr>().map_or(address.to_owned(), |it| format!("[{it}]"));
            all.insert((vm["id"].as_str().unwrap().to_owned(), format!("{host}:{port}")));
        }
    }
    all
}

fn keys(targets: &Targets) -> BTreeSet<(String, String)> {
    targets.keys().cloned().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_discovers_keeps_and_drops_vms() {
    let Some(prometheus) = tool("prometheus") else { return };
    let world = World::start(&prometheus).await;
    let discovers = |what: &str| {
        until(what, || {
            let running = world.running();
            let found = world.targets("vms");
            (!found.is_empty() && keys(&found) == expected(&running, 9999, None)).then_some((running, found))
        })
    };
    // All of them, each once for every address, with the API's own words as labels.
    let (running, found) = discovers("every running VM");
    assert!(running.len() > 20, "{}", running.len());
    for (labels, (cloud, vm)) in found.values().map(|labels| {
        let of_target = |(_, vm): &&(String, Value)| vm["id"] == labels["__meta_flexvm_vm_id"].as_str();
        (labels, running.iter().find(of_target).unwrap())
    }) {
        assert_eq!(labels["__meta_flexvm_tenant"], "k1");
        assert_eq!(labels["__meta_flexvm_status"], "running");
        assert_eq!(labels["__meta_flexvm_cloud_id"], *cloud);
        assert_eq!(labels["__meta_flexvm_vm"], vm["name"].as_str().unwrap());
        for tag in vm["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()) {
            if let Some(value) = tag.strip_prefix("env:").filter(|value| !value.is_empty()) {
                assert!(
                    labels["__meta_flexvm_tag_env"].split(';').any(|it| it == value),
                    "{tag}: {labels:?}"
                );
            }
        }
    }
    until("the public addresses", || {
        (keys(&world.targets("public")) == expected(&world.running(), 9100, Some(true))).then_some(())
    });

    // The API is down: 503, and Prometheus keeps what it has, refresh after refresh.
    world.simulator.faults().add(Fault::status(500));
    until("503", || program::get(&world.exporter.address, "/sd/vms").filter(|(status, _)| *status == 503));
    let before = world.failures();
    until("failed refreshes of both jobs", || (world.failures() >= before + 4.0).then_some(()));
    assert_eq!(world.targets("vms"), found);

    // It is back: a VM that was made is found, one that was deleted goes, the others stay.
    world.simulator.faults().clear();
    let tags = json!(["owner:\"grüße\\", "gpu-farm", "odd key:1"]);
    let made = json!({"name": "made by hand", "ssh_keys": ["ssh-ed25519 AAAA test"], "tags": tags});
    let made = world.call("POST", &format!("clouds/{}/vms", running[0].0), &made);
    let (gone_cloud, gone) = &running[0];
    world.call("DELETE", &format!("clouds/{gone_cloud}/vms/{}", gone["id"].as_str().unwrap()), &Value::Null);
    until("the VM to be made", || world.running().iter().any(|(_, vm)| vm["id"] == made["id"]).then_some(()));
    let (_, now) = discovers("the VMs of now");
    let ids = |targets: &Targets| targets.keys().map(|(id, _)| id.clone()).collect::<BTreeSet<_>>();
    let (before, now_ids) = (ids(&found), ids(&now));
    let made = made["id"].as_str().unwrap().to_owned();
    assert_eq!(now_ids.difference(&before).collect::<Vec<_>>(), [&made]);
    assert_eq!(before.difference(&now_ids).collect::<Vec<_>>(), [gone["id"].as_str().unwrap()]);
    let labels = now.iter().find(|((id, _), _)| *id == made).unwrap().1;
    assert_eq!(labels["__meta_flexvm_tag_owner"], "\"grüße\\");
    assert_eq!(labels["__meta_flexvm_tag_gpu_farm"], "true");
    assert_eq!(labels["__meta_flexvm_tag_odd_key"], "1");
}

//! What the live tests play on: simulators, the exporters on them, and the Prometheus that scrapes.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use flexvm_exporter::clock::Clock;
use flexvm_exporter::config::load::simulated_tenant;
use flexvm_exporter::config::{Config, Ledger, Metrics, Poll, Report, Web};
use flexvm_exporter::daemon;
use flexvm_exporter::period::Month;
use flexvm_exporter::simulator::{Options, Simulator};
use flexvm_exporter::web::{Access, Paths};
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::files::{root, text};
use super::program::Program;

/// Prometheus scrapes first after 5 to 6 s, and a rate needs two scrapes; the rest is a slow machine.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// Another exporter, whose clock is in the next month, and whose simulator is as the seed made it: with VMs that failed
/// and one that never gets a node.
pub struct Later {
    pub simulator: Simulator,
    pub address: String,
    ahead: Arc<AtomicI64>,
    _shutdown: watch::Sender<bool>,
}

impl Later {
    pub async fn start(folder: &Path) -> Self {
        let now = Clock::system().now();
        let then = Month::of(now).period().end + SignedDuration::from_hours(30);
        let ahead = Arc::new(AtomicI64::new(then.duration_since(now).as_secs()));
        let read = Arc::clone(&ahead);
        let clock = Clock::new(move || {
            Clock::system().now() + SignedDuration::from_secs(read.load(Ordering::SeqCst))
        });
        let (simulator, api) = simulate(Options { churn: false, ..Options::default() }, clock.clone()).await;
        let mut tenant = simulated_tenant("later", api.parse().unwrap(), "simulator");
        tenant.api.retries = 0;
        let often = Duration::from_secs(1);
        let config = Config {
            tenants: vec![Arc::new(tenant)],
            poll: Poll {
                capacity: often,
                inventory: often,
                usage: often,
                deleted_vms: often,
                catalogue: often,
            },
            metrics: Metrics::default(),
            web: Web::default(),
            ledger: Ledger { path: folder.join("later.db"), ..Ledger::default() },
            report: Report {
                directory: folder.join("later"),
                settle: Duration::ZERO,
                backfill: 1,
                ..Report::default()
            },
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (shutdown, told) = watch::channel(false);
        let again = config.clone();
        tokio::spawn(daemon::run(
            config,
            vec![listener],
            Paths::default(),
            Access::default(),
            clock,
            told,
            Some(daemon::Reloads::new(Arc::new(move || Ok(again.clone()))).unwrap()),
        ));
        Self { simulator, address, ahead, _shutdown: shutdown }
    }

    /// Time passes, and a reload makes the daemon look at once for what is due.
    pub async fn passes(&self, time: SignedDuration, http: &reqwest::Client) {
        self.ahead.fetch_add(time.as_secs(), Ordering::SeqCst);
        let answer = http.put(format!("http://{}/-/reload", self.address)).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
}

/// A simulator, and where it is.
pub async fn simulate(options: Options, clock: Clock) -> (Simulator, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let simulator = Simulator::new(options, clock);
    let serving = simulator.clone();
    tokio::spawn(async move { serving.serve(listener, std::future::pending()).await });
    (simulator, url)
}

/// Deletes what the seed has on purpose to be looked at: nodes and VMs that failed, VMs that never get a node. And
/// makes one, so that a young VM is there.
pub fn make_healthy(simulator: &Simulator) {
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
    }
    simulator.delete_unhealthy_vms();
    let body = json!({"name": "young", "ssh_keys": ["ssh-ed25519 AAAA test"], "tags": ["project:odyssey"]});
    call("POST", &format!("clouds/{}/vms", text(&clouds[0], "id")), &body.to_string());
}

pub async fn until_ready(http: &reqwest::Client, address: &str) {
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

pub fn start_exporter(folder: &Path, api: &str, empty: &str) -> Program {
    let config = format!(
        "tenants:\n  - name: live\n    base_url: {api}\n    token_file: {folder}/token\n\
         \x20 - name: empty\n    base_url: {empty}\n    token_file: {folder}/token\n\
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

/// Says whom Prometheus scrapes.
pub fn scrape(folder: &Path, targets: &[&str]) {
    let whole = folder.join("targets.tmp");
    std::fs::write(&whole, json!([{ "targets": targets }]).to_string()).unwrap();
    std::fs::rename(whole, folder.join("targets.json")).unwrap();
}

pub fn start_prometheus(program: &Path, folder: &Path, exporter: &str) -> (Program, String) {
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}/config/rules/*.yml']\n\
         scrape_configs:\n  - job_name: flexvm\n    file_sd_configs:\n      - {{files: ['{}/targets.json'], refresh_interval: 2s}}\n",
        root().display(),
        folder.display()
    );
    scrape(folder, &[exporter]);
    let prometheus = Program::prometheus(program, folder, &config);
    let url = format!("http://{}", prometheus.address);
    (prometheus, url)
}

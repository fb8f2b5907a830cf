//! Simulator and daemon, wired as the program wires them, polling many times a second.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flexvm_exporter::clock::Clock;
use flexvm_exporter::config::{Api, Config, Ledger, Metrics, Poll, Report, Secret, Tenant, TokenSource, Web};
use flexvm_exporter::daemon;
use flexvm_exporter::simulator::{NamedFault, Options, Simulator};
use flexvm_exporter::web::{Access, Paths};
use jiff::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(40);

pub struct Rig {
    pub simulator: Simulator,
    pub url: String,
    pub config: Config,
    clock: Clock,
    daemon: Option<(watch::Sender<bool>, JoinHandle<anyhow::Result<()>>)>,
    _folder: tempfile::TempDir,
    http: reqwest::Client,
}

/// A clock that runs from `start`.
pub fn running_from(start: &str) -> Clock {
    let (start, began): (Timestamp, _) = (start.parse().unwrap(), Instant::now());
    Clock::new(move || start + began.elapsed())
}

impl Rig {
    pub async fn new() -> Self {
        Self::with(|_| ()).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::at(running_from("2026-10-15T12:00:00Z"), change).await
    }

    pub async fn at(clock: Clock, change: impl FnOnce(&mut Config)) -> Self {
        Self::faulty_at(clock, None, change).await
    }

    /// As [`Rig::new`], with an API that has a fault from the beginning.
    pub async fn faulty(clock: Clock, fault: NamedFault) -> Self {
        Self::faulty_at(clock, Some(fault), |_| ()).await
    }

    async fn faulty_at(clock: Clock, fault: Option<NamedFault>, change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options =
            Options { vms: 60, clouds: 2, churn: false, page_cap: Some(25), months: 1, ..Options::default() };
        let simulator = Simulator::new(options, clock.clone());
        if let Some(fault) = fault {
            simulator.inject(fault);
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = format!("http://{}", listener.local_addr().unwrap());
        let serving = simulator.clone();
        tokio::spawn(async move { serving.serve(listener, std::future::pending()).await });
        let often = Duration::from_millis(100);
        let mut config = Config {
            tenants: vec![Arc::new(tenant("one", &api))],
            poll: Poll {
                capacity: often,
                inventory: often,
                deleted_vms: Duration::ZERO,
                usage: often * 2,
                catalogue: often * 5,
            },
            metrics: Metrics::default(),
            web: Web::default(),
            ledger: Ledger { path: folder.path().join("ledger.db"), ..Ledger::default() },
            report: Report { directory: folder.path().join("reports"), ..Report::default() },
        };
        change(&mut config);
        let http = flexvm_exporter::api::plain_client(Duration::from_secs(10)).unwrap();
        let mut rig =
            Self { simulator, url: String::new(), config, clock, daemon: None, _folder: folder, http };
        rig.start().await;
        rig
    }

    async fn start(&mut self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.url = format!("http://{}", listener.local_addr().unwrap());
        let (shutdown, told) = watch::channel(false);
        let daemon = tokio::spawn(daemon::run(
            self.config.clone(),
            vec![listener],
            Paths::default(),
            Access::default(),
            self.clock.clone(),
            told,
            None,
        ));
        self.daemon = Some((shutdown, daemon));
    }

    /// Ends the daemon, makes a `change` to the world, and starts it again on what it left.
    pub async fn restart(&mut self, change: impl FnOnce(&Self)) {
        let (shutdown, daemon) = self.daemon.take().unwrap();
        shutdown.send_replace(true);
        daemon.await.unwrap().unwrap();
        // Connections that end a moment later hold the ledger until then; a process would be gone.
        let path = &self.config.ledger.path;
        let began = Instant::now();
        while let Err(error) = flexvm_exporter::ledger::Ledger::open(path) {
            assert!(began.elapsed() < PATIENCE, "{error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        change(self);
        self.start().await;
    }

    pub async fn get(&self, path: &str) -> (u16, String) {
        let response = self.http.get(format!("{}{path}", self.url)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    pub async fn accepting(&self, path: &str, accept: &str) -> (u16, String) {
        let request = self.http.get(format!("{}{path}", self.url)).header("accept", accept);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    pub async fn send(&self, method: reqwest::Method, path: &str) -> (u16, String) {
        let response = self.http.request(method, format!("{}{path}", self.url)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// Asks for exactly this path, which a client would put in order first; the answer's status.
    pub async fn raw(&self, path: &str) -> u16 {
        let mut stream =
            tokio::net::TcpStream::connect(self.url.trim_start_matches("http://")).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[9..12]).parse().unwrap()
    }

    pub async fn text(&self) -> String {
        self.get("/metrics").await.1
    }

    /// Waits until `/metrics` is as wanted, and returns it.
    pub async fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        self.until_get(what, "/metrics", |_, text| wanted(text)).await
    }

    /// Waits until the answer to `path` is as wanted, and returns it.
    pub async fn until_get(&self, what: &str, path: &str, wanted: impl Fn(u16, &str) -> bool) -> String {
        let started = Instant::now();
        loop {
            let (status, text) = self.get(path).await;
            if wanted(status, &text) {
                return text;
            }
            assert!(started.elapsed() < PATIENCE, "waited in vain: {what}\n{status} {text}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until every collector works.
    pub async fn well(&self) -> String {
        self.until("all collectors to work", |text| {
            let served =
                ["flexvm_capacity_nodes{", "flexvm_cloud_info{", "flexvm_usage_vms{", "flexvm_image_info{"];
            text.contains("flexvm_up{tenant=\"one\"} 1\n")
                && served.iter().all(|family| text.contains(family))
                && ["capacity", "inventory", "usage", "catalogue"]
                    .iter()
                    .all(|it| success(text, it) == Some(1.0))
        })
        .await
    }

    /// Changes the world without HTTP; the answer's status.
    pub fn call(&self, method: &str, path: &str, body: &str) -> u16 {
        self.simulator.call(method, &format!("/v3/flexVM/{path}"), None, body).status
    }
}

pub fn tenant(name: &str, url: &str) -> Tenant {
    Tenant {
        name: name.into(),
        base_url: url.parse().unwrap(),
        token: TokenSource::Fixed(Secret::new("simulator")),
        api: Api { retries: 0, timeout: Duration::from_secs(2), max_body: 1 << 20, ..Api::default() },
        prices: None,
        group_by: Vec::new(),
    }
}

/// The value of the series whose line begins so.
pub fn value(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

pub fn success(text: &str, collector: &str) -> Option<f64> {
    value(text, &format!("flexvm_exporter_collector_success{{collector=\"{collector}\",tenant=\"one\"}}"))
}

pub fn failures(text: &str, collector: &str, reason: &str) -> f64 {
    let series = "flexvm_exporter_collector_failures_total";
    value(text, &format!("{series}{{collector=\"{collector}\",reason=\"{reason}\",tenant=\"one\"}}"))
        .unwrap_or_default()
}

/// The lines of series whose names begin with one of these.
pub fn lines<'t>(text: &'t str, names: &[&str]) -> Vec<&'t str> {
    text.lines().filter(|line| names.iter().any(|name| line.starts_with(name))).collect()
}

/// Series of the collector `inventory`, but for the time since which a VM has its status.
pub const INVENTORY: [&str; 9] = [
    "flexvm_cloud_info{",
    "flexvm_cloud_vms{",
    "flexvm_cloud_instance_type_vms{",
    "flexvm_node_info{",
    "flexvm_node_status{",
    "flexvm_tag_vms{",
    "flexvm_vm_info{",
    "flexvm_vm_status{",
    "flexvm_vm_created_timestamp_seconds{",
];

/// The ids of VMs that `/metrics` shows.
pub fn vm_ids(text: &str) -> BTreeSet<String> {
    let infos = lines(text, &["flexvm_vm_info{"]);
    let id =
        |line: &str| line.split_once("vm_id=\"").map(|(_, rest)| rest.split('"').next().unwrap().to_owned());
    infos.into_iter().filter_map(id).collect()
}

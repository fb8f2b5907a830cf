//! A simulator on loopback, a clock moved by hand, and a tenant whose months are closed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use flexvm_exporter::api::{Client, NoObserver};
use flexvm_exporter::clock::Clock;
use flexvm_exporter::close::worker::scheduler::Timetable;
use flexvm_exporter::close::worker::{EndedMonths, TenantWorker};
use flexvm_exporter::close::{CloseOptions, Closer};
use flexvm_exporter::config::{
    Api, Config, Ledger as LedgerConfig, Metrics, Poll, Report, Secret, Tenant, TokenSource, Web,
};
use flexvm_exporter::ledger::Ledger;
use flexvm_exporter::period::Month;
use flexvm_exporter::report::Published;
use flexvm_exporter::self_metrics::SelfMetrics;
use flexvm_exporter::simulator::{Options, Simulator};
use flexvm_exporter::snapshot::{InventoryData, Vm, VmStatus};
use flexvm_exporter::store::Store;
use jiff::Timestamp;
use serde_json::Value;
use tokio::net::TcpListener;

pub const TENANT: &str = "k12345";

pub fn month(text: &str) -> Month {
    text.parse().unwrap()
}

/// Clocks that stand until a test moves them.
#[derive(Clone)]
pub struct Hand {
    wall: Arc<AtomicI64>,
    monotonic: Arc<AtomicU64>,
}

impl Hand {
    pub fn at(time: &str) -> Self {
        let hand = Self { wall: Arc::default(), monotonic: Arc::default() };
        hand.set(time);
        hand
    }

    /// Sets the wall clock alone.
    pub fn set(&self, time: &str) {
        self.wall.store(time.parse::<Timestamp>().unwrap().as_second(), Ordering::SeqCst);
    }

    /// Lets time pass on both clocks.
    pub fn pass(&self, time: Duration) {
        self.wall.fetch_add(i64::try_from(time.as_secs()).unwrap(), Ordering::SeqCst);
        self.monotonic.fetch_add(time.as_secs(), Ordering::SeqCst);
    }

    pub fn clock(&self) -> Clock {
        let (wall, monotonic) = (Arc::clone(&self.wall), Arc::clone(&self.monotonic));
        Clock::new(move || Timestamp::from_second(wall.load(Ordering::SeqCst)).unwrap())
            .with_monotonic(move || Duration::from_secs(monotonic.load(Ordering::SeqCst)))
    }

    pub fn now(&self) -> Timestamp {
        self.clock().now()
    }
}

/// One tenant, all of whose files are in `folder`.
pub fn configuration(url: &str, folder: &Path) -> Config {
    let api = Api { retries: 0, timeout: Duration::from_secs(20), ..Api::default() };
    Config {
        tenants: vec![Arc::new(Tenant {
            name: TENANT.into(),
            base_url: url.parse().unwrap(),
            token: TokenSource::Fixed(Secret::new("simulator")),
            api,
            prices: None,
            group_by: Vec::new(),
        })],
        poll: Poll::default(),
        metrics: Metrics::default(),
        web: Web::default(),
        ledger: LedgerConfig { path: folder.join("ledger.db"), ..LedgerConfig::default() },
        report: Report { directory: folder.join("reports"), ..Report::default() },
    }
}

/// A closer by itself, at a time that stands.
pub fn closer(config: Config, ledger: Ledger, clock: Clock) -> Closer {
    let tenant = Arc::clone(&config.tenants[0]);
    let client = Client::new(&tenant, Arc::new(NoObserver)).unwrap();
    Closer::new(tenant, client, ledger, clock, Arc::new(config))
}

/// The terms on which the daemon closes a month.
pub fn terms() -> CloseOptions {
    CloseOptions::default()
}

/// The terms of a restatement for a reason.
pub fn because(reason: &str) -> CloseOptions {
    CloseOptions { reason: Some(reason.to_owned()), ..terms() }
}

/// The terms of a restatement that is written although nothing may differ.
pub fn forced(reason: &str) -> CloseOptions {
    CloseOptions { force: true, ..because(reason) }
}

/// The scheduler and the worker of the one tenant, woken by hand.
pub struct Worker {
    timetable: Timetable,
    tenant: TenantWorker,
}

impl Worker {
    pub async fn wake(&mut self, cron: bool) {
        let scheduled = self.timetable.wake(cron);
        self.tenant.wake(scheduled).await;
    }
}

/// Everything that closing a month needs, at a time of the test's choice.
pub struct Stage {
    /// Lasts as long as the stage.
    pub folder: tempfile::TempDir,
    pub hand: Hand,
    pub simulator: Simulator,
    pub url: String,
    pub config: Arc<Config>,
    pub ledger: Ledger,
    pub metrics: Arc<SelfMetrics>,
    pub store: Arc<Store>,
    /// What every worker of the process shares.
    ended_months: EndedMonths,
}

impl Stage {
    pub async fn new(time: &str) -> Self {
        Self::with(time, |_| ()).await
    }

    pub async fn with(time: &str, change: impl FnOnce(&mut Config)) -> Self {
        let (folder, hand) = (tempfile::tempdir().unwrap(), Hand::at(time));
        let options = Options { vms: 30, clouds: 2, months: 4, churn: false, ..Options::default() };
        let simulator = Simulator::new(options, hand.clock());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = simulator.clone();
        tokio::spawn(async move { serving.serve(listener, std::future::pending()).await });
        let mut config = configuration(&url, folder.path());
        change(&mut config);
        let ledger = Ledger::open(&config.ledger.path).unwrap();
        let metrics = Arc::new(SelfMetrics::new(hand.now()).unwrap());
        metrics.add_tenant(TENANT, std::iter::empty());
        let store = Arc::new(Store::new(&config.tenants, config.metrics.clone(), config.poll.clone()));
        Self {
            folder,
            hand,
            simulator,
            url,
            config: Arc::new(config),
            ledger,
            metrics,
            store,
            ended_months: EndedMonths::default(),
        }
    }

    /// Goes on with another configuration, as after a restart.
    pub fn configured(&mut self, change: impl FnOnce(&mut Config)) {
        let mut config = (*self.config).clone();
        change(&mut config);
        self.config = Arc::new(config);
    }

    pub fn closer(&self) -> Closer {
        closer((*self.config).clone(), self.ledger.clone(), self.hand.clock())
    }

    pub fn worker(&self) -> Worker {
        let (store, metrics) = (Arc::clone(&self.store), Arc::clone(&self.metrics));
        let report = &self.config.report;
        let timetable = Timetable::new(report.schedule.clone(), self.hand.clock(), Arc::clone(&self.metrics));
        let tenant = TenantWorker::new(self.closer(), report, self.hand.clock(), store, metrics);
        Worker { timetable, tenant: tenant.with_ended_months(self.ended_months.clone()) }
    }

    /// Goes on with empty metrics and pages, as after a restart.
    pub fn restarted(&mut self) {
        self.metrics = Arc::new(SelfMetrics::new(self.hand.now()).unwrap());
        self.metrics.add_tenant(TENANT, std::iter::empty());
        let Config { tenants, metrics, poll, .. } = &*self.config;
        self.store = Arc::new(Store::new(tenants, metrics.clone(), poll.clone()));
        self.ended_months = EndedMonths::default();
    }

    /// Goes on with a new, empty ledger.
    pub fn without_ledger(&mut self) {
        let path = self.folder.path().join("another.db");
        self.ledger = Ledger::open(&path).unwrap();
        self.configured(|config| config.ledger.path = path);
    }

    /// Records a complete poll that saw these VMs, by id, in these statuses.
    pub async fn poll(&self, time: &str, vms: &[(&str, &str)]) {
        let mut vms: Vec<_> = vms.iter().map(|(id, status)| Arc::new(vm(id, status))).collect();
        vms.sort_by(|a, b| a.id.cmp(&b.id));
        let data = Arc::new(InventoryData { vms: vms.into(), ..InventoryData::default() });
        let (at, day) = (time.parse().unwrap(), Duration::from_hours(24));
        self.ledger.observe(TENANT.into(), at, day, data).await.unwrap();
    }

    /// The provider's response about a month, without faults.
    pub fn monthly(&self, month: Month) -> Value {
        let period = month.period();
        let target = format!("/v3/flexVM/reports/monthly?start={}&end={}", period.start, period.end);
        let answer = self.simulator.call("GET", &target, None, "");
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// Why the month is not closed yet, as pages show it.
    pub fn due_error(&self, month: Month) -> String {
        let outlook = self.store.view().tenants[TENANT].outlook.clone().unwrap();
        outlook.due.get(&month).and_then(|due| due.error.clone()).unwrap_or_default()
    }

    /// The current revision of a month.
    pub async fn current(&self, month: Month) -> Option<Published> {
        self.closer().closed(month).await.unwrap()
    }

    /// The row of a month in the index, by its columns.
    pub fn index(&self, month: Month) -> BTreeMap<String, String> {
        let text = fs::read_to_string(self.reports().join("index.csv")).unwrap();
        rows(&text).into_iter().find(|row| row["month"] == month.to_string()).unwrap()
    }

    pub fn reports(&self) -> PathBuf {
        self.config.report.directory.join(TENANT)
    }

    /// Every file of the tenant's reports with its bytes, by its path.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        files(&self.reports())
    }

    /// The value of a series of the exporter's own, as its line begins.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let text = String::from_utf8(self.metrics.text()).unwrap();
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }
}

/// A VM of which only its id and its status matter.
fn vm(id: &str, status: &str) -> Vm {
    Vm {
        id: id.into(),
        cloud_id: "cloud".into(),
        name: "".into(),
        instance_type: "".into(),
        size: None,
        image: "".into(),
        status: VmStatus::from_api(status),
        node_id: None,
        created_at: None,
        deleted_at: None,
        ips: Box::default(),
        tags: Vec::new().into(),
    }
}

/// The file of a report whose name ends so.
pub fn text(published: &Published, end: &str) -> String {
    let file = published.files.iter().find(|file| file.to_string_lossy().ends_with(end)).unwrap();
    fs::read_to_string(file).unwrap()
}

/// The manifest of a report.
pub fn manifest(published: &Published) -> Value {
    serde_json::from_str(&text(published, "_manifest.json")).unwrap()
}

/// The texts of a list.
pub fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

/// The rows of a CSV text, each by its columns.
pub fn rows(text: &str) -> Vec<BTreeMap<String, String>> {
    let mut csv = csv::Reader::from_reader(text.as_bytes());
    csv.deserialize().map(Result::unwrap).collect()
}

pub fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for entry in entries.map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if entry.file_name() != ".lock" {
            let bytes = fs::read(&path).unwrap();
            found.insert(path, bytes);
        }
    }
    found
}

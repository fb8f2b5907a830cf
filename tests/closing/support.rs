//! A simulator on loopback, a clock moved by hand, and a tenant whose months are closed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use flexvm_exporter::api::{Client, NoObserver};
use flexvm_exporter::clock::Clock;
use flexvm_exporter::close::worker::TenantWorker;
use flexvm_exporter::close::worker::scheduler::Timetable;
use flexvm_exporter::close::{CloseOptions, Closer};
use flexvm_exporter::config::{
    Api, Config, Ledger as LedgerConfig, Metrics, Poll, Report, Secret, Tenant, TokenSource, Web,
};
use flexvm_exporter::ledger::Ledger;
use flexvm_exporter::period::Month;
use flexvm_exporter::self_metrics::SelfMetrics;
use flexvm_exporter::simulator::{Options, Simulator};
use flexvm_exporter::store::Store;
use jiff::Timestamp;
use tokio::net::TcpListener;

pub const TENANT: &str = "k12345";

pub fn month(text: &str) -> Month {
    text.parse().unwrap()
}

/// A clock that stands until a test moves it.
#[derive(Clone)]
pub struct Hand(Arc<AtomicI64>);

impl Hand {
    pub fn at(time: &str) -> Self {
        Self(Arc::new(AtomicI64::new(time.parse::<Timestamp>().unwrap().as_second())))
    }

    pub fn set(&self, time: &str) {
        self.0.store(time.parse::<Timestamp>().unwrap().as_second(), Ordering::SeqCst);
    }

    pub fn clock(&self) -> Clock {
        let seconds = Arc::clone(&self.0);
        Clock::new(move || Timestamp::from_second(seconds.load(Ordering::SeqCst)).unwrap())
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

/// The terms of a restatement that is written although nothing may differ.
pub fn forced(reason: &str) -> CloseOptions {
    CloseOptions { reason: Some(reason.to_owned()), force: true, ..CloseOptions::default() }
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
    pub _folder: tempfile::TempDir,
    pub hand: Hand,
    pub simulator: Simulator,
    pub url: String,
    pub config: Arc<Config>,
    pub ledger: Ledger,
    pub metrics: Arc<SelfMetrics>,
    pub store: Arc<Store>,
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
        Self { _folder: folder, hand, simulator, url, config: Arc::new(config), ledger, metrics, store }
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
        Worker { timetable, tenant }
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

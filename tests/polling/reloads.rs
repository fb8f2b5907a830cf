//! Effects of a reload on the tasks of tenants.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flexvm_exporter::clock::Clock;
use flexvm_exporter::config::{Config, Ledger, Metrics, Poll, Report, Web};
use flexvm_exporter::daemon;
use flexvm_exporter::simulator::{Fault, Operation, Options, Simulator};
use flexvm_exporter::web::{Access, Paths};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::rig::{success, tenant};

const RELOADS: usize = 100;
const PATIENCE: Duration = Duration::from_secs(30);

/// The number of tasks once it has been `wanted`, or after some time.
async fn tasks(wanted: impl Fn(usize) -> bool) -> usize {
    let started = Instant::now();
    loop {
        let alive = Handle::current().metrics().num_alive_tasks();
        if wanted(alive) || started.elapsed() > PATIENCE {
            return alive;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A daemon with one tenant whose API is at `url`. Each reload keeps this configuration.
struct Reloaded {
    url: String,
    http: reqwest::Client,
    shutdown: watch::Sender<bool>,
    daemon: JoinHandle<anyhow::Result<()>>,
    _folder: tempfile::TempDir,
}

impl Reloaded {
    async fn start(api: &str) -> Self {
        Self::start_with(api, |_| ()).await
    }

    /// Like [`Self::start`], but `change` changes the configuration that each reload reads.
    async fn start_with(api: &str, change: impl Fn(&mut Config) + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let often = Duration::from_mins(10);
        let config = Config {
            tenants: vec![Arc::new(tenant("one", api))],
            poll: Poll {
                capacity: often,
                inventory: often,
                deleted_vms: Duration::ZERO,
                usage: often,
                catalogue: often,
            },
            metrics: Metrics::default(),
            web: Web::default(),
            ledger: Ledger { path: folder.path().join("ledger.db"), ..Ledger::default() },
            report: Report { directory: folder.path().join("reports"), ..Report::default() },
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (shutdown, told) = watch::channel(false);
        let again = config.clone();
        let loader: daemon::Loader = Arc::new(move || {
            let mut config = again.clone();
            change(&mut config);
            Ok(config)
        });
        let reloads = daemon::Reloads::new(loader).unwrap();
        let (path, access, clock) = (Paths::default(), Access::default(), Clock::system());
        let daemon =
            tokio::spawn(daemon::run(config, vec![listener], path, access, clock, told, Some(reloads)));
        let http = flexvm_exporter::api::plain_client(PATIENCE).unwrap();
        Self { url, http, shutdown, daemon, _folder: folder }
    }

    async fn reload(&self) {
        let answer = self.http.post(format!("{}/-/reload", self.url)).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }

    /// Waits until the collector `capacity` has succeeded (1) or failed (0).
    async fn until_capacity(&self, wanted: f64) {
        let started = Instant::now();
        loop {
            let answer = self.http.get(format!("{}/metrics", self.url)).send().await.unwrap();
            if success(&answer.text().await.unwrap(), "capacity") == Some(wanted) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "capacity did not reach {wanted} in time");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The value of a series of the exporter itself.
    async fn own(&self, series: &str) -> f64 {
        let answer =
            self.http.get(format!("{}/metrics", self.url)).send().await.unwrap().text().await.unwrap();
        let value = answer.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.unwrap().parse().unwrap()
    }

    /// Whether the collector `capacity` has succeeded.
    async fn is_capacity_known(&self) -> bool {
        let answer = self.http.get(format!("{}/metrics", self.url)).send().await.unwrap();
        success(&answer.text().await.unwrap(), "capacity") == Some(1.0)
    }

    async fn end(self) {
        self.shutdown.send_replace(true);
        self.daemon.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_reloads_leave_no_task_behind() {
    // No server listens on this port, so no connection is kept after a run.
    let daemon = Reloaded::start("http://127.0.0.1:1").await;
    // The client's own connection is there after the first.
    daemon.reload().await;
    let before = settled().await;
    for _ in 0..RELOADS {
        daemon.reload().await;
    }
    let after = tasks(|alive| alive == before).await;
    assert_eq!(after, before);
    daemon.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_does_not_shorten_retry_after() {
    let fault = Fault::status(503).with_header("retry-after", "4").on(Operation::CloudCapacity).times(1);
    let api = simulated(fault).await;
    let started = Instant::now();
    let daemon = Reloaded::start(&api).await;
    daemon.until_capacity(0.0).await;
    daemon.reload().await;
    daemon.until_capacity(1.0).await;
    let elapsed = started.elapsed();
    assert!(elapsed >= Duration::from_secs(4), "{elapsed:?}");
    daemon.end().await;
}

/// A simulated API; returns its address.
async fn simulated(fault: Fault) -> String {
    let options = Options { vms: 1, clouds: 1, churn: false, months: 1, ..Options::default() };
    let simulator = Simulator::new(options, Clock::system());
    simulator.faults().add(fault);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { simulator.serve(listener, std::future::pending()).await });
    api
}

/// The first run of the capacity is in progress until four reloads were made.
#[tokio::test(flavor = "multi_thread")]
async fn polls_finish_while_reloads_follow_each_other() {
    let reads = Arc::new(AtomicUsize::new(0));
    let (counted, awaited) = (Arc::clone(&reads), Arc::clone(&reads));
    let wait = move |_: &mut Value| {
        let wait_for_reloads = || {
            while awaited.load(Ordering::SeqCst) < 4 {
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        tokio::task::block_in_place(wait_for_reloads);
    };
    let api = simulated(Fault::edit(wait).on(Operation::CloudCapacity)).await;
    // Each reload changes a general key.
    let daemon = Reloaded::start_with(&api, move |config| {
        config.metrics.max_vms = 1 + counted.fetch_add(1, Ordering::SeqCst);
    })
    .await;
    let started = Instant::now();
    while !daemon.is_capacity_known().await {
        assert!(started.elapsed() < PATIENCE, "no poll finished in {} reloads", reads.load(Ordering::SeqCst));
        daemon.reload().await;
    }
    daemon.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_of_an_unchanged_file_starts_no_poll() {
    let polls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&polls);
    let count = move |_: &mut Value| {
        counted.fetch_add(1, Ordering::SeqCst);
    };
    let api = simulated(Fault::edit(count).on(Operation::CloudCapacity)).await;
    let daemon = Reloaded::start(&api).await;
    daemon.until_capacity(1.0).await;
    let before = polls.load(Ordering::SeqCst);
    for _ in 0..20 {
        daemon.reload().await;
    }
    assert_eq!(polls.load(Ordering::SeqCst), before);
    daemon.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_repeats_a_run_that_failed() {
    let api = simulated(Fault::status(403).on(Operation::CloudCapacity).times(1)).await;
    // Without the reload, the next run would begin after the interval of 10 minutes.
    let daemon = Reloaded::start(&api).await;
    daemon.until_capacity(0.0).await;
    daemon.reload().await;
    daemon.until_capacity(1.0).await;
    daemon.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reloads_that_arrive_together_are_joined() {
    let (reads, may_read) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (counted, released) = (Arc::clone(&reads), Arc::clone(&may_read));
    // Like a slow disk: the first read lasts until all requests are there.
    let daemon = Reloaded::start_with("http://127.0.0.1:1", move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        while !released.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
    })
    .await;
    let requests = futures_util::future::join_all((0..30).map(|_| daemon.reload()));
    let release = async {
        let started = Instant::now();
        while daemon.own("flexvm_exporter_http_connections").await < 30.0 {
            assert!(started.elapsed() < PATIENCE, "the requests do not arrive");
        }
        may_read.store(true, Ordering::SeqCst);
    };
    tokio::join!(requests, release);
    let reads = reads.load(Ordering::SeqCst);
    assert!((1..=5).contains(&reads), "{reads} reads for 30 requests");
    daemon.end().await;
}

/// The number of tasks when it has not changed for a while.
async fn settled() -> usize {
    let started = Instant::now();
    let (mut known, mut since) = (0, Instant::now());
    while since.elapsed() < Duration::from_millis(500) && started.elapsed() < PATIENCE {
        let alive = tasks(|_| true).await;
        if alive != known {
            (known, since) = (alive, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    known
}

//! CPU of a poll (capacity and inventory) of a tenant of 500 VMs beside no other tenant, as a ratio to
//! the same beside many: fetch, ledger, store, and the renderer that runs as in the daemon. Prints the
//! ratios and fails above [`AT_MOST`].
//!
//! The API is a process of its own. Polls follow each other with a short pause, so that each is rendered.

use std::io::BufRead as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use flexvm_exporter::api::{Client, NoObserver};
use flexvm_exporter::clock::Clock;
use flexvm_exporter::config::load::simulated_tenant;
use flexvm_exporter::config::{Config, Ledger as LedgerConfig, Metrics, Poll, Report, Tenant, Web};
use flexvm_exporter::ledger::Ledger;
use flexvm_exporter::poll::{Poller, State};
use flexvm_exporter::self_metrics::SelfMetrics;
use flexvm_exporter::simulator::{Options, Simulator};
use flexvm_exporter::snapshot::{Collector, InventoryData, Snapshot, Vm};
use flexvm_exporter::store::{Store, rendering};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

const VMS: usize = 500;

/// VMs of each other tenant.
const VMS_OF_OTHERS: usize = 100;

const OTHERS: [usize; 4] = [0, 20, 200, 1_000];

/// Rounds over all numbers of tenants; the first is not counted.
const ROUNDS: usize = 11;

/// Polls of a round.
const POLLS: usize = 20;

/// Long enough for the renderer to follow.
const PAUSE: Duration = Duration::from_millis(100);

/// How many times the CPU of a lone tenant's poll others may make it.
const AT_MOST: f64 = 1.3;

fn main() {
    if std::env::args().any(|argument| argument == "--serve") {
        Runtime::new().expect("a runtime").block_on(serve());
        return;
    }
    let api = Api::start();
    Runtime::new().expect("a runtime").block_on(measure(&api));
}

async fn measure(api: &Api) {
    let (_stop, shutdown) = watch::channel(false);
    let mut stages = Vec::new();
    for others in OTHERS {
        stages.push(Stage::new(api, others, &shutdown).await);
    }
    for round in 0..ROUNDS {
        for stage in &mut stages {
            let before = cpu_ticks();
            for _ in 0..POLLS {
                stage.poll().await;
                tokio::time::sleep(PAUSE).await;
            }
            if round > 0 {
                stage.cpu += cpu_ticks() - before;
            }
        }
    }
    let polls = ((ROUNDS - 1) * POLLS) as u64;
    let alone = stages[0].cpu;
    let mut worst: f64 = 0.0;
    for (stage, others) in stages.iter().zip(OTHERS) {
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let (each, ratio) = (stage.cpu as f64 * 10.0 / polls as f64, stage.cpu as f64 / alone as f64);
        println!("beside {others} others: {each:.2} ms CPU per poll, ratio {ratio:.2}");
        worst = worst.max(ratio);
    }
    assert!(worst <= AT_MOST, "more than {AT_MOST} times the CPU");
}

/// A tenant that is polled, and others of which data is known.
struct Stage {
    poller: Poller,
    states: [State; 2],
    cpu: u64,
    _folder: tempfile::TempDir,
}

impl Stage {
    async fn new(api: &Api, others: usize, shutdown: &watch::Receiver<bool>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let tenant =
            |name: &str| Arc::new(simulated_tenant(name, api.url.parse().expect("a URL"), "simulator"));
        let tenants: Vec<Arc<Tenant>> = (0..=others).map(|number| tenant(&format!("t{number:04}"))).collect();
        let config = Arc::new(Config {
            tenants,
            poll: Poll::default(),
            metrics: Metrics::default(),
            web: Web::default(),
            ledger: LedgerConfig { path: folder.path().join("ledger.db"), ..LedgerConfig::default() },
            report: Report { directory: folder.path().join("reports"), ..Report::default() },
        });
        let store = Arc::new(Store::new(&config.tenants, config.metrics.clone(), config.poll.clone()));
        let clock = Clock::system();
        let ledger = Ledger::open(&config.ledger.path).expect("a ledger");
        let own = Arc::new(SelfMetrics::new(clock.now()).expect("metrics"));
        let first = Arc::clone(&config.tenants[0]);
        let client = Client::new(&first, Arc::new(NoObserver)).expect("a client");
        let shared = Arc::clone(&config);
        let poller =
            Poller::new(first, client, Arc::clone(&store), ledger, Arc::clone(&own), clock.clone(), shared);
        let mut stage = Self { poller, states: Default::default(), cpu: 0, _folder: folder };
        stage.poll().await;
        let view = store.view();
        let snapshot = few_vms(&view.tenants["t0000"].snapshot);
        for tenant in &config.tenants[1..] {
            for collector in [Collector::Capacity, Collector::Inventory] {
                let data = snapshot.clone();
                store.succeeded(&tenant.name, collector, clock.now(), Duration::ZERO, |it| *it = data);
            }
        }
        store.render_now();
        tokio::spawn(rendering::run(store, own, shutdown.clone()));
        stage
    }

    async fn poll(&mut self) {
        for (collector, state) in
            [Collector::Capacity, Collector::Inventory].into_iter().zip(&mut self.states)
        {
            *state = self.poller.run_once(collector, std::mem::take(state)).await;
        }
    }
}

/// The same with fewer VMs.
fn few_vms(snapshot: &Snapshot) -> Snapshot {
    let mut snapshot = snapshot.clone();
    let section = snapshot.inventory.as_mut().expect("an inventory");
    let vms: Vec<Arc<Vm>> = section.data.vms.iter().take(VMS_OF_OTHERS).cloned().collect();
    section.data = Arc::new(InventoryData { vms: vms.into(), ..InventoryData::clone(&section.data) });
    snapshot
}

/// CPU of this process so far, of all threads, in hundredths of a second (`USER_HZ` of Linux).
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    // The command, the second field, may hold spaces.
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum()
}

/// The simulator in a process of its own; it ends with this.
struct Api {
    child: Child,
    url: String,
}

impl Api {
    fn start() -> Self {
        let this = std::env::current_exe().expect("this program");
        let mut child = Command::new(this).arg("--serve").stdout(Stdio::piped()).spawn().expect("a process");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("its output");
        std::io::BufReader::new(stdout).read_line(&mut line).expect("its address");
        Self { child, url: line.trim().to_owned() }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn serve() {
    let options = Options { vms: VMS, months: 1, churn: false, ..Options::default() };
    let simulator = Simulator::new(options, Clock::system());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("http://{}", listener.local_addr().expect("its address"));
    let _ = simulator.serve(listener, std::future::pending()).await;
}

//! Tests for VMs that only the ledger contains when the task of the inventory begins, after a restart
//! or a reload, and for polls with responses that a cache stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flexvm_exporter::api::{Client, ClockState, NoObserver};
use flexvm_exporter::clock::Clock;
use flexvm_exporter::config::{self, Config, Metrics, Poll, Report, Web};
use flexvm_exporter::ledger::Ledger;
use flexvm_exporter::observe::Seen;
use flexvm_exporter::period::Month;
use flexvm_exporter::poll::{Poller, State};
use flexvm_exporter::self_metrics::SelfMetrics;
use flexvm_exporter::simulator::{Fault, Operation, Options, Simulator};
use flexvm_exporter::snapshot::{Collector, InventoryData};
use flexvm_exporter::store::Store;
use flexvm_exporter::usage::Use;
use jiff::Timestamp;
use tokio::net::TcpListener;

use crate::rig::tenant;

/// A simulator, and pollers that poll it once per second.
struct Stage {
    simulator: Simulator,
    config: Arc<Config>,
    clock: Clock,
    seconds: Arc<AtomicU64>,
    ledger: Ledger,
    _folder: tempfile::TempDir,
}

impl Stage {
    async fn new() -> Self {
        let (start, seconds): (Timestamp, _) =
            ("2026-10-15T12:00:00Z".parse().unwrap(), Arc::<AtomicU64>::default());
        let passed = Arc::clone(&seconds);
        let clock = Clock::new(move || start + Duration::from_secs(passed.load(Ordering::SeqCst)));
        let options = Options { vms: 20, clouds: 1, churn: false, months: 1, ..Options::default() };
        let simulator = Simulator::new(options, clock.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = simulator.clone();
        tokio::spawn(async move { serving.serve(listener, std::future::pending()).await });
        let folder = tempfile::tempdir().unwrap();
        let config = Arc::new(Config {
            tenants: vec![Arc::new(tenant("one", &url))],
            poll: Poll::default(),
            metrics: Metrics::default(),
            web: Web::default(),
            ledger: config::Ledger { path: folder.path().join("ledger.db"), ..config::Ledger::default() },
            report: Report { directory: folder.path().join("reports"), ..Report::default() },
        });
        let ledger = Ledger::open(&config.ledger.path).unwrap();
        Self { simulator, config, clock, seconds, ledger, _folder: folder }
    }

    fn store(&self) -> Arc<Store> {
        Arc::new(Store::new(&self.config.tenants, self.config.metrics.clone(), self.config.poll.clone()))
    }

    /// Runs the first poll of a task that begins with the data of `store`. Returns the inventory after
    /// the poll.
    async fn first_poll(&self, store: &Arc<Store>, ledger: &Ledger) -> Arc<InventoryData> {
        self.seconds.fetch_add(1, Ordering::SeqCst);
        let tenant = Arc::clone(&self.config.tenants[0]);
        let client = Client::new(&tenant, Arc::new(NoObserver)).unwrap();
        let own = Arc::new(SelfMetrics::new(self.clock.now()).unwrap());
        let (clock, config) = (self.clock.clone(), Arc::clone(&self.config));
        let poller = Poller::new(tenant, client, Arc::clone(store), ledger.clone(), own, clock, config);
        poller.run_once(Collector::Inventory, State::default()).await;
        let shown = store.tenant("one").unwrap();
        Arc::clone(&shown.snapshot.inventory.as_ref().unwrap().data)
    }

    /// Returns the events that the ledger has recorded for a VM.
    fn recorded(&self, vm: &str) -> Vec<Seen> {
        let month = "2026-10".parse::<Month>().unwrap().period();
        let observations = self.ledger.observations("one", month, Timestamp::MAX).unwrap();
        observations.histories[vm].iter().map(|(_, seen)| *seen).collect()
    }

    /// Hides all running VMs from the lists.
    fn hide_running(&self) {
        let hide = Fault::edit(|list| {
            if let Some(rows) = list.as_array_mut() {
                rows.retain(|row| row["status"] != "running");
            }
        });
        self.simulator.faults().add(hide.on(Operation::Vms));
    }
}

fn running(data: &InventoryData) -> Vec<String> {
    let running = data.vms.iter().filter(|vm| vm.status.as_str() == "running");
    running.map(|vm| vm.id.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_vms_are_kept_across_restart_and_reload() {
    let stage = Stage::new().await;
    let all = running(&*stage.first_poll(&stage.store(), &stage.ledger).await);
    assert!(!all.is_empty());
    stage.hide_running();
    // After the restart, requests by id fail, so it is unknown whether the VMs exist.
    stage.simulator.faults().add(Fault::status(500).on(Operation::Vm).times(all.len()));
    let store = stage.store();
    assert_eq!(running(&*stage.first_poll(&store, &stage.ledger).await), [""; 0]);
    assert_eq!(stage.recorded(&all[0]), [Seen::As(Use::Running), Seen::Unknown]);
    // A reload keeps the inventory and begins a new task, which requests the VMs again.
    assert_eq!(running(&*stage.first_poll(&store, &stage.ledger).await), all);
    for vm in &all {
        assert_eq!(
            stage.recorded(vm),
            [Seen::As(Use::Running), Seen::Unknown, Seen::As(Use::Running)],
            "{vm}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_is_not_recorded_before_the_ledger_has_been_read() {
    let stage = Stage::new().await;
    let all = running(&*stage.first_poll(&stage.store(), &stage.ledger).await);
    stage.hide_running();
    // On this ledger, `recorded` fails because it needs the writer.
    let closed = Ledger::read_only(&stage.config.ledger.path);
    let store = stage.store();
    assert_eq!(running(&*stage.first_poll(&store, &closed).await), [""; 0], "the poll is served");
    assert_eq!(stage.recorded(&all[0]), [Seen::As(Use::Running)]);
    assert_eq!(running(&*stage.first_poll(&store, &stage.ledger).await), all);
    assert_eq!(stage.recorded(&all[0]), [Seen::As(Use::Running)]);
}

/// A `Date` an hour before the stage's time.
const OLD: &str = "Thu, 15 Oct 2026 11:00:00 GMT";

#[tokio::test]
async fn stored_error_is_not_a_clock() {
    let stage = Stage::new().await;
    let client = Client::new(&stage.config.tenants[0], Arc::new(NoObserver)).unwrap();
    let run = client.run(Duration::from_secs(20));
    let stored = |age: &str| {
        let error = Fault::error(404, "not found").with_header("date", OLD).with_header("age", age);
        error.on(Operation::Images).times(1)
    };
    stage.simulator.faults().add(stored("3600"));
    run.images().await.unwrap_err();
    assert_eq!(client.clock_state(stage.clock.now()), ClockState::Unknown);
    run.capacity().await.unwrap();
    assert_eq!(client.clock_state(stage.clock.now()), ClockState::Agrees);
    stage.simulator.faults().add(stored("3600"));
    run.images().await.unwrap_err();
    assert_eq!(client.clock_state(stage.clock.now()), ClockState::Agrees);
    // An error that the server just made is one.
    stage.simulator.faults().add(stored("0"));
    run.images().await.unwrap_err();
    assert!(matches!(client.clock_state(stage.clock.now()), ClockState::Differs { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_omits_age_does_not_stop_recording() {
    let stage = Stage::new().await;
    for operation in [Operation::Clouds, Operation::Nodes, Operation::Vms] {
        stage.simulator.faults().add(Fault::header("date", &[OLD]).on(operation));
    }
    let all = running(&*stage.first_poll(&stage.store(), &stage.ledger).await);
    assert_eq!(stage.recorded(&all[0]), [Seen::As(Use::Running)]);
    // If the request that bypasses caches has the same Date, it is believed.
    stage.simulator.faults().add(Fault::header("date", &[OLD]));
    stage.first_poll(&stage.store(), &stage.ledger).await;
    let month = "2026-10".parse::<Month>().unwrap().period();
    assert_eq!(stage.ledger.observations("one", month, Timestamp::MAX).unwrap().polls.len(), 1);
}

//! Everything that one configuration started.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::first_to_end;
use crate::api::{Client, SharedConnections};
use crate::clock::Clock;
use crate::close::Closer;
use crate::close::worker::scheduler::Wake;
use crate::close::worker::{EndedMonths, TenantWorker};
use crate::config::Config;
use crate::config::schedule::Schedule;
use crate::ledger::Ledger;
use crate::poll::{Limits, Poller};
use crate::self_metrics::{RequestObserver, SelfMetrics};
use crate::snapshot::Collector;
use crate::store::{Store, interval};

/// How long a generation's tasks may take to end: a month whose files are being written is finished.
const END: Duration = Duration::from_secs(7);

/// What outlives every configuration.
pub struct Lasting {
    pub store: Arc<Store>,
    pub self_metrics: Arc<SelfMetrics>,
    pub ledger: Ledger,
    pub clock: Clock,
    /// The schedule that the scheduler follows.
    pub schedules: watch::Sender<Schedule>,
    /// The scheduler's wakes.
    pub wakes: watch::Receiver<Wake>,
    /// Bounds the blocking work of all closers.
    pub permits: Arc<Semaphore>,
    /// When each month was first seen as ended.
    pub ended_months: EndedMonths,
    /// Bounds what the pollers of all tenants do at the same time.
    pub limits: Limits,
}

/// The tasks of one configuration.
pub struct Generation {
    config: Arc<Config>,
    clients: Vec<Client>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Generation {
    /// Makes what can fail; nothing runs yet.
    pub fn prepare(config: &Arc<Config>, lasting: &Lasting) -> anyhow::Result<Self> {
        let mut connections = SharedConnections::default();
        let clients = config.tenants.iter().map(|tenant| {
            let (metrics, tenant_name) = (Arc::clone(&lasting.self_metrics), Arc::clone(&tenant.name));
            let observer = Arc::new(RequestObserver { metrics, tenant: tenant_name });
            Client::sharing(tenant, observer, &mut connections)
        });
        let clients = clients.collect::<Result<_, _>>()?;
        Ok(Self {
            config: Arc::clone(config),
            clients,
            stop: watch::Sender::new(false),
            tasks: JoinSet::new(),
        })
    }

    /// Starts every collector and the closing of months.
    pub fn start(&mut self, lasting: &Lasting) {
        let Lasting { store, self_metrics, ledger, clock, schedules, wakes, permits, ended_months, limits } =
            lasting;
        let (config, stop) = (&self.config, self.stop.subscribe());
        for (tenant, client) in config.tenants.iter().zip(&self.clients) {
            let on = |collector: &Collector| !interval(&config.poll, *collector).is_zero();
            self_metrics.add_tenant(&tenant.name, Collector::ALL.into_iter().filter(on));
            for off in Collector::ALL.into_iter().filter(|collector| !on(collector)) {
                self_metrics.remove_collector(&tenant.name, off);
            }
            let closer = Closer::new(
                Arc::clone(tenant),
                client.clone(),
                ledger.clone(),
                clock.clone(),
                Arc::clone(config),
            )
            .with_permits(Arc::clone(permits));
            let (shown, metrics) = (Arc::clone(store), Arc::clone(self_metrics));
            let worker = TenantWorker::new(closer, &config.report, clock.clone(), shown, metrics)
                .with_ended_months(ended_months.clone());
            self.tasks.spawn(worker.run(wakes.clone(), stop.clone()));
            let poller = Poller::new(
                Arc::clone(tenant),
                client.clone(),
                Arc::clone(store),
                ledger.clone(),
                Arc::clone(self_metrics),
                clock.clone(),
                Arc::clone(config),
            )
            .with_limits(limits.clone());
            Arc::new(poller).spawn(&mut self.tasks, &stop);
        }
        schedules.send_if_modified(|schedule| {
            let changed = *schedule != config.report.schedule;
            if changed {
                schedule.clone_from(&config.report.schedule);
            }
            changed
        });
    }

    /// Waits for a task to end, which none does unless it is told to.
    pub async fn first_to_end(&mut self) -> anyhow::Error {
        first_to_end(&mut self.tasks).await
    }

    /// Tells every task to end and waits for them.
    pub async fn end(&mut self) {
        self.stop.send_replace(true);
        let all_end = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(END, all_end).await.is_err() {
            tracing::warn!("some work of the configuration before did not end in time and is cut off");
            self.tasks.shutdown().await;
        }
    }
}

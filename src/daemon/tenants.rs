//! The tasks of all tenants, across reloads.
//!
//! If neither the tenant nor the general keys changed, a reload keeps the tasks of the tenant, so frequent
//! reloads do not prevent polls from finishing. If only general keys changed, the runs in progress finish, and
//! the next runs use the new configuration. If the tenant's own configuration changed, its runs are dropped,
//! because their data may belong to another organisation.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout_at};

use crate::api::{Client, SharedConnections};
use crate::clock::Clock;
use crate::close::Closer;
use crate::close::worker::scheduler::Wake;
use crate::close::worker::{EndedMonths, TenantWorker};
use crate::config::schedule::Schedule;
use crate::config::{Config, Tenant};
use crate::ledger::Ledger;
use crate::poll::{Limits, Poller, Stop};
use crate::self_metrics::{RequestObserver, SelfMetrics};
use crate::snapshot::Collector;
use crate::store::{Store, interval};

/// Maximum time for which a reload waits for the tasks of a tenant to end. A month whose files are being
/// written is finished.
const END: Duration = Duration::from_secs(7);

/// Values that are kept across reloads.
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
    /// Limits of concurrent work that the pollers of all tenants share.
    pub limits: Limits,
}

/// The tasks of all tenants.
#[derive(Default)]
pub struct Tenants {
    /// `None` before the first start.
    config: Option<Arc<Config>>,
    running: BTreeMap<Arc<str>, Running>,
    /// Tasks that end after their runs in progress.
    finishing: Vec<Running>,
    /// Each task returns whether it ended because of a request to stop.
    tasks: JoinSet<bool>,
}

/// The tasks of one tenant.
struct Running {
    tenant: Arc<Tenant>,
    polls: watch::Sender<Stop>,
    worker: watch::Sender<bool>,
    closing: AbortHandle,
    collectors: Vec<AbortHandle>,
}

/// Effect of a new configuration on the tasks of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Nothing that they depend on has changed.
    Kept,
    /// Only general keys have changed.
    Replaced,
    /// The tenant was removed or its own configuration has changed.
    Ended,
}

/// The clients of the tenants whose tasks start, by name.
pub struct Prepared(BTreeMap<Arc<str>, Client>);

impl Running {
    fn stop(&self, polls: Stop) {
        self.polls.send_replace(polls);
        self.worker.send_replace(true);
    }

    /// Waits until the tasks have ended, except runs that may finish. Aborts them at `until`.
    async fn end(&self, until: Instant) {
        let drops_runs = *self.polls.borrow() == Stop::Now;
        let all_end = async || {
            // Two workers must not write the files of one month.
            self.worker.closed().await;
            if drops_runs {
                self.polls.closed().await;
            }
        };
        if timeout_at(until, all_end()).await.is_err() {
            tracing::warn!(tenant = %self.tenant.name, "tasks of the tenant did not end within 7 s; aborting them");
            self.closing.abort();
            if drops_runs {
                self.collectors.iter().for_each(AbortHandle::abort);
            }
            all_end().await;
        }
    }

    /// Whether a task still runs.
    fn is_alive(&self) -> bool {
        self.polls.receiver_count() + self.worker.receiver_count() > 0
    }
}

impl Tenants {
    /// Creates the clients of the tenants whose tasks will start. Starts no task.
    ///
    /// # Errors
    /// A client cannot be created, for example because its `ca_file` cannot be read.
    pub fn prepare(&self, config: &Config, lasting: &Lasting) -> anyhow::Result<Prepared> {
        let mut connections = SharedConnections::default();
        let starts = config.tenants.iter().filter(|tenant| self.fate(&tenant.name, config) != Fate::Kept);
        let clients = starts.map(|tenant| {
            let (metrics, tenant_name) = (Arc::clone(&lasting.self_metrics), Arc::clone(&tenant.name));
            let observer = Arc::new(RequestObserver { metrics, tenant: tenant_name });
            Ok((Arc::clone(&tenant.name), Client::sharing(tenant, observer, &mut connections)?))
        });
        Ok(Prepared(clients.collect::<anyhow::Result<_>>()?))
    }

    /// Returns the effect of `config` on the tasks of the tenant `name`.
    fn fate(&self, name: &str, config: &Config) -> Fate {
        let next = config.tenants.iter().find(|tenant| *tenant.name == *name);
        let (Some(running), Some(next), Some(before)) = (self.running.get(name), next, &self.config) else {
            return Fate::Ended;
        };
        match () {
            () if running.tenant != *next => Fate::Ended,
            () if before.has_same_general_keys(config) => Fate::Kept,
            () => Fate::Replaced,
        }
    }

    /// Stops the tasks that `config` replaces, and waits until they have ended. Runs of a tenant that did not
    /// change continue. All tasks are told to stop before the first wait, so the caller may stop waiting.
    pub async fn end_for(&mut self, config: &Config) {
        let off = |collector: &Collector| interval(&config.poll, *collector).is_zero();
        let except: Vec<_> = Collector::ALL.into_iter().filter(off).collect();
        let after_run = Stop::AfterRun { except };
        for finishing in &self.finishing {
            let is_configured = config.tenants.iter().any(|tenant| tenant == &finishing.tenant);
            finishing.stop(if is_configured { after_run.clone() } else { Stop::Now });
        }
        let fates: Vec<_> =
            self.running.keys().map(|name| (Arc::clone(name), self.fate(name, config))).collect();
        for (name, fate) in fates.into_iter().filter(|(_, fate)| *fate != Fate::Kept) {
            let Some(running) = self.running.remove(&name) else { continue };
            running.stop(if fate == Fate::Replaced { after_run.clone() } else { Stop::Now });
            self.finishing.push(running);
        }
        end_all(&self.finishing).await;
        self.finishing.retain(Running::is_alive);
    }

    /// Starts every collector and the closing of months of each tenant in `prepared`.
    pub fn start(&mut self, config: &Arc<Config>, prepared: Prepared, lasting: &Lasting) {
        for (name, client) in prepared.0 {
            if let Some(tenant) = config.tenants.iter().find(|tenant| tenant.name == name) {
                let running = start(&mut self.tasks, tenant, &client, config, lasting);
                self.running.insert(name, running);
            }
        }
        for running in self.running.values() {
            running.polls.send_replace(Stop::No);
        }
        self.config = Some(Arc::clone(config));
        // Workers that continue also check which months are due, as at start.
        lasting.schedules.send_replace(config.report.schedule.clone());
    }

    /// Waits until a task ends without a request to stop. Returns the cause.
    pub async fn first_to_end(&mut self) -> anyhow::Error {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(true)) => {}
                Some(Err(error)) if error.is_cancelled() => {}
                Some(Err(error)) => return anyhow::Error::new(error).context("a task ended"),
                Some(Ok(false)) => return anyhow::anyhow!("a task ended by itself"),
                // No task is running, as before the first start.
                None => std::future::pending().await,
            }
        }
    }

    /// Ends every task.
    pub async fn end(&mut self) {
        self.finishing.extend(std::mem::take(&mut self.running).into_values());
        for running in &self.finishing {
            running.stop(Stop::Now);
        }
        end_all(&self.finishing).await;
        self.finishing.clear();
    }
}

/// Waits until these tasks have ended. They were told to stop. Runs that may finish are not waited for.
async fn end_all(stopped: &[Running]) {
    let until = Instant::now() + END;
    for running in stopped {
        running.end(until).await;
    }
}

fn start(
    tasks: &mut JoinSet<bool>,
    tenant: &Arc<Tenant>,
    client: &Client,
    config: &Arc<Config>,
    lasting: &Lasting,
) -> Running {
    let Lasting { store, self_metrics, ledger, clock, wakes, permits, ended_months, limits, .. } = lasting;
    let (polls, worker) = (watch::Sender::new(Stop::No), watch::Sender::new(false));
    let on = |collector: &Collector| !interval(&config.poll, *collector).is_zero();
    self_metrics.add_tenant(&tenant.name, Collector::ALL.into_iter().filter(on));
    // The tenant may have another API now.
    self_metrics.remove_api_certificate(&tenant.name);
    for off in Collector::ALL.into_iter().filter(|collector| !on(collector)) {
        self_metrics.remove_collector(&tenant.name, off);
    }
    let closer =
        Closer::new(Arc::clone(tenant), client.clone(), ledger.clone(), clock.clone(), Arc::clone(config))
            .with_permits(Arc::clone(permits));
    let (shown, metrics) = (Arc::clone(store), Arc::clone(self_metrics));
    let tenant_worker = TenantWorker::new(closer, &config.report, clock.clone(), shown, metrics)
        .with_ended_months(ended_months.clone());
    let (wakes, told) = (wakes.clone(), worker.subscribe());
    let closing = tasks.spawn(async move {
        tenant_worker.run(wakes, told.clone()).await;
        *told.borrow()
    });
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
    let collectors = Arc::new(poller).spawn(tasks, &polls);
    Running { tenant: Arc::clone(tenant), polls, worker, closing, collectors }
}

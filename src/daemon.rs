//! The daemon: everything started, wired and ended in one place.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::api::Client;
use crate::clock::Clock;
use crate::close::Closer;
use crate::config::Config;
use crate::ledger::Ledger;
use crate::poll::{self, Poller};
use crate::schedule::Worker;
use crate::self_metrics::{RequestObserver, SelfMetrics};
use crate::snapshot::Collector;
use crate::store::{Store, interval};
use crate::web::{self, App};

/// How long a shutdown waits for tasks that do not end by themselves.
const LEAVE: Duration = Duration::from_secs(8);

/// Runs until `shutdown` turns true, then drains and returns.
///
/// # Errors
/// When something cannot even start, such as a client whose `ca_file` cannot be read.
pub async fn run(
    config: Config,
    listeners: Vec<TcpListener>,
    telemetry_path: String,
    clock: Clock,
    shutdown: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let config = Arc::new(config);
    let self_metrics = Arc::new(SelfMetrics::new(clock.now()).context("self-metrics")?);
    let ledger = Ledger::open(&config.ledger.path).context("the ledger cannot be opened")?;
    self_metrics.watch(ledger.clone());
    let store = Arc::new(Store::new(&config.tenants, config.metrics.clone(), config.poll.clone()));
    let mut tasks = JoinSet::new();
    let mut closers = Vec::new();
    let collectors =
        Collector::ALL.into_iter().filter(|collector| !interval(&config.poll, *collector).is_zero());
    for tenant in &config.tenants {
        self_metrics.add_tenant(&tenant.name, collectors.clone());
        let observer =
            RequestObserver { metrics: Arc::clone(&self_metrics), tenant: Arc::clone(&tenant.name) };
        let client = Client::new(tenant, Arc::new(observer))?;
        closers.push(Closer::new(Arc::clone(tenant), client.clone(), clock.clone(), Arc::clone(&config)));
        let poller = Poller::new(
            Arc::clone(tenant),
            client,
            Arc::clone(&store),
            ledger.clone(),
            Arc::clone(&self_metrics),
            clock.clone(),
            Arc::clone(&config),
        );
        Arc::new(poller).spawn(&mut tasks, &shutdown);
    }
    tasks.spawn(poll::expire(Arc::clone(&store), shutdown.clone()));
    let schedule = config.report.schedule.clone();
    let worker = Worker::new(closers, schedule, clock, Arc::clone(&store), Arc::clone(&self_metrics));
    tasks.spawn(worker.run(shutdown.clone()));
    let app = Arc::new(App { store, self_metrics, telemetry_path });
    for listener in listeners {
        tasks.spawn(web::serve(listener, Arc::clone(&app), shutdown.clone()));
    }
    let mut shutdown = shutdown;
    let ended = tokio::select! {
        _ = shutdown.wait_for(|stop| *stop) => Ok(()),
        ended = first_to_end(&mut tasks) => ended,
    };
    // Tasks see the shutdown too, and one of them may be gone before this one looks.
    if !*shutdown.borrow() {
        ended?;
    }
    tracing::info!("leaving");
    let all_end = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(LEAVE, all_end).await.is_err() {
        tracing::warn!("some work did not end in time and is cut off");
    }
    Ok(())
}

/// No task ends before the shutdown; one that does has panicked, and the rest must not go on as if
/// nothing had happened: a service manager starts the daemon anew.
async fn first_to_end(tasks: &mut JoinSet<()>) -> anyhow::Result<()> {
    match tasks.join_next().await {
        Some(Err(error)) => Err(error).context("a task ended"),
        _ => anyhow::bail!("a task ended by itself"),
    }
}

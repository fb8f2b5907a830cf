//! One task per tenant and collector: fetch, put into the store, again after the interval.
//!
//! Data comes from `api` and goes to `store`. This module reads the clock and hands it on.

pub mod clock;
pub mod inventory;
mod limits;
mod usage;

pub use limits::Limits;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::api::{Client, ClockState, Error, Run};
use crate::clock::Clock;
use crate::config::{Config, Tenant};
use crate::ledger::{Ledger, Recorded};
use crate::period::Month;
use crate::self_metrics::SelfMetrics;
use crate::snapshot::{
    CapacityData, CatalogueData, Collector, DeletedVmsData, InstanceType, InventoryData, Section, Snapshot,
    VmStatus,
};
use crate::store::{Store, interval};

/// Longest time of one run, unless the interval or `metrics.stale_after` is longer: 100,000 VMs at
/// 25 a page are 4,000 requests, which a server that takes 400 ms for each answers in time.
const RUN_DEADLINE: Duration = Duration::from_mins(30);

/// Part of an interval by which runs are spread, so that tenants and daemons do not march in step.
const JITTER: f64 = 0.05;

/// How long after a month's beginning `usage` runs: the provider's clock may be a little behind.
const MONTH_BEGINS: Duration = Duration::from_secs(5);

/// Polls further apart than this many intervals prove nothing about the time between them.
const OBSERVED_INTERVALS: u32 = 3;

/// How long a poll waits for the ledger. Beyond it the poll is published as it is, and recorded
/// whenever the disk lets it.
const LEDGER_PATIENCE: Duration = Duration::from_secs(5);

/// How often sections are looked at that may have become stale.
const EXPIRY_CHECK: Duration = Duration::from_secs(5);

/// What the collectors of a tenant share.
#[derive(Debug)]
pub struct Poller {
    tenant: Arc<Tenant>,
    client: Client,
    store: Arc<Store>,
    ledger: Ledger,
    self_metrics: Arc<SelfMetrics>,
    clock: Clock,
    config: Arc<Config>,
    limits: Limits,
}

impl Poller {
    /// Makes a poller; nothing runs before [`Poller::spawn`].
    #[must_use]
    pub fn new(
        tenant: Arc<Tenant>,
        client: Client,
        store: Arc<Store>,
        ledger: Ledger,
        self_metrics: Arc<SelfMetrics>,
        clock: Clock,
        config: Arc<Config>,
    ) -> Self {
        let limits = Limits::default();
        Self { tenant, client, store, ledger, self_metrics, clock, config, limits }
    }

    /// Shares the limits with the pollers of other tenants.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Starts a task for each collector that is switched on. They end when `shutdown` turns true
    /// or its sender goes; a run in progress is dropped.
    pub fn spawn(self: &Arc<Self>, tasks: &mut JoinSet<()>, shutdown: &watch::Receiver<bool>) {
        for collector in Collector::ALL {
            let every = interval(&self.config.poll, collector);
            if every.is_zero() {
                continue;
            }
            let poller = Arc::clone(self);
            let mut shutdown = shutdown.clone();
            tasks.spawn(async move {
                tokio::select! {
                    () = poller.repeat(collector, every) => {}
                    _ = shutdown.wait_for(|stop| *stop) => {}
                }
            });
        }
    }

    async fn repeat(&self, collector: Collector, every: Duration) {
        let mut state = State::default();
        loop {
            let started = Instant::now();
            state = self.run_once(collector, state).await;
            let spread = every.mul_f64(1.0 + JITTER * (fastrand::f64() * 2.0 - 1.0));
            let mut wait = spread.saturating_sub(started.elapsed());
            if collector == Collector::Usage {
                wait = wait.min(self.until_month_begins());
            }
            tokio::time::sleep(wait).await;
        }
    }

    fn until_month_begins(&self) -> Duration {
        let now = self.clock.now();
        let end = Month::of(now).period().end;
        Duration::try_from(end.duration_since(now)).unwrap_or_default() + MONTH_BEGINS
    }

    /// One run: fetch, store, and say how it went. [`Poller::spawn`] repeats it; so can a caller who
    /// has a clock of its own.
    pub async fn run_once(&self, collector: Collector, mut state: State) -> State {
        let month = Month::of(self.clock.now());
        // All tenants are due at once: at start, after a reload, and for usage as a month begins.
        let crowded = match state.month {
            None => true,
            Some(before) => collector == Collector::Usage && before != month,
        };
        let place = if crowded { self.limits.place().await } else { None };
        state.month = Some(month);
        let started = Instant::now();
        let deadline =
            RUN_DEADLINE.max(self.config.metrics.stale_after).max(interval(&self.config.poll, collector) * 3);
        let run = self.client.run(deadline);
        let fetched =
            limits::hold(place, || run.bodies(), Box::pin(self.fetch(collector, &run, &mut state))).await;
        let at = self.clock.now();
        clock::note(&self.tenant.name, self.client.clock_state(at), &self.store, &self.self_metrics);
        let duration = started.elapsed();
        let tenant = &self.tenant.name;
        match fetched {
            Ok(put) => {
                self.store.succeeded(tenant, collector, at, duration, |snapshot| put(snapshot, at));
                self.self_metrics.collector_succeeded(tenant, collector, duration, at);
                tracing::debug!(%tenant, collector = collector.as_str(), ?duration, "polled");
                if std::mem::take(&mut state.failing) {
                    tracing::info!(%tenant, collector = collector.as_str(), "works again");
                }
            }
            Err(error) => {
                let (reason, text) = (error.reason(), describe(&error));
                tracing::warn!(%tenant, collector = collector.as_str(), reason = reason.as_str(), error = text, "poll failed; the last good data stays");
                self.store.failed(tenant, collector, at, duration, reason, text);
                self.self_metrics.collector_failed(tenant, collector, duration, reason);
                state.failing = true;
            }
        }
        self.note_unknown_fields(collector, &run, &mut state);
        state
    }

    async fn fetch(&self, collector: Collector, run: &Run, state: &mut State) -> Result<Put, Error> {
        match collector {
            Collector::Capacity => {
                let (total, mut clouds) = tokio::try_join!(run.capacity(), run.cloud_capacity())?;
                clouds.sort_by(|a, b| a.cloud.id.cmp(&b.cloud.id));
                Ok(put(CapacityData { total, clouds }, |snapshot| &mut snapshot.capacity))
            }
            Collector::Inventory => {
                let before = self.store.tenant(&self.tenant.name);
                let before = before.as_ref().and_then(|state| state.snapshot.inventory.as_ref());
                if before.is_none() {
                    state.recorded = self.recorded().await;
                }
                let before = before.map(|section| &*section.data);
                let data = inventory::fetch(run, before, &mut state.recorded).await?;
                let data = self.record(data, state).await;
                Ok(put(data, |snapshot| &mut snapshot.inventory))
            }
            Collector::DeletedVms => {
                let mut clouds = Vec::new();
                for cloud in run.clouds().await? {
                    match run.vms(&cloud.id, &VmStatus::Deleted).await {
                        Ok(vms) => clouds.push((cloud.id, vms.len() as u64)),
                        Err(error) => inventory::unless_vanished(run, &cloud.id, error).await?,
                    }
                }
                clouds.sort();
                Ok(put(DeletedVmsData { clouds }, |snapshot| &mut snapshot.deleted_vms))
            }
            Collector::Usage => {
                let data = usage::fetch(self, run, &mut state.previous_month).await?;
                Ok(put(data, |snapshot| &mut snapshot.usage))
            }
            Collector::Catalogue => {
                let (mut instance_types, mut images) = tokio::try_join!(run.instance_types(), run.images())?;
                instance_types.sort_by(|a, b| a.name.cmp(&b.name));
                images.sort_by(|a, b| a.name.cmp(&b.name));
                self.record_catalogue(&instance_types).await;
                Ok(put(CatalogueData { instance_types, images }, |snapshot| &mut snapshot.catalogue))
            }
        }
    }

    /// The VMs that were not gone when the newest poll was recorded, as before a restart.
    async fn recorded(&self) -> Vec<Recorded> {
        let recorded = self.ledger.recorded(Arc::clone(&self.tenant.name));
        // A ledger that cannot be read is told of when the poll is recorded.
        tokio::time::timeout(LEDGER_PATIENCE, recorded).await.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// Records the catalogue in the ledger, so that a type that is deleted keeps its size in reports.
    async fn record_catalogue(&self, instance_types: &[InstanceType]) {
        let (tenant, at) = (Arc::clone(&self.tenant.name), self.clock.now());
        if matches!(self.client.clock_state(at), ClockState::Differs { .. }) {
            tracing::debug!(%tenant, "the catalogue is not recorded while the local clock differs from the API's");
            return;
        }
        let recorded = self.ledger.record_catalogue(tenant, at, instance_types.to_vec());
        let error = match tokio::time::timeout(LEDGER_PATIENCE, recorded).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => describe(&error),
            Err(_) => "the ledger takes too long".to_owned(),
        };
        tracing::error!(tenant = %self.tenant.name, error, "the catalogue is not recorded; the next run tries again");
    }

    /// Hands a complete poll to the ledger, and notes when each VM was first seen in its status. A
    /// ledger that cannot write, or takes too long, holds up no series.
    async fn record(&self, data: InventoryData, state: &mut State) -> InventoryData {
        let data = Arc::new(data);
        let tenant = &self.tenant.name;
        let longest_gap = interval(&self.config.poll, Collector::Inventory) * OBSERVED_INTERVALS;
        let at = self.clock.now();
        let recorded = if let ClockState::Differs { ahead_seconds } = self.client.clock_state(at) {
            // The time of a poll is evidence: a wrong one could not be told from a right one later.
            Err(describe(&self.ledger.refuse_clock(ahead_seconds)))
        } else {
            let recorded = self.ledger.observe(Arc::clone(tenant), at, longest_gap, Arc::clone(&data));
            match tokio::time::timeout(LEDGER_PATIENCE, recorded).await {
                Ok(Ok(since)) => Ok(since),
                Ok(Err(error)) => Err(describe(&error)),
                Err(_) => Err("the ledger takes too long".to_owned()),
            }
        };
        let mut data = Arc::unwrap_or_clone(data);
        match recorded {
            Ok(since) => {
                data.status_since = since;
                if std::mem::take(&mut state.unrecorded) {
                    tracing::info!(%tenant, "polls are recorded again");
                }
            }
            Err(error) if std::mem::replace(&mut state.unrecorded, true) => {
                tracing::debug!(%tenant, error, "a poll is not recorded");
            }
            Err(error) => {
                tracing::error!(%tenant, error, "polls are not recorded: their time will be unobserved");
            }
        }
        data
    }

    /// Counts fields that nobody documented, and says each once in the log.
    fn note_unknown_fields(&self, collector: Collector, run: &Run, state: &mut State) {
        let fields = run.unknown_fields();
        for (endpoint, field) in fields.keys() {
            if state.known_unknowns.insert((*endpoint, field.clone())) {
                tracing::info!(tenant = %self.tenant.name, endpoint = endpoint.as_str(), field, "the API sends a field that is not documented; it is ignored");
            }
        }
        self.self_metrics.unknown_fields(&self.tenant.name, collector, &fields);
    }
}

/// What a collector's task remembers from run to run.
#[derive(Debug, Default)]
pub struct State {
    failing: bool,
    /// The month of the newest run.
    month: Option<Month>,
    unrecorded: bool,
    /// VMs that only the ledger knows, still to be asked for.
    recorded: Vec<Recorded>,
    known_unknowns: std::collections::BTreeSet<(crate::api::Endpoint, String)>,
    previous_month: Option<usage::PreviousMonth>,
}

/// Puts what was fetched into a snapshot.
type Put = Box<dyn FnOnce(&mut Snapshot, Timestamp) + Send>;

fn put<T: Send + Sync + 'static>(
    data: T,
    section: impl FnOnce(&mut Snapshot) -> &mut Option<Section<T>> + Send + 'static,
) -> Put {
    Box::new(move |snapshot, at| *section(snapshot) = Some(Section { at, data: Arc::new(data) }))
}

/// An error with its sources, in one line.
pub fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// Drops stale sections until `shutdown` turns true.
pub async fn expire(store: Arc<Store>, mut shutdown: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(EXPIRY_CHECK) => {}
            _ = shutdown.wait_for(|stop| *stop) => return,
        }
        store.expire();
    }
}

//! Polling, with one task per tenant and collector. A task fetches data and puts the data into the
//! store. It repeats this after the interval, or earlier if the run failed (`backoff`).
//!
//! Data comes from `api` and goes to `store`. This module reads the clock and hands it on.

mod absences;
mod backoff;
mod capacity;
pub mod clock;
mod clouds;
mod deleted_vms;
pub mod inventory;
mod limits;
mod task;
mod usage;

pub use limits::Limits;
pub use task::Stop;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::api::{Client, ClockState, Defect, Endpoint, Error, Run};
use crate::clock::Clock;
use crate::config::{Config, Tenant};
use crate::ledger::Ledger;
use crate::period::Month;
use crate::self_metrics::SelfMetrics;
use crate::snapshot::{
    CapacityData, CatalogueData, Collector, InstanceType, InventoryData, Section, Snapshot,
};
use crate::store::{Store, interval, stale_after};

/// Longest time of one run, unless the interval or `metrics.stale_after` is longer: 100,000 VMs at
/// 25 a page are 4,000 requests, which a server that takes 400 ms for each answers in time.
const RUN_DEADLINE: Duration = Duration::from_mins(30);

/// Polls further apart than this many intervals prove nothing about the time between them.
const OBSERVED_INTERVALS: u32 = 3;

/// Minimum time that a run has for its requests by id. It applies if the interval is shorter.
const MIN_LOOKUP_TIME: Duration = Duration::from_secs(1);

/// How long a poll waits for the ledger. Beyond it the poll is published as it is, and recorded
/// whenever the disk lets it.
const LEDGER_PATIENCE: Duration = Duration::from_secs(5);

/// Maximum time of the request that decides whether the clocks differ.
const CLOCK_PATIENCE: Duration = Duration::from_secs(10);

/// The error text if the ledger has not returned a result within [`LEDGER_PATIENCE`].
const TOO_SLOW: &str = "the ledger did not respond in time";

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
        // Limits the time between complete polls to less than OBSERVED_INTERVALS, even if the API
        // responds to no request by id.
        let lookup_time = interval(&self.config.poll, collector).max(MIN_LOOKUP_TIME);
        let run = self.client.run(deadline).with_lookup_time(lookup_time);
        let fetched =
            limits::hold(place, || run.bodies(), Box::pin(self.fetch(collector, &run, &mut state))).await;
        let at = self.clock.now();
        clock::note(&self.tenant.name, self.client.clock_state(at), &self.store, &self.self_metrics);
        let duration = started.elapsed();
        let tenant = &self.tenant.name;
        match fetched {
            Ok(put) => {
                // First the metrics: the renderer may find in the data of the store that the run failed.
                self.self_metrics.collector_succeeded(tenant, collector, duration, at);
                self.store.succeeded(tenant, collector, at, duration, |snapshot| put(snapshot, at));
                tracing::debug!(%tenant, collector = collector.as_str(), ?duration, "polled");
                let limited = run.rate_limited();
                self.limits.failures().succeeded(&self.tenant, collector, limited, Instant::now());
                if std::mem::take(&mut state.failing) {
                    tracing::info!(%tenant, collector = collector.as_str(), "works again");
                }
            }
            Err(error) => {
                let (reason, text) = (error.reason(), describe(&error));
                tracing::warn!(%tenant, collector = collector.as_str(), reason = reason.as_str(), error = text, "poll failed; the data of the latest successful poll stays until metrics.stale_after");
                self.store.failed(tenant, collector, at, duration, reason, text);
                self.self_metrics.collector_failed(tenant, collector, duration, reason);
                let (failures, pause) = (self.limits.failures(), run.retry_after());
                failures.failed(&self.tenant, collector, reason, pause, Instant::now());
                state.failing = true;
            }
        }
        self.note_unknown_fields(collector, &run, &mut state);
        self.note_defects(collector, &run, &mut state);
        state
    }

    async fn fetch(&self, collector: Collector, run: &Run, state: &mut State) -> Result<Put, Error> {
        match collector {
            Collector::Capacity => {
                let (before, inventory) = (self.capacity(), self.inventory());
                let data = capacity::fetch(
                    run,
                    before.as_deref(),
                    inventory.as_deref(),
                    &mut state.capacity_kept,
                    self.clock.monotonic(),
                    stale_after(&self.config.metrics, &self.config.poll, collector),
                )
                .await?;
                let data = shared(before, data);
                Ok(put(data, |snapshot| &mut snapshot.capacity))
            }
            Collector::Inventory => {
                let shown = self.inventory();
                let capacity = self.capacity();
                let before = shown.clone().or_else(|| state.last_inventory.clone());
                let is_ledger_read = self.read_ledger(state).await;
                let now = self.clock.monotonic();
                let data =
                    inventory::fetch(run, before.as_deref(), capacity.as_deref(), &mut state.inventory, now)
                        .await?;
                let data = self.record(data, state, is_ledger_read).await;
                let data = shared(shown, data);
                state.last_inventory = Some(Arc::clone(&data));
                Ok(put(data, |snapshot| &mut snapshot.inventory))
            }
            Collector::DeletedVms => {
                let (inventory, now) = (self.inventory(), self.clock.monotonic());
                let clouds = inventory.as_ref().map(|inventory| &*inventory.clouds);
                let data = deleted_vms::fetch(run, clouds, &mut state.deleted_vms, now).await?;
                Ok(put(Arc::new(data), |snapshot| &mut snapshot.deleted_vms))
            }
            Collector::Usage => {
                let data = usage::fetch(self, run, &mut state.previous_month).await?;
                Ok(put(Arc::new(data), |snapshot| &mut snapshot.usage))
            }
            Collector::Catalogue => {
                let (mut instance_types, mut images) = tokio::try_join!(run.instance_types(), run.images())?;
                instance_types.sort_by(|a, b| a.name.cmp(&b.name));
                images.sort_by(|a, b| a.name.cmp(&b.name));
                self.record_catalogue(&instance_types).await;
                let data = Arc::new(CatalogueData { instance_types, images });
                Ok(put(data, |snapshot| &mut snapshot.catalogue))
            }
        }
    }

    /// The latest capacity that is shown.
    fn capacity(&self) -> Option<Arc<CapacityData>> {
        let state = self.store.tenant(&self.tenant.name)?;
        state.snapshot.capacity.as_ref().map(|section| Arc::clone(&section.data))
    }

    /// The latest inventory that is shown.
    fn inventory(&self) -> Option<Arc<InventoryData>> {
        let state = self.store.tenant(&self.tenant.name)?;
        state.snapshot.inventory.as_ref().map(|section| Arc::clone(&section.data))
    }

    /// Reads the clouds and VMs that were recorded before this task began, once per task. Polls are not
    /// recorded before this succeeds, because VMs that only the ledger contains would be recorded as
    /// gone without a request by id.
    async fn read_ledger(&self, state: &mut State) -> Result<(), String> {
        if state.is_ledger_read {
            return Ok(());
        }
        let recorded = self.ledger.recorded(Arc::clone(&self.tenant.name));
        let (clouds, vms) = tokio::time::timeout(LEDGER_PATIENCE, recorded)
            .await
            .map_err(|_| TOO_SLOW.to_owned())?
            .map_err(|error| describe(&error))?;
        state.inventory.add_recorded(clouds, vms);
        state.is_ledger_read = true;
        Ok(())
    }

    /// Compares `at`, which was just read from the local clock, with the API's clock. If they differ, a
    /// request that bypasses caches decides: a cache may omit `Age`.
    async fn check_clock(&self, at: Timestamp) -> ClockState {
        let known = self.client.clock_state(at);
        if !matches!(known, ClockState::Differs { .. }) {
            return known;
        }
        // Only the header counts. CLOCK_PATIENCE is less than the tolerance, so `at` is still comparable.
        let _ = self.client.run(CLOCK_PATIENCE).without_caches().capacity().await;
        self.client.clock_state(at)
    }

    /// Records the catalogue in the ledger, so that a type that is deleted keeps its size in reports.
    async fn record_catalogue(&self, instance_types: &[InstanceType]) {
        let (tenant, at) = (Arc::clone(&self.tenant.name), self.clock.now());
        if matches!(self.check_clock(at).await, ClockState::Differs { .. }) {
            tracing::debug!(%tenant, "the catalogue is not recorded while the local clock differs from the API's");
            return;
        }
        let recorded = self.ledger.record_catalogue(tenant, at, instance_types.to_vec());
        let error = match tokio::time::timeout(LEDGER_PATIENCE, recorded).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => describe(&error),
            Err(_) => TOO_SLOW.to_owned(),
        };
        tracing::error!(tenant = %self.tenant.name, error, "the catalogue is not recorded; the next run tries again");
    }

    /// Hands a complete poll to the ledger, and notes when each VM was first seen in its status. A
    /// ledger that cannot write, or takes too long, holds up no series.
    async fn record(
        &self,
        data: InventoryData,
        state: &mut State,
        is_ledger_read: Result<(), String>,
    ) -> InventoryData {
        let data = Arc::new(data);
        let tenant = &self.tenant.name;
        let longest_gap = interval(&self.config.poll, Collector::Inventory) * OBSERVED_INTERVALS;
        let at = self.clock.now();
        let recorded = match (is_ledger_read, self.check_clock(at).await) {
            (Err(error), _) => Err(error),
            // The time of a poll is evidence, and a wrong time could not be distinguished from a
            // correct time later.
            (Ok(()), ClockState::Differs { ahead_seconds }) => {
                Err(describe(&self.ledger.refuse_clock(ahead_seconds)))
            }
            (Ok(()), _) => {
                let recorded = self.ledger.observe(Arc::clone(tenant), at, longest_gap, Arc::clone(&data));
                match tokio::time::timeout(LEDGER_PATIENCE, recorded).await {
                    Ok(Ok(since)) => Ok(since),
                    Ok(Err(error)) => Err(describe(&error)),
                    Err(_) => Err(TOO_SLOW.to_owned()),
                }
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

    /// Sets the metric of values that were replaced or omitted. Logs each field once until it is
    /// readable again, because a permanent defect must not fill the log.
    fn note_defects(&self, collector: Collector, run: &Run, state: &mut State) {
        let (tenant, defects) = (&self.tenant.name, run.defects());
        for ((endpoint, field), Defect { count, example }) in &defects {
            if state.known_defects.insert((*endpoint, field)) {
                tracing::warn!(%tenant, endpoint = endpoint.as_str(), field, count, example, "the API sent values that are out of range, unreadable or missing; replacing or omitting them and using the rest");
            }
        }
        // A run that failed may have read nothing.
        if !state.failing {
            state.known_defects.retain(|(endpoint, field)| {
                let is_defective = defects.contains_key(&(*endpoint, *field));
                if !is_defective {
                    tracing::info!(%tenant, endpoint = endpoint.as_str(), field, "the values that the API sent are readable again");
                }
                is_defective
            });
        }
        self.self_metrics.api_defects(tenant, collector, &defects);
    }
}

/// What a collector's task remembers from run to run.
#[derive(Debug, Default)]
pub struct State {
    failing: bool,
    /// The month of the newest run.
    month: Option<Month>,
    unrecorded: bool,
    /// Whether `inventory` contains the clouds and VMs that the ledger has recorded.
    is_ledger_read: bool,
    inventory: inventory::Memory,
    /// The latest complete inventory. It is kept after its series are removed as stale, so that objects
    /// that the lists lack after an outage are requested by id.
    last_inventory: Option<Arc<InventoryData>>,
    deleted_vms: deleted_vms::Memory,
    capacity_kept: capacity::Kept,
    known_unknowns: BTreeSet<(Endpoint, String)>,
    /// Fields with defects that have been logged.
    known_defects: BTreeSet<(Endpoint, &'static str)>,
    previous_month: usage::Previous,
}

/// Returns `shown` if the new data is equal, so that its text is not rendered again. Most polls find no
/// change. The comparison is cheap, because unchanged VMs share their memory with the previous poll.
fn shared<T: PartialEq>(shown: Option<Arc<T>>, data: T) -> Arc<T> {
    shown.filter(|shown| **shown == data).unwrap_or_else(|| Arc::new(data))
}

/// Puts what was fetched into a snapshot.
type Put = Box<dyn FnOnce(&mut Snapshot, Timestamp) + Send>;

fn put<T: Send + Sync + 'static>(
    data: Arc<T>,
    section: impl FnOnce(&mut Snapshot) -> &mut Option<Section<T>> + Send + 'static,
) -> Put {
    Box::new(move |snapshot, at| *section(snapshot) = Some(Section { at, data }))
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

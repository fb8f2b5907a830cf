//! The newest snapshot of each tenant, and what was rendered from them.
//!
//! `poll` and `close` put data in; `web` reads it. A change takes a short lock, replaces the state of one
//! tenant and marks its parts as changed. [`rendering`] makes the text from that, later and elsewhere,
//! so neither a poll nor a scrape waits for it.

mod outlook;
pub mod rendering;

pub use outlook::{DueMonth, Outlook};

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;

use self::rendering::{Rendering, Served};
use crate::api::{ClockState, Reason};
use crate::config::{Metrics, Poll, Tenant};
use crate::exposition::{Exposition, Part, Parts};
use crate::report::Listing;
use crate::snapshot::{ClosedMonth, Collector, Section, Snapshot};

/// A collector's series outlive this many intervals without a success, if that is longer than
/// `metrics.stale_after`.
const STALE_INTERVALS: u32 = 3;

/// What is known of a collector's runs.
#[derive(Clone, Debug, Default)]
pub struct CollectorState {
    /// When the newest run ended.
    pub last_run: Option<Timestamp>,
    /// When the newest successful run ended.
    pub last_success: Option<Timestamp>,
    /// The same by the monotonic clock, which decides about staleness.
    succeeded: Option<Instant>,
    /// How long the newest run took.
    pub duration: Duration,
    /// Why the newest run failed, in words; `None` when it did not.
    pub error: Option<(Reason, String)>,
}

/// All that is shown of one tenant.
#[derive(Clone, Debug, Default)]
pub struct TenantState {
    /// The newest data.
    pub snapshot: Arc<Snapshot>,
    /// Every collector that is switched on.
    pub collectors: BTreeMap<Collector, CollectorState>,
    /// The current revision of each closed month, newest month first.
    pub closed: Arc<[ClosedMonth]>,
    /// Every report on disk when it was last looked; `None` before the first look.
    pub reports: Option<Arc<Listing>>,
    /// What is due; `None` before the first look.
    pub outlook: Option<Arc<Outlook>>,
    /// The latest comparison of the local clock with the API's.
    pub clock: ClockState,
}

impl TenantState {
    /// `None` before the first run of a required collector, then whether none of their newest runs failed.
    #[must_use]
    pub fn up(&self) -> Option<bool> {
        let mut runs = self.required().filter(|state| state.last_run.is_some()).peekable();
        runs.peek()?;
        Some(runs.all(|state| state.error.is_none()))
    }

    /// Whether every required collector has been tried.
    #[must_use]
    pub fn tried(&self) -> bool {
        self.required().all(|state| state.last_run.is_some())
    }

    fn required(&self) -> impl Iterator<Item = &CollectorState> {
        self.collectors.iter().filter(|(collector, _)| collector.required()).map(|(_, state)| state)
    }
}

/// The newest state of every tenant.
#[derive(Debug)]
pub struct View {
    /// By name.
    pub tenants: BTreeMap<Arc<str>, Arc<TenantState>>,
}

/// Holds the newest state of every tenant and the newest exposition.
#[derive(Debug)]
pub struct Store {
    current: Mutex<Current>,
    /// Wakes the renderer.
    changed: Notify,
    /// Taken by the renderer alone, for as long as it renders.
    rendering: Mutex<Rendering>,
    served: ArcSwap<Served>,
}

/// What changes and readers share. The lock around it is held for microseconds.
#[derive(Debug)]
struct Current {
    metrics: Arc<Metrics>,
    poll: Poll,
    tenants: BTreeMap<Arc<str>, Arc<TenantState>>,
    /// The parts that were not rendered since they changed, of each tenant that has any.
    changed: BTreeMap<Arc<str>, Parts>,
    /// Made when someone reads, and kept until the next change.
    view: Option<Arc<View>>,
}

/// The interval of `collector`; zero when it is switched off.
#[must_use]
pub fn interval(poll: &Poll, collector: Collector) -> Duration {
    match collector {
        Collector::Capacity => poll.capacity,
        Collector::Inventory => poll.inventory,
        Collector::DeletedVms => poll.deleted_vms,
        Collector::Usage => poll.usage,
        Collector::Catalogue => poll.catalogue,
    }
}

/// Returns the time for which the series of `collector` are kept after its last success.
#[must_use]
pub fn stale_after(metrics: &Metrics, poll: &Poll, collector: Collector) -> Duration {
    metrics.stale_after.max(interval(poll, collector) * STALE_INTERVALS)
}

impl Store {
    /// A store in which nothing has been tried yet.
    #[must_use]
    pub fn new(tenants: &[Arc<Tenant>], metrics: Metrics, poll: Poll) -> Self {
        let tenants = states(tenants, &poll, &BTreeMap::new());
        let changed = BTreeMap::new();
        Self {
            current: Mutex::new(Current { metrics: Arc::new(metrics), poll, tenants, changed, view: None }),
            changed: Notify::new(),
            rendering: Mutex::default(),
            served: ArcSwap::default(),
        }
    }

    /// Goes on with another configuration: tenants that stay keep what is known of them, the others go.
    /// [`Store::publish`] takes their series away.
    pub fn reconfigure(&self, tenants: &[Arc<Tenant>], metrics: Metrics, poll: Poll) {
        let mut current = self.current();
        let tenants = states(tenants, &poll, &current.tenants);
        let changed = tenants.keys().map(|name| (Arc::clone(name), Parts::ALL)).collect();
        let new = Current { metrics: Arc::new(metrics), poll, tenants, changed, view: None };
        let old = std::mem::replace(&mut *current, new);
        drop(current);
        // Large data of tenants that are gone is freed without the lock.
        drop(old);
        self.changed.notify_one();
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest state of every tenant.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        let mut current = self.current();
        if let Some(view) = &current.view {
            return Arc::clone(view);
        }
        let view = Arc::new(View { tenants: current.tenants.clone() });
        current.view = Some(Arc::clone(&view));
        view
    }

    /// The newest state of one tenant.
    #[must_use]
    pub fn tenant(&self, name: &str) -> Option<Arc<TenantState>> {
        self.current().tenants.get(name).cloned()
    }

    /// The newest domain series, rendered and compressed.
    #[must_use]
    pub fn exposition(&self) -> Exposition {
        self.served.load().exposition.clone()
    }

    /// Whether every tenant's required collectors have been tried and what they gave is served.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.served.load().ready && self.current().tenants.values().all(|state| state.tried())
    }

    /// Records a run of `collector` that ended at `at`; `store` puts what it fetched into the snapshot.
    pub fn succeeded(
        &self,
        tenant: &str,
        collector: Collector,
        at: Timestamp,
        duration: Duration,
        store: impl FnOnce(&mut Snapshot),
    ) {
        self.change(tenant, |state| {
            let before = Arc::clone(&state.snapshot);
            store(Arc::make_mut(&mut state.snapshot));
            let same = is_same(&before, &state.snapshot, collector);
            let state = state.collectors.entry(collector).or_default();
            // After an error the text may be of earlier data, because the latest data could not be rendered.
            let parts = if same && state.error.is_none() { status() } else { parts_of(collector) };
            *state = CollectorState {
                last_run: Some(at),
                last_success: Some(at),
                succeeded: Some(Instant::now()),
                duration,
                error: None,
            };
            parts
        });
    }

    /// Records a run that failed: the last good data stays.
    pub fn failed(
        &self,
        tenant: &str,
        collector: Collector,
        at: Timestamp,
        duration: Duration,
        reason: Reason,
        error: String,
    ) {
        self.change(tenant, |state| {
            let state = state.collectors.entry(collector).or_default();
            state.last_run = Some(at);
            state.duration = duration;
            state.error = Some((reason, error));
            status()
        });
    }

    /// Shows these reports. A month that cannot be read now keeps the figures that it had.
    pub fn reports(&self, tenant: &str, listing: Listing) {
        let mut closed: BTreeMap<_, _> = listing
            .reports
            .iter()
            .filter(|report| report.current)
            .map(|report| (report.published.month, report.published.closed_month()))
            .collect();
        self.change(tenant, |state| {
            if !listing.problems.is_empty() {
                for before in state.closed.iter() {
                    closed.entry(before.month).or_insert_with(|| before.clone());
                }
            }
            state.closed = closed.into_values().rev().collect();
            state.reports = Some(Arc::new(listing));
            status()
        });
    }

    /// Shows what is due.
    pub fn outlook(&self, tenant: &str, outlook: Outlook) {
        let known = self.tenant(tenant).and_then(|state| state.outlook.clone());
        // Most looks find what the one before did.
        if known.is_none_or(|known| *known != outlook) {
            self.change(tenant, |state| {
                state.outlook = Some(Arc::new(outlook));
                Parts::default()
            });
        }
    }

    /// Shows the latest comparison of the local clock with the API's clock.
    pub fn clock(&self, tenant: &str, clock: ClockState) {
        self.change(tenant, |state| {
            state.clock = clock;
            Parts::default()
        });
    }

    /// Drops every section whose collector has not succeeded for too long.
    pub fn expire(&self) {
        let (metrics, poll) = {
            let current = self.current();
            (Arc::clone(&current.metrics), current.poll.clone())
        };
        for (tenant, state) in &self.view().tenants {
            for (collector, run) in &state.collectors {
                let limit = stale_after(&metrics, &poll, *collector);
                let too_old = |at: Instant| at.elapsed() > limit;
                if run.succeeded.is_some_and(too_old) {
                    tracing::warn!(%tenant, collector = collector.as_str(), "no success for {limit:?}: its series go");
                    self.change(tenant, |state| {
                        // A run may have succeeded since the look.
                        if !state
                            .collectors
                            .get(collector)
                            .is_some_and(|run| run.succeeded.is_some_and(too_old))
                        {
                            return Parts::default();
                        }
                        forget(&mut state.snapshot, *collector);
                        if let Some(run) = state.collectors.get_mut(collector) {
                            run.succeeded = None;
                        }
                        parts_of(*collector)
                    });
                }
            }
        }
    }

    /// Changes the state of a tenant with `change`, which returns the parts of the text that must be rendered
    /// again.
    fn change(&self, tenant: &str, change: impl FnOnce(&mut TenantState) -> Parts) {
        let mut current = self.current();
        let Some((name, state)) = current.tenants.get_key_value(tenant) else { return };
        let (name, old) = (Arc::clone(name), Arc::clone(state));
        let mut new = TenantState::clone(&old);
        let parts = change(&mut new);
        current.tenants.insert(Arc::clone(&name), Arc::new(new));
        let view = current.view.take();
        if !parts.is_empty() {
            current.changed.entry(name).or_default().merge(parts);
        }
        drop(current);
        // The data before may be large; it is freed without the lock.
        drop((old, view));
        self.changed.notify_one();
    }
}

/// The states of these tenants: as they are in `known`, but for collectors that are switched off.
fn states(
    tenants: &[Arc<Tenant>],
    poll: &Poll,
    known: &BTreeMap<Arc<str>, Arc<TenantState>>,
) -> BTreeMap<Arc<str>, Arc<TenantState>> {
    let of = |tenant: &Arc<Tenant>| {
        let mut state = known.get(&tenant.name).map(|state| TenantState::clone(state)).unwrap_or_default();
        for collector in Collector::ALL {
            if interval(poll, collector).is_zero() {
                state.collectors.remove(&collector);
                forget(&mut state.snapshot, collector);
            } else {
                state.collectors.entry(collector).or_default();
            }
        }
        (Arc::clone(&tenant.name), Arc::new(state))
    };
    tenants.iter().map(of).collect()
}

/// Takes a collector's data away.
fn forget(snapshot: &mut Arc<Snapshot>, collector: Collector) {
    let snapshot = Arc::make_mut(snapshot);
    match collector {
        Collector::Capacity => snapshot.capacity = None,
        Collector::Inventory => snapshot.inventory = None,
        Collector::DeletedVms => snapshot.deleted_vms = None,
        Collector::Usage => snapshot.usage = None,
        Collector::Catalogue => snapshot.catalogue = None,
    }
}

/// Whether both snapshots share the data of `collector`, so that its text is unchanged. The time of the section
/// may differ, because only the part `Status` contains it.
fn is_same(before: &Snapshot, after: &Snapshot, collector: Collector) -> bool {
    fn shared<T>(before: Option<&Section<T>>, after: Option<&Section<T>>) -> bool {
        before.zip(after).is_some_and(|(before, after)| Arc::ptr_eq(&before.data, &after.data))
    }
    match collector {
        Collector::Capacity => shared(before.capacity.as_ref(), after.capacity.as_ref()),
        Collector::Inventory => shared(before.inventory.as_ref(), after.inventory.as_ref()),
        // Their runs are rare, and each has new data.
        Collector::DeletedVms | Collector::Usage | Collector::Catalogue => false,
    }
}

/// The part that belongs to no collector.
fn status() -> Parts {
    [Part::Status].into_iter().collect()
}

/// What shows the data of `collector`: headroom is made of capacity and catalogue, the choice of
/// tags of inventory and usage. Series of single VMs need nothing but the inventory.
fn parts_of(collector: Collector) -> Parts {
    let mut parts: Parts = [Part::Status, Part::Collector(collector)].into_iter().collect();
    match collector {
        Collector::Catalogue => parts.insert(Part::Collector(Collector::Capacity)),
        Collector::Usage => parts.insert(Part::Collector(Collector::Inventory)),
        Collector::Inventory => {
            parts.insert(Part::Vms);
            parts.insert(Part::Collector(Collector::Usage));
        }
        Collector::Capacity | Collector::DeletedVms => {}
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::simulated_tenant;
    use crate::snapshot::InventoryData;

    #[test]
    fn poll_without_a_change_marks_only_the_status() {
        let tenant = Arc::new(simulated_tenant("t1", "http://127.0.0.1:1".parse().unwrap(), "token"));
        let store = Store::new(&[tenant], Metrics::default(), Poll::default());
        let poll = |data: &Arc<InventoryData>| {
            let (at, data) = (Timestamp::UNIX_EPOCH, Arc::clone(data));
            let put = |snapshot: &mut Snapshot| snapshot.inventory = Some(Section { at, data });
            store.succeeded("t1", Collector::Inventory, at, Duration::ZERO, put);
            std::mem::take(&mut store.current().changed).remove("t1").unwrap()
        };
        let data = Arc::new(InventoryData::default());
        assert_eq!(poll(&data), parts_of(Collector::Inventory), "the first poll");
        assert_eq!(poll(&data), status(), "the same data");
        assert_eq!(poll(&Arc::new(InventoryData::default())), parts_of(Collector::Inventory), "other data");
    }
}

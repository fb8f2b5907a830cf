//! The newest snapshot of each tenant, and what was rendered from them.
//!
//! `poll` and `schedule` put in; `web` reads. Readers take one immutable [`View`] and never wait.

mod outlook;

pub use outlook::{DueMonth, Outlook};

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::api::Reason;
use crate::config::{Metrics, Poll, Tenant};
use crate::exposition::{Exposition, Part, TenantView};
use crate::report::Listing;
use crate::snapshot::{ClosedMonth, Collector, Snapshot};

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
    /// The newest closed month.
    pub closed: Option<ClosedMonth>,
    /// Every report on disk when it was last looked; `None` before the first look.
    pub reports: Option<Arc<Listing>>,
    /// What is due; `None` before the first look.
    pub outlook: Option<Arc<Outlook>>,
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

/// One consistent state of everything that is served.
#[derive(Debug)]
pub struct View {
    /// By name.
    pub tenants: BTreeMap<Arc<str>, TenantState>,
    /// The domain's series, rendered and compressed.
    pub exposition: Arc<Exposition>,
}

/// Holds the newest [`View`].
#[derive(Debug)]
pub struct Store {
    view: ArcSwap<View>,
    /// Taken while a new view is made: one at a time, so that none is lost.
    options: Mutex<Options>,
}

/// What the configuration says of views.
#[derive(Clone, Debug)]
struct Options {
    metrics: Metrics,
    poll: Poll,
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

impl Store {
    /// A store in which nothing has been tried yet.
    #[must_use]
    pub fn new(tenants: &[Arc<Tenant>], metrics: Metrics, poll: Poll) -> Self {
        let tenants = states(tenants, &poll, &BTreeMap::new());
        let exposition = Arc::new(render(&tenants, &metrics, None, &Part::ALL));
        let view = ArcSwap::from_pointee(View { tenants, exposition });
        Self { view, options: Mutex::new(Options { metrics, poll }) }
    }

    /// Goes on with another configuration: tenants that stay keep what is known of them, the others go
    /// at once.
    pub fn reconfigure(&self, tenants: &[Arc<Tenant>], metrics: Metrics, poll: Poll) {
        let mut options = self.options();
        let tenants = states(tenants, &poll, &self.view().tenants);
        let exposition = Arc::new(render(&tenants, &metrics, None, &Part::ALL));
        *options = Options { metrics, poll };
        self.view.store(Arc::new(View { tenants, exposition }));
    }

    fn options(&self) -> MutexGuard<'_, Options> {
        self.options.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest view.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Whether every tenant's required collectors have been tried.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.view.load().tenants.values().all(TenantState::tried)
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
        self.change(tenant, &parts_of(collector), |state| {
            store(Arc::make_mut(&mut state.snapshot));
            let state = state.collectors.entry(collector).or_default();
            *state = CollectorState {
                last_run: Some(at),
                last_success: Some(at),
                succeeded: Some(Instant::now()),
                duration,
                error: None,
            };
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
        self.change(tenant, &[Part::Status], |state| {
            let state = state.collectors.entry(collector).or_default();
            state.last_run = Some(at);
            state.duration = duration;
            state.error = Some((reason, error));
        });
    }

    /// Shows these reports, and `newest` as the newest closed month; without one, the one before stays.
    pub fn reports(&self, tenant: &str, listing: Listing, newest: Option<ClosedMonth>) {
        self.change(tenant, &[Part::Status], |state| {
            state.reports = Some(Arc::new(listing));
            if newest.is_some() {
                state.closed = newest;
            }
        });
    }

    /// Shows what is due.
    pub fn outlook(&self, tenant: &str, outlook: Outlook) {
        let known = self.view().tenants.get(tenant).and_then(|state| state.outlook.clone());
        // Most looks find what the one before did; no view is made for that.
        if known.is_none_or(|known| *known != outlook) {
            self.change(tenant, &[], |state| state.outlook = Some(Arc::new(outlook)));
        }
    }

    /// Drops every section whose collector has not succeeded for too long.
    pub fn expire(&self) {
        let (view, options) = (self.view(), self.options().clone());
        for (tenant, state) in &view.tenants {
            for (collector, run) in &state.collectors {
                let limit =
                    options.metrics.stale_after.max(interval(&options.poll, *collector) * STALE_INTERVALS);
                let too_old = |at: Instant| at.elapsed() > limit;
                if run.succeeded.is_some_and(too_old) {
                    tracing::warn!(%tenant, collector = collector.as_str(), "no success for {limit:?}: its series go");
                    self.change(tenant, &parts_of(*collector), |state| {
                        // A run may have succeeded since the look.
                        if !state
                            .collectors
                            .get(collector)
                            .is_some_and(|run| run.succeeded.is_some_and(too_old))
                        {
                            return;
                        }
                        forget(&mut state.snapshot, *collector);
                        if let Some(run) = state.collectors.get_mut(collector) {
                            run.succeeded = None;
                        }
                    });
                }
            }
        }
    }

    fn change(&self, tenant: &str, parts: &[Part], change: impl FnOnce(&mut TenantState)) {
        let options = self.options();
        let old = self.view();
        let mut tenants = old.tenants.clone();
        let Some(state) = tenants.get_mut(tenant) else { return };
        change(state);
        let exposition = Arc::new(render(&tenants, &options.metrics, Some(&old.exposition), parts));
        self.view.store(Arc::new(View { tenants, exposition }));
    }
}

/// The states of these tenants: as they are in `known`, but for collectors that are switched off.
fn states(
    tenants: &[Arc<Tenant>],
    poll: &Poll,
    known: &BTreeMap<Arc<str>, TenantState>,
) -> BTreeMap<Arc<str>, TenantState> {
    let of = |tenant: &Arc<Tenant>| {
        let mut state = known.get(&tenant.name).cloned().unwrap_or_default();
        for collector in Collector::ALL {
            if interval(poll, collector).is_zero() {
                state.collectors.remove(&collector);
                forget(&mut state.snapshot, collector);
            } else {
                state.collectors.entry(collector).or_default();
            }
        }
        (Arc::clone(&tenant.name), state)
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

/// What shows the data of `collector`: headroom is made of capacity and catalogue, the choice of
/// tags of inventory and usage. Series of single VMs need nothing but the inventory.
fn parts_of(collector: Collector) -> Vec<Part> {
    let mut parts = vec![Part::Status, Part::Collector(collector)];
    match collector {
        Collector::Catalogue => parts.push(Part::Collector(Collector::Capacity)),
        Collector::Usage => parts.push(Part::Collector(Collector::Inventory)),
        Collector::Inventory => parts.extend([Part::Vms, Part::Collector(Collector::Usage)]),
        _ => {}
    }
    parts
}

fn render(
    tenants: &BTreeMap<Arc<str>, TenantState>,
    metrics: &Metrics,
    previous: Option<&Exposition>,
    changed: &[Part],
) -> Exposition {
    let views: Vec<_> = tenants
        .iter()
        .map(|(name, state)| TenantView {
            name,
            snapshot: &state.snapshot,
            up: state.up(),
            closed: state.closed.as_ref(),
        })
        .collect();
    Exposition::render(&views, metrics, previous, changed)
}

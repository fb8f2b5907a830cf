//! The renderer: makes text from what changed, in a bounded share of one core.
//!
//! It takes changed tenants one after another, each at most once however often it changed. Putting all
//! tenants together is the only step whose cost grows with their number; it is bounded by time, not by
//! polls. All pieces of a tenant are exchanged together, so a scrape is consistent per tenant.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{CollectorState, Current, Store, TenantState, parts_of, status};
use crate::api::Reason;
use crate::config::Metrics;
use crate::exposition::{Exposition, Part, Parts, Renderer, TenantView};
use crate::self_metrics::SelfMetrics;
use crate::snapshot::Collector;

/// Longest wait between rendering and publishing.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// After a publication that took *t* the next one waits for this many *t*, so that putting the pieces
/// of all tenants together takes at most a fiftieth of a core. With few tenants that is no time at all.
const SPACING: u32 = 50;

/// The renderer pauses after this much work; one tenant may take longer.
const SLICE: Duration = Duration::from_millis(20);

/// After CPU time of *t* the renderer pauses for this many *t*, so it takes at most a fifth of a core.
const PAUSE: u32 = 4;

/// Value of [`PAUSE`] until the daemon is ready for the first time: at most half a core, because
/// readiness requires the text of every tenant.
const FIRST_PAUSE: u32 = 1;

/// What was published last.
#[derive(Debug, Default)]
pub struct Served {
    /// All domain families.
    pub exposition: Exposition,
    /// Whether it holds what the first runs of every tenant gave.
    pub ready: bool,
}

/// What the renderer keeps.
#[derive(Debug, Default)]
pub struct Rendering {
    renderer: Renderer,
    /// The tenant that was rendered last: the next one by name is next.
    last: Option<Arc<str>>,
    /// The rendered tenants whose required collectors had been tried.
    tried: BTreeSet<Arc<str>>,
    /// When the next exposition may be published.
    next: Option<Instant>,
    /// The runs whose data is shown, by tenant and collector.
    rendered: BTreeMap<(Arc<str>, Collector), CollectorState>,
    /// Failures that were not reported yet.
    failed: Vec<Failed>,
}

/// A collector whose data could not be rendered.
#[derive(Debug)]
struct Failed {
    tenant: Arc<str>,
    collector: Collector,
    /// End of the run whose data is shown; `None` if no data is shown.
    last_success: Option<Timestamp>,
}

/// A tenant that is to be rendered.
struct Changed {
    name: Arc<str>,
    state: Arc<TenantState>,
    parts: Parts,
    metrics: Arc<Metrics>,
}

/// What remains after some work.
#[derive(Debug, PartialEq, Eq)]
enum Left {
    /// Nothing: the renderer waits for a change.
    Nothing,
    /// What was rendered waits to be published at this time.
    Unpublished(Instant),
    /// More tenants have changed.
    Changes,
}

/// Renders what changes until `shutdown` turns true.
pub async fn run(store: Arc<Store>, self_metrics: Arc<SelfMetrics>, mut shutdown: watch::Receiver<bool>) {
    let work = async {
        loop {
            let (working, started) = (Arc::clone(&store), Instant::now());
            let reporting = Arc::clone(&self_metrics);
            let timed = move || {
                let before = thread_cpu();
                let left = working.work();
                for Failed { tenant, collector, last_success } in working.take_failures() {
                    reporting.rendering_failed(&tenant, collector, last_success);
                }
                (left, thread_cpu().zip(before).map(|(after, before)| after.saturating_sub(before)))
            };
            let (left, cpu) = match tokio::task::spawn_blocking(timed).await {
                Ok(done) => done,
                Err(error) => {
                    tracing::error!(%error, "rendering failed; the series of a tenant are old until its next poll");
                    (Left::Changes, None)
                }
            };
            // On a busy machine work takes longer than its CPU time; that must not make the pauses longer.
            let pause = if store.served.load().ready { PAUSE } else { FIRST_PAUSE };
            tokio::time::sleep(cpu.unwrap_or(started.elapsed()) * pause).await;
            match left {
                Left::Changes => {}
                Left::Unpublished(at) => tokio::time::sleep_until(at).await,
                Left::Nothing => store.changed.notified().await,
            }
        }
    };
    tokio::select! {
        () = work => {}
        _ = shutdown.wait_for(|stop| *stop) => {}
    }
}

/// CPU time of this thread so far; `None` where the system does not tell.
fn thread_cpu() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

impl Store {
    /// Renders everything that changed and publishes it. For callers without the task [`run`]; blocks.
    pub fn render_now(&self) {
        let mut rendering = self.rendering();
        while self.render_next(&mut rendering) {}
        self.publish_from(&mut rendering);
    }

    /// Publishes what is rendered, without the tenants that are no longer configured. Blocks.
    pub fn publish(&self) {
        self.publish_from(&mut self.rendering());
    }

    /// Renders for about [`SLICE`] and publishes if it is time.
    fn work(&self) -> Left {
        let started = Instant::now();
        let mut rendering = self.rendering();
        let mut more = true;
        while more && started.elapsed() < SLICE {
            more = self.render_next(&mut rendering);
        }
        let next = rendering.next.filter(|next| *next > Instant::now());
        if self.becomes_ready(&rendering) || (rendering.renderer.is_stale() && next.is_none()) {
            self.publish_from(&mut rendering);
        } else if rendering.renderer.is_stale()
            && let Some(next) = next
            && !more
        {
            return Left::Unpublished(next);
        }
        if more { Left::Changes } else { Left::Nothing }
    }

    fn rendering(&self) -> MutexGuard<'_, Rendering> {
        self.rendering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Renders one tenant that changed. False if there is none.
    fn render_next(&self, rendering: &mut Rendering) -> bool {
        let taken = self.current().take_changed(rendering.last.as_ref());
        let Some(Changed { name, state, parts, metrics }) = taken else { return false };
        rendering.last = Some(Arc::clone(&name));
        let view =
            TenantView { name: &name, snapshot: &state.snapshot, up: state.up(), closed: &state.closed };
        let failed = rendering.renderer.render(&view, &metrics, parts);
        for (collector, run) in &state.collectors {
            let (key, part) = ((Arc::clone(&name), *collector), Part::Collector(*collector));
            let is_of_vms = *collector == Collector::Inventory && failed.contains(Part::Vms);
            if failed.contains(part) || is_of_vms {
                let shown = rendering.rendered.get(&key).cloned().unwrap_or_default();
                if self.rendering_failed(&name, *collector, run, &shown) {
                    rendering.failed.push(Failed {
                        tenant: Arc::clone(&name),
                        collector: *collector,
                        last_success: shown.last_success,
                    });
                }
            } else if parts.contains(part) || run.error.is_none() {
                // If a successful run changed no data, the existing text also shows the data of this run.
                rendering.rendered.insert(key, run.clone());
            }
        }
        if state.tried() {
            rendering.tried.insert(name);
        } else {
            rendering.tried.remove(&name);
        }
        true
    }

    /// Counts `run`, whose data could not be rendered, as failed; `shown` is the run whose data is shown. Returns
    /// whether it was counted. If a later run has succeeded, its data is rendered first.
    fn rendering_failed(
        &self,
        tenant: &str,
        collector: Collector,
        run: &CollectorState,
        shown: &CollectorState,
    ) -> bool {
        let mut counted = false;
        self.change(tenant, |state| {
            let Some(current) = state.collectors.get_mut(&collector) else { return Parts::default() };
            if current.error.is_some() {
                return Parts::default();
            }
            if current.last_run != run.last_run {
                return parts_of(collector);
            }
            let text =
                "the exporter cannot render the data of the poll; please report this as a bug with the log";
            (current.last_success, current.succeeded) = (shown.last_success, shown.succeeded);
            current.error = Some((Reason::Malformed, text.to_owned()));
            counted = true;
            status()
        });
        if counted {
            tracing::error!(
                tenant,
                collector = collector.as_str(),
                "cannot render the data of the latest poll; keeping the series of the previous poll"
            );
        }
        counted
    }

    fn take_failures(&self) -> Vec<Failed> {
        std::mem::take(&mut self.rendering().failed)
    }

    fn publish_from(&self, rendering: &mut Rendering) {
        let started = Instant::now();
        let tenants = self.view().tenants.clone();
        rendering.renderer.retain(|name| tenants.contains_key(name));
        rendering.tried.retain(|name| tenants.contains_key(name));
        rendering.rendered.retain(|(name, _), _| tenants.contains_key(name));
        let ready = tenants.keys().all(|name| rendering.tried.contains(name));
        let exposition = rendering.renderer.assemble();
        self.served.store(Arc::new(Served { exposition, ready }));
        rendering.next = Some(Instant::now() + (started.elapsed() * SPACING).min(MAX_WAIT));
    }

    /// Whether publishing now makes the daemon ready for the first time.
    fn becomes_ready(&self, rendering: &Rendering) -> bool {
        !self.served.load().ready && self.current().tenants.keys().all(|name| rendering.tried.contains(name))
    }
}

impl Current {
    /// Takes the changed tenant that follows `last` by name, in a circle, so that each has its turn.
    fn take_changed(&mut self, last: Option<&Arc<str>>) -> Option<Changed> {
        let after = last.and_then(|last| {
            let after = (Bound::Excluded(Arc::clone(last)), Bound::Unbounded);
            self.changed.range(after).next()
        });
        let name = Arc::clone(after.or_else(|| self.changed.first_key_value())?.0);
        let parts = self.changed.remove(&name)?;
        // It is configured: a reload replaces what changed together with the tenants.
        let state = Arc::clone(self.tenants.get(&name)?);
        Some(Changed { name, state, parts, metrics: Arc::clone(&self.metrics) })
    }
}

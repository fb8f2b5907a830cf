//! The status page's content: what is running, how much there is, what was used, what was closed,
//! and what is due.
//!
//! Made from the newest view alone, so it waits for nothing. `html` shows it to people, JSON to programs.

mod html;
mod usage;

pub use html::page;

use jiff::Timestamp;
use serde::Serialize;

use super::App;
use super::months;
use crate::api::ClockState;
use crate::period::{rfc3339, seconds_between};
use crate::snapshot::{Capacity, CatalogueData, Resource, Snapshot};
use crate::store::{Outlook, TenantState};
use usage::{Usage, usage};

/// The resource that is memory.
const MEMORY: &str = "memory_mib";

/// Everything on the page.
#[derive(Debug, Serialize)]
pub struct Status {
    pub version: &'static str,
    pub now: String,
    pub ready: bool,
    /// Whether reports are for whoever asks.
    pub reports_served: bool,
    pub tenants: Vec<Tenant>,
}

#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the JSON names what it is about")]
pub struct Tenant {
    pub tenant: String,
    /// None before the first run.
    pub up: Option<bool>,
    pub collectors: Vec<Collector>,
    /// The organisation first, then each cloud.
    pub capacity: Vec<Place>,
    pub month_to_date: Option<Usage>,
    /// Every revision, newest month first; none before the first look.
    pub closed_months: Option<Vec<months::Row>>,
    /// Closed months that cannot be read.
    pub report_problems: Vec<String>,
    /// Months past their settle time that are not closed; none before the first look.
    pub reports_due: Option<Vec<Due>>,
    pub next_report: Option<Next>,
    pub clock: Clock,
}

/// Comparison of the local clock with the API's clock.
#[derive(Debug, Serialize)]
pub struct Clock {
    /// `agrees`, `differs`, `unverified` (responses have no usable Date) or `unknown` (no response yet).
    pub state: &'static str,
    /// The local clock minus the API's clock, in seconds; `None` unless the clocks differ.
    pub ahead_seconds: Option<i64>,
}

impl Clock {
    fn of(state: ClockState) -> Self {
        let (state, ahead_seconds) = match state {
            ClockState::Agrees => ("agrees", None),
            ClockState::Differs { ahead_seconds } => ("differs", Some(ahead_seconds)),
            ClockState::Undated => ("unverified", None),
            ClockState::Unknown => ("unknown", None),
        };
        Self { state, ahead_seconds }
    }
}

#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the JSON names what it is about")]
pub struct Collector {
    pub collector: &'static str,
    /// `fine`, `failing` or `not run yet`.
    pub state: &'static str,
    pub last_success: Option<String>,
    pub age_seconds: Option<u64>,
    pub duration_seconds: f64,
    pub reason: Option<&'static str>,
    pub error: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct Place {
    /// None for the organisation.
    pub cloud_id: Option<String>,
    pub name: String,
    /// `None` if the number cannot be read.
    pub nodes: Option<u64>,
    pub resources: Vec<Bar>,
    /// VMs of each type that would fit, fragmentation ignored.
    pub headroom: Vec<(String, u64)>,
}

#[derive(Debug, Serialize)]
pub struct Bar {
    pub resource: String,
    /// Like the two figures below, `None` if the figure cannot be read.
    pub total: Option<u64>,
    pub in_use: Option<u64>,
    pub available: Option<u64>,
}

/// A month that waits for its report.
#[derive(Debug, Serialize)]
pub struct Due {
    pub month: String,
    /// Why the newest attempt failed; none where there was none.
    pub error: Option<String>,
}

/// The month that is due next.
#[derive(Debug, Serialize)]
pub struct Next {
    pub month: String,
    pub from: String,
}

/// The page's content now. `reports` is whether reports are for whoever asks.
pub fn status(app: &App, reports: bool) -> Status {
    let (view, now) = (app.store.view(), app.clock.now());
    let root = reports.then(|| app.paths.external_path());
    Status {
        version: env!("CARGO_PKG_VERSION"),
        now: rfc3339(now),
        ready: app.store.ready(),
        reports_served: reports,
        tenants: view.tenants.iter().map(|(name, state)| tenant(name, state, now, root)).collect(),
    }
}

/// The same as JSON.
pub fn json(app: &App, reports: bool) -> Vec<u8> {
    serde_json::to_vec(&status(app, reports)).unwrap_or_default()
}

fn tenant(name: &str, state: &TenantState, now: Timestamp, root: Option<&str>) -> Tenant {
    let snapshot = &state.snapshot;
    let known = snapshot.capacity.as_ref().map(|section| &*section.data);
    let outlook = state.outlook.as_deref();
    let closed = |listing: &crate::report::Listing| {
        let closed = listing.reports.iter().filter(|it| it.published.revision > 0);
        let rows = closed.map(|it| {
            let mut row = months::Row::of(name, it, root);
            if it.current {
                row.compare(outlook);
            }
            row
        });
        rows.collect()
    };
    let due = |outlook: &Outlook| {
        let due = outlook.due.iter();
        due.map(|(month, due)| Due { month: month.to_string(), error: due.error.clone() }).collect()
    };
    Tenant {
        tenant: name.to_owned(),
        up: state.up(),
        collectors: collectors(state, now),
        capacity: capacity(snapshot),
        month_to_date: snapshot.usage.as_ref().map(|section| usage(&section.data.current, known, now)),
        closed_months: state.reports.as_deref().map(closed),
        report_problems: problems(state),
        reports_due: outlook.map(due),
        next_report: outlook.map(|Outlook { next: (month, from), .. }| Next {
            month: month.to_string(),
            from: rfc3339(*from),
        }),
        clock: Clock::of(state.clock),
    }
}

/// What is wrong with the closed months.
fn problems(state: &TenantState) -> Vec<String> {
    let mut problems = state.reports.as_ref().map(|it| it.problems.clone()).unwrap_or_default();
    let Some(holes) = state.outlook.as_ref().and_then(|it| it.lost_ledger.as_ref()) else { return problems };
    problems.push(
        "The ledger is new although reports of earlier months exist: observations of the past are lost. Restore a backup of the ledger if there is one."
            .to_owned(),
    );
    problems.extend(holes.iter().map(|month| {
        format!("{month} has no report and was not closed before the ledger was lost. Close it with report --month {month}.")
    }));
    problems
}

fn collectors(state: &TenantState, now: Timestamp) -> Vec<Collector> {
    let collectors = state.collectors.iter().map(|(collector, run)| Collector {
        collector: collector.as_str(),
        state: match (&run.error, run.last_run) {
            (Some(_), _) => "failing",
            (None, Some(_)) => "fine",
            (None, None) => "not run yet",
        },
        last_success: run.last_success.map(rfc3339),
        age_seconds: run.last_success.map(|at| seconds_between(at.min(now), now)),
        duration_seconds: run.duration.as_secs_f64(),
        reason: run.error.as_ref().map(|(reason, _)| reason.as_str()),
        error: run.error.as_ref().map(|(_, text)| text.clone()),
    });
    collectors.collect()
}

fn capacity(snapshot: &Snapshot) -> Vec<Place> {
    let sizes = snapshot.catalogue.as_ref().map(|section| &*section.data);
    let Some(section) = &snapshot.capacity else { return Vec::new() };
    let mut places = vec![place(None, "All clouds", &section.data.total, None)];
    for row in &section.data.clouds {
        places.push(place(Some(&row.cloud.id), &row.cloud.name, &row.capacity, sizes));
    }
    places
}

fn place(id: Option<&str>, name: &str, capacity: &Capacity, sizes: Option<&CatalogueData>) -> Place {
    let bar = |resource: &str, of: Resource| Bar {
        resource: resource.to_owned(),
        total: of.total,
        in_use: of.in_use,
        available: of.available,
    };
    let mut resources = vec![bar("vcpus", capacity.vcpus), bar(MEMORY, capacity.memory_mib)];
    resources.extend(capacity.pci_devices.iter().map(|(class, of)| bar(class, *of)));
    let sizes = sizes.map(|catalogue| catalogue.instance_types.as_slice()).unwrap_or_default();
    let headroom = sizes.iter().filter_map(|size| Some((size.name.to_string(), capacity.fits(size)?)));
    Place {
        cloud_id: id.map(str::to_owned),
        name: name.to_owned(),
        nodes: capacity.nodes,
        resources,
        headroom: headroom.collect(),
    }
}

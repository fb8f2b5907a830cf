//! The status page's content: what is running, how much there is, what was used, and what is due.
//!
//! Made from the newest view alone, so it waits for nothing. `html` shows it to people, JSON to programs.

mod html;

pub use html::{escape, page};

use jiff::Timestamp;
use serde::Serialize;

use super::App;
use crate::period::{rfc3339, seconds_between};
use crate::snapshot::{Capacity, CatalogueData, Resource};
use crate::store::TenantState;
use crate::usage::{PeriodUsage, Totals, Use};

/// Most rows of one table of usage.
const MOST_ROWS: usize = 20;

/// The resource that is memory.
const MEMORY: &str = "memory_mib";

/// Everything on the page.
#[derive(Debug, Serialize)]
pub struct Status {
    pub version: &'static str,
    pub ready: bool,
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
    pub newest_closed_month: Option<Closed>,
    /// Months past their settle time that are not closed; none before the first look.
    pub reports_due: Option<i64>,
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
    pub nodes: u64,
    pub resources: Vec<Bar>,
    /// VMs of each type that would fit, fragmentation ignored.
    pub headroom: Vec<(String, u64)>,
}

#[derive(Debug, Serialize)]
pub struct Bar {
    pub resource: String,
    pub total: u64,
    pub in_use: u64,
    pub available: u64,
}

#[derive(Debug, Serialize)]
pub struct Usage {
    pub period_start: String,
    pub fetched_at: String,
    pub total: Row,
    pub groups: Vec<Row>,
    pub tags: Vec<Row>,
    pub untagged: Row,
    pub clouds: Vec<Row>,
    pub internal_cost: Option<String>,
    pub currency: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct Row {
    pub name: String,
    pub vms: u64,
    pub vm_hours: u64,
    pub vm_seconds: u64,
    pub stopped_seconds: u64,
    pub unobserved_seconds: u64,
}

#[derive(Debug, Serialize)]
pub struct Closed {
    pub month: String,
    pub revision: u32,
    pub vm_hours: u64,
    pub vm_seconds: u64,
}

/// The page's content now.
pub fn status(app: &App) -> Status {
    let (view, now) = (app.store.view(), app.clock.now());
    let tenants = view.tenants.iter().map(|(name, state)| {
        let due = app.self_metrics.reports_due(name);
        tenant(name, state, due, now)
    });
    Status { version: env!("CARGO_PKG_VERSION"), ready: app.store.ready(), tenants: tenants.collect() }
}

/// The same as JSON.
pub fn json(app: &App) -> Vec<u8> {
    serde_json::to_vec(&status(app)).unwrap_or_default()
}

fn tenant(name: &str, state: &TenantState, reports_due: Option<i64>, now: Timestamp) -> Tenant {
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
    let snapshot = &state.snapshot;
    let sizes = snapshot.catalogue.as_ref().map(|section| &*section.data);
    let mut capacity = Vec::new();
    if let Some(section) = &snapshot.capacity {
        capacity.push(place(None, "All clouds", &section.data.total, None));
        for row in &section.data.clouds {
            capacity.push(place(Some(&row.cloud.id), &row.cloud.name, &row.capacity, sizes));
        }
    }
    Tenant {
        tenant: name.to_owned(),
        up: state.up(),
        collectors: collectors.collect(),
        capacity,
        month_to_date: snapshot.usage.as_ref().map(|section| usage(&section.data.current)),
        newest_closed_month: state.closed.as_ref().map(|closed| Closed {
            month: closed.month.to_string(),
            revision: closed.revision,
            vm_hours: closed.reported_vm_hours,
            vm_seconds: closed.vm_seconds,
        }),
        reports_due,
    }
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

fn usage(of: &PeriodUsage) -> Usage {
    let groups = of.groups.iter().map(|(name, group)| row(name, &group.totals));
    let named = |rows: &std::collections::BTreeMap<crate::snapshot::Text, Totals>| {
        most(rows.iter().map(|(name, totals)| row(name, totals)))
    };
    Usage {
        period_start: rfc3339(of.period.start),
        fetched_at: rfc3339(of.fetched_at),
        total: row("all", &of.total),
        groups: most(groups),
        tags: named(&of.tags),
        untagged: row("(untagged)", &of.untagged),
        clouds: named(&of.clouds),
        internal_cost: of.internal_cost.map(|cost| cost.normalize().to_string()),
        currency: of.currency.as_ref().map(ToString::to_string),
    }
}

fn row(name: &str, totals: &Totals) -> Row {
    Row {
        name: name.to_owned(),
        vms: totals.vms,
        vm_hours: totals.vm_hours,
        vm_seconds: totals.seconds.total(),
        stopped_seconds: totals.seconds.get(Use::Stopped),
        unobserved_seconds: totals.seconds.get(Use::Unobserved),
    }
}

/// The rows with most seconds.
fn most(rows: impl Iterator<Item = Row>) -> Vec<Row> {
    let mut rows: Vec<Row> = rows.collect();
    rows.sort_by(|a, b| b.vm_seconds.cmp(&a.vm_seconds).then_with(|| a.name.cmp(&b.name)));
    rows.truncate(MOST_ROWS);
    rows
}

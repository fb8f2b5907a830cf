//! The month to date, as the status page shows it.

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::Serialize;

use crate::period::{rfc3339, seconds_between};
use crate::report::Money;
use crate::snapshot::CapacityData;
use crate::usage::{GroupKind, PeriodUsage, Totals, Use};

/// Most rows of one table.
const MOST_ROWS: usize = 20;

#[derive(Debug, Serialize)]
pub struct Usage {
    pub period_start: String,
    pub fetched_at: String,
    pub age_seconds: u64,
    pub total: Row,
    /// A partition.
    pub groups: Rows,
    /// Overlapping: a VM with two tags counts under both.
    pub tags: Rows,
    pub untagged: Row,
    /// A partition.
    pub clouds: Rows,
    pub currency: Option<String>,
    /// With prices: the hours that have none, so that a part of the cost never looks like the whole.
    pub unpriced_vm_hours: Option<u64>,
}

/// The rows with most seconds.
#[derive(Debug, Serialize)]
pub struct Rows {
    pub rows: Vec<Row>,
    /// How many more there are.
    pub omitted: usize,
}

#[derive(Debug, Serialize)]
pub struct Row {
    /// Of a group: the value of the label `group`.
    pub name: String,
    /// Of a group: its kind.
    pub group_kind: Option<GroupKind>,
    pub vms: u64,
    pub vm_hours: u64,
    pub vm_seconds: u64,
    /// Paid for while it only stood.
    pub stopped_seconds: u64,
    pub unobserved_seconds: u64,
    /// Of groups and of everything, with prices.
    pub internal_cost: Option<String>,
}

/// `capacity` knows the names of clouds.
pub fn usage(of: &PeriodUsage, capacity: Option<&CapacityData>, now: Timestamp) -> Usage {
    let named = |id: &str| {
        let cloud = capacity.and_then(|it| it.clouds.iter().find(|row| *row.cloud.id == *id));
        cloud.map_or_else(|| id.to_owned(), |row| row.cloud.name.to_string())
    };
    let mut clouds = most(of.clouds.iter().map(|(id, totals)| (&**id, None, totals, None)));
    for row in &mut clouds.rows {
        row.name = named(&row.name);
    }
    let groups = of
        .groups
        .iter()
        .map(|((name, kind), group)| (&**name, Some(*kind), &group.totals, group.internal_cost));
    Usage {
        period_start: rfc3339(of.period.start),
        fetched_at: rfc3339(of.fetched_at),
        age_seconds: seconds_between(of.fetched_at.min(now), now),
        total: row("all", &of.total, of.internal_cost),
        groups: most(groups),
        tags: most(of.tags.iter().map(|(name, totals)| (&**name, None, totals, None))),
        untagged: row("(no tags)", &of.untagged, None),
        clouds,
        currency: of.currency.as_ref().map(ToString::to_string),
        unpriced_vm_hours: of.currency.as_ref().map(|_| of.unpriced_hours),
    }
}

fn row(name: &str, totals: &Totals, cost: Option<Decimal>) -> Row {
    Row {
        name: name.to_owned(),
        group_kind: None,
        vms: totals.vms,
        vm_hours: totals.vm_hours,
        vm_seconds: totals.seconds.total(),
        stopped_seconds: totals.seconds.get(Use::Stopped),
        unobserved_seconds: totals.seconds.get(Use::Unobserved),
        internal_cost: cost.map(|cost| Money(cost).to_string()),
    }
}

fn most<'a>(all: impl Iterator<Item = (&'a str, Option<GroupKind>, &'a Totals, Option<Decimal>)>) -> Rows {
    let mut all: Vec<_> = all.collect();
    // A stable sort: rows with the same time stay in the order of their names.
    all.sort_by_key(|(_, _, totals, _)| std::cmp::Reverse(totals.seconds.total()));
    let omitted = all.len().saturating_sub(MOST_ROWS);
    all.truncate(MOST_ROWS);
    let rows =
        all.into_iter().map(|(name, group_kind, totals, cost)| Row { group_kind, ..row(name, totals, cost) });
    Rows { rows: rows.collect(), omitted }
}

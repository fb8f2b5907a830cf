//! `reports/monthly`: the usage of a period as the provider would report it.
//!
//! Rules from the API's documentation: half-open period, `vm_hours` rounded up for each VM, tags
//! overlap and untagged VMs are in none, counts of active VMs and statuses are of now.
//! Where it is silent: a VM is listed when it was created before the period's end and not released
//! before its start. One released in the first second is listed with no hours, so that every release
//! is counted in exactly one month. A period that has not begun lists nobody.

use std::collections::BTreeMap;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde::Serialize;
use uuid::Uuid;

use super::Rounding;
use super::answer::{Detail, Problem};
use super::timeline::Second;
use super::wire::time;
use super::world::{Vm, World};

const HOUR: Second = 3600;
/// Nobody knows the provider's limit; a leap year is ours.
const LONGEST: Second = 366 * 24 * HOUR;

#[derive(Serialize)]
pub(super) struct Report<'a> {
    period: PeriodOut,
    total_nodes: usize,
    total_active_vms: usize,
    clouds: Vec<CloudUsage<'a>>,
    by_tag: Vec<TagUsage<'a>>,
    vms: Vec<VmUsage<'a>>,
}

#[derive(Serialize)]
struct PeriodOut {
    start: String,
    end: String,
}

#[derive(Default)]
struct Totals {
    created: u64,
    released: u64,
    hours: u64,
    seconds: u64,
}

#[expect(clippy::struct_field_names, reason = "the API's names")]
#[derive(Serialize)]
struct Usage {
    total_vms_created: u64,
    total_vms_released: u64,
    total_vm_hours: u64,
}

#[derive(Serialize)]
struct CloudUsage<'a> {
    id: Uuid,
    site: &'a str,
    instance_type: &'a str,
    nodes: usize,
    active_vms: usize,
    period_usage: Usage,
}

#[derive(Serialize)]
struct TagUsage<'a> {
    tag: &'a str,
    active_vms: usize,
    #[serde(flatten)]
    usage: Usage,
}

#[derive(Serialize)]
struct VmUsage<'a> {
    vm_id: Uuid,
    name: &'a str,
    status: &'a str,
    plan: &'a str,
    image: &'a str,
    cloud_id: Uuid,
    site: &'a str,
    tags: &'a [String],
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    released_at: Option<String>,
    vm_hours: u64,
}

/// A period in seconds, `[start, end)`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub start: Second,
    pub end: Second,
}

/// The period that the query asks for, by default the calendar month of `now`.
///
/// 400 for one bound without the other, a bound that is no time, and an end not after the start;
/// 422 for more than a year.
pub(super) fn period(start: Option<&str>, end: Option<&str>, now: Second) -> Result<Span, Problem> {
    let bad = |property, message| Problem::new(400, "Invalid period", vec![Detail::new(property, message)]);
    let (start, end) = match (start, end) {
        (None, None) => return Ok(calendar_month(now)),
        (Some(start), Some(end)) => (start, end),
        (Some(_), None) => return Err(bad("end", "must be given together with start")),
        (None, Some(_)) => return Err(bad("start", "must be given together with end")),
    };
    let start = instant(start).ok_or_else(|| bad("start", "is not an ISO 8601 time"))?;
    let end = instant(end).ok_or_else(|| bad("end", "is not an ISO 8601 time"))?;
    if end <= start {
        return Err(bad("end", "must be later than start"));
    }
    if end - start > LONGEST {
        let detail = Detail::new("end", "the period is longer than 366 days");
        return Err(Problem::new(422, "Period too long", vec![detail]));
    }
    Ok(Span { start, end })
}

/// The month that holds `now`, from its first second to the first of the next.
pub(super) fn calendar_month(now: Second) -> Span {
    let at = Timestamp::from_second(now).unwrap_or(Timestamp::UNIX_EPOCH);
    let first = TimeZone::UTC.to_datetime(at).date().first_of_month();
    Span { start: midnight(first), end: midnight(first.saturating_add(1.month())) }
}

/// A time with its offset, or without one and then UTC, or a date's midnight.
fn instant(text: &str) -> Option<Second> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at.as_second());
    }
    if let Ok(date) = text.parse::<Date>()
        && text.len() == "2026-06-01".len()
    {
        return Some(midnight(date));
    }
    let at: DateTime = text.parse().ok()?;
    Some(TimeZone::UTC.to_timestamp(at).ok()?.as_second())
}

fn midnight(date: Date) -> Second {
    TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).unwrap_or(Timestamp::MAX).as_second()
}

impl Totals {
    fn add(&mut self, vm: &Vm, span: Span, now: Second) {
        let seconds = seconds_within(vm, span, now);
        self.created += u64::from((span.start..span.end).contains(&vm.created));
        self.released +=
            u64::from(vm.deleted.is_some_and(|at| at <= now && (span.start..span.end).contains(&at)));
        self.hours += hours(seconds);
        self.seconds += seconds;
    }

    fn out(&self, rounding: Rounding) -> Usage {
        Usage {
            total_vms_created: self.created,
            total_vms_released: self.released,
            total_vm_hours: match rounding {
                Rounding::SumOfCeils => self.hours,
                Rounding::CeilOfSum => hours(self.seconds),
            },
        }
    }
}

fn hours(seconds: u64) -> u64 {
    seconds.div_ceil(3600)
}

/// Seconds of a VM's life within the span, up to now.
fn seconds_within(vm: &Vm, span: Span, now: Second) -> u64 {
    let until = vm.deleted.map_or(now, |at| at.min(now)).min(span.end);
    u64::try_from(until - vm.created.max(span.start)).unwrap_or(0)
}

/// Whether the VM is part of the span's report.
fn belongs(vm: &Vm, span: Span, now: Second) -> bool {
    vm.created < span.end && span.start <= now && vm.deleted.is_none_or(|at| at >= span.start)
}

/// The report of a span at the world's time.
pub(super) fn report(world: &World, span: Span) -> Report<'_> {
    let now = world.now;
    let rounding = world.options.rounding;
    let (mut vms, mut clouds, mut tags) = (Vec::new(), Vec::new(), BTreeMap::<&str, Totals>::new());
    for (index, cloud) in world.clouds.iter().enumerate() {
        let mut totals = Totals::default();
        let before = vms.len();
        for (_, vm) in cloud.gone.iter().chain(&cloud.living) {
            let (status, vm) = (world.vm_status(*vm), &world.vms[*vm]);
            if !belongs(vm, span, now) {
                continue;
            }
            totals.add(vm, span, now);
            for tag in distinct(&vm.tags) {
                tags.entry(tag).or_default().add(vm, span, now);
            }
            vms.push(VmUsage {
                vm_id: vm.id,
                name: &vm.name,
                status: status.word(),
                plan: vm.size().name,
                image: vm.image().name,
                cloud_id: cloud.id,
                site: cloud.site,
                tags: &vm.tags,
                created_at: time(vm.created),
                released_at: vm.deleted.filter(|at| *at <= now).map(time),
                vm_hours: hours(seconds_within(vm, span, now)),
            });
        }
        let remembered = world.options.deleted_clouds_in_reports && vms.len() > before;
        if cloud.deleted.is_none() || remembered {
            clouds.push(CloudUsage {
                id: cloud.id,
                site: cloud.site,
                instance_type: cloud.hardware().name,
                nodes: world.nodes_of(index).count(),
                active_vms: cloud.living.len(),
                period_usage: totals.out(rounding),
            });
        }
    }
    let active = active_by_tag(world);
    let by_tag = tags
        .iter()
        .map(|(tag, totals)| TagUsage {
            tag,
            active_vms: active.get(tag).copied().unwrap_or(0),
            usage: totals.out(rounding),
        })
        .collect();
    Report {
        period: PeriodOut { start: time(span.start), end: time(span.end) },
        total_nodes: (0..world.clouds.len()).map(|cloud| world.nodes_of(cloud).count()).sum(),
        total_active_vms: world.clouds.iter().map(|cloud| cloud.living.len()).sum(),
        clouds,
        by_tag,
        vms,
    }
}

fn active_by_tag(world: &World) -> BTreeMap<&str, usize> {
    let mut active = BTreeMap::new();
    for (_, vm) in world.clouds.iter().flat_map(|cloud| &cloud.living) {
        for tag in distinct(&world.vms[*vm].tags) {
            *active.entry(tag).or_default() += 1;
        }
    }
    active
}

/// A VM's tags, each once.
fn distinct(tags: &[String]) -> impl Iterator<Item = &str> {
    tags.iter().enumerate().filter(|(at, tag)| !tags[..*at].contains(tag)).map(|(_, tag)| tag.as_str())
}

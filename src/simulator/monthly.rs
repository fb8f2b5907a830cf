//! The monthly usage report, computed as the API's documentation says.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::Rounding;
use super::answer::Answer;
use super::timeline::Second;
use super::wire::time;
use super::world::World;
use crate::period::Month;

#[derive(Serialize)]
struct Report<'a> {
    period: Period,
    total_nodes: usize,
    total_active_vms: usize,
    clouds: Vec<Cloud<'a>>,
    by_tag: Vec<Tag<'a>>,
    vms: Vec<Vm<'a>>,
}

#[derive(Serialize)]
struct Period {
    start: String,
    end: String,
}

#[derive(Serialize)]
struct Cloud<'a> {
    id: Uuid,
    site: &'a str,
    instance_type: &'a str,
    nodes: usize,
    active_vms: usize,
    period_usage: Usage,
}

#[derive(Serialize)]
struct Tag<'a> {
    tag: &'a str,
    active_vms: usize,
    #[serde(flatten)]
    usage: Usage,
}

#[derive(Clone, Copy, Default, Serialize)]
struct Usage {
    total_vms_created: u64,
    total_vms_released: u64,
    total_vm_hours: u64,
    #[serde(skip)]
    seconds: u64,
}

#[derive(Serialize)]
struct Vm<'a> {
    vm_id: Uuid,
    name: &'a str,
    status: &'a str,
    plan: &'a str,
    image: &'a str,
    cloud_id: Uuid,
    site: &'a str,
    tags: &'a [String],
    created_at: String,
    released_at: Option<String>,
    vm_hours: u64,
}

impl Usage {
    fn add(&mut self, created: bool, released: bool, seconds: u64) {
        self.total_vms_created += u64::from(created);
        self.total_vms_released += u64::from(released);
        self.total_vm_hours += seconds.div_ceil(3600);
        self.seconds += seconds;
    }

    fn rounded(mut self, rounding: Rounding) -> Self {
        if rounding == Rounding::CeilOfSum {
            self.total_vm_hours = self.seconds.div_ceil(3600);
        }
        self
    }
}

impl World {
    /// The report for `[start, end)`: both or neither, which is the running month.
    pub(super) fn monthly(&self, start: Option<&str>, end: Option<&str>) -> Answer {
        let (start, end) = match (start, end) {
            (None, None) => {
                let now = Timestamp::from_second(self.now).unwrap_or(Timestamp::UNIX_EPOCH);
                let period = Month::of(now).period();
                (period.start.as_second(), period.end.as_second())
            }
            (Some(start), Some(end)) => match (instant(start), instant(end)) {
                (Some(start), Some(end)) if start < end => (start, end),
                _ => return Answer::bad_request("The period is invalid"),
            },
            _ => return Answer::bad_request("start and end must be provided together"),
        };
        Answer::json(200, &self.report(start, end))
    }

    fn report(&self, start: Second, end: Second) -> Report<'_> {
        let mut by_cloud = vec![Usage::default(); self.clouds.len()];
        let mut by_tag: BTreeMap<&str, (usize, Usage)> = BTreeMap::new();
        let mut vms = Vec::new();
        for (index, vm) in self.vms.iter().enumerate() {
            let released = vm.deleted.filter(|at| *at <= self.now);
            if vm.created >= end || released.is_some_and(|at| at <= start) {
                continue;
            }
            let used = released.unwrap_or(self.now).min(end) - vm.created.max(start);
            let seconds = u64::try_from(used).unwrap_or(0);
            let created = (start..end).contains(&vm.created);
            let ended = released.is_some_and(|at| (start..end).contains(&at));
            by_cloud[vm.cloud].add(created, ended, seconds);
            for tag in &vm.tags {
                let (active, usage) = by_tag.entry(tag).or_default();
                *active += usize::from(released.is_none());
                usage.add(created, ended, seconds);
            }
            let cloud = &self.clouds[vm.cloud];
            vms.push(Vm {
                vm_id: vm.id,
                name: &vm.name,
                status: self.vm_status(index).word(),
                plan: vm.size().name,
                image: vm.image().name,
                cloud_id: cloud.id,
                site: cloud.site,
                tags: &vm.tags,
                created_at: time(vm.created),
                released_at: released.map(time),
                vm_hours: seconds.div_ceil(3600),
            });
        }
        let rounding = self.options.rounding;
        // A cloud that is gone has no row, although its VMs are listed: nothing says that it keeps one.
        let living = self.living_clouds();
        let clouds = living.iter().map(|index| {
            let cloud = &self.clouds[*index];
            Cloud {
                id: cloud.id,
                site: cloud.site,
                instance_type: cloud.hardware().name,
                nodes: self.nodes_of(*index).count(),
                active_vms: cloud.living.len(),
                period_usage: by_cloud[*index].rounded(rounding),
            }
        });
        Report {
            period: Period { start: time(start), end: time(end) },
            total_nodes: living.iter().map(|cloud| self.nodes_of(*cloud).count()).sum(),
            total_active_vms: living.iter().map(|cloud| self.clouds[*cloud].living.len()).sum(),
            clouds: clouds.collect(),
            by_tag: by_tag
                .into_iter()
                .map(|(tag, (active_vms, usage))| Tag { tag, active_vms, usage: usage.rounded(rounding) })
                .collect(),
            vms,
        }
    }
}

/// An instant of ISO 8601 in UTC; a date alone is its midnight.
fn instant(text: &str) -> Option<Second> {
    let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    whole.parse::<Timestamp>().ok().map(Timestamp::as_second)
}

//! What our own polls say about the provider's report: how well the month was watched, and where
//! the two disagree about which VMs there were and when they went. Pure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::observe::{Observations, Seen};
use crate::period::{Period, seconds_between};
use crate::snapshot::{MonthlyReport, ReportVm, Text};
use crate::usage::{self, Use};

/// How far our clock and the provider's may be apart before their times are said to differ.
const TOLERANCE_SECONDS: i64 = 120;

/// Polls that must have observed a VM in use before a response without it is incomplete.
const MIN_POLLS_IN_USE: usize = 2;

/// What our polls say about a month. Times are in the order of our clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Complete polls within the month.
    pub polls: u64,
    /// The first of them.
    pub first_poll: Option<Timestamp>,
    /// The last of them.
    pub last_poll: Option<Timestamp>,
    /// Longest time within the month without a poll, with the time before the first and after the
    /// last, in seconds.
    pub longest_gap_seconds: u64,
    /// VMs that at least two polls observed running or stopped in the month and that the provider's
    /// response lacks, by id. A month with such VMs is incomplete.
    pub only_observed: Vec<Text>,
    /// Other VMs that polls observed in the month and that the response lacks, by id: they were only
    /// provisioning, created, failed or deleting, or a single poll observed them in use.
    #[serde(default)]
    pub only_observed_other: Vec<Text>,
    /// VMs that the provider says were created later than polls first observed them, by id.
    #[serde(default)]
    pub creations_differ: Vec<Text>,
    /// VMs whose release the provider dates differently than our polls allow, by id.
    pub releases_differ: Vec<ReleaseDiffers>,
}

/// A VM whose end our polls saw at another time than the provider says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseDiffers {
    /// The VM.
    pub vm_id: Text,
    /// The provider's word; `None` if it says that the VM lived on.
    pub released_at: Option<Timestamp>,
    /// The last poll that saw it.
    pub last_seen: Timestamp,
    /// The first poll that found it gone, if one did within the month.
    pub gone_at: Option<Timestamp>,
}

/// When our polls saw a VM last, and when it was found gone.
struct Sighting {
    last_seen: Timestamp,
    gone_at: Option<Timestamp>,
}

impl Account {
    /// Compares what polls saw in the report's period, up to the time of the fetch, with the report.
    #[must_use]
    pub fn of(observations: &Observations, report: &MonthlyReport, fetched_at: Timestamp) -> Self {
        let period = report.period;
        let watched = Period { start: period.start, end: period.end.min(fetched_at).max(period.start) };
        let polls = &observations.polls;
        let within = &polls
            [polls.partition_point(|at| *at < watched.start)..polls.partition_point(|at| *at < watched.end)];
        let vms = usage::by_id(report);
        let (mut only_observed, mut only_observed_other) = (Vec::new(), Vec::new());
        let (mut creations_differ, mut releases_differ) = (Vec::new(), Vec::new());
        for (vm_id, history) in &observations.histories {
            let Some(sighting) = sighting(history, polls, watched) else { continue };
            match vms.binary_search_by(|vm| vm.id.cmp(vm_id)).map(|at| vms[at]) {
                Err(_) if in_use_polls(history, within, watched) >= MIN_POLLS_IN_USE => {
                    only_observed.push(vm_id.clone());
                }
                Err(_) => only_observed_other.push(vm_id.clone()),
                Ok(vm) => {
                    if created_later(vm, history, watched) {
                        creations_differ.push(vm_id.clone());
                    }
                    if differs(vm, &sighting, watched) {
                        releases_differ.push(ReleaseDiffers {
                            vm_id: vm_id.clone(),
                            released_at: vm.released_at,
                            last_seen: sighting.last_seen,
                            gone_at: sighting.gone_at,
                        });
                    }
                }
            }
        }
        only_observed.sort();
        only_observed_other.sort();
        creations_differ.sort();
        releases_differ.sort_by(|a, b| a.vm_id.cmp(&b.vm_id));
        let borders = std::iter::once(watched.start).chain(within.iter().copied()).chain([watched.end]);
        let borders: Vec<Timestamp> = borders.collect();
        let gaps = borders.windows(2).map(|pair| seconds_between(pair[0], pair[1]));
        Self {
            polls: within.len() as u64,
            first_poll: within.first().copied(),
            last_poll: within.last().copied(),
            longest_gap_seconds: gaps.max().unwrap_or_default(),
            only_observed,
            only_observed_other,
            creations_differ,
            releases_differ,
        }
    }
}

impl Account {
    /// The same observations, compared with another response about the same month: for a month whose
    /// events are gone from the ledger. Where a response lacks a VM whose times differed before, the
    /// caller decides: see [`Account::add_observed_in_use`].
    #[must_use]
    pub fn against(&self, report: &MonthlyReport) -> Self {
        let vms = usage::by_id(report);
        let find = |id: &Text| vms.binary_search_by(|vm| vm.id.cmp(id)).ok().map(|at| vms[at]);
        let missing = |ids: &[Text]| ids.iter().filter(|id| find(id).is_none()).cloned().collect();
        let still_differs = |it: &&ReleaseDiffers| {
            let sighting = Sighting { last_seen: it.last_seen, gone_at: it.gone_at };
            find(&it.vm_id).is_some_and(|vm| differs(vm, &sighting, report.period))
        };
        Self {
            only_observed: missing(&self.only_observed),
            only_observed_other: missing(&self.only_observed_other),
            creations_differ: self.creations_differ.iter().filter(|id| find(id).is_some()).cloned().collect(),
            releases_differ: self.releases_differ.iter().filter(still_differs).cloned().collect(),
            ..self.clone()
        }
    }

    /// Adds VMs that the previous revision observed in use to those that the response lacks.
    pub fn add_observed_in_use<'a>(
        &mut self,
        in_use: impl Iterator<Item = &'a Text>,
        report: &MonthlyReport,
    ) {
        let vms = usage::by_id(report);
        let missing = in_use.filter(|id| vms.binary_search_by(|vm| vm.id.cmp(id)).is_err());
        self.only_observed.extend(missing.cloned());
        self.only_observed.sort();
        self.only_observed.dedup();
        let Self { only_observed, only_observed_other, .. } = self;
        only_observed_other.retain(|id| only_observed.binary_search(id).is_err());
    }
}

/// Number of polls that observed the VM running or stopped, more than [`TOLERANCE_SECONDS`] inside
/// `watched`, counted up to [`MIN_POLLS_IN_USE`]. `polls` are those within `watched`.
fn in_use_polls(history: &[(Timestamp, Seen)], polls: &[Timestamp], watched: Period) -> usize {
    let inside = polls.partition_point(|at| !later(*at, watched.start));
    let polls = &polls[inside..];
    let polls = &polls[..polls.partition_point(|at| later(watched.end, *at))];
    let mut count = 0;
    for (index, (from, seen)) in history.iter().enumerate() {
        if !matches!(seen, Seen::As(Use::Running | Use::Stopped)) {
            continue;
        }
        let before = |at: Timestamp| polls.partition_point(|poll| *poll < at);
        let until = history.get(index + 1).map_or(polls.len(), |(at, _)| before(*at));
        count += until - before(*from);
        if count >= MIN_POLLS_IN_USE {
            break;
        }
    }
    count
}

/// Whether a poll observed the VM before the provider says that it was created.
fn created_later(vm: &ReportVm, history: &[(Timestamp, Seen)], watched: Period) -> bool {
    history.first().is_some_and(|(first, _)| later(vm.created_at, (*first).max(watched.start)))
}

/// The end of a VM's history, if a poll well within the month saw it.
fn sighting(history: &[(Timestamp, Seen)], polls: &[Timestamp], watched: Period) -> Option<Sighting> {
    let before = |at: Timestamp| polls[..polls.partition_point(|poll| *poll < at)].last().copied();
    let (first, _) = history.first()?;
    let (at, last) = history.last()?;
    let (last_seen, gone_at) = match last {
        Seen::Gone => (before(*at)?, Some(*at)),
        // From here on nothing was learned of it.
        Seen::Unknown => (before(*at)?, None),
        Seen::As(_) => (before(watched.end).unwrap_or(*at).max(*at), None),
    };
    let inside = later(last_seen, watched.start) && later(watched.end, *first);
    inside.then_some(Sighting { last_seen, gone_at })
}

fn differs(vm: &ReportVm, sighting: &Sighting, watched: Period) -> bool {
    match vm.released_at {
        Some(released) => {
            let seen_afterwards = later(sighting.last_seen, released);
            let gone_before = sighting.gone_at.is_some_and(|gone| later(released.min(watched.end), gone));
            seen_afterwards || gone_before
        }
        None => sighting.gone_at.is_some_and(|gone| later(watched.end, gone)),
    }
}

/// Whether `a` is after `b` by more than clocks may differ.
fn later(a: Timestamp, b: Timestamp) -> bool {
    a.as_second() - b.as_second() > TOLERANCE_SECONDS
}

#[cfg(test)]
mod tests;

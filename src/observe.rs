//! What our own polls prove about a VM's time. Pure: state + observation + time → events, and
//! events + time → seconds.
//!
//! Comes from `snapshot::InventoryData`, poll by poll; `ledger` keeps the events and reads them back;
//! the seconds go to `usage` as its [`Witness`].
//!
//! Between two complete polls that are close enough together, a VM's time counts under the status
//! seen at the first. Every instant of the wall clock is counted at most once, whatever the clock
//! does: a poll that is not later than the one before it proves nothing and is not recorded.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::Timestamp;

use crate::period::{Period, seconds_between, whole};
use crate::snapshot::{InventoryData, Text, Vm, VmSize, VmStatus};
use crate::usage::{Use, UseSeconds, Witness};

/// What a complete poll says about a VM.
#[derive(Clone, Copy, Debug)]
enum Sight<'a> {
    /// It was in a list.
    Listed(&'a VmStatus),
    /// It was in no list, but answered when asked for by id.
    ById(&'a VmStatus),
    /// It was in no list, and asking for it failed: it may be anything.
    Unknown,
}

/// What changed for a VM from one recorded poll to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Seen for the first time, or again after it was gone.
    Seen,
    /// Listed with another status.
    Status,
    /// Found by id with another status.
    ById,
    /// Nothing was learned of it; until it is seen again its time is unobserved.
    Lost,
    /// It is gone.
    Gone,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Seen, Self::Status, Self::ById, Self::Lost, Self::Gone];

    /// Its word in the ledger.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Status => "status",
            Self::ById => "by_id",
            Self::Lost => "lost",
            Self::Gone => "gone",
        }
    }
}

/// An event of one VM. [`Kind::Lost`] and [`Kind::Gone`] keep the status that was seen last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The VM.
    pub vm_id: Text,
    /// Its cloud.
    pub cloud_id: Text,
    /// What happened.
    pub kind: Kind,
    /// The status from now on.
    pub status: VmStatus,
}

/// A VM that is not gone, as the newest recorded poll left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its cloud.
    pub cloud_id: Text,
    /// The status seen last.
    pub status: VmStatus,
    /// Time of the first poll that saw this status.
    pub since: Timestamp,
    /// Whether the newest poll learned nothing of it.
    pub lost: bool,
    /// The instance type and the size of its latest row that stated one.
    pub size: Option<(Text, VmSize)>,
}

/// What the polls recorded so far have left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Time of the newest recorded poll.
    pub last: Option<Timestamp>,
    /// VMs that are not gone, by id.
    pub vms: BTreeMap<Text, Known>,
}

/// A poll that is worth recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its time, in whole seconds.
    pub at: Timestamp,
    /// The recorded poll before it.
    pub previous: Option<Timestamp>,
    /// The same, if no more than the longest gap lies between.
    pub observed_from: Option<Timestamp>,
    /// What changed, by VM id.
    pub events: Vec<Event>,
    /// Sizes in the rows of VMs that are new or have changed, by VM id.
    pub sizes: Vec<SizeSeen>,
}

/// The size that a VM's own row states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SizeSeen {
    /// The VM.
    pub vm_id: Text,
    /// The instance type that the row names.
    pub instance_type: Text,
    /// The size that the row states.
    pub size: VmSize,
}

/// A poll that is not later than the newest recorded one: the clock was set back, or stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the poll at {at} is not later than the recorded one at {last}")]
pub struct NotLater {
    /// The poll's time.
    pub at: Timestamp,
    /// The newest recorded one.
    pub last: Timestamp,
}

impl State {
    /// What a complete poll at `at` adds; `longest_gap` is the longest time between two polls that
    /// still proves what was between. Changes nothing: see [`State::apply`].
    pub fn step(&self, at: Timestamp, longest_gap: Duration, data: &InventoryData) -> Result<Step, NotLater> {
        let at = whole(at);
        if let Some(last) = self.last
            && at <= last
        {
            return Err(NotLater { at, last });
        }
        let (mut events, mut sizes) = (Vec::new(), Vec::new());
        // Both are in the order of ids, so one walk over both finds what came, stayed and went.
        let mut known = self.vms.iter().peekable();
        for vm in &*data.vms {
            while let Some((id, absent)) = known.next_if(|(id, _)| **id < vm.id) {
                events.extend(data.absent(id, absent));
            }
            let before = known.next_if(|(id, _)| **id == vm.id).map(|(_, known)| known);
            sizes.extend(size_change(before, vm));
            if let Some(kind) = change(before, data.sight(vm)) {
                let seen = before.filter(|_| kind == Kind::Lost).map_or(&vm.status, |before| &before.status);
                events.push(event(&vm.id, &vm.cloud_id, kind, seen));
            }
        }
        events.extend(known.filter_map(|(id, absent)| data.absent(id, absent)));
        let observed_from =
            self.last.filter(|last| u128::from(seconds_between(*last, at)) * 1000 <= longest_gap.as_millis());
        Ok(Step { at, previous: self.last, observed_from, events, sizes })
    }

    /// Takes over a step that has been recorded.
    pub fn apply(&mut self, step: &Step) {
        self.last = Some(step.at);
        for Event { vm_id, cloud_id, kind, status } in &step.events {
            match kind {
                Kind::Gone => {
                    self.vms.remove(vm_id);
                }
                Kind::Lost => {
                    if let Some(known) = self.vms.get_mut(vm_id) {
                        known.lost = true;
                    }
                }
                Kind::Seen | Kind::Status | Kind::ById => {
                    // One that was lost and is found as it was has had its status all along.
                    let before = self.vms.get(vm_id).filter(|known| known.status == *status);
                    let since = before.map_or(step.at, |known| known.since);
                    let (cloud_id, status) = (cloud_id.clone(), status.clone());
                    let size = self.vms.get_mut(vm_id).and_then(|known| known.size.take());
                    self.vms.insert(vm_id.clone(), Known { cloud_id, status, since, lost: false, size });
                }
            }
        }
        for SizeSeen { vm_id, instance_type, size } in &step.sizes {
            if let Some(known) = self.vms.get_mut(vm_id) {
                known.size = Some((instance_type.clone(), *size));
            }
        }
    }
}

fn event(vm_id: &Text, cloud_id: &Text, kind: Kind, status: &VmStatus) -> Event {
    Event { vm_id: vm_id.clone(), cloud_id: cloud_id.clone(), kind, status: status.clone() }
}

/// The size in a VM's row, if it differs from the latest that is known.
fn size_change(before: Option<&Known>, vm: &Vm) -> Option<SizeSeen> {
    let size = vm.size?;
    let known = before.and_then(|known| known.size.as_ref());
    let is_known = known.is_some_and(|(name, of)| *of == size && *name == vm.instance_type);
    (!is_known).then(|| SizeSeen { vm_id: vm.id.clone(), instance_type: vm.instance_type.clone(), size })
}

/// What a sight says that was not known.
fn change(before: Option<&Known>, sight: Sight<'_>) -> Option<Kind> {
    match (before, sight) {
        // Nothing was recorded of it and nothing is learned now.
        (None, Sight::Unknown) => None,
        (None, _) => Some(Kind::Seen),
        (Some(known), Sight::Unknown) => (!known.lost).then_some(Kind::Lost),
        (Some(known), Sight::Listed(status) | Sight::ById(status))
            if !known.lost && known.status == *status =>
        {
            None
        }
        (Some(_), Sight::Listed(_)) => Some(Kind::Status),
        (Some(_), Sight::ById(_)) => Some(Kind::ById),
    }
}

impl InventoryData {
    /// What the poll says of a VM that is not one of its own: it is gone, unless it could not be asked for.
    fn absent(&self, id: &Text, known: &Known) -> Option<Event> {
        let kind = match self.unresolved.binary_search(id) {
            Ok(_) if known.lost => return None,
            Ok(_) => Kind::Lost,
            Err(_) => Kind::Gone,
        };
        Some(event(id, &known.cloud_id, kind, &known.status))
    }

    /// How the poll came to know `vm`, which is one of its own.
    fn sight<'a>(&self, vm: &'a Vm) -> Sight<'a> {
        if self.unresolved.binary_search(&vm.id).is_ok() {
            Sight::Unknown
        } else if self.by_id.binary_search(&vm.id).is_ok() {
            Sight::ById(&vm.status)
        } else {
            Sight::Listed(&vm.status)
        }
    }
}

/// The times that were observed: stretches between polls that are close enough together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// From, until and the seconds in all stretches before, in seconds since 1970; in order, apart.
    stretches: Vec<(i64, i64, u64)>,
}

impl Coverage {
    /// Adds the time between two polls; `from` must not be before the end of what was added last.
    pub fn add(&mut self, from: Timestamp, until: Timestamp) {
        let (from, until) = (from.as_second(), until.as_second());
        if until <= from {
            return;
        }
        match self.stretches.last_mut() {
            Some((_, end, _)) if *end >= from => *end = until.max(*end),
            Some((start, end, before)) => {
                let before = *before + end.abs_diff(*start);
                self.stretches.push((from, until, before));
            }
            None => self.stretches.push((from, until, 0)),
        }
    }

    /// Observed seconds within `period`.
    #[must_use]
    pub fn within(&self, period: Period) -> u64 {
        let (from, until) = (period.start.as_second(), period.end.as_second());
        self.before(until).saturating_sub(self.before(from))
    }

    /// Observed seconds before `at`.
    fn before(&self, at: i64) -> u64 {
        match self.stretches.partition_point(|(from, ..)| *from < at).checked_sub(1) {
            None => 0,
            Some(newest) => {
                let (from, until, before) = self.stretches[newest];
                before + at.min(until).abs_diff(from)
            }
        }
    }
}

/// A VM's events in the order of time.
pub type History = Vec<(Timestamp, Seen)>;

/// What an event says of a VM from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is used so.
    As(Use),
    /// Nothing was learned of it.
    Unknown,
    /// It is gone.
    Gone,
}

/// What the recorded polls prove of every VM: the [`Witness`] of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observations {
    /// The recorded polls, in the order of time.
    pub polls: Vec<Timestamp>,
    /// What is observed between them.
    pub coverage: Coverage,
    /// The events of every VM that was ever seen, by id.
    pub histories: HashMap<Text, History>,
}

impl Observations {
    /// Adds a poll, which comes after those before, and the time it proves.
    pub fn add_poll(&mut self, at: Timestamp, observed_from: Option<Timestamp>) {
        self.polls.push(at);
        if let Some(from) = observed_from {
            self.coverage.add(from, at);
        }
    }

    /// Adds an event; those of a VM come in the order of time.
    pub fn add(&mut self, vm_id: Text, at: Timestamp, kind: Kind, status: &VmStatus) {
        let now = match kind {
            Kind::Seen | Kind::Status | Kind::ById => Seen::As(Use::of(status)),
            Kind::Lost => Seen::Unknown,
            Kind::Gone => Seen::Gone,
        };
        self.histories.entry(vm_id).or_default().push((at, now));
    }
}

impl Witness for Observations {
    fn observed(&self, vm_id: &str, life: Period) -> Option<UseSeconds> {
        let history = self.histories.get(vm_id)?;
        let mut seconds = UseSeconds::default();
        for (index, (from, used)) in history.iter().enumerate() {
            let Seen::As(used) = used else { continue };
            let until = history.get(index + 1).map_or(life.end, |(at, _)| *at);
            let (start, end) = ((*from).max(life.start), until.min(life.end));
            if start < end {
                seconds.add(*used, self.coverage.within(Period { start, end }));
            }
        }
        Some(seconds)
    }
}

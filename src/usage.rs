//! What a month's report means: per-VM lines and the sums made from them. Pure.
//!
//! Comes from `snapshot::MonthlyReport` (the provider's words) and what our own polls saw; goes to
//! `exposition` (month to date) and to `report` (closed months).

mod groups;
mod lines;
mod look_alikes;
mod rows;
mod sums;

pub use groups::{CELLS, Group, GroupKind, Grouping, NO_VALUE, cell_text};
pub use lines::{CheckError, Flag, Flags, HOUR_NANOSECONDS, Line, NoWitness, Witness, check, life, lines};
pub use look_alikes::LookAlikes;
pub use rows::{Conflict, Counted, by_id};
pub use sums::{STOPPED_COST_DECIMALS, add_cost};

use std::collections::BTreeMap;

use jiff::Timestamp;
use rust_decimal::Decimal;

use crate::period::Period;
use crate::snapshot::{ProviderTotals, Text, VmStatus};

/// What a VM's time was used for, as far as polls can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Use {
    /// Running.
    Running,
    /// Stopping, stopped or paused: paid for while it stood.
    Stopped,
    /// Failed.
    Failed,
    /// Provisioning, created, starting, deleting, or a status that nobody documented.
    Other,
    /// No poll can tell.
    Unobserved,
}

impl Use {
    /// Every use, in the order of the report's columns.
    pub const ALL: [Self; 5] = [Self::Running, Self::Stopped, Self::Failed, Self::Other, Self::Unobserved];

    /// The value of the label `use` and the stem of the column `…_seconds`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Other => "other",
            Self::Unobserved => "unobserved",
        }
    }

    /// The use that time spent in `status` counts under.
    #[must_use]
    pub fn of(status: &VmStatus) -> Self {
        match status {
            VmStatus::Running => Self::Running,
            VmStatus::Stopping | VmStatus::Stopped | VmStatus::Paused => Self::Stopped,
            VmStatus::Failed => Self::Failed,
            _ => Self::Other,
        }
    }
}

/// Whole seconds by use: a partition of a time, so [`UseSeconds::total`] is that time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UseSeconds([u64; 5]);

impl UseSeconds {
    /// The seconds that count under `of`.
    #[must_use]
    pub fn get(&self, of: Use) -> u64 {
        self.0[of as usize]
    }

    /// Adds `seconds` under `to`.
    pub fn add(&mut self, to: Use, seconds: u64) {
        self.0[to as usize] += seconds;
    }

    /// All seconds.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl std::ops::AddAssign for UseSeconds {
    fn add_assign(&mut self, other: Self) {
        for (sum, part) in self.0.iter_mut().zip(other.0) {
            *sum += part;
        }
    }
}

/// Sums over a set of VMs in a period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// VMs in the set.
    pub vms: u64,
    /// Of these, created within the period.
    pub vms_created: u64,
    /// Of these, released within the period.
    pub vms_released: u64,
    /// Of these, alive at the end of the period (or at the time of the fetch, if that is earlier).
    pub vms_at_end: u64,
    /// The provider's whole hours, summed.
    pub vm_hours: u64,
    /// Exact seconds by use.
    pub seconds: UseSeconds,
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.vms += other.vms;
        self.vms_created += other.vms_created;
        self.vms_released += other.vms_released;
        self.vms_at_end += other.vms_at_end;
        self.vm_hours += other.vm_hours;
        self.seconds += other.seconds;
    }
}

/// A group's sums and, with prices, its internal cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupTotals {
    /// The sums.
    pub totals: Totals,
    /// Unit price × provider's hours, summed, exact; `None` without a price for any of its VMs.
    pub internal_cost: Option<Decimal>,
}

/// A month's usage in sums: what gauges and pages show.
#[derive(Clone, Debug)]
pub struct PeriodUsage {
    /// The period that the provider reported on.
    pub period: Period,
    /// The provider's hours of VMs without a price; all of them without prices.
    pub unpriced_hours: u64,
    /// When the report was fetched; for a month that has not ended, usage is counted up to here.
    pub fetched_at: Timestamp,
    /// Nodes across all clouds when fetched, in the provider's words.
    pub total_nodes: u64,
    /// VMs not deleted when fetched, in the provider's words.
    pub total_active_vms: u64,
    /// The provider's own totals by cloud id, with its `active_vms`.
    pub provider_clouds: BTreeMap<Text, (u64, ProviderTotals)>,
    /// The provider's own totals by raw tag.
    pub provider_tags: BTreeMap<Text, ProviderTotals>,
    /// Everything.
    pub total: Totals,
    /// By cloud id: a partition.
    pub clouds: BTreeMap<Text, Totals>,
    /// By raw tag: overlapping, a VM with two tags counts under both.
    pub tags: BTreeMap<Text, Totals>,
    /// VMs without tags.
    pub untagged: Totals,
    /// By the labels `group` and `group_kind`: a partition.
    pub groups: BTreeMap<(Text, GroupKind), GroupTotals>,
    /// By instance type: a partition.
    pub instance_types: BTreeMap<Text, Totals>,
    /// Internal cost over all VMs with a price; `None` without a price list.
    pub internal_cost: Option<Decimal>,
    /// ISO 4217 code of the price list, if there is one.
    pub currency: Option<Text>,
}

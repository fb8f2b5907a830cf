//! What every row of a report measures: numbers of VMs, hours, seconds by use, and sizes × time.

use std::collections::HashMap;

use super::ReportError;
use super::table::Table;
use crate::snapshot::InstanceType;
use crate::usage::{Totals, Use, UseSeconds};

/// Hundredths of an hour are `seconds / 36`.
const SECONDS: u64 = 36;

/// And GiB from MiB.
const MIB_SECONDS: u64 = SECONDS * 1024;

/// Columns of [`Measures::write`].
pub const MEASURES: [&str; 14] = [
    "vms",
    "vms_created",
    "vms_released",
    "vms_at_end",
    "vm_hours",
    "vm_seconds",
    "running_seconds",
    "stopped_seconds",
    "failed_seconds",
    "other_seconds",
    "unobserved_seconds",
    "vcpu_hours",
    "memory_gib_hours",
    "gpu_hours",
];

/// Columns of [`write_seconds`].
pub const SECONDS_COLUMNS: [&str; 6] = [
    "vm_seconds",
    "running_seconds",
    "stopped_seconds",
    "failed_seconds",
    "other_seconds",
    "unobserved_seconds",
];

/// What a VM of a type holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub vcpus: u64,
    pub memory_mib: u64,
    pub gpus: u64,
}

/// The catalogue by name.
pub fn sizes(instance_types: &[InstanceType]) -> HashMap<&str, Size> {
    let size = |each: &InstanceType| Size {
        vcpus: each.vcpus,
        memory_mib: each.memory_mib,
        gpus: each.pci_devices.iter().filter(|(class, _)| &**class == "gpu").count() as u64,
    };
    instance_types.iter().map(|each| (&*each.name, size(each))).collect()
}

/// Size × time in hundredths of hours, rounded half up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SizeHours {
    pub vcpu: u64,
    pub memory_gib: u64,
    pub gpu: u64,
}

impl SizeHours {
    pub fn of(size: Size, seconds: u64) -> Self {
        let half_up = |amount: u64, per: u64| {
            let exact = u128::from(amount) * u128::from(seconds);
            u64::try_from((exact + u128::from(per / 2)) / u128::from(per)).unwrap_or(u64::MAX)
        };
        Self {
            vcpu: half_up(size.vcpus, SECONDS),
            memory_gib: half_up(size.memory_mib, MIB_SECONDS),
            gpu: half_up(size.gpus, SECONDS),
        }
    }
}

/// The measures of a set of VMs. Sizes add up the rounded hours of the VMs whose size is known, and
/// are empty when none is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Measures {
    pub totals: Totals,
    pub size_hours: Option<SizeHours>,
}

impl std::ops::AddAssign for Measures {
    fn add_assign(&mut self, other: Self) {
        self.totals += other.totals;
        if let Some(more) = other.size_hours {
            let sum = self.size_hours.get_or_insert_default();
            sum.vcpu += more.vcpu;
            sum.memory_gib += more.memory_gib;
            sum.gpu += more.gpu;
        }
    }
}

impl Measures {
    pub fn write(&self, table: &mut Table) -> Result<(), ReportError> {
        let Totals { vms, vms_created, vms_released, vms_at_end, vm_hours, seconds } = self.totals;
        for number in [vms, vms_created, vms_released, vms_at_end, vm_hours] {
            table.number(number)?;
        }
        write_seconds(&seconds, table)?;
        table.hundredths(self.size_hours.map(|hours| hours.vcpu))?;
        table.hundredths(self.size_hours.map(|hours| hours.memory_gib))?;
        table.hundredths(self.size_hours.map(|hours| hours.gpu))
    }
}

/// The exact seconds and their parts by use.
pub fn write_seconds(seconds: &UseSeconds, table: &mut Table) -> Result<(), ReportError> {
    table.number(seconds.total())?;
    Use::ALL.into_iter().try_for_each(|each| table.number(seconds.get(each)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_hours_are_rounded_half_up_to_hundredths() {
        let size = |vcpus, memory_mib, gpus| Size { vcpus, memory_mib, gpus };
        let hours = |size, seconds| {
            let SizeHours { vcpu, memory_gib, gpu } = SizeHours::of(size, seconds);
            (vcpu, memory_gib, gpu)
        };
        assert_eq!(hours(size(4, 8192, 1), 3600), (400, 800, 100));
        assert_eq!(hours(size(1, 1024, 0), 17), (0, 0, 0), "17/36 of a hundredth");
        assert_eq!(hours(size(1, 1024, 0), 18), (1, 1, 0), "exactly a half");
        assert_eq!(hours(size(1, 512, 0), 36), (1, 1, 0));
    }
}

//! A month's totals as manifest, index and command line show them. Pure.

use std::str::FromStr as _;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::decimal::Money;
use super::tally::Tally;
use crate::usage::Use;

/// A month's totals.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MonthTotals {
    /// VMs.
    pub vms: u64,
    /// Alive when the month began.
    pub vms_at_start: u64,
    /// Created within the month.
    pub vms_created: u64,
    /// Released within the month.
    pub vms_released: u64,
    /// Alive when it ended.
    pub vms_at_end: u64,
    /// The provider's whole hours, summed.
    pub vm_hours: u64,
    /// Exact seconds; the next five are its parts.
    pub vm_seconds: u64,
    /// Running.
    pub running_seconds: u64,
    /// Stopping, stopped, paused.
    pub stopped_seconds: u64,
    /// Failed.
    pub failed_seconds: u64,
    /// Any other status.
    pub other_seconds: u64,
    /// No poll can tell.
    pub unobserved_seconds: u64,
    /// vCPUs × hours with two decimals, over VMs of known size; `None` if no size is known.
    pub vcpu_hours: Option<String>,
    /// GiB × hours, likewise.
    pub memory_gib_hours: Option<String>,
    /// GPUs × hours, likewise.
    pub gpu_hours: Option<String>,
    /// Exact seconds of VMs of unknown size; `None` in a manifest of version 0.1.0.
    #[serde(default)]
    pub unsized_vm_seconds: Option<u64>,
    /// Price × provider's hours, exact; `None` without a price list.
    #[serde(serialize_with = "money", deserialize_with = "amount")]
    pub internal_cost: Option<Decimal>,
    /// Part of `internal_cost` for the observed stopped time; `None` without a price list and in a
    /// manifest of version 0.1.0.
    #[serde(default, serialize_with = "rounded", deserialize_with = "amount")]
    pub stopped_cost: Option<Decimal>,
    /// ISO 4217 code of the price list.
    pub currency: Option<String>,
    /// The provider's hours of VMs without a price.
    pub unpriced_vm_hours: u64,
}

impl MonthTotals {
    pub(super) fn of(tally: &Tally<'_>) -> Self {
        let (sums, hours) = (&tally.total, tally.total.hours());
        let seconds = |of| sums.totals.seconds.get(of);
        Self {
            vms: sums.totals.vms,
            vms_at_start: sums.at_start,
            vms_created: sums.totals.vms_created,
            vms_released: sums.totals.vms_released,
            vms_at_end: sums.totals.vms_at_end,
            vm_hours: sums.totals.vm_hours,
            vm_seconds: sums.seconds(),
            running_seconds: seconds(Use::Running),
            stopped_seconds: seconds(Use::Stopped),
            failed_seconds: seconds(Use::Failed),
            other_seconds: seconds(Use::Other),
            unobserved_seconds: seconds(Use::Unobserved),
            vcpu_hours: hours.map(|hours| hours.vcpu.to_string()),
            memory_gib_hours: hours.map(|hours| hours.memory_gib.to_string()),
            gpu_hours: hours.map(|hours| hours.gpu.to_string()),
            unsized_vm_seconds: Some(sums.unsized_seconds),
            internal_cost: tally.cost(),
            stopped_cost: tally.stopped_cost(),
            currency: tally.currency().map(str::to_owned),
            unpriced_vm_hours: sums.unpriced_hours,
        }
    }
}

#[expect(clippy::ref_option, reason = "serde hands the field over like this")]
fn money<S: Serializer>(amount: &Option<Decimal>, serializer: S) -> Result<S::Ok, S::Error> {
    amount.map(|amount| Money(amount).to_string()).serialize(serializer)
}

/// Writes an amount with the decimals that it was rounded to.
#[expect(clippy::ref_option, reason = "serde passes the field in this form")]
fn rounded<S: Serializer>(amount: &Option<Decimal>, serializer: S) -> Result<S::Ok, S::Error> {
    amount.map(|amount| amount.to_string()).serialize(serializer)
}

fn amount<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Decimal>, D::Error> {
    let text: Option<String> = Deserialize::deserialize(deserializer)?;
    text.map(|text| Decimal::from_str(&text).map_err(serde::de::Error::custom)).transpose()
}

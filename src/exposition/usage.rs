//! The running month and the one before, in the provider's words; `computed` and `cost` hold what is
//! made of them.

mod computed;
mod cost;
pub mod groups;

use super::choice::Choice;
use super::inventory::seconds as unix;
use super::writer::{Family, Writer};
use super::{TenantView, from_hours};
use crate::period::seconds_between;
use crate::snapshot::{UsageData, split_tag};
use crate::usage::PeriodUsage;

/// HELP of a figure that grows through a month and falls back at its end.
macro_rules! monthly {
    ($text:literal) => {
        concat!($text, " A figure of the month: it starts again each month, never rate() it.")
    };
}
use monthly;

/// No projection before this much of a month has passed: it would be noise.
const PROJECTION_AFTER: u64 = 24 * 3600;

pub(super) struct Tenant<'a> {
    name: &'a str,
    data: &'a UsageData,
    choice: &'a Choice,
}

impl Tenant<'_> {
    /// Both months with their values of the label `period`.
    fn periods(&self) -> impl Iterator<Item = (&'static str, &PeriodUsage)> {
        let previous = self.data.previous.as_deref().map(|usage| ("previous", usage));
        std::iter::once(("current", &self.data.current)).chain(previous)
    }
}

pub fn write(tenant: &TenantView<'_>, choice: &Choice, writer: &mut Writer) {
    let usage = tenant.snapshot.usage.as_ref();
    let tenant = usage.map(|section| Tenant { name: tenant.name, data: &section.data, choice });
    let tenants = tenant.as_slice();
    now(tenants, writer);
    reported(tenants, writer);
    computed::write(tenants, writer);
    cost::write(tenants, writer);
    let mut omitted = writer.family(
        "flexvm_exporter_tags_omitted",
        "Tags beyond metrics.max_tags that have no series; the tags with most seconds of the running month have.",
    );
    for tenant in tenants {
        omitted.sample(&[("tenant", tenant.name)], tenant.choice.tags.omitted);
    }
    let mut omitted = writer.family(
        "flexvm_exporter_groups_omitted",
        "Groups beyond metrics.max_groups that are summed in the group of group_kind other; the groups with most \
         seconds of the running month are kept.",
    );
    for tenant in tenants {
        omitted.sample(&[("tenant", tenant.name)], tenant.choice.groups.omitted);
    }
}

/// What the provider's report says of the time at which it was fetched, not of the month.
fn now(tenants: &[Tenant<'_>], writer: &mut Writer) {
    let mut family = writer.family(
        "flexvm_usage_nodes",
        "Bare-metal nodes in the provider's monthly report, at the time of the newest poll of usage.",
    );
    for tenant in tenants {
        family.sample(&[("tenant", tenant.name)], tenant.data.current.total_nodes);
    }
    let mut family = writer.family(
        "flexvm_usage_active_vms",
        "VMs not deleted in the provider's monthly report, at the time of the newest poll of usage.",
    );
    for tenant in tenants {
        family.sample(&[("tenant", tenant.name)], tenant.data.current.total_active_vms);
    }
    let mut family = writer.family(
        "flexvm_usage_cloud_active_vms",
        "VMs of the cloud not deleted in the provider's monthly report, at the time of the newest poll of usage.",
    );
    for tenant in tenants {
        for (cloud_id, (active, _)) in &tenant.data.current.provider_clouds {
            family.sample(&[("tenant", tenant.name), ("cloud_id", cloud_id)], *active);
        }
    }
}

fn reported(tenants: &[Tenant<'_>], writer: &mut Writer) {
    let mut family = writer.family(
        "flexvm_usage_period_start_timestamp_seconds",
        "First instant of the month in the provider's report, Unix time in seconds; period is current or previous.",
    );
    per_period(tenants, &mut family, |usage| unix(usage.period.start));
    let mut family = writer.family(
        "flexvm_usage_period_end_timestamp_seconds",
        "First instant after the month in the provider's report, Unix time in seconds.",
    );
    per_period(tenants, &mut family, |usage| unix(usage.period.end));
    let mut family = writer.family(
        "flexvm_usage_reported_vm_seconds",
        monthly!("The provider's whole hours of each VM, summed, in seconds."),
    );
    per_period(tenants, &mut family, |usage| from_hours(usage.total.vm_hours));
    let mut family = writer.family(
        "flexvm_usage_cloud_reported_vm_seconds",
        monthly!(
            "The provider's own total hours of the cloud, in seconds; rounded up in a way it does not say."
        ),
    );
    for tenant in tenants {
        for (period, usage) in tenant.periods() {
            for (cloud_id, (_, totals)) in &usage.provider_clouds {
                let labels = [("tenant", tenant.name), ("cloud_id", cloud_id), ("period", period)];
                family.sample(&labels, from_hours(totals.vm_hours));
            }
        }
    }
    let mut family = writer.family(
        "flexvm_usage_tag_reported_vm_seconds",
        monthly!(
            "The provider's own total hours of the tag, in seconds; tags overlap and must not be added up. \
             At most metrics.max_tags tags."
        ),
    );
    for tenant in tenants {
        for (period, usage) in tenant.periods() {
            for (tag, totals) in
                usage.provider_tags.iter().filter(|(tag, _)| tenant.choice.tags.keys.contains(*tag))
            {
                let labels = [
                    ("tenant", tenant.name),
                    ("tag", tag),
                    ("tag_key", split_tag(tag).0),
                    ("period", period),
                ];
                family.sample(&labels, from_hours(totals.vm_hours));
            }
        }
    }
}

fn per_period(tenants: &[Tenant<'_>], family: &mut Family<'_>, value: impl Fn(&PeriodUsage) -> u64) {
    for tenant in tenants {
        for (period, usage) in tenant.periods() {
            family.sample(&[("tenant", tenant.name), ("period", period)], value(usage));
        }
    }
}

/// Seconds of the month that have passed, and all of them; `None` while it is too young to project.
fn progress(usage: &PeriodUsage) -> Option<(u64, u64)> {
    let elapsed = seconds_between(usage.period.start, usage.fetched_at.min(usage.period.end));
    (elapsed >= PROJECTION_AFTER).then_some((elapsed, usage.period.seconds()))
}

//! The running month and the one before: the provider's words, and what is computed from them.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::writer::{Family, Writer};
use super::{TenantView, tags};
use crate::config::Metrics;
use crate::period::seconds_between;
use crate::snapshot::{Text, UsageData, split_tag};
use crate::usage::{PeriodUsage, Totals, Use};

/// No projection before this much of a month has passed: it would be noise.
const PROJECTION_AFTER: u64 = 24 * 3600;

/// Decimals of a projected cost: it is an estimate.
const PROJECTED_DECIMALS: u32 = 2;

struct Tenant<'a> {
    name: &'a str,
    data: &'a UsageData,
    chosen: tags::Chosen,
}

impl Tenant<'_> {
    /// Both months with their values of the label `period`.
    fn periods(&self) -> impl Iterator<Item = (&'static str, &PeriodUsage)> {
        std::iter::once(("current", &self.data.current))
            .chain(self.data.previous.as_deref().map(|usage| ("previous", usage)))
    }
}

pub fn write(tenants: &[TenantView<'_>], options: &Metrics, writer: &mut Writer) {
    let tenants: Vec<Tenant<'_>> = tenants
        .iter()
        .filter_map(|view| {
            let data = &*view.snapshot.usage.as_ref()?.data;
            Some(Tenant { name: view.name, data, chosen: tags::choose(view, options.max_tags) })
        })
        .collect();
    provider(&tenants, writer);
    counts(&tenants, writer);
    seconds(&tenants, writer);
    ratios(&tenants, writer);
    costs(&tenants, writer);
    let mut omitted = writer.family(
        "flexvm_exporter_tags_omitted",
        "Tags beyond metrics.max_tags that have no series; the tags with most seconds have.",
    );
    for tenant in &tenants {
        omitted.sample(&[("tenant", tenant.name)], tenant.chosen.omitted);
    }
}

fn provider(tenants: &[Tenant<'_>], writer: &mut Writer) {
    let mut family =
        writer.family("flexvm_usage_nodes", "Nodes in the provider's monthly report, as of its fetching.");
    for tenant in tenants {
        family.sample(&[("tenant", tenant.name)], tenant.data.current.total_nodes);
    }
    let mut family = writer.family(
        "flexvm_usage_active_vms",
        "VMs not deleted in the provider's monthly report, as of its fetching.",
    );
    for tenant in tenants {
        family.sample(&[("tenant", tenant.name)], tenant.data.current.total_active_vms);
    }
    let mut family = writer.family(
        "flexvm_usage_cloud_active_vms",
        "VMs of the cloud not deleted in the provider's monthly report, as of its fetching.",
    );
    for tenant in tenants {
        for (cloud_id, (active, _)) in &tenant.data.current.provider_clouds {
            family.sample(&[("tenant", tenant.name), ("cloud_id", cloud_id)], *active);
        }
    }
    let mut family = writer
        .family("flexvm_usage_period_start_timestamp_seconds", "First instant of the month, Unix time.");
    per_period(tenants, &mut family, |usage| super::inventory::seconds(usage.period.start));
    let mut family = writer
        .family("flexvm_usage_period_end_timestamp_seconds", "First instant after the month, Unix time.");
    per_period(tenants, &mut family, |usage| super::inventory::seconds(usage.period.end));
    let mut family = writer.family(
        "flexvm_usage_reported_vm_seconds",
        "The provider's whole hours of each VM, summed, in seconds. A figure of the month: it starts again with each, never rate() it.",
    );
    per_period(tenants, &mut family, |usage| usage.total.vm_hours * 3600);
    let mut family = writer.family(
        "flexvm_usage_cloud_reported_vm_seconds",
        "The provider's own total hours of the cloud, in seconds, rounded up in a way it does not say. A figure of the month: it starts again with each, never rate() it.",
    );
    for tenant in tenants {
        for (period, usage) in tenant.periods() {
            for (cloud_id, (_, totals)) in &usage.provider_clouds {
                let labels = [("tenant", tenant.name), ("cloud_id", cloud_id), ("period", period)];
                family.sample(&labels, totals.vm_hours * 3600);
            }
        }
    }
    let mut family = writer.family(
        "flexvm_usage_tag_reported_vm_seconds",
        "The provider's own total hours of the tag, in seconds; tags overlap and must not be added up. A figure of the month: it starts again with each, never rate() it.",
    );
    for tenant in tenants {
        for (period, usage) in tenant.periods() {
            for (tag, totals) in
                usage.provider_tags.iter().filter(|(tag, _)| tenant.chosen.tags.contains(*tag))
            {
                let labels = [
                    ("tenant", tenant.name),
                    ("tag", tag),
                    ("tag_key", split_tag(tag).0),
                    ("period", period),
                ];
                family.sample(&labels, totals.vm_hours * 3600);
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

fn counts(tenants: &[Tenant<'_>], writer: &mut Writer) {
    let families: [(&'static str, &'static str, fn(&Totals) -> u64); 3] = [
        (
            "flexvm_usage_vms",
            "VMs in the provider's report on the month. A figure of the month: it starts again with each, never rate() it.",
            |totals| totals.vms,
        ),
        (
            "flexvm_usage_vms_created",
            "VMs created within the month. A figure of the month: it starts again with each, never rate() it.",
            |totals| totals.vms_created,
        ),
        (
            "flexvm_usage_vms_released",
            "VMs released (deleted) within the month. A figure of the month: it starts again with each, never rate() it.",
            |totals| totals.vms_released,
        ),
    ];
    for (name, help, value) in families {
        let mut family = writer.family(name, help);
        per_period(tenants, &mut family, |usage| value(&usage.total));
    }
}

fn seconds(tenants: &[Tenant<'_>], writer: &mut Writer) {
    let mut family = writer.family(
        "flexvm_usage_vm_seconds",
        "Exact VM seconds of the month by use: running, stopped, failed, other, or unobserved where no poll can tell; the five add up to the whole. Starts again with each month, never rate() it.",
    );
    for tenant in tenants {
        for (period, usage) in tenant.periods() {
            by_use(&mut family, &[("tenant", tenant.name)], period, &usage.total);
        }
    }
    let mut family = writer.family(
        "flexvm_usage_cloud_vm_seconds",
        "Exact VM seconds of the month by cloud and use; clouds add up to the whole. Starts again with each month, never rate() it.",
    );
    breakdown(tenants, &mut family, "cloud_id", |usage| &usage.clouds);
    let mut family = writer.family(
        "flexvm_usage_tag_vm_seconds",
        "Exact VM seconds of the month by tag and use; a VM with two tags counts under both, so tags must not be added up. Starts again with each month, never rate() it.",
    );
    for tenant in tenants {
        for (period, usage) in tenant.periods() {
            for (tag, totals) in usage.tags.iter().filter(|(tag, _)| tenant.chosen.tags.contains(*tag)) {
                let labels = [("tenant", tenant.name), ("tag", tag), ("tag_key", split_tag(tag).0)];
                by_use(&mut family, &labels, period, totals);
            }
        }
    }
    let mut family = writer.family(
        "flexvm_usage_untagged_vm_seconds",
        "Exact VM seconds of the month of VMs without any tag, by use. Starts again with each month, never rate() it.",
    );
    for tenant in tenants {
        for (period, usage) in tenant.periods() {
            by_use(&mut family, &[("tenant", tenant.name)], period, &usage.untagged);
        }
    }
    let mut family = writer.family(
        "flexvm_usage_group_vm_seconds",
        "Exact VM seconds of the month by group (report.group_by, or the exact set of tags) and use; groups add up to the whole. Starts again with each month, never rate() it.",
    );
    for tenant in tenants {
        for (period, usage) in tenant.periods() {
            for (group, sums) in &usage.groups {
                by_use(&mut family, &[("tenant", tenant.name), ("group", group)], period, &sums.totals);
            }
        }
    }
    let mut family = writer.family(
        "flexvm_usage_instance_type_vm_seconds",
        "Exact VM seconds of the month by instance type and use; types add up to the whole. Starts again with each month, never rate() it.",
    );
    breakdown(tenants, &mut family, "instance_type", |usage| &usage.instance_types);
}

fn breakdown(
    tenants: &[Tenant<'_>],
    family: &mut Family<'_>,
    label: &str,
    rows: impl Fn(&PeriodUsage) -> &BTreeMap<Text, Totals>,
) {
    for tenant in tenants {
        for (period, usage) in tenant.periods() {
            for (name, totals) in rows(usage) {
                by_use(family, &[("tenant", tenant.name), (label, name)], period, totals);
            }
        }
    }
}

fn by_use(family: &mut Family<'_>, labels: &[(&str, &str)], period: &str, totals: &Totals) {
    let mut labels = labels.to_vec();
    labels.push(("period", period));
    for each in Use::ALL {
        labels.push(("use", each.as_str()));
        family.sample(&labels, totals.seconds.get(each));
        labels.pop();
    }
}

fn ratios(tenants: &[Tenant<'_>], writer: &mut Writer) {
    let mut family = writer.family(
        "flexvm_usage_observed_ratio",
        "Share of the month's VM seconds that polls can tell the use of, 0 to 1; absent in a month without VM seconds. Low means unknown, not idle.",
    );
    for tenant in tenants {
        for (period, usage) in tenant.periods() {
            let total = usage.total.seconds.total();
            let observed = total - usage.total.seconds.get(Use::Unobserved);
            if let Some(ratio) = Decimal::from(observed).checked_div(Decimal::from(total)) {
                let ratio = ratio.round_dp(6).normalize().to_string();
                family.decimal(&[("tenant", tenant.name), ("period", period)], &ratio);
            }
        }
    }
    let mut family = writer.family(
        "flexvm_usage_projected_vm_seconds",
        "VM seconds of the running month if the rest goes like the part so far; absent in its first 24 hours.",
    );
    for tenant in tenants {
        let usage = &tenant.data.current;
        if let Some((elapsed, length)) = progress(usage) {
            let projected =
                u128::from(usage.total.seconds.total()) * u128::from(length) / u128::from(elapsed);
            family.decimal(&[("tenant", tenant.name)], &projected.to_string());
        }
    }
}

/// Seconds of the month that have passed, and all of them; `None` while it is too young to project.
fn progress(usage: &PeriodUsage) -> Option<(u64, u64)> {
    let elapsed = seconds_between(usage.period.start, usage.fetched_at.min(usage.period.end));
    (elapsed >= PROJECTION_AFTER).then_some((elapsed, usage.period.seconds()))
}

fn costs(tenants: &[Tenant<'_>], writer: &mut Writer) {
    let mut family = writer.family(
        "flexvm_usage_internal_cost",
        "Configured rates times the provider's hours of the month, in the currency of the label; not an invoice. Starts again with each month, never rate() it.",
    );
    for tenant in tenants {
        for (period, usage) in tenant.periods() {
            if let (Some(cost), Some(currency)) = (usage.internal_cost, &usage.currency) {
                let labels = [("tenant", tenant.name), ("period", period), ("currency", currency)];
                family.decimal(&labels, &cost.to_string());
            }
        }
    }
    let mut family = writer.family(
        "flexvm_usage_group_internal_cost",
        "Configured rates times the provider's hours of the month by group; groups add up to the whole. Starts again with each month, never rate() it.",
    );
    for tenant in tenants {
        for (period, usage) in tenant.periods() {
            let Some(currency) = &usage.currency else { continue };
            for (group, sums) in &usage.groups {
                if let Some(cost) = sums.internal_cost {
                    let labels = [
                        ("tenant", tenant.name),
                        ("group", group),
                        ("period", period),
                        ("currency", currency),
                    ];
                    family.decimal(&labels, &cost.to_string());
                }
            }
        }
    }
    let mut family = writer.family(
        "flexvm_usage_projected_internal_cost",
        "Internal cost of the running month if the rest goes like the part so far; absent in its first 24 hours.",
    );
    for tenant in tenants {
        let usage = &tenant.data.current;
        if let (Some(cost), Some(currency), Some((elapsed, length))) =
            (usage.internal_cost, &usage.currency, progress(usage))
        {
            let projected =
                cost.checked_mul(Decimal::from(length)).and_then(|cost| cost.checked_div(elapsed.into()));
            if let Some(projected) = projected {
                let labels = [("tenant", tenant.name), ("currency", &**currency)];
                family.decimal(&labels, &projected.round_dp(PROJECTED_DECIMALS).to_string());
            }
        }
    }
}

//! Exact seconds of both months, computed from the report's VMs and what polls saw.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::{Tenant, groups, monthly, per_period, progress};
use crate::exposition::writer::{Family, Writer};
use crate::snapshot::{Text, split_tag};
use crate::usage::{PeriodUsage, Totals, Use};

/// Decimals of a ratio.
const RATIO_DECIMALS: u32 = 6;

pub fn write(tenants: &[Tenant<'_>], writer: &mut Writer) {
    counts(tenants, writer);
    seconds(tenants, writer);
    observed(tenants, writer);
    projected(tenants, writer);
}

fn counts(tenants: &[Tenant<'_>], writer: &mut Writer) {
    let mut family = writer.family("flexvm_usage_vms", monthly!("VMs that existed in the month."));
    per_period(tenants, &mut family, |usage| usage.total.vms);
    let mut family = writer.family("flexvm_usage_vms_created", monthly!("VMs created within the month."));
    per_period(tenants, &mut family, |usage| usage.total.vms_created);
    let mut family =
        writer.family("flexvm_usage_vms_released", monthly!("VMs released (deleted) within the month."));
    per_period(tenants, &mut family, |usage| usage.total.vms_released);
}

fn seconds(tenants: &[Tenant<'_>], writer: &mut Writer) {
    let mut family = writer.family(
        "flexvm_usage_vm_seconds",
        monthly!(
            "Exact VM seconds by use: running, stopped, failed, other, or unobserved where no poll can tell; \
             the five add up to the whole."
        ),
    );
    overall(tenants, &mut family, |usage| &usage.total);
    let mut family = writer.family(
        "flexvm_usage_cloud_vm_seconds",
        monthly!("Exact VM seconds by cloud and use; clouds add up to the whole."),
    );
    breakdown(tenants, &mut family, "cloud_id", |usage| &usage.clouds);
    let mut family = writer.family(
        "flexvm_usage_tag_vm_seconds",
        monthly!(
            "Exact VM seconds by tag and use; a VM with two tags counts under both, so tags must not be added up. \
             At most metrics.max_tags tags."
        ),
    );
    for tenant in tenants {
        for (period, usage) in tenant.periods() {
            for (tag, totals) in usage.tags.iter().filter(|(tag, _)| tenant.choice.tags.keys.contains(*tag)) {
                let labels = [("tenant", tenant.name), ("tag", tag), ("tag_key", split_tag(tag).0)];
                by_use(&mut family, &labels, period, totals);
            }
        }
    }
    let mut family = writer.family(
        "flexvm_usage_untagged_vm_seconds",
        monthly!("Exact VM seconds of VMs without any tag, by use."),
    );
    overall(tenants, &mut family, |usage| &usage.untagged);
    let mut family = writer.family(
        "flexvm_usage_group_vm_seconds",
        monthly!(
            "Exact VM seconds by group (the values of report.group_by, or else the exact set of tags) and use. Groups \
             sum to the total. At most metrics.max_groups groups; the others are summed in one whose group_kind is \
             other. Else group_kind is value, several, valueless or absent."
        ),
    );
    for tenant in tenants {
        for (period, usage) in tenant.periods() {
            for (group, sums) in groups::rows(tenant, usage) {
                let labels = [vec![("tenant", tenant.name)], group].concat();
                by_use(&mut family, &labels, period, &sums.totals);
            }
        }
    }
    let mut family = writer.family(
        "flexvm_usage_instance_type_vm_seconds",
        monthly!("Exact VM seconds by instance type and use; types add up to the whole."),
    );
    breakdown(tenants, &mut family, "instance_type", |usage| &usage.instance_types);
}

fn overall(tenants: &[Tenant<'_>], family: &mut Family<'_>, totals: fn(&PeriodUsage) -> &Totals) {
    for tenant in tenants {
        for (period, usage) in tenant.periods() {
            by_use(family, &[("tenant", tenant.name)], period, totals(usage));
        }
    }
}

fn breakdown(
    tenants: &[Tenant<'_>],
    family: &mut Family<'_>,
    label: &str,
    rows: fn(&PeriodUsage) -> &BTreeMap<Text, Totals>,
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

fn observed(tenants: &[Tenant<'_>], writer: &mut Writer) {
    let mut family = writer.family(
        "flexvm_usage_observed_ratio",
        "Share of the month's VM seconds whose use our polls can tell, from 0 to 1; absent in a month without VM \
         seconds. Low means unknown, not idle.",
    );
    for tenant in tenants {
        for (period, usage) in tenant.periods() {
            let total = usage.total.seconds.total();
            let observed = total - usage.total.seconds.get(Use::Unobserved);
            if let Some(ratio) = Decimal::from(observed).checked_div(Decimal::from(total)) {
                let ratio = ratio.round_dp(RATIO_DECIMALS).normalize().to_string();
                family.decimal(&[("tenant", tenant.name), ("period", period)], &ratio);
            }
        }
    }
}

fn projected(tenants: &[Tenant<'_>], writer: &mut Writer) {
    let mut family = writer.family(
        "flexvm_usage_projected_vm_seconds",
        "Exact VM seconds of the running month if the rest of it goes like the part so far; absent in its first \
         24 hours.",
    );
    for tenant in tenants {
        let usage = &tenant.data.current;
        if let Some((elapsed, length)) = progress(usage) {
            let so_far = u128::from(usage.total.seconds.total());
            let projected = so_far * u128::from(length) / u128::from(elapsed);
            family.decimal(&[("tenant", tenant.name)], &projected.to_string());
        }
    }
}

//! `flexvm_up` and the newest closed month, for every tenant.

use super::TenantView;
use super::writer::Writer;

pub fn write(tenants: &[TenantView<'_>], writer: &mut Writer) {
    let mut up = writer.family(
        "flexvm_up",
        "1 while no required collector's newest run failed (capacity, inventory, usage), else 0; absent before the first run.",
    );
    for tenant in tenants {
        if let Some(value) = tenant.up {
            up.sample(&[("tenant", tenant.name)], value.into());
        }
    }
    let closed = || tenants.iter().filter_map(|tenant| Some((tenant.name, tenant.closed?)));
    let mut reported = writer.family(
        "flexvm_report_reported_vm_seconds",
        "The provider's whole VM hours of the newest closed month, in seconds.",
    );
    for (tenant, month) in closed() {
        let (name, revision) = (month.month.to_string(), month.revision.to_string());
        let labels = [("tenant", tenant), ("month", name.as_str()), ("revision", revision.as_str())];
        reported.sample(&labels, month.reported_vm_hours * 3600);
    }
    let mut exact = writer.family("flexvm_report_vm_seconds", "Exact VM seconds of the newest closed month.");
    for (tenant, month) in closed() {
        let (name, revision) = (month.month.to_string(), month.revision.to_string());
        let labels = [("tenant", tenant), ("month", name.as_str()), ("revision", revision.as_str())];
        exact.sample(&labels, month.vm_seconds);
    }
    let mut cost = writer.family(
        "flexvm_report_internal_cost",
        "Configured rates times the provider's hours of the newest closed month, in the currency of the label; not an invoice.",
    );
    for (tenant, month) in closed() {
        if let Some((amount, currency)) = &month.internal_cost {
            let (name, revision) = (month.month.to_string(), month.revision.to_string());
            let labels = [
                ("tenant", tenant),
                ("month", name.as_str()),
                ("revision", revision.as_str()),
                ("currency", currency),
            ];
            cost.decimal(&labels, &amount.to_string());
        }
    }
}

//! `flexvm_up` and the newest closed month of every tenant.

use super::writer::Writer;
use super::{ClosedMonth, TenantView, from_hours};

pub fn write(tenants: &[TenantView<'_>], writer: &mut Writer) {
    let mut up = writer.family(
        "flexvm_up",
        "1 while no required collector's newest run failed (capacity, inventory, usage), else 0; absent before the \
         first run.",
    );
    for tenant in tenants {
        if let Some(value) = tenant.up {
            up.sample(&[("tenant", tenant.name)], value.into());
        }
    }
    let closed: Vec<Closed<'_>> = tenants.iter().filter_map(Closed::of).collect();
    let mut reported = writer.family(
        "flexvm_report_reported_vm_seconds",
        "The provider's whole hours of each VM in the newest closed month, summed, in seconds.",
    );
    for each in &closed {
        reported.sample(&each.labels(), from_hours(each.figures.reported_vm_hours));
    }
    let mut exact = writer.family("flexvm_report_vm_seconds", "Exact VM seconds of the newest closed month.");
    for each in &closed {
        exact.sample(&each.labels(), each.figures.vm_seconds);
    }
    let mut cost = writer.family(
        "flexvm_report_internal_cost",
        "Configured rates times the provider's hours of the newest closed month, in the currency of the label; \
         not an invoice.",
    );
    for each in &closed {
        if let Some((amount, currency)) = &each.figures.internal_cost {
            let [tenant, month, revision] = each.labels();
            cost.decimal(&[tenant, month, revision, ("currency", currency)], &amount.to_string());
        }
    }
}

/// A tenant's newest closed month with the text of its labels.
struct Closed<'a> {
    tenant: &'a str,
    month: String,
    revision: String,
    figures: &'a ClosedMonth,
}

impl<'a> Closed<'a> {
    fn of(tenant: &TenantView<'a>) -> Option<Self> {
        let figures = tenant.closed?;
        let (month, revision) = (figures.month.to_string(), figures.revision.to_string());
        Some(Self { tenant: tenant.name, month, revision, figures })
    }

    fn labels(&self) -> [(&str, &str); 3] {
        [("tenant", self.tenant), ("month", &self.month), ("revision", &self.revision)]
    }
}

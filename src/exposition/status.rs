//! `flexvm_up`, the time of the data and the closed months of a tenant.

use super::inventory::seconds as unix;
use super::writer::Writer;
use super::{ClosedMonth, TenantView, from_hours};
use crate::config::Metrics;
use crate::snapshot::Snapshot;

pub fn write(tenant: &TenantView<'_>, options: &Metrics, writer: &mut Writer) {
    let mut up = writer.family(
        "flexvm_up",
        "1 while no required collector's newest run failed (capacity, inventory, usage), else 0; absent before the \
         first run.",
    );
    if let Some(value) = tenant.up {
        up.sample(&[("tenant", tenant.name)], value.into());
    }
    let mut served = writer.family(
        "flexvm_exporter_exposition_timestamp_seconds",
        "Time of the newest data of the tenant that is served, Unix time in seconds; absent before the first.",
    );
    if let Some(at) = newest(tenant.snapshot) {
        served.sample(&[("tenant", tenant.name)], at);
    }
    let closed: Vec<_> =
        tenant.closed.iter().take(options.max_months).map(|of| Closed::of(tenant.name, of)).collect();
    let mut info = writer.family(
        "flexvm_report_info",
        "Constant 1 for the current revision of each closed month, the latest metrics.max_months, with its verdict.",
    );
    for each in &closed {
        let [tenant, month, revision] = each.labels();
        info.sample(&[tenant, month, revision, ("verdict", each.figures.verdict)], 1);
    }
    let mut reported = writer.family(
        "flexvm_report_reported_vm_seconds",
        "The provider's whole hours of each VM in the closed month, summed, in seconds.",
    );
    for each in &closed {
        reported.sample(&each.labels(), from_hours(each.figures.reported_vm_hours));
    }
    let mut exact = writer.family("flexvm_report_vm_seconds", "Exact VM seconds of the closed month.");
    for each in &closed {
        exact.sample(&each.labels(), each.figures.vm_seconds);
    }
    let mut cost = writer.family(
        "flexvm_report_internal_cost",
        "Configured rates times the provider's hours of the closed month, in the currency of the label; not an \
         invoice.",
    );
    for each in &closed {
        if let Some((amount, currency)) = &each.figures.internal_cost {
            let [tenant, month, revision] = each.labels();
            cost.decimal(&[tenant, month, revision, ("currency", currency)], &amount.to_string());
        }
    }
    let mut unpriced = writer.family(
        "flexvm_report_unpriced_reported_vm_seconds",
        "The provider's whole hours of VMs without a price in the closed month, summed, in seconds; absent without \
         prices.",
    );
    for each in &closed {
        if let Some(hours) = each.figures.unpriced_vm_hours {
            unpriced.sample(&each.labels(), from_hours(hours));
        }
    }
}

/// When the newest section was fetched.
fn newest(snapshot: &Snapshot) -> Option<u64> {
    let Snapshot { capacity, inventory, deleted_vms, usage, catalogue } = snapshot;
    let times = [
        capacity.as_ref().map(|section| section.at),
        inventory.as_ref().map(|section| section.at),
        deleted_vms.as_ref().map(|section| section.at),
        usage.as_ref().map(|section| section.at),
        catalogue.as_ref().map(|section| section.at),
    ];
    times.into_iter().flatten().max().map(unix)
}

/// A closed month with the text of its labels.
struct Closed<'a> {
    tenant: &'a str,
    month: String,
    revision: String,
    figures: &'a ClosedMonth,
}

impl<'a> Closed<'a> {
    fn of(tenant: &'a str, figures: &'a ClosedMonth) -> Self {
        Self { tenant, month: figures.month.to_string(), revision: figures.revision.to_string(), figures }
    }

    fn labels(&self) -> [(&str, &str); 3] {
        [("tenant", self.tenant), ("month", &self.month), ("revision", &self.revision)]
    }
}

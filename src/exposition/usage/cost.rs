//! Configured rates times the provider's hours. Without a price list there is no series.

use rust_decimal::Decimal;

use super::{Tenant, groups, monthly, progress};
use crate::exposition::writer::Writer;

/// Decimals of a projected cost: it is an estimate.
const PROJECTED_DECIMALS: u32 = 2;

pub fn write(tenants: &[Tenant<'_>], writer: &mut Writer) {
    let mut family = writer.family(
        "flexvm_usage_internal_cost",
        monthly!(
            "Configured rates times the provider's hours, in the currency of the label; not an invoice. Hours \
             without a rate are left out."
        ),
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
        monthly!(
            "Configured rates times the provider's hours by group, in the currency of the label; groups add up to \
             the whole, one without any rate is absent."
        ),
    );
    for tenant in tenants {
        for (period, usage) in tenant.periods() {
            let Some(currency) = &usage.currency else { continue };
            for (group, sums) in groups::rows(tenant, usage) {
                if let Some(cost) = sums.internal_cost {
                    let period = vec![("period", period), ("currency", &**currency)];
                    let labels = [vec![("tenant", tenant.name)], group, period].concat();
                    family.decimal(&labels, &cost.to_string());
                }
            }
        }
    }
    projected(tenants, writer);
}

fn projected(tenants: &[Tenant<'_>], writer: &mut Writer) {
    let mut family = writer.family(
        "flexvm_usage_projected_internal_cost",
        "Internal cost of the running month, in the currency of the label, if the rest of it goes like the part so \
         far; absent in its first 24 hours.",
    );
    for tenant in tenants {
        let usage = &tenant.data.current;
        let (Some(cost), Some(currency), Some((elapsed, length))) =
            (usage.internal_cost, &usage.currency, progress(usage))
        else {
            continue;
        };
        let projected =
            cost.checked_mul(length.into()).and_then(|cost| cost.checked_div(Decimal::from(elapsed)));
        if let Some(projected) = projected {
            let labels = [("tenant", tenant.name), ("currency", &**currency)];
            family.decimal(&labels, &projected.round_dp(PROJECTED_DECIMALS).to_string());
        }
    }
}

//! Shows how the local clock compares with a tenant's API: in the metrics, in the log and on the page.

use crate::api::ClockState;
use crate::self_metrics::SelfMetrics;
use crate::store::Store;

/// Shows the latest comparison; logs it if it differs from the previous one.
pub fn note(tenant: &str, state: ClockState, store: &Store, self_metrics: &SelfMetrics) {
    let Some(before) = self_metrics.clock_compared(tenant, state) else { return };
    store.clock(tenant, state);
    match state {
        ClockState::Unknown => {}
        ClockState::Agrees if before == ClockState::Unknown => {
            tracing::debug!(tenant, "the local clock agrees with the Date of the API");
        }
        ClockState::Agrees => tracing::info!(tenant, "the local clock agrees with the Date of the API"),
        ClockState::Undated => tracing::warn!(
            tenant,
            "the API's responses have no usable Date, so the local clock is not verified; the first month is recorded, and months are closed, after 24 h without a jump of the clock"
        ),
        ClockState::Differs { ahead_seconds } => tracing::error!(
            tenant,
            ahead_seconds,
            "the local clock differs from the Date of the API; polls are not recorded and no month is closed until they agree; correct the clock"
        ),
    }
}

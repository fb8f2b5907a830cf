//! Whether the local clock agrees with the clocks of the tenants' APIs.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use prometheus::IntGaugeVec;

use super::Maker;
use crate::api::ClockState;

/// The series `flexvm_exporter_clock_trusted`.
#[derive(Debug)]
pub struct Clocks {
    /// Without labels. Absent until a clock has been compared.
    trusted: IntGaugeVec,
    /// The latest comparison of the local clock with each tenant's API.
    latest: Mutex<BTreeMap<String, ClockState>>,
}

impl Clocks {
    pub fn new(made: &Maker<'_>) -> Result<Self, prometheus::Error> {
        let trusted = made.int_gauges(
            "clock_trusted",
            "Whether the local clock agrees with the Date of the APIs' responses: 1 if all APIs that send a Date agree, 0 if at least one differs. The tolerance is 120 s plus the duration of the request. Absent if no API sends a Date. While an API differs, polls of its tenant are not recorded and its months are not closed.",
            &[],
        )?;
        Ok(Self { trusted, latest: Mutex::default() })
    }

    /// Records a comparison of the local clock with the API of `tenant`. Returns the previous result if
    /// it differs.
    pub fn compared(&self, tenant: &str, clock: ClockState) -> Option<ClockState> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let before = latest.insert(tenant.to_owned(), clock).unwrap_or_default();
        self.show(&latest);
        (!before.is_like(clock)).then_some(before)
    }

    /// Removes the comparison of a tenant.
    pub fn remove_tenant(&self, tenant: &str) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.remove(tenant);
        self.show(&latest);
    }

    fn show(&self, latest: &BTreeMap<String, ClockState>) {
        let is_wrong = |clock: &ClockState| matches!(clock, ClockState::Differs { .. });
        if latest.values().any(is_wrong) {
            self.trusted.with_label_values::<&str>(&[]).set(0);
        } else if latest.values().any(|clock| *clock == ClockState::Agrees) {
            self.trusted.with_label_values::<&str>(&[]).set(1);
        } else {
            // The series may not exist.
            let _ = self.trusted.remove_label_values::<&str>(&[]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::self_metrics::SelfMetrics;

    #[test]
    fn gauge_is_absent_unless_an_api_sends_a_date() {
        let metrics = SelfMetrics::new(jiff::Timestamp::UNIX_EPOCH).unwrap();
        let trusted = || {
            let text = String::from_utf8(metrics.text()).unwrap();
            let value = text.lines().find_map(|line| line.strip_prefix("flexvm_exporter_clock_trusted "));
            value.map(str::to_owned)
        };
        let differs = |ahead_seconds| ClockState::Differs { ahead_seconds };
        assert_eq!(trusted(), None);
        assert_eq!(metrics.clock_compared("a", ClockState::Undated), Some(ClockState::Unknown));
        assert_eq!(trusted(), None);
        metrics.clock_compared("b", ClockState::Agrees);
        assert_eq!(trusted().as_deref(), Some("1"));
        metrics.clock_compared("c", differs(500));
        assert_eq!(trusted().as_deref(), Some("0"));
        assert_eq!(metrics.clock_compared("c", differs(501)), None, "only the number of seconds changed");
        metrics.remove_tenant("c");
        assert_eq!(trusted().as_deref(), Some("1"));
        assert_eq!(metrics.clock_compared("b", ClockState::Undated), Some(ClockState::Agrees));
        assert_eq!(trusted(), None);
    }
}

//! Values of API responses that were replaced or omitted, by endpoint and field.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use prometheus::IntGaugeVec;

use super::{Maker, signed};
use crate::api::Endpoint;
use crate::snapshot::Collector;

/// An endpoint and the name of a field below it.
type Field = (Endpoint, &'static str);

/// The counts of one run.
type Counts = BTreeMap<Field, u64>;

/// The series `flexvm_exporter_api_defects`.
#[derive(Debug)]
pub struct Defects {
    series: IntGaugeVec,
    /// The counts of each collector's latest run, by tenant. Two collectors can request one endpoint.
    latest: Mutex<BTreeMap<String, BTreeMap<Collector, Counts>>>,
}

impl Defects {
    pub fn new(made: &Maker<'_>) -> Result<Self, prometheus::Error> {
        let series = made.int_gauges(
            "api_defects",
            "Number of values of the latest run that were out of range or unreadable and were replaced or omitted. With field id: number of existing objects that a list lacks.",
            &["tenant", "endpoint", "field"],
        )?;
        Ok(Self { series, latest: Mutex::default() })
    }

    /// Replaces the counts of a collector by those of its latest run. A field without defects has no series.
    pub fn set(&self, tenant: &str, collector: Collector, counts: Counts) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let collectors = latest.entry(tenant.to_owned()).or_default();
        let fields: BTreeSet<Field> = counts.keys().copied().collect();
        let before = collectors.insert(collector, counts).unwrap_or_default();
        for (endpoint, field) in fields.into_iter().chain(before.into_keys()) {
            let counts = collectors.values().filter_map(|counts| counts.get(&(endpoint, field)));
            let labels = [tenant, endpoint.as_str(), field];
            match counts.fold(0, |sum: u64, count| sum.saturating_add(*count)) {
                // The series may not exist.
                0 => drop(self.series.remove_label_values(&labels)),
                count => self.series.with_label_values(&labels).set(signed(count)),
            }
        }
    }

    /// Removes the series of a tenant.
    pub fn remove_tenant(&self, tenant: &str) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        for counts in latest.remove(tenant).unwrap_or_default().into_values() {
            for (endpoint, field) in counts.into_keys() {
                // Two collectors can share a series.
                let _ = self.series.remove_label_values(&[tenant, endpoint.as_str(), field]);
            }
        }
    }
}

//! Series about the exporter itself, which live as long as the process.
//!
//! `api`, `poll` and `schedule` report here; `web` renders them fresh on each scrape. The methods
//! take typed values, so that labels come from closed sets.

mod certificates;
mod clocks;
mod defects;
mod http;
mod ledger;
mod open_metrics;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use prometheus::core::{Collector as PrometheusCollector, MetricVec, MetricVecBuilder};
use prometheus::proto::MetricFamily;
use prometheus::{
    Encoder as _, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use crate::api::{ClockState, Code, Defect, Endpoint, Observer, Reason};
use crate::ledger::{ChangedSeconds, Comparison, Ledger};
use crate::period::Month;
use crate::snapshot::Collector;

pub use self::certificates::CertificateUse;
pub use self::http::{Handler, OpenConnection, Rejection};

/// Bounds of request durations, in seconds: from a near server to the default timeout.
const REQUEST_BUCKETS: [f64; 12] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 45.0, 90.0];

/// Why a report can fail, beyond the reasons of requests.
const REPORT_REASONS: [Reason; 5] =
    [Reason::Period, Reason::Inconsistent, Reason::Incomplete, Reason::Storage, Reason::Exists];

/// How our sums differ from the provider's for the newest closed month.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// The month, `YYYY-MM`.
    pub month: String,
    /// Ours − provider's in numbers of VMs, by kind: `created`, `released`.
    pub vms: BTreeMap<&'static str, i64>,
    /// Ours − provider's in seconds, the largest absolute within `total`, `clouds` and `tags`.
    pub seconds: BTreeMap<&'static str, i64>,
}

/// All series about the exporter itself.
#[derive(Debug)]
pub struct SelfMetrics {
    registry: Registry,
    collector_success: IntGaugeVec,
    collector_duration: GaugeVec,
    collector_last_success: IntGaugeVec,
    collector_failures: IntCounterVec,
    requests: IntCounterVec,
    request_duration: HistogramVec,
    retries: IntCounterVec,
    unknown_fields: IntGaugeVec,
    defects: defects::Defects,
    last_wake: Gauge,
    report_due: IntGaugeVec,
    report_last_success: IntGaugeVec,
    report_failures: IntCounterVec,
    difference_vms: IntGaugeVec,
    difference_seconds: IntGaugeVec,
    report_changed: IntGaugeVec,
    open_differences: IntGaugeVec,
    ledger_new_beside_reports: IntGaugeVec,
    comparison_failures: IntCounterVec,
    verification_failures: IntCounterVec,
    clocks: clocks::Clocks,
    http: http::Http,
    certificates: certificates::Certificates,
    reload_successful: IntGauge,
    reload_success_time: IntGauge,
    state: Mutex<State>,
    /// Length in bytes of the latest text that was written.
    text_length: AtomicUsize,
}

/// What has to be remembered to take series away again.
#[derive(Debug, Default)]
struct State {
    tenants: BTreeSet<String>,
    unknown: BTreeMap<(String, Collector), BTreeSet<(Endpoint, String)>>,
    woken: bool,
    /// The months whose comparison has series, of each tenant.
    compared: BTreeMap<String, BTreeSet<Month>>,
}

impl SelfMetrics {
    /// Makes every family; `now` is when the configuration was read.
    #[expect(clippy::too_many_lines, reason = "a list of families, one after the other")]
    pub fn new(now: Timestamp) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let made = Maker(&registry);
        let build = made.int_gauges(
            "build_info",
            "Constant 1, with the version, the revision and the compiler this exporter was built from.",
            &["version", "revision", "rustc"],
        )?;
        build
            .with_label_values(&[
                env!("CARGO_PKG_VERSION"),
                env!("FLEXVM_BUILD_REVISION"),
                env!("FLEXVM_BUILD_RUSTC"),
            ])
            .set(1);
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let last_wake = Gauge::new(
            "flexvm_exporter_last_wake_timestamp_seconds",
            "Time of the latest wake of the scheduler that closes months, Unix time; it wakes every minute.",
        )?;
        let this = Self {
            collector_success: made.int_gauges(
                "collector_success",
                "Whether the newest run of the collector succeeded.",
                &["tenant", "collector"],
            )?,
            collector_duration: made.gauges(
                "collector_duration_seconds",
                "How long the newest run of the collector took.",
                &["tenant", "collector"],
            )?,
            collector_last_success: made.int_gauges(
                "collector_last_success_timestamp_seconds",
                "When the newest successful run of the collector ended, Unix time: the age of its series.",
                &["tenant", "collector"],
            )?,
            collector_failures: made.counters(
                "collector_failures_total",
                "Failed runs of the collector by reason.",
                &["tenant", "collector", "reason"],
            )?,
            requests: made.counters(
                "api_requests_total",
                "Requests to the FlexVM API by HTTP status, or by the reason where no status was received.",
                &["tenant", "endpoint", "code"],
            )?,
            request_duration: made.histograms(
                "api_request_duration_seconds",
                "Duration of requests to the FlexVM API, body included.",
                &["tenant", "endpoint"],
            )?,
            retries: made.counters(
                "api_retries_total",
                "Requests to the FlexVM API that were sent again.",
                &["tenant", "endpoint"],
            )?,
            unknown_fields: made.int_gauges(
                "api_unknown_fields",
                "How often the newest run met a field that the API does not document.",
                &["tenant", "endpoint", "field"],
            )?,
            defects: defects::Defects::new(&made)?,
            report_due: made.int_gauges(
                "report_due",
                "Months past their settle time that have no final report.",
                &["tenant"],
            )?,
            report_last_success: made.int_gauges(
                "report_last_success_timestamp_seconds",
                "When a month was last closed, Unix time.",
                &["tenant"],
            )?,
            report_failures: made.counters(
                "report_failures_total",
                "Failed attempts to close a month by reason.",
                &["tenant", "reason"],
            )?,
            difference_vms: made.int_gauges(
                "report_difference_vms",
                "VMs by which our figures and the provider's differ in the newest closed month. created and released: ours minus the provider's totals. only_observed: VMs that polls observed in use and the provider lacks; only_observed_other: VMs that polls observed only outside use; never_observed: VMs that only the provider lists; releases_differ and creations_differ: VMs whose times polls contradict. Absent if no poll was made.",
                &["tenant", "month", "kind"],
            )?,
            difference_seconds: made.int_gauges(
                "report_difference_seconds",
                "Our VM seconds minus the provider's hours in seconds in the newest closed month: of the differences within the scope the one that is largest by its absolute value, with its sign. The provider rounds up to hours.",
                &["tenant", "month", "scope"],
            )?,
            report_changed: made.int_gauges(
                "report_changed_seconds",
                "Difference between the closed month and the provider's current report, in seconds, by the latest comparison. vms: VM seconds that were added, removed, or moved to another instance type, tag or cloud; clouds and tags: hours of the provider's totals. 0 if nothing differs or the difference is waived.",
                &["tenant", "month", "scope"],
            )?,
            open_differences: made.int_gauges(
                "report_open_differences",
                "Closed months with a difference from the provider's current report that two readings confirmed and that is neither restated nor waived.",
                &["tenant"],
            )?,
            ledger_new_beside_reports: made.int_gauges(
                "ledger_new_beside_reports",
                "Whether the ledger was begun although reports of earlier months existed: observations of the past are lost.",
                &["tenant"],
            )?,
            comparison_failures: made.counters(
                "report_comparison_failures_total",
                "Failed comparisons of closed months with the provider's current report, by reason.",
                &["tenant", "reason"],
            )?,
            verification_failures: made.counters(
                "report_verification_failures_total",
                "Closed months that differ from the ledger record or could not be verified, by reason; counted at each verification.",
                &["tenant", "reason"],
            )?,
            clocks: clocks::Clocks::new(&made)?,
            http: http::Http::new(&made)?,
            certificates: certificates::Certificates::new(&made)?,
            reload_successful: made.int_gauge(
                "config_last_reload_successful",
                "Whether the newest reading of the configuration succeeded.",
            )?,
            reload_success_time: made.int_gauge(
                "config_last_reload_success_timestamp_seconds",
                "When the configuration was last read with success, Unix time.",
            )?,
            last_wake,
            state: Mutex::default(),
            text_length: AtomicUsize::default(),
            registry: registry.clone(),
        };
        this.reload_successful.set(1);
        this.reload_success_time.set(now.as_second());
        Ok(this)
    }

    /// Shows the figures of the ledger from now on; whoever has it keeps looking at its files.
    pub fn watch(&self, ledger: Ledger) {
        if let Err(error) = self.registry.register(Box::new(ledger::Figures::new(ledger))) {
            tracing::error!(%error, "the ledger has no series");
        }
    }

    /// Makes the counters of a tenant start at 0, so that their first increase is seen.
    pub fn add_tenant(&self, tenant: &str, collectors: impl Iterator<Item = Collector>) {
        let is_new = self.state().tenants.insert(tenant.to_owned());
        if is_new {
            // A request that was in progress when the tenant was removed may have created series afterwards.
            self.remove_series(tenant);
        }
        for collector in collectors {
            for reason in Reason::API.into_iter().chain(Reason::RUN) {
                self.collector_failures.with_label_values(&[tenant, collector.as_str(), reason.as_str()]);
            }
        }
        for reason in Reason::API.into_iter().chain(REPORT_REASONS) {
            for family in [&self.report_failures, &self.comparison_failures, &self.verification_failures] {
                family.with_label_values(&[tenant, reason.as_str()]);
            }
        }
    }

    /// Takes every series of a tenant away.
    pub fn remove_tenant(&self, tenant: &str) {
        self.state().tenants.remove(tenant);
        self.remove_series(tenant);
    }

    /// Removes every series of a tenant, and what is kept about them.
    fn remove_series(&self, tenant: &str) {
        self.defects.remove_tenant(tenant);
        self.clocks.remove_tenant(tenant);
        self.certificates.remove_tenant(tenant);
        {
            let mut state = self.state();
            state.unknown.retain(|(name, _), _| name != tenant);
            state.compared.remove(tenant);
        }
        remove(&self.collector_duration, tenant);
        remove(&self.request_duration, tenant);
        for family in [&self.collector_failures, &self.requests, &self.retries] {
            remove(family, tenant);
        }
        for family in [&self.report_failures, &self.comparison_failures, &self.verification_failures] {
            remove(family, tenant);
        }
        for family in [
            &self.collector_success,
            &self.collector_last_success,
            &self.unknown_fields,
            &self.report_due,
            &self.report_last_success,
            &self.difference_vms,
            &self.difference_seconds,
            &self.report_changed,
            &self.open_differences,
            &self.ledger_new_beside_reports,
        ] {
            remove(family, tenant);
        }
    }

    /// Records a comparison of the local clock with the API of `tenant`. Returns the previous result if
    /// it differs.
    pub fn clock_compared(&self, tenant: &str, clock: ClockState) -> Option<ClockState> {
        self.clocks.compared(tenant, clock)
    }

    /// Takes the series of a collector that is switched off away.
    pub fn remove_collector(&self, tenant: &str, collector: Collector) {
        let labels = [tenant, collector.as_str()];
        self.defects.set(tenant, collector, BTreeMap::new());
        // They need not be there.
        let _ = self.collector_success.remove_label_values(&labels);
        let _ = self.collector_duration.remove_label_values(&labels);
        let _ = self.collector_last_success.remove_label_values(&labels);
        for reason in Reason::API.into_iter().chain(Reason::RUN) {
            let _ =
                self.collector_failures.remove_label_values(&[tenant, collector.as_str(), reason.as_str()]);
        }
    }

    /// A run succeeded.
    pub fn collector_succeeded(&self, tenant: &str, collector: Collector, duration: Duration, at: Timestamp) {
        let labels = [tenant, collector.as_str()];
        self.collector_success.with_label_values(&labels).set(1);
        self.collector_duration.with_label_values(&labels).set(duration.as_secs_f64());
        self.collector_last_success.with_label_values(&labels).set(at.as_second());
    }

    /// A run failed.
    pub fn collector_failed(&self, tenant: &str, collector: Collector, duration: Duration, reason: Reason) {
        let labels = [tenant, collector.as_str()];
        self.collector_success.with_label_values(&labels).set(0);
        self.collector_duration.with_label_values(&labels).set(duration.as_secs_f64());
        self.collector_failures.with_label_values(&[tenant, collector.as_str(), reason.as_str()]).inc();
    }

    /// Counts the latest run as failed, because its data cannot be rendered. `last_success` is the end of the
    /// run whose data is shown; `None` if no data is shown.
    pub fn rendering_failed(&self, tenant: &str, collector: Collector, last_success: Option<Timestamp>) {
        // A reload may have removed the tenant.
        if !self.state().tenants.contains(tenant) {
            return;
        }
        let labels = [tenant, collector.as_str()];
        self.collector_success.with_label_values(&labels).set(0);
        let reason = Reason::Malformed.as_str();
        self.collector_failures.with_label_values(&[tenant, collector.as_str(), reason]).inc();
        match last_success {
            Some(at) => self.collector_last_success.with_label_values(&labels).set(at.as_second()),
            // The series may not exist.
            None => drop(self.collector_last_success.remove_label_values(&labels)),
        }
    }

    /// The undocumented fields that a collector's newest run met; those of the run before go.
    pub fn unknown_fields(
        &self,
        tenant: &str,
        collector: Collector,
        fields: &BTreeMap<(Endpoint, String), u64>,
    ) {
        let mut state = self.state();
        let known = state.unknown.entry((tenant.to_owned(), collector)).or_default();
        for (endpoint, field) in known.iter().filter(|key| !fields.contains_key(key)) {
            let _ = self.unknown_fields.remove_label_values(&[tenant, endpoint.as_str(), field]);
        }
        *known = fields.keys().cloned().collect();
        for ((endpoint, field), count) in fields {
            self.unknown_fields.with_label_values(&[tenant, endpoint.as_str(), field]).set(signed(*count));
        }
    }

    /// Sets the number of values that the latest run of a collector replaced or omitted.
    pub fn api_defects(
        &self,
        tenant: &str,
        collector: Collector,
        defects: &BTreeMap<(Endpoint, &'static str), Defect>,
    ) {
        let counts = defects.iter().map(|(key, defect)| (*key, defect.count)).collect();
        self.defects.set(tenant, collector, counts);
    }

    /// The scheduler woke.
    pub fn woke(&self, now: Timestamp) {
        #[expect(clippy::cast_precision_loss, reason = "seconds stay far below 2^53")]
        self.last_wake.set(now.as_second() as f64);
        let mut state = self.state();
        if !std::mem::replace(&mut state.woken, true) {
            // Not before the first wake: a 0 would read as 1970.
            let _ = self.registry.register(Box::new(self.last_wake.clone()));
        }
    }

    /// Months that wait for a report; `None` if that cannot be told.
    pub fn report_due(&self, tenant: &str, months: Option<usize>) {
        match months {
            Some(months) => self.report_due.with_label_values(&[tenant]).set(signed(months as u64)),
            // It need not be there.
            None => drop(self.report_due.remove_label_values(&[tenant])),
        }
    }

    /// A month was closed.
    pub fn report_succeeded(&self, tenant: &str, at: Timestamp) {
        self.report_last_success.with_label_values(&[tenant]).set(at.as_second());
    }

    /// A month could not be closed.
    pub fn report_failed(&self, tenant: &str, reason: Reason) {
        self.report_failures.with_label_values(&[tenant, reason.as_str()]).inc();
    }

    /// How the newest closed month differs from the provider's sums; earlier months' series go.
    pub fn reconciled(&self, tenant: &str, difference: &Difference) {
        remove(&self.difference_vms, tenant);
        remove(&self.difference_seconds, tenant);
        for (kind, vms) in &difference.vms {
            self.difference_vms.with_label_values(&[tenant, &difference.month, kind]).set(*vms);
        }
        for (scope, seconds) in &difference.seconds {
            self.difference_seconds.with_label_values(&[tenant, &difference.month, scope]).set(*seconds);
        }
    }

    /// Whether the ledger was begun although reports of earlier months existed.
    pub fn ledger_new_beside_reports(&self, tenant: &str, is_new: bool) {
        self.ledger_new_beside_reports.with_label_values(&[tenant]).set(is_new.into());
    }

    /// A closed month could not be compared with the provider's current report.
    pub fn comparison_failed(&self, tenant: &str, reason: Reason) {
        self.comparison_failures.with_label_values(&[tenant, reason.as_str()]).inc();
    }

    /// A closed month differs from the ledger record, or could not be verified.
    pub fn verification_failed(&self, tenant: &str, reason: Reason) {
        self.verification_failures.with_label_values(&[tenant, reason.as_str()]).inc();
    }

    /// The latest comparison of each closed month; other months have no series.
    pub fn compared(&self, tenant: &str, comparisons: &BTreeMap<Month, Comparison>) {
        // The families hold the series of all tenants, so they are not searched.
        let months = comparisons.keys().copied().collect();
        let before = self.state().compared.insert(tenant.to_owned(), months).unwrap_or_default();
        for month in before.iter().filter(|month| !comparisons.contains_key(month)) {
            for (scope, _) in ChangedSeconds::default().by_scope() {
                // It is there: it was set with the month.
                let _ = self.report_changed.remove_label_values(&[tenant, &month.to_string(), scope]);
            }
        }
        for (month, comparison) in comparisons {
            for (scope, seconds) in comparison.seconds.by_scope() {
                let labels = [tenant, &month.to_string(), scope];
                self.report_changed.with_label_values(&labels).set(signed(seconds));
            }
        }
        let open = comparisons.values().filter(|comparison| comparison.open).count();
        self.open_differences.with_label_values(&[tenant]).set(signed(open as u64));
    }

    /// Removes the expiry of the certificate of a tenant's API until the next connection.
    pub fn remove_api_certificate(&self, tenant: &str) {
        self.certificates.remove_tenant(tenant);
    }

    /// Replaces the expiries of the certificates of the HTTP server. A use without an expiry has no series.
    pub fn certificates(&self, expiries: &[(CertificateUse, Timestamp)]) {
        self.certificates.own(expiries);
    }

    /// Counts a request to which the HTTP server responded with the status `code`.
    pub fn http_request(&self, handler: Handler, code: u16) {
        self.http.request(handler, code);
    }

    /// Counts a connection that the HTTP server closed.
    pub fn http_rejected(&self, reason: Rejection) {
        self.http.rejected(reason);
    }

    /// Counts an accepted connection as open until the returned value is dropped.
    #[must_use]
    pub fn http_opened(&self) -> OpenConnection {
        self.http.opened()
    }

    /// The configuration was read again.
    pub fn reloaded(&self, success: bool, now: Timestamp) {
        self.reload_successful.set(success.into());
        if success {
            self.reload_success_time.set(now.as_second());
        }
    }

    /// All families in text format 0.0.4.
    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        // The text is nearly as long as the latest text. Each growth of the buffer would copy megabytes.
        let likely = self.text_length.load(Ordering::Relaxed);
        let mut text = Vec::with_capacity(likely + likely / 16);
        if let Err(error) = TextEncoder::new().encode(&self.families(), &mut text) {
            tracing::error!(%error, "self-metrics cannot be written");
        }
        self.text_length.store(text.len(), Ordering::Relaxed);
        text
    }

    /// All families in OpenMetrics 1.0, with the final `# EOF`.
    #[must_use]
    pub fn open_metrics(&self) -> Vec<u8> {
        let mut text = String::new();
        open_metrics::encode(&self.families(), &mut text);
        text.into_bytes()
    }

    /// Returns the families of the registry, without series of removed tenants and without empty
    /// families.
    fn families(&self) -> Vec<MetricFamily> {
        let tenants = self.state().tenants.clone();
        let mut families = self.registry.gather();
        for family in &mut families {
            family.mut_metric().retain(|metric| {
                let tenant = metric.get_label().iter().find(|label| label.name() == "tenant");
                tenant.is_none_or(|label| tenants.contains(label.value()))
            });
        }
        // The crate `prometheus` shows 0 if /proc has no file `stat` (ProcSubset=pid of systemd).
        let is_unknown = |family: &MetricFamily| {
            family.name() == "process_start_time_seconds"
                && family.get_metric().iter().all(|metric| metric.get_gauge().get_value() <= 0.0)
        };
        families.retain(|family| !family.get_metric().is_empty() && !is_unknown(family));
        families
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reports a tenant's requests.
#[derive(Debug)]
pub struct RequestObserver {
    /// Where to.
    pub metrics: Arc<SelfMetrics>,
    /// The tenant.
    pub tenant: Arc<str>,
}

impl Observer for RequestObserver {
    fn request(&self, endpoint: Endpoint, code: Code, elapsed: Duration) {
        let code = match code {
            Code::Status(status) => status.to_string(),
            Code::Reason(reason) => reason.as_str().to_owned(),
        };
        self.metrics.requests.with_label_values(&[&*self.tenant, endpoint.as_str(), &code]).inc();
        let histogram = self.metrics.request_duration.with_label_values(&[&*self.tenant, endpoint.as_str()]);
        histogram.observe(elapsed.as_secs_f64());
    }

    fn certificate(&self, expiry: Timestamp) {
        self.metrics.certificates.api(&self.tenant, expiry);
    }

    fn retry(&self, endpoint: Endpoint) {
        self.metrics.retries.with_label_values(&[&*self.tenant, endpoint.as_str()]).inc();
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Makes and registers families whose names begin `flexvm_exporter_`.
struct Maker<'a>(&'a Registry);

impl Maker<'_> {
    fn opts(name: &str, help: &str) -> Opts {
        Opts::new(format!("flexvm_exporter_{name}"), help)
    }

    fn register<C: PrometheusCollector + Clone + 'static>(&self, family: C) -> Result<C, prometheus::Error> {
        self.0.register(Box::new(family.clone()))?;
        Ok(family)
    }

    fn int_gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.register(IntGauge::with_opts(Self::opts(name, help))?)
    }

    fn int_gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        self.register(IntGaugeVec::new(Self::opts(name, help), labels)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, prometheus::Error> {
        self.register(GaugeVec::new(Self::opts(name, help), labels)?)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.register(IntCounterVec::new(Self::opts(name, help), labels)?)
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str]) -> Result<HistogramVec, prometheus::Error> {
        let opts =
            HistogramOpts::new(format!("flexvm_exporter_{name}"), help).buckets(REQUEST_BUCKETS.to_vec());
        self.register(HistogramVec::new(opts, labels)?)
    }
}

/// Removes the series of a tenant from a family.
fn remove<T: MetricVecBuilder>(family: &MetricVec<T>, tenant: &str) {
    for collected in family.collect() {
        for metric in collected.get_metric() {
            let labels: HashMap<&str, &str> =
                metric.get_label().iter().map(|pair| (pair.name(), pair.value())).collect();
            if labels.get("tenant") == Some(&tenant) {
                // Another thread may have removed it.
                let _ = family.remove(&labels);
            }
        }
    }
}

//! Every series that a dashboard or a rule names exists, and every series that exists is used.

use std::collections::{BTreeMap, BTreeSet};

use super::files::{asked, dashboards, names, panel_expressions, read, rules, text};

/// Series about the exporter itself. The golden file has those of the domain; `live` compares this
/// list with what the running program serves.
pub const SELF: [&str; 43] = [
    "flexvm_exporter_api_certificate_expiry_timestamp_seconds",
    "flexvm_exporter_api_request_duration_seconds",
    "flexvm_exporter_api_requests_total",
    "flexvm_exporter_api_retries_total",
    "flexvm_exporter_api_unknown_fields",
    "flexvm_exporter_build_info",
    "flexvm_exporter_certificate_expiry_timestamp_seconds",
    "flexvm_exporter_clock_trusted",
    "flexvm_exporter_collector_duration_seconds",
    "flexvm_exporter_collector_failures_total",
    "flexvm_exporter_collector_last_success_timestamp_seconds",
    "flexvm_exporter_collector_success",
    "flexvm_exporter_config_last_reload_success_timestamp_seconds",
    "flexvm_exporter_config_last_reload_successful",
    "flexvm_exporter_http_connections",
    "flexvm_exporter_http_connections_rejected_total",
    "flexvm_exporter_http_requests_total",
    "flexvm_exporter_last_wake_timestamp_seconds",
    "flexvm_exporter_ledger_events_total",
    "flexvm_exporter_ledger_failures_total",
    "flexvm_exporter_ledger_free_bytes",
    "flexvm_exporter_ledger_last_commit_timestamp_seconds",
    "flexvm_exporter_ledger_longest_gap_seconds",
    "flexvm_exporter_ledger_new_beside_reports",
    "flexvm_exporter_ledger_polls_total",
    "flexvm_exporter_ledger_size_bytes",
    "flexvm_exporter_report_changed_seconds",
    "flexvm_exporter_report_comparison_failures_total",
    "flexvm_exporter_report_difference_seconds",
    "flexvm_exporter_report_difference_vms",
    "flexvm_exporter_report_due",
    "flexvm_exporter_report_failures_total",
    "flexvm_exporter_report_last_success_timestamp_seconds",
    "flexvm_exporter_report_open_differences",
    "flexvm_exporter_report_verification_failures_total",
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
    "process_virtual_memory_bytes",
    "up",
];

/// Series that no dashboard or rule shows, each with its reason.
const UNUSED: [(&str, &str); 2] = [
    ("process_threads", "the number is that of tokio's workers and says nothing about health"),
    (
        "process_virtual_memory_bytes",
        "address space that is reserved costs nothing; resident memory is shown",
    ),
];

fn existing() -> BTreeSet<String> {
    let golden = read("tests/golden/metrics.prom");
    let families = golden.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let domain = families.map(|line| line.split(' ').next().unwrap().to_owned());
    domain.chain(SELF.iter().map(ToString::to_string)).collect()
}

/// The family of a series: a histogram's series have suffixes.
pub fn family(name: &str) -> &str {
    let histogram = "flexvm_exporter_api_request_duration_seconds";
    if name.starts_with(histogram) { histogram } else { name }
}

/// Every series that is named, with the places that name it.
fn named() -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let recorded: BTreeSet<_> = rules().iter().map(|rule| text(rule, "record").to_owned()).collect();
    let mut add = |place: &str, expr: &str| {
        for (name, _) in names(expr) {
            if name.contains(':') {
                assert!(recorded.contains(&name), "{place}: nothing records {name}");
            } else {
                found.entry(family(&name).to_owned()).or_default().push(place.to_owned());
            }
        }
    };
    for expression in panel_expressions() {
        add(&expression.place, &expression.expr);
    }
    for rule in rules() {
        add(&format!("rule {}{}", text(&rule, "alert"), text(&rule, "record")), text(&rule, "expr"));
    }
    for (name, dashboard) in dashboards() {
        for variable in dashboard["templating"]["list"].as_array().unwrap() {
            add(&format!("{name}: variable {}", variable["name"]), asked(variable));
        }
    }
    found
}

#[test]
fn every_series_that_is_named_exists() {
    let existing = existing();
    for (name, places) in named() {
        assert!(existing.contains(&name), "{name}: {places:?}");
    }
}

#[test]
fn every_series_that_exists_is_used() {
    let used: BTreeSet<_> = named().into_keys().collect();
    let unused: BTreeSet<_> = existing().difference(&used).cloned().collect();
    let excused: BTreeSet<_> = UNUSED.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(unused, excused);
}

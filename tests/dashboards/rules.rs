//! Recording rules and alerts: their form, their runbooks, and what promtool says of them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::files::{listed, names, read, root, rules, text, yaml};
use super::program::tool;

fn alerts() -> Vec<Value> {
    rules().into_iter().filter(|rule| rule.get("alert").is_some()).collect()
}

#[test]
fn recording_rules_are_named_level_metric_operations() {
    let mut found = 0;
    for rule in rules().iter().filter(|rule| rule.get("record").is_some()) {
        found += 1;
        let (record, expr) = (text(rule, "record"), text(rule, "expr"));
        let parts: Vec<_> = record.split(':').collect();
        assert!(parts.len() == 3 && parts.iter().all(|part| !part.is_empty()), "{record}");
        assert!(parts[0].starts_with("tenant") && parts[1].starts_with("flexvm_"), "{record}");
        // The metric is the one that is recorded: the expression is made of it.
        let made_of = names(expr);
        let near = |name: &str| name.contains(parts[1]) || name.starts_with(parts[1]);
        let derived = [
            "flexvm_vm_status_age_seconds",
            "flexvm_exporter_api_request_errors",
            "flexvm_usage_stopped_vm_seconds",
        ];
        let plain = parts[1].trim_end_matches('s');
        assert!(
            derived.contains(&parts[1]) || made_of.iter().any(|(name, _)| near(name) || name.contains(plain)),
            "{record}"
        );
    }
    assert!(found > 10, "{found}");
}

#[test]
fn every_alert_is_complete() {
    let mut seen = BTreeSet::new();
    for alert in alerts() {
        let name = text(&alert, "alert");
        assert!(seen.insert(name.to_owned()), "{name} twice");
        assert!(name.starts_with("Flexvm") && name.chars().all(|c| c.is_ascii_alphanumeric()), "{name}");
        assert!(!text(&alert, "for").is_empty(), "{name}: no for");
        assert!(["critical", "warning", "info"].contains(&text(&alert["labels"], "severity")), "{name}");
        let annotations = &alert["annotations"];
        assert!(!text(annotations, "summary").is_empty(), "{name}");
        assert!(text(annotations, "description").ends_with('.'), "{name}");
        assert_eq!(text(annotations, "runbook_url"), format!("docs/runbooks.md#{}", name.to_lowercase()));
    }
}

#[test]
fn every_alert_has_its_section_and_no_section_is_left_over() {
    let runbooks = read("docs/runbooks.md");
    let mut sections = BTreeSet::new();
    for section in runbooks.split("\n## ").skip(1) {
        let (title, body) = section.split_once('\n').unwrap();
        for part in ["**What it means.**", "**How to see it.**", "**What to do.**"] {
            let said = body.split(part).nth(1).unwrap_or_else(|| panic!("{title}: no {part}"));
            assert!(said.split("\n\n").next().unwrap().len() > 20, "{title}: {part}");
        }
        for link in body.split("](#").skip(1) {
            let anchor = link.split(')').next().unwrap();
            assert!(runbooks.to_lowercase().contains(&format!("\n## {anchor}\n")), "{title}: {anchor}");
        }
        sections.insert(title.to_owned());
    }
    let named: BTreeSet<_> = alerts().iter().map(|alert| text(alert, "alert").to_owned()).collect();
    assert_eq!(sections, named);
}

#[test]
fn alerts_never_rate_figures_of_a_month() {
    for rule in rules() {
        let expr = text(&rule, "expr");
        for function in ["rate(", "increase(", "delta(", "deriv("] {
            for inside in expr.split(function).skip(1) {
                let (metric, _) = names(inside).swap_remove(0);
                assert!(metric.starts_with("flexvm_exporter_"), "{function}{metric}");
                let counter = ["_total", "_bucket"].iter().any(|suffix| metric.ends_with(suffix));
                assert!(counter, "{metric} is no counter");
            }
        }
    }
}

/// What a test of promtool's says of alerts.
struct Tested {
    /// Families that the test gives values to.
    given: BTreeSet<String>,
    /// Alerts that it expects to fire.
    fires: BTreeSet<String>,
    /// Whether it expects that none fires at all.
    quiet: bool,
}

fn tests() -> Vec<Tested> {
    let mut found = Vec::new();
    for path in listed("config/rules/tests", ".yml") {
        let file = yaml(path.strip_prefix(root()).unwrap().to_str().unwrap());
        for test in file["tests"].as_array().unwrap() {
            let list = |of: &Value, key: &str| of[key].as_array().cloned().unwrap_or_default();
            let given = list(test, "input_series");
            let given =
                given.iter().map(|series| text(series, "series").split('{').next().unwrap().to_owned());
            let mut fires = BTreeSet::new();
            let mut quiet = false;
            for asked in list(test, "promql_expr_test") {
                let firing = text(&asked, "expr").contains("ALERTS{alertstate=\"firing\"}");
                let samples = list(&asked, "exp_samples");
                quiet |= firing && samples.is_empty();
                for sample in samples.iter().filter(|_| firing) {
                    let labels = text(sample, "labels");
                    let name = labels.split("alertname=\"").nth(1).unwrap().split('"').next().unwrap();
                    fires.insert(name.to_owned());
                }
            }
            for asked in list(test, "alert_rule_test") {
                if !list(&asked, "exp_alerts").is_empty() {
                    fires.insert(text(&asked, "alertname").to_owned());
                }
            }
            found.push(Tested { given: given.collect(), quiet: quiet && fires.is_empty(), fires });
        }
    }
    found
}

/// The families that an alert is made of, recorded ones followed to their source.
pub fn sources(expr: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (name, _) in names(expr) {
        if name.contains(':') {
            let rules = rules();
            let rule = rules.iter().find(|rule| text(rule, "record") == name).unwrap();
            found.extend(sources(text(rule, "expr")));
        } else {
            found.insert(name);
        }
    }
    found
}

#[test]
fn every_alert_is_tested_firing_and_not_firing() {
    let tests = tests();
    for alert in alerts() {
        let name = text(&alert, "alert");
        assert!(tests.iter().any(|test| test.fires.contains(name)), "{name} fires in no test");
        // Without the series that it looks at, an alert is silent for the wrong reason.
        let needed = sources(text(&alert, "expr"));
        let silent = tests.iter().any(|test| test.quiet && needed.is_subset(&test.given));
        assert!(silent, "{name}: no test has {needed:?} and raises nothing");
    }
}

/// What the operators of a fleet asked to be told of, each with its alerts.
const SUBJECTS: [(&str, &[&str]); 19] = [
    ("exporter down", &["FlexvmExporterDown", "FlexvmExporterAbsent", "FlexvmConfigReloadFailed"]),
    ("a collector failing or stale", &["FlexvmCollectorFailing", "FlexvmCollectorStale"]),
    ("credentials refused", &["FlexvmCredentialsRefused"]),
    ("API slow or erroring", &["FlexvmApiSlow", "FlexvmApiErrors"]),
    ("rate limited", &["FlexvmApiRateLimited"]),
    (
        "capacity low by class",
        &[
            "FlexvmVcpusLow",
            "FlexvmMemoryLow",
            "FlexvmDevicesLow",
            "FlexvmInstanceTypeExhausted",
            "FlexvmNodeNotRunning",
        ],
    ),
    ("VMs failed or stuck", &["FlexvmVmsFailed", "FlexvmVmsStuck", "FlexvmVmsOmitted"]),
    ("VMs stopped for long", &["FlexvmVmsStoppedLong"]),
    ("much untagged use", &["FlexvmMuchUntaggedUse"]),
    ("spend ahead of last month", &["FlexvmUseAheadOfLastMonth", "FlexvmSpendAheadOfLastMonth"]),
    ("report due or failed", &["FlexvmReportDue", "FlexvmReportFailing", "FlexvmReportWorkerAsleep"]),
    ("reconciliation unexplained", &["FlexvmReconciliationUnexplained"]),
    ("a closed month changed", &["FlexvmClosedMonthChanged", "FlexvmComparisonFailing"]),
    ("files of a closed month", &["FlexvmReportFilesDiffer"]),
    (
        "ledger failing or disk filling",
        &[
            "FlexvmLedgerFailing",
            "FlexvmLedgerStale",
            "FlexvmLedgerDiskFilling",
            "FlexvmLedgerNewBesideReports",
        ],
    ),
    ("wrong clock", &["FlexvmClockUntrusted"]),
    ("certificates", &["FlexvmCertificateExpiring", "FlexvmApiCertificateExpiring"]),
    ("the exporter's own HTTP server", &["FlexvmConnectionsRejected", "FlexvmPasswordsRefused"]),
    ("unknown fields", &["FlexvmUnknownFields"]),
];

#[test]
fn every_subject_has_its_alerts() {
    let named: Vec<_> = alerts().iter().map(|alert| text(alert, "alert").to_owned()).collect();
    let mut listed: Vec<_> = SUBJECTS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    listed.sort_unstable();
    let mut sorted = named.clone();
    sorted.sort_unstable();
    assert_eq!(listed, sorted);
}

/// The words that levels are made of, and the labels that they stand for.
const LEVELS: [(&str, &str); 8] = [
    ("instance_type", "instance_type"),
    ("tenant", "tenant"),
    ("cloud", "cloud_id"),
    ("vm", "vm_id"),
    ("endpoint", "endpoint"),
    ("currency", "currency"),
    ("device", "device"),
    ("status", "status"),
];

#[test]
fn the_level_of_a_recording_rule_is_what_it_is_aggregated_by() {
    for rule in rules().iter().filter(|rule| rule.get("record").is_some()) {
        let (record, expr) = (text(rule, "record"), text(rule, "expr"));
        let (mut level, mut labels) = (record.split(':').next().unwrap(), BTreeSet::new());
        while !level.is_empty() {
            let (word, label) = LEVELS.iter().find(|(word, _)| level.starts_with(word)).unwrap();
            labels.insert(*label);
            level = level[word.len()..].trim_start_matches('_');
        }
        let mut aggregated = expr.split("by (").skip(1).map(|by| {
            // A quantile takes `le` away.
            by.split(')').next().unwrap().split(", ").filter(|label| *label != "le").collect::<BTreeSet<_>>()
        });
        assert!(aggregated.any(|by| by == labels), "{record}: {expr}");
    }
}

#[test]
fn promtool_checks_and_tests_the_rules() {
    if let Some(promtool) = tool("promtool") {
        judge(&promtool);
    }
    let promtool = root().join("target/tools/prometheus3/promtool");
    if promtool.exists() {
        judge(&promtool);
    } else {
        eprintln!("SKIPPED: there is no promtool 3.x");
    }
}

fn judge(promtool: &Path) {
    let run = |arguments: &[&str], files: Vec<std::path::PathBuf>| {
        let output = Command::new(promtool).args(arguments).args(files).output().unwrap();
        let said =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        assert!(output.status.success(), "{} {arguments:?}: {said}", promtool.display());
    };
    run(&["check", "rules", "--lint=all", "--lint-fatal"], listed("config/rules", ".yml"));
    run(&["test", "rules"], listed("config/rules/tests", ".yml"));
    run(&["check", "config", "--syntax-only"], vec![root().join("config/prometheus.yml")]);
}

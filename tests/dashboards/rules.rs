//! Recording rules and alerts: their form, their runbooks, and what promtool says of them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::files::{listed, names, read, root, rules, text};
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
    assert!(seen.len() >= 25, "{}", seen.len());
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

#[test]
fn every_alert_is_tested() {
    let tests: String = listed("config/rules/tests", ".yml")
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    for alert in alerts() {
        let name = text(&alert, "alert");
        let fires = [format!("alertname=\"{name}\""), format!("alertname: {name}\n")];
        assert!(fires.iter().any(|fires| tests.contains(fires)), "{name} fires in no test");
    }
    for path in listed("config/rules/tests", ".yml") {
        let test = std::fs::read_to_string(&path).unwrap();
        assert!(test.contains("raises nothing") && test.contains("exp_samples: []"), "{}", path.display());
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

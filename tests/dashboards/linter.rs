//! The rules for dashboards, each as an assertion with the name of what breaks it.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use super::files::{DASHBOARDS, dashboards, listed, names, panel_expressions, panels, root, text};
use super::program::tool;

/// Values that overlap: drawn over each other or added up they would say something false.
const OVERLAPPING: [&str; 3] =
    ["flexvm_tag_vms", "flexvm_usage_tag_vm_seconds", "flexvm_usage_tag_reported_vm_seconds"];

/// Units that Grafana has and that we use; others would be shown as text.
const UNITS: [&str; 7] = ["none", "percentunit", "bytes", "s", "ops", "reqps", "dateTimeAsIso"];

/// Series of a process, which serves several tenants.
const OF_THE_PROCESS: [&str; 7] = [
    "flexvm_exporter_build_info",
    "flexvm_exporter_config_",
    "flexvm_exporter_last_wake_",
    "flexvm_exporter_ledger_",
    "process_",
    "flexvm_exporter_certificate_",
    "flexvm_exporter_http_",
];

#[test]
fn the_json_files_are_what_the_generator_writes() {
    let Some(python) = tool("python3") else { return };
    let mut command = Command::new(python);
    let status =
        command.arg(root().join("dashboards/generate.py")).arg("--check").env("PYTHONDONTWRITEBYTECODE", "1");
    assert!(status.status().unwrap().success(), "run dashboards/generate.py");
}

#[test]
fn there_are_five_dashboards_with_stable_names() {
    let files: Vec<_> =
        listed("dashboards", ".json").iter().map(|path| path.file_stem().unwrap().to_owned()).collect();
    assert_eq!(files, DASHBOARDS);
    for (name, dashboard) in dashboards() {
        assert_eq!(dashboard["uid"], format!("flexvm-{name}"));
        assert!(text(&dashboard, "uid").len() <= 40, "{name}: Grafana takes 40 characters");
        assert!((39..=42).contains(&dashboard["schemaVersion"].as_u64().unwrap()), "{name}");
        assert_eq!(dashboard["editable"], false, "{name}");
        assert_eq!(dashboard["timezone"], "utc", "{name}: months are UTC");
        assert!(
            dashboard.get("__inputs").is_none() && dashboard.get("id").is_none(),
            "{name}: not for provisioning"
        );
        assert!(
            !text(&dashboard, "description").is_empty() && !text(&dashboard, "title").is_empty(),
            "{name}"
        );
    }
}

#[test]
fn every_dashboard_has_the_variables() {
    for (name, dashboard) in dashboards() {
        let list = dashboard["templating"]["list"].as_array().unwrap();
        let found: Vec<_> = list.iter().map(|variable| text(variable, "name")).collect();
        assert_eq!(found[..5], ["datasource", "job", "instance", "tenant", "cloud"], "{name}");
        assert_eq!((text(&list[0], "type"), text(&list[0], "query")), ("datasource", "prometheus"), "{name}");
        assert_eq!(list[0]["label"], "Data source", "{name}");
        for variable in &list[1..5] {
            let which = format!("{name}: {}", variable["name"]);
            assert_eq!(variable["type"], "query", "{which}");
            assert_eq!(variable["datasource"]["uid"], "${datasource}", "{which}");
            assert_eq!(
                (variable["multi"].as_bool(), variable["includeAll"].as_bool()),
                (Some(true), Some(true)),
                "{which}"
            );
            assert_eq!(
                (text(variable, "allValue"), variable["refresh"].as_u64()),
                (".+", Some(2)),
                "{which}"
            );
            assert!(!text(variable, "label").is_empty(), "{which}");
        }
    }
}

#[test]
fn every_dashboard_leads_to_the_others() {
    let uids: BTreeSet<_> = DASHBOARDS.iter().map(|name| format!("flexvm-{name}")).collect();
    for (name, dashboard) in dashboards() {
        let mut linked: BTreeSet<_> = BTreeSet::new();
        for link in dashboard["links"].as_array().unwrap() {
            assert_eq!(
                (&link["keepTime"], &link["includeVars"]),
                (&Value::Bool(true), &Value::Bool(true)),
                "{name}"
            );
            linked.insert(text(link, "url").strip_prefix("/d/").unwrap().to_owned());
        }
        linked.insert(format!("flexvm-{name}"));
        assert_eq!(linked, uids, "{name}");
        // Links of cells, too, lead to what exists.
        let all = dashboard.to_string();
        for target in all.split("\"/d/").skip(1) {
            let uid = target.split(['?', '"']).next().unwrap();
            assert!(uids.contains(uid), "{name}: {uid}");
        }
    }
}

#[test]
fn every_panel_is_complete() {
    for (name, dashboard) in dashboards() {
        let (mut ids, mut titles) = (BTreeSet::new(), BTreeSet::new());
        for panel in dashboard["panels"].as_array().unwrap() {
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{name}: an id twice");
            assert!(titles.insert(text(panel, "title")), "{name}: {} twice", panel["title"]);
        }
        for panel in panels(&dashboard) {
            let which = format!("{name}: {}", panel["title"]);
            let defaults = &panel["fieldConfig"]["defaults"];
            assert!(!text(panel, "title").is_empty(), "{which}");
            assert!(text(panel, "description").ends_with('.'), "{which}: no description");
            assert!(!text(defaults, "noValue").is_empty(), "{which}: blank without an answer");
            let overrides = panel["fieldConfig"]["overrides"].as_array().unwrap().iter();
            let properties = overrides.flat_map(|it| it["properties"].as_array().unwrap());
            let given = |id| properties.clone().filter(move |it| it["id"] == id).map(|it| &it["value"]);
            for unit in given("unit").chain([&defaults["unit"]]) {
                let unit = unit.as_str().unwrap_or_default();
                assert!(UNITS.contains(&unit) || unit.starts_with("suffix: "), "{which}: unit {unit:?}");
            }
            for thresholds in given("thresholds").chain([&defaults["thresholds"]]) {
                let steps = thresholds["steps"].as_array().unwrap();
                assert!(
                    steps[0]["value"].is_null(),
                    "{which}: a first step covers everything below the next"
                );
                let values: Vec<_> = steps[1..].iter().map(|step| step["value"].as_f64().unwrap()).collect();
                assert!(values.is_sorted_by(|a, b| a < b), "{which}: {values:?}");
            }
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{which}");
            let targets = panel["targets"].as_array().unwrap();
            assert!(!targets.is_empty(), "{which}: no target");
            let ids: BTreeSet<_> = targets.iter().map(|target| text(target, "refId")).collect();
            assert_eq!(ids.len(), targets.len(), "{which}: a refId twice");
            for target in targets {
                assert_eq!(
                    target["datasource"],
                    serde_json::json!({"type": "prometheus", "uid": "${datasource}"}),
                    "{which}"
                );
                assert!(!text(target, "legendFormat").is_empty(), "{which}");
                // Only a graph needs every point of a range.
                assert_eq!(target["range"].as_bool().unwrap(), panel["type"] == "timeseries", "{which}");
                assert_ne!(target["range"], target["instant"], "{which}");
            }
        }
    }
}

#[test]
fn panels_do_not_lie_over_each_other() {
    for (name, dashboard) in dashboards() {
        let mut taken = BTreeSet::new();
        for panel in dashboard["panels"].as_array().unwrap() {
            let side = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            assert!(side("x") + side("w") <= 24, "{name}: {}", panel["title"]);
            for x in side("x")..side("x") + side("w") {
                for y in side("y")..side("y") + side("h") {
                    assert!(taken.insert((x, y)), "{name}: {}", panel["title"]);
                }
            }
        }
    }
}

#[test]
fn every_selector_follows_the_variables() {
    for expression in panel_expressions() {
        let found = names(&expression.expr);
        assert!(!found.is_empty(), "{}", expression.place);
        for (name, rest) in found {
            assert!(
                rest.starts_with(r#"{job=~"$job",instance=~"$instance""#),
                "{}: {name}",
                expression.place
            );
            assert!(!name.contains(':'), "{}: {name}: dashboards work without the rules", expression.place);
            let chosen = &rest[..rest.find('}').unwrap()];
            let of_a_tenant = name != "up" && !OF_THE_PROCESS.iter().any(|of| name.starts_with(of));
            assert_eq!(chosen.contains(r#"tenant=~"$tenant""#), of_a_tenant, "{}: {name}", expression.place);
            let of_a_cloud = ["flexvm_cloud_", "flexvm_node_", "flexvm_vm_", "flexvm_usage_cloud_"]
                .iter()
                .any(|of| name.starts_with(of));
            assert_eq!(chosen.contains(r#"cloud_id=~"$cloud""#), of_a_cloud, "{}: {name}", expression.place);
        }
    }
}

#[test]
fn rates_are_of_counters_alone_and_over_the_rate_interval() {
    for expression in panel_expressions() {
        let (place, expr) = (&expression.place, &expression.expr);
        for function in ["irate(", "increase(", "delta(", "deriv(", "_over_time("] {
            assert!(!expr.contains(function), "{place}: {function}");
        }
        for rated in expr.split("rate(").skip(1) {
            let (metric, _) = names(rated).swap_remove(0);
            let counter =
                ["_total", "_bucket", "_sum", "_count"].iter().any(|suffix| metric.ends_with(suffix));
            assert!(counter, "{place}: {metric} is no counter");
            assert!(rated[rated.find('[').unwrap()..].starts_with("[$__rate_interval])"), "{place}");
        }
        for (metric, _) in names(expr).iter().filter(|(name, _)| name.ends_with("_total")) {
            assert!(expr.contains(&format!("rate({metric}")), "{place}: {metric} grows for ever");
        }
    }
}

#[test]
fn overlapping_figures_are_neither_stacked_nor_added_up() {
    let mut seen = 0;
    for (name, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            let which = format!("{name}: {}", panel["title"]);
            for target in panel["targets"].as_array().unwrap() {
                let expr = text(target, "expr");
                if !OVERLAPPING.iter().any(|metric| expr.contains(metric)) {
                    continue;
                }
                seen += 1;
                let stacking = &panel["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"];
                assert_ne!(stacking, "normal", "{which}");
                assert_ne!(panel["type"], "piechart", "{which}");
                assert_ne!(panel["options"]["footer"]["show"], true, "{which}: a footer adds up");
                for sum in expr.split("sum").skip(1) {
                    let of = &names(sum)[0].0;
                    let apart = sum.starts_with(" by (tenant, tag)") || !OVERLAPPING.contains(&&**of);
                    assert!(apart, "{which}: {expr}");
                }
                let description = text(panel, "description");
                assert!(
                    ["both", "overlap"].iter().any(|word| description.contains(word)),
                    "{which}: does not say so"
                );
            }
        }
    }
    assert!(seen >= 4, "{seen}");
}

#[test]
fn a_large_fleet_does_not_flood_a_panel() {
    for (name, dashboard) in dashboards() {
        for panel in panels(&dashboard).filter(|panel| panel["type"] != "stat" && panel["type"] != "table") {
            for target in panel["targets"].as_array().unwrap() {
                // A VM, a cloud, a tag or a group in the legend can be thousands.
                let legend = text(target, "legendFormat");
                let many = ["vm}}", "cloud}}", "tag}}", "group}}", "tenant}}"]
                    .iter()
                    .any(|label| legend.contains(label));
                let expr = text(target, "expr");
                let bounded = expr.contains("topk(") || expr.contains("bottomk(") || expr.ends_with("> 0");
                assert!(!many || bounded, "{name}: {}: {legend}", panel["title"]);
            }
        }
        for panel in dashboard["panels"].as_array().unwrap() {
            assert!(
                panel.get("repeat").is_none(),
                "{name}: {}: one panel for each of thousands",
                panel["title"]
            );
        }
        for panel in panels(&dashboard).filter(|panel| panel["type"] == "table") {
            for target in panel["targets"].as_array().unwrap() {
                let (expr, title) = (text(target, "expr"), &panel["title"]);
                assert_eq!(target["format"], "table", "{name}: {title}");
                let bounded = ["topk(", "count by", "sum by"].iter().any(|bound| expr.contains(bound));
                assert!(!expr.contains("flexvm_vm_") || bounded, "{name}: {title}: a row for each VM");
            }
        }
    }
}

//! Groups: `group_by` of each tenant and the tag rules mean the same in files and in gauges.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::place::{Place, config, get, last_month, until};

/// Exact seconds by the labels `group` and `group_kind`.
type Groups = BTreeMap<(String, String), u64>;

/// The groups of last month's by-group.csv, named as metrics name groups.
fn in_the_file(place: &Place, tenant: &str, keys: &[&str]) -> Groups {
    let last = last_month();
    let path = format!("out/{tenant}/{last}/r01/flexvm-usage_{tenant}_{last}_r01_by-group.csv");
    let mut reader = csv::Reader::from_path(place.path(&path)).unwrap();
    let rows = reader.deserialize().map(|row| {
        let row: BTreeMap<String, String> = row.unwrap();
        let cells = keys.iter().map(|key| row[&format!("tag:{key}")].trim_start_matches('\''));
        let cells: Vec<_> = match keys {
            [_] => cells.map(str::to_owned).collect(),
            _ => cells.map(|cell| cell.replace('/', "\\/")).collect(),
        };
        ((cells.join(" / "), row["group_kind"].clone()), row["vm_seconds"].parse().unwrap())
    });
    rows.collect()
}

/// The same by the metrics of the previous month, summed over the uses.
fn in_the_gauges(text: &str, tenant: &str) -> Groups {
    let start = format!("flexvm_usage_group_vm_seconds{{tenant=\"{tenant}\",group=\"");
    let mut groups = BTreeMap::new();
    for line in text.lines().filter(|line| line.contains("period=\"previous\"")) {
        let Some((group, rest)) =
            line.strip_prefix(&start).and_then(|rest| rest.split_once("\",group_kind=\""))
        else {
            continue;
        };
        let (kind, rest) = rest.split_once('"').unwrap();
        let seconds: u64 = rest.rsplit_once(' ').unwrap().1.parse().unwrap();
        *groups.entry((group.replace("\\\\", "\\"), kind.to_owned())).or_default() += seconds;
    }
    groups
}

#[test]
fn files_and_gauges_name_the_same_groups() {
    let place = Place::new();
    place.write("token", "simulator\n");
    let (_simulator, api) = place.simulator(&["--vms", "60"]);
    let own = format!(
        "  - {{name: k2, base_url: '{api}', token_file: token, report: {{group_by: [Product, env]}}}}\napi: {{"
    );
    let rules = "[{key: project, rename: Product, values: {odyssey: Ulysses}}, \
                 {key: Env, rename: env, lowercase: true, trim: true}]";
    let more = format!(
        "report: {{directory: out, settle: 0s, backfill: 1, group_by: [Product], tag_rules: {rules}}}\n"
    );
    let (_daemon, address) = place.serve("daemon", &config(&api, &more).replace("api: {", &own));
    let text = until("the closed month and its gauges", || {
        let (_, text) = get(&address, "/metrics", "");
        let there = |tenant: &str| {
            text.contains(&format!("flexvm_report_vm_seconds{{tenant=\"{tenant}\""))
                && !in_the_gauges(&text, tenant).is_empty()
        };
        (there("k1") && there("k2")).then_some(text.clone())
    });
    for (tenant, keys) in [("k1", &["Product"][..]), ("k2", &["Product", "env"])] {
        let groups = in_the_gauges(&text, tenant);
        assert_eq!(groups, in_the_file(&place, tenant, keys), "{tenant}");
        assert!(groups.keys().any(|(group, _)| group.contains("Ulysses")), "{groups:?}");
        assert!(
            !groups.keys().any(|(group, _)| group.contains("odyssey") || group.contains("Build")),
            "{groups:?}"
        );
    }
    let (one, two) = (in_the_gauges(&text, "k1"), in_the_gauges(&text, "k2"));
    assert!(two.len() > one.len(), "a key more makes more groups: {one:?} {two:?}");
    assert_eq!(one.values().sum::<u64>(), two.values().sum::<u64>());
}

/// The simulator has a VM with the tags `env:build` and `Env:Build`.
#[test]
fn look_alike_tags_are_named_until_a_rule_joins_them() {
    let place = Place::new();
    place.write("token", "simulator\n");
    let (_simulator, api) = place.simulator(&["--vms", "60"]);
    let last = last_month().to_string();
    let configured = |out: &str, group_by: &str, rules: &str| {
        let report = format!("{{directory: {out}, settle: 0s, group_by: [{group_by}], tag_rules: {rules}}}");
        config(&api, &format!("report: {report}\n"))
    };
    let seen = |out: &str, rules: &str| {
        let text = configured(out, "env", rules);
        let checked = place.run_with(&text, &["check", "--online", "--output", "json"]);
        assert_eq!(checked.code, Some(0), "{}", checked.stderr);
        let checked: Value = serde_json::from_str(&checked.stdout).unwrap();
        let missing = checked["tenants"][0]["missing"].as_array().unwrap().clone();
        let dry_run = place.run_with(&text, &["report", "--month", &last, "--dry-run"]).stdout;
        let report = place.run_with(&text, &["report", "--month", &last, "--out", out]).stdout;
        let manifest = report.lines().find(|line| line.ends_with("_manifest.json")).unwrap().trim();
        let manifest = place.path(manifest);
        let manifest: Value = serde_json::from_slice(&std::fs::read(manifest).unwrap()).unwrap();
        let warnings = manifest["warnings"].as_array().unwrap().iter();
        let warnings = warnings.map(|it| it.as_str().unwrap()).collect::<Vec<_>>().join("\n");
        let missing = missing.iter().filter(|it| it["what"] == "tags");
        let missing = missing.map(|it| it["text"].as_str().unwrap()).collect::<Vec<_>>().join("\n");
        ([missing, dry_run, report, warnings], manifest["tag_rules"].clone())
    };
    let (texts, _) = seen("plain", "[]");
    for text in texts {
        assert!(text.contains("look alike but are different groups: \"Env:Build\", \"env:build\""), "{text}");
        assert!(
            text.contains("report.group_by contains only the second key of each pair: \"Env\" and \"env\""),
            "{text}"
        );
    }
    let rule = "[{key: env, ignore_case: true, lowercase: true, normalize: nfc}]";
    let (texts, recorded) = seen("joined", rule);
    for text in texts {
        assert!(!text.contains("look alike"), "{text}");
    }
    let expected = json!([{"key": "env", "ignore_case": true, "rename": null, "lowercase": true, "trim": false,
        "normalize": "nfc", "values": {}}]);
    assert_eq!(recorded, expected);
    // A key that only a rule creates is not missing.
    let rule = "[{key: ENV, ignore_case: true, rename: stage}]";
    let text = configured("renamed", "stage", rule);
    let checked = place.run_with(&text, &["check", "--online"]).stdout;
    assert!(!checked.contains("report.group_by"), "{checked}");
    // A key that a rule changes is in no tag.
    let refused = place.run_with(&configured("renamed", "env", rule), &["check"]);
    assert_eq!(refused.code, Some(78));
    let problem = "report.tag_rules[0] changes the key \"env\" to \"stage\"; write \"stage\" here";
    assert!(refused.stderr.contains(problem), "{}", refused.stderr);
}

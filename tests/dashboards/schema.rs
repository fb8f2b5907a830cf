//! The dashboards against Grafana's own types, of the oldest and the newest version that they are for.
//!
//! `tests/tools/grafana-schema.sh` makes the schemas. Types that are closed there are closed here: a key that Grafana
//! does not know is refused. What a panel's type decides (`options`, `custom`) has a schema for each type.

use std::collections::BTreeMap;

use jsonschema::Validator;
use serde_json::{Value, json};

use super::files::{dashboards, panels, read, text};

const VERSIONS: [&str; 2] = ["10", "13"];

/// What dashboards are judged by: a whole one, a field, and what each type of panel decides.
const DEFINITIONS: [&str; 8] = [
    "Dashboard",
    "FieldConfig",
    "bargaugeOptions",
    "statOptions",
    "tableOptions",
    "tableCustom",
    "timeseriesOptions",
    "timeseriesCustom",
];

struct Grafana {
    version: &'static str,
    definitions: BTreeMap<&'static str, Validator>,
}

impl Grafana {
    fn all() -> impl Iterator<Item = Self> {
        VERSIONS.into_iter().map(|version| {
            let schema: Value =
                serde_json::from_str(&read(&format!("tests/grafana/{version}.json"))).unwrap();
            let validator = |name| {
                let mut schema = schema.clone();
                assert!(schema["definitions"].get(name).is_some(), "{version}: no {name}");
                schema["$ref"] = json!(format!("#/definitions/{name}"));
                (name, jsonschema::validator_for(&schema).unwrap())
            };
            Self { version, definitions: DEFINITIONS.into_iter().map(validator).collect() }
        })
    }

    /// What is wrong with a dashboard.
    fn problems(&self, dashboard: &Value) -> Vec<String> {
        let mut found = Vec::new();
        let mut check = |what: &str, definition: &str, value: &Value| {
            let errors = self.definitions[definition].iter_errors(value);
            found.extend(
                errors.map(|error| format!("{}: {what}{}: {error}", self.version, error.instance_path())),
            );
        };
        check("", "Dashboard", dashboard);
        for panel in panels(dashboard) {
            let (title, kind) = (text(panel, "title"), text(panel, "type"));
            check(title, &format!("{kind}Options"), &panel["options"]);
            let config = &panel["fieldConfig"];
            if let Some(custom) = config["defaults"].get("custom") {
                check(title, &format!("{kind}Custom"), custom);
            }
            for property in config["overrides"]
                .as_array()
                .unwrap()
                .iter()
                .flat_map(|it| it["properties"].as_array().unwrap())
            {
                match text(property, "id").strip_prefix("custom.") {
                    Some(custom) => {
                        check(title, &format!("{kind}Custom"), &json!({ custom: property["value"] }));
                    }
                    None => {
                        check(title, "FieldConfig", &json!({ text(property, "id"): property["value"] }));
                    }
                }
            }
        }
        found
    }
}

#[test]
fn every_dashboard_is_what_grafana_knows() {
    for grafana in Grafana::all() {
        for (name, dashboard) in dashboards() {
            let problems = grafana.problems(&dashboard);
            assert!(problems.is_empty(), "{name}: {problems:#?}");
        }
    }
}

/// Changes a dashboard's first panel that has what `pointer` names.
fn changed(dashboard: &Value, pointer: &str, change: impl Fn(&mut Value)) -> Value {
    let mut changed = dashboard.clone();
    let panels = changed["panels"].as_array_mut().unwrap();
    change(panels.iter_mut().find_map(|panel| panel.pointer_mut(pointer)).unwrap());
    changed
}

#[test]
fn what_grafana_does_not_know_is_refused() {
    let (_, dashboard) = dashboards().swap_remove(0);
    let misspelt = |value: &mut Value| value["colour"] = json!("red");
    for grafana in Grafana::all() {
        let mut whole = dashboard.clone();
        misspelt(&mut whole);
        let places = [
            "/gridPos",
            "/fieldConfig/defaults",
            "/fieldConfig/defaults/custom",
            "/fieldConfig/defaults/thresholds",
            "/options",
            "/options/reduceOptions",
            "/options/legend",
        ];
        let wrong = places.map(|place| (place, changed(&dashboard, place, misspelt)));
        let types = [
            ("a number that is text", changed(&dashboard, "/gridPos/w", |value| *value = json!("12"))),
            ("a word of no list", changed(&dashboard, "/options/textMode", |value| *value = json!("loud"))),
        ];
        for (what, wrong) in wrong.into_iter().chain(types).chain([("the whole", whole)]) {
            assert!(!grafana.problems(&wrong).is_empty(), "{}: {what}", grafana.version);
        }
    }
}

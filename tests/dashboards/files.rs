//! Reads the dashboards and rules of the repository.

use std::path::{Path, PathBuf};

use marked_yaml::Node;
use serde_json::{Map, Value};

/// The dashboards that must be there, by file.
pub const DASHBOARDS: [&str; 5] = ["capacity", "exporter", "fleet-overview", "usage-and-cost", "vms"];

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every dashboard with the name of its file.
pub fn dashboards() -> Vec<(&'static str, Value)> {
    let of = |name| (name, serde_json::from_str(&read(&format!("dashboards/{name}.json"))).unwrap());
    DASHBOARDS.into_iter().map(of).collect()
}

/// The panels of a dashboard that show something: rows are headings.
pub fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row")
}

pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// What a variable asks Prometheus for; empty when it asks nothing.
pub fn asked(variable: &Value) -> &str {
    variable["query"]["query"].as_str().unwrap_or_default()
}

/// The files of a folder that end so, sorted.
pub fn listed(folder: &str, suffix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join(folder)).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.to_string_lossy().ends_with(suffix));
    paths.sort();
    paths
}

/// A YAML document as JSON; every scalar is a string.
pub fn yaml(path: &str) -> Value {
    let node = marked_yaml::parse_yaml(0, read(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    json(&node)
}

fn json(node: &Node) -> Value {
    match node {
        Node::Scalar(scalar) => Value::String(scalar.as_str().to_owned()),
        Node::Sequence(items) => items.iter().map(json).collect(),
        Node::Mapping(pairs) => Value::Object(
            pairs.iter().map(|(key, value)| (key.as_str().to_owned(), json(value))).collect::<Map<_, _>>(),
        ),
    }
}

/// Every rule of the rule files: `record` or `alert`, `expr` and so on.
pub fn rules() -> Vec<Value> {
    let mut rules = Vec::new();
    for path in ["config/rules/flexvm-recording.yml", "config/rules/flexvm-alerts.yml"] {
        for group in yaml(path)["groups"].as_array().unwrap() {
            rules.extend(group["rules"].as_array().unwrap().iter().cloned());
        }
    }
    rules
}

/// An expression of a panel or rule, and where it stands.
#[derive(Clone, Debug)]
pub struct Expression {
    pub place: String,
    pub expr: String,
}

/// Every expression of every panel, in Grafana's words: variables are not filled in.
pub fn panel_expressions() -> Vec<Expression> {
    let mut found = Vec::new();
    for (name, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            for target in panel["targets"].as_array().unwrap() {
                let place = format!("{name} / {} / {}", text(panel, "title"), text(target, "refId"));
                found.push(Expression { place, expr: text(target, "expr").to_owned() });
            }
        }
    }
    found
}

/// The metric names in an expression or in a variable's query: identifiers that look like ours,
/// outside of quoted text, with what follows each.
pub fn names(expr: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let (mut rest, mut quoted) = (expr, false);
    while let Some(first) = rest.chars().next() {
        let length =
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
        let word = &rest[..length];
        if !quoted && (word.contains("flexvm_") || word.starts_with("process_") || word == "up") {
            found.push((word.to_owned(), rest[length..].to_owned()));
        }
        if first == '"' {
            quoted = !quoted;
        }
        rest = &rest[length.max(first.len_utf8())..];
    }
    found
}

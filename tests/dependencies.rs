//! What comes in with the dependencies: `deny.toml`, held without another program, and the table in
//! DESIGN.md.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use spdx::{Expression, ParseMode};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(name)).unwrap()
}

/// Every package that a build can take in.
fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(ROOT)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// The texts of a list in deny.toml.
fn listed(deny: &str, list: &str) -> Vec<String> {
    let (_, rest) = deny.split_once(&format!("\n{list} = [")).unwrap();
    let (inside, _) = rest.split_once("\n]").unwrap();
    inside.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn licences_sources_and_bans_are_those_of_deny_toml() {
    let deny = read("deny.toml");
    let (allowed, banned) = (listed(&deny, "allow"), listed(&deny, "deny"));
    assert!(allowed.len() > 3 && banned.len() > 1, "{allowed:?} {banned:?}");
    let mut used = BTreeSet::new();
    let mut problems = Vec::new();
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        let Some(source) = package["source"].as_str() else { continue };
        if !source.starts_with("registry+") {
            problems.push(format!("{name} comes from {source}"));
        }
        if banned.iter().any(|ban| ban == name) {
            problems.push(format!("{name} is banned"));
        }
        let licence = package["license"].as_str().unwrap_or_default();
        let Ok(expression) = Expression::parse_mode(licence, ParseMode::LAX) else {
            problems.push(format!("{name}: {licence:?} is not a licence"));
            continue;
        };
        let takes = expression.evaluate(|wanted| {
            // An exception only ever permits more.
            let id = wanted.license.id().map_or("", |id| id.name);
            let fine = allowed.iter().any(|allowed| allowed == id);
            if fine {
                used.insert(id.to_owned());
            }
            fine
        });
        if !takes {
            problems.push(format!("{name} has the licence {licence}"));
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
    let needless: Vec<_> = allowed.iter().filter(|id| !used.contains(*id)).collect();
    assert!(needless.is_empty(), "allowed, but nobody has it: {needless:?}");
}

#[test]
fn every_dependency_has_its_reason_in_the_design() {
    let (manifest, design) = (read("Cargo.toml"), read("DESIGN.md"));
    let direct = packages().into_iter().find(|package| package["name"] == "flexvm-exporter").unwrap();
    let mut names: Vec<String> = direct["dependencies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|dependency| dependency["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names.dedup();
    assert!(names.len() > 40 && manifest.contains("# DESIGN.md gives the reason for each."));
    let rows: Vec<&str> = design.lines().filter(|line| line.starts_with("| ")).collect();
    let has_row = |name: &String| {
        let cells = rows.iter().filter_map(|row| row.split('|').nth(1));
        cells.flat_map(|cell| cell.split([' ', ',', '(', ')'])).any(|word| word == name)
    };
    let missing: Vec<_> = names.iter().filter(|name| !has_row(name)).collect();
    assert!(missing.is_empty(), "not in a table of DESIGN.md: {missing:?}");
}

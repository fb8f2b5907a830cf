//! The configuration table of the README: every key of the example file, with the default that the
//! code has.

use std::collections::BTreeMap;
use std::path::Path;

use flexvm_exporter::config::load::from_yaml;

use crate::{code, read, rows, section};

/// What is given in the example only to show its form.
const EXAMPLES: [&str; 2] = ["report.tag_rules", "prices.vm_hour"];

/// Absolute in the example, because it is copied to directories where no daemon may write; the default is the last part.
const PATHS: [&str; 2] = ["ledger.url", "report.directory"];

/// The scalars of the example file by `section.key`, as they are written.
fn example() -> BTreeMap<String, String> {
    let (text, mut section, mut keys) = (read("config/flexvm-exporter.yml"), String::new(), BTreeMap::new());
    for line in text.lines() {
        let code = line.split(" #").next().unwrap().trim_end();
        if code.starts_with('#') {
            continue;
        }
        let depth = code.len() - code.trim_start_matches([' ', '-']).len();
        let Some((key, value)) = code.trim_start_matches([' ', '-']).split_once(':') else { continue };
        match depth {
            0 => key.clone_into(&mut section),
            2 if section != "tenants" => {
                keys.insert(format!("{section}.{key}"), value.trim().trim_matches('"').to_owned());
            }
            4 if section == "tenants" => {
                keys.insert(format!("tenants[].{key}"), value.trim().to_owned());
            }
            _ => {}
        }
    }
    keys
}

/// Keys of the README's table with the default beside each.
fn documented() -> BTreeMap<String, String> {
    let readme = read("README.md");
    let mut keys = BTreeMap::new();
    for row in rows(section(&readme, "## Configuration")) {
        let (names, defaults) = (code(&row[0]), code(&row[1]));
        let section = names[0].split_once('.').unwrap().0;
        for (index, name) in names.iter().enumerate() {
            let name = if name.contains('.') { (*name).to_owned() } else { format!("{section}.{name}") };
            let default = defaults.get(index).copied().unwrap_or_default();
            assert!(keys.insert(name.clone(), default.to_owned()).is_none(), "{name} stands there twice");
        }
        assert!(defaults.is_empty() || defaults.len() == names.len(), "{row:?}");
    }
    keys
}

#[test]
fn every_key_is_there_with_its_default() {
    let (example, documented) = (example(), documented());
    assert!(example.len() > 30, "{example:?}");
    for (key, value) in &example {
        let default = documented.get(key).unwrap_or_else(|| panic!("{key} is not in the README"));
        if EXAMPLES.contains(&key.as_str()) {
            assert!(["", "[]"].contains(&default.as_str()), "{key}: {default}");
        } else if PATHS.contains(&key.as_str()) {
            let default = default.trim_start_matches("sqlite:");
            let (scheme, path) = value.split_once('/').unwrap();
            assert_eq!(scheme, if key == "ledger.url" { "sqlite:" } else { "" });
            assert!(path.ends_with(&format!("/{default}")), "{key}: {value}");
        } else if !["tenants[].name", "tenants[].token_file"].contains(&key.as_str()) {
            assert_eq!(default, value, "{key}");
        }
    }
    let beside = ["tenants[].token_env"];
    let invented: Vec<_> = documented
        .keys()
        .filter(|key| !example.contains_key(*key) && !beside.contains(&key.as_str()))
        .collect();
    assert!(invented.is_empty(), "{invented:?}");
}

#[test]
fn the_example_file_holds_the_defaults_of_the_code() {
    let example = from_yaml(&read("config/flexvm-exporter.yml"), "example").unwrap();
    let tenant = "tenants: [{ name: k12345, token_file: /run/secrets/flexvm }]";
    let default = from_yaml(tenant, "default").unwrap();
    assert_eq!(example.poll, default.poll);
    assert_eq!(example.metrics, default.metrics);
    assert_eq!(format!("{:?}", example.web), format!("{:?}", default.web));
    let (mut report, mut ledger) = (example.report.clone(), example.ledger.clone());
    let state = Path::new("/var/lib/flexvm-exporter");
    assert_eq!(ledger.path, state.join(&default.ledger.path));
    assert_eq!(report.directory, state.join(&default.report.directory));
    ledger.path.clone_from(&default.ledger.path);
    report.directory.clone_from(&default.report.directory);
    assert_eq!(format!("{ledger:?}"), format!("{:?}", default.ledger));
    report.tag_rules.clear();
    assert_eq!(format!("{report:?}"), format!("{:?}", default.report));
    let (example, default) = (&example.tenants[0], &default.tenants[0]);
    assert_eq!(example.api, default.api);
    assert_eq!(example.base_url, default.base_url);
    assert_eq!(example.group_by, default.group_by);
    assert!(default.prices.is_none());
}

//! The documents say what the program does: metrics, configuration keys, report columns, paths.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn every_family_is_documented_and_no_other() {
    let documented: BTreeSet<String> = read("docs/metrics.md")
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned()))
        .collect();
    let golden = read("tests/golden/metrics.prom");
    let domain: BTreeSet<String> = golden
        .lines()
        .filter_map(|line| Some(line.strip_prefix("# TYPE ")?.split_once(' ')?.0.to_owned()))
        .collect();
    let missing: Vec<_> = domain.difference(&documented).collect();
    assert!(missing.is_empty(), "not in docs/metrics.md: {missing:?}");
    let own = |name: &&String| name.starts_with("flexvm_exporter_") || name.starts_with("process_");
    let invented: Vec<_> = documented.difference(&domain).filter(|name| !own(name)).collect();
    assert!(invented.is_empty(), "in docs/metrics.md alone: {invented:?}");
    // The exporter's own families by the names in their code.
    let code = read("src/self_metrics.rs") + &read("src/self_metrics/ledger.rs");
    for name in documented.iter().filter(|name| name.starts_with("flexvm_exporter_")) {
        let stem = name.trim_start_matches("flexvm_exporter_");
        let names = [name, stem, stem.trim_start_matches("ledger_")];
        let there = domain.contains(name) || names.iter().any(|it| code.contains(&format!("\"{it}\"")));
        assert!(there, "{name} is documented, but not in the code");
    }
}

#[test]
fn every_configuration_key_is_in_the_readme() {
    let readme = read("README.md");
    let mut section = String::new();
    for line in read("config/flexvm-exporter.yml").lines() {
        let code = line.split('#').next().unwrap().trim_end();
        let Some((key, _)) = code.trim_start().split_once(':') else { continue };
        match code.len() - code.trim_start().len() {
            0 => key.clone_into(&mut section),
            2 if section != "tenants" => {
                let named = format!("{section}.{key}`");
                let short = format!("`{key}`");
                assert!(readme.contains(&named) || readme.contains(&short), "{section}.{key}");
            }
            _ => {}
        }
    }
}

#[test]
fn every_report_column_is_in_the_readme() {
    let readme = read("README.md");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/report");
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.extension().is_none_or(|end| end != "csv") || name.starts_with("index") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let header = text.trim_start_matches('\u{feff}').lines().next().unwrap();
        for column in header.split(',').filter(|column| !column.starts_with("tag:")) {
            let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
            assert!(readme.split(word).any(|found| found == column), "{name}: {column}");
        }
    }
}

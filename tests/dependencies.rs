//! What comes in with the dependencies: `deny.toml`, judged by cargo-deny, the table in DESIGN.md, and the licences that
//! go along with the program. `UPDATE_GOLDEN=1` rewrites those.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod program;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use program::python_tool;
use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(name)).unwrap()
}

fn cargo(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(ROOT).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Every package that a build can take in.
fn packages() -> Vec<Value> {
    let metadata = cargo(&["metadata", "--format-version", "1", "--locked"]);
    let metadata: Value = serde_json::from_slice(&metadata).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

#[test]
fn licences_sources_and_duplicates_are_those_of_deny_toml() {
    let Some(deny) = python_tool("cargo-deny") else { return };
    let folder = tempfile::tempdir().unwrap();
    let check = |config: &Path| {
        let mut command = Command::new(&deny);
        command.args(["--offline", "--locked", "--config"]).arg(config).args(["check", "-D", "warnings"]);
        let output = command
            .args(["bans", "licenses", "sources"])
            .current_dir(ROOT)
            .env("CARGO", env!("CARGO"))
            .output();
        let output = output.unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let config = Path::new(ROOT).join("deny.toml");
    let (good, said) = check(&config);
    assert!(good, "{said}");
    // It would say so: a licence, a second version and a ban, each alone.
    let text = fs::read_to_string(&config).unwrap();
    for (from, to, word) in [
        ("    \"ISC\",\n", "", "error[rejected]"),
        ("    { crate = \"rustix@0.38\"", "    #", "error[duplicate]"),
        ("\"native-tls\"", "\"rustls\"", "error[banned]"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        let file = folder.path().join("deny.toml");
        fs::write(&file, changed).unwrap();
        let (good, said) = check(&file);
        assert!(!good && said.contains(word), "{word}: {said}");
    }
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

/// A crate that is in the program: name, version and the folder with its source.
type Part = (String, String, Value, PathBuf);

/// The crates that are in the program: neither macros nor what tests and the build alone need.
fn parts() -> Vec<Part> {
    let all = packages();
    let tree = cargo(&[
        "tree",
        "--locked",
        "--prefix",
        "none",
        "-e",
        "normal,no-proc-macro",
        "--target",
        "x86_64-unknown-linux-gnu",
        "-f",
        "{p}",
    ]);
    let mut parts: Vec<Part> = String::from_utf8(tree)
        .unwrap()
        .lines()
        .filter_map(|line| {
            let (name, version) = line.split_once(" v")?;
            let version = version.split(' ').next()?;
            let found = all.iter().find(|each| each["name"] == name && each["version"] == version)?;
            let manifest = Path::new(found["manifest_path"].as_str()?);
            found["source"].as_str()?;
            Some((name.to_owned(), version.to_owned(), found.clone(), manifest.parent()?.to_owned()))
        })
        .collect();
    parts.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    parts.dedup_by(|a, b| (&a.0, &a.1) == (&b.0, &b.1));
    parts
}

/// The texts that a crate's licence wants to be handed on: of several licences MIT's, and any notice.
fn texts(folder: &Path) -> Vec<String> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy().to_lowercase();
            path.is_file()
                && ["licen", "copying", "copyright", "notice"].iter().any(|start| name.starts_with(start))
        })
        .collect();
    files.sort();
    let has = |path: &PathBuf, word: &str| {
        path.file_name().is_some_and(|name| name.to_string_lossy().to_lowercase().contains(word))
    };
    if files.iter().any(|file| has(file, "mit")) {
        files.retain(|file| has(file, "mit") || has(file, "notice"));
    }
    let tidy =
        |text: String| text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim().to_owned();
    files.iter().map(|file| tidy(fs::read_to_string(file).unwrap())).collect()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "whether files are rewritten is asked of the environment")]
fn licences_and_notices_of_all_parts_are_listed() {
    let parts = parts();
    assert!(parts.len() > 100, "{}", parts.len());
    let mut table = String::from(
        "# Licences of what is in the program\n\n\
         Made by `UPDATE_GOLDEN=1 cargo test --test dependencies`: the crates that are linked into the program on\n\
         Linux, as `Cargo.lock` has them. [notices.txt](notices.txt) has the texts that they want to be handed on.\n\
         Beside them there are Rust's standard library (MIT OR Apache-2.0) and SQLite (public domain, in\n\
         libsqlite3-sys). The program itself: Apache-2.0.\n\n\
         | crate | version | licence | source |\n|---|---|---|---|\n",
    );
    let mut notices: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
    for (name, version, package, folder) in &parts {
        let text = |key: &str| package[key].as_str().unwrap_or("–").to_owned();
        writeln!(table, "| {name} | {version} | {} | {} |", text("license"), text("repository")).unwrap();
        for notice in texts(folder) {
            let same = notice.split_whitespace().collect::<Vec<_>>().join(" ");
            notices.entry(same).or_insert_with(|| (notice, Vec::new())).1.push(name.clone());
        }
    }
    let mut notices: Vec<_> = notices.into_values().collect();
    notices.sort_by(|a, b| a.1.cmp(&b.1));
    let mut text = String::new();
    for (notice, owners) in &mut notices {
        owners.dedup();
        writeln!(text, "==== {}\n\n{notice}\n", owners.join(", ")).unwrap();
    }
    for (name, made) in [("docs/licences.md", table), ("docs/notices.txt", text)] {
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(Path::new(ROOT).join(name), &made).unwrap();
        }
        assert!(read(name) == made, "{name} is not up to date");
    }
}

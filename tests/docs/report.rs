//! The README has the columns of every file of a report, in their order, and the words in them.

use std::fs;

use flexvm_exporter::report::Rounding;
use flexvm_exporter::usage::{Flag, GroupKind};

use crate::{at, code, read, rows, section};

/// What a word in the column lists stands for.
fn columns(text: &str, short: &[(&str, String)]) -> String {
    let mut list = code(text).concat();
    for (word, columns) in short {
        list = list.replace(word, columns);
    }
    list
}

/// The header lines of the golden files whose names end so.
fn headers(end: &str) -> Vec<String> {
    let files = fs::read_dir(at("tests/golden/report")).unwrap().map(|entry| entry.unwrap().path());
    let named = files.filter(|path| path.file_name().unwrap().to_string_lossy().contains(end));
    let header = named.map(|path| {
        let mut csv = csv::Reader::from_path(path).unwrap();
        csv.headers().unwrap().iter().collect::<Vec<_>>().join(",")
    });
    header.collect()
}

#[test]
fn every_column_is_there_in_its_place() {
    let readme = read("README.md");
    let tables = rows(section(&readme, "### Columns"));
    let of = |name: &str| {
        let row = tables.iter().find(|row| code(&row[0]) == [name]);
        row.unwrap_or_else(|| panic!("no row for {name}"))[1].clone()
    };
    let seconds = columns(&of("SECONDS"), &[]);
    let measures = columns(&of("MEASURES"), &[("SECONDS", seconds.clone())]);
    let short = [("MEASURES", measures), ("SECONDS", seconds)];
    let first = columns(&of("all"), &[]);
    for (name, golden) in [
        ("by-tag", "_by-tag.csv"),
        ("by-group", "_by-group.csv"),
        ("by-vm", "_by-vm.csv"),
        ("control", "_control.csv"),
        ("index", "index_"),
    ] {
        let headers = headers(golden);
        assert!(headers.len() > 1, "{name}");
        for header in headers {
            let groups: Vec<&str> =
                header.split(',').filter(|column| column.starts_with("tag:") || *column == "tags").collect();
            let mut wanted = columns(&of(name), &short);
            match (name, groups.as_slice()) {
                ("by-vm", ["tags"]) => wanted = wanted.replace("GROUPS,", ""),
                ("by-vm", ["tags", keys @ ..]) => wanted = wanted.replace("GROUPS", &keys.join(",")),
                (_, groups) => wanted = wanted.replace("GROUPS", &groups.join(",")),
            }
            assert_eq!(format!("{first},{wanted}"), header, "{name}");
        }
    }
    // The columns of changes.csv stand in its code alone.
    let source = read("src/report/changes.rs");
    let list = source.lines().find(|line| line.starts_with("const COLUMNS: ")).unwrap();
    let list: Vec<_> = list.split('"').skip(1).step_by(2).collect();
    assert_eq!(columns(&of("changes"), &[]), list.join(","));
}

#[test]
fn every_word_in_a_column_is_there() {
    let readme = read("README.md");
    let words = code(section(&readme, "### Columns"));
    let kinds = [GroupKind::Several, GroupKind::Valueless, GroupKind::Absent, GroupKind::Value];
    let kinds = kinds.map(GroupKind::as_str);
    let flags = Flag::ALL.map(Flag::as_str);
    let roundings = [Rounding::SumOfCeils, Rounding::CeilOfSum, Rounding::Unexplained].map(Rounding::as_str);
    for word in kinds.iter().chain(&flags).chain(&roundings) {
        assert!(words.contains(word), "{word}");
    }
}

//! docs/figures.md shows what the library really makes of one VM.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::api::{VM, listed, reported, second, time};
use crate::example::{self, Made};
use crate::{hold, read};

const DOCUMENT: &str = "docs/figures.md";

/// The rows of a CSV file without cells that need quotes of their own.
fn table(text: &str) -> Vec<BTreeMap<String, String>> {
    let mut csv = csv::Reader::from_reader(text.as_bytes());
    let header = csv.headers().unwrap().clone();
    let row = |row: csv::StringRecord| {
        header.iter().map(str::to_owned).zip(row.iter().map(str::to_owned)).collect()
    };
    csv.records().map(|record| row(record.unwrap())).collect()
}

/// A row as `column  cell` lines, in the order of the file, from `first` on.
fn column_by_column(text: &str, first: &str, wanted: impl Fn(&BTreeMap<String, String>) -> bool) -> String {
    let row = table(text).into_iter().find(wanted).unwrap();
    let mut csv = csv::Reader::from_reader(text.as_bytes());
    let columns = csv.headers().unwrap().iter().skip_while(|column| *column != first);
    columns.fold(String::new(), |mut lines, column| {
        let line = format!("{column:<20} {}", row[column]);
        writeln!(lines, "{}", line.trim_end()).unwrap();
        lines
    })
}

fn lines(text: &str, wanted: impl Fn(&str) -> bool) -> String {
    text.lines().filter(|line| wanted(line)).fold(String::new(), |all, line| all + line + "\n")
}

/// Some columns of by-tag.csv.
fn by_tag(text: &str) -> String {
    let columns = ["kind", "tag", "additive", "vms", "vm_hours", "vm_seconds"];
    let line = |cells: [&str; 6]| {
        let [kind, tag, additive, vms, hours, seconds] = cells;
        format!("{kind:<9} {tag:<16} {additive:<9} {vms:>4} {hours:>9} {seconds:>11}\n")
    };
    let rows = table(text);
    let rows = rows.iter().map(|row| line(columns.map(|column| row[column].as_str())));
    line(columns) + &rows.collect::<String>()
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap() + "\n"
}

/// Everything that the document shows, by name.
fn exhibits(made: &Made) -> BTreeMap<&'static str, String> {
    let file = |end: &str| made.files[end].as_str();
    let stretches = made.by_hand.iter().fold(
        "from                  until                 seconds  use\n".to_owned(),
        |all, (from, until, of)| {
            all + &format!("{}  {}  {:>7}  {of}\n", time(*from), time(*until), until - from)
        },
    );
    let manifest: Value = serde_json::from_str(file("manifest.json")).unwrap();
    let families =
        ["reported_vm_seconds", "cloud_reported_vm_seconds", "vm_seconds", "observed_ratio", "internal_cost"]
            .map(|name| format!("flexvm_usage_{name}{{"));
    let usage = |line: &str| {
        let shown = families.iter().any(|family| line.starts_with(family));
        line.contains("period=\"previous\"") && (shown || line.contains("group=\"odyssey\""))
    };
    let of_vm = |line: &str| line.contains(VM) || line.starts_with("tenant,");
    BTreeMap::from([
        ("listed", pretty(&listed(VM, second("2026-10-31T20:13:00Z")).unwrap())),
        ("series-of-the-vm", lines(&made.at_poll, |line| line.contains(VM))),
        ("events", lines(&made.events, of_vm)),
        ("stretches", stretches),
        ("reported", pretty(&reported(VM))),
        ("usage", lines(&made.metrics, usage)),
        ("by-vm", column_by_column(file("by-vm.csv"), "vm_id", |row| row["vm_id"] == VM)),
        (
            "by-group",
            column_by_column(file("by-group.csv"), "additive", |row| row["tag:project"] == "odyssey"),
        ),
        (
            "by-group-absent",
            column_by_column(file("by-group.csv"), "additive", |row| row["tag:project"].is_empty()),
        ),
        ("by-tag", by_tag(file("by-tag.csv"))),
        ("control", column_by_column(file("control.csv"), "scope", |row| row["scope"] == "cloud")),
        ("closed", lines(&made.metrics, |line| line.starts_with("flexvm_report_"))),
        ("coverage", pretty(&manifest["coverage"])),
    ])
}

/// The document with what is shown after each `<!-- made: NAME -->` made anew; the names it used.
fn filled<'e>(document: &str, exhibits: &BTreeMap<&'e str, String>) -> (String, Vec<&'e str>) {
    let (mut filled, mut used) = (String::new(), Vec::new());
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        writeln!(filled, "{line}").unwrap();
        let Some(name) = line.strip_prefix("<!-- made: ").and_then(|line| line.strip_suffix(" -->")) else {
            continue;
        };
        let (name, exhibit) =
            exhibits.get_key_value(name).unwrap_or_else(|| panic!("nothing is named {name}"));
        used.push(*name);
        writeln!(filled, "{}", lines.next().unwrap()).unwrap();
        lines.find(|line| *line == "```").unwrap();
        writeln!(filled, "{exhibit}```").unwrap();
    }
    (filled, used)
}

/// The document without what was made.
fn prose(document: &str) -> String {
    document.split("```").step_by(2).collect()
}

#[tokio::test]
async fn the_figures_of_one_vm_are_those_that_the_library_makes() {
    let made = example::make().await;
    let exhibits = exhibits(&made);
    let (wanted, used) = filled(&read(DOCUMENT), &exhibits);
    hold(DOCUMENT, &wanted);
    assert_eq!(used.len(), exhibits.len(), "used: {used:?}");

    // The stretches, counted by hand, are the row's parts.
    let row = table(&made.files["by-vm.csv"]).into_iter().find(|row| row["vm_id"] == VM).unwrap();
    for used in ["running", "stopped", "failed", "other", "unobserved"] {
        let seconds: i64 = made.by_hand.iter().filter(|it| it.2 == used).map(|it| it.1 - it.0).sum();
        assert_eq!(row[&format!("{used}_seconds")], seconds.to_string(), "{used}");
    }

    // Sums in the prose are right, and its other numbers stand in what is shown. Small ones are words.
    let prose = prose(&wanted);
    let sums = sums(&prose);
    assert!(sums.len() > 10, "{sums:?}");
    let shown = exhibits.into_values().chain(made.files.into_values()).chain(sums).collect::<String>();
    let numbers = prose.split(|c: char| !c.is_ascii_digit() && c != '.').map(|it| it.trim_matches('.'));
    for number in numbers.filter(|number| number.len() > 2) {
        assert!(shown.contains(number), "{number} is in the prose alone");
    }
}

/// Checks every `A × B = C` of a text, from left to right, to the decimals of `C`; the sums found.
fn sums(prose: &str) -> Vec<String> {
    let words: Vec<&str> =
        prose.split_whitespace().map(|word| word.trim_end_matches([',', '.', ':'])).collect();
    let number = |word: &str| word.parse::<f64>().ok();
    let mut sums = Vec::new();
    for equals in words.iter().enumerate().filter(|(_, word)| **word == "=").map(|(index, _)| index) {
        let Some(wanted) = number(words[equals + 1]) else { continue };
        let mut first = equals - 1;
        while ["+", "−", "×", "÷"].contains(&words[first - 1]) {
            first -= 2;
        }
        let mut result = number(words[first]).unwrap();
        for operation in words[first + 1..equals].chunks(2) {
            let by = number(operation[1]).unwrap();
            match operation[0] {
                "+" => result += by,
                "−" => result -= by,
                "×" => result *= by,
                _ => result /= by,
            }
        }
        let sum = words[first..=equals + 1].join(" ");
        let decimals = words[equals + 1].split_once('.').map_or(0, |(_, decimals)| decimals.len());
        assert_eq!(format!("{result:.decimals$}"), format!("{wanted:.decimals$}"), "{sum}");
        sums.push(sum);
    }
    sums
}

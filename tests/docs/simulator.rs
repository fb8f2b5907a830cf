//! The table of faults in docs/simulator.md: every name of `--fault` with its summary, and no other.

use clap::ValueEnum as _;
use flexvm_exporter::simulator::NamedFault;

use crate::{code, read, rows, section};

#[test]
fn every_fault_is_described_with_its_summary() {
    let page = read("docs/simulator.md");
    let documented: Vec<(String, String)> = rows(section(&page, "## Faults"))
        .into_iter()
        .map(|row| {
            assert!(row.len() == 3 && !row[2].is_empty(), "{row:?}");
            (code(&row[0])[0].to_owned(), row[1].clone())
        })
        .collect();
    let known: Vec<(String, String)> = NamedFault::value_variants()
        .iter()
        .map(|fault| {
            let value = fault.to_possible_value().unwrap();
            (value.get_name().to_owned(), format!("{}.", value.get_help().unwrap()))
        })
        .collect();
    assert_eq!(documented, known);
}

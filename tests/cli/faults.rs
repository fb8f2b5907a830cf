//! `simulate --fault` and `demo --fault`, and the output of `report` for faulty months.

use std::time::Duration;

use clap::ValueEnum as _;
use flexvm_exporter::simulator::NamedFault;

use crate::place::{PATIENCE, Place, config, last_month, until};

#[test]
fn unknown_fault_is_a_usage_error_with_all_names() {
    let place = Place::new();
    for command in ["simulate", "demo"] {
        let ended = place.run(&[command, "--fault", "no-such-fault"]);
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        for fault in NamedFault::value_variants() {
            let value = fault.to_possible_value().unwrap();
            assert!(ended.stderr.contains(value.get_name()), "{}: {}", value.get_name(), ended.stderr);
        }
    }
}

#[test]
fn report_names_the_fault_of_a_month() {
    for (fault, code, shown) in [
        ("empty-month", 0, "The provider lists no VM in the month."),
        ("incomplete-month", 0, "differs"),
        ("duplicate-rows", 0, "duplicate_rows on "),
        ("conflicting-rows", 1, "the report has two different rows for the cloud"),
        ("wrong-period", 1, "the report is for "),
        ("previous-month-fails", 1, "HTTP 500"),
        ("missing-instance-type", 0, "unknown_type on "),
        ("empty-catalogue", 0, "unknown_type on "),
        ("unreadable-text", 0, "replaced_text on "),
        ("null-values", 0, "agrees"),
        ("wrong-date", 1, "this machine's clock is "),
    ] {
        let place = Place::new();
        place.write("token", "simulator\n");
        let (_simulator, api) = place.simulator(&["--vms", "40", "--fault", fault]);
        let text = config(&api, "report: {directory: out, settle: 0s}\n");
        let last = last_month().to_string();
        let ended = place.run_with(&text, &["report", "--month", &last]);
        let all = format!("{}{}", ended.stdout, ended.stderr);
        assert_eq!(ended.code, Some(code), "{fault}: {all}");
        assert!(all.contains(shown), "{fault}: {all}");
    }
}

#[test]
fn demo_continues_if_a_month_cannot_be_closed() {
    let place = Place::new();
    let arguments = ["demo", "--listen", "127.0.0.1:0", "--dir", "demo", "--fault", "conflicting-rows"];
    let mut demo = place.start("demo", place.command(arguments));
    until("the refusal", || demo.stdout().contains("  no report    ").then_some(()));
    until("the first poll", || demo.stdout().contains("Everything was polled once").then_some(()));
    assert!(demo.stdout().contains("two different rows for the cloud"), "{}", demo.stdout());
    demo.signal("INT");
    assert_eq!(demo.code(PATIENCE.min(Duration::from_secs(10))), Some(0), "{}", demo.stderr());
}

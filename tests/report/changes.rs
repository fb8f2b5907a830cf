//! `changes.csv`: what it lists between two revisions, also when version 0.1.0 wrote the first.

use std::fs;
use std::path::{Path, PathBuf};

use flexvm_exporter::report::{Folder, Inputs, Supersedes};

use crate::month::{Publish as _, World, odd};

const PREFIX: &str = "flexvm-usage_k12345_2026-10";

/// Closes `before`, lets `rewrite` change its files, and writes `after` as the second revision. Returns
/// scope, key, change, column, before and after of each row of changes.csv, and its text.
fn changes(before: &World, rewrite: impl Fn(&Path), after: &World) -> (Vec<[String; 6]>, String) {
    let directory = tempfile::tempdir().unwrap();
    let folder = Folder::open(directory.path(), &before.tenant).unwrap();
    let first = folder.publish(&before.inputs()).unwrap().published().clone();
    rewrite(&first.dir);
    let supersedes = Supersedes { revision: 1, reason: "a test".into() };
    let inputs = Inputs { supersedes: Some(&supersedes), ..after.inputs() };
    let turn = folder.turn().unwrap();
    let prepared = turn.prepare(&inputs, 2, Some(&first)).unwrap();
    let second = turn.publish(prepared).unwrap().published().clone();
    let text = fs::read_to_string(second.dir.join(format!("{PREFIX}_r02_changes.csv"))).unwrap();
    let rows = csv::Reader::from_reader(text.as_bytes()).into_records().map(|row| {
        let row = row.unwrap();
        std::array::from_fn(|at| row[5 + at].to_owned())
    });
    (rows.collect(), text)
}

/// Replaces the files of a first revision by those that version 0.1.0 wrote of the same month.
fn written_by_0_1_0(revision: &Path) {
    for end in ["by-vm.csv", "by-group.csv"] {
        let name = format!("{PREFIX}_r01_{end}");
        let old: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/golden/report_0_1_0", &name].iter().collect();
        fs::copy(old, revision.join(name)).unwrap();
    }
}

#[test]
fn equal_revisions_have_no_changes() {
    let (rows, text) = changes(&odd(), |_| {}, &odd());
    assert!(rows.is_empty(), "{text}");
    // Status drifts after the end of a month.
    let mut drifted = odd();
    drifted.monthly.vms[0].status = flexvm_exporter::snapshot::VmStatus::Stopped;
    assert!(changes(&odd(), |_| {}, &drifted).0.is_empty());
}

#[test]
fn cells_of_a_changed_vm_keep_their_format() {
    let mut after = odd();
    after.monthly.vms[0].vm_hours = 745;
    after.monthly.vms[0].name = "123".into();
    let (rows, text) = changes(&odd(), |_| {}, &after);
    let of_vm: Vec<_> = rows.iter().filter(|row| row[0] == "vm").map(|row| row[3].as_str()).collect();
    assert_eq!(of_vm, ["vm", "vm_hours", "internal_cost", "stopped_cost", "flags"]);
    assert!(rows.iter().all(|row| row[2] == "changed"), "{text}");
    assert!(text.contains("\"vm\",\"vm-01\",\"changed\",\"vm_hours\",744,745\r\n"), "{text}");
    assert!(text.contains("\"vm\",\"vm-01\",\"changed\",\"vm\",\"agent vm-01\",\"123\"\r\n"), "{text}");
    assert!(text.contains("\"vm\",\"vm-01\",\"changed\",\"flags\",,\"hours_differ\"\r\n"), "{text}");
}

#[test]
fn a_revision_of_0_1_0_is_compared_by_column_name() {
    let (rows, text) = changes(&odd(), written_by_0_1_0, &odd());
    // Repeated rows have a flag.
    assert!(rows.iter().all(|row| row[2] == "changed" && row[5].contains("duplicate_rows")), "{text}");
    assert_eq!(rows.len(), 1, "{text}");

    let mut after = odd();
    after.monthly.vms[3].vm_hours = 40;
    let (rows, text) = changes(&odd(), written_by_0_1_0, &after);
    let found: Vec<_> = rows.iter().filter(|row| row[3] == "vm_hours").collect();
    let group = r#"["several","a;b | c\\\\d",""]"#;
    assert_eq!(
        found,
        [
            &["vm", "vm-04", "changed", "vm_hours", "37", "40"].map(str::to_owned),
            &["group", group, "changed", "vm_hours", "37", "40"].map(str::to_owned),
        ],
        "{text}"
    );
}

#[test]
fn added_and_removed_groups_are_listed() {
    let mut after = odd();
    after.monthly.vms[4].tags = vec!["team:new".into()].into();
    let (rows, text) = changes(&odd(), written_by_0_1_0, &after);
    let of = |change: &str| {
        let rows = rows.iter().filter(|row| row[0] == "group" && row[2] == change && row[3] == "vms");
        rows.map(|row| (row[1].as_str(), row[4].as_str(), row[5].as_str())).collect::<Vec<_>>()
    };
    assert_eq!(of("removed"), [(r#"["valueless","(no value)",""]"#, "1", "")], "{text}");
    assert_eq!(of("added"), [(r#"["absent","new",""]"#, "", "1")], "{text}");
}

#[test]
fn groups_by_other_keys_are_other_groups() {
    let mut after = odd();
    after.group_by = vec!["env".into(), "team".into()];
    let (rows, text) = changes(&odd(), |_| {}, &after);
    let changes: std::collections::BTreeSet<_> = rows.iter().map(|row| [&*row[0], &*row[2]]).collect();
    assert_eq!(changes.into_iter().collect::<Vec<_>>(), [["group", "added"], ["group", "removed"]], "{text}");
}

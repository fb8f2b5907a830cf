//! What the files say: golden files, sums that add up, checks by other programs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use flexvm_exporter::api::Reason;
use flexvm_exporter::report::{Folder, Outcome, dry_run};
use rust_decimal::Decimal;

use crate::month::{Publish as _, World, empty, odd};

pub type Row = BTreeMap<String, String>;

/// Closes the world's month in a new folder.
pub fn closed(world: &World) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let folder = Folder::open(directory.path(), &world.tenant).unwrap();
    let outcome = folder.publish(&world.inputs()).unwrap();
    assert!(matches!(outcome, Outcome::Written(_)));
    let revision = world.revision(directory.path());
    assert_eq!(outcome.published().dir, revision);
    (directory, revision)
}

pub fn file(revision: &Path, world: &World, end: &str) -> PathBuf {
    revision.join(format!("flexvm-usage_{}_{}_r01_{end}", world.tenant, world.month))
}

pub fn rows(path: &Path) -> Vec<Row> {
    let bytes = fs::read(path).unwrap();
    let mut csv = csv::Reader::from_reader(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes));
    let header: Vec<String> = csv.headers().unwrap().iter().map(str::to_owned).collect();
    let cells = |row: csv::StringRecord| row.iter().map(str::to_owned).collect::<Vec<_>>();
    csv.records().map(|row| header.iter().cloned().zip(cells(row.unwrap())).collect()).collect()
}

fn sum(rows: &[Row], column: &str) -> Decimal {
    let cells = rows.iter().map(|row| &row[column]).filter(|cell| !cell.is_empty());
    cells.map(|cell| Decimal::from_str_exact(cell).unwrap()).sum()
}

/// Compares every file of the tenant's folder with `tests/golden/report/<name>`; `UPDATE_GOLDEN=1` rewrites.
fn assert_golden(directory: &Path, world: &World) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/report");
    let tenant = directory.join(&world.tenant);
    let mut paths: Vec<_> =
        fs::read_dir(world.revision(directory)).unwrap().map(|it| it.unwrap().path()).collect();
    assert_eq!(paths.len(), 7, "{paths:?}");
    paths.sort();
    let named = paths.iter().map(|path| (path.clone(), path.file_name().unwrap().to_owned()));
    let index = (tenant.join("index.csv"), format!("index_{}.csv", world.month).into());
    for (path, name) in named.chain([index]) {
        // The version of this program is not what the golden files are about.
        let mut bytes = fs::read(&path).unwrap();
        if let Ok(text) = String::from_utf8(bytes.clone()) {
            bytes = text.replace(concat!("\"", env!("CARGO_PKG_VERSION"), "\""), "\"VERSION\"").into_bytes();
        }
        if name.to_string_lossy().ends_with("SHA256SUMS") {
            let lines: Vec<_> = String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect();
            let other = lines.into_iter().filter(|line| !line.ends_with("manifest.json"));
            bytes = other.map(|line| line + "\n").collect::<String>().into_bytes();
        }
        let kept = golden.join(name);
        #[expect(clippy::disallowed_methods, reason = "a test's own switch")]
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&kept, &bytes).unwrap();
        }
        let expected = fs::read(&kept).unwrap_or_default();
        assert!(
            expected == bytes,
            "{} differs; UPDATE_GOLDEN=1 rewrites it. Now:\n{}",
            kept.display(),
            String::from_utf8_lossy(&bytes)
        );
    }
}

#[test]
fn the_odd_month_is_as_expected() {
    let world = odd();
    let (directory, _) = closed(&world);
    assert_golden(directory.path(), &world);
}

#[test]
fn the_empty_month_has_headers_and_the_rows_that_are_always_there() {
    let world = empty();
    let (directory, revision) = closed(&world);
    assert_golden(directory.path(), &world);
    let by_tag = rows(&file(&revision, &world, "by-tag.csv"));
    assert_eq!(by_tag.len(), 1);
    assert_eq!((&*by_tag[0]["kind"], &*by_tag[0]["vm_seconds"]), ("untagged", "0"));
    assert!(rows(&file(&revision, &world, "by-group.csv")).is_empty());
    assert!(rows(&file(&revision, &world, "by-vm.csv")).is_empty());
    let control = rows(&file(&revision, &world, "control.csv"));
    assert_eq!(control.len(), 1);
    assert_eq!(control[0]["scope"], "total");
    for end in ["by-tag.csv", "by-group.csv", "by-vm.csv", "control.csv"] {
        assert!(
            fs::read(file(&revision, &world, end)).unwrap().starts_with(b"\xef\xbb\xbf\"tenant\","),
            "{end}"
        );
    }
}

/// Worked out with pencil and paper, not with the code under test.
#[test]
fn the_odd_month_sums_up_to_what_a_pencil_says() {
    let world = odd();
    let (_directory, revision) = closed(&world);
    let by_vm = rows(&file(&revision, &world, "by-vm.csv"));
    assert_eq!(by_vm.len(), 16, "one row a VM; the repeated one once");
    let seconds: Vec<_> = by_vm.iter().map(|row| row["vm_seconds"].parse::<u64>().unwrap()).collect();
    assert_eq!(
        seconds,
        [2_678_400, 1800, 1, 129_601, 3600, 5400, 1, 0, 0, 0, 300, 300, 300, 3601, 2_678_400, 0]
    );
    // 744 + 1 + 1 + 37 + 1 + 2 + 1 + 0 + 0 + 5 + 1 + 1 + 1 + 2 + 744 + 0
    assert_eq!(sum(&by_vm, "vm_hours"), Decimal::from(1541));
    // (1541 − 37 GPU − 2 unknown − 744 large) × 0.12345 + 744 × 0.21 = 758 × 0.12345 + 156.24
    assert_eq!(sum(&by_vm, "internal_cost").to_string(), "249.81510");
    let flags: Vec<_> = by_vm.iter().map(|row| &*row["flags"]).collect();
    assert_eq!(
        flags,
        [
            "",
            "never_observed",
            "never_observed",
            "no_price",
            "never_observed",
            "never_observed;no_price;unknown_type",
            "never_observed",
            "never_observed;released_before_created;zero_length",
            "never_observed;outside_period",
            "hours_differ;never_observed;outside_period",
            "duplicate_rows;never_observed",
            "never_observed",
            "never_observed",
            "never_observed",
            "never_observed",
            "never_observed;zero_length",
        ]
    );
    let of = |id: &str| by_vm.iter().find(|row| row["vm_id"] == id).unwrap();
    let uses = ["running", "stopped", "failed", "other", "unobserved"].map(|of| format!("{of}_seconds"));
    assert_eq!(
        uses.clone().map(|use_| of("vm-01")[&use_].clone()),
        ["2000000", "600000", "60", "40", "78300"]
    );
    assert_eq!(uses.map(|use_| of("vm-04")[&use_].clone()), ["129601", "0", "0", "0", "0"]);
    // 744 × 0.12345 × 600,000 ÷ 2,678,400 s; no other VM was seen stopped.
    assert_eq!(of("vm-01")["stopped_cost"], "20.5750");
    assert_eq!(sum(&by_vm, "stopped_cost").to_string(), "20.5750");
    assert_eq!((&*of("vm-02")["stopped_cost"], &*of("vm-04")["stopped_cost"]), ("0.0000", ""));
    assert_eq!(
        ["tag:team", "tag:env", "group_kind"].map(|column| &*of("vm-05")[column]),
        ["(no value)", "", "valueless"]
    );
    assert_eq!(of("vm-14")["tag:team"], "\\(no value)");
    // 16 vCPUs, 64 GiB, 2 GPUs × 36 h 1 s
    let gpu = of("vm-04");
    assert_eq!(
        ["vcpu_hours", "memory_gib_hours", "gpu_hours", "gpus"].map(|column| &*gpu[column]),
        ["576.00", "2304.02", "72.00", "2"]
    );
    assert_eq!(of("vm-06")["vcpus"], "");
    assert_eq!(of("vm-06")["vm"], "'=cmd|' /C calc'!A0");
    assert_eq!(of("vm-07")["status_at_fetch"], "'+odd");
    assert_eq!(of("vm-07")["vm"], "\"quoted\", with comma\r\nand newline; Zoë");
    let tags: Vec<String> = serde_json::from_str(&of("vm-07")["tags"]).unwrap();
    assert_eq!(
        tags,
        ["\tt", "'quoted", "-x:+y", "=SUM(A1)", "line\nbreak", "say \"hi\", a:c,d", "team:@home"]
    );

    let control = rows(&file(&revision, &world, "control.csv"));
    let column = |name: &str| control.iter().map(|row| row[name].clone()).collect::<Vec<_>>();
    assert_eq!(column("scope"), ["cloud", "cloud", "cloud", "cloud", "total"]);
    assert_eq!(column("vms_at_start"), ["2", "1", "0", "0", "3"]);
    assert_eq!(column("vms_created"), ["6", "4", "1", "0", "11"]);
    assert_eq!(column("vms_released"), ["6", "4", "1", "0", "11"]);
    assert_eq!(column("vms_at_end"), ["2", "1", "0", "0", "3"]);
    assert_eq!(column("provider_vm_hours"), ["787", "745", "", "", "1532"]);
    assert_eq!(column("difference_hours"), ["5", "2", "", "", "9"]);
    assert_eq!(column("rounding"), ["sum_of_ceils", "ceil_of_sum", "", "", "unexplained"]);
    // 753 × 0.12345, 3 × 0.12345 + 744 × 0.21, 2 × 0.12345; the last cloud has no VM.
    assert_eq!(column("internal_cost"), ["92.95785", "156.61035", "0.2469", "", "249.8151"]);
    assert_eq!(column("currency"), ["EUR"; 5]);
    assert_eq!(column("vms_observed_only"), [""; 5], "no poll was recorded");
}

#[test]
fn rows_of_additive_files_sum_to_the_totals() {
    let world = odd();
    let (_directory, revision) = closed(&world);
    let manifest = fs::read(file(&revision, &world, "manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let total = |name: &str| match &manifest["totals"][name] {
        serde_json::Value::String(text) => Decimal::from_str_exact(text).unwrap(),
        number => Decimal::from(number.as_u64().unwrap()),
    };
    let by_group = rows(&file(&revision, &world, "by-group.csv"));
    let by_vm = rows(&file(&revision, &world, "by-vm.csv"));
    let seconds =
        ["vm", "running", "stopped", "failed", "other", "unobserved"].map(|of| format!("{of}_seconds"));
    let both = ["vm_hours", "vcpu_hours", "memory_gib_hours", "gpu_hours", "internal_cost", "stopped_cost"];
    for column in both.into_iter().chain(seconds.iter().map(String::as_str)) {
        assert_eq!(sum(&by_group, column), total(column), "by-group {column}");
        assert_eq!(sum(&by_vm, column), total(column), "by-vm {column}");
    }
    let counts = ["vms", "vms_created", "vms_released", "vms_at_end", "unpriced_vm_hours"];
    for column in counts.into_iter().chain(["unsized_vm_seconds"]) {
        assert_eq!(sum(&by_group, column), total(column), "by-group {column}");
    }
    let control = rows(&file(&revision, &world, "control.csv"));
    let (clouds, all) = control.split_at(control.len() - 1);
    let counts = ["vms_at_start", "vms_created", "vms_released", "vms_at_end", "vm_hours", "vm_seconds"];
    for column in counts.into_iter().chain(["internal_cost"]) {
        assert_eq!(sum(clouds, column), total(column), "control {column}");
        assert_eq!(sum(all, column), total(column), "control's total {column}");
    }
    assert_eq!(total("vms"), Decimal::from(16));
    assert_eq!(total("unsized_vm_seconds"), Decimal::from(5400), "the VM of an unknown type");
    assert_eq!(sum(&by_group, "share_of_seconds").to_string(), "1.000000");
    assert_eq!(sum(&by_group, "share_of_cost").to_string(), "1.000000");
    assert_eq!(sum(&by_group, "amount").to_string(), "249.82", "the cost, rounded half up");
    let unpriced: Vec<_> = by_group.iter().filter(|row| row["internal_cost"].is_empty()).collect();
    assert_eq!(unpriced.len(), 1);
    assert_eq!(["amount", "stopped_cost"].map(|column| &*unpriced[0][column]), ["", ""]);
    assert!(by_group.iter().all(|row| row["additive"] == "true"));
    let by_tag = rows(&file(&revision, &world, "by-tag.csv"));
    assert!(by_tag.iter().all(|row| row["additive"] == "false"));
    assert!(sum(&by_tag, "vm_seconds") > total("vm_seconds"), "a VM with two tags is in two rows");
    let of_tag = |tag: &str| by_tag.iter().find(|row| row["tag"] == tag).unwrap();
    let cost = |row: &Row| ["internal_cost", "currency", "unpriced_vm_hours"].map(|name| row[name].clone());
    assert_eq!(cost(of_tag("ci")), ["0.37035", "EUR", "0"]);
    assert_eq!(cost(of_tag("team:a;b")), ["", "EUR", "37"]);
    assert_eq!(cost(of_tag("")), ["0.12345", "EUR", "2"], "VMs without tags");
}

/// Cells of a CSV file with their column, and whether each is in quotes. The test needs a reader of
/// its own, because readers of CSV drop the quotes.
fn raw_cells(text: &str) -> Vec<(String, String, bool)> {
    let (mut cells, mut row, mut header) = (Vec::new(), Vec::new(), Vec::new());
    let mut rest = text;
    while !rest.is_empty() {
        let (cell, is_quoted);
        if let Some(inner) = rest.strip_prefix('"') {
            let mut end = 0;
            while !inner[end..].starts_with('"') || inner[end..].starts_with("\"\"") {
                end += if inner[end..].starts_with('"') { 2 } else { 1 };
                while !inner.is_char_boundary(end) {
                    end += 1;
                }
            }
            (cell, is_quoted, rest) = (inner[..end].replace("\"\"", "\""), true, &inner[end + 1..]);
        } else {
            let end = rest.find([',', '\r']).unwrap();
            assert!(!rest[..end].contains(['"', ';', '\t', '\n', '\'']), "{}", &rest[..end]);
            (cell, is_quoted, rest) = (rest[..end].to_owned(), false, &rest[end..]);
        }
        row.push((cell, is_quoted));
        if let Some(more) = rest.strip_prefix(',') {
            rest = more;
            continue;
        }
        rest = rest.strip_prefix("\r\n").unwrap_or_else(|| panic!("no end of a row: {rest}"));
        if header.is_empty() {
            assert!(row.iter().all(|(_, is_quoted)| *is_quoted), "{row:?}");
            header = std::mem::take(&mut row).into_iter().map(|(name, _)| name).collect();
        } else {
            assert_eq!(row.len(), header.len(), "{row:?}");
            let named = header.iter().cloned().zip(std::mem::take(&mut row));
            cells.extend(named.map(|(column, (cell, is_quoted))| (column, cell, is_quoted)));
        }
    }
    cells
}

#[test]
fn numbers_are_bare_and_text_is_quoted() {
    let mut world = odd();
    // Text that looks like a number is text.
    world.monthly.vms[0].name = "123".into();
    world.monthly.vms[1].tags = vec!["team:7".into(), "team:9".into()].into();
    let (directory, revision) = closed(&world);
    let paths = fs::read_dir(&revision).unwrap().map(|it| it.unwrap().path());
    let csv = paths.filter(|path| path.extension().is_some_and(|it| it == "csv"));
    let mut seen = BTreeMap::new();
    for path in csv.chain([directory.path().join("k12345/index.csv")]) {
        for (column, cell, is_quoted) in raw_cells(&fs::read_to_string(&path).unwrap()) {
            assert!(!is_quoted || !cell.is_empty(), "{column}: an empty cell is bare");
            if !cell.is_empty() {
                let kind = seen.entry(column.clone()).or_insert(is_quoted);
                assert_eq!(*kind, is_quoted, "{column}: {cell}");
                assert!(is_quoted || Decimal::from_str_exact(&cell).is_ok(), "{column}: {cell}");
            }
        }
    }
    let numbers: Vec<&str> = seen.iter().filter(|it| !it.1).map(|it| it.0.as_str()).collect();
    assert_eq!(
        numbers,
        [
            "amount",
            "difference_hours",
            "failed_seconds",
            "gpu_hours",
            "gpus",
            "internal_cost",
            "memory_gib_hours",
            "memory_mib",
            "open_difference_seconds",
            "other_seconds",
            "provider_vm_hours",
            "revision",
            "running_seconds",
            "share_of_cost",
            "share_of_seconds",
            "stopped_cost",
            "stopped_seconds",
            "unit_price",
            "unobserved_seconds",
            "unpriced_vm_hours",
            "unsized_vm_seconds",
            "vcpu_hours",
            "vcpus",
            "vm_hours",
            "vm_seconds",
            "vms",
            "vms_at_end",
            "vms_at_start",
            "vms_created",
            "vms_released",
        ]
    );
    let text = fs::read_to_string(file(&revision, &world, "by-vm.csv")).unwrap();
    assert!(text.contains("\"vm-01\",\"123\","), "{text}");
    assert!(text.contains("\"7 | 9\""), "{text}");
}

#[test]
fn a_currency_without_a_minor_unit_has_whole_amounts() {
    for (currency, amount, stopped) in [("JPY", "250", "20.58"), ("KWD", "249.815", "20.57500")] {
        let mut world = odd();
        world.prices.as_mut().unwrap().currency = currency.into();
        let (_directory, revision) = closed(&world);
        let by_group = rows(&file(&revision, &world, "by-group.csv"));
        assert_eq!(sum(&by_group, "amount").to_string(), amount);
        assert_eq!(sum(&by_group, "stopped_cost").to_string(), stopped);
    }
}

#[test]
fn shares_and_costs_without_a_total_are_empty() {
    let mut world = odd();
    world.prices = None;
    for vm in &mut world.monthly.vms {
        vm.released_at = Some(vm.created_at);
    }
    let (_directory, revision) = closed(&world);
    let by_group = rows(&file(&revision, &world, "by-group.csv"));
    assert!(by_group.len() > 3);
    let empty = ["share_of_seconds", "share_of_cost", "internal_cost", "stopped_cost", "amount", "currency"];
    for column in empty.into_iter().chain(["budget", "allocated_node_cost"]) {
        assert!(by_group.iter().all(|row| row[column].is_empty()), "{column}");
    }
    assert_eq!(sum(&by_group, "unpriced_vm_hours"), sum(&by_group, "vm_hours"));
}

#[test]
fn vms_that_only_polls_observed_are_counted_in_the_total() {
    let mut account = flexvm_exporter::report::Account::of(
        &flexvm_exporter::observe::Observations::default(),
        &odd().monthly,
        odd().fetched_at,
    );
    account.only_observed = vec!["vm-98".into(), "vm-99".into()];
    for (polls, total) in [(0, ""), (7, "2")] {
        account.polls = polls;
        let world = odd();
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::open(directory.path(), &world.tenant).unwrap();
        let inputs = flexvm_exporter::report::Inputs { account: Some(&account), ..world.inputs() };
        folder.publish(&inputs).unwrap();
        let control = rows(&file(&world.revision(directory.path()), &world, "control.csv"));
        let cells: Vec<_> = control.iter().map(|row| &*row["vms_observed_only"]).collect();
        assert_eq!(cells, ["", "", "", "", total]);
    }
}

#[test]
fn the_same_inputs_make_the_same_bytes_whatever_their_order() {
    let world = odd();
    let mut shuffled = odd();
    shuffled.monthly.vms.reverse();
    shuffled.monthly.clouds.reverse();
    shuffled.monthly.by_tag.reverse();
    shuffled.clouds.reverse();
    shuffled.instance_types.reverse();
    let ((_first, one), (_second, two)) = (closed(&world), closed(&shuffled));
    for path in fs::read_dir(&one).unwrap().map(|it| it.unwrap().path()) {
        let other = two.join(path.file_name().unwrap());
        assert!(fs::read(&path).unwrap() == fs::read(&other).unwrap(), "{}", path.display());
    }
}

#[test]
fn no_cell_is_run_by_a_spreadsheet() {
    let mut world = odd();
    // Tags become a column of their own, too.
    world.group_by.clear();
    let (directory, revision) = closed(&world);
    let paths = fs::read_dir(&revision).unwrap().map(|it| it.unwrap().path());
    let csv = paths.filter(|path| path.extension().is_some_and(|it| it == "csv"));
    let mut guarded = 0;
    for path in csv.chain([directory.path().join("k12345/index.csv")]) {
        for (column, cell) in rows(&path).into_iter().flatten() {
            let number = column == "difference_hours";
            assert!(
                number || !cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']),
                "{column}: {cell:?}"
            );
            guarded += usize::from(cell.starts_with('\''));
        }
    }
    assert!(guarded > 20, "only {guarded}");
    let mut world = odd();
    world.monthly.clouds[0].usage.vm_hours = 750;
    let (_directory, revision) = closed(&world);
    assert_eq!(
        rows(&file(&revision, &world, "control.csv"))[1]["difference_hours"],
        "-3",
        "numbers are left alone"
    );
}

#[test]
fn the_providers_report_is_kept_byte_for_byte() {
    let world = odd();
    let (_directory, revision) = closed(&world);
    assert_eq!(fs::read(file(&revision, &world, "provider-report.json")).unwrap(), world.body);
}

#[test]
fn what_cannot_be_trusted_is_refused_and_leaves_nothing() {
    let mut other_month = odd();
    other_month.monthly.period = "2026-09".parse::<flexvm_exporter::period::Month>().unwrap().period();
    let mut conflicting = odd();
    conflicting.monthly.vms.last_mut().unwrap().vm_hours = 2;
    let mut clouds = odd();
    clouds.monthly.clouds.push(clouds.monthly.clouds[0].clone());
    clouds.monthly.clouds[2].usage.vm_hours += 1;
    let mut absurd = odd();
    absurd.monthly.vms[0].vm_hours = u64::MAX;
    absurd.monthly.vms[1].vm_hours = u64::MAX;
    let mut without_vms = odd();
    without_vms.monthly.vms.clear();
    let mut early = odd();
    early.fetched_at = crate::month::at("2026-10-31T23:59:59Z");
    for (world, reason) in [
        (other_month, Reason::Period),
        (conflicting, Reason::Inconsistent),
        (clouds, Reason::Inconsistent),
        (absurd, Reason::Inconsistent),
        (without_vms, Reason::Inconsistent),
        (early, Reason::Period),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::open(directory.path(), &world.tenant).unwrap();
        let error = folder.publish(&world.inputs()).unwrap_err();
        assert_eq!(error.reason(), reason, "{error}");
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(names, [".lock"]);
    }
}

#[test]
fn a_dry_run_tells_totals_coverage_and_differences() {
    let world = odd();
    let summary = dry_run(&world.inputs()).unwrap();
    let keys: Vec<_> =
        summary.coverage.keys.iter().map(|row| (row.key.as_deref(), row.vms, row.vm_hours)).collect();
    assert_eq!(keys[0], (Some("team"), 13, 1537));
    assert_eq!(keys[1], (Some("env"), 1, 744));
    let untagged = &summary.coverage.untagged;
    assert_eq!((untagged.key.as_deref(), untagged.vms, untagged.vm_hours), (None, 2, 3));
    assert_eq!(summary.differences.vms_created, 1);
    let text = summary.to_string();
    for part in [
        "k12345 2026-10 (final)",
        "1541 h",
        "249.8151 EUR",
        "39 h that have no price",
        "1532 h",
        "+9 h (unexplained)",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
}

/// Runs a program over the revision's files; says so when it is not there.
fn outside(program: &str, arguments: &[&str], folder: &Path) -> bool {
    match Command::new(program).args(arguments).current_dir(folder).output() {
        Ok(output) => {
            let (out, err) =
                (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "{program}: {out}{err}");
            true
        }
        Err(error) => {
            println!("SKIPPED: {program}: {error}");
            false
        }
    }
}

#[test]
fn checksums_hold_for_sha256sum() {
    for world in [odd(), empty()] {
        let (_directory, revision) = closed(&world);
        let sums = file(&revision, &world, "SHA256SUMS");
        assert_eq!(fs::read_to_string(&sums).unwrap().lines().count(), 6, "every other file");
        outside("sha256sum", &["--check", "--strict", sums.to_str().unwrap()], &revision);
    }
}

#[test]
fn another_reader_of_csv_finds_the_same() {
    const READ: &str = "
import csv, decimal, glob, json, sys
def read(end):
    name, = glob.glob('*_' + end)
    raw = open(name, 'rb').read()
    assert raw.endswith(b'\\r\\n'), name
    with open(name, newline='', encoding='utf-8-sig') as file:
        return list(csv.DictReader(file, strict=True))
manifest = json.load(open(glob.glob('*_manifest.json')[0]))
totals = manifest['totals']
vms, groups, control = read('by-vm.csv'), read('by-group.csv'), read('control.csv')
add = lambda rows, column: sum(decimal.Decimal(row[column] or 0) for row in rows)
for row in vms + groups + read('by-tag.csv'):
    parts = [int(row[use + '_seconds']) for use in ('running', 'stopped', 'failed', 'other', 'unobserved')]
    assert sum(parts) == int(row['vm_seconds']), row
for column in ('vm_seconds', 'vm_hours', 'vcpu_hours', 'memory_gib_hours', 'gpu_hours', 'internal_cost', 'stopped_cost'):
    assert add(vms, column) == add(groups, column) == decimal.Decimal(totals[column] or 0), column
for row in control:
    assert int(row['vms_at_start']) + int(row['vms_created']) - int(row['vms_released']) == int(row['vms_at_end']), row
for row in vms:
    json.loads(row['tags'])
for column in ('share_of_seconds', 'share_of_cost'):
    assert not groups or not groups[0][column] or add(groups, column) == 1, column
for entry in manifest['files']:
    if entry['rows'] is not None:
        assert len(read(entry['name'].rsplit('_', 1)[1])) == entry['rows'], entry
";
    for world in [odd(), empty()] {
        let (_directory, revision) = closed(&world);
        outside("python3", &["-c", READ], &revision);
    }
}

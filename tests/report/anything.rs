//! What the files say of made-up months: sums, identities and bytes hold for any of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use flexvm_exporter::period::Period;
use flexvm_exporter::report::Folder;
use flexvm_exporter::snapshot::{ProviderTotals, ReportCloud};
use flexvm_exporter::usage::{Use, UseSeconds, Witness};
use proptest::prelude::*;
use rust_decimal::{Decimal, RoundingStrategy};

use crate::month::{Publish as _, World, at, odd, vm};

const TEXTS: [&str; 10] = [
    "team:core",
    "team:a|b",
    "team:(no value)",
    "team:a/b\\",
    "team",
    "=1",
    "\u{1F41D}:\"x\"",
    "a,b\r\n",
    "'",
    "env:prod",
];

/// Sees some VMs stopped for some of their time.
struct Stops;

impl Witness for Stops {
    fn observed(&self, vm_id: &str, life: Period) -> Option<UseSeconds> {
        let mut seconds = UseSeconds::default();
        seconds.add(Use::Stopped, life.seconds() / (2 + u64::from(vm_id.as_bytes().last()? % 5)));
        Some(seconds)
    }
}

prop_compose! {
    fn any_row()(
        cloud in 0_u8..3,
        days in prop::array::uniform2(1_u32..30),
        month in prop::sample::select(vec!["2026-09", "2026-10", "2026-11"]),
        tags in prop::collection::btree_set(prop::sample::select(TEXTS.to_vec()), 0..4),
        size in prop::sample::select(vec!["vm.4c.8g", "vm.8c.32g", "vm.gpu", "nobody.knows"]),
        vm_hours in 0_u64..745,
        second in 0_u32..60,
    ) -> flexvm_exporter::snapshot::ReportVm {
        let life = days.map(|day| format!("{month}-{day:02}T01:02:{second:02}Z"));
        let tags: Vec<&str> = tags.into_iter().collect();
        let mut row = vm("", &format!("cloud-{cloud}"), [&life[0], &life[1]], &tags, vm_hours);
        row.instance_type = size.into();
        row
    }
}

fn world(rows: Vec<flexvm_exporter::snapshot::ReportVm>, by_key: bool, provider_hours: u64) -> World {
    let mut world = odd();
    world.monthly.vms = rows;
    for (index, vm) in world.monthly.vms.iter_mut().enumerate() {
        vm.id = format!("vm-{index:03}").into();
    }
    // Hours of no VM at all are refused.
    let vm_hours = if world.monthly.vms.is_empty() { 0 } else { provider_hours };
    let usage = ProviderTotals { vms_created: 3, vms_released: 2, vm_hours };
    world.monthly.clouds = vec![ReportCloud {
        id: "cloud-1".into(),
        site: "frmtl1".into(),
        node_type: "bm".into(),
        nodes: 1,
        active_vms: 1,
        usage,
    }];
    if !by_key {
        world.group_by.clear();
    }
    world.fetched_at = at("2026-11-01T01:00:00Z");
    world.witness = Box::new(Stops);
    world
}

/// The files of the world's month, closed in a new folder, by the ends of their names.
fn files(world: &World) -> BTreeMap<String, Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    Folder::open(directory.path(), &world.tenant).unwrap().publish(&world.inputs()).unwrap();
    let end =
        |path: &Path| path.file_name().unwrap().to_str().unwrap().rsplit('_').next().unwrap().to_owned();
    let entries = fs::read_dir(world.revision(directory.path())).unwrap().map(|it| it.unwrap().path());
    entries.map(|path| (end(&path), fs::read(&path).unwrap())).collect()
}

fn column(bytes: &[u8], name: &str) -> Vec<i128> {
    let mut csv = csv::Reader::from_reader(bytes);
    let index = csv.headers().unwrap().iter().position(|column| column == name).unwrap();
    // Decimals without their point: all of a column have the same number of places, except exact costs.
    let number = |cell: &str| cell.replace('.', "").parse().unwrap_or(0);
    csv.records().map(|row| number(&row.unwrap()[index])).collect()
}

fn cost(bytes: &[u8]) -> Vec<Option<Decimal>> {
    let mut csv = csv::Reader::from_reader(bytes);
    let index = csv.headers().unwrap().iter().position(|column| column == "internal_cost").unwrap();
    csv.records().map(|row| Decimal::from_str_exact(&row.unwrap()[index]).ok()).collect()
}

fn total(bytes: &[u8]) -> Decimal {
    cost(bytes).into_iter().flatten().sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn files_add_up(rows in prop::collection::vec(any_row(), 0..40), by_key: bool, hours in 0_u64..30_000) {
        let world = world(rows, by_key, hours);
        let files = files(&world);
        let sum = |file: &str, name: &str| column(&files[file], name).iter().sum::<i128>();
        let sized = ["vcpu_hours", "memory_gib_hours", "gpu_hours", "stopped_cost"];
        for name in ["vm_hours", "vm_seconds", "unobserved_seconds"].into_iter().chain(sized) {
            prop_assert_eq!(sum("by-group.csv", name), sum("by-vm.csv", name), "{}", name);
        }
        prop_assert_eq!(sum("by-group.csv", "vms"), world.monthly.vms.len() as i128);
        let unsized_seconds: i128 = column(&files["by-vm.csv"], "vm_seconds")
            .into_iter()
            .zip(&world.monthly.vms)
            .filter(|(_, vm)| &*vm.instance_type == "nobody.knows")
            .map(|(seconds, _)| seconds)
            .sum();
        prop_assert_eq!(sum("by-group.csv", "unsized_vm_seconds"), unsized_seconds);
        let (one, groups) = (1_000_000, column(&files["by-group.csv"], "vms").len());
        let whole = |all: i128| if all == 0 { 0 } else { one };
        prop_assert_eq!(sum("by-group.csv", "share_of_seconds"), whole(sum("by-vm.csv", "vm_seconds")));
        let costs = total(&files["by-vm.csv"]);
        prop_assert_eq!(sum("by-group.csv", "share_of_cost"), if costs.is_zero() { 0 } else { one });
        prop_assert_eq!(total(&files["by-group.csv"]), costs);
        let control_costs = cost(&files["control.csv"]);
        let (all, clouds) = control_costs.split_last().unwrap();
        prop_assert_eq!(clouds.iter().flatten().sum::<Decimal>(), costs);
        prop_assert_eq!(*all, Some(costs));
        let amounts = Decimal::from_i128_with_scale(sum("by-group.csv", "amount"), 2);
        let half_up = RoundingStrategy::MidpointAwayFromZero;
        prop_assert_eq!(amounts, costs.round_dp_with_strategy(2, half_up));
        // Each amount is its group's cost, rounded up or down.
        let of_groups = cost(&files["by-group.csv"]).into_iter().zip(column(&files["by-group.csv"], "amount"));
        for (cost, amount) in of_groups {
            let away = cost.unwrap_or_default() - Decimal::from_i128_with_scale(amount, 2);
            prop_assert!(away.abs() < Decimal::new(1, 2), "{}", away);
        }
        // The groups of by-vm are those of by-group.
        if by_key {
            let names = ["group_kind", "tag:team", "tag:env"];
            let keys = |file: &str| {
                let mut csv = csv::Reader::from_reader(files[file].as_slice());
                let header = csv.headers().unwrap().clone();
                let at = names.map(|name| header.iter().position(|column| column == name).unwrap());
                csv.records().map(|row| { let row = row.unwrap(); at.map(|at| row[at].to_owned()) }).collect::<Vec<_>>()
            };
            let rows = keys("by-group.csv");
            let distinct: BTreeSet<_> = rows.iter().cloned().collect();
            prop_assert_eq!(distinct.len(), groups);
            prop_assert_eq!(keys("by-vm.csv").into_iter().collect::<BTreeSet<_>>(), distinct);
        }

        let control = |name| column(&files["control.csv"], name);
        let counts = ["vms_at_start", "vms_created", "vms_released", "vms_at_end"].map(control);
        let [start, created, released, end] = &counts;
        for (((start, created), released), end) in start.iter().zip(created).zip(released).zip(end) {
            prop_assert_eq!(start + created - released, *end);
        }
        for name in ["vms_at_start", "vms_created", "vms_released", "vms_at_end", "vm_hours", "vm_seconds"] {
            let rows = control(name);
            let (total, clouds) = rows.split_last().unwrap();
            prop_assert_eq!(clouds.iter().sum::<i128>(), *total, "{}", name);
        }
        let provider = i128::from(world.monthly.clouds[0].usage.vm_hours);
        let difference = control("vm_hours").last().unwrap() - provider;
        prop_assert_eq!(*control("difference_hours").last().unwrap(), difference);
    }

    #[test]
    fn the_order_of_rows_is_not_in_the_bytes(rows in prop::collection::vec(any_row(), 1..30), turn in 0_usize..30) {
        let straight = world(rows.clone(), true, 7);
        let mut turned = world(rows, true, 7);
        let middle = turn % turned.monthly.vms.len();
        turned.monthly.vms.rotate_left(middle);
        turned.monthly.vms.reverse();
        prop_assert!(files(&straight) == files(&turned));
        // A row that is there twice counts once. Only its flag and a warning are added.
        turned.monthly.vms.push(turned.monthly.vms[0].clone());
        turned.monthly.vms.reverse();
        let (mut once, mut twice) = (files(&straight), files(&turned));
        for file in ["manifest.json", "SHA256SUMS"] {
            prop_assert!(once.remove(file) != twice.remove(file));
        }
        let [once_vms, twice_vms] =
            [&mut once, &mut twice].map(|files| String::from_utf8(files.remove("by-vm.csv").unwrap()).unwrap());
        prop_assert_eq!(twice_vms.matches("duplicate_rows").count(), 1);
        let unflagged = twice_vms.replace("duplicate_rows;", "").replace("duplicate_rows", "");
        prop_assert_eq!(once_vms, unflagged);
        prop_assert!(once == twice);
    }
}

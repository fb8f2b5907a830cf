//! Provider's hours at either precision: exact times, or times cut to whole seconds.

use flexvm_exporter::report::{Compared, Rounding, dry_run};
use flexvm_exporter::snapshot::{ProviderTotals, ReportCloud, ReportTag, ReportVm};

use crate::files::{closed, file, rows};
use crate::month::{A, B, World, odd, vm};

/// A month with these VMs, where each cloud and the tag `t` have these hours.
fn month(vms: Vec<ReportVm>, clouds: &[(&str, u64)], tag_hours: u64) -> World {
    let mut world = odd();
    let totals = |of: &dyn Fn(&ReportVm) -> bool, vm_hours| {
        let count = vms.iter().filter(|vm| of(vm)).count() as u64;
        ProviderTotals { vms_created: count, vms_released: count, vm_hours }
    };
    world.monthly.clouds = clouds
        .iter()
        .map(|(id, hours)| ReportCloud {
            id: (*id).into(),
            site: "frmtl1".into(),
            node_type: "bm".into(),
            nodes: 1,
            active_vms: 0,
            usage: totals(&|vm| &*vm.cloud_id == *id, *hours),
        })
        .collect();
    world.monthly.by_tag =
        vec![ReportTag { tag: "t".into(), active_vms: 0, usage: totals(&|_| true, tag_hours) }];
    world.monthly.vms = vms;
    world
}

/// Two VMs in `A` and one in `B`. Whole seconds: an hour each. Exact: half a second more each.
fn fractions() -> Vec<ReportVm> {
    let life =
        |day: u32| [format!("2026-10-{day:02}T10:00:00.25Z"), format!("2026-10-{day:02}T11:00:00.75Z")];
    let one = |id: &str, cloud: &str, day: u32| {
        let [created, released] = life(day);
        vm(id, cloud, [&created, &released], &["t"], 1)
    };
    vec![one("vm-1", A, 5), one("vm-2", A, 6), one("vm-3", B, 7)]
}

fn explained(compared: &Compared) -> (Rounding, i64) {
    let theirs = compared.provider.unwrap();
    (theirs.rounding, theirs.unexplained_seconds)
}

#[test]
fn totals_of_either_precision_are_explained() {
    // Hours of A, B and the tag, and what explains the total.
    for (a, b, tag, rounding) in [
        // Whole seconds, each VM or the sum.
        (2, 1, 3, Rounding::SumOfCeils),
        // Exact times, each VM.
        (4, 2, 6, Rounding::SumOfCeils),
        // Exact times, the sum of each cloud, and of the tag.
        (3, 2, 4, Rounding::CeilOfSum),
    ] {
        let world = month(fractions(), &[(A, a), (B, b)], tag);
        let summary = dry_run(&world.inputs()).unwrap();
        assert_eq!(explained(&summary.total), (rounding, 0), "{a} {b}");
        assert_eq!(summary.differences.unexplained_seconds, flexvm_exporter::report::Scopes::default());
        assert!(!summary.warnings.iter().any(|it| it.contains("No rounding")), "{:?}", summary.warnings);
        let (_directory, revision) = closed(&world);
        let control = rows(&file(&revision, &world, "control.csv"));
        assert!(control.iter().all(|row| row["rounding"] != "unexplained"), "{control:?}");
        // `vm_seconds` does not depend on the provider's rounding.
        assert_eq!(control.last().unwrap()["vm_seconds"], "10800");
    }
}

#[test]
fn total_that_no_precision_explains_is_nearest_to_any_of_them() {
    // Candidates of the total: 3 (whole), 6 (each exact), 4 (the exact sum), 5 (the exact sums of clouds).
    for (a, b, seconds) in [(6, 2, -2 * 3600), (1, 1, 3600), (0, 0, 3 * 3600)] {
        let world = month(fractions(), &[(A, a), (B, b)], 9);
        let summary = dry_run(&world.inputs()).unwrap();
        assert_eq!(explained(&summary.total), (Rounding::Unexplained, seconds));
        // The tag is 3 h, 6 h or 4 h by our sums.
        assert_eq!(summary.differences.unexplained_seconds.tags, -3 * 3600);
    }
    let world = month(fractions(), &[(A, 5), (B, 1)], 3);
    let summary = dry_run(&world.inputs()).unwrap();
    assert_eq!(explained(&summary.total), (Rounding::SumOfCeils, 0));
    // In all it is explained, in the cloud A it is not: 2 h, 3 h or 4 h by our sums.
    assert_eq!(summary.differences.unexplained_seconds.clouds, -3600);
}

#[test]
fn hours_of_a_vm_at_either_precision_are_not_flagged() {
    for (hours, flag) in [(1, false), (2, false), (0, true), (3, true)] {
        let mut vms = fractions();
        vms[0].vm_hours = hours;
        let world = month(vms, &[(A, 2), (B, 1)], 3);
        let (_directory, revision) = closed(&world);
        let by_vm = rows(&file(&revision, &world, "by-vm.csv"));
        assert_eq!(by_vm[0]["flags"].contains("hours_differ"), flag, "{hours}: {}", by_vm[0]["flags"]);
        assert_eq!(by_vm[0]["vm_seconds"], "3600");
        let warned = dry_run(&world.inputs()).unwrap().warnings;
        assert_eq!(warned.iter().any(|it| it.starts_with("hours_differ on 1 of 3 VMs")), flag, "{warned:?}");
    }
}

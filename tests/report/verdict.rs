//! Tests for the verdict, which compares the exporter's figures with the provider's totals per cloud
//! and per tag.

use flexvm_exporter::report::{Rounding, Summary, Verdict, dry_run};
use flexvm_exporter::snapshot::{ProviderTotals, ReportTag};

use crate::month::{A, B, World, odd};

/// A month whose only VM has one hour and one tag. The provider's totals agree with it.
fn agreeing() -> World {
    let mut world = odd();
    world.monthly.vms.retain(|vm| &*vm.id == "vm-02");
    world.monthly.by_tag.clear();
    let vm = &mut world.monthly.vms[0];
    vm.tags = ["team:a".into()].into();
    let usage = ProviderTotals { vms_created: 0, vms_released: 1, vm_hours: 1 };
    let cloud_id = vm.cloud_id.clone();
    world.monthly.clouds.retain(|cloud| cloud.id == cloud_id);
    world.monthly.clouds[0].usage = usage;
    world.monthly.by_tag.push(ReportTag { tag: "team:a".into(), active_vms: 0, usage });
    world
}

fn summary(edit: impl FnOnce(&mut World)) -> Summary {
    let mut world = agreeing();
    edit(&mut world);
    dry_run(&world.inputs()).unwrap()
}

#[test]
fn hours_of_a_vm_that_no_rounding_explains_are_a_difference() {
    assert_eq!(summary(|_| ()).verdict, Verdict::Agrees);
    let summary = summary(|world| world.monthly.vms[0].vm_hours = 157);
    assert_eq!(summary.verdict, Verdict::Differs);
    assert_eq!(summary.total.provider.unwrap().rounding, Rounding::SumOfCeils, "the total is explained");
    assert_eq!(summary.differences.unexplained_vm_hours, 156);
}

#[test]
fn rows_of_one_tag_that_contradict_each_other_are_a_difference() {
    let summary = summary(|world| {
        let mut other = world.monthly.by_tag[0].clone();
        other.usage.vm_hours = 8;
        world.monthly.by_tag.push(other);
    });
    assert_eq!(summary.verdict, Verdict::Differs);
    assert_eq!(summary.differences.unexplained_seconds.tags, -7 * 3600);
}

#[test]
fn repeated_rows_of_one_tag_count_once() {
    let summary = summary(|world| world.monthly.by_tag.push(world.monthly.by_tag[0].clone()));
    assert_eq!(summary.verdict, Verdict::Agrees);
}

#[test]
fn total_is_absent_without_rows_of_clouds() {
    let summary = summary(|world| world.monthly.clouds.clear());
    assert_eq!((summary.verdict, summary.total.provider), (Verdict::NoTotal, None));
}

#[test]
fn tags_are_compared_without_rows_of_clouds() {
    let summary = summary(|world| {
        world.monthly.clouds.clear();
        world.monthly.by_tag[0].usage.vm_hours = 8;
    });
    assert_eq!(summary.verdict, Verdict::Differs);
}

#[test]
fn nothing_is_compared_without_any_row_of_totals() {
    let summary = summary(|world| {
        world.monthly.clouds.clear();
        world.monthly.by_tag.clear();
    });
    assert_eq!(summary.verdict, Verdict::NoTotal);
}

#[test]
fn total_is_explained_if_each_cloud_row_is() {
    let mut world = odd();
    world.monthly.vms.retain(|vm| &*vm.cloud_id == B && &*vm.id != "vm-15");
    let mut other = world.monthly.vms.clone();
    for vm in &mut other {
        vm.id = format!("other-{}", vm.id).into();
        vm.cloud_id = A.into();
    }
    world.monthly.vms.extend(other);
    // Each of two clouds has three VMs of five minutes. The provider rounds each cloud up to one hour,
    // although the sum is half an hour.
    world.monthly.clouds.iter_mut().for_each(|cloud| cloud.usage.vm_hours = 1);
    let summary = dry_run(&world.inputs()).unwrap();
    let theirs = summary.total.provider.unwrap();
    assert_eq!((theirs.vm_hours, theirs.rounding), (2, Rounding::CeilOfSum));
    assert_eq!(theirs.unexplained_seconds, 0);
    assert_eq!(theirs.difference_seconds, 1800 - 7200);
    assert_eq!(theirs.difference_hours, 6 - 2);
}

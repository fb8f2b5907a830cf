//! The values and labels of single families.

use flexvm_exporter::snapshot::{NODE_STATUSES, VmStatus};
use rust_decimal::Decimal;

use crate::parse::{Family, families};
use crate::world::{HOSTILE, World, at, decimal, options, section};
use crate::{pairs, text, values};

/// Every domain family whose source exists, as users know them.
const FAMILIES: &str = "flexvm_up flexvm_exporter_exposition_timestamp_seconds flexvm_report_info \
    flexvm_report_unpriced_reported_vm_seconds flexvm_exporter_groups_omitted flexvm_report_reported_vm_seconds flexvm_report_vm_seconds \
    flexvm_report_internal_cost \
    flexvm_capacity_nodes flexvm_capacity_node_group_nodes flexvm_capacity_vcpus flexvm_capacity_vcpus_in_use \
    flexvm_capacity_vcpus_available flexvm_capacity_memory_bytes flexvm_capacity_memory_in_use_bytes \
    flexvm_capacity_memory_available_bytes flexvm_capacity_pci_devices flexvm_capacity_pci_devices_in_use \
    flexvm_capacity_pci_devices_available \
    flexvm_cloud_nodes flexvm_cloud_node_group_nodes flexvm_cloud_vcpus flexvm_cloud_vcpus_in_use \
    flexvm_cloud_vcpus_available flexvm_cloud_memory_bytes flexvm_cloud_memory_in_use_bytes \
    flexvm_cloud_memory_available_bytes flexvm_cloud_pci_devices flexvm_cloud_pci_devices_in_use \
    flexvm_cloud_pci_devices_available flexvm_cloud_headroom_upper_bound_vms \
    flexvm_cloud_info flexvm_cloud_created_timestamp_seconds flexvm_node_info flexvm_node_status \
    flexvm_cloud_vms flexvm_cloud_instance_type_vms flexvm_tag_vms \
    flexvm_vm_info flexvm_vm_status flexvm_vm_created_timestamp_seconds flexvm_vm_status_since_timestamp_seconds flexvm_vm_tags flexvm_exporter_vms_omitted \
    flexvm_cloud_deleted_vms \
    flexvm_instance_type_vcpus flexvm_instance_type_memory_bytes flexvm_instance_type_disk_bytes \
    flexvm_instance_type_pci_devices flexvm_image_info \
    flexvm_usage_nodes flexvm_usage_active_vms flexvm_usage_period_start_timestamp_seconds \
    flexvm_usage_period_end_timestamp_seconds flexvm_usage_reported_vm_seconds \
    flexvm_usage_cloud_reported_vm_seconds flexvm_usage_tag_reported_vm_seconds flexvm_usage_cloud_active_vms \
    flexvm_usage_vms flexvm_usage_vms_created flexvm_usage_vms_released flexvm_usage_vm_seconds \
    flexvm_usage_cloud_vm_seconds flexvm_usage_tag_vm_seconds flexvm_usage_untagged_vm_seconds \
    flexvm_usage_group_vm_seconds flexvm_usage_instance_type_vm_seconds flexvm_usage_observed_ratio \
    flexvm_usage_projected_vm_seconds flexvm_usage_internal_cost flexvm_usage_group_internal_cost \
    flexvm_usage_projected_internal_cost flexvm_exporter_tags_omitted";

fn world() -> Vec<Family> {
    families(&text(&World::new().tenants(), &options()))
}

#[test]
fn every_family_is_there_and_no_other() {
    let mut found: Vec<_> = world().into_iter().map(|family| family.name).collect();
    let mut expected: Vec<_> = FAMILIES.split_ascii_whitespace().collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn tenants_are_merged_in_the_order_of_their_names() {
    let world = world();
    assert_eq!(pairs(&values(&world, "flexvm_up", &[], &["tenant"])), [("k00001", "0"), ("k12345", "1")]);
    let idle = values(&world, "flexvm_cloud_vms", &[("tenant", "k00001")], &["cloud_id", "status"]);
    assert_eq!(idle.len(), VmStatus::LIVING.len());
    assert!(idle.iter().all(|(labels, value)| labels.starts_with("c9 ") && value == "0"));
}

#[test]
fn hostile_text_comes_back_as_it_went_in() {
    let world = world();
    let hostile = |family: &str, label: &str| {
        let found = values(&world, family, &[(label, HOSTILE)], &[label]);
        assert!(!found.is_empty(), "{family} {label}");
    };
    hostile("flexvm_cloud_info", "cloud");
    hostile("flexvm_vm_info", "vm");
    hostile("flexvm_vm_info", "image");
    hostile("flexvm_tag_vms", "tag");
    hostile("flexvm_usage_tag_vm_seconds", "tag");
    hostile("flexvm_usage_group_vm_seconds", "group");
    hostile("flexvm_capacity_node_group_nodes", "node_type");
}

#[test]
fn capacity_adds_up_rows_of_one_name_and_counts_memory_in_bytes() {
    let world = world();
    let groups = values(&world, "flexvm_capacity_node_group_nodes", &[("node_type", "bm9")], &["tenant"]);
    assert_eq!(pairs(&groups), [("k12345", "4")]);
    let memory = values(&world, "flexvm_capacity_memory_in_use_bytes", &[], &["tenant"]);
    assert_eq!(memory[0].1, (200_000_u64 << 20).to_string());
    // A figure beyond all memory is cut, not wrapped round.
    let cut = values(&world, "flexvm_cloud_memory_bytes", &[("cloud_id", "c2")], &[]);
    assert_eq!(cut[0].1, u64::MAX.to_string());
}

#[test]
fn headroom_is_what_the_scarcest_resource_allows() {
    let found =
        values(&world(), "flexvm_cloud_headroom_upper_bound_vms", &[], &["cloud_id", "instance_type"]);
    let expected = [
        ("c1 vm.16c.gpu2", "0"), // no nvme is free
        ("c1 vm.1c.gpu2", "2"),  // five GPUs, two each
        ("c1 vm.4c.8g", "6"),    // 53,952 MiB ÷ 8,192; the 100 vCPUs would do for 25
        ("c2 vm.16c.gpu2", "0"),
        ("c2 vm.1c.gpu2", "0"),
        ("c2 vm.4c.8g", "0"), // one vCPU
    ];
    assert_eq!(pairs(&found), expected);
}

#[test]
fn a_type_that_needs_nothing_has_no_headroom_but_is_in_the_catalogue() {
    let world = world();
    assert!(
        values(&world, "flexvm_cloud_headroom_upper_bound_vms", &[("instance_type", "vm.nothing")], &[])
            .is_empty()
    );
    let of = |family: &str| values(&world, family, &[("instance_type", "vm.nothing")], &[])[0].1.clone();
    assert_eq!(of("flexvm_instance_type_vcpus"), "0");
    assert_eq!(of("flexvm_instance_type_disk_bytes"), (40_u64 << 30).to_string());
    let devices = values(&world, "flexvm_instance_type_pci_devices", &[], &["instance_type", "device"]);
    let expected = [("vm.16c.gpu2 gpu", "2"), ("vm.16c.gpu2 nvme", "1"), ("vm.1c.gpu2 gpu", "2")];
    assert_eq!(pairs(&devices), expected);
}

#[test]
fn a_node_has_one_series_per_status_and_one_for_an_unknown_one() {
    let world = world();
    let of = |node| values(&world, "flexvm_node_status", &[("node_id", node)], &["status"]);
    let (known, unknown) = (of("n1"), of("n2"));
    assert_eq!(known.len(), NODE_STATUSES.len());
    assert_eq!(unknown.len(), NODE_STATUSES.len() + 1);
    let ones = |rows: &[(String, String)]| {
        rows.iter().filter(|(_, value)| value == "1").map(|(status, _)| status.clone()).collect::<Vec<_>>()
    };
    assert_eq!((ones(&known), ones(&unknown)), (vec!["running".to_owned()], vec!["melting".to_owned()]));
}

#[test]
fn vms_are_counted_once_by_status_zeros_and_unknown_ones_included() {
    let world = world();
    let of = |cloud| values(&world, "flexvm_cloud_vms", &[("cloud_id", cloud)], &["status"]);
    // The second row of v1 says `stopping`; the first row counts.
    let c1 = of("c1");
    assert_eq!(c1.len(), 9);
    let some: Vec<_> = c1.iter().filter(|(_, value)| value != "0").cloned().collect();
    assert_eq!(pairs(&some), [("provisioning", "1"), ("running", "1")]);
    let c2 = of("c2");
    assert_eq!(c2.len(), 10);
    let some: Vec<_> = c2.iter().filter(|(_, value)| value != "0").cloned().collect();
    assert_eq!(pairs(&some), [("running", "1"), ("failed", "1"), ("hibernating", "1")]);
    // A deleted VM has no series whatever.
    assert!(!text(&World::new().tenants(), &options()).contains("\"v6\""));
    let types =
        values(&world, "flexvm_cloud_instance_type_vms", &[], &["cloud_id", "instance_type", "status"]);
    assert_eq!(types.len(), 5);
    assert!(types.iter().all(|(_, value)| value == "1"));
}

#[test]
fn tags_become_labels_of_a_vm() {
    let shown = ["vm_id", "tag_project", "tag_team_name", "tag_gpu", "tag_unused"];
    let tags = values(&world(), "flexvm_vm_tags", &[], &shown);
    let expected = [
        ("v1 odyssey - - -", "1"),
        ("v2 - - - -", "1"),
        ("v3 a;b x y true -", "1"),
        ("v4 true - true -", "1"),
        ("v5 - - - -", "1"),
    ];
    assert_eq!(pairs(&tags), expected);
}

#[test]
fn the_usage_of_both_months() {
    let world = world();
    let of = |family: &str, show: &[&str]| values(&world, family, &[], show);
    let reported = of("flexvm_usage_reported_vm_seconds", &["period"]);
    assert_eq!(pairs(&reported), [("current", "28800"), ("previous", "0")]);
    let by_tag =
        values(&world, "flexvm_usage_tag_reported_vm_seconds", &[("tag", "project:odyssey")], &["tag_key"]);
    assert_eq!(pairs(&by_tag), [("project", "18000")]);
    let by_cloud = of("flexvm_usage_cloud_reported_vm_seconds", &["cloud_id", "period"]);
    assert_eq!(pairs(&by_cloud), [("c1 current", "25200"), ("gone current", "3600")]);
    let by_use = values(&world, "flexvm_usage_vm_seconds", &[("period", "current")], &["use"]);
    let expected =
        [("running", "10000"), ("stopped", "0"), ("failed", "0"), ("other", "0"), ("unobserved", "20000")];
    assert_eq!(pairs(&by_use), expected);
    assert_eq!(of("flexvm_usage_untagged_vm_seconds", &[]).len(), 10);
    // A month without VM seconds has no ratio.
    assert_eq!(pairs(&of("flexvm_usage_observed_ratio", &["period"])), [("current", "0.333333")]);
    let start = of("flexvm_usage_period_start_timestamp_seconds", &["period"]);
    assert_eq!(pairs(&start), [("current", "1790812800"), ("previous", "1788220800")]);
    let cost = of("flexvm_usage_internal_cost", &["period", "currency"]);
    assert_eq!(pairs(&cost), [("current EUR", "0.720")]);
    // A group without any price has no cost.
    assert_eq!(of("flexvm_usage_group_internal_cost", &["group"]).len(), 1);
}

#[test]
fn projections_are_exact_and_wait_for_a_day() {
    let projected = |fetched_at: &str| {
        let mut world = World::new();
        let mut usage = crate::world::october();
        usage.fetched_at = at(fetched_at);
        world.full.usage = section(flexvm_exporter::snapshot::UsageData { current: usage, previous: None });
        let families = families(&text(&world.tenants(), &options()));
        let of = |family: &str| values(&families, family, &[], &[]).pop().map(|(_, value)| value);
        (of("flexvm_usage_projected_vm_seconds"), of("flexvm_usage_projected_internal_cost"))
    };
    assert_eq!(projected("2026-10-01T23:59:59.9Z"), (None, None));
    let cost = |factor: Decimal| Some((decimal("0.720") * factor).round_dp(2).to_string());
    let after_a_day = projected("2026-10-02T00:00:00Z");
    assert_eq!(after_a_day, (Some((30_000 * 31).to_string()), cost(Decimal::from(31))));
    // Ten of 31 days: 30,000 × 3.1.
    assert_eq!(projected("2026-10-11T00:00:00.5Z"), (Some("93000".into()), cost(decimal("3.1"))));
    // Past the end, nothing is left to project.
    assert_eq!(projected("2026-11-01T00:07:00Z").0, Some("30000".into()));
}

#[test]
fn the_closed_month_and_when_things_were_made() {
    let world = world();
    let shown = ["tenant", "month", "revision"];
    let reported = values(&world, "flexvm_report_reported_vm_seconds", &[], &shown);
    assert_eq!(pairs(&reported), [("k12345 2026-09 2", "43200"), ("k12345 2026-08 1", "25200")]);
    let exact = values(&world, "flexvm_report_vm_seconds", &[], &shown);
    assert_eq!(pairs(&exact), [("k12345 2026-09 2", "41234"), ("k12345 2026-08 1", "25200")]);
    let cost = values(&world, "flexvm_report_internal_cost", &[], &["revision", "currency"]);
    assert_eq!(pairs(&cost), [("2 EUR", "1.440")]);
    let unpriced = values(&world, "flexvm_report_unpriced_reported_vm_seconds", &[], &shown);
    assert_eq!(pairs(&unpriced), [("k12345 2026-09 2", "10800")]);
    let served = values(&world, "flexvm_exporter_exposition_timestamp_seconds", &[], &["tenant"]);
    let second = at("2026-10-11T00:00:00Z").as_second().to_string();
    assert_eq!(pairs(&served), [("k00001", &*second), ("k12345", &*second)]);
    let created = values(&world, "flexvm_vm_created_timestamp_seconds", &[], &["vm_id"]);
    let second = at("2026-10-01T00:00:00Z").as_second().to_string();
    assert_eq!(created.len(), 4);
    assert!(created.iter().all(|(_, value)| *value == second));
    let deleted = values(&world, "flexvm_cloud_deleted_vms", &[], &["cloud_id"]);
    assert_eq!(pairs(&deleted), [("c1", "7"), ("c2", "0")]);
}

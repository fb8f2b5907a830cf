//! What is left out of a large tenant, and that it is said.

use std::sync::Arc;

use flexvm_exporter::config::Metrics;
use flexvm_exporter::snapshot::{InventoryData, Snapshot, Vm};

use crate::world::{World, options, section, vm};
use crate::{pairs, rendered, values};

fn tenant(vms: Vec<Vm>) -> Snapshot {
    let vms = vms.into_iter().map(Arc::new).collect();
    let inventory = section(InventoryData { vms, ..InventoryData::default() });
    Snapshot { inventory, ..Snapshot::default() }
}

fn numbered(count: u32, tags: &[&str]) -> Vec<Vm> {
    (0..count).map(|number| vm(&format!("v{number:03}"), "c1", "running", tags)).collect()
}

#[test]
fn past_the_cap_the_first_vms_by_id_keep_their_series() {
    let mut vms = numbered(10, &[]);
    vms.reverse();
    let families = rendered(&tenant(vms), &Metrics { max_vms: 4, ..options() });
    let of = |family: &str, show: &str| values(&families, family, &[], &[show]);
    for family in
        ["flexvm_vm_info", "flexvm_vm_status", "flexvm_vm_created_timestamp_seconds", "flexvm_vm_tags"]
    {
        let ids: Vec<_> = of(family, "vm_id").into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, ["v000", "v001", "v002", "v003"], "{family}");
    }
    assert_eq!(pairs(&of("flexvm_exporter_vms_omitted", "tenant")), [("k1", "6")]);
    // All are in the sums.
    assert_eq!(pairs(&of("flexvm_cloud_vms", "status")), [("running", "10")]);
}

#[test]
fn at_the_cap_nothing_is_omitted_and_each_tenant_has_its_own() {
    let snapshot = tenant(numbered(4, &[]));
    let families = rendered(&snapshot, &Metrics { max_vms: 4, ..options() });
    assert_eq!(pairs(&values(&families, "flexvm_exporter_vms_omitted", &[], &["tenant"])), [("k1", "0")]);
    let both = ["k1", "k2"].map(|name| crate::TenantView { name, ..crate::only(&snapshot)[0] });
    let body = crate::text(&both, &Metrics { max_vms: 3, ..options() });
    let families = crate::families(&body);
    let omitted = values(&families, "flexvm_exporter_vms_omitted", &[], &["tenant"]);
    assert_eq!(pairs(&omitted), [("k1", "1"), ("k2", "1")]);
    assert_eq!(values(&families, "flexvm_vm_info", &[], &[]).len(), 6);
}

#[test]
fn series_of_single_vms_can_be_switched_off() {
    let off = Metrics { per_vm: false, max_vms: 1, ..options() };
    let families = rendered(&tenant(numbered(3, &["a"])), &off);
    assert!(families.iter().all(|family| !family.name.starts_with("flexvm_vm_")));
    assert_eq!(pairs(&values(&families, "flexvm_exporter_vms_omitted", &[], &["tenant"])), [("k1", "0")]);
    assert_eq!(pairs(&values(&families, "flexvm_tag_vms", &[], &["tag"])), [("a", "3")]);
}

#[test]
fn without_tag_keys_there_is_no_family_of_tags_and_a_label_comes_once() {
    let snapshot = tenant(vec![vm("v1", "c1", "running", &["a.b:1", "a-b:2"])]);
    let none = rendered(&snapshot, &Metrics { tag_keys: vec![], ..options() });
    assert!(values(&none, "flexvm_vm_tags", &[], &[]).is_empty());
    // A configuration with such keys is refused; if one came through, the body would still be read.
    let colliding = ["a.b", "a-b", "a.b"].map(str::to_owned).to_vec();
    let families = rendered(&snapshot, &Metrics { tag_keys: colliding, ..options() });
    assert_eq!(pairs(&values(&families, "flexvm_vm_tags", &[], &["tag_a_b"])), [("1", "1")]);
}

#[test]
fn the_tags_with_most_seconds_are_chosen_alike_for_both_sources() {
    let world = World::new();
    // By seconds of October: project:odyssey and the hostile tag 15,000 each, gpu 1, others 0.
    let families = rendered(&world.full, &Metrics { max_tags: 3, ..options() });
    let distinct = |family: &str| {
        let mut tags: Vec<_> =
            values(&families, family, &[], &["tag"]).into_iter().map(|(tag, _)| tag).collect();
        tags.sort();
        tags.dedup();
        tags
    };
    let chosen = [crate::world::HOSTILE, "gpu", "project:odyssey"];
    assert_eq!(distinct("flexvm_usage_tag_vm_seconds"), chosen);
    assert_eq!(distinct("flexvm_usage_tag_reported_vm_seconds"), [chosen[0], chosen[2]]);
    assert_eq!(distinct("flexvm_tag_vms"), chosen);
    // Left out: gpu:, project, project:a, project:b, team-name:x y.
    assert_eq!(pairs(&values(&families, "flexvm_exporter_tags_omitted", &[], &["tenant"])), [("k1", "5")]);
}

#[test]
fn a_tie_goes_by_name_and_without_usage_the_number_of_vms_decides() {
    let world = World::new();
    let tie = rendered(&world.full, &Metrics { max_tags: 1, ..options() });
    let tags = values(&tie, "flexvm_usage_tag_vm_seconds", &[("use", "running")], &["tag"]);
    assert_eq!(pairs(&tags), [(crate::world::HOSTILE, "0")]);
    let mut vms = numbered(3, &["common"]);
    vms.push(vm("w1", "c1", "running", &["another", "rare"]));
    let families = rendered(&tenant(vms), &Metrics { max_tags: 2, ..options() });
    let tags = values(&families, "flexvm_tag_vms", &[], &["tag"]);
    assert_eq!(pairs(&tags), [("another", "1"), ("common", "3")]);
    // The number goes with the usage, which nothing is known of.
    assert!(values(&families, "flexvm_exporter_tags_omitted", &[], &[]).is_empty());
}

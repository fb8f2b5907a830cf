//! What is left out of a large tenant, and that it is said.

use std::sync::Arc;

use flexvm_exporter::config::Metrics;
use flexvm_exporter::exposition::{Parts, Renderer};
use flexvm_exporter::snapshot::{InventoryData, Snapshot, Vm};
use flexvm_exporter::usage::{GroupTotals, Totals, Use};

use crate::world::{World, decimal, options, section, vm};
use crate::{pairs, rendered, values, whole};

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

/// A tenant whose tags and groups have these names and seconds of the running month.
fn grouped(seconds: &[(&str, u64)]) -> Snapshot {
    let mut world = World::new();
    let usage = Arc::make_mut(&mut world.full.usage.as_mut().unwrap().data);
    usage.previous = None;
    usage.current.tags.clear();
    usage.current.provider_tags.clear();
    usage.current.groups.clear();
    for (name, seconds) in seconds {
        let mut totals = Totals::default();
        totals.seconds.add(Use::Running, *seconds);
        let internal_cost = Some(decimal("0.5"));
        usage.current.tags.insert((*name).into(), totals);
        usage.current.groups.insert(
            ((*name).into(), flexvm_exporter::usage::GroupKind::Value),
            GroupTotals { totals, internal_cost },
        );
    }
    Snapshot { usage: world.full.usage, ..Snapshot::default() }
}

const GROUP_SECONDS: &str = "flexvm_usage_group_vm_seconds";

#[test]
fn groups_beyond_the_limit_are_summed_in_one() {
    let snapshot = grouped(&[("a", 10), ("b", 40), ("c", 20), ("d", 30)]);
    let running = |max_groups| {
        let families = rendered(&snapshot, &Metrics { max_groups, ..options() });
        let omitted = values(&families, "flexvm_exporter_groups_omitted", &[], &["tenant"]);
        let cost = values(&families, "flexvm_usage_group_internal_cost", &[], &["group", "group_kind"]);
        (values(&families, GROUP_SECONDS, &[("use", "running")], &["group", "group_kind"]), omitted, cost)
    };
    let (seconds, omitted, cost) = running(2);
    assert_eq!(pairs(&seconds), [("b value", "40"), ("d value", "30"), (" other", "30")]);
    assert_eq!(pairs(&omitted), [("k1", "2")]);
    assert_eq!(pairs(&cost), [("b value", "0.5"), ("d value", "0.5"), (" other", "1.0")]);
    let (seconds, omitted, _) = running(4);
    assert_eq!((seconds.len(), pairs(&omitted)), (4, vec![("k1", "0")]));
    let (seconds, ..) = running(0);
    assert_eq!(pairs(&seconds), [(" other", "100")]);
}

#[test]
fn a_group_that_is_kept_stays_while_it_is_nearly_as_large() {
    let options = Metrics { max_groups: 1, max_tags: 1, ..options() };
    let mut renderer = Renderer::default();
    let mut shown = |seconds: &[(&str, u64)]| {
        let snapshot = grouped(seconds);
        assert!(renderer.render(&crate::only(&snapshot)[0], &options, Parts::ALL).is_empty());
        let body = whole(renderer.assemble().plain(None, &[]));
        let families = crate::families(&body);
        let of = |family: &str, label: &str| {
            values(&families, family, &[("use", "running")], &[label]).swap_remove(0).0
        };
        [of(GROUP_SECONDS, "group"), of("flexvm_usage_tag_vm_seconds", "tag")]
    };
    assert_eq!(shown(&[("a", 100), ("b", 99)]), ["a", "a"]);
    assert_eq!(shown(&[("a", 100), ("b", 111)]), ["a", "a"]);
    assert_eq!(shown(&[("a", 100), ("b", 112)]), ["b", "b"]);
    assert_eq!(shown(&[("a", 113), ("b", 112)]), ["b", "b"]);
}

#[test]
fn thousands_of_deleted_vms_with_a_tag_each_stay_within_the_bounds() {
    let names: Vec<String> = (0..5_000).map(|number| format!("build:{number}")).collect();
    let seconds: Vec<_> = names.iter().map(|name| (&**name, 60)).collect();
    let mut snapshot = grouped(&seconds);
    let usage = Arc::make_mut(&mut snapshot.usage.as_mut().unwrap().data);
    usage.previous = Some(Arc::new(usage.current.clone()));
    let metrics = Metrics { max_tags: 100, max_groups: 100, ..options() };
    let families = rendered(&snapshot, &metrics);
    let series: usize = families.iter().map(|family| family.samples.len()).sum();
    // Five uses and two months of each kept tag and group.
    assert!(series < 100 * 5 * 2 * 2 + 500, "{series} series");
    let tags = values(&families, "flexvm_exporter_tags_omitted", &[], &["tenant"]);
    assert_eq!(pairs(&tags), [("k1", "4900")]);
}

#[test]
fn a_long_tag_is_cut_in_metrics_and_stays_another_than_its_neighbour() {
    let long = "x".repeat(2_000);
    let (one, two) = (format!("{long}1"), format!("{long}2"));
    let families = rendered(&grouped(&[(&one, 1), (&two, 2)]), &options());
    for (family, label) in [(GROUP_SECONDS, "group"), ("flexvm_usage_tag_vm_seconds", "tag")] {
        let shown = values(&families, family, &[("use", "running")], &[label]);
        assert_eq!(shown.len(), 2);
        assert!(shown.iter().all(|(text, _)| text.len() <= 1_024 && text.starts_with("xxx")), "{shown:?}");
        assert_ne!(shown[0].0, shown[1].0);
    }
}

#[test]
fn the_latest_closed_months_have_series() {
    let world = World::new();
    let months = |max_months| {
        let families = crate::families(&crate::text(&world.tenants(), &Metrics { max_months, ..options() }));
        values(&families, "flexvm_report_info", &[], &["month", "revision", "verdict"])
    };
    assert_eq!(pairs(&months(24)), [("2026-09 2 rounding", "1"), ("2026-08 1 agrees", "1")]);
    assert_eq!(pairs(&months(1)), [("2026-09 2 rounding", "1")]);
}

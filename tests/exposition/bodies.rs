//! Parts: what a change renders anew, what is shared, and that both encodings say the same.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use flate2::bufread::GzDecoder;
use flate2::{Decompress, FlushDecompress};
use flexvm_exporter::config::load::simulated_tenant;
use flexvm_exporter::config::{Metrics, Poll};
use flexvm_exporter::exposition::{Exposition, Part, Parts, Renderer, TenantView};
use flexvm_exporter::snapshot::{Collector, Snapshot};
use flexvm_exporter::store::Store;
use jiff::Timestamp;

use crate::parse::families;
use crate::world::{World, options};
use crate::{text, whole};

fn plain(exposition: &Exposition, collect: Option<&[Collector]>) -> String {
    whole(exposition.plain(collect, &[]))
}

#[test]
fn gzip_is_one_member_of_the_plain_text() {
    let world = World::new();
    let exposition = Exposition::of(&world.tenants(), &options());
    for (collect, own) in
        [(None, "# EOF\n"), (None, ""), (Some(&[Collector::Usage][..]), "own 1\n"), (Some(&[][..]), "")]
    {
        let stream = exposition.compressed(collect, own.as_bytes()).concat();
        let mut unpacked = String::new();
        let mut member = GzDecoder::new(&stream[..]);
        member.read_to_string(&mut unpacked).unwrap();
        assert_eq!(unpacked, plain(&exposition, collect) + own);
        let text = exposition.plain(collect, own.as_ref());
        assert_eq!(text.left(), unpacked.len() as u64);
        assert_eq!(whole(text), unpacked);
        // Many clients read the first member and call the rest an error.
        assert!(member.into_inner().is_empty(), "{collect:?}");
    }
}

/// The room that is first made for the compressed bytes is far too small for these.
#[test]
fn bytes_that_cannot_be_compressed_come_whole() {
    let mut random = fastrand::Rng::with_seed(11);
    for length in (0..300).chain([5_000, 100_000]) {
        let plain: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
        let mut unpacked = Vec::new();
        let packed = flexvm_exporter::exposition::gzip(&plain);
        let mut member = GzDecoder::new(&packed[..]);
        member.read_to_end(&mut unpacked).unwrap();
        assert!(unpacked == plain && member.into_inner().is_empty(), "{length} bytes");
    }
}

/// Where the texts of a body lie, without the exporter's own.
fn places(pieces: &[bytes::Bytes]) -> BTreeMap<*const u8, usize> {
    pieces.iter().map(|piece| (piece.as_ptr(), piece.len())).collect()
}

#[test]
fn what_did_not_change_is_shared_and_not_made_again() {
    let mut world = World::new();
    let mut renderer = Renderer::default();
    for tenant in world.tenants() {
        assert!(renderer.render(&tenant, &options(), Parts::ALL).is_empty());
    }
    let first = renderer.assemble();
    // The same again changes nothing.
    for tenant in world.tenants() {
        assert!(renderer.render(&tenant, &options(), Parts::ALL).is_empty());
    }
    assert!(!renderer.is_stale());
    world.full.capacity = None;
    world.full.inventory = None;
    let changed = [Part::Collector(Collector::Capacity)].into_iter().collect();
    assert!(renderer.render(&world.tenants()[0], &options(), changed).is_empty());
    assert!(renderer.is_stale());
    let second = renderer.assemble();
    assert!(plain(&first, None).contains("flexvm_capacity_nodes{"));
    assert!(!plain(&second, None).contains("flexvm_capacity_"), "capacity is gone");
    assert!(plain(&second, None).contains("flexvm_vm_info{"), "the inventory was not named");
    // Both bodies are kept, so that no memory is reused.
    let bodies = [&first, &second].map(|exposition| exposition.compressed(None, &[]));
    let [before, after] = [&bodies[0], &bodies[1]].map(|body| places(body));
    let new = after.keys().filter(|place| !before.contains_key(place)).count();
    assert_eq!(new, 1, "only the end of the gzip member is new");
    assert!(after.len() < before.len());
}

#[test]
fn a_change_of_one_tenant_makes_no_text_of_another() {
    let mut world = World::new();
    let mut renderer = Renderer::default();
    for tenant in world.tenants() {
        assert!(renderer.render(&tenant, &options(), Parts::ALL).is_empty());
    }
    let first = renderer.assemble().compressed(None, &[]);
    let before = places(&first);
    let clouds = &mut Arc::make_mut(&mut world.full.inventory.as_mut().unwrap().data).clouds;
    clouds[0].name = "renamed".into();
    assert!(renderer.render(&world.tenants()[0], &options(), Parts::ALL).is_empty());
    let mut body = renderer.assemble().compressed(None, &[]);
    body.pop().expect("the end of the gzip member");
    let new: Vec<_> = body.iter().filter(|piece| !before.contains_key(&piece.as_ptr())).collect();
    assert_eq!(new.len(), 1, "one family of one tenant");
    let mut text = Vec::with_capacity(10_000);
    Decompress::new(false).decompress_vec(new[0], &mut text, FlushDecompress::None).unwrap();
    assert!(text.starts_with(b"flexvm_cloud_info{tenant=\"k12345\""));
}

#[test]
fn tenants_that_are_gone_leave_no_family() {
    let world = World::new();
    let mut renderer = Renderer::default();
    for tenant in world.tenants() {
        assert!(renderer.render(&tenant, &options(), Parts::ALL).is_empty());
    }
    renderer.assemble();
    renderer.retain(|name| name == "k00001");
    let body = plain(&renderer.assemble(), None);
    assert_eq!(body, text(&world.tenants()[1..], &options()));
    assert!(!body.contains("k12345"));
    renderer.retain(|_| false);
    assert_eq!(plain(&renderer.assemble(), None), "");
}

/// After a reload some tenants are rendered with the new configuration and some still with the old.
#[test]
fn families_stay_whole_while_tenants_are_rendered_with_two_configurations() {
    let world = World::new();
    let [full, sparse] = world.tenants();
    let other = TenantView { name: "k99999", ..full };
    let without = Metrics { per_vm: false, ..options() };
    for order in [[&without, &options()], [&options(), &without]] {
        let mut renderer = Renderer::default();
        assert!(renderer.render(&full, order[0], Parts::ALL).is_empty());
        assert!(renderer.render(&sparse, order[1], Parts::ALL).is_empty());
        assert!(renderer.render(&other, order[1], Parts::ALL).is_empty());
        // The parser refuses a family that comes twice.
        let families = families(&plain(&renderer.assemble(), None));
        assert!(families.iter().any(|family| family.name == "flexvm_vm_info"));
    }
}

#[test]
fn of_all_runs_only_an_inventory_renders_single_vms() {
    let tenant = Arc::new(simulated_tenant("k1", "http://127.0.0.1:1".parse().unwrap(), "x"));
    let store = Store::new(&[tenant], Metrics::default(), Poll::default());
    let run = |collector, vm: &str| {
        let mut full = World::new().full;
        let inventory = Arc::make_mut(&mut full.inventory.as_mut().unwrap().data);
        let mut vms = inventory.vms.to_vec();
        Arc::make_mut(&mut vms[0]).name = vm.into();
        inventory.vms = vms.into();
        store.succeeded("k1", collector, Timestamp::UNIX_EPOCH, Duration::ZERO, |snapshot| *snapshot = full);
        store.render_now();
        plain(&store.exposition(), None).contains(&format!("vm=\"{vm}\""))
    };
    assert!(run(Collector::Inventory, "first"));
    for collector in Collector::ALL {
        let name = format!("vm-of-{}", collector.as_str());
        assert_eq!(run(collector, &name), collector == Collector::Inventory, "{collector:?}");
    }
}

#[test]
fn a_change_is_served_when_it_is_rendered_and_readiness_waits_for_that() {
    let tenant = Arc::new(simulated_tenant("k1", "http://127.0.0.1:1".parse().unwrap(), "x"));
    let store = Store::new(&[tenant], Metrics::default(), Poll::default());
    for collector in Collector::ALL {
        let full = World::new().full;
        store.succeeded("k1", collector, Timestamp::UNIX_EPOCH, Duration::ZERO, |snapshot| *snapshot = full);
    }
    assert!(store.view().tenants["k1"].tried());
    assert_eq!(plain(&store.exposition(), None), "");
    assert!(!store.ready());
    store.render_now();
    assert!(plain(&store.exposition(), None).contains("flexvm_vm_info{"));
    assert!(store.ready());
}

#[test]
fn named_collectors_come_alone_but_for_the_status() {
    let world = World::new();
    let exposition = Exposition::of(&world.tenants(), &options());
    let names = |collect: &[Collector]| {
        families(&plain(&exposition, Some(collect))).into_iter().map(|family| family.name).collect::<Vec<_>>()
    };
    let status = names(&[]);
    assert_eq!(
        status[..3],
        ["flexvm_up", "flexvm_exporter_exposition_timestamp_seconds", "flexvm_report_info"]
    );
    assert_eq!(names(&[Collector::DeletedVms])[status.len()..], ["flexvm_cloud_deleted_vms"]);
    let both = names(&[Collector::Catalogue, Collector::DeletedVms]);
    assert!(both.contains(&"flexvm_image_info".into()) && !both.contains(&"flexvm_vm_info".into()));
    // Asked for twice is answered once.
    assert_eq!(names(&[Collector::Capacity, Collector::Capacity]), names(&[Collector::Capacity]));
}

#[test]
fn nothing_known_is_nothing_said() {
    let snapshot = Snapshot::default();
    let exposition = Exposition::of(&crate::only(&snapshot), &options());
    assert_eq!(plain(&exposition, None), "");
    assert_eq!(plain(&Exposition::of(&[], &options()), None), "");
}

/// Takes a section away.
type Remove = fn(&mut Snapshot);

#[test]
fn a_missing_section_is_not_an_empty_one() {
    let world = World::new();
    let sections: [(Collector, Remove); 5] = [
        (Collector::Capacity, |snapshot| snapshot.capacity = None),
        (Collector::Inventory, |snapshot| snapshot.inventory = None),
        (Collector::DeletedVms, |snapshot| snapshot.deleted_vms = None),
        (Collector::Usage, |snapshot| snapshot.usage = None),
        (Collector::Catalogue, |snapshot| snapshot.catalogue = None),
    ];
    for (collector, remove) in sections {
        let mut snapshot = world.full.clone();
        remove(&mut snapshot);
        let exposition = Exposition::of(&crate::only(&snapshot), &options());
        let status = plain(&exposition, Some(&[]));
        assert_eq!(plain(&exposition, Some(&[collector])), status, "{collector:?}");
        let others = Collector::ALL.into_iter().filter(|other| *other != collector);
        for other in others {
            assert_ne!(plain(&exposition, Some(&[other])), status, "{other:?} without {collector:?}");
        }
    }
}

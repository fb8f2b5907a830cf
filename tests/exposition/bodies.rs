//! Parts: what a change renders anew, what is shared, and that both encodings say the same.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use flate2::bufread::GzDecoder;
use flexvm_exporter::config::load::simulated_tenant;
use flexvm_exporter::config::{Metrics, Poll};
use flexvm_exporter::exposition::{Exposition, Part};
use flexvm_exporter::snapshot::{Collector, Snapshot};
use flexvm_exporter::store::Store;
use jiff::Timestamp;

use crate::parse::families;
use crate::world::{World, options};

fn plain(exposition: &Exposition, collect: Option<&[Collector]>) -> String {
    String::from_utf8(exposition.body(collect, Vec::new(), false).concat()).unwrap()
}

#[test]
fn gzip_is_one_member_of_the_plain_text() {
    let world = World::new();
    let exposition = Exposition::render(&world.tenants(), &options(), None, &Part::ALL);
    for (collect, own) in
        [(None, "# EOF\n"), (None, ""), (Some(&[Collector::Usage][..]), "own 1\n"), (Some(&[][..]), "")]
    {
        let stream = exposition.body(collect, own.into(), true).concat();
        let mut unpacked = String::new();
        let mut member = GzDecoder::new(&stream[..]);
        member.read_to_string(&mut unpacked).unwrap();
        assert_eq!(unpacked, plain(&exposition, collect) + own);
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

#[test]
fn what_did_not_change_is_shared_and_not_made_again() {
    let world = World::new();
    let first = Exposition::render(&world.tenants(), &options(), None, &Part::ALL);
    let mut later = World::new();
    later.full.capacity = None;
    later.full.inventory = None;
    let changed = [Part::Collector(Collector::Capacity)];
    let second = Exposition::render(&later.tenants(), &options(), Some(&first), &changed);
    for gzip in [false, true] {
        let body = |exposition: &Exposition| exposition.body(None, b"# EOF\n".into(), gzip);
        let (before, after) = (body(&first), body(&second));
        // Capacity is empty now; the inventory was not named and stays as it was.
        let (head, own) = (usize::from(gzip), 1);
        assert_eq!((before.len(), after.len()), (head + 7 + own, head + 6 + own));
        let pointers = |pieces: &[bytes::Bytes]| {
            pieces[..pieces.len() - own].iter().map(|piece| piece.as_ptr()).collect::<Vec<_>>()
        };
        let (before, after) = (pointers(&before), pointers(&after));
        assert_eq!([&before[..=head], &before[head + 2..]].concat(), after);
        // Two scrapes get the same bytes.
        assert_eq!(pointers(&body(&first)), before);
    }
    assert!(!plain(&second, None).contains("flexvm_capacity_"));
}

#[test]
fn of_all_runs_only_an_inventory_renders_single_vms() {
    let tenant = Arc::new(simulated_tenant("k1", "http://127.0.0.1:1".parse().unwrap(), "x"));
    let store = Store::new(&[tenant], Metrics::default(), Poll::default());
    let run = |collector| {
        let full = World::new().full;
        store.succeeded("k1", collector, Timestamp::UNIX_EPOCH, Duration::ZERO, |snapshot| *snapshot = full);
        let pieces = store.view().exposition.body(None, Vec::new(), false);
        pieces.into_iter().find(|piece| piece.starts_with(b"# HELP flexvm_vm_info ")).unwrap()
    };
    let mut before = run(Collector::Inventory);
    for collector in Collector::ALL {
        // The piece of before is still held, so that a new one lies elsewhere.
        let now = run(collector);
        assert_eq!(now.as_ptr() != before.as_ptr(), collector == Collector::Inventory, "{collector:?}");
        before = now;
    }
}

#[test]
fn named_collectors_come_alone_but_for_the_status() {
    let world = World::new();
    let exposition = Exposition::render(&world.tenants(), &options(), None, &Part::ALL);
    let names = |collect: &[Collector]| {
        families(&plain(&exposition, Some(collect))).into_iter().map(|family| family.name).collect::<Vec<_>>()
    };
    let status = ["flexvm_up", "flexvm_report_reported_vm_seconds", "flexvm_report_vm_seconds"];
    assert_eq!(names(&[])[..3], status);
    assert_eq!(names(&[Collector::DeletedVms])[4..], ["flexvm_cloud_deleted_vms"]);
    let both = names(&[Collector::Catalogue, Collector::DeletedVms]);
    assert!(both.contains(&"flexvm_image_info".into()) && !both.contains(&"flexvm_vm_info".into()));
    // Asked for twice is answered once.
    assert_eq!(names(&[Collector::Capacity, Collector::Capacity]), names(&[Collector::Capacity]));
}

#[test]
fn nothing_known_is_nothing_said() {
    let snapshot = Snapshot::default();
    let exposition = Exposition::render(&crate::only(&snapshot), &options(), None, &Part::ALL);
    assert!(exposition.body(None, Vec::new(), false).is_empty());
    assert_eq!(plain(&Exposition::render(&[], &options(), None, &Part::ALL), None), "");
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
        let exposition = Exposition::render(&crate::only(&snapshot), &options(), None, &Part::ALL);
        assert_eq!(plain(&exposition, Some(&[collector])), "", "{collector:?}");
        let others = Collector::ALL.into_iter().filter(|other| *other != collector);
        for other in others {
            assert_ne!(plain(&exposition, Some(&[other])), "", "{other:?} without {collector:?}");
        }
    }
}

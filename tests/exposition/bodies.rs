//! Parts: what a change renders anew, what is shared, and that both encodings say the same.

use std::io::Read as _;

use flate2::bufread::GzDecoder;
use flexvm_exporter::exposition::{Exposition, Part};
use flexvm_exporter::snapshot::{Collector, Snapshot};

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
        assert_eq!((before.len(), after.len()), (head + 6 + own, head + 5 + own));
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

//! Parts: what a change renders anew, what is shared, and that both encodings say the same.

use std::io::Read as _;

use flate2::read::MultiGzDecoder;
use flexvm_exporter::exposition::{Exposition, Part, gzip};
use flexvm_exporter::snapshot::{Collector, Snapshot};

use crate::parse::families;
use crate::world::{World, options};

fn plain(exposition: &Exposition, collect: Option<&[Collector]>) -> String {
    String::from_utf8(exposition.body(collect, false).concat()).unwrap()
}

#[test]
fn gzip_members_and_one_more_are_one_stream_of_the_plain_text() {
    let world = World::new();
    let exposition = Exposition::render(&world.tenants(), &options(), None, &Part::ALL);
    let members = exposition.body(None, true);
    assert_eq!(members.len(), Part::ALL.len());
    let mut stream = members.concat();
    stream.extend(gzip(b"# EOF\n"));
    let mut unpacked = String::new();
    MultiGzDecoder::new(&stream[..]).read_to_string(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain(&exposition, None) + "# EOF\n");
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
        let (before, after) = (first.body(None, gzip), second.body(None, gzip));
        // Capacity is empty now; the inventory was not named and stays as it was.
        assert_eq!((before.len(), after.len()), (6, 5));
        let pointers =
            |pieces: &[bytes::Bytes]| pieces.iter().map(|piece| piece.as_ptr()).collect::<Vec<_>>();
        let (before, after) = (pointers(&before), pointers(&after));
        assert_eq!([&before[..1], &before[2..]].concat(), after);
        // Two scrapes get the same bytes.
        assert_eq!(pointers(&first.body(None, gzip)), before);
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
    assert!(exposition.body(None, false).is_empty() && exposition.body(None, true).is_empty());
    assert!(Exposition::render(&[], &options(), None, &Part::ALL).body(None, false).is_empty());
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

//! What usage means, over made-up months: every partition holds whatever a witness says.

#![expect(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::collections::{BTreeMap, BTreeSet};

use flexvm_exporter::config::{Prices, TagRule};
use flexvm_exporter::period::{Month, Period};
use flexvm_exporter::snapshot::{MonthlyReport, ReportVm, Text, VmStatus};
use flexvm_exporter::usage::{
    Flag, Grouping, Line, NoWitness, PeriodUsage, Totals, Use, UseSeconds, Witness, by_id, check, lines,
};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use rust_decimal::Decimal;

const TAGS: [&str; 9] =
    ["team:core", "team:ci", "Team: Core ", "team", "team:", "ci", "env:prod", "a|b:c\\d", "untagged"];

/// Values with everything that joins, escapes or is reserved.
const VALUES: [&str; 16] = [
    "",
    "x",
    "y",
    "x | y",
    "x|y",
    "x\\",
    "\\| y",
    "|",
    "\\",
    "(no value)",
    "\\(no value)",
    " ",
    "x / y",
    "/ y",
    "x;y",
    "x \\/",
];

fn october() -> Month {
    "2026-10".parse().unwrap()
}

/// The period's start moved by `seconds` and a part of a second.
fn moved(seconds: i64, nanoseconds: i32) -> Timestamp {
    october().period().start.checked_add(SignedDuration::new(seconds, nanoseconds)).unwrap()
}

/// Says anything at all of a VM, more than it lived included; always the same of the same VM.
struct Gossip(u64);

impl Witness for Gossip {
    fn observed(&self, vm_id: &str, _: Period) -> Option<UseSeconds> {
        let mut state = vm_id.bytes().fold(self.0, |state, byte| {
            state.rotate_left(7) ^ u64::from(byte).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        });
        if state.is_multiple_of(5) {
            return None;
        }
        let mut seen = UseSeconds::default();
        for of in Use::ALL {
            seen.add(of, state % 2_000_000);
            state = state.rotate_left(13).wrapping_mul(0xD134_2543_DE82_EF95);
        }
        Some(seen)
    }
}

prop_compose! {
    fn any_vm()(
        id in 0_u32..400,
        cloud in 0_u8..3,
        size in 0_u8..3,
        created in -2_000_000_i64..4_000_000,
        life in prop::option::of(-5_000_i64..3_000_000),
        nanoseconds in prop::array::uniform2(0_i32..1_000_000_000),
        tags in prop::collection::btree_set(prop::sample::select(TAGS.to_vec()), 0..4),
        vm_hours in 0_u64..745,
    ) -> ReportVm {
        ReportVm {
            id: format!("vm-{id:03}").into(),
            name: "agent".into(),
            status: VmStatus::Running,
            instance_type: format!("vm.{size}").into(),
            image: "debian-12".into(),
            cloud_id: format!("cloud-{cloud}").into(),
            site: "frmtl1".into(),
            tags: tags.into_iter().map(Text::from).collect(),
            created_at: moved(created, nanoseconds[0]),
            released_at: life.map(|life| moved(created + life, nanoseconds[1])),
            vm_hours,
        }
    }
}

fn any_vms() -> impl Strategy<Value = Vec<ReportVm>> {
    prop::collection::vec(any_vm(), 0..60).prop_map(|vms| {
        // One row a VM: rows that contradict each other are refused before.
        let by_id: BTreeMap<Text, ReportVm> = vms.into_iter().map(|vm| (vm.id.clone(), vm)).collect();
        by_id.into_values().collect()
    })
}

fn report(period: Period, vms: Vec<ReportVm>) -> MonthlyReport {
    MonthlyReport { period, total_nodes: 0, total_active_vms: 0, clouds: vec![], by_tag: vec![], vms }
}

fn prices() -> Prices {
    let price = |text: &str| vec![(None, Decimal::from_str_exact(text).unwrap())];
    let vm_hour = [("vm.0".to_owned(), price("0.12345")), ("vm.1".to_owned(), price("0.2"))];
    Prices { currency: "EUR".into(), vm_hour: vm_hour.into() }
}

/// What a life is, from its definition and nothing else.
fn exact(vm: &ReportVm, period: Period, fetched_at: Timestamp) -> u64 {
    let until = vm.released_at.unwrap_or(fetched_at).as_second().min(period.end.as_second());
    let from = vm.created_at.as_second().max(period.start.as_second());
    u64::try_from(until - from).unwrap_or(0)
}

fn all(lines: &[Line<'_>]) -> Totals {
    sum(&lines.iter().map(Line::totals).collect::<Vec<_>>())
}

fn sum<'a>(parts: impl IntoIterator<Item = &'a Totals>) -> Totals {
    let mut sum = Totals::default();
    for part in parts {
        sum += *part;
    }
    sum
}

/// Tags with the keys `a` and `b`, with a key that is in no group, and without a key.
fn any_tags() -> impl Strategy<Value = Vec<Text>> {
    let tag = (prop::sample::select(vec!["a:", "b:", "c:", ""]), prop::sample::select(VALUES.to_vec()));
    prop::collection::btree_set(tag.prop_map(|(key, value)| format!("{key}{value}")), 0..4)
        .prop_map(|tags| tags.into_iter().map(Text::from).collect())
}

/// What makes a group: the values of each key, or the tags themselves.
fn identity(group_by: &[String], tags: &[Text]) -> Vec<BTreeSet<Option<String>>> {
    if group_by.is_empty() {
        return vec![tags.iter().map(|tag| Some(tag.to_string())).collect()];
    }
    let values = |key: &String| {
        let of_key = tags.iter().filter_map(|tag| match tag.split_once(':') {
            Some((name, value)) => (name == key).then_some(value),
            None => (**tag == **key).then_some(""),
        });
        of_key.map(|value| (!value.is_empty()).then(|| value.to_owned())).collect()
    };
    group_by.iter().map(values).collect()
}

#[test]
fn stopped_cost_is_rounded_half_up_beyond_the_minor_unit() {
    struct OneSecond;
    impl Witness for OneSecond {
        fn observed(&self, _: &str, _: Period) -> Option<UseSeconds> {
            let mut seconds = UseSeconds::default();
            seconds.add(Use::Stopped, 1);
            Some(seconds)
        }
    }
    let cost = |text: &str, seconds: i64, minor_unit: u32| {
        let vm = ReportVm {
            id: "vm".into(),
            name: "".into(),
            status: VmStatus::Deleted,
            instance_type: "vm.0".into(),
            image: "".into(),
            cloud_id: "".into(),
            site: "".into(),
            tags: Vec::new().into(),
            created_at: moved(0, 0),
            released_at: Some(moved(seconds, 0)),
            vm_hours: 1,
        };
        let report = report(october().period(), vec![vm]);
        let line = lines(&report, moved(10_000, 0), &OneSecond).next().unwrap();
        line.stopped_cost(Decimal::from_str_exact(text).unwrap(), minor_unit).to_string()
    };
    assert_eq!([cost("0.15", 1000, 2), cost("0.1499999", 1000, 2)], ["0.0002", "0.0001"]);
    assert_eq!([cost("0.15", 1000, 3), cost("15", 1000, 0)], ["0.00015", "0.02"]);
    assert_eq!([cost("7", 1, 2), cost("7", 0, 2)], ["7.0000", "0.0000"], "all of its time, and no time");
    let largest = "1000000000000000000.0000000001";
    assert_eq!(cost(largest, 2_678_400, 2), "373357228195.9379");
}

/// Every set of at most `size` values, each behind `key`.
fn every_set(key: &str, size: usize) -> Vec<Vec<Text>> {
    let mut sets = vec![Vec::new()];
    for value in VALUES {
        let larger = sets.iter().filter(|set: &&Vec<Text>| set.len() < size).map(|set| {
            let mut set = set.clone();
            set.push(format!("{key}{value}").into());
            set
        });
        sets.extend(larger.collect::<Vec<_>>());
    }
    sets
}

#[test]
fn every_small_set_of_values_is_a_group_of_its_own() {
    let of_a = every_set("a:", 2);
    let both = of_a.iter().flat_map(|a| every_set("b:", 2).into_iter().map(move |b| [&a[..], &b].concat()));
    for (group_by, sets) in [
        (&["a"][..], every_set("a:", 3)),
        (&["a", "b"], both.collect()),
        (&[], every_set("", 3)),
        (&[], every_set("a:", 3)),
    ] {
        let group_by: Vec<String> = group_by.iter().map(ToString::to_string).collect();
        let grouping = Grouping { group_by: &group_by, tag_rules: &[] };
        let groups: BTreeSet<_> = sets.iter().map(|tags| grouping.group(tags)).collect();
        let labels: BTreeSet<_> = groups.iter().map(|group| (group.label(), group.kind)).collect();
        assert!(sets.len() > 600);
        assert_eq!((groups.len(), labels.len()), (sets.len(), sets.len()), "{group_by:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn different_groups_have_different_cells_and_labels(
        sets in prop::collection::vec(any_tags(), 2..24),
        keys in 0_usize..3,
    ) {
        let group_by: Vec<String> = ["a", "b"][..keys].iter().map(ToString::to_string).collect();
        let grouping = Grouping { group_by: &group_by, tag_rules: &[] };
        let (mut cells, mut labels) = (BTreeMap::new(), BTreeMap::new());
        for tags in &sets {
            let (group, identity) = (grouping.group(tags), identity(&group_by, tags));
            prop_assert_eq!(group.cells.len(), keys.max(1));
            let label = (group.label(), group.kind);
            let others = cells.insert(group, identity.clone()).into_iter().chain(labels.insert(label, identity.clone()));
            for other in others {
                prop_assert_eq!(&other, &identity);
            }
        }
        let distinct: BTreeSet<_> = sets.iter().map(|tags| identity(&group_by, tags)).collect();
        prop_assert_eq!((cells.len(), labels.len()), (distinct.len(), distinct.len()));
    }
}

proptest! {
    #[test]
    fn lines_are_partitions_whatever_a_witness_says(vms in any_vms(), seed: u64, fetched in 0_i64..3_000_000) {
        let (period, fetched_at) = (october().period(), moved(fetched, 5));
        let report = report(period, vms);
        let lines: Vec<_> = lines(&report, fetched_at, &Gossip(seed)).collect();
        prop_assert_eq!(lines.len(), report.vms.len());
        for line in &lines {
            prop_assert_eq!(line.seconds.total(), exact(line.vm, period, fetched_at));
            prop_assert_eq!(line.life.seconds(), line.seconds.total());
            prop_assert!(period.start <= line.life.start && line.life.end <= period.end);
            let [start, created, released, end] =
                [line.at_start, line.created, line.released, line.at_end].map(i32::from);
            prop_assert_eq!(start + created - released, end);
            let flags: Vec<_> = line.flags.iter().collect();
            let nothing = flags.contains(&Flag::ZeroLength) || flags.contains(&Flag::OutsidePeriod);
            prop_assert_eq!(nothing, line.seconds.total() == 0);
            prop_assert!(flags.is_sorted_by_key(|flag| flag.as_str()));
        }
    }

    #[test]
    fn months_partition_a_life(vm in any_vm()) {
        // From two months before the first possible creation until after the last possible release.
        let mut month = october().earlier_by(3);
        let last = std::iter::successors(Some(october()), |month| Some(month.next())).nth(4).unwrap();
        let fetched_at = last.period().end;
        let (mut seconds, mut created, mut released, mut at_end) = (0, 0, 0, false);
        while month <= last {
            let report = report(month.period(), vec![vm.clone()]);
            let line = lines(&report, fetched_at, &NoWitness).next().unwrap();
            prop_assert_eq!(line.at_start, at_end, "alive at the start of {} as at the end before", month);
            at_end = line.at_end;
            seconds += line.seconds.total();
            created += u32::from(line.created);
            released += u32::from(line.released);
            month = month.next();
        }
        let until = vm.released_at.unwrap_or(fetched_at).as_second();
        prop_assert_eq!(seconds, u64::try_from(until - vm.created_at.as_second()).unwrap_or(0));
        prop_assert_eq!((created, released), (1, u32::from(vm.released_at.is_some())));
        prop_assert_eq!(at_end, vm.released_at.is_none());
    }

    #[test]
    fn every_additive_sum_is_the_total(vms in any_vms(), seed: u64, by_key: bool) {
        let group_by = if by_key { vec!["team".to_owned(), "env".to_owned()] } else { vec![] };
        let tag_rules = [TagRule {
            key: "Team".into(),
            rename: Some("team".into()),
            lowercase: true,
            trim: true,
            values: BTreeMap::new(),
            ..TagRule::default()
        }];
        let (grouping, prices) = (Grouping { group_by: &group_by, tag_rules: &tag_rules }, prices());
        let report = report(october().period(), vms);
        let (fetched_at, witness) = (october().period().end, Gossip(seed));
        let usage = PeriodUsage::of(&report, fetched_at, &grouping, Some(&prices), &witness);
        let lines: Vec<_> = lines(&report, fetched_at, &witness).collect();
        let total = all(&lines);
        prop_assert_eq!(usage.total, total);
        prop_assert_eq!(sum(usage.groups.values().map(|group| &group.totals)), total);
        prop_assert_eq!(sum(usage.clouds.values()), total);
        prop_assert_eq!(sum(usage.instance_types.values()), total);
        let cost: Decimal = usage.groups.values().filter_map(|group| group.internal_cost).sum();
        prop_assert_eq!(usage.internal_cost, Some(cost));
        let groups: BTreeSet<_> = report.vms.iter().map(|vm| grouping.group(&vm.tags)).collect();
        prop_assert_eq!(usage.groups.len(), groups.len(), "each group has series of its own");
        let tagged: u64 = usage.tags.values().map(|tag| tag.vms).sum();
        let tags: usize = report.vms.iter().map(|vm| vm.tags.len()).sum();
        prop_assert_eq!(tagged, tags as u64, "a VM is counted under each of its tags");
        prop_assert_eq!(usage.untagged.vms, report.vms.iter().filter(|vm| vm.tags.is_empty()).count() as u64);
    }

    #[test]
    fn the_order_of_rows_changes_nothing(vms in any_vms(), seed: u64, turn in 0_usize..60) {
        let (period, fetched_at, witness) = (october().period(), october().period().end, Gossip(seed));
        let straight = report(period, vms.clone());
        let mut turned = vms;
        if !turned.is_empty() {
            let middle = turn % turned.len();
            turned.rotate_left(middle);
        }
        turned.reverse();
        let turned = report(period, turned);
        let shown = |report: &MonthlyReport| format!("{:?}", lines(report, fetched_at, &witness).collect::<Vec<_>>());
        prop_assert_eq!(shown(&straight), shown(&turned));
    }

    #[test]
    fn repeated_rows_count_once_and_the_last_wins(vms in any_vms(), seed: u64, repeats in prop::collection::vec(0_usize..60, 0..9)) {
        let (period, fetched_at, witness) = (october().period(), october().period().end, Gossip(seed));
        let once = report(period, vms.clone());
        let (mut rows, mut last) = (vms.clone(), BTreeMap::new());
        for (number, index) in repeats.into_iter().enumerate().filter(|_| !vms.is_empty()) {
            let mut row = vms[index % vms.len()].clone();
            row.name = format!("repeat {number}").into();
            row.status = VmStatus::Unknown("drifted".into());
            last.insert(row.id.clone(), row.name.clone());
            rows.push(row);
        }
        let repeated = report(period, rows);
        prop_assert!(check(&repeated, period).is_ok());
        let (once, repeated): (Vec<_>, Vec<_>) =
            (lines(&once, fetched_at, &witness).collect(), lines(&repeated, fetched_at, &witness).collect());
        prop_assert_eq!(all(&once), all(&repeated));
        prop_assert_eq!(once.len(), repeated.len());
        for (one, other) in once.iter().zip(&repeated) {
            prop_assert_eq!(&other.vm.name, last.get(&one.vm.id).unwrap_or(&one.vm.name));
            let flagged = other.flags.iter().any(|flag| flag == Flag::DuplicateRows);
            prop_assert_eq!(flagged, last.contains_key(&one.vm.id));
            let others: Vec<_> = other.flags.iter().filter(|flag| *flag != Flag::DuplicateRows).collect();
            prop_assert_eq!(others, one.flags.iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn exact_life_is_within_a_second_at_each_end(vms in any_vms()) {
        let (period, fetched_at) = (october().period(), october().period().end);
        let report = report(period, vms);
        for line in lines(&report, fetched_at, &NoWitness) {
            let whole = i128::from(line.seconds.total()) * 1_000_000_000;
            let away = i128::from(line.exact_nanoseconds) - whole;
            prop_assert!(away.abs() < 1_000_000_000, "{} {}", whole, line.exact_nanoseconds);
            let differs = line.flags.iter().any(|flag| flag == Flag::HoursDiffer);
            prop_assert_eq!(differs, !line.explained_hours().contains(&line.vm.vm_hours));
        }
    }
}

fn row(created: &str, released: &str, vm_hours: u64) -> ReportVm {
    ReportVm {
        id: "0198f1c2".into(),
        name: "agent".into(),
        status: VmStatus::Running,
        instance_type: "vm.4c.8g".into(),
        image: "debian-12".into(),
        cloud_id: "cloud-1".into(),
        site: "frmtl1".into(),
        tags: vec![Text::from("project:a"), Text::from("team:b")].into(),
        created_at: created.parse().unwrap(),
        released_at: (!released.is_empty()).then(|| released.parse().unwrap()),
        vm_hours,
    }
}

fn flags(vm: ReportVm) -> Vec<Flag> {
    let report = report(october().period(), vec![vm]);
    lines(&report, october().period().end, &NoWitness).next().unwrap().flags.iter().collect()
}

#[test]
fn hours_differ_only_if_no_precision_explains_them() {
    // Created, released, and the hours that whole seconds and exact times make.
    let cases = [
        // 3600 s; 3600.7 s.
        ("2026-10-05T10:00:00.2Z", "2026-10-05T11:00:00.9Z", [1, 2]),
        // 3600 s; 3600.000000001 s, 3600 s and 3599.999999999 s.
        ("2026-10-05T10:00:00.5Z", "2026-10-05T11:00:00.500000001Z", [1, 2]),
        ("2026-10-05T10:00:00.5Z", "2026-10-05T11:00:00.5Z", [1, 1]),
        ("2026-10-05T10:00:00.500000001Z", "2026-10-05T11:00:00.5Z", [1, 1]),
        // 3601 s; 3600.2 s and 3601.8 s.
        ("2026-10-05T10:00:00.9Z", "2026-10-05T11:00:01.1Z", [2, 2]),
        ("2026-10-05T10:00:00.1Z", "2026-10-05T11:00:01.9Z", [2, 2]),
        // Less than a second, within one second and over two.
        ("2026-10-05T10:00:00.5Z", "2026-10-05T10:00:00.9Z", [0, 1]),
        ("2026-10-05T10:00:00.9Z", "2026-10-05T10:00:01.1Z", [1, 1]),
        // Over the month's borders, which are whole seconds.
        ("2026-09-30T23:59:59.9Z", "2026-10-01T01:00:00.1Z", [1, 2]),
        ("2026-10-31T22:59:59.5Z", "", [2, 2]),
        ("2026-10-31T23:00:00.5Z", "2026-11-03T00:00:00.5Z", [1, 1]),
        ("2026-10-31T23:00:00Z", "2026-11-01T00:00:00.9Z", [1, 1]),
        // Released before it was created.
        ("2026-10-05T10:00:00.9Z", "2026-10-05T10:00:00.1Z", [0, 0]),
        // Not in the month.
        ("2026-11-01T00:00:00.5Z", "", [0, 0]),
        ("2026-09-01T00:00:00Z", "2026-09-30T23:59:59.9Z", [0, 0]),
    ];
    for (created, released, explained) in cases {
        for hours in 0..5 {
            let differs = flags(row(created, released, hours)).contains(&Flag::HoursDiffer);
            assert_eq!(differs, !explained.contains(&hours), "{created} {released} {hours}");
        }
    }
}

#[test]
fn replaced_text_is_flagged_in_every_field() {
    let changes: [fn(&mut ReportVm); 6] = [
        |vm| vm.name = "a\u{fffd}".into(),
        |vm| vm.status = VmStatus::Unknown("\u{fffd}".into()),
        |vm| vm.instance_type = "\u{fffd}b".into(),
        |vm| vm.image = "a\u{fffd}b".into(),
        |vm| vm.site = "\u{fffd}".into(),
        |vm| vm.tags = vec![Text::from("a"), Text::from("b\u{fffd}")].into(),
    ];
    let plain = row("2026-10-05T10:00:00Z", "2026-10-05T11:00:00Z", 1);
    assert!(!flags(plain.clone()).contains(&Flag::ReplacedText));
    for change in changes {
        let mut vm = plain.clone();
        change(&mut vm);
        assert!(flags(vm.clone()).contains(&Flag::ReplacedText), "{vm:?}");
    }
}

#[test]
fn rows_that_differ_in_what_counts_are_refused() {
    type Change = fn(&mut ReportVm);
    let period = october().period();
    let one = row("2026-10-05T10:00:00.25Z", "2026-10-05T11:00:00Z", 1);
    let checked = |change: Change| {
        let mut other = one.clone();
        change(&mut other);
        // A third VM between both rows, and the rows in either order.
        let mut third = one.clone();
        third.id = "0198f1c3".into();
        let mut rows = vec![one.clone(), third, other];
        let straight = check(&report(period, rows.clone()), period);
        rows.reverse();
        let reversed = check(&report(period, rows), period);
        assert_eq!(straight.is_ok(), reversed.is_ok());
        straight.map_err(|error| error.to_string())
    };
    let drifts: [Change; 6] = [
        |_| {},
        |vm| vm.name = "other".into(),
        |vm| vm.status = VmStatus::Deleted,
        |vm| vm.image = "other".into(),
        |vm| vm.site = "other".into(),
        // Another version of the API that cuts fractions.
        |vm| vm.created_at = "2026-10-05T10:00:00Z".parse().unwrap(),
    ];
    for change in drifts {
        assert_eq!(checked(change), Ok(()));
    }
    let counts: [(Change, &str); 7] = [
        (|vm| vm.created_at = "2026-10-05T10:00:01Z".parse().unwrap(), "created 2026-10-05T10:00:01Z"),
        (
            |vm| vm.released_at = Some("2026-10-05T11:00:01Z".parse().unwrap()),
            "released 2026-10-05T11:00:01Z",
        ),
        (|vm| vm.released_at = None, "not released"),
        (|vm| vm.vm_hours = 2, "2 h"),
        (|vm| vm.instance_type = "vm.8c".into(), "type vm.8c"),
        (|vm| vm.cloud_id = "cloud-2".into(), "cloud cloud-2"),
        (
            |vm| vm.tags = vec![Text::from("project:a"), Text::from("team:c")].into(),
            "tags [team:c, project:a]",
        ),
    ];
    for (change, shown) in counts {
        let message = checked(change).unwrap_err();
        for part in [
            "two different rows for the VM 0198f1c2",
            "created 2026-10-05T10:00:00Z, released 2026-10-05T11:00:00Z, 1 h, type vm.4c.8g, cloud cloud-1, tags [",
            shown,
            "close with `report --month 2026-10 --from-file FILE --reason TEXT`",
        ] {
            assert!(message.contains(part), "{part:?} is missing in {message:?}");
        }
    }
    // A release after the month's end does not count.
    let mut living = one.clone();
    living.released_at = None;
    let mut released = one.clone();
    released.released_at = Some(period.end);
    assert_eq!(check(&report(period, vec![living, released]), period), Ok(()));
}

#[test]
fn message_about_two_rows_is_one_line_of_bounded_length() {
    let period = october().period();
    let long = format!("{}\n\u{202e}\u{1b}[31m", "x".repeat(10_000));
    let mut one = row("2026-10-05T10:00:00Z", "2026-10-05T11:00:00Z", 1);
    (one.id, one.instance_type, one.cloud_id) =
        (long.as_str().into(), long.as_str().into(), long.as_str().into());
    one.tags = (0..500).map(|number| Text::from(format!("{number:03}\u{200b}{long}"))).collect();
    let mut other = one.clone();
    other.vm_hours = u64::MAX;
    let message = check(&report(period, vec![one, other]), period).unwrap_err().to_string();
    assert!(message.chars().count() < 1400, "{}", message.chars().count());
    assert!(!message.contains(|c: char| c.is_control() || c == '\u{202e}' || c == '\u{200b}'), "{message:?}");
    assert!(message.ends_with("--from-file FILE --reason TEXT`"), "{message}");
}

#[test]
fn every_reader_of_rows_uses_the_same_one() {
    let period = october().period();
    let mut rows = Vec::new();
    for id in ["b", "a", "c"] {
        for name in ["first", "middle", "last"] {
            let mut vm = row("2026-10-05T10:00:00Z", "2026-10-05T11:00:00Z", 1);
            (vm.id, vm.name) = (id.into(), name.into());
            rows.push(vm);
        }
    }
    let report = report(period, rows);
    let found: Vec<_> = by_id(&report).into_iter().map(|vm| (&*vm.id, &*vm.name)).collect();
    assert_eq!(found, [("a", "last"), ("b", "last"), ("c", "last")]);
    let shown: Vec<_> =
        lines(&report, period.end, &NoWitness).map(|line| (&*line.vm.id, &*line.vm.name)).collect();
    assert_eq!(shown, found);
    let grouping = Grouping { group_by: &[], tag_rules: &[] };
    let usage = PeriodUsage::of(&report, period.end, &grouping, None, &NoWitness);
    assert_eq!((usage.total.vms, usage.total.vm_hours), (3, 3));
}

//! Tests of the life of a difference.

use super::*;
use crate::ledger::Ledger;
use crate::ledger::revisions::RevisionRow;

const TENANT: &str = "k1";

/// A ledger with one closed month.
struct Differences {
    ledger: Ledger,
    directory: tempfile::TempDir,
}

fn hour(hour: i64) -> Timestamp {
    let start: Timestamp = "2026-11-01T00:30:00Z".parse().unwrap();
    start + SignedDuration::from_hours(hour)
}

fn month() -> Month {
    "2026-10".parse().unwrap()
}

fn reading(fingerprint: &str, read_at: Timestamp) -> Reading {
    // Each difference has another size.
    let size = u64::from(fingerprint.as_bytes()[0]);
    let seconds = ChangedSeconds { vms: size, clouds: 2 * size, tags: 0 };
    Reading { read_at, fingerprint: fingerprint.to_owned(), vms: 1, seconds }
}

impl Differences {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let this = Self { ledger: Ledger::open(&directory.path().join("ledger.db")).unwrap(), directory };
        this.close(1, 0);
        this
    }

    fn close(&self, revision: u32, at: i64) {
        let digest = revision.to_string();
        let row = RevisionRow { revision, published: true, digest, closed_at: hour(at), inputs: None };
        self.ledger.record_revision(TENANT, month(), row).unwrap();
    }

    /// A comparison with revision 1 that finds this difference; an empty one finds none.
    fn compare(&self, at: i64, fingerprint: &str) -> (Option<DifferenceState>, bool) {
        let reading = (!fingerprint.is_empty()).then(|| reading(fingerprint, hour(at)));
        let compared = self.ledger.record_comparison(TENANT, month(), 1, hour(at), reading).unwrap();
        (compared.state, compared.opened)
    }

    fn waive(&self, revision: u32, at: i64, current: Option<&str>) -> bool {
        let current = current.map(|fingerprint| reading(fingerprint, hour(at)));
        self.ledger.waive(TENANT, month(), revision, hour(at), "agreed", current).unwrap()
    }

    fn latest(&self) -> Option<Comparison> {
        self.ledger.comparisons(TENANT).unwrap().remove(&month())
    }

    /// Size of the open difference by its scope `vms`.
    fn open(&self) -> Option<u64> {
        self.ledger.open_differences(TENANT).unwrap().get(&month()).map(|open| open.vms)
    }

    /// Each difference in the order of its first reading: fingerprint, state, hours of its first
    /// reading, opening and end, and the reason.
    fn rows(&self) -> Vec<Row> {
        let connection = Connection::open(self.directory.path().join("ledger.db")).unwrap();
        let mut select = connection
            .prepare(
                "SELECT fingerprint, state, first_read, opened, ended, reason FROM difference ORDER BY id",
            )
            .unwrap();
        let hours = |at: i64| (at - hour(0).as_second()) / 3600;
        let rows = select.query_map([], |row| {
            let (opened, ended): (Option<i64>, Option<i64>) = (row.get(3)?, row.get(4)?);
            let first_read = hours(row.get(2)?);
            Ok((row.get(0)?, row.get(1)?, first_read, opened.map(hours), ended.map(hours), row.get(5)?))
        });
        rows.unwrap().map(Result::unwrap).collect()
    }
}

type Row = (String, String, i64, Option<i64>, Option<i64>, Option<String>);

const READ: (Option<DifferenceState>, bool) = (Some(DifferenceState::Read), false);
const OPENS: (Option<DifferenceState>, bool) = (Some(DifferenceState::Open), true);
const OPEN: (Option<DifferenceState>, bool) = (Some(DifferenceState::Open), false);
const WAIVED: (Option<DifferenceState>, bool) = (Some(DifferenceState::Waived), false);
const NONE: (Option<DifferenceState>, bool) = (None, false);

#[test]
fn difference_opens_after_two_readings_6_h_apart() {
    let it = Differences::new();
    assert_eq!(it.latest(), None);
    assert_eq!(it.compare(24, "A"), READ);
    let seconds = ChangedSeconds { vms: 65, clouds: 130, tags: 0 };
    let read = Comparison { at: hour(24), seconds, first_read: Some(hour(24)), open: false };
    assert_eq!((it.latest(), it.open()), (Some(read), None));
    assert_eq!(it.compare(29, "A"), READ, "less than 6 h");
    assert_eq!(it.latest(), Some(Comparison { at: hour(29), ..read }));
    assert_eq!(it.compare(30, "A"), OPENS);
    let open = Comparison { at: hour(30), seconds, first_read: None, open: true };
    assert_eq!((it.latest(), it.open()), (Some(open), Some(65)));
    assert_eq!(it.compare(54, "A"), OPEN, "it opens once");
    // A later comparison that finds none closes it; its history stays.
    assert_eq!(it.compare(78, ""), NONE);
    let none = Comparison { at: hour(78), seconds: ChangedSeconds::default(), first_read: None, open: false };
    assert_eq!((it.latest(), it.open()), (Some(none), None));
    assert_eq!(it.rows(), [("A".to_owned(), "vanished".to_owned(), 24, Some(30), Some(78), None)]);
    // If it returns, it needs two readings again.
    assert_eq!((it.compare(102, "A"), it.compare(108, "A")), (READ, OPENS));
}

#[test]
fn another_difference_needs_two_readings() {
    let it = Differences::new();
    assert_eq!(it.compare(24, "A"), READ);
    assert_eq!(it.compare(26, "B"), READ);
    assert_eq!(it.latest().unwrap().first_read, Some(hour(26)));
    assert_eq!(it.compare(29, "A"), READ, "less than 6 h");
    assert_eq!(it.latest().unwrap().first_read, Some(hour(24)));
    assert_eq!(it.compare(42, "A"), OPENS);
    // An open difference stays until another one is confirmed.
    assert_eq!(it.compare(66, "C"), READ);
    assert_eq!((it.open(), it.latest().unwrap().open), (Some(65), true));
    assert_eq!(it.latest().unwrap().first_read, Some(hour(66)));
    assert_eq!(it.compare(72, "C"), OPENS);
    assert_eq!(it.open(), Some(67));
    // An unconfirmed reading ends when the open difference is read again.
    assert_eq!((it.compare(96, "D"), it.compare(102, "C")), (READ, OPEN));
    assert_eq!(it.latest().unwrap().first_read, None);
    let states: Vec<_> = it.rows().into_iter().map(|row| (row.0, row.1)).collect();
    let expected = [("A", "replaced"), ("B", "replaced"), ("C", "open"), ("D", "replaced")];
    assert_eq!(states, expected.map(|(of, state)| (of.to_owned(), state.to_owned())));
    // One reading without a difference ends both.
    assert_eq!((it.compare(126, "D"), it.compare(132, "")), (READ, NONE));
    assert_eq!((it.open(), it.latest().unwrap().first_read), (None, None));
}

#[test]
fn servers_that_respond_alternately_open_a_difference() {
    let it = Differences::new();
    assert_eq!((it.compare(24, "A"), it.compare(48, "B")), (READ, READ));
    let compared = |at: i64, fingerprint: &str| {
        let reading = Some(reading(fingerprint, hour(at)));
        let compared = it.ledger.record_comparison(TENANT, month(), 1, hour(at), reading).unwrap();
        (compared.opened, compared.agrees_with_previous)
    };
    assert_eq!(compared(72, "A"), (true, false), "B was read in between");
    assert_eq!((it.open(), it.compare(96, "B")), (Some(65), READ));
    assert_eq!(compared(120, "A"), (false, false), "B was read in between");
    assert_eq!(compared(144, "A"), (false, true));
    assert_eq!((it.compare(168, "B"), compared(192, "B")), (READ, (true, true)));
    assert_eq!(it.open(), Some(66));
}

#[test]
fn waiver_covers_the_difference_that_exists_now() {
    let it = Differences::new();
    assert!(!it.waive(1, 1, None), "there is nothing to waive");
    assert_eq!((it.compare(24, "A"), it.compare(30, "A")), (READ, OPENS));
    assert!(it.waive(1, 31, None));
    assert_eq!((it.open(), it.latest().unwrap().seconds), (None, ChangedSeconds::default()));
    let waived = ("A".to_owned(), "waived".to_owned(), 24, Some(30), Some(31), Some("agreed".to_owned()));
    assert_eq!(it.rows(), std::slice::from_ref(&waived));
    assert_eq!(it.compare(54, "A"), WAIVED);
    assert_eq!(it.latest().unwrap().seconds, ChangedSeconds::default());
    // Another one opens again, and the waived one ends it.
    assert_eq!((it.compare(78, "B"), it.compare(84, "B")), (READ, OPENS));
    assert_eq!(it.compare(108, "A"), WAIVED);
    assert_eq!(it.open(), None);
    assert_eq!(it.rows()[0], waived, "the waiver is kept unchanged");
    // It stays waived also if the provider's figures were as closed in between.
    assert_eq!((it.compare(132, ""), it.compare(156, "A")), (NONE, WAIVED));
    // A reading that is not confirmed yet can be waived, and a difference that no comparison has read.
    assert_eq!(it.compare(180, "C"), READ);
    assert!(it.waive(1, 181, None));
    assert_eq!(it.compare(204, "C"), WAIVED);
    assert!(it.waive(1, 205, Some("D")));
    assert_eq!(it.compare(228, "D"), WAIVED);
    assert_eq!(it.latest().unwrap().first_read, None);
    // The difference in the current report is waived, and an older difference is not.
    assert_eq!((it.compare(252, "E"), it.compare(258, "E")), (READ, OPENS));
    assert!(it.waive(1, 259, Some("F")));
    let states: Vec<_> = it.rows().into_iter().rev().take(2).map(|row| (row.0, row.1)).collect();
    assert_eq!(states, [("F", "waived"), ("E", "replaced")].map(|(of, state)| (of.into(), state.into())));
    assert_eq!((it.open(), it.compare(282, "F"), it.compare(306, "E")), (None, WAIVED, READ));
    // A known difference gets the waiver in its own row.
    assert_eq!(it.compare(312, "E"), OPENS);
    assert!(it.waive(1, 313, Some("E")));
    let waived = ("E".to_owned(), "waived".to_owned(), 306, Some(312), Some(313), Some("agreed".to_owned()));
    assert_eq!(it.rows().last(), Some(&waived));
}

#[test]
fn restatement_ends_differences_and_waivers() {
    let it = Differences::new();
    assert_eq!((it.compare(24, "A"), it.compare(30, "A")), (READ, OPENS));
    assert_eq!(it.compare(54, "B"), READ);
    it.close(2, 55);
    assert_eq!((it.open(), it.latest()), (None, None), "revision 2 was not compared yet");
    let states: Vec<_> = it.rows().into_iter().map(|row| (row.1, row.4)).collect();
    assert_eq!(states, [("restated".to_owned(), Some(55)), ("restated".to_owned(), Some(55))]);
    let compare = |at: i64, fingerprint: &str| {
        let reading = reading(fingerprint, hour(at));
        it.ledger.record_comparison(TENANT, month(), 2, hour(at), Some(reading)).unwrap().state
    };
    assert_eq!(compare(78, "A"), Some(DifferenceState::Read));
    assert!(it.waive(2, 79, None));
    assert_eq!(compare(102, "A"), Some(DifferenceState::Waived));
    it.close(3, 103);
    let third = it.ledger.record_comparison(TENANT, month(), 3, hour(126), Some(reading("A", hour(126))));
    assert_eq!(third.unwrap().state, Some(DifferenceState::Read), "a waiver is for one revision");
}

#[test]
fn clock_that_was_ahead_postpones_no_confirmation() {
    let it = Differences::new();
    assert_eq!(it.compare(1000, "A"), READ);
    // The clock is set back: the 6 h begin again.
    assert_eq!(it.compare(24, "A"), READ);
    let latest = it.latest().unwrap();
    assert_eq!((latest.at, latest.first_read), (hour(24), Some(hour(24))));
    assert_eq!((it.compare(29, "A"), it.compare(30, "A")), (READ, OPENS));
    // An open difference stays open, regardless of the clock.
    assert_eq!(it.compare(-10, "A"), OPEN);
    assert_eq!(it.rows()[0].2, 24);
}

#[test]
fn stored_response_is_not_a_second_reading() {
    let it = Differences::new();
    let compare = |at: i64, read_at: i64| {
        let reading = reading("A", hour(read_at));
        it.ledger.record_comparison(TENANT, month(), 1, hour(at), Some(reading)).unwrap().state
    };
    assert_eq!(compare(24, 24), Some(DifferenceState::Read));
    assert_eq!(compare(30, 24), Some(DifferenceState::Read));
    assert_eq!(it.latest().unwrap().at, hour(30));
    assert_eq!(compare(31, 30), Some(DifferenceState::Open));
}

#[test]
fn months_and_tenants_are_independent() {
    let it = Differences::new();
    let other: Month = "2026-09".parse().unwrap();
    assert_eq!((it.compare(24, "A"), it.compare(30, "A")), (READ, OPENS));
    let digest = "x".to_owned();
    let row = RevisionRow { revision: 1, published: true, digest, closed_at: hour(0), inputs: None };
    it.ledger.record_revision(TENANT, other, row.clone()).unwrap();
    it.ledger.record_revision("k2", month(), row).unwrap();
    it.ledger.record_comparison(TENANT, other, 1, hour(30), None).unwrap();
    it.ledger.record_comparison("k2", month(), 1, hour(30), None).unwrap();
    assert!(!it.ledger.waive("k2", month(), 1, hour(31), "no", None).unwrap());
    assert_eq!(it.open(), Some(65));
    let open = |tenant| it.ledger.comparisons(tenant).unwrap().values().filter(|it| it.open).count();
    assert_eq!((open(TENANT), open("k2")), (1, 0));
}

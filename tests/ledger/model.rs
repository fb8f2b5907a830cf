//! The pure core against a plain model that looks at every second by itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flexvm_exporter::ledger::Ledger;
use flexvm_exporter::observe::{Observations, Seen, State};
use flexvm_exporter::period::Period;
use flexvm_exporter::snapshot::{InventoryData, VmStatus};
use flexvm_exporter::usage::{Use, UseSeconds, Witness as _};
use jiff::Timestamp;
use proptest::prelude::*;
use rusqlite::OptionalExtension as _;

use super::{at, poll};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const STATUSES: [VmStatus; 4] = [VmStatus::Running, VmStatus::Stopped, VmStatus::Failed, VmStatus::Starting];
const GAP: i64 = 30;

/// How a poll met a VM.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Met {
    Listed(usize),
    ById(usize),
    Unknown,
    /// Likewise, and nobody knows it but the recorded polls, as after a restart.
    Forgotten,
}

/// Time of a poll, and how it met each VM.
type Polls = Vec<(i64, BTreeMap<usize, Met>)>;

fn polls() -> impl Strategy<Value = Polls> {
    let met = prop_oneof![
        6 => (0..STATUSES.len()).prop_map(Met::Listed),
        1 => (0..STATUSES.len()).prop_map(Met::ById),
        1 => Just(Met::Unknown),
        1 => Just(Met::Forgotten),
    ];
    // Steps of the clock: mostly forward, now and then too far, standing or back.
    let step = prop_oneof![10 => 1..=GAP, 2 => GAP + 1..200_i64, 1 => -100..=0_i64];
    prop::collection::vec((step, prop::collection::btree_map(0..NAMES.len(), met, 0..4)), 0..30).prop_map(
        |steps| {
            let mut now = 0;
            let mut polls = Polls::new();
            for (step, met) in steps {
                now += step;
                polls.push((now, met));
            }
            polls
        },
    )
}

fn data(met: &BTreeMap<usize, Met>, before: &State) -> InventoryData {
    let mut unresolved = Vec::new();
    let mut by_id = Vec::new();
    let seen = met.iter().filter_map(|(vm, met)| match met {
        Met::Listed(status) => Some((NAMES[*vm], STATUSES[*status].clone())),
        Met::ById(status) => {
            by_id.push(NAMES[*vm].into());
            Some((NAMES[*vm], STATUSES[*status].clone()))
        }
        // What cannot be asked for is known from before, else nobody would ask.
        Met::Unknown => before.vms.get(NAMES[*vm]).map(|known| {
            unresolved.push(NAMES[*vm].into());
            (NAMES[*vm], known.status.clone())
        }),
        Met::Forgotten => {
            unresolved.push(NAMES[*vm].into());
            None
        }
    });
    let mut data = poll(seen.collect::<Vec<_>>());
    data.by_id = by_id;
    data.unresolved = unresolved;
    data
}

/// Runs the polls through the core.
fn observe(polls: &Polls) -> Observations {
    let (mut state, mut observations) = (State::default(), Observations::default());
    for (time, met) in polls {
        let data = data(met, &state);
        let Ok(step) = state.step(at(*time), Duration::from_secs(GAP.unsigned_abs()), &data) else {
            continue;
        };
        observations.add_poll(step.at, step.observed_from);
        for event in &step.events {
            observations.add(event.vm_id.clone(), step.at, event.kind, &event.status);
        }
        state.apply(&step);
    }
    observations
}

/// The model: every second on its own. What the newest poll up to a second saw holds until the next
/// poll, if that is near.
fn model(polls: &Polls, vm: usize, life: (i64, i64)) -> UseSeconds {
    let mut recorded: Polls = Vec::new();
    for poll in polls {
        if recorded.last().is_none_or(|(last, _)| poll.0 > *last) {
            recorded.push(poll.clone());
        }
    }
    let mut seconds = UseSeconds::default();
    for second in life.0..life.1 {
        let Some(next) = recorded.iter().position(|(time, _)| *time > second) else { continue };
        let Some(before) = next.checked_sub(1) else { continue };
        if recorded[next].0 - recorded[before].0 > GAP {
            continue;
        }
        if let Some(Met::Listed(status) | Met::ById(status)) = recorded[before].1.get(&vm) {
            seconds.add(Use::of(&STATUSES[*status]), 1);
        }
    }
    seconds
}

fn period(from: i64, until: i64) -> Period {
    Period { start: at(from), end: at(until) }
}

proptest! {
    #[test]
    fn seconds_are_those_of_the_model(polls in polls(), from in 0..300_i64, length in 0..400_i64) {
        let observations = observe(&polls);
        for (vm, name) in NAMES.iter().enumerate() {
            let expected = model(&polls, vm, (from, from + length));
            let observed = observations.observed(name, period(from, from + length)).unwrap_or_default();
            prop_assert_eq!(observed, expected, "{}", name);
            prop_assert!(observed.total() <= length.unsigned_abs());
        }
    }

    #[test]
    fn months_partition_a_life(polls in polls(), cuts in prop::collection::btree_set(1..499_i64, 0..5)) {
        let observations = observe(&polls);
        let edges: Vec<i64> = [0].into_iter().chain(cuts).chain([500]).collect();
        for name in NAMES {
            let whole = observations.observed(name, period(0, 500)).unwrap_or_default();
            let mut parts = UseSeconds::default();
            for edge in edges.windows(2) {
                parts += observations.observed(name, period(edge[0], edge[1])).unwrap_or_default();
            }
            prop_assert_eq!(whole, parts);
        }
    }

    /// Through the file, with its old events dropped somewhere between: what comes later is told as ever.
    #[test]
    fn what_is_dropped_is_missed_by_nobody(polls in polls(), cut in 0..500_i64, dropped_after in 0..30_usize) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let expected = observe(&polls);
        let ledger = Ledger::open(&path).unwrap();
        let mut state = State::default();
        for (index, (time, met)) in polls.iter().enumerate() {
            // As the daemon does: events are dropped while polls go on.
            if index == dropped_after {
                ledger.drop_before("t", at(cut)).unwrap();
            }
            let gap = Duration::from_secs(GAP.unsigned_abs());
            let data = data(met, &state);
            runtime.block_on(ledger.observe("t".into(), at(*time), gap, Arc::new(data.clone()))).unwrap();
            if let Ok(step) = state.step(at(*time), gap, &data) {
                state.apply(&step);
            }
        }
        ledger.drop_before("t", at(cut)).unwrap();
        let life = period(cut, 1000);
        let left = ledger.observations("t", life, Timestamp::MAX).unwrap();
        for name in NAMES {
            let seconds = |of: &Observations| of.observed(name, life).unwrap_or_default();
            prop_assert_eq!(seconds(&left), seconds(&expected), "{}", name);
        }
        let all = ledger.observations("t", period(-1_000_000, 1000), Timestamp::MAX).unwrap();
        let old = |history: &[(Timestamp, Seen)]| history.iter().filter(|(time, _)| *time < at(cut)).count();
        for (name, history) in &all.histories {
            prop_assert!(old(history) <= 1, "{} still has {:?}", name, history);
        }
        // Nothing refers to what is gone, and what is left goes on after a restart.
        drop(ledger);
        let dangling: Option<String> = rusqlite::Connection::open(&path).unwrap()
            .query_row("PRAGMA foreign_key_check", [], |row| row.get(0)).optional().unwrap();
        prop_assert_eq!(dangling, None);
        let again = Ledger::open(&path).unwrap().observations("t", life, Timestamp::MAX).unwrap();
        prop_assert_eq!(again, left);
    }

    /// A poll more, which sees what held anyway, changes nothing.
    #[test]
    fn splitting_an_interval_changes_nothing(polls in polls(), which in any::<prop::sample::Index>()) {
        prop_assume!(!polls.is_empty());
        let index = which.index(polls.len());
        let (time, met) = polls[index].clone();
        let next = polls.get(index + 1).map(|(time, _)| *time);
        let recorded = polls[..index].iter().all(|(before, _)| *before < time);
        prop_assume!(recorded && next.is_some_and(|next| next - time > 1 && next - time <= GAP));
        let mut split = polls.clone();
        split.insert(index + 1, (time + 1, met));
        prop_assert_eq!(observe(&polls).coverage, observe(&split).coverage);
        for name in NAMES {
            let seconds = |polls| observe(polls).observed(name, period(0, 500)).unwrap_or_default();
            prop_assert_eq!(seconds(&polls), seconds(&split));
        }
    }
}

#[test]
fn a_day_back_counts_nothing_double() {
    let running = || poll([("a", VmStatus::Running)]);
    let mut state = State::default();
    let gap = Duration::from_mins(3);
    for time in [0, 60, 120] {
        let step = state.step(at(time), gap, &running()).unwrap();
        state.apply(&step);
    }
    let refused = state.step(at(120 - 86_400), gap, &running()).unwrap_err();
    assert_eq!((refused.at, refused.last), (at(120 - 86_400), at(120)));
    // A day later by the true clock it goes on where it was.
    let step = state.step(at(180), gap, &running()).unwrap();
    assert_eq!((step.observed_from, step.events.len()), (Some(at(120)), 0));
    state.apply(&step);
    // A day ahead: what was between is not observed.
    let step = state.step(at(180 + 86_400), gap, &running()).unwrap();
    assert_eq!((step.previous, step.observed_from), (Some(at(180)), None));
}

#[test]
fn fractions_of_poll_times_do_not_add_seconds() {
    let mut state = State::default();
    let time = |text: &str| text.parse::<Timestamp>().unwrap();
    let data = poll([("a", VmStatus::Running)]);
    let step = state.step(time("2026-10-01T00:00:00.9Z"), Duration::from_secs(3), &data).unwrap();
    assert_eq!(step.at, at(0));
    state.apply(&step);
    assert!(state.step(time("2026-10-01T00:00:00.99Z"), Duration::from_secs(3), &data).is_err());
}

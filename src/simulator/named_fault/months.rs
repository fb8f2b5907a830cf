//! Monthly reports of ended months that are empty, incomplete, contradictory or change later.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{is_chosen, seconds_between};
use crate::clock::Clock;
use crate::simulator::fault::{Asked, Fault};
use crate::simulator::route::Operation;

/// Seconds from the start to the first late change in reports. In this time the user can close a month.
const LATE: i64 = 120;

/// Changes the reports of ended months.
fn edit_ended(clock: &Clock, change: impl Fn(&mut Value, Timestamp) + Send + Sync + 'static) -> Vec<Fault> {
    let clock = clock.clone();
    let edit = move |report: &mut Value| {
        let end = report["period"]["end"].as_str().and_then(|end| end.parse::<Timestamp>().ok());
        if end.is_some_and(|end| end <= clock.now()) {
            change(report, clock.now());
        }
    };
    vec![Fault::edit(edit).on(Operation::Monthly)]
}

fn rows<'a>(report: &'a mut Value, list: &str) -> Option<&'a mut Vec<Value>> {
    report[list].as_array_mut()
}

fn add(number: &mut Value, more: u64) {
    *number = (number.as_u64().unwrap_or_default() + more).into();
}

pub(super) fn empty(clock: &Clock) -> Vec<Fault> {
    edit_ended(clock, |report, _| {
        for list in ["clouds", "by_tag", "vms"] {
            report[list] = json!([]);
        }
        report["total_active_vms"] = 0.into();
    })
}

pub(super) fn incomplete(clock: &Clock) -> Vec<Fault> {
    edit_ended(clock, |report, _| {
        if let Some(vms) = rows(report, "vms") {
            vms.retain(|row| !is_chosen(row));
        }
    })
}

pub(super) fn late_change(clock: &Clock) -> Vec<Fault> {
    let start = clock.now();
    edit_ended(clock, move |report, now| {
        if seconds_between(start, now) < LATE {
            return;
        }
        let Some(vm) =
            rows(report, "vms").and_then(|vms| vms.iter_mut().find(|vm| vm["released_at"].is_string()))
        else {
            return;
        };
        let released = vm["released_at"].as_str().and_then(|at| at.parse::<Timestamp>().ok());
        if let Some(later) = released.and_then(|at| at.checked_add(SignedDuration::from_hours(1)).ok()) {
            vm["released_at"] = later.to_string().into();
        }
        add(&mut vm["vm_hours"], 1);
        let (cloud, tags) = (vm["cloud_id"].clone(), vm["tags"].clone());
        for row in rows(report, "clouds").into_iter().flatten().filter(|row| row["id"] == cloud) {
            add(&mut row["period_usage"]["total_vm_hours"], 1);
        }
        let has_tag = |tag: &Value| tags.as_array().is_some_and(|tags| tags.contains(tag));
        for row in rows(report, "by_tag").into_iter().flatten().filter(|row| has_tag(&row["tag"])) {
            add(&mut row["total_vm_hours"], 1);
        }
    })
}

pub(super) fn late_totals(clock: &Clock) -> Vec<Fault> {
    let start = clock.now();
    edit_ended(clock, move |report, now| {
        if seconds_between(start, now) >= LATE
            && let Some(row) = rows(report, "clouds").and_then(|rows| rows.first_mut())
        {
            add(&mut row["period_usage"]["total_vm_hours"], 10);
        }
    })
}

pub(super) fn duplicate_rows(clock: &Clock) -> Vec<Fault> {
    edit_ended(clock, |report, _| {
        if let Some(vms) = rows(report, "vms") {
            vms.extend(vms.clone());
        }
    })
}

pub(super) fn conflicting_rows(clock: &Clock) -> Vec<Fault> {
    edit_ended(clock, |report, _| {
        let Some(clouds) = rows(report, "clouds") else { return };
        if let Some(mut other) = clouds.first().cloned() {
            add(&mut other["period_usage"]["total_vm_hours"], 10);
            clouds.push(other);
        }
    })
}

pub(super) fn wrong_period(clock: &Clock) -> Vec<Fault> {
    edit_ended(clock, |report, _| {
        let start = report["period"]["start"].clone();
        let day_before = start
            .as_str()
            .and_then(|at| at.parse::<Timestamp>().ok())
            .and_then(|at| at.checked_sub(SignedDuration::from_hours(24)).ok());
        report["period"]["start"] = day_before.map(|at| at.to_string()).into();
    })
}

/// Requests for a period that has ended.
fn is_ended(asked: &Asked<'_>) -> bool {
    let end = form_urlencoded::parse(asked.query.as_bytes()).find(|(key, _)| key == "end");
    end.and_then(|(_, end)| end.parse::<Timestamp>().ok()).is_some_and(|end| end <= asked.at)
}

pub(super) fn fails() -> Vec<Fault> {
    vec![Fault::error(500, "The report cannot be generated").on(Operation::Monthly).when(is_ended)]
}

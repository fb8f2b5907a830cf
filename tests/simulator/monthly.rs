//! The monthly report against sums done by hand and against the definition.

use std::collections::{BTreeMap, BTreeSet};

use flexvm_exporter::simulator::{Options, Rounding};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::support::{World, quiet, text};

const MAY: &str = "/reports/monthly?start=2026-05-01T00:00:00Z&end=2026-06-01T00:00:00Z";

fn second(value: &Value) -> i64 {
    text(value).parse::<Timestamp>().unwrap().as_second()
}

fn make(world: &World, at: &str, tags: &Value) -> String {
    world.hand.set(at);
    let base = format!("/clouds/{}/vms", world.clouds()[0]);
    let made = world.post(&base, &json!({"name": "vm", "ssh_keys": ["k"], "tags": tags}));
    format!("{base}/{}", text(&made["id"]))
}

fn row<'a>(report: &'a Value, vm: &str) -> &'a Value {
    let id = vm.rsplit('/').next().unwrap();
    report["vms"].as_array().unwrap().iter().find(|row| row["vm_id"] == id).unwrap_or(&Value::Null)
}

/// Four VMs around May: one from April to the 1st of May, 01:00; one for ten minutes of the 10th;
/// one from the 31st, 22:30, on; one from June.
fn hand_made(rounding: Rounding) -> (World, [String; 4]) {
    let world = World::new("2026-04-20T00:00:00Z", Options { rounding, ..quiet(0, 1) });
    let a = make(&world, "2026-04-30T12:00:00Z", &json!(["p:x", "p:y"]));
    world.hand.set("2026-05-01T00:59:00Z");
    assert_eq!(world.delete(&a), 202);
    let b = make(&world, "2026-05-10T08:00:00Z", &json!(["p:x", "p:x"]));
    world.hand.set("2026-05-10T08:09:30Z");
    assert_eq!(world.delete(&b), 202);
    let c = make(&world, "2026-05-31T22:30:00Z", &json!([]));
    let d = make(&world, "2026-06-01T00:00:00Z", &json!(["p:z"]));
    world.hand.set("2026-06-01T00:00:30Z");
    (world, [a, b, c, d])
}

#[test]
fn hours_are_those_of_a_case_made_by_hand() {
    let (world, [a, b, c, d]) = hand_made(Rounding::SumOfCeils);
    let may = world.get(MAY);
    // 59 minutes and some seconds; 9.5 minutes; an hour and a half up to the month's end.
    assert_eq!((&row(&may, &a)["vm_hours"], &row(&may, &b)["vm_hours"]), (&json!(1), &json!(1)));
    assert_eq!((&row(&may, &c)["vm_hours"], row(&may, &d)), (&json!(2), &Value::Null));
    assert_eq!(row(&may, &c)["released_at"], Value::Null);
    assert!(row(&may, &a)["released_at"].as_str().unwrap().starts_with("2026-05-01T00:59:0"));
    let usage = json!({"total_vms_created": 2, "total_vms_released": 2, "total_vm_hours": 4});
    assert_eq!(may["clouds"][0]["period_usage"], usage);
    assert_eq!((&may["total_active_vms"], &may["clouds"][0]["active_vms"]), (&json!(2), &json!(2)));
    assert_eq!(
        may["by_tag"],
        json!([
            {"tag": "p:x", "active_vms": 0, "total_vms_created": 1, "total_vms_released": 2, "total_vm_hours": 2},
            {"tag": "p:y", "active_vms": 0, "total_vms_created": 0, "total_vms_released": 1, "total_vm_hours": 1},
        ])
    );
    let june = world.get("/reports/monthly");
    assert_eq!(june["period"]["start"], "2026-06-01T00:00:00Z");
    assert_eq!((&row(&june, &c)["vm_hours"], &row(&june, &d)["vm_hours"]), (&json!(1), &json!(1)));
    assert_eq!(june["vms"].as_array().unwrap().len(), 2);
    let april = world.get("/reports/monthly?start=2026-04-01&end=2026-05-01");
    assert_eq!(row(&april, &a)["vm_hours"], 12);
    let next = world.get("/reports/monthly?start=2026-07-01T00:00:00Z&end=2026-08-01T00:00:00Z");
    assert_eq!((&next["vms"], &next["by_tag"]), (&json!([]), &json!([])), "it has not begun");
}

#[test]
fn totals_can_be_the_ceil_of_the_sum() {
    let (world, _) = hand_made(Rounding::CeilOfSum);
    let may = world.get(MAY);
    // 3540 + s + 570 + t + 5400 seconds, s and t being the few that a deletion takes.
    assert_eq!(may["clouds"][0]["period_usage"]["total_vm_hours"], 3);
    assert_eq!(may["by_tag"][0]["total_vm_hours"], 2);
}

#[test]
fn a_vm_created_this_second_has_no_hours_and_a_line() {
    let world = World::new("2026-05-10T00:00:00Z", quiet(0, 1));
    let vm = make(&world, "2026-05-10T00:00:00Z", &json!([]));
    assert_eq!(row(&world.get(MAY), &vm)["vm_hours"], 0);
    world.hand.pass(1);
    assert_eq!(row(&world.get(MAY), &vm)["vm_hours"], 1);
}

#[test]
fn a_release_is_counted_in_exactly_one_of_two_neighbouring_periods() {
    let world = World::new("2026-04-20T00:00:00Z", quiet(0, 1));
    let vm = make(&world, "2026-04-21T00:00:00Z", &json!(["p:x"]));
    world.hand.set("2026-04-30T23:59:00Z");
    assert_eq!(world.delete(&vm), 202);
    world.hand.set("2026-05-02T00:00:00Z");
    let released = text(&world.get(&vm)["deleted_at"]);
    let usage = |report: &Value| report["clouds"][0]["period_usage"].clone();
    let before = world.get(&format!("/reports/monthly?start=2026-04-01T00:00:00Z&end={released}"));
    assert_eq!(row(&before, &vm)["vm_hours"], 240, "ten days less a minute, and a few seconds");
    assert_eq!(usage(&before)["total_vms_released"], 0);
    let after = world.get(&format!("/reports/monthly?start={released}&end=2026-06-01T00:00:00Z"));
    assert_eq!(row(&after, &vm)["vm_hours"], 0);
    assert_eq!(usage(&after), json!({"total_vms_created": 0, "total_vms_released": 1, "total_vm_hours": 0}));
    let june = world.get("/reports/monthly?start=2026-05-01T00:00:01Z&end=2026-06-01T00:00:00Z");
    assert_eq!(row(&june, &vm), &Value::Null);
}

/// Months of churn: every figure follows from `vms[]` by its definition.
#[test]
fn a_month_of_history_adds_up() {
    let world = World::new("2026-06-15T12:00:00Z", Options { vms: 100, ..Options::default() });
    let now = "2026-06-15T12:00:00Z".parse::<Timestamp>().unwrap().as_second();
    for month in ["2026-04", "2026-05", "2026-06"] {
        let next = format!("2026-{:02}", month[5..].parse::<u8>().unwrap() + 1);
        let path = format!("/reports/monthly?start={month}-01T00:00:00Z&end={next}-01T00:00:00Z");
        let report = world.get(&path);
        let (start, end) = (second(&report["period"]["start"]), second(&report["period"]["end"]));
        let vms = report["vms"].as_array().unwrap();
        let mut hours: BTreeMap<String, i64> = BTreeMap::new();
        let (mut minutes_only, mut from_before, mut beyond, mut untagged) = (0, 0, 0, 0);
        for vm in vms {
            let created = second(&vm["created_at"]);
            let released = vm["released_at"].as_str().map(|_| second(&vm["released_at"]));
            let seconds = (released.unwrap_or(now).min(end) - created.max(start)).max(0);
            assert_eq!(vm["vm_hours"].as_i64().unwrap(), (seconds + 3599) / 3600, "{vm}");
            let tags: BTreeSet<String> = vm["tags"].as_array().unwrap().iter().map(text).collect();
            untagged += u32::from(tags.is_empty());
            for group in tags.into_iter().chain([text(&vm["cloud_id"])]) {
                *hours.entry(group).or_default() += vm["vm_hours"].as_i64().unwrap();
            }
            minutes_only += u32::from(seconds < 5400);
            from_before += u32::from(created < start);
            beyond += u32::from(released.is_none_or(|at| at >= end));
        }
        assert!(vms.len() > 400, "{month}: {} VMs", vms.len());
        assert!(minutes_only > 300, "{month}: {minutes_only} short-lived VMs");
        assert!(from_before > 10 && beyond > 10 && untagged > 10, "{month}");
        let mut told: BTreeMap<String, i64> = BTreeMap::new();
        for tag in report["by_tag"].as_array().unwrap() {
            told.insert(text(&tag["tag"]), tag["total_vm_hours"].as_i64().unwrap());
        }
        for cloud in report["clouds"].as_array().unwrap() {
            told.insert(text(&cloud["id"]), cloud["period_usage"]["total_vm_hours"].as_i64().unwrap());
        }
        assert_eq!(told, hours, "{month}");
    }
}

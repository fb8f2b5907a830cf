//! A world with churn is one of a well-kept fleet: things break, are seen, and are put right in time.

use std::collections::{BTreeMap, BTreeSet};

use flexvm_exporter::period::Month;
use flexvm_exporter::simulator::Options;
use serde_json::Value;

use super::support::{World, quiet, text};

const START: &str = "2026-05-14T10:00:00Z";
const HOUR: i64 = 3600;
const STEP: i64 = HOUR / 4;

/// A kind of trouble, where it is, and how long the alert on it waits.
type Trouble = (&'static str, String, i64);

fn troubles(world: &World) -> Vec<Trouble> {
    let mut found = Vec::new();
    for cloud in world.clouds() {
        let path = format!("/clouds/{cloud}");
        let vms = |status: &str| world.list(&format!("{path}/vms?status={status}"));
        if !vms("failed").is_empty() {
            found.push(("failed VMs", cloud.clone(), HOUR / 2));
        }
        let id = |vm: &Value| text(&vm["id"]);
        found.extend(vms("provisioning").iter().map(|vm| ("stuck VM", id(vm), HOUR)));
        for status in ["stopped", "paused"] {
            found.extend(vms(status).iter().map(|vm| ("standing VM", id(vm), 14 * 24 * HOUR)));
        }
        let nodes = world.list(&format!("{path}/nodes"));
        let broken = nodes.iter().filter(|node| node["status"] != "running");
        found.extend(broken.map(|node| ("broken node", id(node), 2 * HOUR)));
    }
    for capacity in world.list("/capacity") {
        let resources = &capacity["resources"];
        let devices = resources["pci_devices"].as_array().unwrap().iter();
        for amount in devices.chain([&resources["vcpu"], &resources["memory"]]) {
            let number = |name: &str| amount[name].as_u64().unwrap();
            if number("in_use") * 100 > number("total") * 95 {
                found.push(("full", format!("{}{}", capacity["cloud"]["id"], amount["type"]), HOUR / 2));
            }
        }
    }
    found
}

#[test]
fn trouble_comes_and_is_put_right_before_an_alert() {
    let world = World::new(START, Options::default());
    let mut since: BTreeMap<Trouble, i64> = BTreeMap::new();
    let mut seen = BTreeMap::<&str, BTreeSet<String>>::new();
    for step in 0..30 * 24 * HOUR / STEP {
        let now: Vec<_> = troubles(&world);
        since.retain(|trouble, _| now.contains(trouble));
        for trouble in now {
            let first = *since.entry(trouble.clone()).or_insert(step);
            let (kind, place, limit) = trouble;
            let age = (step - first) * STEP;
            assert!(age < limit, "step {step}: {kind} {place} for {age} s");
            // What the seed begins with is gone by then; a short provisioning is no trouble.
            if step * STEP > 24 * HOUR && (kind != "stuck VM" || age > 0) {
                seen.entry(kind).or_default().insert(place);
            }
        }
        world.hand.pass(STEP);
    }
    for kind in ["failed VMs", "stuck VM", "standing VM", "broken node"] {
        assert!(seen.get(kind).is_some_and(|places| places.len() >= 2), "{kind}: {seen:?}");
    }
}

/// VM hours of a monthly report, and those of them that carry no tag.
fn hours(report: &Value) -> (f64, f64) {
    let vms = report["vms"].as_array().unwrap();
    let sum = |count: &dyn Fn(&Value) -> bool| -> f64 {
        vms.iter().filter(|vm| count(vm)).map(|vm| vm["vm_hours"].as_f64().unwrap()).sum()
    };
    (sum(&|_| true), sum(&|vm| vm["tags"].as_array().unwrap().is_empty()))
}

#[test]
fn a_month_is_like_the_one_before_and_mostly_tagged_whenever_it_begins() {
    for day in (1..=31).step_by(5) {
        let world = World::new(&format!("2026-05-{day:02}T10:00:00Z"), Options::default());
        for _ in 0..4 {
            let now = world.hand.clock().now();
            let month = Month::of(now);
            let before = month.previous().period();
            let (this, untagged) = hours(&world.get("/reports/monthly"));
            let (last, _) =
                hours(&world.get(&format!("/reports/monthly?start={}&end={}", before.start, before.end)));
            let period = month.period();
            let projected = this * period.end.duration_since(period.start).as_secs_f64()
                / now.duration_since(period.start).as_secs_f64();
            // The projection counts from the second day on; the alerts begin at 1.25 and 0.3.
            if now.duration_since(period.start).as_hours() > 24 {
                assert!(projected < 1.25 * last, "{now}: {projected} after {last}");
            }
            assert!(untagged < 0.3 * this, "{now}: {untagged} of {this}");
            world.hand.pass(9 * 24 * HOUR);
        }
    }
}

#[test]
fn without_churn_nobody_looks_after_anything() {
    let world = World::new(START, quiet(60, 3));
    let before = troubles(&world);
    assert!(before.iter().any(|(kind, ..)| *kind == "failed VMs"), "{before:?}");
    assert!(before.iter().any(|(kind, ..)| *kind == "broken node"), "{before:?}");
    world.hand.pass(30 * 24 * HOUR);
    assert_eq!(troubles(&world), before);
}

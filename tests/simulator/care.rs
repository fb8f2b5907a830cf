//! A world with churn is one of a well-kept fleet: things break, are seen, and are put right in time.

use std::collections::{BTreeMap, BTreeSet};

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

#[test]
fn without_churn_nobody_looks_after_anything() {
    let world = World::new(START, quiet(60, 3));
    let before = troubles(&world);
    assert!(before.iter().any(|(kind, ..)| *kind == "failed VMs"), "{before:?}");
    assert!(before.iter().any(|(kind, ..)| *kind == "broken node"), "{before:?}");
    world.hand.pass(30 * 24 * HOUR);
    assert_eq!(troubles(&world), before);
}

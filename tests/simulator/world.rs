//! The world as it is made: deterministic, of the right size, and as odd as the real one.

use std::collections::BTreeSet;

use flexvm_exporter::simulator::Options;
use serde_json::Value;

use super::support::{World, quiet, text};

const START: &str = "2026-05-14T10:00:00Z";
const LIVING: [&str; 9] =
    ["provisioning", "created", "starting", "running", "stopping", "stopped", "paused", "failed", "deleting"];

/// Everything that the API tells, as text.
fn everything(world: &World) -> String {
    let mut all = String::new();
    let mut add = |path: &str| all.extend([path, ": ", &Value::from(world.list(path)).to_string(), "\n"]);
    for path in ["/clouds", "/images", "/instanceTypes", "/capacity"] {
        add(path);
    }
    for cloud in world.clouds() {
        add(&format!("/clouds/{cloud}/nodes"));
        for status in LIVING.iter().chain(&["deleted"]) {
            add(&format!("/clouds/{cloud}/vms?status={status}"));
        }
    }
    for path in ["/reports/capacity", "/reports/monthly"] {
        all.push_str(&world.get(path).to_string());
    }
    all
}

fn living(world: &World) -> Vec<Value> {
    let clouds = world.clouds();
    let lists =
        clouds.iter().flat_map(|cloud| LIVING.map(|status| format!("/clouds/{cloud}/vms?status={status}")));
    lists.flat_map(|path| world.list(&path)).collect()
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let one = World::new(START, Options::default());
    let two = World::new(START, Options::default());
    assert!(everything(&one) == everything(&two));
    // However often it is looked at on the way.
    for _ in 0..200 {
        one.hand.pass(997);
        one.get("/reports/capacity");
    }
    two.hand.pass(200 * 997);
    assert!(everything(&one) == everything(&two));
    let other = World::new(START, Options { seed: 2, ..Options::default() });
    assert!(everything(&World::new(START, Options::default())) != everything(&other));
}

#[test]
fn the_number_of_living_vms_is_exact_at_the_start_and_stays_near() {
    for (vms, clouds) in [(0, 3), (1, 1), (7, 2), (60, 3), (500, 4)] {
        let world = World::new(START, Options { vms, clouds, ..Options::default() });
        assert_eq!(living(&world).len(), vms);
        assert_eq!(world.simulator.summary().living_vms, vms);
        assert_eq!(world.simulator.summary().clouds, clouds);
        for _ in 0..30 {
            world.hand.pass(86_400);
            let now = world.simulator.summary().living_vms;
            assert!(now.abs_diff(vms) <= 5 + vms / 5, "{now} living VMs instead of {vms}");
        }
    }
    assert_eq!(World::new(START, Options { clouds: 0, ..Options::default() }).simulator.summary().all_vms, 0);
}

#[test]
fn churn_goes_on_or_stands_still() {
    let busy = World::new(START, Options::default());
    let before = busy.simulator.summary();
    busy.hand.pass(30 * 86_400);
    let after = busy.simulator.summary();
    assert!(after.all_vms > before.all_vms + 300, "{before:?} {after:?}");
    let still = World::new(START, quiet(60, 3));
    let before = (still.simulator.summary(), living(&still));
    still.hand.pass(30 * 86_400);
    assert!((still.simulator.summary(), living(&still)) == before);
}

#[test]
fn the_world_is_as_odd_as_the_real_one() {
    let world = World::new(START, Options::default());
    let vms = living(&world);
    let any = |what: &dyn Fn(&Value) -> bool| vms.iter().any(what);
    let tags = |vm: &Value| vm["tags"].as_array().unwrap().iter().map(text).collect::<Vec<_>>();
    assert!(any(&|vm| vm["node"].is_object() && vm["status"] == "provisioning"));
    assert!(any(&|vm| text(&vm["name"]).starts_with('=')));
    assert!(any(&|vm| text(&vm["name"]).contains(['"', ',']) && !text(&vm["name"]).is_ascii()));
    assert!(any(&|vm| tags(vm).is_empty()));
    assert!(any(&|vm| tags(vm).len() > 3));
    assert!(any(&|vm| tags(vm).iter().any(|tag| tag.matches(':').count() > 2)));
    assert!(any(&|vm| tags(vm).iter().any(|tag| !tag.contains(':'))));
    assert!(any(&|vm| vm.get("description").is_none()) && any(&|vm| vm["description"] == ""));
    for status in ["running", "stopped", "paused", "failed"] {
        assert!(any(&|vm| vm["status"] == status), "{status}");
    }
    let sites: BTreeSet<String> = world.list("/clouds").iter().map(|cloud| text(&cloud["site"])).collect();
    assert!(sites.contains("nlrtm1"), "{sites:?}");
    assert!(world.list("/clouds").iter().any(|cloud| cloud["description"].is_null()));
    let gone = world
        .clouds()
        .iter()
        .any(|cloud| !world.list(&format!("/clouds/{cloud}/vms?status=deleted")).is_empty());
    assert!(gone, "deleted VMs stay listed");
}

#[test]
fn pages_are_clamped_silently_and_end() {
    let world = World::new(START, Options { page_cap: Some(10), ..quiet(90, 1) });
    let path = format!("/clouds/{}/vms?status=running", world.clouds()[0]);
    let mut ids = Vec::new();
    loop {
        let page = world.page(&path, ids.len(), 100);
        assert!(page.len() <= 10);
        if page.is_empty() {
            break;
        }
        ids.extend(page.iter().map(|vm| text(&vm["id"])));
    }
    let running = world.simulator.summary().by_status["running"];
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), running);
    assert_eq!(ids.len(), running);
    assert!(!ids.is_sorted() && !ids.iter().rev().is_sorted(), "an order that nobody may lean on");
    assert_eq!(world.page(&path, 5, 3).iter().map(|vm| text(&vm["id"])).collect::<Vec<_>>(), ids[5..8]);
    assert_eq!(world.page(&path, 1_000_000, 25), Vec::<Value>::new());

    let uncapped = World::new(START, quiet(90, 1));
    assert_eq!(uncapped.get(&path).as_array().unwrap().len(), 25, "the default page");
    assert_eq!(uncapped.list(&path).len(), running);
}

#[test]
fn ten_thousand_vms_are_no_trouble() {
    let begun = std::time::Instant::now();
    let world = World::new(START, Options { vms: 10_000, ..Options::default() });
    let vms = living(&world);
    assert_eq!(vms.len(), 10_000);
    let ids: BTreeSet<String> = vms.iter().map(|vm| text(&vm["id"])).collect();
    assert_eq!(ids.len(), 10_000);
    for cloud in world.list("/capacity") {
        let resources = &cloud["resources"];
        let list = resources["pci_devices"].as_array().unwrap().iter();
        for amount in list.chain([&resources["vcpu"], &resources["memory"]]) {
            let number = |name: &str| amount[name].as_u64().unwrap();
            assert_eq!(number("total"), number("in_use") + number("available"), "{cloud}");
            assert!(number("available") > 0, "{cloud}");
        }
        let mine = vms.iter().filter(|vm| vm["cloud"]["id"] == cloud["id"]);
        let vcpus: u64 = mine.map(|vm| vm["instance_type"]["vcpu"].as_u64().unwrap()).sum();
        assert_eq!(resources["vcpu"]["in_use"], vcpus);
    }
    assert_eq!(world.get("/reports/monthly")["total_active_vms"], 10_000);
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
}

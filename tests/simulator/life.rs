//! What becomes of nodes and VMs as a clock is moved by hand.

use serde_json::{Value, json};

use super::support::{World, quiet, text};

const START: &str = "2026-05-14T10:00:00Z";

/// A world with one cloud of the first kind of hardware and one empty running node.
fn one_cloud() -> (World, String) {
    let world = World::new(START, quiet(0, 0));
    let cloud = world
        .post("/clouds", &json!({"name": "c", "site": "frmtl1", "instance_type": "bm9.hmm.gpu.4rtx4000.64"}));
    let cloud = format!("/clouds/{}", text(&cloud["id"]));
    world.post(&format!("{cloud}/nodes"), &Value::Null);
    world.hand.pass(60);
    (world, cloud)
}

fn gpu_vm(name: &str) -> Value {
    json!({"name": name, "ssh_keys": ["key"], "instance_type_name": "vm.gpu.1rtx4000.15c.248g",
        "image_name": "ubuntu-2404-base", "tags": []})
}

/// Moves the clock second by second and notes each status as it comes.
fn statuses(world: &World, path: &str, seconds: u32) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for _ in 0..=seconds {
        let status = text(&world.get(path)["status"]);
        if seen.last() != Some(&status) {
            seen.push(status);
        }
        world.hand.pass(1);
    }
    seen
}

#[test]
fn a_vm_goes_through_its_whole_life() {
    let (world, cloud) = one_cloud();
    let made = world.post(&format!("{cloud}/vms"), &gpu_vm("one"));
    assert_eq!(made["created_at"], "2026-05-14T10:01:00Z");
    assert!(made["node"]["id"].is_string(), "a VM has its node from the beginning: {made}");
    assert_eq!(made["ips"], json!([]));
    let vm = format!("{cloud}/vms/{}", text(&made["id"]));
    let commands = format!("{vm}/commands");
    let order = |word: &str| world.send("POST", &commands, &json!({ "command": word })).0;

    assert_eq!(order("stop"), 422, "it is not running yet");
    assert_eq!(statuses(&world, &vm, 20), ["provisioning", "created", "starting", "running"]);
    let running = world.get(&vm);
    assert!(running["node"]["id"].is_string() && !running["ips"].as_array().unwrap().is_empty());
    assert_eq!(running.get("deleted_at"), None, "absent, not null");

    assert_eq!(order("start"), 422);
    assert_eq!(order("stop"), 202);
    assert_eq!(statuses(&world, &vm, 20), ["stopping", "stopped"]);
    assert_eq!((order("stop"), order("reboot"), order("reset")), (422, 422, 422));
    assert_eq!(order("start"), 202);
    assert_eq!(statuses(&world, &vm, 20), ["starting", "running"]);
    assert_eq!(order("reboot"), 202);
    assert_eq!(statuses(&world, &vm, 20), ["stopping", "starting", "running"]);
    assert_eq!(order("reset"), 202);
    assert_eq!(statuses(&world, &vm, 20), ["starting", "running"]);

    assert_eq!(world.delete(&vm), 202);
    assert_eq!(world.send("DELETE", &vm, &Value::Null).1["errorCode"], 90_001);
    assert_eq!(order("start"), 422);
    assert_eq!(statuses(&world, &vm, 20), ["deleting", "deleted"]);
    let gone = world.get(&vm);
    assert!(gone["deleted_at"].is_string() && gone["node"]["id"].is_string());
    assert_eq!(world.send("DELETE", &vm, &Value::Null).1["errorCode"], 90_002);
    let deleted = world.list(&format!("{cloud}/vms?status=deleted"));
    assert_eq!(deleted, [gone]);
}

#[test]
fn a_deleted_vm_can_be_forgotten() {
    let hour = std::time::Duration::from_hours(1);
    let mut options = quiet(0, 1);
    options.forget_deleted = Some(hour);
    let world = World::new(START, options);
    let base = format!("/clouds/{}/vms", world.clouds()[0]);
    let made = world.post(&base, &gpu_vm("one"));
    let vm = format!("{base}/{}", text(&made["id"]));
    world.hand.pass(60);
    assert_eq!(world.delete(&vm), 202);
    world.hand.pass(3500);
    assert_eq!(world.get(&vm)["status"], "deleted");
    world.hand.pass(200);
    assert_eq!(world.send("GET", &vm, &Value::Null).0, 404);
    assert_eq!(world.list(&format!("{base}?status=deleted")), Vec::<Value>::new());
    assert_eq!(world.get("/reports/monthly")["vms"][0]["vm_id"], made["id"], "the report remembers");
}

#[test]
fn only_running_and_stopped_vms_are_deleted() {
    let world = World::new(START, quiet(60, 1));
    let base = format!("/clouds/{}/vms", world.clouds()[0]);
    let refused = |status: &str| {
        let vms = world.list(&format!("{base}?status={status}"));
        let vm = vms.first().unwrap_or_else(|| panic!("no VM is {status}"));
        let (code, problem) = world.send("DELETE", &format!("{base}/{}", text(&vm["id"])), &Value::Null);
        (code, problem["errorCode"].as_u64())
    };
    let made = world.post(&base, &gpu_vm("one"));
    let vm = format!("{base}/{}", text(&made["id"]));
    for status in ["provisioning", "created", "starting"] {
        while world.get(&vm)["status"] != status {
            world.hand.pass(1);
        }
        assert_eq!(refused(status), (422, Some(90_001)), "{status}");
    }
    world.hand.pass(60);
    world.post(&format!("{vm}/commands"), &json!({"command": "stop"}));
    assert_eq!(refused("stopping"), (422, Some(90_001)));
    world.hand.pass(60);
    assert_eq!(refused("stopped"), (202, None));
    assert_eq!(refused("deleting"), (422, Some(90_001)));
    assert_eq!(refused("paused"), (422, Some(90_001)));
    assert_eq!(refused("running"), (202, None));
    for status in ["failed", "deleted"] {
        assert_eq!(refused(status), (422, Some(90_002)), "{status}");
    }
}

#[test]
fn paused_and_failed_vms_can_be_brought_back() {
    let world = World::new(START, quiet(20, 1));
    let base = format!("/clouds/{}/vms", world.clouds()[0]);
    for (status, word) in [("paused", "start"), ("failed", "reset")] {
        let vms = world.list(&format!("{base}?status={status}"));
        let vm = format!("{base}/{}", text(&vms[0]["id"]));
        world.post(&format!("{vm}/commands"), &json!({ "command": word }));
        assert_eq!(statuses(&world, &vm, 10), ["starting", "running"]);
    }
}

#[test]
fn a_node_is_bootstrapped_and_goes_only_when_it_is_empty() {
    let (world, cloud) = one_cloud();
    let nodes = format!("{cloud}/nodes");
    let node = format!("{nodes}/{}", text(&world.post(&nodes, &Value::Null)["id"]));
    assert_eq!(world.delete(&node), 409, "it has only been created");
    assert_eq!(statuses(&world, &node, 60), ["created", "requested", "bootstrapping", "running"]);

    let made = world.post(&format!("{cloud}/vms"), &gpu_vm("one"));
    let vm = format!("{cloud}/vms/{}", text(&made["id"]));
    world.hand.pass(20);
    let host = format!("{nodes}/{}", text(&world.get(&vm)["node"]["id"]));
    assert_eq!(world.delete(&host), 409, "it hosts a VM");
    assert_eq!(world.send("DELETE", &cloud, &Value::Null).0, 422);
    assert_eq!(world.delete(&vm), 202);
    assert_eq!(world.delete(&host), 409, "the VM is not gone yet");
    world.hand.pass(20);
    for node in world.list(&nodes) {
        assert_eq!(world.delete(&format!("{nodes}/{}", text(&node["id"]))), 202);
    }
    assert_eq!(world.get(&host)["status"], "deleting");
    assert_eq!(world.delete(&cloud), 422);
    world.hand.pass(20);
    assert_eq!(world.send("GET", &host, &Value::Null).0, 404);
    assert_eq!(world.delete(&cloud), 204);
    assert_eq!(world.send("GET", &cloud, &Value::Null).0, 404);
    assert_eq!(world.get("/reports/monthly")["clouds"].as_array().unwrap().len(), 1, "it had a VM");
}

#[test]
fn capacity_follows_nodes_and_vms() {
    let (world, cloud) = one_cloud();
    let resources = |what: &str| {
        let capacity = world.get("/reports/capacity")["resources"][what].clone();
        (capacity["total"].as_u64().unwrap(), capacity["in_use"].as_u64().unwrap())
    };
    let devices = |kind: usize| world.get("/reports/capacity")["resources"]["pci_devices"][kind].clone();
    assert_eq!((resources("vcpu"), resources("memory")), ((64, 0), (1_048_576, 0)));

    let mut vms = Vec::new();
    for name in ["one", "two", "three", "four"] {
        let made = world.post(&format!("{cloud}/vms"), &gpu_vm(name));
        vms.push(format!("{cloud}/vms/{}", text(&made["id"])));
    }
    assert_eq!((resources("vcpu"), resources("memory")), ((64, 60), (1_048_576, 4 * 253_952)));
    assert_eq!(devices(0), json!({"type": "gpu", "total": 4, "in_use": 4, "available": 0}));
    let (status, problem) = world.send("POST", &format!("{cloud}/vms"), &gpu_vm("five"));
    assert_eq!((status, &problem["errors"]), (422, &json!([])), "{problem}");
    let foreign = json!({"name": "x", "ssh_keys": ["k"], "instance_type_name": "vm.gpu.1l4.15c.240g"});
    assert_eq!(world.send("POST", &format!("{cloud}/vms"), &foreign).0, 422);

    world.hand.pass(20);
    world.post(&format!("{}/commands", vms[0]), &json!({"command": "stop"}));
    world.hand.pass(20);
    assert_eq!(devices(0)["in_use"], 4, "a stopped VM holds its GPU");
    assert_eq!(world.delete(&vms[0]), 202);
    assert_eq!(devices(0)["in_use"], 4, "until it is gone");
    world.hand.pass(20);
    assert_eq!(devices(0)["in_use"], 3);
    assert_eq!(devices(1), json!({"type": "nvme", "total": 4, "in_use": 3, "available": 1}));

    world.post(&format!("{cloud}/nodes"), &Value::Null);
    assert_eq!((&world.get("/reports/capacity")["nodes"], resources("vcpu").0), (&json!(2), 64));
    world.hand.pass(60);
    assert_eq!(resources("vcpu"), (128, 45));
    assert_eq!(world.get("/capacity")[0]["resources"], world.get("/reports/capacity")["resources"]);
}

#[test]
fn a_clock_that_goes_back_stands_still() {
    let (world, cloud) = one_cloud();
    let made = world.post(&format!("{cloud}/vms"), &gpu_vm("one"));
    let vm = format!("{cloud}/vms/{}", text(&made["id"]));
    world.hand.pass(60);
    assert_eq!(world.get(&vm)["status"], "running");
    world.hand.set("2026-05-01T00:00:00Z");
    assert_eq!(world.get(&vm)["status"], "running");
}

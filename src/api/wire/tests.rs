//! The wire's shapes: what is accepted, what is refused, what is noticed.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::snapshot::Resource;

mod bad_rows;
mod defects;
mod sizes;

fn texts() -> Texts {
    Texts::default()
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn cloud_json() -> Value {
    json!({
        "description": "d", "id": "c-1", "name": "One", "site": "nlrtm1",
        "instance_type": "bm9", "created_at": "2026-06-01T12:45:14Z",
    })
}

fn vm_json() -> Value {
    json!({
        "id": "v-1", "name": "agent", "description": "x",
        "instance_type": {"id": "t", "name": "vm.4c.8g", "vcpu": 4, "memory": 8192, "disk": 64,
            "pciDevices": [{"type": "gpu", "spec": "rtx4000"}]},
        "image": {"name": "ubuntu", "os": "Ubuntu", "os_type": "linux"},
        "status": "running",
        "ips": [{"address": "10.0.0.1", "public": false}, {"address": "192.0.2.1", "public": true}],
        "cloud": cloud_json(),
        "node": {"cloud": cloud_json(), "id": "n-1", "name": "n", "serial": "s", "status": "running"},
        "created_at": "2026-06-01T12:45:14Z",
        "tags": ["b", "a", "b", ""],
    })
}

fn monthly_json() -> Value {
    json!({
        "period": {"start": "2026-10-01T00:00:00Z", "end": "2026-11-01T00:00:00Z"},
        "total_nodes": 25, "total_active_vms": 38,
        "clouds": [{"id": "c-1", "site": "s", "instance_type": "bm9", "nodes": 10, "active_vms": 12,
            "period_usage": {"total_vms_created": 1, "total_vms_released": 2, "total_vm_hours": 3}}],
        "by_tag": [{"tag": "a", "active_vms": 8, "total_vms_created": 4, "total_vms_released": 5, "total_vm_hours": 6}],
        "vms": [{"vm_id": "v-1", "name": "agent", "status": "running", "plan": "vm.4c.8g", "image": "ubuntu",
            "cloud_id": "c-1", "site": "s", "tags": ["a"], "created_at": "2026-06-01T12:45:14Z",
            "released_at": null, "vm_hours": 744}],
    })
}

fn capacity_json() -> Value {
    let amounts = json!({"total": 10, "in_use": 3, "available": 7});
    json!({
        "nodes": 2, "node_groups": [{"instance_type": "bm9", "quantity": 2}],
        "resources": {"vcpu": amounts, "memory": amounts,
            "pci_devices": [{"type": "gpu", "total": 4, "in_use": 1, "available": 3}]},
    })
}

/// `change` applied to a copy of `value`.
fn with(mut value: Value, change: impl FnOnce(&mut Value)) -> Value {
    change(&mut value);
    value
}

fn read_vm(value: &Value) -> Result<Parsed<Vm>, String> {
    vm(&bytes(value), &texts(), &"c-1".into()).map_err(|error| error.to_string())
}

fn read_monthly(value: &Value) -> Result<Parsed<MonthlyReport>, String> {
    monthly(&bytes(value), &texts()).map_err(|error| error.to_string())
}

#[test]
fn a_vm_as_documented() {
    let parsed = read_vm(&vm_json()).unwrap();
    let vm = parsed.value;
    assert_eq!((&*vm.id, &*vm.cloud_id, &*vm.name), ("v-1", "c-1", "agent"));
    assert_eq!((&*vm.instance_type, &*vm.image), ("vm.4c.8g", "ubuntu"));
    assert_eq!(vm.node_id.as_deref(), Some("n-1"));
    assert_eq!(vm.status, VmStatus::Running);
    assert_eq!(vm.created_at, Some("2026-06-01T12:45:14Z".parse().unwrap()));
    assert_eq!(
        vm.ips.iter().map(|ip| (&*ip.address, ip.public)).collect::<Vec<_>>(),
        [("10.0.0.1", false), ("192.0.2.1", true)]
    );
    assert_eq!(vm.tags.iter().map(|tag| &**tag).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(parsed.unknown.iter().count(), 0, "{:?}", parsed.unknown);
}

#[test]
fn null_absent_and_empty_are_the_same_and_objects_may_be_names() {
    let bare = json!({"id": "v", "status": "stopped"});
    let nulls = json!({"id": "v", "status": "stopped", "name": null, "instance_type": null, "image": null, "ips": null,
        "cloud": null, "node": null, "created_at": null, "deleted_at": "", "tags": null, "description": null});
    let empties = json!({"id": "v", "status": "stopped", "name": "", "instance_type": {}, "image": "", "ips": [null],
        "cloud": {}, "node": {"id": ""}, "created_at": "", "tags": [null, ""]});
    let expected = read_vm(&bare).unwrap().value;
    for value in [nulls, empties] {
        let parsed = read_vm(&value).unwrap();
        assert_eq!(parsed.value, expected);
        assert!(parsed.defects.is_empty());
    }
    let named = json!({"id": "v", "status": "paused", "instance_type": "vm.4c", "image": "u", "node": "n", "cloud": "c"});
    let vm = read_vm(&named).unwrap().value;
    assert_eq!((&*vm.instance_type, &*vm.image, vm.node_id.as_deref()), ("vm.4c", "u", Some("n")));
}

#[test]
fn times_in_every_spelling() {
    let at = |value: Value| read_vm(&with(vm_json(), |vm| vm["created_at"] = value)).unwrap();
    let expected: Timestamp = "2026-06-01T12:45:14Z".parse().unwrap();
    for text in [
        "2026-06-01T12:45:14Z",
        "2026-06-01T12:45:14+00:00",
        "2026-06-01T14:45:14+02:00",
        "2026-06-01T12:45:14.000Z",
        "2026-06-01T12:45:14",
        "2026-06-01 12:45:14",
        "2026-06-01T12:45:14+0000",
        "2026-06-01T12:45:14.000000000000Z",
        "2026-06-01T12:45:14.0000000001",
    ] {
        assert_eq!(at(json!(text)).value.created_at, Some(expected), "{text}");
    }
    for value in [
        json!("yesterday"),
        json!("2026-06-01"),
        json!("0000-00-00 00:00:00"),
        // A time zone name without an offset.
        json!("2026-06-01T12:45:14[Europe/Berlin]"),
        json!(1_780_000_000),
        json!({"a": [1]}),
        json!(["x"]),
        json!(true),
    ] {
        let parsed = at(value.clone());
        assert_eq!(parsed.value.created_at, None, "{value}");
        let (field, defect) = parsed.defects.iter().next().unwrap();
        assert_eq!((field, defect.count), ("created_at", 1));
        assert!(defect.example.starts_with("VM v-1: created_at: "), "{}", defect.example);
    }
    // By which some mean "never".
    for text in ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59.9999999999Z", "9999-12-31 23:59:59"] {
        assert_eq!(at(json!(text)).value.created_at, Some(Timestamp::MAX), "{text}");
    }
    assert_eq!(at(json!("9999-12-29T00:00:60.x")).value.created_at, None);
    // The other spelling alone, and both at once.
    let camel = json!({"id": "v", "status": "running", "createdAt": "2026-06-01T12:45:14Z"});
    assert_eq!(read_vm(&camel).unwrap().value.created_at, Some(expected));
    let both = with(vm_json(), |vm| vm["createdAt"] = json!("1999-01-01T00:00:00Z"));
    assert_eq!(read_vm(&both).unwrap().value.created_at, Some(expected));
}

#[test]
fn of_many_unknown_fields_none_goes_uncounted() {
    let parsed =
        read_vm(&with(vm_json(), |vm| (0..300).for_each(|n| vm[format!("new{n}")] = json!(1)))).unwrap();
    assert_eq!(parsed.unknown.iter().map(|(_, count)| count).sum::<u64>(), 300);
    assert!(parsed.unknown.iter().any(|(name, _)| name == "(others)"));
}

#[test]
fn unknown_fields_are_counted_and_known_ones_are_not() {
    let odd = with(vm_json(), |vm| {
        vm["colour"] = json!({"deep": {"er": 1}});
        vm["cloud"]["mood"] = json!("good");
        vm["node"]["cloud"]["mood"] = json!([1, 2]);
        vm["ips"][0]["mask"] = json!(24);
    });
    let body = bytes(&json!([odd, odd]));
    let parsed = vms(&body, &texts(), &"c-1".into(), &VmStatus::Running).unwrap();
    let names: Vec<_> = parsed.unknown.iter().map(|(name, count)| (name.as_str(), count)).collect();
    assert_eq!(names, [("cloud.mood", 2), ("colour", 2), ("ips.mask", 2), ("node.cloud.mood", 2)]);
    assert_eq!(parsed.value.len(), 2);

    let odd = with(monthly_json(), |report| {
        report["currency"] = json!("EUR");
        report["vms"][0]["price"] = json!(1.5);
        report["clouds"][0]["period_usage"]["total_gpu_hours"] = json!(1);
    });
    let parsed = read_monthly(&odd).unwrap();
    let names: Vec<_> = parsed.unknown.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["clouds.period_usage.total_gpu_hours", "currency", "vms.price"]);
    assert_eq!(read_monthly(&monthly_json()).unwrap().unknown.iter().count(), 0);
}

#[test]
fn open_sets_stay_open() {
    let vm = read_vm(&with(vm_json(), |vm| vm["status"] = json!("hibernating"))).unwrap().value;
    assert_eq!(vm.status, VmStatus::Unknown("hibernating".into()));
    let body = bytes(&json!([{"id": "n", "status": "rebooting"}, {"id": "m"}]));
    let nodes = nodes(&body, &texts(), &"c".into()).unwrap().value;
    assert_eq!(nodes.iter().map(|node| &*node.status).collect::<Vec<_>>(), ["rebooting", "unknown"]);
    // A row says what it is, whatever was asked; one that says nothing is what was asked.
    let body = bytes(&json!([{"id": "a", "status": "stopped"}, {"id": "b"}]));
    let rows = vms(&body, &texts(), &"c".into(), &VmStatus::Running).unwrap().value;
    assert_eq!(rows.iter().map(|vm| vm.status.as_str()).collect::<Vec<_>>(), ["stopped", "running"]);
}

#[test]
fn lists_are_lists_and_rows_have_ids() {
    let failure = |text: &str| clouds(text.as_bytes(), &texts()).unwrap_err().to_string();
    assert!(failure("{}").starts_with("invalid type: map, expected a list"));
    assert!(failure("null").starts_with("invalid type: null, expected a list"));
    assert!(failure("[{\"id\":\"a\"},{\"name\":\"x\"}]").starts_with("row 1: no id"));
    assert!(failure("[{\"id\":\"\"}]").starts_with("row 0: no id"));
    assert!(failure("[{\"id\":\"a\"}").starts_with("EOF"));
    assert!(failure("[] x").starts_with("trailing characters"));
    assert!(failure("[{\"id\":7}]").starts_with("row 0: id: 7 is not text"));
    assert!(failure("[{\"id\":\"a\"}, 7]").starts_with("row 1: 7 is not an object"));
    assert!(failure("[null]").starts_with("row 0: null is not an object"));
    assert_eq!(clouds(b"[]", &texts()).unwrap().value, []);
    assert!(read_vm(&json!([vm_json()])).is_err());
    assert!(read_vm(&json!({"id": "v"})).unwrap_err().starts_with("VM v: no status"));
    assert_eq!(
        explain(b" <html>secret</html>", &clouds(b"<", &texts()).unwrap_err()),
        "the body is HTML or XML, not JSON"
    );
    assert_eq!(explain(b"", &clouds(b"", &texts()).unwrap_err()), "the body is empty");
}

#[test]
fn capacity_as_documented_and_with_kinds_in_several_rows() {
    let value = with(capacity_json(), |capacity| {
        capacity["resources"]["pci_devices"]
            .as_array_mut()
            .unwrap()
            .push(json!({"type": "gpu", "total": 1, "in_use": 0, "available": 1}));
        capacity["node_groups"] = json!(null);
    });
    let read = capacity(&bytes(&value), &texts()).unwrap().value;
    let vcpus = Resource { total: Some(10), in_use: Some(3), available: Some(7) };
    assert_eq!((read.nodes, read.vcpus, read.memory_mib), (Some(2), vcpus, vcpus));
    assert_eq!(read.node_groups, []);
    assert_eq!(
        read.pci_devices,
        [("gpu".into(), Resource { total: Some(5), in_use: Some(1), available: Some(4) })]
    );

    let mut row = cloud_json();
    row.as_object_mut().unwrap().extend(capacity_json().as_object().unwrap().clone());
    let parsed = cloud_capacity(&bytes(&json!([row])), &texts()).unwrap();
    assert_eq!(parsed.unknown.iter().count(), 0);
    assert_eq!((&*parsed.value[0].cloud.id, parsed.value[0].capacity.nodes), ("c-1", Some(2)));
    assert!(parsed.defects.is_empty());
}

#[test]
fn devices_of_a_size_under_either_name() {
    for name in ["pciDevices", "pci_devices"] {
        let body = bytes(&json!([{"id": "i", "name": "vm.gpu", "vcpu": 4, "memory": 4096, "disk": 256.0,
            name: [{"type": "gpu", "spec": "rtx4000"}]}]));
        let parsed = instance_types(&body, &texts()).unwrap();
        assert_eq!(parsed.value[0].as_ref().unwrap().pci_devices, [("gpu".into(), "rtx4000".into())]);
        assert_eq!(parsed.value[0].as_ref().unwrap().disk_gib, 256);
        assert_eq!(parsed.unknown.iter().count(), 0);
    }
}

#[test]
fn a_report_as_documented() {
    let report = read_monthly(&monthly_json()).unwrap().value;
    assert_eq!(report.period, "2026-10".parse::<crate::period::Month>().unwrap().period());
    assert_eq!((report.total_nodes, report.total_active_vms), (25, 38));
    assert_eq!((report.clouds[0].usage.vms_created, report.by_tag[0].usage.vm_hours), (1, 6));
    assert_eq!((report.vms[0].vm_hours, report.vms[0].released_at), (744, None));
    let nulls = with(monthly_json(), |report| {
        report["vms"] = json!(null);
        report["by_tag"] = json!(null);
        report["clouds"] = json!(null);
    });
    assert_eq!(read_monthly(&nulls).unwrap().value.vms, []);
}

#[test]
fn a_report_is_never_guessed() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 12] = [
        (|r| r["vms"][0]["created_at"] = json!("soon"), "VM v-1: created_at: \"soon\" is not a time"),
        (|r| r["vms"][0]["created_at"] = json!(null), "VM v-1: no created_at"),
        (|r| r["vms"][0]["released_at"] = json!(17), "VM v-1: released_at: 17 is not a time"),
        (|r| r["vms"][0]["vm_hours"] = json!(-1), "VM v-1: vm_hours: -1 is not a whole number"),
        (|r| r["vms"][0]["vm_hours"] = json!(1.5), "VM v-1: vm_hours: 1.5 is not a whole number"),
        (|r| r["vms"][0]["vm_hours"] = json!(null), "VM v-1: no vm_hours"),
        (|r| r["vms"][0]["vm_hours"] = json!("7"), "VM v-1: vm_hours: \"7\" is not a whole number"),
        (|r| r["vms"][0]["vm_id"] = json!(""), "row 0: no vm_id"),
        (|r| r["vms"] = json!({}), "expected a list in vms"),
        (|r| drop(r.as_object_mut().unwrap().remove("vms")), "missing field `vms`"),
        (|r| r["period"]["end"] = json!("2026-09-01T00:00:00Z"), "the period ends before it begins"),
        (|r| r["period"]["start"] = json!(""), "no period.start"),
    ];
    for (change, expected) in cases {
        let error = read_monthly(&with(monthly_json(), change)).unwrap_err();
        assert!(error.contains(expected), "{error:?} does not contain {expected:?}");
    }
    let whole = with(monthly_json(), |report| report["vms"][0]["vm_hours"] = json!(360.0));
    assert_eq!(read_monthly(&whole).unwrap().value.vms[0].vm_hours, 360);
}

#[test]
fn fractions_of_a_second_are_kept() {
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let body = with(monthly_json(), |report| {
        report["vms"][0]["created_at"] = json!("2026-06-01T12:45:14.123456789Z");
        report["vms"][0]["released_at"] = json!("2026-06-01T14:45:14.9876543219+02:00");
    });
    let vm = &read_monthly(&body).unwrap().value.vms[0];
    assert_eq!(vm.created_at, at("2026-06-01T12:45:14.123456789Z"));
    assert_eq!(vm.released_at, Some(at("2026-06-01T12:45:14.987654321Z")));
}

#[test]
fn rows_of_one_vm_keep_their_order() {
    let body = with(monthly_json(), |report| {
        let row = |id: &str, name: &str| {
            with(report["vms"][0].clone(), |vm| {
                vm["vm_id"] = json!(id);
                vm["name"] = json!(name);
            })
        };
        report["vms"] = json!([row("b", "1"), row("a", "2"), row("b", "3"), row("a", "4"), row("b", "5")]);
    });
    let report = read_monthly(&body).unwrap().value;
    let names: Vec<&str> = report.vms.iter().map(|vm| &*vm.name).collect();
    assert_eq!(names, ["2", "4", "1", "3", "5"]);
}

#[test]
fn repeated_text_is_stored_once() {
    let texts = texts();
    let body = bytes(&json!([vm_json(), with(vm_json(), |vm| vm["id"] = json!("v-2"))]));
    let rows = vms(&body, &texts, &"c".into(), &VmStatus::Running).unwrap().value;
    assert!(Arc::ptr_eq(&rows[0].image, &rows[1].image));
    assert!(Arc::ptr_eq(&rows[0].tags, &rows[1].tags));
    let again = vms(&body, &texts, &"c".into(), &VmStatus::Running).unwrap().value;
    assert!(Arc::ptr_eq(&rows[0].tags, &again[0].tags));
}

/// Every parser, on whatever came.
fn parse_all(body: &[u8]) {
    let (texts, cloud) = (texts(), Text::from("c"));
    let _ = clouds(body, &texts).map_err(|error| explain(body, &error));
    let _ = super::cloud(body, &texts);
    let _ = nodes(body, &texts, &cloud);
    let _ = node(body, &texts, &cloud);
    let _ = vms(body, &texts, &cloud, &VmStatus::Running);
    let _ = vm(body, &texts, &cloud);
    let _ = instance_types(body, &texts);
    let _ = images(body, &texts);
    let _ = cloud_capacity(body, &texts);
    let _ = capacity(body, &texts);
    let _ = monthly(body, &texts);
}

/// JSON whose keys are the API's own, so that values land where they hurt.
fn arbitrary_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(json!("2026-06-01T12:45:14Z")),
    ];
    let key = prop_oneof![
        prop::sample::select(vec![
            "id",
            "vm_id",
            "name",
            "status",
            "tags",
            "ips",
            "node",
            "cloud",
            "image",
            "instance_type",
            "vcpu",
            "memory",
            "disk",
            "pciDevices",
            "created_at",
            "createdAt",
            "released_at",
            "vm_hours",
            "period",
            "start",
            "end",
            "clouds",
            "by_tag",
            "vms",
            "nodes",
            "node_groups",
            "resources",
            "total",
            "in_use",
            "available",
            "type",
            "total_nodes",
            "total_active_vms",
        ])
        .prop_map(str::to_owned),
        ".{0,8}",
    ];
    leaf.prop_recursive(5, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_json_makes_a_parser_panic(value in arbitrary_json()) {
        parse_all(&bytes(&value));
    }

    #[test]
    fn no_damage_makes_a_parser_panic(cut in 0usize..2000, place in 0usize..2000, byte: u8) {
        for value in [json!([vm_json()]), monthly_json(), capacity_json()] {
            let mut body = bytes(&value);
            let place = place % body.len();
            body[place] = byte;
            body.truncate(cut.max(1));
            parse_all(&body);
        }
    }
}

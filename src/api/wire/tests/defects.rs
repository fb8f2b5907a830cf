//! Tests for values that are out of range or unreadable (such a value is a defect, and the rest is
//! used), and for ids in another spelling.

use super::*;

/// Returns the fields with defects, each with the number of its defects.
fn fields(defects: &Defects) -> Vec<(&'static str, u64)> {
    defects.iter().map(|(field, defect)| (field, defect.count)).collect()
}

/// Reads a capacity with these figures of vCPUs. Returns its vCPUs and the fields with defects.
fn vcpus(figures: Value) -> (Resource, Vec<(&'static str, u64)>) {
    let body = with(capacity_json(), |it| it["resources"]["vcpu"] = figures);
    let parsed = capacity(&bytes(&body), &texts()).unwrap();
    let other = Resource { total: Some(10), in_use: Some(3), available: Some(7) };
    assert_eq!((parsed.value.nodes, parsed.value.memory_mib), (Some(2), other), "the rest is used");
    (parsed.value.vcpus, fields(&parsed.defects))
}

#[test]
fn capacity_figures_out_of_range_are_replaced_or_omitted() {
    const TOTAL: (&str, u64) = ("resources.vcpu.total", 1);
    const IN_USE: (&str, u64) = ("resources.vcpu.in_use", 1);
    const AVAILABLE: (&str, u64) = ("resources.vcpu.available", 1);
    let of = |total, in_use, available| Resource { total, in_use, available };
    for (sent, expected, defects) in [
        // The used amount exceeds the total, because a node was lost.
        (
            json!({"total": 16, "in_use": 20, "available": -4}),
            of(Some(16), Some(20), Some(0)),
            vec![AVAILABLE],
        ),
        (
            json!({"total": 16, "in_use": 20, "available": "-4"}),
            of(Some(16), Some(20), Some(0)),
            vec![AVAILABLE],
        ),
        (
            json!({"total": 16, "in_use": 20, "available": -4.5}),
            of(Some(16), Some(20), Some(0)),
            vec![AVAILABLE],
        ),
        (json!({"total": 16, "in_use": 20, "available": 0}), of(Some(16), Some(20), Some(0)), vec![]),
        // No correct value is known for these figures.
        (json!({"total": 16, "in_use": -1, "available": 16}), of(Some(16), None, Some(16)), vec![IN_USE]),
        (json!({"total": -16, "in_use": 1, "available": 15}), of(None, Some(1), Some(15)), vec![TOTAL]),
        (json!({"total": 16, "in_use": 1, "available": 17}), of(Some(16), Some(1), None), vec![AVAILABLE]),
        (json!({"total": 16.5, "in_use": 1, "available": 15}), of(None, Some(1), Some(15)), vec![TOTAL]),
        (json!({"total": 1e30, "in_use": 1, "available": 15}), of(None, Some(1), Some(15)), vec![TOTAL]),
        (json!({"total": u64::MAX, "in_use": 1, "available": 15}), of(None, Some(1), Some(15)), vec![TOTAL]),
        (json!({"total": 16, "in_use": null}), of(Some(16), None, None), vec![AVAILABLE, IN_USE]),
        (json!("full"), Resource::default(), vec![("resources.vcpu", 1)]),
        (json!(null), Resource::default(), vec![("resources.vcpu", 1)]),
        // These figures are valid numbers in another notation.
        (json!({"total": "16", "in_use": "01", "available": 15.0}), of(Some(16), Some(1), Some(15)), vec![]),
    ] {
        assert_eq!(vcpus(sent.clone()), (expected, defects), "{sent}");
    }
    let body = with(capacity_json(), |it| it["nodes"] = json!("two"));
    let parsed = capacity(&bytes(&body), &texts()).unwrap();
    assert_eq!((parsed.value.nodes, fields(&parsed.defects)), (None, vec![("nodes", 1)]));
    for body in [json!({}), json!({"error": "x"}), json!({"resources": {"vcpu": {}, "memory": {}}})] {
        let error = capacity(&bytes(&body), &texts()).unwrap_err().to_string();
        assert!(error.starts_with("nodes and resources cannot be read"), "{error}");
    }
}

#[test]
fn unreadable_groups_and_devices_are_omitted() {
    let body = with(capacity_json(), |it| {
        it["node_groups"] = json!([{"instance_type": "a", "quantity": 1}, {"instance_type": "a", "quantity": -1},
            {"instance_type": "b", "quantity": 2}, {"instance_type": 7, "quantity": 1}]);
        it["resources"]["pci_devices"] = json!([{"type": "gpu", "total": 4, "in_use": 5, "available": -1},
            {"type": "nvme", "total": "x", "in_use": 1, "available": 1}, {"type": null, "total": 1}]);
    });
    let Parsed { value, defects, .. } = capacity(&bytes(&body), &texts()).unwrap();
    assert_eq!(value.node_groups, [("b".into(), 2)]);
    let of = |total, in_use, available| Resource { total, in_use, available };
    let devices =
        [("gpu".into(), of(Some(4), Some(5), Some(0))), ("nvme".into(), of(None, Some(1), Some(1)))];
    assert_eq!(value.pci_devices, devices);
    assert!(value.has_unknown_devices);
    let expected = [
        ("node_groups", 1),
        ("node_groups.quantity", 1),
        ("resources.pci_devices", 1),
        ("resources.pci_devices.available", 1),
        ("resources.pci_devices.total", 1),
    ];
    assert_eq!(fields(&defects), expected);
}

#[test]
fn headroom_is_unknown_if_a_needed_figure_is_unknown() {
    let size = |devices: &[&str]| InstanceType {
        name: "t".into(),
        vcpus: 2,
        memory_mib: 2,
        disk_gib: 1,
        pci_devices: devices.iter().map(|class| ((*class).into(), "s".into())).collect(),
    };
    let read = |change: fn(&mut Value)| {
        capacity(&bytes(&with(capacity_json(), |it| change(&mut it["resources"]))), &texts()).unwrap().value
    };
    let all = read(|_| {});
    assert_eq!(
        (all.fits(&size(&[])), all.fits(&size(&["gpu"])), all.fits(&size(&["tpu"]))),
        (Some(3), Some(3), Some(0))
    );
    let overcommitted = read(|it| it["vcpu"] = json!({"total": 16, "in_use": 20, "available": -4}));
    assert_eq!(overcommitted.fits(&size(&[])), Some(0));
    let unknown = read(|it| it["memory"]["available"] = json!("much"));
    assert_eq!(unknown.fits(&size(&[])), None);
    let device = read(|it| it["pci_devices"] = json!([{"type": "gpu", "total": 1, "in_use": 0}]));
    assert_eq!(
        (device.fits(&size(&[])), device.fits(&size(&["gpu"])), device.fits(&size(&["tpu"]))),
        (Some(3), None, Some(0))
    );
    let class = read(|it| it["pci_devices"] = json!([{"total": 1, "in_use": 0, "available": 1}]));
    assert_eq!((class.fits(&size(&[])), class.fits(&size(&["tpu"]))), (Some(3), None));
}

#[test]
fn defects_of_one_cloud_do_not_affect_other_clouds() {
    let row = |id: &str, change: fn(&mut Value)| {
        let mut row = with(cloud_json(), |cloud| cloud["id"] = json!(id));
        row.as_object_mut().unwrap().extend(with(capacity_json(), change).as_object().unwrap().clone());
        row
    };
    let body = json!([
        row("a", |it| it["resources"] = json!(null)),
        row("b", |_| {}),
        row("c", |it| it["nodes"] = json!(-1))
    ]);
    let Parsed { value, defects, .. } = cloud_capacity(&bytes(&body), &texts()).unwrap();
    let nodes: Vec<_> = value.iter().map(|row| (row.capacity.nodes, row.capacity.vcpus.total)).collect();
    assert_eq!(nodes, [(Some(2), None), (Some(2), Some(10)), (None, Some(10))]);
    let example = |field| defects.iter().find(|(name, _)| *name == field).unwrap().1.example.clone();
    assert!(example("nodes").starts_with("cloud c: nodes: -1 is not a whole number"), "{}", example("nodes"));
    assert!(example("resources").starts_with("cloud a: no resources"), "{}", example("resources"));
}

#[test]
fn unreadable_descriptive_values_are_omitted() {
    let body = json!([
        vm_json(),
        with(vm_json(), |vm| {
            vm["id"] = json!("v-2");
            vm["name"] = json!(1);
            vm["status"] = json!({});
            vm["tags"] = json!(["a", 1, "b"]);
            vm["image"] = json!([]);
            vm["instance_type"] = json!({"name": 4});
            vm["ips"] = json!(["10.0.0.1", {"address": "10.0.0.2", "public": "x"}, {"address": "10.0.0.3"}]);
            vm["node"] = json!(true);
        })
    ]);
    let parsed = vms(&bytes(&body), &texts(), &"c".into(), &VmStatus::Running).unwrap();
    let vm = &parsed.value[1];
    assert_eq!((&*vm.name, &*vm.image, &*vm.instance_type, vm.node_id.is_none()), ("", "", "", true));
    assert_eq!(vm.status, VmStatus::Running, "the list that it is in");
    assert_eq!(vm.tags.iter().map(|tag| &**tag).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(vm.ips.iter().map(|ip| &*ip.address).collect::<Vec<_>>(), ["10.0.0.3"]);
    let expected = [
        ("image", 1),
        ("instance_type", 1),
        ("ips", 2),
        ("name", 1),
        ("node", 1),
        ("status", 1),
        ("tags", 1),
    ];
    assert_eq!(fields(&parsed.defects), expected);
    assert!(parsed.defects.iter().all(|(_, defect)| defect.example.starts_with("VM v-2: ")));
    // A request by id does not determine the status, as a list of one status does.
    let error = read_vm(&body[1]).unwrap_err();
    assert!(error.starts_with("VM v-2: no status"), "{error}");

    let node = bytes(&json!([{"id": "n-1", "name": "n", "serial": 7, "status": []}]));
    let Parsed { value, defects, .. } = nodes(&node, &texts(), &"c".into()).unwrap();
    assert_eq!((&*value[0].name, &*value[0].serial, &*value[0].status), ("n", "", "unknown"));
    assert_eq!(fields(&defects), [("serial", 1), ("status", 1)]);
    let cloud = bytes(&json!([with(cloud_json(), |cloud| cloud["site"] = json!({}))]));
    let Parsed { value, defects, .. } = clouds(&cloud, &texts()).unwrap();
    assert_eq!((&*value[0].name, &*value[0].site, fields(&defects)), ("One", "", vec![("site", 1)]));
    let image = bytes(&json!([{"name": "i", "os": 7}]));
    assert_eq!(fields(&images(&image, &texts()).unwrap().defects), [("os", 1)]);
}

#[test]
fn partly_readable_size_is_omitted() {
    let size = |name: &str, vcpu: Value| json!({"name": name, "vcpu": vcpu, "memory": "8192", "disk": 1});
    let body = json!([size("a", json!("4")), size("b", json!(-4)), size("c", json!(4))]);
    let Parsed { value, defects, .. } = instance_types(&bytes(&body), &texts()).unwrap();
    let size = |of: &InstanceType| (of.name.to_string(), of.vcpus, of.memory_mib);
    let sizes: Vec<_> = value.iter().map(|of| of.as_ref().map(size)).collect();
    assert_eq!(sizes, [Some(("a".to_owned(), 4, 8192)), None, Some(("c".to_owned(), 4, 8192))]);
    assert_eq!(fields(&defects), [("vcpu", 1)]);
}

#[test]
fn zero_time_counts_as_not_set() {
    for zero in ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00", "0001-01-01T00:00:00.000+00:00"] {
        let parsed = read_vm(&with(vm_json(), |vm| {
            vm["created_at"] = json!(zero);
            vm["deleted_at"] = json!(zero);
        }))
        .unwrap();
        assert_eq!((parsed.value.created_at, parsed.value.deleted_at), (None, None), "{zero}");
        assert!(parsed.defects.is_empty());
        // In the monthly report, a zero release time means that the VM was not released. A zero
        // creation time is an error, because every VM was created.
        let report = with(monthly_json(), |report| report["vms"][0]["released_at"] = json!(zero));
        assert_eq!(read_monthly(&report).unwrap().value.vms[0].released_at, None);
        let report = with(monthly_json(), |report| report["vms"][0]["created_at"] = json!(zero));
        let error = read_monthly(&report).unwrap_err();
        assert!(error.starts_with("row 0: VM v-1: no created_at"), "{error}");
    }
}

#[test]
fn replaced_text_is_a_defect_of_every_endpoint() {
    let body = vm_json().to_string().replace("agent", r"a\ud800\ud800").into_bytes();
    let parsed = vm(&body, &texts(), &"c".into()).unwrap();
    assert_eq!(fields(&parsed.defects), [("(text)", 2)]);
    let body = monthly_json().to_string().replace("agent", r"a\ud800").into_bytes();
    assert_eq!(fields(&monthly(&body, &texts()).unwrap().defects), [("(text)", 1)]);
}

#[test]
fn uuids_are_read_in_lower_case_everywhere() {
    const LOWER: &str = "0192a000-0000-7000-8000-00000000abcd";
    let upper = LOWER.to_uppercase();
    let same = |id: &Text| assert_eq!(&**id, LOWER);
    let sent = |spellings: &[(Text, Text)]| {
        assert_eq!(spellings, [(LOWER.into(), upper.as_str().into())]);
    };
    let body = with(vm_json(), |vm| {
        vm["id"] = json!(upper);
        vm["node"]["id"] = json!(upper);
    });
    let parsed = read_vm(&body).unwrap();
    same(&parsed.value.id);
    same(parsed.value.node_id.as_ref().unwrap());
    sent(&parsed.spellings);
    let parsed = nodes(&bytes(&json!([{"id": upper}])), &texts(), &"c".into()).unwrap();
    same(&parsed.value[0].id);
    sent(&parsed.spellings);
    let cloud = with(cloud_json(), |cloud| cloud["id"] = json!(upper));
    let parsed = clouds(&bytes(&json!([cloud])), &texts()).unwrap();
    same(&parsed.value[0].id);
    sent(&parsed.spellings);
    let mut row = cloud;
    row.as_object_mut().unwrap().extend(capacity_json().as_object().unwrap().clone());
    same(&cloud_capacity(&bytes(&json!([row])), &texts()).unwrap().value[0].cloud.id);
    let body = bytes(&with(monthly_json(), |report| {
        report["clouds"][0]["id"] = json!(upper);
        report["vms"][0]["vm_id"] = json!(upper);
        report["vms"][0]["cloud_id"] = json!(upper);
    }));
    let report = monthly(&body, &texts()).unwrap().value;
    [&report.clouds[0].id, &report.vms[0].id, &report.vms[0].cloud_id].into_iter().for_each(same);
    // For months that an older version closed, ids keep their spelling.
    let report = monthly_verbatim(&body, &texts()).unwrap().value;
    for id in [&report.clouds[0].id, &report.vms[0].id, &report.vms[0].cloud_id] {
        assert_eq!(**id, *upper);
    }
    // An id that is not a UUID is unchanged.
    let parsed = read_vm(&with(vm_json(), |vm| vm["id"] = json!("VM-1"))).unwrap();
    assert_eq!((&*parsed.value.id, parsed.spellings), ("VM-1", vec![]));
}

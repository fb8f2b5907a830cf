//! Errors that name the row, and text that is not Unicode.

use super::*;

/// Values of every kind, none of them a text, a whole number, a time, a list of texts and an object.
fn wrong_values() -> [Value; 7] {
    [json!(-1), json!(1.5), json!(true), json!("7 \u{202e}x"), json!([7]), json!([{}]), json!({"a": [1, {}]})]
}

#[test]
fn wrong_value_in_any_field_names_the_row() {
    let vm = |key: &str| ["vm_hours", "created_at", "released_at", "tags"].contains(&key);
    for (list, id, named) in
        [("vms", "vm_id", "VM v-1: "), ("clouds", "id", "cloud c-1: "), ("by_tag", "tag", "tag a: ")]
    {
        let fields: Vec<String> = monthly_json()[list][0].as_object().unwrap().keys().cloned().collect();
        for field in fields.iter().filter(|field| *field != id) {
            let mut refused = 0;
            for wrong in wrong_values() {
                let body = with(monthly_json(), |report| report[list][0][field] = wrong.clone());
                // A text in a field for text is right.
                let Err(error) = read_monthly(&body) else {
                    assert!(wrong.is_string() && !vm(field), "{field} {wrong}");
                    continue;
                };
                assert!(error.starts_with(&format!("row 0: {named}{field}: ")), "{error}");
                assert!(!error.contains('\u{202e}'), "{error}");
                refused += 1;
            }
            assert!(refused >= 6, "{list} {field}: {refused}");
        }
        // A row that has no id that can be read is named by its number.
        for wrong in wrong_values().into_iter().filter(|wrong| !wrong.is_string()) {
            let body = with(monthly_json(), |report| {
                let first = report[list][0].clone();
                report[list] = json!([first, {id: wrong}]);
            });
            let error = read_monthly(&body).unwrap_err();
            assert!(error.starts_with(&format!("row 1: {id}")) && error.contains(" is not text"), "{error}");
        }
        for row in [json!(7), json!(null), json!([])] {
            let error =
                read_monthly(&with(monthly_json(), |report| report[list] = json!([row]))).unwrap_err();
            assert!(error.starts_with("row 0: ") && error.contains(" is not an object"), "{error}");
        }
    }
    let odd =
        with(monthly_json(), |report| report["clouds"][0]["period_usage"]["total_vm_hours"] = json!(-3));
    let error = read_monthly(&odd).unwrap_err();
    assert!(
        error.starts_with("row 0: cloud c-1: period_usage: total_vm_hours: -3 is not a whole number"),
        "{error}"
    );
}

#[test]
fn row_that_cannot_be_parsed_is_named_where_its_id_was_read() {
    let row = r#""plan": "p", "created_at": "2026-06-01T12:45:14Z""#;
    let vms = |vm: &str| format!(r#"{{"vms": [{{"vm_id": "v-0", {row}, "vm_hours": 1}}, {vm}]}}"#);
    for (vm, named) in [
        (format!(r#"{{"vm_id": "v-1", {row}, "vm_hours": 1e999}}"#), "row 1: vm_id v-1: number out of range"),
        (format!(r#"{{{row}, "vm_hours": 1e999, "vm_id": "v-1"}}"#), "row 1: plan p: number out of range"),
        (r#"{"vm_hours": 1e999}"#.to_owned(), "row 1: number out of range"),
        (r#"{"vm_id": "v-1", "name": "\x"}"#.to_owned(), "row 1: vm_id v-1: invalid escape"),
    ] {
        let error = monthly(vms(&vm).as_bytes(), &texts()).unwrap_err().to_string();
        assert!(error.starts_with(named), "{error}");
    }
}

#[test]
fn text_that_is_not_unicode_is_replaced_in_every_list() {
    // Written as an escape in one body and as a byte in the other.
    let broken = |value: &Value| {
        let text = value.to_string();
        [text.replace('§', "\\ud800").into_bytes(), {
            let parts: Vec<&[u8]> = text.split('§').map(str::as_bytes).collect();
            parts.join(&b"\xff"[..])
        }]
    };
    let (texts, cloud) = (texts(), Text::from("c-1"));
    let listed = with(vm_json(), |vm| {
        vm["name"] = json!("a§");
        vm["tags"] = json!(["b§", "a"]);
        vm["status"] = json!("odd§");
        vm["colour§"] = json!("§");
    });
    for body in broken(&json!([listed])) {
        let parsed = vms(&body, &texts, &cloud, &VmStatus::Running).unwrap();
        let vm = &parsed.value[0];
        assert_eq!((&*vm.name, vm.status.as_str()), ("a\u{fffd}", "odd\u{fffd}"));
        assert_eq!(vm.tags.iter().map(|tag| &**tag).collect::<Vec<_>>(), ["a", "b\u{fffd}"]);
        assert_eq!(
            parsed.unknown.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["colour\u{fffd}"]
        );
    }
    for body in broken(&json!([with(cloud_json(), |cloud| cloud["name"] = json!("§"))])) {
        assert_eq!(&*clouds(&body, &texts).unwrap().value[0].name, "\u{fffd}");
    }
    for body in broken(&json!([{"id": "n", "name": "§"}])) {
        assert_eq!(&*nodes(&body, &texts, &cloud).unwrap().value[0].name, "\u{fffd}");
    }
    for body in broken(&json!([{"name": "§", "os": "§"}])) {
        assert_eq!(&*images(&body, &texts).unwrap().value[0].name, "\u{fffd}");
    }
    for body in broken(&json!([{"name": "§", "vcpu": 1, "memory": 1, "disk": 1}])) {
        assert_eq!(&*instance_types(&body, &texts).unwrap().value[0].as_ref().unwrap().name, "\u{fffd}");
    }
    for body in broken(&with(monthly_json(), |report| report["vms"][0]["tags"] = json!(["§"]))) {
        assert_eq!(&*monthly(&body, &texts).unwrap().value.vms[0].tags[0], "\u{fffd}");
    }
}

#[test]
fn ids_that_are_not_unicode_are_refused_by_name() {
    let (texts, cloud) = (texts(), Text::from("c-1"));
    let broken = |value: &Value| value.to_string().replace('§', "\\ud800").into_bytes();
    let refused = |error: serde_json::Error, expected: &str| {
        let error = error.to_string();
        assert!(error.starts_with(expected), "{error}");
    };
    for id in ["v§", "v\u{fffd}"] {
        let body = broken(&with(monthly_json(), |report| report["vms"][0]["vm_id"] = json!(id)));
        refused(monthly(&body, &texts).unwrap_err(), "row 0: vm_id: \"v\u{fffd}\" is not valid Unicode");
        let body = broken(&with(monthly_json(), |report| report["vms"][0]["cloud_id"] = json!(id)));
        refused(monthly(&body, &texts).unwrap_err(), "row 0: VM v-1: cloud_id: \"v\u{fffd}\" is not valid");
        let body = broken(&with(monthly_json(), |report| report["clouds"][0]["id"] = json!(id)));
        refused(
            monthly(&body, &texts).unwrap_err(),
            "row 0: id in clouds: \"v\u{fffd}\" is not valid Unicode",
        );
        let body = broken(&with(vm_json(), |vm| vm["id"] = json!(id)));
        refused(vm(&body, &texts, &cloud).unwrap_err(), "id: \"v\u{fffd}\" is not valid Unicode");
        // The node of a VM is only a reference.
        for node in [json!(id), json!({"id": id})] {
            let body = broken(&with(vm_json(), |vm| vm["node"] = node.clone()));
            assert_eq!(vm(&body, &texts, &cloud).unwrap().value.node_id, None);
        }
        let body = broken(&json!([{"id": id}]));
        refused(nodes(&body, &texts, &cloud).unwrap_err(), "row 0: id: \"v\u{fffd}\" is not valid Unicode");
        refused(clouds(&body, &texts).unwrap_err(), "row 0: id: \"v\u{fffd}\" is not valid Unicode");
        refused(cloud_capacity(&body, &texts).unwrap_err(), "row 0: id: \"v\u{fffd}\" is not valid Unicode");
    }
}

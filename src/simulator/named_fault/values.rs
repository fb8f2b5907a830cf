//! Values that are null, unknown, unreadable or odd.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{edit_rows_of, is_chosen};
use crate::simulator::fault::{Fault, FaultKind};
use crate::simulator::route::Operation;

const CLOUDS: [Operation; 3] = [Operation::Clouds, Operation::Cloud, Operation::CloudCapacity];
const NODES: [Operation; 2] = [Operation::Nodes, Operation::Node];
const VMS: [Operation; 2] = [Operation::Vms, Operation::Vm];
/// Every operation that returns names and tags of VMs.
const NAMED_VMS: [Operation; 3] = [Operation::Vms, Operation::Vm, Operation::Monthly];

/// Placeholder for text that is not valid Unicode, because no `Value` can contain such text. The written JSON has
/// [`LONE_SURROGATE`] instead.
const MARK: &str = "NOT-VALID-UNICODE";
/// Half of a surrogate pair, as JSON escapes it.
const LONE_SURROGATE: &str = "\\ud800";

/// Characters of a long name.
const LONG: usize = 2_000;

/// Sets the absent values of an object to null.
fn set_null(row: &mut Value, names: &[&str]) {
    for name in names {
        if row.get(name).is_none() {
            row[*name] = Value::Null;
        }
    }
}

/// Changes each VM of a list, a single VM, or each VM of a monthly report.
fn each_vm(answer: &mut Value, change: impl Fn(&mut Value)) {
    match answer.get_mut("vms").and_then(Value::as_array_mut) {
        Some(vms) => vms.iter_mut().for_each(change),
        None => change(answer),
    }
}

pub(super) fn null() -> Vec<Fault> {
    let mut faults = edit_rows_of(&CLOUDS, |cloud| set_null(cloud, &["description"]));
    faults.extend(edit_rows_of(&NODES, |node| set_null(&mut node["cloud"], &["description"])));
    faults.extend(edit_rows_of(&VMS, |vm| {
        set_null(vm, &["description", "deleted_at"]);
        if vm["status"] == "provisioning" {
            vm["node"] = Value::Null;
        }
    }));
    faults.extend(edit_rows_of(&[Operation::Monthly], |report| {
        each_vm(report, |vm| set_null(vm, &["released_at"]));
    }));
    faults
}

pub(super) fn unknown() -> Vec<Fault> {
    let mut faults = edit_rows_of(&CLOUDS, |cloud| {
        cloud["tier"] = json!("gold");
        cloud["site"] = json!("usnyc9");
    });
    faults.extend(edit_rows_of(&VMS, |vm| {
        vm["host_group"] = json!("a");
        if is_chosen(vm) && vm["status"] == "running" {
            vm["status"] = json!("hibernating");
        }
    }));
    faults
}

pub(super) fn unreadable_text() -> Vec<Fault> {
    let mut faults = edit_rows_of(&NAMED_VMS, |answer| {
        each_vm(answer, |vm| {
            if is_chosen(vm) {
                vm["name"] = format!("{MARK}{}", vm["name"].as_str().unwrap_or_default()).into();
                vm["tags"] = json!([format!("project:{MARK}")]);
            }
        });
    });
    let replace = |operation| Fault::new(FaultKind::Replace(MARK, LONE_SURROGATE)).on(operation);
    faults.extend(NAMED_VMS.map(replace));
    faults
}

pub(super) fn unreadable() -> Vec<Fault> {
    let mut faults = edit_rows_of(&VMS, |vm| {
        if is_chosen(vm) {
            vm["created_at"] = json!("yesterday");
        }
    });
    faults.extend(edit_rows_of(&[Operation::InstanceTypes], |size| {
        if size["vcpu"] == 2 {
            size["vcpu"] = json!("two");
        }
    }));
    faults
}

pub(super) fn odd_text() -> Vec<Fault> {
    edit_rows_of(&NAMED_VMS, |answer| {
        each_vm(answer, |vm| {
            let name = vm["name"].as_str().unwrap_or_default().to_owned();
            let id = vm.get("id").or_else(|| vm.get("vm_id")).and_then(Value::as_str).unwrap_or_default();
            let (name, tags) = match id.as_bytes().last() {
                Some(b'0'..=b'3') => {
                    (format!("=1+1;\"{name}\"\t,"), json!(["project:(no value)", "project"]))
                }
                Some(b'4'..=b'7') => (format!("+{name}"), json!(["project:a | b", "project:a / b"])),
                Some(b'8' | b'9') => (format!("@{name}"), json!(["project:a", "project:b"])),
                _ => (format!("{name}\r\n-2"), json!(["Project: Atlas ", "project:atlas"])),
            };
            vm["name"] = name.into();
            vm["tags"] = tags;
        });
    })
}

pub(super) fn long_text() -> Vec<Fault> {
    edit_rows_of(&NAMED_VMS, |answer| {
        each_vm(answer, |vm| {
            let name = vm["name"].as_str().unwrap_or_default().to_owned();
            vm["name"] = format!("{name}-{}", "x".repeat(LONG - name.len().min(LONG - 1) - 1)).into();
        });
    })
}

pub(super) fn upper_case_ids() -> Vec<Fault> {
    vec![Fault::edit(upper_case)]
}

fn upper_case(value: &mut Value) {
    match value {
        Value::String(text) if text.len() == 36 && Uuid::parse_str(text).is_ok() => {
            text.make_ascii_uppercase();
        }
        Value::Array(items) => items.iter_mut().for_each(upper_case),
        Value::Object(map) => map.values_mut().for_each(upper_case),
        _ => {}
    }
}

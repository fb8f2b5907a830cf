//! Lists that are incomplete, empty or badly paged, and contradict requests by id.

use serde_json::{Value, json};

use super::is_chosen;
use crate::simulator::catalogue::SIZES;
use crate::simulator::fault::{Fault, FaultKind};
use crate::simulator::route::Operation;

/// Instance types that the catalogue lacks: the smallest ones, which most VMs have.
const MISSING_TYPES: usize = 3;

fn empty(operation: Operation) -> Fault {
    Fault::body(200, "application/json", "[]").on(operation)
}

/// Removes the row with the smallest id.
fn without_first(operation: Operation) -> Fault {
    Fault::edit(|list| {
        let Some(rows) = list.as_array_mut() else { return };
        let id = |row: &Value| row["id"].as_str().unwrap_or_default().to_owned();
        if let Some(first) = rows.iter().map(id).min() {
            rows.retain(|row| id(row) != first);
        }
    })
    .on(operation)
}

fn without_chosen_vms() -> Fault {
    Fault::edit(|list| {
        if let Some(rows) = list.as_array_mut() {
            rows.retain(|row| !is_chosen(row));
        }
    })
    .on(Operation::Vms)
}

pub(super) fn empty_clouds() -> Vec<Fault> {
    vec![empty(Operation::Clouds)]
}

pub(super) fn missing_cloud() -> Vec<Fault> {
    vec![without_first(Operation::Clouds)]
}

pub(super) fn missing_cloud_not_found() -> Vec<Fault> {
    vec![without_first(Operation::Clouds), Fault::html(404).on(Operation::Cloud)]
}

pub(super) fn missing_node() -> Vec<Fault> {
    vec![without_first(Operation::Nodes)]
}

pub(super) fn missing_vms() -> Vec<Fault> {
    vec![without_chosen_vms()]
}

pub(super) fn stalled_lookups() -> Vec<Fault> {
    vec![without_chosen_vms(), Fault::new(FaultKind::Stall).on(Operation::Vm)]
}

pub(super) fn ignored_paging() -> Vec<Fault> {
    vec![Fault::new(FaultKind::IgnoreRange)]
}

pub(super) fn shifting_pages() -> Vec<Fault> {
    vec![Fault::new(FaultKind::Shift(-1)).on(Operation::Vms)]
}

pub(super) fn missing_instance_type() -> Vec<Fault> {
    let is_missing = |row: &Value| SIZES[..MISSING_TYPES].iter().any(|size| row["name"] == json!(size.name));
    let edit = move |list: &mut Value| {
        if let Some(rows) = list.as_array_mut() {
            rows.retain(|row| !is_missing(row));
        }
    };
    vec![Fault::edit(edit).on(Operation::InstanceTypes)]
}

pub(super) fn empty_catalogue() -> Vec<Fault> {
    vec![empty(Operation::InstanceTypes), empty(Operation::Images)]
}

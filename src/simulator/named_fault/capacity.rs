//! Figures of the capacity that cannot be right.

use serde_json::{Value, json};

use super::edit_rows_of;
use crate::simulator::fault::Fault;
use crate::simulator::route::Operation;

const OPERATIONS: [Operation; 2] = [Operation::Capacity, Operation::CloudCapacity];

/// Simulates the loss of nodes: the total is a fifth below the amount in use.
pub(super) fn negative() -> Vec<Fault> {
    edit_rows_of(&OPERATIONS, |row| {
        for name in ["vcpu", "memory"] {
            let resource = &mut row["resources"][name];
            let in_use = resource["in_use"].as_i64().unwrap_or_default();
            let total = in_use - in_use / 5;
            resource["total"] = total.into();
            resource["available"] = (total - in_use).into();
        }
    })
}

pub(super) fn unreadable() -> Vec<Fault> {
    edit_rows_of(&OPERATIONS, |row| {
        if let Some(vcpu) = row["resources"]["vcpu"].as_object_mut() {
            vcpu.remove("total");
        }
        row["resources"]["memory"]["in_use"] = json!(-1);
        for device in row["resources"]["pci_devices"].as_array_mut().into_iter().flatten() {
            device["total"] = Value::from(1.5);
        }
    })
}

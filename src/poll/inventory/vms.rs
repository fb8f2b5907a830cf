//! VMs that no list of their cloud contains.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};

use super::{LOOKUPS_AT_ONCE, Memory, bounded, sort};
use crate::api::{Endpoint, Error, Reason, Run};
use crate::ledger::Recorded;
use crate::poll::absences::{Absences, Absent};
use crate::poll::clouds::is_deleted;
use crate::snapshot::{Cloud, InventoryData, Text, Vm, VmStatus};

/// A VM that no list contains.
struct Missing {
    cloud_id: Text,
    id: Text,
    /// The VM in the previous inventory; `None` if that inventory did not contain it.
    vm: Option<Arc<Vm>>,
}

/// Fills `data.vms` from `data.lists` and from requests by id. The VMs of `before` and `memory` that no
/// list contains are requested; `memory` keeps the VMs that later polls must request. The clouds of
/// `data` must be complete.
pub(super) async fn confirm(
    run: &Run,
    before: Option<&InventoryData>,
    data: &mut InventoryData,
    memory: &mut Memory,
    now: Duration,
) {
    let mut vms: Vec<Arc<Vm>> = data.lists.iter().flat_map(|list| list.iter().cloned()).collect();
    sort(&mut vms);
    let (requested, later) = bounded(run.tenant(), missing(before, &memory.vms, &data.clouds, &vms), "VMs");
    let requests = requested.into_iter().map(|missing| async move {
        let response = run.vm(&missing.cloud_id, &missing.id).await;
        (missing, response)
    });
    let responses: Vec<_> = stream::iter(requests).buffer_unordered(LOOKUPS_AT_ONCE).collect().await;
    let mut unresolved = later;
    for (missing, response) in responses {
        match response {
            Ok(found) if found.status == VmStatus::Deleted => {}
            Ok(found) => {
                data.by_id.push(missing.id);
                vms.push(Arc::new(found));
            }
            Err(error) if is_confirmed(&error, &missing.id, &mut memory.absences, now) => {}
            Err(error) => {
                run.defect(Endpoint::Vm, "id", &format_args!("{}: {error}", missing.id));
                unresolved.push(missing);
            }
        }
    }
    for Missing { id, vm, .. } in unresolved {
        data.unresolved.push(id);
        vms.extend(vm);
    }
    sort(&mut vms);
    data.by_id.sort();
    data.unresolved.sort();
    memory.vms.retain(|vm| data.unresolved.binary_search(&vm.vm_id).is_ok());
    data.vms = vms.into();
}

/// Returns the VMs of `before` and of `recorded` that no list contains now. VMs of deleted clouds are
/// not returned, because they are deleted together with their cloud.
fn missing(
    before: Option<&InventoryData>,
    recorded: &[Recorded],
    clouds: &[Cloud],
    now: &[Arc<Vm>],
) -> Vec<Missing> {
    let exists = |id: &Text| clouds.binary_search_by(|cloud| cloud.id.cmp(id)).is_ok();
    let mut missing: Vec<Missing> = Vec::new();
    // Both are sorted by id, so one pass over both finds the VMs that are missing now.
    let mut walk = now.iter().peekable();
    for vm in before.iter().flat_map(|before| before.vms.iter()).filter(|vm| exists(&vm.cloud_id)) {
        while walk.next_if(|other| other.id < vm.id).is_some() {}
        if walk.next_if(|other| other.id == vm.id).is_none() {
            let (cloud_id, id) = (vm.cloud_id.clone(), vm.id.clone());
            missing.push(Missing { cloud_id, id, vm: Some(Arc::clone(vm)) });
        }
    }
    let known = missing.len();
    for Recorded { cloud_id, vm_id } in recorded.iter().filter(|vm| exists(&vm.cloud_id)) {
        let twice = missing[..known].binary_search_by(|other| other.id.cmp(vm_id)).is_ok();
        let listed = now.binary_search_by(|vm| vm.id.cmp(vm_id)).is_ok();
        if !twice && !listed {
            missing.push(Missing { cloud_id: cloud_id.clone(), id: vm_id.clone(), vm: None });
        }
    }
    missing
}

/// Whether the deletion is confirmed, either by this error of the request by id or by the time since
/// the first such error.
fn is_confirmed(error: &Error, id: &Text, absences: &mut Absences, now: Duration) -> bool {
    is_deleted(error)
        || error.reason() == Reason::NotFound && absences.is_confirmed(Absent::Vm(id.clone()), now)
}

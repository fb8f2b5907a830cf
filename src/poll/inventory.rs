//! Clouds, their nodes and their living VMs, read so that nothing is lost while it changes.
//!
//! An object that is missing from its list is requested by id. The object counts as deleted only if the
//! API itself confirms the deletion, or after `absences::CONFIRMED_AFTER`.

mod nodes;
mod order;
mod vms;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;

use self::order::sort;
use super::absences::{Absences, Absent};
use super::clouds::{self, Candidate, Contents};
use crate::api::{Error, Run};
use crate::ledger::Recorded;
use crate::snapshot::{CapacityData, Cloud, CloudCapacity, InventoryData, Node, Text, Vm, VmStatus};

/// A list as it was read; one that is as it was before is the same.
type List<T> = Arc<[Arc<T>]>;

/// Maximum number of VMs, and of nodes, that one run requests by id. If more objects are missing,
/// several polls are needed. Objects that were not requested yet are kept unchanged.
const MAX_LOOKUPS: usize = 2_000;

/// Maximum number of concurrent requests by id. The client limits concurrent requests further.
const LOOKUPS_AT_ONCE: usize = 64;

/// State that the collector keeps between polls, in addition to the inventory.
#[derive(Debug, Default)]
pub struct Memory {
    /// Clouds that the ledger has recorded. Empty after the first complete poll.
    clouds: Vec<Cloud>,
    /// VMs that only the ledger contains and that must still be requested by id, sorted by id.
    vms: Vec<Recorded>,
    /// Clouds that the list lacked in the latest poll.
    unlisted: BTreeSet<Text>,
    absences: Absences,
}

impl Memory {
    /// Adds the clouds and VMs of the latest recorded poll, for example after a restart. `vms` must be
    /// sorted by id.
    pub fn add_recorded(&mut self, clouds: Vec<Cloud>, vms: Vec<Recorded>) {
        (self.clouds, self.vms) = (clouds, vms);
    }

    /// Returns the clouds that are not confirmed as deleted: the clouds of `before`, those that the ledger has
    /// recorded, and those of `capacity`.
    fn known_clouds(&self, before: Option<&InventoryData>, capacity: &[CloudCapacity]) -> Vec<Cloud> {
        let mut known: Vec<Cloud> = before.map(|before| before.clouds.clone()).unwrap_or_default();
        let mut ids: BTreeSet<Text> = known.iter().map(|cloud| cloud.id.clone()).collect();
        let others = self.clouds.iter().chain(capacity.iter().map(|row| &row.cloud));
        known.extend(others.filter(|cloud| ids.insert(cloud.id.clone())).cloned());
        // Early versions of the ledger recorded VMs without their clouds.
        let of_vms = self.vms.iter().map(|vm| &vm.cloud_id).filter(|id| ids.insert((*id).clone()));
        let unnamed = || Text::from("");
        known.extend(of_vms.map(|id| Cloud {
            id: id.clone(),
            name: unnamed(),
            site: unnamed(),
            node_type: unnamed(),
            created_at: None,
        }));
        known
    }

    /// Stores which of the existing `clouds` the list of clouds lacks, and logs each change once.
    fn note_unlisted(&mut self, tenant: &str, unlisted: BTreeSet<Text>, clouds: &[Cloud]) {
        for cloud_id in unlisted.difference(&self.unlisted) {
            tracing::warn!(
                tenant,
                cloud_id = &**cloud_id,
                "the list of clouds lacks a cloud that is not confirmed as deleted; the cloud stays"
            );
        }
        for Cloud { id, .. } in clouds.iter().filter(|cloud| !unlisted.contains(&cloud.id)) {
            if self.unlisted.contains(id) {
                tracing::info!(tenant, cloud_id = &**id, "the list of clouds contains the cloud again");
            }
        }
        self.unlisted = unlisted;
    }
}

/// Reads the complete inventory at the monotonic time `now`. `before` is the latest complete inventory.
/// Its clouds, nodes and VMs that are in no list now are requested by id. The clouds and VMs of
/// `memory`, which the ledger has recorded, and the clouds of `capacity` are requested in the same way.
///
/// Without any known cloud, as at the first start, the list of capacities is requested: a list of clouds that
/// lacks a cloud would look complete otherwise.
///
/// # Errors
/// A list cannot be read, although its cloud is not confirmed as deleted.
pub async fn fetch(
    run: &Run,
    before: Option<&InventoryData>,
    capacity: Option<&CapacityData>,
    memory: &mut Memory,
    now: Duration,
) -> Result<InventoryData, Error> {
    let mut known = memory.known_clouds(before, capacity.map_or(&[], |capacity| &capacity.clouds));
    if known.is_empty() {
        // The collector of the capacity reports a failure.
        known = memory.known_clouds(None, &run.cloud_capacity().await.unwrap_or_default());
    }
    let candidates = clouds::candidates(run, known).await?;
    for candidate in candidates.iter().filter(|candidate| candidate.is_listed) {
        memory.absences.forget(&Absent::Cloud(candidate.cloud.id.clone()));
    }
    let contents = try_join_all(candidates.into_iter().map(|candidate| content(run, candidate))).await?;
    let (mut data, mut unlisted, mut failure) = (InventoryData::default(), BTreeSet::new(), None);
    for contents in contents {
        match contents {
            Contents::Read(Candidate { cloud, is_listed }, (nodes, lists)) => {
                if !is_listed {
                    unlisted.insert(cloud.id.clone());
                }
                data.clouds.push(cloud);
                data.nodes.extend(nodes.iter().cloned());
                data.lists.extend(lists);
            }
            Contents::Deleted => {}
            Contents::NotFound(Candidate { cloud, .. }, error) => {
                if !memory.absences.is_confirmed(Absent::Cloud(cloud.id), now) {
                    failure = Some(error);
                }
            }
        }
    }
    if let Some(error) = failure {
        return Err(error);
    }
    data.clouds.sort_by(|a, b| a.id.cmp(&b.id));
    memory.note_unlisted(run.tenant(), unlisted, &data.clouds);
    nodes::confirm(run, before, &mut data, &mut memory.absences, now).await;
    match before.filter(|before| memory.vms.is_empty() && is_unchanged(before, &data)) {
        Some(before) => data.vms = Arc::clone(&before.vms),
        None => vms::confirm(run, before, &mut data, memory, now).await,
    }
    let unresolved = &data.unresolved;
    let is_unresolved = |id: &Text| unresolved.binary_search(id).is_ok();
    memory.absences.retain(|object| !matches!(object, Absent::Vm(id) if !is_unresolved(id)));
    drop_empty(&mut data, memory, now);
    memory.clouds.clear();
    run.forget_other_clouds(data.clouds.iter().map(|cloud| &cloud.id));
    Ok(data)
}

/// Whether `now` was given the very lists of `before`, and those held every VM.
fn is_unchanged(before: &InventoryData, now: &InventoryData) -> bool {
    before.by_id.is_empty()
        && before.unresolved.is_empty()
        && before.lists.len() == now.lists.len()
        && before.lists.iter().zip(&now.lists).all(|(a, b)| Arc::ptr_eq(a, b))
}

/// Reads the nodes and VMs of a cloud.
async fn content(run: &Run, candidate: Candidate) -> Result<Contents<(List<Node>, Vec<List<Vm>>)>, Error> {
    let id = candidate.cloud.id.clone();
    let lists = Box::pin(async { tokio::try_join!(run.nodes(&id), living_vms(run, &id)) });
    clouds::read(run, candidate, lists).await
}

/// The nine lists one after the other, in the order of a VM's life: one that moves on meanwhile is
/// met twice, and the later reading, which is put in later, wins.
async fn living_vms(run: &Run, cloud_id: &Text) -> Result<Vec<List<Vm>>, Error> {
    let mut lists = Vec::new();
    for status in &VmStatus::LIVING {
        lists.push(run.vms(cloud_id, status).await?);
    }
    Ok(lists)
}

/// Removes the unlisted clouds that have had no nodes and VMs for long enough to count as deleted.
fn drop_empty(data: &mut InventoryData, memory: &mut Memory, now: Duration) {
    let mut unlisted = memory.unlisted.clone();
    if !unlisted.is_empty() {
        let nodes = data.nodes.iter().map(|node| &node.cloud_id);
        let vms = data.vms.iter().map(|vm| &vm.cloud_id);
        // VMs that only the ledger contains and that are not confirmed as deleted count too.
        for occupied in nodes.chain(vms).chain(memory.vms.iter().map(|vm| &vm.cloud_id)) {
            unlisted.remove(occupied);
        }
    }
    memory.absences.retain(|object| !matches!(object, Absent::Cloud(id) if !unlisted.contains(id)));
    data.clouds.retain(|cloud| {
        !unlisted.contains(&cloud.id) || !memory.absences.is_confirmed(Absent::Cloud(cloud.id.clone()), now)
    });
}

/// Returns the items that this run requests by id, and the items for later runs. Each run begins with a
/// different item, so that items whose requests keep failing do not exclude the others.
fn bounded<T>(tenant: &str, mut items: Vec<T>, what: &'static str) -> (Vec<T>, Vec<T>) {
    if items.len() <= MAX_LOOKUPS {
        return (items, Vec::new());
    }
    tracing::info!(
        tenant,
        what,
        missing = items.len(),
        requested = MAX_LOOKUPS,
        "more objects are missing from the lists than one poll requests by id; later polls request the others"
    );
    let first = fastrand::usize(..items.len());
    items.rotate_left(first);
    let later = items.split_off(MAX_LOOKUPS);
    (items, later)
}

//! Clouds, their nodes and their living VMs, read so that nothing is lost while it changes.

use std::sync::Arc;

use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt as _};

use crate::api::{Error, Reason, Run};
use crate::snapshot::{Cloud, InventoryData, Node, Text, Vm, VmStatus};

/// A list as it was read; one that is as it was before is the same.
type List<T> = Arc<[Arc<T>]>;

/// Most VMs that one run asks for by id. A mass deletion larger than this takes several polls to be
/// resolved; until then its VMs stay as they were.
const MAX_LOOKUPS: usize = 2_000;

/// Look-ups by id that are under way at once; the client bounds the requests once more.
const LOOKUPS_AT_ONCE: usize = 64;

/// Reads the whole inventory. `before` is the newest complete one: a VM that was in it and is in no
/// list now may only have moved between two lists, so it is asked for by id.
pub async fn fetch(run: &Run, before: Option<&InventoryData>) -> Result<InventoryData, Error> {
    let clouds = run.clouds().await?;
    let contents = try_join_all(clouds.into_iter().map(|cloud| content(run, cloud))).await?;
    let mut data = InventoryData::default();
    for (cloud, nodes, lists) in contents.into_iter().flatten() {
        data.clouds.push(cloud);
        data.nodes.extend(nodes.iter().cloned());
        data.lists.extend(lists);
    }
    data.clouds.sort_by(|a, b| a.id.cmp(&b.id));
    data.nodes.sort_by(|a, b| (&a.cloud_id, &a.id).cmp(&(&b.cloud_id, &b.id)));
    if let Some(before) = before.filter(|before| unchanged(before, &data)) {
        data.vms = Arc::clone(&before.vms);
        return Ok(data);
    }
    let mut vms: Vec<Arc<Vm>> = data.lists.iter().flat_map(|list| list.iter().cloned()).collect();
    sort(&mut vms);
    if let Some(before) = before {
        for missing in missing(run, before, &data.clouds, &vms).await {
            let (vm, ids) = match missing {
                Missing::Answered(vm) => (vm, &mut data.by_id),
                Missing::Unresolved(vm) => (vm, &mut data.unresolved),
                Missing::Gone => continue,
            };
            ids.push(vm.id.clone());
            vms.push(vm);
        }
        sort(&mut vms);
        data.by_id.sort();
        data.unresolved.sort();
    }
    data.vms = vms.into();
    Ok(data)
}

/// Whether `now` was given the very lists of `before`, and those held every VM.
fn unchanged(before: &InventoryData, now: &InventoryData) -> bool {
    before.by_id.is_empty()
        && before.unresolved.is_empty()
        && before.lists.len() == now.lists.len()
        && before.lists.iter().zip(&now.lists).all(|(a, b)| Arc::ptr_eq(a, b))
}

/// Brings VMs into the order of their ids, each once: as it was read last.
fn sort(vms: &mut Vec<Arc<Vm>>) {
    // Stable: of one id, the order of reading is kept. Two ids mostly differ in their first bytes,
    // which lie side by side here, while each id is somewhere else.
    let mut by_id: Vec<(u128, Arc<Vm>)> = vms.drain(..).map(|vm| (first_bytes(&vm.id), vm)).collect();
    by_id.sort_by(|(a, one), (b, other)| a.cmp(b).then_with(|| one.id.cmp(&other.id)));
    vms.extend(by_id.into_iter().map(|(_, vm)| vm));
    vms.dedup_by(|later, kept| {
        let same = later.id == kept.id;
        if same {
            std::mem::swap(later, kept);
        }
        same
    });
}

/// The first bytes of a text as a number that orders as they do.
fn first_bytes(text: &str) -> u128 {
    let mut first = [0; size_of::<u128>()];
    first.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
    u128::from_be_bytes(first)
}

/// A cloud with its nodes and VMs, or `None` if it vanished while it was read.
async fn content(run: &Run, cloud: Cloud) -> Result<Option<(Cloud, List<Node>, Vec<List<Vm>>)>, Error> {
    let read = async { tokio::try_join!(run.nodes(&cloud.id), living_vms(run, &cloud.id)) };
    match read.await {
        Ok((nodes, vms)) => Ok(Some((cloud, nodes, vms))),
        Err(error) => unless_vanished(run, &cloud.id, error).await.map(|()| None),
    }
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

/// A 404 below a cloud is a change, not a failure, if the cloud itself is gone too.
pub async fn unless_vanished(run: &Run, cloud_id: &Text, error: Error) -> Result<(), Error> {
    if error.reason() != Reason::NotFound {
        return Err(error);
    }
    match run.cloud(cloud_id).await {
        Err(gone) if gone.reason() == Reason::NotFound => Ok(()),
        _ => Err(error),
    }
}

/// What became of a VM that is in no list any more.
enum Missing {
    /// It answered.
    Answered(Arc<Vm>),
    /// It could not be asked: it stays as it was.
    Unresolved(Arc<Vm>),
    /// It is gone.
    Gone,
}

/// The VMs of `before` that are in no list now: asked for by id, or, if that fails, as
/// they were. 404 and `deleted` are gone, and so is everything in a cloud that is gone.
async fn missing(run: &Run, before: &InventoryData, clouds: &[Cloud], now: &[Arc<Vm>]) -> Vec<Missing> {
    let exists = |id: &Text| clouds.iter().any(|cloud| cloud.id == *id);
    // Both are in the order of ids, so one walk over both finds what is not there any more.
    let mut listed = now.iter().peekable();
    let left = before.vms.iter().filter(|vm| {
        while listed.next_if(|other| other.id < vm.id).is_some() {}
        listed.next_if(|other| other.id == vm.id).is_none()
    });
    let mut missing: Vec<Arc<Vm>> = left.filter(|vm| exists(&vm.cloud_id)).cloned().collect();
    if missing.len() > MAX_LOOKUPS {
        tracing::info!(
            missing = missing.len(),
            asked = MAX_LOOKUPS,
            "many VMs left the lists at once; the rest is asked for in the next polls"
        );
    }
    let unasked = missing.split_off(missing.len().min(MAX_LOOKUPS));
    let asked = missing.into_iter().map(|vm| async move {
        match run.vm(&vm.cloud_id, &vm.id).await {
            Ok(found) if found.status == VmStatus::Deleted => Missing::Gone,
            Ok(found) => Missing::Answered(Arc::new(found)),
            Err(error) if error.reason() == Reason::NotFound => Missing::Gone,
            Err(_) => Missing::Unresolved(vm),
        }
    });
    let found: Vec<_> = stream::iter(asked).buffer_unordered(LOOKUPS_AT_ONCE).collect().await;
    found.into_iter().chain(unasked.into_iter().map(Missing::Unresolved)).collect()
}

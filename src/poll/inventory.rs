//! Clouds, their nodes and their living VMs, read so that nothing is lost while it changes.

use std::sync::Arc;

use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt as _};

use crate::api::{Error, Reason, Run};
use crate::ledger::Recorded;
use crate::snapshot::{Cloud, InventoryData, Node, Text, Vm, VmStatus};

/// A list as it was read; one that is as it was before is the same.
type List<T> = Arc<[Arc<T>]>;

/// Most VMs that one run asks for by id. A mass deletion larger than this takes several polls to be
/// resolved; until then its VMs stay as they were.
const MAX_LOOKUPS: usize = 2_000;

/// Look-ups by id that are under way at once; the client bounds the requests once more.
const LOOKUPS_AT_ONCE: usize = 64;

/// Reads the whole inventory. `before` is the newest complete one: a VM that was in it and is in no
/// list now may only have moved between two lists, so it is asked for by id. So are those of
/// `recorded`, which the ledger knows from before a restart; it keeps those that are still to be asked for.
pub async fn fetch(
    run: &Run,
    before: Option<&InventoryData>,
    recorded: &mut Vec<Recorded>,
) -> Result<InventoryData, Error> {
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
    let missing = missing(before, recorded, &data.clouds, &vms);
    for (id, became) in look_up(run, missing).await {
        match became {
            Became::Found(vm) => {
                data.by_id.push(id);
                vms.push(vm);
            }
            Became::Unresolved(vm) => {
                data.unresolved.push(id);
                vms.extend(vm);
            }
            Became::Gone => {}
        }
    }
    sort(&mut vms);
    data.by_id.sort();
    data.unresolved.sort();
    recorded.retain(|vm| data.unresolved.binary_search(&vm.vm_id).is_ok());
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

/// A 404 below a cloud is a change, not a failure, if the cloud itself is gone too: the API says so
/// in its own words, or does not list it any more. A gateway that answers 404 for everything says neither.
pub async fn unless_vanished(run: &Run, cloud_id: &Text, error: Error) -> Result<(), Error> {
    if error.reason() != Reason::NotFound {
        return Err(error);
    }
    let said = match run.cloud(cloud_id).await {
        Err(gone) if gone.reason() == Reason::NotFound => gone.message.is_some(),
        _ => return Err(error),
    };
    if said || run.clouds().await?.iter().all(|cloud| cloud.id != *cloud_id) { Ok(()) } else { Err(error) }
}

/// A VM that is in no list any more.
struct Missing {
    cloud_id: Text,
    id: Text,
    /// As it was in the snapshot before, if it was.
    vm: Option<Arc<Vm>>,
}

/// What became of it.
enum Became {
    /// It answered.
    Found(Arc<Vm>),
    /// It could not be asked: it stays as it was.
    Unresolved(Option<Arc<Vm>>),
    /// It is gone.
    Gone,
}

/// The VMs of `before` and of `recorded` that are in no list now. With a cloud, all its VMs are gone.
fn missing(
    before: Option<&InventoryData>,
    recorded: &[Recorded],
    clouds: &[Cloud],
    now: &[Arc<Vm>],
) -> Vec<Missing> {
    let exists = |id: &Text| clouds.iter().any(|cloud| cloud.id == *id);
    let mut missing: Vec<Missing> = Vec::new();
    // Both are in the order of ids, so one walk over both finds what is not there any more.
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

/// Asks for each by id: 404 and `deleted` are gone, an answer is its state, and one whose look-up
/// fails stays as it was.
async fn look_up(run: &Run, mut missing: Vec<Missing>) -> Vec<(Text, Became)> {
    if missing.len() > MAX_LOOKUPS {
        tracing::info!(
            missing = missing.len(),
            asked = MAX_LOOKUPS,
            "many VMs left the lists at once; the rest is asked for in the next polls"
        );
    }
    let unasked = missing.split_off(missing.len().min(MAX_LOOKUPS));
    let asked = missing.into_iter().map(|Missing { cloud_id, id, vm }| async move {
        let became = match run.vm(&cloud_id, &id).await {
            Ok(found) if found.status == VmStatus::Deleted => Became::Gone,
            Ok(found) => Became::Found(Arc::new(found)),
            Err(error) if error.reason() == Reason::NotFound => Became::Gone,
            Err(_) => Became::Unresolved(vm),
        };
        (id, became)
    });
    let found: Vec<_> = stream::iter(asked).buffer_unordered(LOOKUPS_AT_ONCE).collect().await;
    found.into_iter().chain(unasked.into_iter().map(|it| (it.id, Became::Unresolved(it.vm)))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Arc, Text, Vm, VmStatus, sort};

    fn vm(id: &str, status: VmStatus) -> Arc<Vm> {
        let text = |text: &str| -> Text { text.into() };
        Arc::new(Vm {
            id: text(id),
            cloud_id: text("cloud"),
            name: text(id),
            instance_type: text("vm.4c.8g"),
            size: None,
            image: text("debian"),
            status,
            node_id: None,
            created_at: None,
            deleted_at: None,
            ips: Box::default(),
            tags: [].into(),
        })
    }

    proptest! {
        /// Whatever pages bring VMs in whatever order, they are the same VMs in the order of ids. One
        /// that was met twice is as it was met last.
        #[test]
        fn the_order_of_pages_changes_nothing(
            ids in prop::collection::btree_set("[a-c]{1,20}", 0..30),
            shuffled in any::<prop::sample::Index>(),
            again in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
        ) {
            let ids: Vec<String> = ids.into_iter().collect();
            let mut vms: Vec<_> = ids.iter().map(|id| vm(id, VmStatus::Running)).collect();
            if !vms.is_empty() {
                let places = vms.len();
                vms.rotate_left(shuffled.index(places));
                let odd: Vec<_> = vms.iter().skip(1).step_by(2).cloned().collect();
                vms = vms.into_iter().step_by(2).chain(odd).collect();
                let met_again = again.iter().map(|index| vm(&ids[index.index(places)], VmStatus::Stopped));
                vms.extend(met_again.collect::<Vec<_>>());
            }
            let twice: Vec<&str> = again.iter().filter(|_| !ids.is_empty()).map(|index| &*ids[index.index(ids.len())]).collect();
            sort(&mut vms);
            prop_assert_eq!(vms.iter().map(|vm| vm.id.to_string()).collect::<Vec<_>>(), ids.clone());
            for vm in vms {
                let expected = if twice.contains(&&*vm.id) { VmStatus::Stopped } else { VmStatus::Running };
                prop_assert_eq!(&vm.status, &expected);
            }
        }
    }
}

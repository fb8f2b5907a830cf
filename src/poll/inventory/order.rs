//! The order of VMs.

use std::sync::Arc;

use crate::snapshot::Vm;

/// Sorts VMs by id and removes duplicates. Of several VMs with one id, the VM that was read last is
/// kept.
pub(super) fn sort(vms: &mut Vec<Arc<Vm>>) {
    // The sort is stable, so VMs with one id keep the order in which they were read. Most ids differ in
    // their first bytes. The first bytes are contiguous in memory here, but the ids are not.
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

/// Returns the first bytes of a text as a number with the same order.
fn first_bytes(text: &str) -> u128 {
    let mut first = [0; size_of::<u128>()];
    first.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
    u128::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Arc, Vm, sort};
    use crate::snapshot::{Text, VmStatus};

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
        /// The order of pages and rows does not affect the sorted VMs. Of a VM that was read twice, the
        /// last reading is kept.
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

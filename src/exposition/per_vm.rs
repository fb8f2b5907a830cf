//! Series of single VMs: the hot path, where 100,000 VMs take some tens of milliseconds. What several
//! series share, such as a VM's ids or the labels of a set of tags, is escaped once.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use jiff::Timestamp;

use super::TenantView;
use super::inventory::living;
use super::writer::{Writer, write_labels};
use crate::config::Metrics;
use crate::config::load::label_of;
use crate::snapshot::{Text, Vm, VmStatus, split_tag};

/// The value of a label for a tag that has no value.
const VALUELESS: &str = "true";

pub fn write(tenant: &TenantView<'_>, options: &Metrics, writer: &mut Writer) {
    let inventory = tenant.snapshot.inventory.as_ref().map(|section| living(&section.data));
    let living = inventory.as_ref().map_or(0, |(vms, _)| vms.len());
    if options.per_vm {
        series(&Rows::of(tenant.name, inventory.unwrap_or_default(), options), options, writer);
    }
    let mut omitted = writer.family(
        "flexvm_exporter_vms_omitted",
        "VMs beyond metrics.max_vms that have no series of their own; they count in all sums.",
    );
    if tenant.snapshot.inventory.is_some() {
        let most = if options.per_vm { options.max_vms } else { usize::MAX };
        omitted.sample(&[("tenant", tenant.name)], living.saturating_sub(most) as u64);
    }
}

fn series(rows: &Rows<'_>, options: &Metrics, writer: &mut Writer) {
    let max_length = options.max_label_length;
    // Below, labels that VMs share are kept by the address of their texts, which are shared too. Equal
    // texts at two addresses are only written twice.
    let mut family = writer.family(
        "flexvm_vm_info",
        "Constant 1 for each VM that is not deleted, with its name, instance type, image and node \
         (empty until it is placed).",
    );
    let mut alike: HashMap<_, Vec<u8>> = HashMap::new();
    for (vm, ids) in rows.iter() {
        let made_of = (vm.instance_type.as_ptr(), vm.image.as_ptr(), vm.node_id.as_deref().map(str::as_ptr));
        let labels = alike.entry(made_of).or_insert_with(|| {
            behind_others(
                &[
                    ("instance_type", &*vm.instance_type),
                    ("image", &*vm.image),
                    ("node_id", vm.node_id.as_deref().unwrap_or_default()),
                ],
                max_length,
            )
        });
        family.named(ids, ("vm", &vm.name), labels, 1);
    }
    let mut family = writer.family(
        "flexvm_vm_status",
        "1 for the VM's status as of the newest poll; other statuses are absent.",
    );
    let mut alike: HashMap<&VmStatus, Vec<u8>> = HashMap::new();
    for (vm, ids) in rows.iter() {
        let labels = alike
            .entry(&vm.status)
            .or_insert_with(|| behind_others(&[("status", vm.status.as_str())], max_length));
        family.written(ids, labels, 1);
    }
    let mut family = writer.family(
        "flexvm_vm_created_timestamp_seconds",
        "When the VM was created, Unix time in seconds; absent where the API does not say.",
    );
    for (vm, ids) in rows.iter() {
        if let Some(at) = vm.created_at {
            family.written(ids, &[], at.as_second());
        }
    }
    let mut family = writer.family(
        "flexvm_vm_status_since_timestamp_seconds",
        "When a poll first saw the VM in its current status, Unix time in seconds; absent while the ledger does not know.",
    );
    for (since, ids) in rows.status_since() {
        if let Some(at) = since {
            family.written(ids, &[], at.as_second());
        }
    }
    // Without keys there is no family of tags: it would say nothing about any VM.
    if !options.tag_keys.is_empty() {
        tags(rows, options, writer);
    }
}

fn tags(rows: &Rows<'_>, options: &Metrics, writer: &mut Writer) {
    let mut met = BTreeSet::new();
    let names: Vec<(&String, String)> = options
        .tag_keys
        .iter()
        .map(|key| (key, format!("tag_{}", label_of(key))))
        .filter(|(_, name)| met.insert(name.clone()))
        .collect();
    let mut family = writer.family(
        "flexvm_vm_tags",
        "Constant 1 for each VM, with its tags whose keys are in metrics.tag_keys: true for a tag without value, \
         several values joined by a semicolon, no label where there is no such tag.",
    );
    let mut alike: HashMap<*const Text, Vec<u8>> = HashMap::new();
    for (vm, ids) in rows.iter() {
        let labels = alike
            .entry(vm.tags.as_ptr())
            .or_insert_with(|| tag_labels(&vm.tags, &names, options.max_label_length));
        family.written(ids, labels, 1);
    }
}

fn tag_labels(tags: &[Text], names: &[(&String, String)], max_length: usize) -> Vec<u8> {
    let of_key =
        |(key, name): &(&String, String)| Some(behind_others(&[(name, &value(tags, key)?)], max_length));
    names.iter().filter_map(of_key).collect::<Vec<_>>().concat()
}

fn behind_others(labels: &[(&str, &str)], max_length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_labels(&mut bytes, labels, true, max_length);
    bytes
}

/// The distinct values of the tags with `key`, sorted; `None` where there is no such tag.
fn value<'a>(tags: &'a [Text], key: &str) -> Option<Cow<'a, str>> {
    let of_key = tags.iter().map(|tag| split_tag(tag)).filter(|(name, _)| *name == key);
    let mut values = of_key.map(|(_, value)| value.unwrap_or(VALUELESS));
    let first = values.next()?;
    let Some(second) = values.next() else { return Some(first.into()) };
    let all: BTreeSet<&str> = [first, second].into_iter().chain(values).collect();
    Some(all.into_iter().collect::<Vec<_>>().join(";").into())
}

/// The VMs that get series, with the labels that all series of a VM begin with, one behind the other.
struct Rows<'a> {
    vms: Vec<(&'a Vm, Range<usize>)>,
    status_since: Vec<Option<Timestamp>>,
    ids: Vec<u8>,
}

impl<'a> Rows<'a> {
    /// `living` is what [`living`] gives.
    fn of(tenant: &str, living: (Vec<&'a Vm>, Vec<Option<Timestamp>>), options: &Metrics) -> Self {
        let (vms, mut status_since) = living;
        status_since.truncate(options.max_vms);
        let mut ids = Vec::new();
        let with_ids = |vm: &'a Vm| {
            let start = ids.len();
            let labels = [("tenant", tenant), ("cloud_id", &*vm.cloud_id), ("vm_id", &*vm.id)];
            write_labels(&mut ids, &labels, false, options.max_label_length);
            (vm, start..ids.len())
        };
        let vms = vms.into_iter().take(options.max_vms).map(with_ids).collect();
        Self { vms, status_since, ids }
    }

    fn iter(&self) -> impl Iterator<Item = (&'a Vm, &[u8])> {
        self.vms.iter().map(|(vm, range)| (*vm, &self.ids[range.clone()]))
    }

    fn status_since(&self) -> impl Iterator<Item = (Option<Timestamp>, &[u8])> {
        self.status_since.iter().copied().zip(self.iter().map(|(_, ids)| ids))
    }
}

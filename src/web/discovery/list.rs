//! The list of one tenant without port and filters: addresses and labels of each running VM, as JSON.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use crate::config::load::label_of;
use crate::snapshot::{Cloud, InventoryData, Vm, VmStatus, split_tag};

/// The running VMs of a tenant that have an address. All text is in one buffer.
#[derive(Debug, PartialEq, Eq)]
pub struct TargetList {
    text: Vec<u8>,
    hosts: Vec<Host>,
    vms: Vec<Target>,
}

/// An address of a VM.
#[derive(Debug, PartialEq, Eq)]
struct Host {
    /// Where its text ends; it begins where the previous text ends.
    end: usize,
    public: bool,
}

/// A VM. Its labels follow its hosts in the text.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    /// Where the text of its first host begins.
    start: usize,
    /// Number of its hosts.
    hosts: usize,
    /// Where its labels end.
    end: usize,
}

/// Position in a list.
#[derive(Clone, Copy, Debug, Default)]
pub struct Position {
    vm: usize,
    host: usize,
}

impl TargetList {
    /// The list of an inventory.
    pub fn new(tenant: &str, inventory: &InventoryData) -> Self {
        let clouds: HashMap<&str, &Cloud> =
            inventory.clouds.iter().map(|cloud| (&*cloud.id, cloud)).collect();
        let mut list = Self { text: Vec::new(), hosts: Vec::new(), vms: Vec::new() };
        // A VM without an address cannot be a target; Prometheus has no use for an empty group.
        let is_target = |vm: &&Vm| vm.status == VmStatus::Running && !vm.ips.is_empty();
        for vm in inventory.vms.iter().map(|vm| &**vm).filter(is_target) {
            list.add(vm, &labels(tenant, vm, clouds.get(&*vm.cloud_id).copied()));
        }
        list.text.shrink_to_fit();
        list
    }

    fn add(&mut self, vm: &Vm, labels: &BTreeMap<String, Cow<'_, str>>) {
        let mut hosts: Vec<_> = vm.ips.iter().map(|ip| (host(&ip.address), ip.public)).collect();
        hosts.sort_unstable();
        let start = self.text.len();
        for (host, public) in &hosts {
            let json = serde_json::to_string(host).unwrap_or_default();
            // Without the quotation marks of the JSON string. The address can contain further ones.
            let inner = json.strip_prefix('"').and_then(|json| json.strip_suffix('"')).unwrap_or_default();
            self.text.extend_from_slice(inner.as_bytes());
            self.hosts.push(Host { end: self.text.len(), public: *public });
        }
        // Writing to memory does not fail.
        let _ = serde_json::to_writer(&mut self.text, labels);
        self.vms.push(Target { start, hosts: hosts.len(), end: self.text.len() });
    }

    /// Appends the group at `position` to `out` unless the filter excludes all its addresses, and moves
    /// `position` to the next; returns `false` at the end of the list.
    pub fn write_next(
        &self,
        position: &mut Position,
        port: &str,
        public: Option<bool>,
        out: &mut Vec<u8>,
    ) -> bool {
        let Some(vm) = self.vms.get(position.vm) else { return false };
        let hosts = &self.hosts[position.host..position.host + vm.hosts];
        *position = Position { vm: position.vm + 1, host: position.host + vm.hosts };
        let (before, mut start, mut last) = (out.len(), vm.start, None);
        for host in hosts {
            let text = &self.text[start..host.end];
            start = host.end;
            // The API may give an address twice.
            if public.is_some_and(|public| public != host.public) || last == Some(text) {
                continue;
            }
            out.extend_from_slice(if last.is_none() { b"{\"targets\":[\"" } else { b",\"" });
            last = Some(text);
            for part in [text, b":", port.as_bytes(), b"\""] {
                out.extend_from_slice(part);
            }
        }
        if out.len() > before {
            out.extend_from_slice(b"],\"labels\":");
            out.extend_from_slice(&self.text[start..vm.end]);
            out.push(b'}');
        }
        true
    }
}

/// An address without the length of its network, which may follow a `/`; IPv6 in brackets.
fn host(address: &str) -> String {
    let host = address.split('/').next().unwrap_or(address);
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(host)) => format!("[{host}]"),
        _ => host.to_owned(),
    }
}

fn labels<'a>(tenant: &'a str, vm: &'a Vm, cloud: Option<&'a Cloud>) -> BTreeMap<String, Cow<'a, str>> {
    let mut labels: BTreeMap<String, Cow<'a, str>> = BTreeMap::new();
    for (name, value) in [
        ("tenant", tenant),
        ("cloud_id", &vm.cloud_id),
        ("cloud", cloud.map_or("", |cloud| &cloud.name)),
        ("site", cloud.map_or("", |cloud| &cloud.site)),
        ("vm_id", &vm.id),
        ("vm", &vm.name),
        ("instance_type", &vm.instance_type),
        ("image", &vm.image),
        ("status", vm.status.as_str()),
    ] {
        labels.insert(format!("__meta_flexvm_{name}"), value.into());
    }
    for tag in vm.tags.iter() {
        let (key, value) = split_tag(tag);
        let value = value.unwrap_or("true");
        // Several values of a key, or keys that differ in characters that labels cannot have.
        labels
            .entry(format!("__meta_flexvm_tag_{}", label_of(key)))
            .and_modify(|known| *known = format!("{known};{value}").into())
            .or_insert(value.into());
    }
    labels
}

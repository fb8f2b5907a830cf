//! `/sd/vms`: running VMs for Prometheus's HTTP service discovery, one group a VM.
//!
//! Prometheus keeps the last good list when an answer is not 200, so a list that cannot be vouched
//! for is never sent: not an empty one, and not a part.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use hyper::StatusCode;
use serde::Serialize;

use crate::config::load::label_of;
use crate::snapshot::{Cloud, InventoryData, Vm, VmStatus, split_tag};
use crate::store::View;

/// Port of the node exporter, which most people look for on a VM.
const DEFAULT_PORT: u16 = 9100;

/// What is asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    port: Option<u16>,
    tenant: Option<String>,
    /// Only addresses that the API calls public, or only others.
    public: Option<bool>,
}

/// A target group, as Prometheus reads it.
#[derive(Debug, Serialize)]
struct Group<'a> {
    targets: Vec<String>,
    labels: BTreeMap<String, std::borrow::Cow<'a, str>>,
}

/// Why there is no list, in words for whoever asked.
type NoList = (StatusCode, String);

/// Lists of the newest view that were made before, shared by all who ask for the same: of many VMs one takes
/// megabytes, and slow readers hold it.
#[derive(Debug, Default)]
pub struct Lists(Mutex<Made>);

#[derive(Debug, Default)]
struct Made {
    of: Weak<View>,
    lists: VecDeque<(Wanted, Bytes)>,
}

/// Lists that are kept: of one view people ask for few.
const KEPT: usize = 4;

impl Lists {
    /// The list of `view` as JSON. Blocks while one is made, by this caller or another.
    pub fn get(&self, view: &Arc<View>, query: &[(String, String)]) -> Result<Bytes, NoList> {
        let wanted = wanted(query).map_err(|sentence| (StatusCode::BAD_REQUEST, sentence))?;
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = Arc::downgrade(view);
        if !made.of.ptr_eq(&of) {
            *made = Made { of, lists: VecDeque::new() };
        }
        if let Some((_, list)) = made.lists.iter().find(|(same, _)| *same == wanted) {
            return Ok(list.clone());
        }
        let list = Bytes::from(targets(view, &wanted)?);
        if made.lists.len() >= KEPT {
            made.lists.pop_front();
        }
        made.lists.push_back((wanted, list.clone()));
        Ok(list)
    }
}

fn targets(view: &View, wanted: &Wanted) -> Result<Vec<u8>, NoList> {
    let mut groups = Vec::new();
    let tenants =
        view.tenants.iter().filter(|(name, _)| wanted.tenant.as_ref().is_none_or(|it| **it == ***name));
    let mut met = false;
    for (tenant, state) in tenants {
        met = true;
        let Some(inventory) = &state.snapshot.inventory else {
            let sentence = format!("The inventory of {tenant} is not known now; keep what you have.\n");
            return Err((StatusCode::SERVICE_UNAVAILABLE, sentence));
        };
        groups.extend(of_tenant(tenant, &inventory.data, wanted));
    }
    if !met {
        return Err((StatusCode::BAD_REQUEST, "tenant must be one of the exporter's tenants.\n".to_owned()));
    }
    serde_json::to_vec(&groups).map_err(|error| {
        (StatusCode::INTERNAL_SERVER_ERROR, format!("The list cannot be written: {error}.\n"))
    })
}

fn wanted(query: &[(String, String)]) -> Result<Wanted, String> {
    let mut wanted = Wanted::default();
    for (key, value) in query {
        match key.as_str() {
            "port" => {
                let port = value.parse().ok().filter(|port| *port != 0);
                wanted.port =
                    Some(port.ok_or_else(|| "port must be a number from 1 to 65535.\n".to_owned())?);
            }
            "tenant" => wanted.tenant = Some(value.clone()),
            "public" => {
                let public = value.parse().map_err(|_| "public must be true or false.\n".to_owned())?;
                wanted.public = Some(public);
            }
            _ => return Err("Only port, tenant and public can be asked for.\n".to_owned()),
        }
    }
    Ok(wanted)
}

fn of_tenant<'a>(
    tenant: &'a str,
    inventory: &'a InventoryData,
    wanted: &Wanted,
) -> impl Iterator<Item = Group<'a>> {
    let clouds: HashMap<&str, &Cloud> = inventory.clouds.iter().map(|cloud| (&*cloud.id, cloud)).collect();
    let (port, public) = (wanted.port.unwrap_or(DEFAULT_PORT), wanted.public);
    let running = inventory.vms.iter().filter(|vm| vm.status == VmStatus::Running);
    running.filter_map(move |vm| {
        let addresses = vm.ips.iter().filter(|ip| public.is_none_or(|public| ip.public == public));
        let targets: BTreeSet<String> = addresses.map(|ip| target(&ip.address, port)).collect();
        // A VM without an address cannot be a target; Prometheus has no use for an empty group.
        (!targets.is_empty()).then(|| Group {
            targets: targets.into_iter().collect(),
            labels: labels(tenant, vm, clouds.get(&*vm.cloud_id).copied()),
        })
    })
}

/// An address with a port; IPv6 in brackets. A length of the network behind a `/` is left out.
fn target(address: &str, port: u16) -> String {
    let host = address.split('/').next().unwrap_or(address);
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(host)) => format!("[{host}]:{port}"),
        _ => format!("{host}:{port}"),
    }
}

fn labels<'a>(
    tenant: &'a str,
    vm: &'a Vm,
    cloud: Option<&'a Cloud>,
) -> BTreeMap<String, std::borrow::Cow<'a, str>> {
    let mut labels: BTreeMap<String, std::borrow::Cow<'a, str>> = BTreeMap::new();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_both_kinds_become_targets() {
        for (address, expected) in [
            ("10.0.0.1", "10.0.0.1:9100"),
            ("2001:db8::1", "[2001:db8::1]:9100"),
            ("2001:db8::1/64", "[2001:db8::1]:9100"),
        ] {
            assert_eq!(target(address, 9100), expected);
        }
    }

    #[test]
    fn a_list_is_made_once_for_each_view() {
        let view = || {
            let inventory =
                crate::snapshot::Section { at: jiff::Timestamp::UNIX_EPOCH, data: Arc::default() };
            let mut state = crate::store::TenantState::default();
            Arc::make_mut(&mut state.snapshot).inventory = Some(inventory);
            let tenants = BTreeMap::from([("t".into(), Arc::new(state))]);
            Arc::new(View { tenants })
        };
        let (lists, one) = (Lists::default(), view());
        let ask = |view: &Arc<View>, port: u16| {
            lists.get(view, &[("port".to_owned(), port.to_string())]).unwrap().as_ptr()
        };
        let first = ask(&one, 1);
        assert_eq!(ask(&one, 1), first);
        // A few others are kept beside it, then the oldest goes.
        let others: Vec<_> = (2..=4).map(|port| ask(&one, port)).collect();
        assert_eq!((2..=4).map(|port| ask(&one, port)).collect::<Vec<_>>(), others);
        assert_eq!(ask(&one, 1), first);
        ask(&one, 5);
        assert_eq!(lists.0.lock().unwrap().lists.len(), KEPT);
        assert_eq!(lists.0.lock().unwrap().lists[0].0.port, Some(2));
        // Another view has lists of its own, and holds no old one.
        let two = view();
        drop(one);
        ask(&two, 1);
        assert_eq!(lists.0.lock().unwrap().lists.len(), 1);
        assert!(lists.get(&two, &[("tenant".to_owned(), "nobody".to_owned())]).is_err());
    }

    #[test]
    fn what_cannot_be_asked_for_is_refused() {
        let ask = |key: &str, value: &str| wanted(&[(key.to_owned(), value.to_owned())]);
        assert_eq!(ask("port", "80").unwrap().port, Some(80));
        assert_eq!(ask("public", "false").unwrap().public, Some(false));
        for (key, value) in
            [("port", "0"), ("port", "65536"), ("port", "x"), ("public", "1"), ("ports", "80")]
        {
            assert!(ask(key, value).is_err(), "{key}={value}");
        }
    }
}

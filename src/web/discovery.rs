//! `/sd/vms`: running VMs for Prometheus's HTTP service discovery, one group per VM.
//!
//! Prometheus keeps the last good list if a response is not 200, so an unreliable list is never sent:
//! neither an empty list nor a part.
//!
//! One list per tenant is kept until the tenant changes ([`list`]), without ports and filters. A response applies
//! ports and filters to each block while it is sent ([`stream`]), so requests with different ports need no more
//! memory than equal requests. Each block needs one of two slots. A client that does not read holds no slot, and no
//! further block is created for a client that has disconnected.

mod list;
mod stream;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwapOption;
use hyper::StatusCode;

use self::list::TargetList;
use self::stream::Cursor;
pub use self::stream::TargetStream;
use super::work::{NotDone, WorkSlots};
use crate::snapshot::InventoryData;
use crate::store::View;

/// Default port of the node exporter.
const DEFAULT_PORT: u16 = 9100;

/// Maximum number of old lists per tenant that responses in progress read. If there are more, responses that read
/// the oldest list are aborted, because slow readers must not fill the memory.
const MAX_OLD: usize = 3;

/// The query parameters of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Filter {
    port: u16,
    tenant: Option<String>,
    /// Only addresses that the API calls public, or only others.
    public: Option<bool>,
}

/// Why there is no list, as a sentence for the client.
type NoList = (StatusCode, String);

/// The lists of all tenants.
#[derive(Debug, Default)]
pub struct Lists {
    slots: WorkSlots,
    made: Arc<Mutex<BTreeMap<Arc<str>, Versions>>>,
}

/// The latest list of a tenant, and older ones that are still read.
#[derive(Debug)]
struct Versions {
    /// The inventory that the latest list was made from.
    of: Weak<InventoryData>,
    latest: Arc<Version>,
    old: VecDeque<Weak<Version>>,
}

/// A list; `None` after it was withdrawn because too many responses read old lists.
type Version = ArcSwapOption<TargetList>;

/// A tenant whose list is requested.
type Wanted = (Arc<str>, Arc<InventoryData>);

impl Lists {
    /// The list of `view` as JSON, which is filtered while it is sent.
    pub async fn get(
        &self,
        view: &View,
        query: &[(String, String)],
    ) -> Result<Result<TargetStream, NoList>, NotDone> {
        let (filter, tenants) = match filter(query).and_then(|filter| Ok((tenants(view, &filter)?, filter))) {
            Ok((tenants, filter)) => (filter, tenants),
            Err(no_list) => return Ok(Err(no_list)),
        };
        let known: BTreeSet<_> = view.tenants.keys().cloned().collect();
        let made = Arc::clone(&self.made);
        let first = move || {
            let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
            made.retain(|tenant, _| known.contains(tenant));
            let versions = tenants.into_iter().map(|wanted| version(&mut made, wanted)).collect();
            drop(made);
            let mut cursor = Cursor::new(versions, filter.port, filter.public);
            let block = cursor.next_block();
            (cursor, block)
        };
        let (cursor, block) = self.slots.begin(first).await?;
        Ok(Ok(TargetStream::new(self.slots.clone(), cursor, block)))
    }
}

/// Returns the list of a tenant. Creates the list if the inventory has changed.
fn version(made: &mut BTreeMap<Arc<str>, Versions>, (tenant, inventory): Wanted) -> Arc<Version> {
    let of = Arc::downgrade(&inventory);
    if let Some(versions) = made.get(&tenant)
        && versions.of.ptr_eq(&of)
    {
        return Arc::clone(&versions.latest);
    }
    let list = TargetList::new(&tenant, &inventory);
    let Some(versions) = made.get_mut(&tenant) else {
        let latest = Arc::new(Version::from_pointee(list));
        made.insert(tenant, Versions { of, latest: Arc::clone(&latest), old: VecDeque::new() });
        return latest;
    };
    versions.of = of;
    // Most polls change nothing that is in the list.
    if versions.latest.load().as_deref() != Some(&list) {
        let old = std::mem::replace(&mut versions.latest, Arc::new(Version::from_pointee(list)));
        versions.old.push_back(Arc::downgrade(&old));
        drop(old);
        versions.old.retain(|old| old.strong_count() > 0);
        if versions.old.len() > MAX_OLD
            && let Some(oldest) = versions.old.pop_front().and_then(|old| old.upgrade())
        {
            oldest.store(None);
        }
    }
    Arc::clone(&versions.latest)
}

/// Returns the inventories of the requested tenants.
fn tenants(view: &View, filter: &Filter) -> Result<Vec<Wanted>, NoList> {
    let is_wanted = |name: &str| filter.tenant.as_ref().is_none_or(|tenant| tenant == name);
    let mut wanted = Vec::new();
    for (tenant, state) in view.tenants.iter().filter(|(name, _)| is_wanted(name)) {
        let Some(inventory) = &state.snapshot.inventory else {
            let sentence = format!("The inventory of {tenant} is not known now; keep what you have.\n");
            return Err((StatusCode::SERVICE_UNAVAILABLE, sentence));
        };
        wanted.push((Arc::clone(tenant), Arc::clone(&inventory.data)));
    }
    if wanted.is_empty() {
        return Err((StatusCode::BAD_REQUEST, "tenant must be one of the exporter's tenants.\n".to_owned()));
    }
    Ok(wanted)
}

fn filter(query: &[(String, String)]) -> Result<Filter, NoList> {
    let bad = |sentence: &str| (StatusCode::BAD_REQUEST, sentence.to_owned());
    let mut filter = Filter { port: DEFAULT_PORT, tenant: None, public: None };
    for (key, value) in query {
        match key.as_str() {
            "port" => {
                let port = value.parse().ok().filter(|port| *port != 0);
                filter.port = port.ok_or_else(|| bad("port must be a number from 1 to 65535.\n"))?;
            }
            "tenant" => filter.tenant = Some(value.clone()),
            "public" => {
                let public = value.parse().map_err(|_| bad("public must be true or false.\n"))?;
                filter.public = Some(public);
            }
            _ => return Err(bad("Only port, tenant and public can be asked for.\n")),
        }
    }
    Ok(filter)
}

#[cfg(test)]
mod tests;

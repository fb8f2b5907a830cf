//! Pages of VMs that have not changed since they were last read are not parsed again.
//!
//! Most VMs look as they did a minute ago, and parsing a page takes many times as long as
//! recognising it by its digest. Its rows then also share their text with the snapshot before,
//! instead of holding it twice. What is kept is what the last complete reading of each list used.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use twox_hash::XxHash3_128;

use super::wire::{self, Parse, Parsed, Texts};
use crate::snapshot::{Text, Vm, VmStatus};

/// Pages by the digest of their body. 128 bits: no two bodies that are not made to collide do, and
/// whoever could make them could as well send wrong rows.
type Pages = HashMap<u128, Page>;

/// Its rows are shared with every snapshot that they are in.
type Page = Parsed<Arc<[Arc<Vm>]>>;

/// A list of VMs: a cloud and a status.
type Key = (Text, VmStatus);

/// The pages of each list, as its last complete reading met them.
#[derive(Default)]
pub(super) struct Memo(Mutex<HashMap<Key, Arc<Pages>>>);

impl Memo {
    /// Begins to read a list.
    pub fn begin(&self, cloud_id: &Text, status: &VmStatus) -> Reading {
        let key = (cloud_id.clone(), status.clone());
        // Gone until the reading is complete: a list that fails is not worth its memory.
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        Reading { key, known: known.unwrap_or_default(), used: Arc::default() }
    }

    /// Keeps what a complete reading has used. Deleted VMs are not remembered: their list only grows,
    /// and nobody keeps its rows.
    pub fn keep(&self, reading: &Reading) {
        let used = std::mem::take(&mut *reading.used.lock().unwrap_or_else(PoisonError::into_inner));
        if reading.key.1 != VmStatus::Deleted && !used.is_empty() {
            let mut lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            lists.insert(reading.key.clone(), Arc::new(used));
        }
    }

    /// Forgets clouds that are not among `living`.
    pub fn retain<'a>(&self, living: impl Iterator<Item = &'a Text>) {
        let living: HashSet<_> = living.collect();
        let mut lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lists.retain(|(cloud_id, _), _| living.contains(cloud_id));
    }
}

/// A list that is being read.
#[derive(Clone)]
pub(super) struct Reading {
    key: Key,
    known: Arc<Pages>,
    used: Arc<Mutex<Pages>>,
}

impl Reading {
    fn use_page(&self, digest: u128, page: &Page) -> Parsed<Vec<Arc<Vm>>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, page.clone());
        Parsed {
            value: page.value.to_vec(),
            unknown: page.unknown.clone(),
            unreadable_time: page.unreadable_time.clone(),
        }
    }
}

impl Parse<Vec<Arc<Vm>>> for Reading {
    fn known(&self, body: &[u8]) -> Option<Parsed<Vec<Arc<Vm>>>> {
        if self.known.is_empty() {
            return None;
        }
        let digest = XxHash3_128::oneshot(body);
        Some(self.use_page(digest, self.known.get(&digest)?))
    }

    /// The rows of a page, which is remembered.
    fn parse(self, body: &[u8], texts: &Texts) -> Result<Parsed<Vec<Arc<Vm>>>, serde_json::Error> {
        let (cloud_id, status) = &self.key;
        let Parsed { value, unknown, unreadable_time } = wire::vms(body, texts, cloud_id, status)?;
        let page = Parsed { value: value.into_iter().map(Arc::new).collect(), unknown, unreadable_time };
        Ok(self.use_page(XxHash3_128::oneshot(body), &page))
    }
}

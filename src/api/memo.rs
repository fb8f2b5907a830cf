//! Pages that have not changed since they were last read are not parsed again, and a list whose
//! pages are all as they were is the very list of before.
//!
//! Most VMs look as they did a minute ago, and parsing a page takes many times as long as
//! recognising it by its digest. Its rows are then shared with the snapshot before. What is kept is
//! what the last complete reading of each list used.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use twox_hash::XxHash3_128;

use super::paging::{self, List};
use super::wire::{Parse, Parsed, Texts};
use crate::snapshot::{Text, VmStatus};

/// A list: a cloud, and for VMs a status.
type Key = (Text, Option<VmStatus>);

/// A page and what it was recognised by. 128 bits: no two bodies that are not made to collide do,
/// and whoever could make them could as well send wrong rows.
pub(super) struct Page<T> {
    digest: u128,
    parsed: Arc<Parsed<Vec<Arc<T>>>>,
}

impl<T> Clone for Page<T> {
    fn clone(&self) -> Self {
        Self { digest: self.digest, parsed: Arc::clone(&self.parsed) }
    }
}

impl<T> paging::Page for Page<T> {
    fn len(&self) -> usize {
        self.parsed.value.len()
    }
}

/// A list that was read to its end.
struct Whole<T> {
    /// Its pages in the order in which they were met, with how many rows of each were new.
    pages: Vec<(Page<T>, usize)>,
    /// Where among `pages` a digest is.
    places: HashMap<u128, usize>,
    rows: Arc<[Arc<T>]>,
}

/// Each list as its last complete reading met it.
pub(super) struct Memo<T>(Mutex<HashMap<Key, Arc<Whole<T>>>>);

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Memo<T> {
    /// Begins to read a list whose rows are told apart by `key`.
    pub fn begin(&self, cloud_id: &Text, status: Option<&VmStatus>, key: fn(&Arc<T>) -> &Text) -> Reading<T> {
        let list = (cloud_id.clone(), status.cloned());
        // Gone until the reading is complete: a list that fails is not worth its memory.
        let known = self.lists().remove(&list);
        Reading { list, key, known, pages: Vec::new(), rows: None }
    }

    /// The rows of a complete reading, which is remembered. Deleted VMs are not: their list only
    /// grows, and nobody keeps its rows.
    pub fn end(&self, mut reading: Reading<T>) -> Arc<[Arc<T>]> {
        let rows = match (reading.rows.take(), &reading.known) {
            (Some(rows), _) => rows.into_rows().into(),
            (None, Some(known)) if known.pages.len() == reading.pages.len() => Arc::clone(&known.rows),
            // Fewer pages than before.
            (None, _) => reading.again().into_rows().into(),
        };
        let Reading { list, pages, .. } = reading;
        if list.1 != Some(VmStatus::Deleted) {
            let places = pages.iter().enumerate().map(|(place, (page, _))| (page.digest, place)).collect();
            self.lists().insert(list, Arc::new(Whole { pages, places, rows: Arc::clone(&rows) }));
        }
        rows
    }

    /// Forgets clouds that are not among `living`.
    pub fn retain<'a>(&self, living: impl Iterator<Item = &'a Text>) {
        let living: HashSet<_> = living.collect();
        self.lists().retain(|(cloud_id, _), _| living.contains(cloud_id));
    }

    fn lists(&self) -> MutexGuard<'_, HashMap<Key, Arc<Whole<T>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A list that is being read.
pub(super) struct Reading<T> {
    list: Key,
    key: fn(&Arc<T>) -> &Text,
    known: Option<Arc<Whole<T>>>,
    pages: Vec<(Page<T>, usize)>,
    /// The rows, once a page differs from the one that stood in its place before.
    rows: Option<List<Arc<T>>>,
}

impl<T> Reading<T> {
    /// How its pages are read: recognised, or else parsed with `parse`.
    pub fn parser<P>(&self, parse: P) -> Recognise<T, P> {
        Recognise { known: self.known.clone(), parse }
    }

    /// The rows of all pages so far.
    fn again(&self) -> List<Arc<T>> {
        let mut rows = List::new(self.key);
        for (page, _) in &self.pages {
            rows.add(page.parsed.value.iter().cloned());
        }
        rows
    }
}

impl<T> paging::Rows<Page<T>> for Reading<T> {
    fn take(&mut self, page: Page<T>) -> usize {
        if self.rows.is_none() {
            let before = self.known.as_ref().and_then(|known| known.pages.get(self.pages.len()));
            if let Some((_, new)) = before.filter(|(before, _)| before.digest == page.digest) {
                self.pages.push((page, *new));
                return *new;
            }
        }
        let mut rows = self.rows.take().unwrap_or_else(|| self.again());
        let new = rows.add(page.parsed.value.iter().cloned());
        self.rows = Some(rows);
        self.pages.push((page, new));
        new
    }
}

/// Recognises a page that the last reading met, and parses any other.
pub(super) struct Recognise<T, P> {
    known: Option<Arc<Whole<T>>>,
    parse: P,
}

impl<T, P: Clone> Clone for Recognise<T, P> {
    fn clone(&self) -> Self {
        Self { known: self.known.clone(), parse: self.parse.clone() }
    }
}

impl<T: Send + Sync + 'static, P: Parse<Vec<T>>> Parse<Page<T>> for Recognise<T, P> {
    fn known(&self, body: &[u8]) -> Option<Parsed<Page<T>>> {
        let known = self.known.as_ref()?;
        let place = known.places.get(&XxHash3_128::oneshot(body))?;
        Some(parsed(known.pages[*place].0.clone()))
    }

    fn parse(self, body: &[u8], texts: &Texts) -> Result<Parsed<Page<T>>, serde_json::Error> {
        let Parsed { value, unknown, defects, spellings } = self.parse.parse(body, texts)?;
        let value = value.into_iter().map(Arc::new).collect();
        let rows = Parsed { value, unknown, defects, spellings: Vec::new() };
        let page = parsed(Page { digest: XxHash3_128::oneshot(body), parsed: Arc::new(rows) });
        Ok(Parsed { spellings, ..page })
    }
}

/// A page with what its parsing has met.
fn parsed<T>(page: Page<T>) -> Parsed<Page<T>> {
    let (unknown, defects) = (page.parsed.unknown.clone(), page.parsed.defects.clone());
    Parsed { value: page, unknown, defects, spellings: Vec::new() }
}

//! A whole list out of pages, although the API tells neither a total nor its largest page.
//!
//! Rules, from what is documented (25 rows unless asked otherwise) and what is not:
//! - The next page begins behind the rows received, not behind the rows asked for: a server may
//!   clamp a page without a word.
//! - Only a page with fewer than 25 rows is surely the last. Any other end is an empty page.
//! - More rows than asked for: the range is ignored, and that page is the whole list.
//! - A page with nothing new: one row is asked for. More come back: the range is ignored, and the
//!   first page was the whole list. Else the pages make no whole: an error.
//! - A refusal (400, 404, 416, 422) behind the first page may mean "past the end" or anything
//!   else. The rows from the last one received are asked for again: fewer than 25 prove the end.
//! - Rows shift while they are read, so they are told apart by key; the last reading wins.
//!
//! Once a second page has shown that the range is honoured, pages are read several at a time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use foldhash::fast::RandomState;
use futures_util::stream::{self, StreamExt as _};

use super::transport::Range;
use super::{Endpoint, Error, PageSize, Reason};
use crate::snapshot::Text;

/// The documented size of a page: what has fewer rows is surely the last.
const DOCUMENTED_PAGE: usize = 25;

/// Most pages of one list: half a million rows at the documented size. A server that never ends
/// is cut off here, if the run's deadline has not done it.
const MAX_PAGES: usize = 20_000;

/// A page of a list.
pub(super) trait Page {
    /// Number of its rows.
    fn len(&self) -> usize;
}

impl<T> Page for Vec<T> {
    fn len(&self) -> usize {
        self.len()
    }
}

/// What pages are put together to.
pub(super) trait Rows<P> {
    /// Takes over a page; returns how many of its rows are new.
    fn take(&mut self, page: P) -> usize;
}

/// Reads the list of `endpoint` by pages of `ask` rows, at most `window` at a time, with `fetch`,
/// into `list`. Returns what the pages tell of the server's largest one.
pub(super) async fn read_all<P, Fetch, Answer>(
    endpoint: Endpoint,
    ask: usize,
    window: usize,
    list: &mut impl Rows<P>,
    fetch: Fetch,
) -> Result<PageSize, Error>
where
    P: Page,
    Fetch: Fn(Range) -> Answer,
    Answer: Future<Output = Result<P, Error>>,
{
    let ask = ask.max(1);
    let mut next = 0;
    let mut pages = 0;
    // Pages asked for ahead: `batch` of them, each expected to bring `stride` rows.
    let (mut batch, mut stride) = (1, ask);
    let mut told = PageSize::AtLeast(0);
    loop {
        let starts = stream::iter((0..batch).map(move |page| next + page * stride));
        let mut answers =
            std::pin::pin!(starts.map(|start| fetch(Range { start, results: ask })).buffered(window.max(1)));
        let mut even = true;
        while let (true, Some(answer)) = (even, answers.next().await) {
            let rows = match answer {
                Err(error) if next > 0 && may_mean_the_end(&error) => {
                    let rows = fetch(Range { start: next - 1, results: ask.max(DOCUMENTED_PAGE) }).await?;
                    if rows.len() >= DOCUMENTED_PAGE {
                        return Err(error_at(endpoint, next, "are refused, although the list goes on")
                            .caused_by(error));
                    }
                    list.take(rows);
                    return Ok(told);
                }
                answer => answer?,
            };
            let count = rows.len();
            let news = list.take(rows);
            // The page before was short, and yet not the last.
            if news > 0
                && let PageSize::AtLeast(clamp @ 1..) = told
            {
                told = PageSize::Clamped(clamp);
            }
            if count > ask {
                return Ok(PageSize::RangeIgnored);
            }
            told = match told {
                PageSize::AtLeast(0) if count < ask => PageSize::AtLeast(count as u64),
                PageSize::AtLeast(0) => PageSize::AsAsked,
                told => told,
            };
            if count < ask.min(DOCUMENTED_PAGE) {
                return Ok(told);
            }
            if news == 0 {
                if fetch(Range { start: 0, results: 1 }).await?.len() > 1 {
                    return Ok(PageSize::RangeIgnored);
                }
                return Err(error_at(endpoint, next, "are all known already"));
            }
            next += count;
            pages += 1;
            if pages >= MAX_PAGES {
                return Err(Error::new(endpoint, Reason::TooLarge)
                    .message(&format!("the list has more than {MAX_PAGES} pages")));
            }
            even = count == stride;
            stride = count;
        }
        batch = if even && pages > 1 { batch * 2 } else { 1 };
    }
}

/// Whether a refusal can be the answer to a range behind the end.
fn may_mean_the_end(error: &Error) -> bool {
    matches!(error.status, Some(400 | 404 | 416 | 422))
}

fn error_at(endpoint: Endpoint, start: usize, what: &str) -> Error {
    Error::new(endpoint, Reason::Paging).message(&format!("the rows from {start} on {what}"))
}

/// Rows that are distinct by their key, in the order in which each was first met; the last reading of
/// each.
pub(super) struct List<T> {
    rows: Vec<T>,
    places: HashMap<Text, usize, RandomState>,
    key: fn(&T) -> &Text,
}

impl<T> List<T> {
    pub fn new(key: fn(&T) -> &Text) -> Self {
        Self { rows: Vec::new(), places: HashMap::default(), key }
    }

    /// Adds rows; returns how many are new.
    pub fn add(&mut self, rows: impl Iterator<Item = T>) -> usize {
        let before = self.rows.len();
        for row in rows {
            match self.places.entry((self.key)(&row).clone()) {
                Entry::Occupied(place) => self.rows[*place.get()] = row,
                Entry::Vacant(place) => {
                    place.insert(self.rows.len());
                    self.rows.push(row);
                }
            }
        }
        self.rows.len() - before
    }

    pub fn into_rows(self) -> Vec<T> {
        self.rows
    }
}

impl<T> Rows<Vec<T>> for List<T> {
    fn take(&mut self, page: Vec<T>) -> usize {
        self.add(page.into_iter())
    }
}

/// Unreadable rows (`None`) count as rows of the page, but are omitted from the list.
impl<T> Rows<Vec<Option<T>>> for List<T> {
    fn take(&mut self, page: Vec<Option<T>>) -> usize {
        self.add(page.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests;

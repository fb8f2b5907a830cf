//! What a run saw of each endpoint, for people who check a configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::Endpoint;
use super::defects::Defects;
use super::unknown::UnknownFields;

/// What the pages of a list tell of the largest page that the server gives; nothing documents it.
/// In the order of how much they tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PageSize {
    /// The whole list came as one page of so many rows, shorter than asked for: it may give more.
    AtLeast(u64),
    /// It gives as many as were asked for.
    AsAsked,
    /// It gave so many, fewer than asked for, although the list went on.
    Clamped(u64),
    /// It gives the whole list, whatever is asked for.
    RangeIgnored,
}

/// One endpoint's share of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Requests sent, retries included.
    pub requests: u64,
    /// HTTP status of the last answer, if there was one.
    pub last_status: Option<u16>,
    /// Answers read as pages of a list or as single objects.
    pub pages: u64,
    /// Rows in them, repeated ones included; an object is one, the monthly report has one a VM.
    pub rows: u64,
    /// Rows of the largest page.
    pub largest_page: u64,
    /// Of whole lists, what their pages tell of the server's largest page.
    pub page_size: Option<PageSize>,
    /// Bytes of their bodies, after decompression.
    pub bytes: u64,
    /// Time that the requests took, added up (several may run at once).
    pub elapsed: Duration,
}

/// What a run has met so far.
#[derive(Default)]
pub(super) struct Met {
    pub unknown: BTreeMap<Endpoint, UnknownFields>,
    pub defects: BTreeMap<Endpoint, Defects>,
    pub statistics: BTreeMap<Endpoint, Statistics>,
    /// The newest answer's `Date`, and when it came.
    pub date: Option<(Timestamp, Instant)>,
    /// End of the latest `Retry-After`: the server accepts no further request before this time.
    pub not_before: Option<Instant>,
    /// End of the `Retry-After` of the latest 429. It applies to all requests of the run, because a 429
    /// limits the client and not one request.
    pub limited_until: Option<Instant>,
}

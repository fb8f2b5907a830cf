//! What a run saw of each endpoint, for people who check a configuration.

use std::time::Duration;

/// One endpoint's share of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Requests sent, retries included.
    pub requests: u64,
    /// HTTP status of the last answer, if there was one.
    pub last_status: Option<u16>,
    /// Answers read as pages of a list or as single objects.
    pub pages: u64,
    /// Rows in them, repeated ones included; an object is one.
    pub rows: u64,
    /// Rows of the largest page: what the server gives at most, if lists are longer than that.
    pub largest_page: u64,
    /// Bytes of their bodies, after decompression.
    pub bytes: u64,
    /// Time that the requests took, added up (several may run at once).
    pub elapsed: Duration,
}

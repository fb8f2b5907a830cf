//! Bounds of the rows and bytes that one list and one run receive.
//!
//! `api.max_body` bounds one response. Without these bounds, a list of ever new ids, or rows with names of
//! megabytes, would fill the memory although each response is small. The monthly report is one response
//! that is never combined with others, so only `api.max_body` bounds it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytesize::ByteSize;

/// Maximum number of rows of one list. A row of a VM takes about 700 bytes of memory. The largest fleet that
/// was tested has 300,000 VMs.
pub(super) const MAX_LIST_ROWS: u64 = 400_000;

/// Maximum number of rows of one run.
const MAX_RUN_ROWS: u64 = 500_000;

/// Maximum number of bytes of one list, if `api.max_body` is not larger. A VM has about 1 KiB.
const MAX_LIST_BYTES: u64 = 400 << 20;

/// Maximum number of bytes of one run, if twice `api.max_body` is not larger.
const MAX_RUN_BYTES: u64 = 512 << 20;

/// Maximum average size of a row, in bytes. It is needed because the exporter stores texts unchanged.
const MAX_ROW_BYTES: u64 = 4 << 10;

/// Size of a list or run up to which rows may be larger than [`MAX_ROW_BYTES`], in bytes.
const ROW_SLACK: u64 = 64 << 20;

/// Rows and bytes that a list or a run has received so far, and their bounds.
#[derive(Debug)]
pub(super) struct Volume {
    kind: &'static str,
    max_rows: u64,
    max_bytes: u64,
    rows: AtomicU64,
    /// Bytes of the parsed responses.
    parsed: AtomicU64,
    /// Bytes of all responses, also of those in progress.
    received: AtomicU64,
}

/// A bound that was exceeded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exceeded {
    kind: &'static str,
    bound: Bound,
}

#[derive(Debug, PartialEq, Eq)]
enum Bound {
    Rows(u64),
    Bytes(u64),
    RowBytes(u64),
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind;
        match self.bound {
            Bound::Rows(rows) => write!(f, "the {kind} has more than {rows} rows"),
            Bound::Bytes(bytes) => write!(f, "the {kind} has more than {}", ByteSize(bytes)),
            Bound::RowBytes(bytes) => {
                write!(f, "the rows of the {kind} have more than {} on average", ByteSize(bytes))
            }
        }
    }
}

impl Volume {
    /// The bounds of one list, if a response may have `max_body` bytes.
    pub fn of_list(max_body: u64) -> Arc<Self> {
        Self::new("list", MAX_LIST_ROWS, MAX_LIST_BYTES.max(max_body))
    }

    /// The bounds of one run.
    pub fn of_run(max_body: u64) -> Arc<Self> {
        Self::new("run", MAX_RUN_ROWS, MAX_RUN_BYTES.max(max_body.saturating_mul(2)))
    }

    fn new(kind: &'static str, max_rows: u64, max_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            kind,
            max_rows,
            max_bytes,
            rows: AtomicU64::new(0),
            parsed: AtomicU64::new(0),
            received: AtomicU64::new(0),
        })
    }

    /// Counts the rows and bytes of a parsed response.
    pub fn add_parsed(&self, rows: u64, bytes: u64) -> Result<(), Exceeded> {
        let rows = self.rows.fetch_add(rows, Ordering::Relaxed) + rows;
        let parsed = self.parsed.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if rows > self.max_rows {
            return Err(self.exceeded(Bound::Rows(self.max_rows)));
        }
        if parsed > ROW_SLACK + MAX_ROW_BYTES * rows {
            return Err(self.exceeded(Bound::RowBytes(MAX_ROW_BYTES)));
        }
        Ok(())
    }

    fn add_received(&self, bytes: u64) -> Result<(), Exceeded> {
        let received = self.received.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if received > self.max_bytes {
            return Err(self.exceeded(Bound::Bytes(self.max_bytes)));
        }
        Ok(())
    }

    fn exceeded(&self, bound: Bound) -> Exceeded {
        Exceeded { kind: self.kind, bound }
    }
}

/// The bytes of one response, which are added to its list and its run. If the response fails, dropping this value
/// subtracts the bytes again.
pub(super) struct Receiving<'a> {
    volumes: &'a [Arc<Volume>],
    bytes: u64,
}

impl<'a> Receiving<'a> {
    pub fn new(volumes: &'a [Arc<Volume>]) -> Self {
        Self { volumes, bytes: 0 }
    }

    /// Counts bytes that have arrived.
    pub fn add(&mut self, bytes: u64) -> Result<(), Exceeded> {
        self.bytes += bytes;
        self.volumes.iter().try_for_each(|volume| volume.add_received(bytes))
    }

    /// Keeps the bytes of a complete response in the count.
    pub fn complete(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Receiving<'_> {
    fn drop(&mut self) {
        for volume in self.volumes {
            // After a refusal the count can be too low by one chunk per response.
            let rest = |received: u64| Some(received.saturating_sub(self.bytes));
            let _ = volume.received.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn rows_bytes_and_large_rows_are_bounded() {
        let list = || Volume::of_list(256 * MIB);
        let message = |result: Result<(), Exceeded>| result.unwrap_err().to_string();
        let rows = list();
        assert_eq!(rows.add_parsed(MAX_LIST_ROWS, 1024 * MAX_LIST_ROWS), Ok(()));
        assert_eq!(message(rows.add_parsed(1, 1024)), "the list has more than 400000 rows");
        let large = list();
        assert_eq!(large.add_parsed(100, 64 * MIB), Ok(()));
        let expected = "the rows of the list have more than 4.0 KiB on average";
        assert_eq!(message(large.add_parsed(1, MIB)), expected);
        let volumes = [list(), Volume::of_run(256 * MIB)];
        let mut receiving = Receiving::new(&volumes);
        assert_eq!(receiving.add(400 * MIB), Ok(()));
        assert_eq!(message(receiving.add(1)), "the list has more than 400.0 MiB");
    }

    #[test]
    fn failed_responses_do_not_count() {
        let volumes = [Volume::of_list(256 * MIB)];
        for _ in 0..10 {
            assert_eq!(Receiving::new(&volumes).add(300 * MIB), Ok(()));
        }
        let mut receiving = Receiving::new(&volumes);
        assert_eq!(receiving.add(300 * MIB), Ok(()));
        receiving.complete();
        assert!(Receiving::new(&volumes).add(300 * MIB).is_err());
    }

    #[test]
    fn a_larger_body_is_allowed_in_a_list() {
        let volumes = [Volume::of_list(2048 * MIB)];
        assert_eq!(Receiving::new(&volumes).add(2048 * MIB), Ok(()));
    }

    #[test]
    fn runs_are_bounded_over_all_their_lists() {
        let message = |result: Result<(), Exceeded>| result.unwrap_err().to_string();
        let run = Volume::of_run(256 * MIB);
        assert_eq!(run.add_parsed(MAX_RUN_ROWS, 1024 * MAX_RUN_ROWS), Ok(()));
        assert_eq!(message(run.add_parsed(1, 1024)), "the run has more than 500000 rows");
        let run = Volume::of_run(256 * MIB);
        let one_list = |bytes| {
            let volumes = [Volume::of_list(256 * MIB), Arc::clone(&run)];
            let mut receiving = Receiving::new(&volumes);
            let added = receiving.add(bytes);
            receiving.complete();
            added
        };
        assert_eq!(one_list(300 * MIB), Ok(()));
        assert_eq!(one_list(212 * MIB), Ok(()));
        assert_eq!(message(one_list(1)), "the run has more than 512.0 MiB");
    }
}

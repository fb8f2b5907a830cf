//! Figures about the ledger, for the exporter's own series.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::LedgerError;
use crate::observe::Step;
use crate::period::seconds_between;

/// What the ledger has done since it was opened. Times are seconds since 1970, 0 is never.
#[derive(Debug)]
pub struct Statistics {
    path: PathBuf,
    /// Events recorded.
    pub events: AtomicU64,
    /// Polls recorded.
    pub polls: AtomicU64,
    /// Failures by the place of their reason in [`LedgerError::REASONS`].
    failures: [AtomicU64; LedgerError::REASONS.len()],
    /// Time of the newest recorded poll.
    pub last_commit: AtomicI64,
    /// Longest time between two recorded polls of a tenant, in seconds, with the one that ended at
    /// the first poll after the start.
    pub longest_gap: AtomicU64,
}

impl Statistics {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            events: AtomicU64::default(),
            polls: AtomicU64::default(),
            failures: Default::default(),
            last_commit: AtomicI64::default(),
            longest_gap: AtomicU64::default(),
        }
    }

    pub(super) fn recorded(&self, step: &Step) {
        self.events.fetch_add(step.events.len() as u64, Ordering::Relaxed);
        self.polls.fetch_add(1, Ordering::Relaxed);
        self.last_commit.store(step.at.as_second(), Ordering::Relaxed);
        if let Some(previous) = step.previous {
            self.longest_gap.fetch_max(seconds_between(previous, step.at), Ordering::Relaxed);
        }
    }

    pub(super) fn failed(&self, error: &LedgerError) {
        if let Ok(place) = LedgerError::REASONS.binary_search(&error.reason()) {
            self.failures[place].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Failures by reason, in the order of reasons.
    pub fn failures(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.failures.iter().map(|count| count.load(Ordering::Relaxed));
        LedgerError::REASONS.into_iter().zip(counts)
    }

    /// Bytes of the ledger's files; `None` if that cannot be told.
    #[must_use]
    pub fn size_bytes(&self) -> Option<u64> {
        let main = std::fs::metadata(&self.path).ok()?.len();
        let mut wal = self.path.as_os_str().to_owned();
        wal.push("-wal");
        Some(main + std::fs::metadata(wal).map_or(0, |wal| wal.len()))
    }

    /// Bytes that the ledger's file system still has for this process; `None` if that cannot be told.
    #[must_use]
    pub fn free_bytes(&self) -> Option<u64> {
        let file_system = rustix::fs::statvfs(&self.path).ok()?;
        file_system.f_bavail.checked_mul(file_system.f_frsize)
    }
}

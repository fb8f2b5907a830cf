//! Figures about the ledger, for the exporter's own series.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::LedgerError;
use crate::observe::Step;
use crate::period::seconds_between;

/// How old a look at the files may be to be told.
const OLDEST: Duration = Duration::from_mins(1);

/// The ledger's files and their disk, as a look found them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Files {
    at: Instant,
    /// Bytes of the files; `None` if that cannot be told.
    pub size: Option<u64>,
    /// Bytes that their file system still has for this process; `None` if that cannot be told.
    pub free: Option<u64>,
}

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
    files: Mutex<Option<Files>>,
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
            files: Mutex::default(),
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

    /// Looks at the files, for as long as the disk takes.
    pub fn look(&self) {
        let found = Files { at: Instant::now(), size: self.size(), free: self.free() };
        *self.files.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
    }

    /// What the newest look found, at once; `None` if there is none of late, as when the disk hangs.
    #[must_use]
    pub fn files(&self) -> Option<Files> {
        self.files_at(Instant::now())
    }

    fn files_at(&self, now: Instant) -> Option<Files> {
        let newest = *self.files.lock().unwrap_or_else(PoisonError::into_inner);
        newest.filter(|found| now.saturating_duration_since(found.at) <= OLDEST)
    }

    pub(super) fn size(&self) -> Option<u64> {
        let main = std::fs::metadata(&self.path).ok()?.len();
        let mut wal = self.path.as_os_str().to_owned();
        wal.push("-wal");
        Some(main + std::fs::metadata(wal).map_or(0, |wal| wal.len()))
    }

    fn free(&self) -> Option<u64> {
        let file_system = rustix::fs::statvfs(&self.path).ok()?;
        file_system.f_bavail.checked_mul(file_system.f_frsize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_as_the_newest_look_found_them_and_not_for_long() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let statistics = Statistics::new(&path);
        assert_eq!(statistics.files(), None);
        std::fs::write(&path, "123").unwrap();
        statistics.look();
        std::fs::write(&path, "12345").unwrap();
        let found = statistics.files().unwrap();
        assert_eq!(found.size, Some(3), "nobody looked again");
        assert!(found.free.is_some());
        statistics.look();
        assert_eq!(statistics.files().unwrap().size, Some(5));
        let late = Instant::now() + OLDEST + Duration::from_secs(1);
        assert_eq!(statistics.files_at(late), None);
        std::fs::remove_file(&path).unwrap();
        statistics.look();
        assert_eq!(statistics.files().unwrap().size, None);
    }
}

//! Which file on disk an open ledger is: a ledger that was deleted or replaced while it is open would
//! take writes that are never seen again.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Device and inode of a file.
type FileId = (u64, u64);

/// The file of an open ledger, and of its write-ahead log once that exists.
#[derive(Debug)]
pub(super) struct Identity {
    path: PathBuf,
    file: Option<FileId>,
    log: Option<FileId>,
}

/// What became of the files of an open ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// They are the files that were opened.
    Same,
    /// The ledger does not exist any more.
    Deleted,
    /// Another file is in the place of the ledger or of its log.
    Replaced,
}

impl Identity {
    /// The files as they are now.
    pub fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), file: id(path), log: id(&log_path(path)) }
    }

    /// Compares the files with those that were opened. A log that appears is that of the ledger.
    pub fn check(&mut self) -> Fate {
        let (file, log) = (id(&self.path), id(&log_path(&self.path)));
        if file.is_none() {
            return Fate::Deleted;
        }
        if file != self.file || (self.log.is_some() && log != self.log) {
            return Fate::Replaced;
        }
        self.log = log;
        Fate::Same
    }
}

/// The path of the write-ahead log.
pub(super) fn log_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

fn id(path: &Path) -> Option<FileId> {
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn deleted_and_replaced_files_are_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        fs::write(&path, "a").unwrap();
        let mut identity = Identity::of(&path);
        fs::write(log_path(&path), "log").unwrap();
        assert_eq!(identity.check(), Fate::Same, "a log appears");
        let aside = folder.path().join("aside");
        fs::rename(&path, &aside).unwrap();
        assert_eq!(identity.check(), Fate::Deleted);
        fs::write(&path, "b").unwrap();
        assert_eq!(identity.check(), Fate::Replaced);
        fs::rename(&aside, &path).unwrap();
        assert_eq!(identity.check(), Fate::Same, "it is back");
        fs::rename(log_path(&path), &aside).unwrap();
        assert_eq!(identity.check(), Fate::Replaced, "the log is gone");
    }
}

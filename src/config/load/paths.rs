//! Files and directories that the configuration names: where they are, and what is wrong with them.

use std::path::{Path, PathBuf};

use crate::config::{Config, TokenSource};
use crate::filesystem::absolute;

/// Rules for finding and checking the files that the configuration names. A missing file is reported together with
/// all other problems.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    /// The directory that relative paths are relative to, absolute. `None`: paths stay as they are written.
    pub directory: Option<&'a Path>,
    /// What is wrong with the token of the tenant of this name; never the token.
    pub token: &'a dyn Fn(&str, &TokenSource) -> Option<String>,
    /// What is wrong with the file of `api.ca_file`.
    pub ca_file: fn(&Path) -> Option<String>,
}

impl Look<'static> {
    /// Checks nothing and resolves no path, for commands that send no requests to the API.
    pub const AT_NOTHING: Self = Self { directory: None, token: &|_, _| None, ca_file: |_| None };
}

impl Look<'_> {
    /// Returns the place of a path that is written in the file.
    pub(super) fn resolve(&self, written: PathBuf) -> PathBuf {
        self.directory.map_or(written.clone(), |directory| absolute(&directory.join(written)))
    }

    /// Returns the place of the ledger, whose path is written in the file.
    ///
    /// # Errors
    /// There is no ledger at this place, but one at the place that version 0.1.0 used. A new ledger would lose the
    /// observations of the old one.
    pub(super) fn resolve_ledger(&self, written: PathBuf) -> Result<PathBuf, String> {
        let previous = absolute(&written);
        let is_relative = written.is_relative();
        let path = self.resolve(written);
        if self.directory.is_none() || !is_relative || path == previous || path.exists() || !previous.exists()
        {
            return Ok(path);
        }
        Err(format!(
            "there is no ledger at {}, but one at {}, where version 0.1.0 stored it: a relative path in a file is now \
             relative to the directory of the file; move the ledger (with its files whose names end in -wal and -shm), \
             or write its absolute path",
            path.display(),
            previous.display()
        ))
    }
}

/// Returns a warning if `report.directory` does not exist, but a directory exists at the path that version 0.1.0
/// used; otherwise `None`.
pub(super) fn moved_reports(config: &Config, of_file: &Path) -> Option<String> {
    let directory = &config.report.directory;
    let previous = absolute(directory.strip_prefix(of_file).ok()?);
    (previous != *directory && !directory.exists() && previous.is_dir()).then(|| {
        format!(
            "report.directory is {}, which does not exist, but {} exists, which version 0.1.0 would have used; move it, or \
             write its absolute path",
            directory.display(),
            previous.display()
        )
    })
}

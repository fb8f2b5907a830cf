//! A tenant's folder of reports: how a month appears in it at once, and only once.
//!
//! A month is written into a temporary folder beside its place, synced, and renamed. A lock keeps
//! processes from doing so together; without it (a file system that has none over hosts) the rename
//! still never replaces a report.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use fail::fail_point;

use super::files::write_all;
use super::storage::{self, NewFolder, TEMPORARY};
use super::tally::Tally;
use super::{Inputs, Published, ReportError, Revision, index, published};
use crate::filesystem;
use crate::period::Month;

/// Name of the file whose lock a writer holds.
const LOCK: &str = ".lock";

/// Longest wait for the lock: writing a large month takes a few seconds, and leaving the program
/// must not take more than ten.
const LOCK_WAIT: Duration = Duration::from_secs(8);

/// How often the lock is tried.
const LOCK_TRY: Duration = Duration::from_millis(20);

/// What became of a month that was to be closed.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It was written now.
    Written(Published),
    /// It was there.
    Already(Published),
}

impl Outcome {
    /// The report, whoever wrote it.
    #[must_use]
    pub fn published(&self) -> &Published {
        match self {
            Self::Written(published) | Self::Already(published) => published,
        }
    }
}

/// `<directory>/<tenant>`: the reports of one tenant.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    tenant: String,
    /// Seconds of the open difference of each closed month that has one, for the index.
    open_differences: BTreeMap<Month, u64>,
}

impl Folder {
    /// Opens the tenant's directory as [`Folder::open_with`] does, without open differences.
    pub fn open(directory: &Path, tenant: &str) -> Result<Self, ReportError> {
        Self::open_with(directory, tenant, BTreeMap::new())
    }

    /// Opens the tenant's folder, or creates it. What a crash left behind goes, and the index is put
    /// right, unless another process is writing just now.
    ///
    /// `open_differences` are the seconds of each closed month's open difference, for the index.
    pub fn open_with(
        directory: &Path,
        tenant: &str,
        open_differences: BTreeMap<Month, u64>,
    ) -> Result<Self, ReportError> {
        let path = directory.join(tenant);
        let mut parts = Path::new(tenant).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
            return Err(ReportError::storage(&path, io::ErrorKind::InvalidFilename.into()));
        }
        storage::create_folder(&path)?;
        let folder = Self { path, tenant: tenant.to_owned(), open_differences };
        // Whoever only reads may do so on a read-only file system: nothing here is needed for that.
        if let Ok(Some(_lock)) = folder.try_lock()
            && let Err(error) = folder.tidy()
        {
            tracing::warn!(tenant, %error, "the folder of reports cannot be put in order");
        }
        Ok(folder)
    }

    /// The tenant's folder as it is, for reading: nothing is made or put in order.
    #[must_use]
    pub fn existing(directory: &Path, tenant: &str) -> Self {
        let (path, tenant) = (directory.join(tenant), tenant.to_owned());
        Self { path, tenant, open_differences: BTreeMap::new() }
    }

    /// Seconds of the open difference of a month; 0 if it has none.
    pub(super) fn open_difference(&self, month: Month) -> u64 {
        self.open_differences.get(&month).copied().unwrap_or_default()
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Name of the tenant.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The newest revision of a closed month; `None` if it is not closed. A revision whose manifest
    /// is missing or damaged is an error: it is not for this program to judge what it was.
    pub fn current(&self, month: Month) -> Result<Option<Published>, ReportError> {
        self.newest_revision(month)?.map(|revision| self.read(month, revision)).transpose()
    }

    /// The number of the month's newest revision, whole or not.
    pub fn newest_number(&self, month: Month) -> Result<Option<u32>, ReportError> {
        Ok(self.newest_revision(month)?.map(Revision::number))
    }

    /// The newest closed month.
    pub fn newest(&self) -> Result<Option<Published>, ReportError> {
        for month in self.months()?.into_iter().rev() {
            if let Some(published) = self.current(month)? {
                return Ok(Some(published));
            }
        }
        Ok(None)
    }

    /// The current revision of every closed month, oldest first; one that is damaged is an error of
    /// its own and hides no other.
    pub fn list(&self) -> Result<Vec<Result<Published, ReportError>>, ReportError> {
        let months = self.months()?;
        Ok(months.into_iter().filter_map(|month| self.current(month).transpose()).collect())
    }

    /// Waits until no other process writes here.
    pub fn turn(&self) -> Result<Turn<'_>, ReportError> {
        Ok(Turn { folder: self, _lock: self.lock()? })
    }

    /// Where a revision of a month is, or would be.
    #[must_use]
    pub fn of_revision(&self, month: Month, revision: u32) -> PathBuf {
        self.month(month).join(Revision::Final(revision).folder())
    }

    /// A revision of a month; `None` if it is not there.
    pub fn revision(&self, month: Month, revision: u32) -> Result<Option<Published>, ReportError> {
        let revision = Revision::Final(revision);
        match self.month(month).join(revision.folder()).symlink_metadata() {
            Ok(_) => self.read(month, revision).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ReportError::storage(&self.month(month), error)),
        }
    }

    /// Replaces the provisional report on a month.
    pub fn provisional(&self, inputs: &Inputs<'_>) -> Result<Published, ReportError> {
        let tally = Tally::of(inputs)?;
        let _lock = self.lock()?;
        let month = self.month(inputs.month);
        let target = month.join(Revision::Provisional.folder());
        let (written, _) = self.write(inputs, Revision::Provisional, None, &tally)?;
        let aside = storage::temporary(&month, "replaced".as_ref());
        match fs::rename(&target, &aside) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(ReportError::storage(&target, error)),
        }
        if let Err(error) = written.publish(&target) {
            // Better the old one than none.
            let _ = fs::rename(&aside, &target);
            return Err(ReportError::storage(&target, error));
        }
        storage::sync_folder(&month)?;
        if aside.exists() {
            fs::remove_dir_all(&aside).map_err(ReportError::at(&aside))?;
        }
        self.read(inputs.month, Revision::Provisional)
    }

    /// Writes all files into a temporary folder of the month's; with the digest.
    fn write(
        &self,
        inputs: &Inputs<'_>,
        revision: Revision,
        previous: Option<&Published>,
        tally: &Tally<'_>,
    ) -> Result<(NewFolder, String), ReportError> {
        let month = self.month(inputs.month);
        storage::create_folder(&month)?;
        let folder = NewFolder::create(&month, &revision.folder())?;
        let digest = write_all(folder.path(), inputs, revision, previous, tally)?;
        Ok((folder, digest))
    }

    fn read(&self, month: Month, revision: Revision) -> Result<Published, ReportError> {
        let path = self.month(month).join(revision.folder());
        Published::read(&path, &self.tenant, month, revision)
            .map_err(|problem| ReportError::Revision { path, problem })
    }

    fn month(&self, month: Month) -> PathBuf {
        self.path.join(month.to_string())
    }

    /// Months that have a folder, oldest first.
    fn months(&self) -> Result<Vec<Month>, ReportError> {
        Ok(storage::names(&self.path)?.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// The months that are closed, whole or not, oldest first.
    pub fn closed(&self) -> Result<Vec<Month>, ReportError> {
        let mut closed = Vec::new();
        for month in self.months()? {
            if self.newest_revision(month)?.is_some() {
                closed.push(month);
            }
        }
        Ok(closed)
    }

    fn newest_revision(&self, month: Month) -> Result<Option<Revision>, ReportError> {
        let names = storage::names(&self.month(month))?;
        Ok(names.iter().filter_map(|name| Revision::of_folder(name)).max())
    }

    /// Every revision of every month and provisional reports, as month and name of the folder; oldest
    /// month first.
    pub fn revisions_of_all(&self) -> Result<Vec<(Month, String)>, ReportError> {
        let mut all = Vec::new();
        for month in self.months()? {
            let names = storage::names(&self.month(month))?;
            let known = |name: &String| Revision::named(name).is_some();
            all.extend(names.into_iter().filter(known).map(|name| (month, name)));
        }
        Ok(all)
    }

    /// The report in a month's folder of this name; `None` if there is none, or if that is no name
    /// of a report.
    pub fn named(&self, month: Month, folder: &str) -> Result<Option<Published>, ReportError> {
        match Revision::named(folder) {
            Some(revision) if self.month(month).join(revision.folder()).is_dir() => {
                self.read(month, revision).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Of every closed month the directory of its current revision, relative to this one, and the
    /// seconds of its open difference.
    fn revisions(&self) -> Result<Vec<(String, u64)>, ReportError> {
        let mut revisions = Vec::new();
        for month in self.months()? {
            if let Some(revision) = self.newest_revision(month)? {
                let directory = format!("{month}/{}", revision.folder());
                revisions.push((directory, self.open_difference(month)));
            }
        }
        Ok(revisions)
    }

    /// Removes what crashes left behind and repairs the index. The caller holds the lock.
    fn tidy(&self) -> Result<(), ReportError> {
        let months = self.months()?.into_iter().map(|month| self.month(month));
        for folder in months.chain([self.path.clone()]) {
            for name in storage::names(&folder)?.iter().filter(|name| name.starts_with(TEMPORARY)) {
                let path = folder.join(name);
                let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                match removed {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(ReportError::storage(&path, error));
                    }
                    _ => tracing::info!(path = %path.display(), "removed what was left unfinished"),
                }
            }
        }
        if index::lists(self, &self.revisions()?) { Ok(()) } else { index::rewrite(self) }
    }

    fn lock_file(&self) -> Result<(PathBuf, File), ReportError> {
        let path = self.path.join(LOCK);
        let file = filesystem::open_lock(&path).map_err(ReportError::at(&path))?;
        Ok((path, file))
    }

    /// The lock, if it is free. It lasts as long as the file is open.
    fn try_lock(&self) -> Result<Option<File>, ReportError> {
        let (path, file) = self.lock_file()?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(ReportError::storage(&path, error)),
        }
    }

    /// The lock, waited for.
    fn lock(&self) -> Result<File, ReportError> {
        let until = Instant::now() + LOCK_WAIT;
        loop {
            if let Some(lock) = self.try_lock()? {
                return Ok(lock);
            }
            if Instant::now() >= until {
                return Err(ReportError::Locked(self.path.clone()));
            }
            std::thread::sleep(LOCK_TRY);
        }
    }
}

/// The turn of a process to write: nobody else does as long as it lasts.
#[derive(Debug)]
pub struct Turn<'a> {
    folder: &'a Folder,
    _lock: File,
}

/// A revision that is written, but that nobody sees yet. Dropped, it goes.
#[derive(Debug)]
pub struct Prepared {
    written: NewFolder,
    month: Month,
    revision: Revision,
    /// SHA-256, in hexadecimal, of its file of checksums, which names every other file.
    pub digest: String,
}

impl Turn<'_> {
    /// Writes a revision, whole and durable, under a temporary name. `previous` is the revision that
    /// it replaces, for the list of changes.
    pub fn prepare(
        &self,
        inputs: &Inputs<'_>,
        revision: u32,
        previous: Option<&Published>,
    ) -> Result<Prepared, ReportError> {
        let (month, fetched_at) = (inputs.month, inputs.fetched_at);
        if fetched_at < month.period().end {
            return Err(ReportError::NotEnded { month, fetched_at });
        }
        let revision = Revision::Final(revision);
        let tally = Tally::of(inputs)?;
        let (written, digest) = self.folder.write(inputs, revision, previous, &tally)?;
        Ok(Prepared { written, month, revision, digest })
    }

    /// Makes a revision appear at its place, and in the index.
    pub fn publish(&self, prepared: Prepared) -> Result<Outcome, ReportError> {
        let Prepared { written, month, revision, .. } = prepared;
        let parent = self.folder.month(month);
        let target = parent.join(revision.folder());
        match written.publish(&target) {
            Ok(()) => {}
            // A process on another host, whose lock is not ours, was quicker.
            Err(_) if target.is_dir() => {
                return Ok(Outcome::Already(self.folder.read(month, revision)?));
            }
            Err(error) => return Err(ReportError::storage(&target, error)),
        }
        fail_point!("report::renamed", |_| std::process::abort());
        storage::sync_folder(&parent)?;
        index::rewrite(self.folder)?;
        Ok(Outcome::Written(self.folder.read(month, revision)?))
    }

    /// Puts the files that a revision has lost back to their places. Nothing is touched if one that
    /// is there has other bytes.
    pub fn restore(&self, prepared: Prepared) -> Result<Published, ReportError> {
        let Prepared { written, month, revision, .. } = prepared;
        let target = self.folder.month(month).join(revision.folder());
        if target.is_symlink() {
            let problem = "it is a link, so nothing is made in it".to_owned();
            return Err(ReportError::Revision { path: target, problem });
        }
        let mut lost = Vec::new();
        for name in storage::names(written.path())? {
            let (whole, there) = (written.path().join(&name), target.join(&name));
            match published::same_bytes(&whole, &there).map_err(ReportError::at(&there))? {
                Some(true) => {}
                Some(false) => {
                    let problem = format!("{name} has been altered");
                    return Err(ReportError::Revision { path: target, problem });
                }
                None => lost.push((whole, there)),
            }
        }
        for (whole, there) in &lost {
            fs::rename(whole, there).map_err(ReportError::at(there))?;
        }
        storage::sync_folder(&target)?;
        self.folder.read(month, revision)
    }
}

/// Writes a provisional report straight into `out` and closes nothing. Files of an earlier copy are
/// replaced, each at once.
pub fn write_copy(inputs: &Inputs<'_>, out: &Path) -> Result<Published, ReportError> {
    let tally = Tally::of(inputs)?;
    storage::create_folder(out)?;
    let folder = NewFolder::create(out, "copy")?;
    write_all(folder.path(), inputs, Revision::Provisional, None, &tally)?;
    for name in storage::names(folder.path())? {
        let target = out.join(&name);
        fs::rename(folder.path().join(&name), &target).map_err(ReportError::at(&target))?;
    }
    storage::sync_folder(out)?;
    Published::read(out, inputs.tenant, inputs.month, Revision::Provisional)
        .map_err(|problem| ReportError::damaged(out, &problem))
}

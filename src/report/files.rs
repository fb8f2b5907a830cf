//! Files that are whole on the disk or not there at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use super::ReportError;

/// Everybody may read a report; its owner wrote it.
const MODE: u32 = 0o644;

/// Name of the file that a process holds while it writes into a tenant's folder.
const LOCK: &str = ".lock";

/// Beginning of the names of what is not whole yet.
const TEMPORARY: &str = ".tmp-";

/// How long to wait for another process that writes into the same folder.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// A written file: what the manifest and the checksums say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub name: String,
    pub sha256: String,
    pub bytes: u64,
}

/// A new file that is hashed and counted while it is written.
pub struct Hashed {
    path: PathBuf,
    name: String,
    file: BufWriter<File>,
    digest: Sha256,
    bytes: u64,
}

impl Hashed {
    /// Creates `name` in `folder`; it must not exist.
    pub fn create(folder: &Path, name: String) -> Result<Self, ReportError> {
        let path = folder.join(&name);
        let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&path);
        let file = file.map_err(|error| ReportError::storage(&path, error))?;
        Ok(Self { path, name, file: BufWriter::new(file), digest: Sha256::new(), bytes: 0 })
    }

    /// Brings everything to the disk.
    pub fn finish(mut self) -> Result<Written, ReportError> {
        let synced = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        synced.map_err(|error| ReportError::storage(&self.path, error))?;
        Ok(Written { name: self.name, sha256: hex(&self.digest.finalize()), bytes: self.bytes })
    }

    /// An error of this file.
    pub fn failed(&self, error: io::Error) -> ReportError {
        ReportError::storage(&self.path, error)
    }
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.digest.update(&bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// SHA-256 of a file on the disk.
pub fn sha256_of(path: &Path) -> Result<String, ReportError> {
    let read = || {
        let mut digest = Sha256::new();
        digest.update(fs::read(path)?);
        Ok(hex(&digest.finalize()))
    };
    read().map_err(|error| ReportError::storage(path, error))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A folder that becomes visible under its name once it is whole; dropped before, it is removed.
pub struct NewFolder {
    path: Option<PathBuf>,
}

impl NewFolder {
    /// An empty folder beside where it will be.
    pub fn create(parent: &Path, name: &str) -> Result<Self, ReportError> {
        let make = || {
            fs::create_dir_all(parent)?;
            let path = parent.join(format!("{TEMPORARY}{name}-{}", std::process::id()));
            remove_all(&path)?;
            fs::create_dir(&path)?;
            Ok(path)
        };
        let path = make().map_err(|error| ReportError::storage(parent, error))?;
        Ok(Self { path: Some(path) })
    }

    pub fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new(""))
    }

    /// Shows the folder as `to`, which must not exist: a folder that holds anything is never replaced.
    pub fn publish(mut self, to: &Path) -> Result<(), ReportError> {
        if to.exists() {
            return Err(ReportError::damaged(to, &"is there already"));
        }
        sync_folder(self.path())?;
        fs::rename(self.path(), to).map_err(|error| ReportError::storage(to, error))?;
        self.path = None;
        let parent = to.parent().unwrap_or(Path::new("."));
        sync_folder(parent)?;
        parent.parent().map_or(Ok(()), sync_folder)
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // What cannot be removed now is removed when the next report is written.
            let _ = fs::remove_dir_all(path);
        }
    }
}

/// Removes what a crash left half-written in `folder`.
pub fn remove_leftovers(folder: &Path) -> Result<(), ReportError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(ReportError::storage(folder, error)),
    };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            remove_all(&entry.path()).map_err(|error| ReportError::storage(&entry.path(), error))?;
        }
    }
    Ok(())
}

/// Removes a file or folder, if it is there.
pub fn remove_all(path: &Path) -> io::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes a small file whole: a temporary one in the same folder, synced, renamed, the folder synced.
///
/// # Errors
/// [`ReportError::Storage`]; the file that was there before is untouched then.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), ReportError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!("{TEMPORARY}{name}-{}", std::process::id()));
    let write = || {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    if let Err(error) = write() {
        let _ = fs::remove_file(&temporary);
        return Err(ReportError::storage(path, error));
    }
    sync_folder(folder)
}

fn sync_folder(folder: &Path) -> Result<(), ReportError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| ReportError::storage(folder, error))
}

/// Keeps other processes from writing into `folder` until it is dropped.
pub fn lock(folder: &Path) -> Result<File, ReportError> {
    let path = folder.join(LOCK);
    let storage = |error| ReportError::storage(&path, error);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(MODE)
        .open(&path)
        .map_err(storage)?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) if started.elapsed() < LOCK_PATIENCE => {
                // There is no lock with a time limit; the one who waits is on a thread for blocking work.
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(fs::TryLockError::WouldBlock) => return Err(ReportError::Locked(folder.to_owned())),
            Err(fs::TryLockError::Error(error)) => return Err(storage(error)),
        }
    }
}

//! File system calls whose result depends on the mount or on the user: syncing directories, creating files and
//! directories with the right owner, and opening lock files.
//!
//! The ledger and the reports use these functions, so that both behave equally on each file system and for each user.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Start of the name of every unfinished file and directory.
pub const TEMPORARY: &str = ".tmp-";

/// Returns the directory that contains `path`; the working directory for a bare name.
#[must_use]
pub fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Returns `path` as an absolute path, for messages and for paths that outlive the working directory. A
/// path that cannot be made absolute, because the working directory was removed, is returned unchanged.
#[must_use]
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Returns a path in `directory` that no other process or thread uses.
#[must_use]
pub fn temporary(directory: &Path, name: &std::ffi::OsStr) -> PathBuf {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let mut unique = std::ffi::OsString::from(TEMPORARY);
    unique.push(name);
    unique.push(format!("-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)));
    directory.join(unique)
}

/// Makes the names in `directory` durable.
///
/// A file system that cannot sync directories (EINVAL or ENOTSUP, as some versions of CIFS, vboxsf and FUSE
/// respond) is not an error, because no other call makes names durable there. The files themselves are synced.
///
/// # Errors
/// The directory cannot be opened, or the sync fails for another reason.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    match File::open(directory)?.sync_all() {
        Err(error) if is_unsupported(&error) => Ok(()),
        other => other,
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::NOTSUP))
}

/// User and group of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    user: u32,
    group: u32,
}

impl Owner {
    /// Returns the owner of `path` if this process runs as root and `path` belongs to another user. New files in
    /// such a directory get this owner, because the daemon that owns the directory must be able to use the files
    /// that `sudo flexvm-exporter report` writes.
    ///
    /// # Errors
    /// The path cannot be inspected.
    pub fn other_than_root(path: &Path) -> io::Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let metadata = fs::metadata(path)?;
        Ok((metadata.uid() != 0).then_some(Self { user: metadata.uid(), group: metadata.gid() }))
    }

    /// Gives an open file, which this process has created, to this owner.
    ///
    /// A file system without owners, or a root without the right to change them, is logged once and is not
    /// an error: the file is complete, and only its owner differs.
    ///
    /// # Errors
    /// The owner cannot be changed for another reason, such as an I/O error.
    pub fn take(self, file: impl AsFd) -> io::Result<()> {
        static LOGGED: Once = Once::new();
        match fchown(file, Some(self.user), Some(self.group)) {
            Err(error) if is_unsupported(&error) || error.kind() == io::ErrorKind::PermissionDenied => {
                LOGGED.call_once(|| {
                    tracing::warn!(user = self.user, group = self.group, %error, "cannot give new files to the owner of their directory; they belong to root");
                });
                Ok(())
            }
            other => other,
        }
    }
}

/// Creates a file that does not exist, with the permissions `mode` as far as the umask lets, for writing. If
/// root creates it in a directory of another user, it belongs to that user.
///
/// # Errors
/// The file exists or cannot be created.
pub fn create_file(path: &Path, mode: u32) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    if let Some(owner) = Owner::other_than_root(parent_of(path))? {
        owner.take(&file)?;
    }
    Ok(file)
}

/// Creates one directory that does not exist. If root creates it in a directory of another user, it belongs to that
/// user before it gets its final name.
///
/// # Errors
/// The directory exists or cannot be created.
pub fn create_directory(path: &Path) -> io::Result<()> {
    let parent = parent_of(path);
    let Some(owner) = Owner::other_than_root(parent)? else {
        return fs::create_dir(path);
    };
    if path.symlink_metadata().is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let temporary = temporary(parent, path.file_name().unwrap_or_default());
    fs::create_dir(&temporary)?;
    let created = give_directory(&temporary, owner).and_then(|()| fs::rename(&temporary, path));
    if created.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_dir(&temporary);
    }
    created
}

fn give_directory(path: &Path, owner: Owner) -> io::Result<()> {
    // Never follow a link, because the owner of the parent directory could have created it.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty())?;
    // The owner of the parent could have moved another directory of root to this name.
    for entry in rustix::fs::Dir::read_from(&directory)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
    }
    owner.take(directory)
}

/// Creates `path` and all missing directories above it, durably.
///
/// # Errors
/// A directory cannot be created or synced, or a part of the path is a file: this part, and the reason.
pub fn create_directories(path: &Path) -> Result<(), (PathBuf, io::Error)> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = parent_of(path);
    if parent != path {
        create_directories(parent)?;
    }
    match create_directory(path) {
        Ok(()) => sync_directory(parent).map_err(|error| (parent.to_owned(), error)),
        // Another process created the directory first.
        Err(_) if path.is_dir() => Ok(()),
        Err(error) => Err((path.to_owned(), error)),
    }
}

/// Opens a lock file, or creates it. If root creates it in a directory of another user, it belongs to that
/// user. An existing file keeps its owner, because the owner of the directory can rename a file of root to this name.
///
/// A user who may write to the directory but not to the lock file of its owner opens the file for reading,
/// which is enough for a lock.
///
/// # Errors
/// The file cannot be opened or created.
pub fn open_lock(path: &Path) -> io::Result<File> {
    match create_file(path, 0o666) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        created => return created,
    }
    // NONBLOCK, because opening a pipe would block. NOFOLLOW, because the owner of the directory could link to any file.
    let mut flags = OFlags::NONBLOCK;
    if Owner::other_than_root(parent_of(path))?.is_some() {
        flags |= OFlags::NOFOLLOW;
    }
    let mut options = OpenOptions::new();
    options.custom_flags(flags.bits().cast_signed());
    match options.clone().write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => options.read(true).open(path),
        opened => opened,
    }
}

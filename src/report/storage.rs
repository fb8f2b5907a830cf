//! Files and folders that appear whole and stay: write, fsync, rename, fsync the folder.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::ReportError;
use crate::filesystem::{self, parent_of};

pub use crate::filesystem::{TEMPORARY, temporary};

/// Writes `bytes` to `path` so that a reader finds the old file or the new one, never a part, and
/// that it stays after a loss of power. An existing file is replaced.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), ReportError> {
    let folder = parent_of(path);
    let temporary = temporary(folder, path.file_name().unwrap_or_default());
    let written = create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    });
    if let Err(error) = written {
        // The first error is the one that tells.
        let _ = fs::remove_file(&temporary);
        return Err(ReportError::storage(path, error));
    }
    sync_folder(folder)
}

/// Creates a file that does not exist yet, for its owner to write and all (that the umask lets) to read.
fn create(path: &Path) -> io::Result<File> {
    filesystem::create_file(path, 0o644)
}

/// Makes the names in `folder` durable.
pub fn sync_folder(folder: &Path) -> Result<(), ReportError> {
    filesystem::sync_directory(folder).map_err(ReportError::at(folder))
}

/// Creates `folder` and whatever is missing above it, durably.
pub fn create_folder(folder: &Path) -> Result<(), ReportError> {
    filesystem::create_directories(folder).map_err(|(path, error)| ReportError::storage(&path, error))
}

/// The names in `folder`; none if there is no such folder.
pub fn names(folder: &Path) -> Result<Vec<String>, ReportError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ReportError::storage(folder, error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        // Names that are not UTF-8 are none of ours.
        if let Ok(name) = entry.map_err(ReportError::at(folder))?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// A folder that exists under a temporary name until it is renamed; dropped before, it goes.
#[derive(Debug)]
pub struct NewFolder {
    path: PathBuf,
    kept: bool,
}

impl NewFolder {
    pub fn create(parent: &Path, name: &str) -> Result<Self, ReportError> {
        let path = temporary(parent, name.as_ref());
        filesystem::create_directory(&path).map_err(ReportError::at(&path))?;
        Ok(Self { path, kept: false })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it appear as `target`, which must not exist. Renaming a folder never replaces one
    /// that holds files, so not even a process without the lock can lose a report to this.
    pub fn publish(mut self, target: &Path) -> io::Result<()> {
        if target.symlink_metadata().is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        fs::rename(&self.path, target)?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot be removed now is removed by the next start.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Most bytes that are written at once.
const PIECE: usize = 1 << 18;

/// A new file that knows its length and its SHA-256 while it is written.
pub struct Hashed {
    file: BufWriter<File>,
    sha256: Sha256,
    bytes: u64,
}

impl Hashed {
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: BufWriter::with_capacity(1 << 16, create(path)?), sha256: Sha256::new(), bytes: 0 })
    }

    /// Makes the content durable; returns SHA-256 in lower-case hexadecimal and length.
    pub fn finish(self) -> io::Result<(String, u64)> {
        self.file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        Ok((hexadecimal(&self.sha256.finalize()), self.bytes))
    }
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A piece at a time: what was just written is still in the processor's caches when it is digested.
        let written = self.file.write(&bytes[..bytes.len().min(PIECE)])?;
        self.sha256.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// SHA-256 in lower-case hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// SHA-256 of a file, in lower-case hexadecimal.
pub fn sha256_of(path: &Path) -> io::Result<String> {
    let mut file = open_file(path)?;
    let mut digest = Sha256::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hexadecimal(&digest.finalize())),
            read => digest.update(&piece[..read]),
        }
    }
}

/// Opens a file for reading, and nothing else: to open a pipe would wait for whoever writes into it.
pub fn open_file(path: &Path) -> io::Result<File> {
    if fs::metadata(path)?.is_file() {
        return File::open(path);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"))
}

/// The content of a file, and of nothing else.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_file(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
